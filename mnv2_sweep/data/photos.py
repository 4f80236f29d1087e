"""A folder or zip of class folders -> PhotoData: uint8 squares in a memory-mapped cache, keyed by the content.

    path --open_photo_files--> file names --sort_photos--> Photos (split, class, path) --_decode--> cache --> PhotoData

Images are decoded once, in one pass that also hashes them: in a few threads, written in order with plain file writes,
so that only names and hashes grow with the number of images. Zips are read in place, never extracted.

    <cache>/<name>-<fingerprint>/   index.json, names.json, <split>-<side>.npy
    <cache>/opened/<manifest>.json  which fingerprint a path had when its names, sizes and times were these

The fingerprint is over (split, class, path, sha256 of the file) and CACHE_VERSION, never over times or places.
A cache folder is made under another name and renamed when complete, so a killed run leaves nothing that is trusted.
"""

import hashlib
import json
import os
import shutil
import statistics
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.files import open_whole
from mnv2_sweep.data.cache import (
    RowFile,
    building_folder,
    cache_errors,
    check_space,
    read_json,
    read_rows,
    write_json,
)
from mnv2_sweep.data.decode import RESAMPLING, UnreadableImage, decode_photo, photo_size
from mnv2_sweep.data.layout import (
    CACHE_VERSION,
    LAYOUT,
    Photo,
    PhotoFiles,
    check_classes,
    check_file_sizes,
    find_wrapper,
    open_photo_files,
    some_names,
    sort_photos,
)

MAX_SIDE = 256
MIN_SIDE = 8
SAMPLED_SIZES = 1000  # headers read to choose the cached side
THREADS = min(4, os.cpu_count() or 1)

Report = Callable[[int, int], None]


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
        """Return by split the path inside the data of each image, in the order of the labels."""
        with cache_errors(self.folder):
            return json.loads((self.folder / "names.json").read_text())

    def pixels(self, split: str, side: int) -> np.ndarray:
        """Return the images, read-only uint8 [N, s, s, 3] in a memory map, s = min(side, self.side); made on first
        use."""
        if split not in self.labels:
            raise DataError(f"{self.name}: no split {split!r}; there are: {', '.join(self.labels)}")
        if side < 1:
            raise DataError(f"{self.name}: images of side {side} were asked for; a side is at least 1 pixel")
        side = min(side, self.side)
        file = self.folder / f"{split}-{side}.npy"
        with cache_errors(self.folder):
            if not file.exists():
                _write_smaller(self.folder / f"{split}-{self.side}.npy", file, side)
            return np.load(file, mmap_mode="r")


def _no_report(done: int, total: int) -> None:
    pass


def open_photos(path: Path, cache: Path, report: Report = _no_report) -> PhotoData:
    """Open the data at path, decoded into the cache unless it is there; report(done, total) follows the decoding."""
    photo_files, cache = open_photo_files(Path(path)), Path(cache)
    if photo_files.path.is_dir() and cache.resolve().is_relative_to(photo_files.path):
        raise DataError(f"{cache}: the cache lies inside the data folder {path}; name a cache folder outside of it")
    known = read_json(cache / "opened" / f"{photo_files.manifest}.json")
    return (known and _load(photo_files.name, cache, known)) or _decode_to_cache(photo_files, cache, report)


class Decoded(NamedTuple):
    photo: Photo
    digest: str  # of the file's bytes; '' when the system refused to read them
    reason: str  # why it is unreadable; '' when its pixels are in the cache


def _decode_to_cache(photo_files: PhotoFiles, cache: Path, report: Report) -> PhotoData:
    where = str(photo_files.path)
    sizes, folders = photo_files.files()
    top = find_wrapper(sizes, folders)
    files = {file.removeprefix(top): size for file, size in sizes.items() if file.startswith(top)}
    photos, left_out = sort_photos(where, files, {name.removeprefix(top) for name in folders if name.startswith(top)})
    check_file_sizes(where, (photo.path for photo in photos), files)

    def read(photo: Photo) -> bytes:
        return photo_files.read(top + photo.path)

    with warnings.catch_warnings(), cache_errors(cache):
        warnings.simplefilter("ignore")  # Pillow's, about odd metadata: they would break the progress bar
        side = _choose_side(where, photos, read)
        with building_folder(cache, len(photos) * (3 * side**2 + 200)) as folder:
            decoded = _decode(photos, partial(_decode_one, where, side, read), folder, side, report)
            fingerprint = _write_index(where, folder, side, decoded)
            bad = [(one.photo.path, one.reason) for one in decoded if one.reason]
            known = {"path": where, "fingerprint": fingerprint, "skipped": sorted(left_out + bad)}
            _publish(folder, photo_files.name, cache, known)
        if all(one.digest for one in decoded):  # a file the system refused today may be readable tomorrow
            write_json(cache / "opened" / f"{photo_files.manifest}.json", known)
    return _load(photo_files.name, cache, known)


def _choose_side(where: str, photos: list[Photo], read: Callable[[Photo], bytes]) -> int:
    """Choose the median of the shorter sides, of all images or of a sample spread evenly over them."""
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
    """Decode one image; return what became of it, and its pixels or None."""
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
    """Write the pixels of the readable photos, one file a split, in the order of photos."""
    decoded = []
    with closing(_in_order(decode_one, photos)) as results:
        for split, group in groupby(photos, key=lambda photo: photo.split):
            with open_whole(folder / f"{split}-{side}.npy") as opened, RowFile(opened, side) as rows:
                for _ in group:
                    one, pixels = next(results)
                    decoded.append(one)
                    if pixels is not None:
                        rows.add(pixels)
                    report(len(decoded), len(photos))
    return decoded


def _write_index(where: str, folder: Path, side: int, decoded: list[Decoded]) -> str:
    """Check what could be read, write names and index, and return the fingerprint."""
    kept = [one.photo for one in decoded if not one.reason]
    bad = [one for one in decoded if one.reason]
    why = f" ({len(bad)} unreadable, the first is {bad[0].photo.path!r}: {bad[0].reason})" if bad else ""
    classes = sorted({one.photo.label for one in decoded})
    splits = list(dict.fromkeys(one.photo.split for one in decoded))
    check_classes(where, classes, kept, {split: f" in {split}" for split in splits}, why)
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
        "notes": _notes(decoded, missing),
    }
    write_json(folder / "names.json", names)
    write_json(folder / "index.json", index)
    return index["fingerprint"]


def _notes(decoded: list[Decoded], missing: list[str]) -> list[str]:
    """Return what a user should know: classes without test images, and copies of training images outside of
    training."""
    notes = [f"test has no image of class {some_names(missing)}"] if missing else []
    trained = {one.digest for one in decoded if one.photo.split == "train" and not one.reason}
    for split in ("val", "test"):
        copies = [one.photo.path for one in decoded if one.photo.split == split and one.digest in trained]
        if copies:
            notes.append(f"{len(copies)} {split} images are exact copies of training images: {some_names(copies)}")
    return notes


def _load(name: str, cache: Path, known: Mapping[str, Any]) -> PhotoData | None:
    """Load the data whose fingerprint is known; None unless its cache folder is whole."""
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
        classes, notes = tuple(map(_printable, index["classes"])), tuple(index["notes"])
        return PhotoData(_printable(name), index["fingerprint"], classes, labels, index["side"], skipped, notes, folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # no such folder, or something damaged it
        return None


def _printable(name: str) -> str:
    """Return a file name as it can be shown, drawn and stored: bytes that are no UTF-8 become question marks."""
    return name.encode("utf-8", "replace").decode()


def _write_smaller(native: Path, file: Path, side: int) -> None:
    """Write the same images at a smaller side; complete or not there at all, also when two processes make it at
    once."""
    images = np.load(native, mmap_mode="r")
    check_space(file.parent, len(images) * 3 * side**2)
    with (
        open_whole(file) as opened,
        RowFile(opened, side) as rows,
        closing(_in_order(partial(_shrink_row, side), read_rows(native))) as smaller,
    ):
        for pixels in smaller:
            rows.add(pixels)


def _shrink_row(side: int, pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((side, side), RESAMPLING))


def _in_order(work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """Yield work(item) for each item, in order, from a few threads with a bounded number of results waiting."""
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


def _publish(folder: Path, name: str, cache: Path, known: Mapping[str, Any]) -> None:
    """Give a complete cache folder its name, unless another process was first; a damaged one is replaced."""
    final = cache / _folder_name(name, known["fingerprint"])
    if final.exists() and not _load(name, cache, known):
        shutil.rmtree(final)
    try:
        folder.rename(final)
    except OSError:
        if not _load(name, cache, known):
            raise


def _folder_name(name: str, fingerprint: str) -> str:
    return f"{name}-{fingerprint[:12]}"
