"""A path -> the files at it: `open_source` gives a FolderSource or ZipSource, whose files() lists and read() reads.

Junk is left out. Zips are read in place, never extracted. What could lead out of the data (links, members with
absolute names) is refused with a DataError; a single file that cannot be read raises UnreadableImage.
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

from mnv2_sweep.data.decode import SUFFIXES, UnreadableImage
from mnv2_sweep.errors import DataError

CACHE_VERSION = 1  # raise it when decode.py or hold_out would give other pixels or other splits
MAX_FILE_BYTES = 256 * 2**20
JUNK = ("__macosx", "thumbs.db", "desktop.ini")  # as is every name that starts with a dot
BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, OverflowError, NotImplementedError)


class Files(NamedTuple):
    sizes: dict[str, int]  # file -> bytes; '/' between parts, junk left out
    folders: set[str]


class FolderSource:
    """A folder on disk. Links to files inside of it are read; any other link is refused."""

    def __init__(self, path: Path):
        self.path = path.resolve()
        self.name = self.path.name or "photos"
        self.listed = Files({}, set())
        times = []
        for here, folders, files in os.walk(self.path, onerror=self._unlistable):
            folders[:] = [folder for folder in folders if not _is_junk(folder)]
            prefix = "" if Path(here) == self.path else os.path.relpath(here, self.path).replace(os.sep, "/") + "/"
            for name in [*folders, *(file for file in files if not _is_junk(file))]:
                found = self._stat(os.path.join(here, name), prefix + name)
                if stat.S_ISDIR(found.st_mode):
                    self.listed.folders.add(prefix + name)
                    times.append((prefix + name, -1, 0))
                else:
                    self.listed.sizes[prefix + name] = found.st_size
                    times.append((prefix + name, found.st_size, found.st_mtime_ns))
        self.manifest = _manifest(self.path, sorted(times))

    def files(self) -> Files:
        return self.listed

    def read(self, name: str) -> bytes:
        file = self.path / name
        if not file.is_file():  # reading a pipe would wait for ever
            raise UnreadableImage("a broken link, or not a regular file")
        with file.open("rb") as opened:
            return opened.read(MAX_FILE_BYTES)

    def _stat(self, file: str, inside: str) -> os.stat_result:
        found = os.lstat(file)
        if not stat.S_ISLNK(found.st_mode):
            return found
        if os.path.isdir(file) or not Path(os.path.realpath(file)).is_relative_to(self.path):
            raise DataError(
                f"{self.path}: {inside!r} is a link to {os.readlink(file)!r}; only links to files inside the data "
                "folder are followed; put what it points to in its place"
            )
        return os.stat(file) if os.path.exists(file) else found

    def _unlistable(self, error: OSError) -> None:
        raise DataError(f"{error.filename}: folder cannot be listed: {error.strerror}; mend its permissions") from error


class ZipSource:
    """A zip, read in place; every member's name is checked although none is ever written."""

    def __init__(self, path: Path):
        self.path, self.name = path.resolve(), path.stem
        found = path.stat()
        self.manifest = _manifest(self.path, [(path.name, found.st_size, found.st_mtime_ns)])
        self.members = {}

    def files(self) -> Files:
        try:
            self.archive = zipfile.ZipFile(self.path)
        except (*BROKEN_ZIP, OSError) as error:
            raise DataError(
                f"{self.path}: not a zip, or one that is cut short or damaged ({error}); "
                "give a folder or a whole zip (if you downloaded it, do so again)"
            ) from error
        listed = Files({}, set())
        for info in self.archive.infolist():
            name = _safe_member(self.path, info.orig_filename)
            if any(map(_is_junk, name.split("/"))):
                continue
            folder = name
            if not info.is_dir():
                if info.flag_bits & 0x1:
                    raise DataError(f"{self.path}: {name!r} is encrypted; unpack the zip and give the folder instead")
                if name in self.members:
                    raise DataError(f"{self.path}: {name!r} is in the zip twice; make the zip anew from a folder")
                self.members[name], listed.sizes[name] = info, info.file_size
                folder = name.rpartition("/")[0]
            while folder and folder not in listed.folders:
                listed.folders.add(folder)
                folder = folder.rpartition("/")[0]
        return listed

    def read(self, name: str) -> bytes:
        info = self.members[name]
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UnreadableImage("packed by another method than deflate")  # zipfile does not bound what those unpack
        try:
            with self.archive.open(info) as opened:
                return opened.read(min(info.file_size, MAX_FILE_BYTES))  # a given length bounds the unpacking too
        except BROKEN_ZIP as error:
            raise UnreadableImage(f"damaged in the zip: {error or type(error).__name__}") from error


Source = FolderSource | ZipSource


def open_source(path: Path) -> Source:
    """What lies at path, looked at only as far as its manifest needs."""
    if path.is_dir():
        return FolderSource(path)
    if path.is_file():
        return ZipSource(path)
    what = "neither a folder nor a file" if path.exists() else "no such file or folder"
    raise DataError(f"{path}: {what}; give a folder of class folders or a zip of one")


def check_file_sizes(where: str, files: Iterable[str], sizes: Mapping[str, int]) -> None:
    """Raise DataError for the first file that is too large to be read whole."""
    for file in files:
        if sizes[file] > MAX_FILE_BYTES:
            raise DataError(
                f"{where}: {file!r} has {sizes[file] / 2**20:,.0f} MiB, at most "
                f"{MAX_FILE_BYTES / 2**20:.0f} are allowed; remove the file or save it smaller"
            )


def is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name.lower() in JUNK


def _manifest(path: Path, times: list[tuple[str, int, int]]) -> str:
    """A name for 'this path with files of these names, sizes and times'."""
    digest = hashlib.sha256(repr((CACHE_VERSION, str(path))).encode())
    for entry in times:
        digest.update(repr(entry).encode())
    return digest.hexdigest()[:32]


def _safe_member(archive: Path, name: str) -> str:
    """The member's name with plain parts; refused when it could mean a place outside the archive."""
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or re.search(r"\\|^[A-Za-z]:|\0", name):
        raise DataError(
            f"{archive}: member {name!r} would leave the folder it is unpacked to; names may not be absolute nor hold "
            "'..', a backslash or a drive letter; make the zip anew from a folder"
        )
    return "/".join(part for part in parts if part not in ("", "."))
