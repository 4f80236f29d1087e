"""A folder or zip of class folders -> PhotoData: uint8 squares in a memory-mapped cache, keyed by the content.

    path --open_source--> file names --sort_photos--> Photos (split, class, path) --_decode--> cache --> PhotoData

Images are decoded once, in one pass that also hashes them: in a few threads, written in order with plain file writes,
so that only names and hashes grow with the number of images. Zips are read in place, never extracted.

    <cache>/<name>-<fingerprint>/   index.json, names.json, <split>-<side>.npy
    <cache>/opened/<manifest>.json  which fingerprint a path had when its names, sizes and times were these

The fingerprint is over (split, class, path, sha256 of the file) and CACHE_VERSION, never over times or places.
A cache folder is made under another name and renamed when complete, so a killed run leaves nothing that is trusted.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import statistics
import struct
import time
import uuid
import warnings
import zipfile
import zlib
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from mnv2_sweep.decode import RESAMPLING, SUFFIXES, UnreadableImage, decode_photo, photo_size
from mnv2_sweep.errors import DataError

CACHE_VERSION = 1  # raise it when decode.py or hold_out would give other pixels or other splits
MAX_SIDE = 256
MIN_SIDE = 8
SAMPLED_SIZES = 1000  # headers read to choose the cached side
HOLD_OUT, HOLD_OUT_IMAGES, HOLD_OUT_SEED = 0.15, 5000, 0
MAX_FILE_BYTES = 256 * 2**20
THREADS = min(4, os.cpu_count() or 1)
SPLITS = ("train", "val", "test")
SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val", "test": "test"}
JUNK = ("__macosx", "thumbs.db", "desktop.ini")  # as is every name that starts with a dot
LAYOUT = (
    "wanted: <class>/*.jpg, or train/<class>/*.jpg and val/<class>/*.jpg (test/<class>/*.jpg may be added); "
    f"images are {' '.join(SUFFIXES)}"
)
BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, OverflowError, NotImplementedError)
BUILDING = ".building-"  # how the name of an unfinished cache folder starts

Report = Callable[[int, int], None]


class Photo(NamedTuple):
    split: str
    label: str  # the class folder's name
    path: str  # inside the data, '/' between parts, without a wrapping top folder


@dataclass(frozen=True, eq=False)
class PhotoData:
    """Labelled square images; the pixels stay on disk."""

    name: str
    fingerprint: str
    classes: tuple[str, ...]
    labels: dict[str, np.ndarray]  # split -> int64 [N]: positions in classes
    side: int  # of the cached squares, in pixels
    skipped: tuple[tuple[str, str], ...]  # (path, reason) of files that are no image or unreadable
    notes: tuple[str, ...]  # what a user should know but need not mend
    folder: Path

    @cached_property
    def names(self) -> dict[str, list[str]]:
        """Split -> path inside the data of each image, in the order of the labels."""
        with _cache_errors(self.folder):
            return json.loads((self.folder / "names.json").read_text())

    def pixels(self, split: str, side: int) -> np.ndarray:
        """Read-only uint8 [N, s, s, 3] in a memory map, s = min(side, self.side); made on first use."""
        if split not in self.labels:
            raise DataError(f"{self.name}: no split {split!r}; there are: {', '.join(self.labels)}")
        if side < 1:
            raise DataError(f"{self.name}: images of side {side} were asked for; a side is at least 1 pixel")
        side = min(side, self.side)
        file = self.folder / f"{split}-{side}.npy"
        with _cache_errors(self.folder):
            if not file.exists():
                _write_smaller(self.folder / f"{split}-{self.side}.npy", file, side)
            return np.load(file, mmap_mode="r")


def _no_report(done: int, total: int) -> None:
    pass


def open_photos(path: Path, cache: Path, report: Report = _no_report) -> PhotoData:
    """The data at path, decoded into the cache unless it is there; report(done, total) follows the decoding."""
    source, cache = open_source(Path(path)), Path(cache)
    if source.path.is_dir() and cache.resolve().is_relative_to(source.path):
        raise DataError(f"{cache}: the cache lies inside the data folder {path}; name a cache folder outside of it")
    known = _read_json(cache / "opened" / f"{source.manifest}.json")
    return (known and _load(source.name, cache, known)) or _decode_to_cache(source, cache, report)


# Where the files are: a folder or a zip. Both have path, name, manifest, files() and read().


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


def _manifest(path: Path, times: list[tuple[str, int, int]]) -> str:
    """A name for 'this path with files of these names, sizes and times'."""
    digest = hashlib.sha256(repr((CACHE_VERSION, str(path))).encode())
    for entry in times:
        digest.update(repr(entry).encode())
    return digest.hexdigest()[:32]


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name.lower() in JUNK


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _safe_member(archive: Path, name: str) -> str:
    """The member's name with plain parts; refused when it could mean a place outside the archive."""
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or re.search(r"\\|^[A-Za-z]:|\0", name):
        raise DataError(
            f"{archive}: member {name!r} would leave the folder it is unpacked to; names may not be absolute nor hold "
            "'..', a backslash or a drive letter; make the zip anew from a folder"
        )
    return "/".join(part for part in parts if part not in ("", "."))


# What the files are: splits and classes.


def sort_photos(where: str, files: Iterable[str], folders: set[str]) -> tuple[list[Photo], list[tuple[str, str]]]:
    """Every image with its split and class, in cache order; and (path, reason) of the files left out."""
    splits = _split_folders(where, folders)
    homes = splits or {"": "train"}
    classes = {home: {f.rpartition("/")[2] for f in folders if f.rpartition("/")[0] == home} for home in homes}
    photos, skipped = [], []
    for file in sorted(files):
        parts = file.split("/")
        home = parts[0] if splits and len(parts) > 1 else ""
        depth = len(parts) - bool(home)  # 1: beside the class folders, 2: in one, 3 and more: below one
        if home in homes and depth > 1:
            if not _is_image(file):
                skipped.append((file, "not an image file"))
            elif depth > 2:
                raise DataError(f"{where}: {file!r} lies below a class folder's own level; {LAYOUT}")
            else:
                photos.append(Photo(homes[home], parts[-2], file))
        elif _is_image(file):
            _check_stray(where, file, home, classes)
            skipped.append((file, "outside the class folders"))
    if not photos:
        raise DataError(f"{where}: no image in it; {LAYOUT}")
    given = {homes[home]: classes[home] for home in homes}
    _check_same_classes(where, given)
    _check_classes(where, given["train"], photos, {split: f" in {split}" if splits else "" for split in given})
    if "val" not in given:
        photos = hold_out(where, photos)
    return sorted(photos, key=lambda photo: (SPLITS.index(photo.split), photo)), skipped


def hold_out(where: str, photos: list[Photo]) -> list[Photo]:
    """The same photos with a part of each class's train moved to val; which ones depends only on their names."""
    train = defaultdict(list)
    for photo in photos:
        if photo.split == "train":
            train[photo.label].append(photo)
    share = min(HOLD_OUT, HOLD_OUT_IMAGES / sum(map(len, train.values())))
    chosen = set()
    for label, group in train.items():
        if len(group) < 2:
            raise DataError(
                f"{where}: class {label!r} has 1 image to train on; without a val folder at least 2 are needed, as one "
                "is held out; add images, remove the class or make a val folder"
            )
        count = min(max(1, round(share * len(group))), len(group) - 1)
        chosen.update(sorted(group, key=_seeded_rank)[:count])
    return [photo._replace(split="val") if photo in chosen else photo for photo in photos]


def _seeded_rank(photo: Photo) -> bytes:
    name = f"{HOLD_OUT_SEED}/{photo.label}/{photo.path.rpartition('/')[2]}"
    return hashlib.sha256(name.encode(errors="surrogateescape")).digest()


def _wrapper(files: Iterable[str], folders: set[str]) -> str:
    """The one top folder that only wraps the others, as 'name/', or ''."""
    tops = [folder for folder in folders if "/" not in folder]
    if len(tops) != 1 or tops[0].lower() in SPLIT_NAMES or len(folders) == 1:
        return ""
    return "" if any("/" not in file and _is_image(file) for file in files) else tops[0] + "/"


def _split_folders(where: str, folders: set[str]) -> dict[str, str]:
    """Top folder -> split, as {"Train": "train", "valid": "val"}; empty when the top folders are classes.

    A class may be called 'train' or 'test' too: it has no folders inside, and other classes beside it.
    """
    tops = [folder for folder in sorted(folders) if "/" not in folder]
    splits = {top: SPLIT_NAMES[top.lower()] for top in tops if top.lower() in SPLIT_NAMES}
    with_folders = {folder.partition("/")[0] for folder in folders if "/" in folder}
    if not with_folders & splits.keys() and len(splits) < len(tops):
        return {}
    if twice := [split for split, count in Counter(splits.values()).items() if count > 1]:
        raise DataError(f"{where}: {_some(splits)}: more than one folder for {twice[0]}; keep one of them")
    if splits and "train" not in splits.values():
        raise DataError(f"{where}: has {_some(splits)} but no 'train' folder; {LAYOUT}")
    return splits


def _check_stray(where: str, file: str, home: str, classes: Mapping[str, set[str]]) -> None:
    if home and home not in classes:
        raise DataError(
            f"{where}: images in {home!r}, which lies beside {_some(classes)}; move that folder away, or give it one "
            f"of these names: {', '.join(SPLIT_NAMES)}"
        )
    if not classes.get(home, True):
        raise DataError(f"{where}: {file!r} lies in no class folder; {LAYOUT}")


def _check_same_classes(where: str, given: Mapping[str, set[str]]) -> None:
    for split in ("val", "test"):
        if unknown := given.get(split, set()) - given["train"]:
            raise DataError(
                f"{where}: class folders in {split} but not in train: {_some(unknown)}; "
                f"train has: {_some(given['train'])}; rename them or add them to train"
            )
    if len(given["train"]) < 2:
        raise DataError(f"{where}: one class only: {_some(given['train'])}; at least 2 class folders are needed")


def _check_classes(
    where: str, classes: Iterable[str], photos: Iterable[Photo], splits: Mapping[str, str], why: str = ""
) -> None:
    """Every class needs an image in train and in val, and test needs one at all; splits: split -> ' in <split>'."""
    counts = Counter((photo.split, photo.label) for photo in photos)
    for split, in_split in splits.items():
        empty = [label for label in classes if not counts[split, label]]
        if split == "test" and len(empty) < len(list(classes)):
            continue
        if empty:
            raise DataError(
                f"{where}: no readable image of class {_some(empty)}{in_split}{why}; add images, or remove "
                f"{'the test folder' if split == 'test' else 'the class'}"
            )


def _some(names: Iterable[str], most: int = 8) -> str:
    names = sorted(names)
    return ", ".join(map(repr, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")


# The cache: decode into it, load from it.


class Decoded(NamedTuple):
    photo: Photo
    digest: str  # of the file's bytes; '' when the system refused to read them
    reason: str  # why it is unreadable; '' when its pixels are in the cache


def _decode_to_cache(source: Source, cache: Path, report: Report) -> PhotoData:
    where = str(source.path)
    sizes, folders = source.files()
    top = _wrapper(sizes, folders)
    files = {file.removeprefix(top): size for file, size in sizes.items() if file.startswith(top)}
    photos, left_out = sort_photos(where, files, {name.removeprefix(top) for name in folders if name.startswith(top)})
    _check_file_sizes(where, photos, files)

    def read(photo: Photo) -> bytes:
        return source.read(top + photo.path)

    with warnings.catch_warnings(), _cache_errors(cache):
        warnings.simplefilter("ignore")  # Pillow's, about odd metadata: they would break the progress bar
        side = _choose_side(where, photos, read)
        with _building_folder(cache, len(photos) * (3 * side**2 + 200)) as folder:
            decoded = _decode(photos, partial(_decode_one, where, side, read), folder, side, report)
            fingerprint = _write_index(where, folder, side, decoded)
            bad = [(one.photo.path, one.reason) for one in decoded if one.reason]
            known = {"path": where, "fingerprint": fingerprint, "skipped": sorted(left_out + bad)}
            _publish(folder, source.name, cache, known)
        if all(one.digest for one in decoded):  # a file the system refused today may be readable tomorrow
            (cache / "opened").mkdir(exist_ok=True)
            _write_json(cache / "opened" / f"{source.manifest}.json", known)
    return _load(source.name, cache, known)


def _check_file_sizes(where: str, photos: Iterable[Photo], sizes: Mapping[str, int]) -> None:
    for photo in photos:
        if sizes[photo.path] > MAX_FILE_BYTES:
            raise DataError(
                f"{where}: {photo.path!r} has {sizes[photo.path] / 2**20:,.0f} MiB, at most "
                f"{MAX_FILE_BYTES / 2**20:.0f} are allowed; remove the file or save it smaller"
            )


def _choose_side(where: str, photos: list[Photo], read: Callable[[Photo], bytes]) -> int:
    """The median of the shorter sides, of all images or of a sample spread evenly over them."""
    count = min(len(photos), SAMPLED_SIZES)
    sides, reason = [], ""
    for photo in (photos[place * len(photos) // count] for place in range(count)):
        try:
            sides.append(min(photo_size(read(photo), f"{where}: {photo.path!r}")))
        except (UnreadableImage, OSError) as error:
            reason = reason or f"{photo.path!r}: {error}"
    if not sides:
        raise DataError(f"{where}: not one of {count} images can be read, the first is {reason}; {LAYOUT}")
    return min(MAX_SIDE, max(MIN_SIDE, int(statistics.median(sides) + 0.5)))


def _decode_one(where: str, side: int, read: Callable[[Photo], bytes], photo: Photo) -> tuple[Decoded, Any]:
    """What became of one image, and its pixels or None."""
    digest = ""
    try:
        data = read(photo)
        digest = hashlib.sha256(data).hexdigest()
        return Decoded(photo, digest, ""), decode_photo(data, side, f"{where}: {photo.path!r}")
    except UnreadableImage as error:
        return Decoded(photo, digest or "unreadable", str(error)), None
    except OSError as error:
        return Decoded(photo, "", f"cannot be read: {error.strerror or error}"), None


def _decode(photos: list[Photo], decode_one: Callable, folder: Path, side: int, report: Report) -> list[Decoded]:
    """Writes the pixels of the readable photos, one file a split, in the order of photos."""
    decoded = []
    with closing(_in_order(decode_one, photos)) as results:
        for split, group in groupby(photos, key=lambda photo: photo.split):
            with _RowFile(folder / f"{split}-{side}.npy", side) as rows:
                for _ in group:
                    one, pixels = next(results)
                    decoded.append(one)
                    if pixels is not None:
                        rows.add(pixels)
                    report(len(decoded), len(photos))
    return decoded


def _write_index(where: str, folder: Path, side: int, decoded: list[Decoded]) -> str:
    """Checks what could be read, writes names and index; gives back the fingerprint."""
    kept = [one.photo for one in decoded if not one.reason]
    bad = [one for one in decoded if one.reason]
    why = f" ({len(bad)} unreadable, the first is {bad[0].photo.path!r}: {bad[0].reason})" if bad else ""
    classes = sorted({one.photo.label for one in decoded})
    splits = list(dict.fromkeys(one.photo.split for one in decoded))
    _check_classes(where, classes, kept, {split: f" in {split}" for split in splits}, why)
    places = {label: place for place, label in enumerate(classes)}
    names = {split: [photo.path for photo in kept if photo.split == split] for split in splits}
    labels = {split: [places[photo.label] for photo in kept if photo.split == split] for split in splits}
    missing = [label for label in classes if places[label] not in set(labels.get("test", places.values()))]
    digest = hashlib.sha256(f"mnv2_sweep photos {CACHE_VERSION}\n".encode())
    for photo, file_digest, _ in sorted(decoded):
        digest.update(json.dumps([*photo, file_digest]).encode())
    index = {
        "fingerprint": digest.hexdigest(),
        "classes": classes,
        "side": side,
        "labels": labels,
        "notes": [f"test has no image of class {_some(missing)}"] if missing else [],
    }
    _write_json(folder / "names.json", names)
    _write_json(folder / "index.json", index)
    return index["fingerprint"]


def _load(name: str, cache: Path, known: Mapping[str, Any]) -> PhotoData | None:
    """The data whose fingerprint is known, or None unless its cache folder is whole."""
    try:
        folder = cache / _folder_name(name, known["fingerprint"])
        index = json.loads((folder / "index.json").read_text())
        labels = {split: np.array(places, dtype=np.int64) for split, places in index["labels"].items()}
        for split, places in labels.items():
            shape = (len(places), index["side"], index["side"], 3)
            if np.load(folder / f"{split}-{index['side']}.npy", mmap_mode="r").shape != shape:
                return None
        (folder / "names.json").stat()
        skipped = tuple((path, reason) for path, reason in known["skipped"])
        classes, notes = tuple(index["classes"]), tuple(index["notes"])
        return PhotoData(name, index["fingerprint"], classes, labels, index["side"], skipped, notes, folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # no such folder, or something damaged it
        return None


def _write_smaller(native: Path, file: Path, side: int) -> None:
    """The same images at a smaller side; complete or not there at all, also when two processes make it at once."""
    images = np.load(native, mmap_mode="r")
    _check_space(file.parent, len(images) * 3 * side**2)
    temporary = file.with_name(f"{BUILDING}{uuid.uuid4().hex}")
    try:
        with (
            _RowFile(temporary, side) as rows,
            closing(_in_order(partial(_shrink_row, side), _rows(native))) as smaller,
        ):
            for pixels in smaller:
                rows.add(pixels)
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def _rows(file: Path) -> Iterator[np.ndarray]:
    """The images of a .npy file, read one by one: a map that is walked through stays in memory, this does not."""
    images = np.load(file, mmap_mode="r")
    with file.open("rb") as opened:
        opened.seek(images.offset)
        for _ in range(len(images)):
            yield np.frombuffer(opened.read(images[0].nbytes), np.uint8).reshape(images.shape[1:])


def _shrink_row(side: int, pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((side, side), RESAMPLING))


def _in_order(work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """work(item) for each item, in order, in a few threads with a bounded number of results waiting."""
    waiting = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) == 8 * THREADS:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class _RowFile:
    """Images of one .npy file, written in order; the header, which holds their number, is written again at the end."""

    def __init__(self, file: Path, side: int):
        self.out, self.side, self.rows = file.open("xb"), side, 0
        self._write_header()

    def add(self, pixels: np.ndarray) -> None:
        self.out.write(np.ascontiguousarray(pixels).data)
        self.rows += 1

    def __enter__(self) -> "_RowFile":
        return self

    def __exit__(self, *error: object) -> None:
        with self.out:
            self.out.seek(0)
            self._write_header()
            self.out.flush()
            os.fsync(self.out.fileno())

    def _write_header(self) -> None:
        # NumPy leaves room in a header for more digits in the first axis, so both headers have one length.
        shape = (self.rows, self.side, self.side, 3)
        np.lib.format.write_array_header_1_0(self.out, {"descr": "|u1", "fortran_order": False, "shape": shape})


@contextmanager
def _building_folder(cache: Path, need_bytes: int) -> Iterator[Path]:
    """A folder in the cache to build in; gone afterwards unless it was renamed."""
    fresh = not cache.exists()
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"{BUILDING}{uuid.uuid4().hex}"
    try:
        _check_space(cache, need_bytes)
        for abandoned in cache.glob(f"{BUILDING}*"):  # by runs that were killed
            if time.time() - abandoned.stat().st_mtime > 24 * 3600:
                shutil.rmtree(abandoned, ignore_errors=True)
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if fresh:
            with suppress(OSError):  # not empty: then all went well
                cache.rmdir()


def _publish(folder: Path, name: str, cache: Path, known: Mapping[str, Any]) -> None:
    """Gives a complete cache folder its name, unless another process was first; a damaged one is replaced."""
    final = cache / _folder_name(name, known["fingerprint"])
    if final.exists() and not _load(name, cache, known):
        shutil.rmtree(final)
    try:
        folder.rename(final)
    except OSError:
        if not _load(name, cache, known):
            raise


def _check_space(folder: Path, need_bytes: int) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if need_bytes > free_bytes:
        raise DataError(
            f"{folder}: the image cache needs {need_bytes / 1e6:,.0f} MB, {free_bytes / 1e6:,.0f} MB are free; "
            "free some or name a cache folder on another disk"
        )


@contextmanager
def _cache_errors(cache: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise DataError(f"{cache}: the image cache cannot be used: {what}; mend that or name another folder") from error


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError):
        return None


def _write_json(file: Path, value: Any) -> None:
    temporary = file.with_name(f"{BUILDING}{uuid.uuid4().hex}")
    with temporary.open("w") as opened:
        json.dump(value, opened)
        opened.flush()
        os.fsync(opened.fileno())
    os.replace(temporary, file)


def _folder_name(name: str, fingerprint: str) -> str:
    return f"{name}-{fingerprint[:12]}"
