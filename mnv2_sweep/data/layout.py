"""A path -> the files at it, in a folder or a zip, and which of them are photos of which split and class.

`open_photo_files` gives a PhotoFolder or PhotoZip, whose files() lists and read() reads. Junk is left out. Zips are
read in place, never extracted. What could lead out of the data (links, members with absolute names) is refused with a
DataError; a single file that cannot be read raises UnreadableImage.

`sort_photos` makes Photos (split, class, path) of the names alone: which folders are splits and classes, and what is
held out for val. The order of the Photos and the choice of held-out ones depend on nothing else.
"""

import hashlib
import os
import re
import stat
import struct
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.text import mebibytes
from mnv2_sweep.data.decode import SUFFIXES, UnreadableImage

CACHE_VERSION = 1  # raise it when decode.py or hold_out would give other pixels or other splits
MAX_FILE_BYTES = 256 * 2**20
JUNK = ("__macosx", "thumbs.db", "desktop.ini")  # as is every name that starts with a dot
BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, OverflowError, NotImplementedError)
HOLD_OUT, HOLD_OUT_IMAGES, HOLD_OUT_SEED = 0.15, 5000, 0
SPLITS = ("train", "val", "test")
SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val", "test": "test"}
LAYOUT = (
    "wanted: <class>/*.jpg, or train/<class>/*.jpg and val/<class>/*.jpg (test/<class>/*.jpg may be added); "
    f"images are {' '.join(SUFFIXES)}"
)


# ---------------------------------------------------------------- files


class Files(NamedTuple):
    """What lies at a path: every file with its size, and the folders, by names inside the data."""

    sizes: dict[str, int]  # file -> bytes; '/' between parts, junk left out
    folders: set[str]


class PhotoFolder:
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
        """Return what was found when the folder was opened."""
        return self.listed

    def read(self, name: str) -> bytes:
        """Read a file's bytes, at most MAX_FILE_BYTES. Raises UnreadableImage or OSError."""
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


class PhotoZip:
    """A zip, read in place; every member's name is checked although none is ever written."""

    def __init__(self, path: Path):
        self.path, self.name = path.resolve(), path.stem
        found = path.stat()
        self.manifest = _manifest(self.path, [(path.name, found.st_size, found.st_mtime_ns)])
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
        """Read a member's bytes, at most MAX_FILE_BYTES. Raises UnreadableImage."""
        info = self.members[name]
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UnreadableImage("packed by another method than deflate")  # zipfile does not bound what those unpack
        try:
            with self.archive.open(info) as opened:
                return opened.read(min(info.file_size, MAX_FILE_BYTES))  # a given length bounds the unpacking too
        except BROKEN_ZIP as error:
            raise UnreadableImage(f"damaged in the zip: {error or type(error).__name__}") from error


PhotoFiles = PhotoFolder | PhotoZip


def open_photo_files(path: Path) -> PhotoFiles:
    """Open what lies at path, looked at only as far as its manifest needs. Raises DataError where nothing does."""
    if path.is_dir():
        return PhotoFolder(path)
    if path.is_file():
        return PhotoZip(path)
    what = "neither a folder nor a file" if path.exists() else "no such file or folder"
    raise DataError(f"{path}: {what}; give a folder of class folders or a zip of one")


def check_file_sizes(where: str, files: Iterable[str], sizes: Mapping[str, int]) -> None:
    """Raise DataError for the first file that is too large to be read whole."""
    for file in files:
        if sizes[file] > MAX_FILE_BYTES:
            raise DataError(
                f"{where}: {file!r} has {mebibytes(sizes[file])}, at most "
                f"{MAX_FILE_BYTES / 2**20:.0f} are allowed; remove the file or save it smaller"
            )


def is_image(name: str) -> bool:
    """Return whether the name ends as an image file's does."""
    return name.lower().endswith(SUFFIXES)


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name.lower() in JUNK


def _manifest(path: Path, times: list[tuple[str, int, int]]) -> str:
    """Name 'this path with files of these names, sizes and times'."""
    digest = hashlib.sha256(repr((CACHE_VERSION, str(path))).encode())
    for entry in times:
        digest.update(repr(entry).encode())
    return digest.hexdigest()[:32]


def _safe_member(archive: Path, name: str) -> str:
    """Return the member's name with plain parts; refuse one that could mean a place outside the archive."""
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or re.search(r"\\|^[A-Za-z]:|\0", name):
        raise DataError(
            f"{archive}: member {name!r} would leave the folder it is unpacked to; names may not be absolute nor hold "
            "'..', a backslash or a drive letter; make the zip anew from a folder"
        )
    return "/".join(part for part in parts if part not in ("", "."))


# ---------------------------------------------------------------- splits and classes


class Photo(NamedTuple):
    split: str
    label: str  # the class folder's name
    path: str  # inside the data, '/' between parts, without a wrapping top folder


def sort_photos(where: str, files: Iterable[str], folders: set[str]) -> tuple[list[Photo], list[tuple[str, str]]]:
    """Return every image with its split and class, in cache order; and (path, reason) of the files left out."""
    splits = _split_folders(where, folders)
    homes = splits or {"": "train"}
    classes = {home: {f.rpartition("/")[2] for f in folders if f.rpartition("/")[0] == home} for home in homes}
    photos, skipped = [], []
    for file in sorted(files):
        parts = file.split("/")
        home = parts[0] if splits and len(parts) > 1 else ""
        depth = len(parts) - bool(home)  # 1: beside the class folders, 2: in one, 3 and more: below one
        if home in homes and depth > 1:
            if not is_image(file):
                skipped.append((file, "not an image file"))
            elif depth > 2:
                raise DataError(f"{where}: {file!r} lies below a class folder's own level; {LAYOUT}")
            else:
                photos.append(Photo(homes[home], parts[-2], file))
        elif is_image(file):
            _check_stray(where, file, home, classes)
            skipped.append((file, "outside the class folders"))
    if not photos:
        raise DataError(f"{where}: no image in it; {LAYOUT}")
    given = {homes[home]: classes[home] for home in homes}
    _check_same_classes(where, given)
    check_classes(where, given["train"], photos, {split: f" in {split}" if splits else "" for split in given})
    if "val" not in given:
        photos = hold_out(where, photos)
    return sorted(photos, key=lambda photo: (SPLITS.index(photo.split), photo)), skipped


def hold_out(where: str, photos: list[Photo]) -> list[Photo]:
    """Return the same photos with a part of each class's train moved to val; which ones depends only on their names."""
    train = defaultdict(list)
    for photo in photos:
        if photo.split == "train":
            train[photo.label].append(photo)
    fraction = min(HOLD_OUT, HOLD_OUT_IMAGES / sum(map(len, train.values())))
    chosen = set()
    for label, group in train.items():
        if len(group) < 2:
            raise DataError(
                f"{where}: class {label!r} has 1 image to train on; without a val folder at least 2 are needed, as one "
                "is held out; add images, remove the class or make a val folder"
            )
        count = min(max(1, round(fraction * len(group))), len(group) - 1)
        chosen.update(sorted(group, key=_seeded_rank)[:count])
    return [photo._replace(split="val") if photo in chosen else photo for photo in photos]


def _seeded_rank(photo: Photo) -> bytes:
    name = f"{HOLD_OUT_SEED}/{photo.label}/{photo.path.rpartition('/')[2]}"
    return hashlib.sha256(name.encode(errors="surrogateescape")).digest()


def find_wrapper(files: Iterable[str], folders: set[str]) -> str:
    """Return the one top folder that only wraps the others, as 'name/', or ''."""
    tops = [folder for folder in folders if "/" not in folder]
    if len(tops) != 1 or tops[0].lower() in SPLIT_NAMES or len(folders) == 1:
        return ""
    return "" if any("/" not in file and is_image(file) for file in files) else tops[0] + "/"


def _split_folders(where: str, folders: set[str]) -> dict[str, str]:
    """Return top folder -> split, as {"Train": "train", "valid": "val"}; empty when the top folders are classes.

    A class may be called 'train' or 'test' too: it has no folders inside, and other classes beside it.
    """
    tops = [folder for folder in sorted(folders) if "/" not in folder]
    splits = {top: SPLIT_NAMES[top.lower()] for top in tops if top.lower() in SPLIT_NAMES}
    with_folders = {folder.partition("/")[0] for folder in folders if "/" in folder}
    if not with_folders & splits.keys() and len(splits) < len(tops):
        return {}
    if twice := [split for split, count in Counter(splits.values()).items() if count > 1]:
        raise DataError(f"{where}: {some_names(splits)}: more than one folder for {twice[0]}; keep one of them")
    if splits and "train" not in splits.values():
        raise DataError(f"{where}: has {some_names(splits)} but no 'train' folder; {LAYOUT}")
    return splits


def _check_stray(where: str, file: str, home: str, classes: Mapping[str, set[str]]) -> None:
    if home and home not in classes:
        raise DataError(
            f"{where}: images in {home!r}, which lies beside {some_names(classes)}; move that folder away, or give it "
            f"one of these names: {', '.join(SPLIT_NAMES)}"
        )
    if not classes.get(home, True):
        raise DataError(f"{where}: {file!r} lies in no class folder; {LAYOUT}")


def _check_same_classes(where: str, given: Mapping[str, set[str]]) -> None:
    for split in ("val", "test"):
        if unknown := given.get(split, set()) - given["train"]:
            raise DataError(
                f"{where}: class folders in {split} but not in train: {some_names(unknown)}; "
                f"train has: {some_names(given['train'])}; rename them or add them to train"
            )
    if len(given["train"]) < 2:
        raise DataError(f"{where}: one class only: {some_names(given['train'])}; at least 2 class folders are needed")


def check_classes(
    where: str, classes: Iterable[str], photos: Iterable[Photo], splits: Mapping[str, str], why: str = ""
) -> None:
    """Raise DataError where a class has no image in train or val, or test none at all; splits: split -> ' in
    <split>'."""
    counts = Counter((photo.split, photo.label) for photo in photos)
    for split, in_split in splits.items():
        empty = [label for label in classes if not counts[split, label]]
        if split == "test" and len(empty) < len(list(classes)):
            continue
        if empty:
            raise DataError(
                f"{where}: no readable image of class {some_names(empty)}{in_split}{why}; add images, or remove "
                f"{'the test folder' if split == 'test' else 'the class'}"
            )


def some_names(names: Iterable[str], most: int = 8) -> str:
    """Return the first names, quoted and sorted, and how many more there are."""
    names = sorted(names)
    return ", ".join(map(repr, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")
