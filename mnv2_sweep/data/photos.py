"""A folder or zip of class folders -> PhotoData: uint8 images in a memory-mapped cache, keyed by the content.

    path --open_photo_files--> files --list_photos--> PhotoSource (split, class, path) --_decode--> cache --> PhotoData

Images are decoded to squares once, in one pass that also hashes them: in a few threads, written in order with plain
file writes, so that only names and hashes grow with the number of images. Smaller squares are made of those. A
rectangle shows what the squares have lost, so it is decoded from the photos again, for each size that is asked for;
they must still be what was hashed.

    <cache>/<name>-<fingerprint>/   index.json, names.json, digests.json, <split>-<size>.npy
    <cache>/opened/<manifest>.json  which fingerprint a path had when its names, sizes and times were these

The fingerprint is over (split, class, path, sha256 of the file) and CACHE_VERSION, never over times or places.
A cache folder is made under another name and renamed when complete, so a killed run leaves nothing that is trusted.
"""

import json
import shutil
import statistics
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.files import open_whole
from mnv2_sweep.base.size import Size, square
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
from mnv2_sweep.data.layout import LAYOUT, Photo, PhotoFiles, check_classes, open_photo_files, some_names
from mnv2_sweep.data.source import Decoded, PhotoSource, decode_one, fingerprint_photos, in_order, list_photos

MAX_SIDE = 256
MIN_SIDE = 8
SAMPLED_SIZES = 1000  # headers read to choose the cached side
DIGESTS = "digests.json"

Report = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class PhotoData:
    """Labelled images; the pixels stay on disk."""

    name: str
    fingerprint: str
    classes: tuple[str, ...]
    labels: dict[str, np.ndarray]  # split -> int64 [N]: positions in classes
    side: int  # of the cached squares, in pixels
    skipped: tuple[tuple[str, str], ...]  # (path, reason) of files that are no image or unreadable
    notes: tuple[str, ...]  # what a user should know but need not mend
    folder: Path
    source: Path  # the folder or zip that holds the photos

    @cached_property
    def names(self) -> dict[str, list[str]]:
        """Return by split the path inside the data of each image, in the order of the labels."""
        with cache_errors(self.folder):
            return json.loads((self.folder / "names.json").read_text())

    def stored_size(self, size: Size) -> Size:
        """Return the size at which images of that size are kept: its shorter side is at most `side`."""
        return size if min(size) <= self.side else size.scale(self.side / min(size))

    def decoded_size(self, size: Size) -> Size:
        """Return the size at which photos are decoded for images of that size: squares always at `side`."""
        return square(self.side) if size.is_square else self.stored_size(size)

    def pixels(self, split: str, size: Size) -> np.ndarray:
        """Return the images, read-only uint8 [N, *stored_size(size), 3] in a memory map, made on first use.

        Each is the largest part of a photo that has the aspect of the size, out of its middle. Raises DataError, for a
        rectangle also where the photos are gone or have changed.
        """
        if split not in self.labels:
            raise DataError(f"{self.name}: no split {split!r}; there are: {', '.join(self.labels)}")
        if min(size) < 1:
            raise DataError(f"{self.name}: images of {size} px were asked for; a side is at least 1 pixel")
        size = self.stored_size(size)
        file = self.folder / f"{split}-{size}.npy"
        with cache_errors(self.folder):
            if not file.exists() and size.is_square:
                _write_smaller(self.folder / f"{split}-{self.side}.npy", file, size)
            elif not file.exists():
                _write_rectangles(self, split, file, size)
            return np.load(file, mmap_mode="r")

    def list_photos(self, split: str) -> tuple[PhotoSource, list[Photo]]:
        """Return the source and the photos of a split, in the order of its labels. Raises DataError where they are gone
        or are others."""
        source = _open_source(self)
        found = {photo.path: photo for photo in source.photos}
        for path in self.names[split]:
            if path not in found:
                raise _changed(self, repr(path))
        return source, [found[path] for path in self.names[split]]


def _no_report(done: int, total: int) -> None:
    pass


def open_photos(path: Path, cache: Path, report: Report = _no_report) -> PhotoData:
    """Open the data at path, decoded into the cache unless it is there; report(done, total) follows the decoding."""
    photo_files, cache = open_photo_files(Path(path)), Path(cache)
    if photo_files.path.is_dir() and cache.resolve().is_relative_to(photo_files.path):
        raise DataError(f"{cache}: the cache lies inside the data folder {path}; name a cache folder outside of it")
    known = read_json(cache / "opened" / f"{photo_files.manifest}.json")
    return (known and _load(photo_files.name, cache, known)) or _decode_to_cache(photo_files, cache, report)


def find_decoded(fingerprint: str, cache: Path, source: Path) -> PhotoData | None:
    """Return what the cache has of photos that were at `source` and may be gone; None where that is not all there."""
    for folder in sorted(cache.glob(_folder_name("*", fingerprint))):
        name = folder.name.removesuffix(_folder_name("", fingerprint))
        found = _load(name, cache, {"path": str(source), "fingerprint": fingerprint, "skipped": []})
        if found is not None and found.fingerprint == fingerprint:
            return found
    return None


def _decode_to_cache(photo_files: PhotoFiles, cache: Path, report: Report) -> PhotoData:
    source = list_photos(photo_files)
    where, photos = source.where, source.photos
    with warnings.catch_warnings(), cache_errors(cache):
        warnings.simplefilter("ignore")  # Pillow's, about odd metadata: they would break the progress bar
        size = square(_choose_side(source))
        with building_folder(cache, len(photos) * (3 * size.area + 200)) as folder:
            decoded = _decode(source, folder, size, report)
            fingerprint = _write_index(where, folder, size.width, decoded)
            bad = [(one.photo.path, one.reason) for one in decoded if one.reason]
            known = {"path": where, "fingerprint": fingerprint, "skipped": sorted(source.left_out + bad)}
            _publish(folder, photo_files.name, cache, known)
        if all(one.digest for one in decoded):  # a file the system refused today may be readable tomorrow
            write_json(cache / "opened" / f"{photo_files.manifest}.json", known)
    return _load(photo_files.name, cache, known)


def _choose_side(source: PhotoSource) -> int:
    """Choose the median of the shorter sides, of all images or of a sample spread evenly over them."""
    where, photos = source.where, source.photos
    count = min(len(photos), SAMPLED_SIZES)
    sides, reason = [], ""
    for photo in (photos[place * len(photos) // count] for place in range(count)):
        try:
            sides.append(min(photo_size(source.read(photo), f"{where}: {photo.path!r}")))
        except (UnreadableImage, OSError) as error:
            reason = reason or f"{photo.path!r}: {error}"
    if not sides:
        raise DataError(f"{where}: not one of {count} images can be read, the first is {reason}; {LAYOUT}")
    return min(MAX_SIDE, max(MIN_SIDE, int(statistics.median(sides) + 0.5)))


def _decode(source: PhotoSource, folder: Path, size: Size, report: Report) -> list[Decoded]:
    """Write the pixels of the readable photos, one file a split, in the order of photos."""
    decoded = []
    with closing(in_order(partial(decode_one, source, size), source.photos)) as results:
        for split, group in groupby(source.photos, key=lambda photo: photo.split):
            with open_whole(folder / f"{split}-{size}.npy") as opened, RowFile(opened, size) as rows:
                for _ in group:
                    one, pixels = next(results)
                    decoded.append(one)
                    if pixels is not None:
                        rows.add(pixels)
                    report(len(decoded), len(source.photos))
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
    index = {
        "fingerprint": fingerprint_photos(decoded),
        "classes": classes,
        "side": side,
        "labels": labels,
        "notes": _notes(decoded, missing),
    }
    write_json(folder / "names.json", names)
    _write_digests(folder, decoded)
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
        return PhotoData(
            _printable(name), index["fingerprint"], classes, labels, index["side"], skipped, notes, folder,
            Path(known["path"]),
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # no such folder, or something damaged it
        return None


def _printable(name: str) -> str:
    """Return a file name as it can be shown, drawn and stored: bytes that are no UTF-8 become question marks."""
    return name.encode("utf-8", "replace").decode()


def _write_smaller(native: Path, file: Path, size: Size) -> None:
    """Write the same images at a smaller size; complete or not there at all, also when two processes make it at
    once."""
    images = np.load(native, mmap_mode="r")
    check_space(file.parent, len(images) * 3 * size.area)
    with (
        open_whole(file) as opened,
        RowFile(opened, size) as rows,
        closing(in_order(partial(_shrink_row, size), read_rows(native))) as smaller,
    ):
        for pixels in smaller:
            rows.add(pixels)


def find_first_size(dataset, size: Size) -> Size | None:
    """Return the size at which a data set decodes photos for images of that size; None where it is not of photos."""
    return dataset.decoded_size(size) if isinstance(dataset, PhotoData) else None


def read_pixels(data: bytes, size: Size, first_size: Size | None, name: str) -> np.ndarray:
    """Return what `pixels` at that size holds of a photo in data sets that have this `find_first_size`, uint8 [h, w,
    3]; `name` is only for messages. Raises UnreadableImage, or DataError for an image bomb."""
    pixels = decode_photo(data, first_size or size, name)
    return _shrink_row(size, pixels) if size.width < pixels.shape[1] else pixels


def _shrink_row(size: Size, pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((size.width, size.height), RESAMPLING))


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


# ---------------------------------------------------------------- rectangles


def _write_rectangles(data: PhotoData, split: str, file: Path, size: Size) -> None:
    """Write the images of a split from the photos themselves, whole or not at all. Raises DataError where one is not
    what it was when the squares were made."""
    source, photos = data.list_photos(split)
    digests = _read_digests(data, source)
    check_space(file.parent, len(photos) * 3 * size.area)
    with (
        warnings.catch_warnings(),
        open_whole(file) as opened,
        RowFile(opened, size) as rows,
        closing(in_order(partial(decode_one, source, size), photos)) as results,
    ):
        warnings.simplefilter("ignore")  # as where the squares were made
        for one, pixels in results:
            if pixels is None or one.digest != digests.get(one.photo.path):
                raise _changed(data, repr(one.photo.path) + (f" ({one.reason})" if one.reason else ""))
            rows.add(pixels)


def _open_source(data: PhotoData) -> PhotoSource:
    if not data.source.exists():
        raise DataError(
            f"{data.source}: not there any more; rectangles are made of the photos themselves (squares are kept in "
            f"{data.folder}): put the data back"
        )
    return list_photos(open_photo_files(data.source))


def _read_digests(data: PhotoData, source: PhotoSource) -> dict[str, str]:
    """Read by path the digest of each photo when the squares were made."""
    known = read_json(data.folder / DIGESTS)
    if known is None:  # made by an earlier version, which kept no more than the digest of all
        hashed = [one for one, _ in in_order(partial(decode_one, source, None), source.photos)]
        if fingerprint_photos(hashed) != data.fingerprint:
            raise _changed(data, "some photo")
        _write_digests(data.folder, hashed)
        known = read_json(data.folder / DIGESTS)
    return known


def _write_digests(folder: Path, decoded: Iterable[Decoded]) -> None:
    write_json(folder / DIGESTS, {one.photo.path: one.digest for one in decoded})


def _changed(data: PhotoData, what: str) -> DataError:
    return DataError(
        f"{data.source}: {what} is not what it was when the data were opened; put it back, or run the command again, "
        "which opens the data as they are now"
    )
