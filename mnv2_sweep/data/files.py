"""A path -> the files at it, in a folder, a zip or a tar.

`open_photo_files` gives a PhotoFolder, PhotoZip or PhotoTar, whose files() lists and read() reads. Junk is left out.
Archives are read in place, never extracted. What could lead out of the data (links, members with absolute names) is
refused with a DataError; a single file that cannot be read raises UnreadableImage.
"""

import hashlib
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.text import mebibytes
from mnv2_sweep.data.asked import PhotoOptions
from mnv2_sweep.data.decode import UnreadableImage, is_image
from mnv2_sweep.data.identify import HEAD_BYTES, is_text, looks_like_image, name_content
from mnv2_sweep.data.tars import Packed, index_tar, is_tar
from mnv2_sweep.data.zip_names import decode_names

CACHE_VERSION = 1  # raise it when decode.py or hold_out would give other pixels or other splits
MAX_FILE_BYTES = 256 * 2**20
JUNK = ("__macosx", "thumbs.db", "desktop.ini")  # as is every name that starts with a dot
BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, OverflowError, NotImplementedError)
WANTED = "give a folder of class folders or a zip of one"


class Files(NamedTuple):
    """What lies at a path: every file with its size, and the folders, by names inside the data."""

    sizes: dict[str, int]  # file -> bytes; '/' between parts, junk left out
    folders: set[str]

    def add_folders(self, folder: str) -> None:
        """Add a folder and those around it."""
        while folder and folder not in self.folders:
            self.folders.add(folder)
            folder = folder.rpartition("/")[0]


class PhotoFolder:
    """A folder on disk. Links to files inside of it are read; any other link is refused, or, where they are to be
    followed, read as what it leads to.

    Without `strict`, links that are not followed and folders that can't be listed are `left_out`, each with the reason.
    """

    def __init__(self, path: Path, follow_links: bool = False, strict: bool = True):
        self.path, self.follow_links, self.strict = path.resolve(), follow_links, strict
        self.left_out: dict[str, str] = {}
        self.name = self.path.name or "photos"
        self.notes: tuple[str, ...] = ()
        self.listed = Files({}, set())
        times, around = [], {os.path.realpath(self.path): {os.path.realpath(self.path)}}
        for here, folders, files in os.walk(self.path, onerror=self._unlistable, followlinks=follow_links):
            folders[:] = [folder for folder in folders if not _is_junk(folder)]
            if follow_links:
                self._check_rings(here, folders, around)
            prefix = "" if Path(here) == self.path else os.path.relpath(here, self.path).replace(os.sep, "/") + "/"
            for name in [*folders, *(file for file in files if not _is_junk(file))]:
                found = self._stat(os.path.join(here, name), prefix + name)
                if prefix + name in self.left_out:
                    continue
                if stat.S_ISDIR(found.st_mode):
                    self.listed.folders.add(prefix + name)
                    times.append((prefix + name, -1, 0))
                else:
                    self.listed.sizes[prefix + name] = found.st_size
                    times.append((prefix + name, found.st_size, found.st_mtime_ns))
        self.manifest = _manifest(self.path, sorted(times))

    def files(self) -> Files:
        """Return what was found when the folder was opened."""
        return self.listed

    def read(self, name: str, most: int = MAX_FILE_BYTES) -> bytes:
        """Read a file's bytes, at most so many. Raises UnreadableImage or OSError."""
        file = self.path / name
        if not file.is_file():  # reading a pipe would wait for ever
            raise UnreadableImage("a broken link, or not a regular file")
        with file.open("rb") as opened:
            return opened.read(most)

    def _stat(self, file: str, inside: str) -> os.stat_result:
        found = os.lstat(file)
        if not stat.S_ISLNK(found.st_mode):
            return found
        is_own = not os.path.isdir(file) and Path(os.path.realpath(file)).is_relative_to(self.path)
        if not (is_own or self.follow_links) and not self.strict:
            where = "which is not in the folder; see --follow-links" if os.path.exists(file) else "where nothing is"
            self.left_out[inside] = f"a link to {os.readlink(file)!r}, {where}"
        elif not (is_own or self.follow_links):
            raise DataError(
                f"{self.path}: {inside!r} is a link to {os.readlink(file)!r}; only links to files inside the data "
                "folder are followed; put what it points to in its place, or say --follow-links"
            )
        return os.stat(file) if os.path.exists(file) else found

    def _check_rings(self, here: str, folders: list[str], around: dict[str, set[str]]) -> None:
        """Raise DataError where a folder leads back to one that it lies in; `around`: folder -> it and those around."""
        own = around[here] if here in around else {os.path.realpath(here)}
        for folder in folders:
            path = os.path.join(here, folder)
            real = os.path.realpath(path)
            if real in own:
                raise DataError(f"{self.path}: the link {path!r} leads back to a folder that it lies in; remove it")
            around[path] = own | {real}

    def _unlistable(self, error: OSError) -> None:
        if not self.strict and Path(error.filename) != self.path:
            inside = os.path.relpath(error.filename, self.path).replace(os.sep, "/")
            self.left_out[inside] = f"the folder cannot be listed: {error.strerror}"
            return
        raise DataError(f"{error.filename}: folder cannot be listed: {error.strerror}; mend its permissions") from error


class PhotoZip:
    """A zip, read in place; every member's name is checked although none is ever written."""

    def __init__(self, path: Path, encoding: str = ""):
        self.path, self.name, self.encoding = path.resolve(), path.stem, encoding
        self.notes: tuple[str, ...] = ()
        self.manifest = _file_manifest(self.path, path.name)
        self.members = {}

    def files(self) -> Files:
        """Read the zip's index and return what is in it. Raises DataError."""
        try:
            self.archive = zipfile.ZipFile(self.path)
        except (*BROKEN_ZIP, OSError) as error:
            raise DataError(
                f"{self.path}: not a zip, or one that is cut short or damaged ({error}); "
                "give a folder or a whole zip (if you downloaded it, do so again)"
            ) from error
        listed = Files({}, set())
        members = self.archive.infolist()
        for info, full in zip(members, self._names(members), strict=True):
            name = safe_member(self.path, full)
            if any(map(_is_junk, name.split("/"))):
                continue
            if full.endswith("/"):
                listed.add_folders(name)
                continue
            if info.flag_bits & 0x1:
                raise DataError(f"{self.path}: {name!r} is encrypted; unpack the zip and give the folder instead")
            if name in self.members:
                raise DataError(f"{self.path}: {name!r} is in the zip twice; make the zip anew from a folder")
            self.members[name], listed.sizes[name] = info, info.file_size
            listed.add_folders(name.rpartition("/")[0])
        return listed

    def read(self, name: str, most: int = MAX_FILE_BYTES) -> bytes:
        """Read a member's bytes, at most so many. Raises UnreadableImage."""
        info = self.members[name]
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UnreadableImage("packed by another method than deflate")  # zipfile does not bound what those unpack
        try:
            with self.archive.open(info) as opened:
                return opened.read(min(info.file_size, most))  # a given length bounds the unpacking too
        except BROKEN_ZIP as error:
            raise UnreadableImage(f"damaged in the zip: {error or type(error).__name__}") from error

    def _names(self, members: list[zipfile.ZipInfo]) -> list[str]:
        """Return the members' names, those without a word on their encoding as they were meant. Raises DataError."""
        unsaid = [info for info in members if not info.flag_bits & 0x800 and not info.orig_filename.isascii()]
        raw = [info.orig_filename.encode("cp437") for info in unsaid]  # as zipfile has read them
        names, guess = decode_names(str(self.path), raw, self.encoding)
        if guess:
            self.notes = (f"names in the zip are read as {guess}, as in {names[0]!r}; --zip-encoding says otherwise",)
        said = dict(zip(map(id, unsaid), names, strict=True))
        return [said.get(id(info), info.orig_filename) for info in members]


class PhotoTar:
    """A tar, plain or packed (gzip, bzip2, xz); a packed one is unpacked into a nameless temporary file when it is
    first listed. Links, devices and the like in it are left out."""

    def __init__(self, path: Path):
        self.path, self.name = path.resolve(), re.sub(r"(\.tar)?\.[^.]+$", "", path.name) or "photos"
        self.notes: tuple[str, ...] = ()
        self.manifest = _file_manifest(self.path, path.name)
        self.packed = Packed(self.path)
        self.members: dict[str, tuple[int, int]] = {}

    def files(self) -> Files:
        """Read the tar's headers and return what is in it. Raises DataError."""
        listed, others = Files({}, set()), 0
        for member in index_tar(self.packed):
            name = safe_member(self.path, member.name)
            if not name or any(map(_is_junk, name.split("/"))):
                continue
            if member.is_folder:
                listed.add_folders(name)
            elif not member.is_file:
                others += 1
            else:  # a later one replaces an earlier, as where tar appends
                self.members[name], listed.sizes[name] = (member.offset, member.size), member.size
                listed.add_folders(name.rpartition("/")[0])
        if others:
            self.notes = (f"left out {others:,} links or devices in the tar; nothing is followed out of an archive",)
        return listed

    def read(self, name: str, most: int = MAX_FILE_BYTES) -> bytes:
        """Read a member's bytes, at most so many. Raises UnreadableImage."""
        offset, size = self.members[name]
        return self.packed.read(offset, min(size, most))


PhotoFiles = PhotoFolder | PhotoZip | PhotoTar


def open_photo_files(path: Path, options: PhotoOptions | None = None, strict: bool = True) -> PhotoFiles:
    """Open what lies at path, looked at only as far as its manifest needs; `strict` as of PhotoFolder. Raises DataError
    where nothing does."""
    options = options or PhotoOptions()
    if path.is_dir():
        return PhotoFolder(path, options.follow_links, strict)
    if not path.is_file():
        what = "neither a folder nor a file" if path.exists() else "no such file or folder"
        raise DataError(f"{path}: {what}; {WANTED}")
    head = read_head(path)
    if is_tar(path, head):
        return PhotoTar(path)
    if not zipfile.is_zipfile(path) and (what := _name_other(path, head)):
        raise DataError(f"{path}: {what}; {WANTED}")
    return PhotoZip(path, options.zip_encoding)


def is_archive(path: Path) -> bool:
    """Return whether a file is a zip or a tar."""
    return path.is_file() and (zipfile.is_zipfile(path) or is_tar(path, read_head(path)))


def read_head(path: Path) -> bytes:
    """Return the first bytes of a file. Raises OSError."""
    with path.open("rb") as opened:
        return opened.read(HEAD_BYTES)


def _name_other(path: Path, head: bytes) -> str:
    """Return what a file is that is no archive; '' where it may be a damaged zip."""
    if path.suffix.lower() in (".csv", ".tsv") and is_text(head):
        return f"a table; give it as --labels {path.name}, and --data the folder or archive of the photos"
    if what := name_content(head):
        return "" if "zip" in what and head.startswith(b"PK") else what
    if is_image(path.name):
        return "one photo"
    return ""


def begins_as_image(files: PhotoFiles, name: str) -> bool:
    """Return whether the content of a file among these begins as that of an image does."""
    try:
        return looks_like_image(files.read(name, HEAD_BYTES))
    except (UnreadableImage, OSError):
        return False


def check_file_sizes(where: str, files: Iterable[str], sizes: Mapping[str, int]) -> None:
    """Raise DataError for the first file that is too large to be read whole."""
    for file in files:
        if sizes[file] > MAX_FILE_BYTES:
            raise DataError(
                f"{where}: {file!r} has {mebibytes(sizes[file])}, at most "
                f"{MAX_FILE_BYTES / 2**20:.0f} are allowed; remove the file or save it smaller"
            )


def safe_member(archive: Path, name: str) -> str:
    """Return the member's name with plain parts; refuse one that could mean a place outside the archive."""
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or re.search(r"\\|^[A-Za-z]:|\0", name):
        raise DataError(
            f"{archive}: member {name!r} would leave the folder it is unpacked to; names may not be absolute nor hold "
            "'..', a backslash or a drive letter; make the archive anew from a folder"
        )
    return "/".join(part for part in parts if part not in ("", "."))


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name.lower() in JUNK


def _file_manifest(path: Path, name: str) -> str:
    found = path.stat()
    return _manifest(path, [(name, found.st_size, found.st_mtime_ns)])


def _manifest(path: Path, times: list[tuple[str, int, int]]) -> str:
    """Name 'this path with files of these names, sizes and times'."""
    digest = hashlib.sha256(repr((CACHE_VERSION, str(path))).encode())
    for entry in times:
        digest.update(repr(entry).encode())
    return digest.hexdigest()[:32]
