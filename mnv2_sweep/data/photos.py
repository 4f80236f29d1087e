"""Photos in a folder or an archive -> PhotoData: uint8 images in a memory-mapped cache, keyed by the content.

    path --open_photo_files--> files --list_photos--> PhotoSource (split, class, path) --_decode--> cache --> PhotoData

Images are decoded to squares once, in one pass that also hashes them: in a few threads, written in order with plain
file writes, so that only names and hashes grow with the number of images. Smaller squares are made of those. A
rectangle shows what the squares have lost, so it is decoded from the photos again, for each size that is asked for;
they must still be what was hashed.

    <cache>/<name>-<fingerprint>/   index.json, names.json, digests.json, similar.json, <split>-<size>.npy
    <cache>/opened/<manifest>.json  which fingerprint a path had when its names, sizes and times were these

The fingerprint is over (split, class, path, sha256 of the file) and CACHE_VERSION, never over times or places; where
photos are decoded otherwise than usual (`Decoding`), over that too. The path is that of class folders, whatever the
layout. A cache folder is made under another name and renamed when complete, so a killed run leaves nothing that is
trusted; and whatever is read of it is held against its sums (`cache`), and made anew where it is not what was written.
"""

import hashlib
import json
import shutil
import statistics
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.files import open_whole, remove_abandoned
from mnv2_sweep.base.size import Size, square
from mnv2_sweep.data.asked import PhotoOptions, make_name
from mnv2_sweep.data.cache import (
    RowFile,
    building_folder,
    cache_errors,
    check_space,
    open_or_make,
    read_json,
    read_rows,
    seal,
    write_json,
)
from mnv2_sweep.data.decode import FULL_GREY, RESAMPLING, USUAL, Decoding, UnreadableImage, decode_photo, photo_size
from mnv2_sweep.data.files import PhotoFiles, open_photo_files
from mnv2_sweep.data.layout import LAYOUT, Photo, check_classes, some_names
from mnv2_sweep.data.similar import MOST_BITS, WORDS, describe_similar, hash_pixels
from mnv2_sweep.data.source import (
    Decoded,
    PhotoSource,
    decode_one,
    fingerprint_photos,
    in_order,
    list_photos,
    open_source,
)

MAX_SIDE = 256
MIN_SIDE = 8
SAMPLED_SIZES = 1000  # headers read to choose the cached side
DIGESTS, INDEX, NAMES, SIMILAR = "digests.json", "index.json", "names.json", "similar.json"

Report = Callable[[int, int], None]
Say = Callable[[str], None]


def _no_report(done: int, total: int) -> None:
    pass


def _say_nothing(line: str) -> None:
    pass


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
    source: Path  # the folder or archive that holds the photos
    options: PhotoOptions = PhotoOptions()
    decoding: Decoding = USUAL
    groups: Mapping[str, str] = field(default_factory=dict)  # path -> group, of the images that have one
    loss: float = 0.0  # share of the photos' pixels outside of their centre squares; 0 where that is not known
    say: Say = _say_nothing  # hears what was damaged and is made anew

    @cached_property
    def names(self) -> dict[str, list[str]]:
        """Return by split the path of each image, in the order of the labels."""
        with cache_errors(self.folder):
            names = read_json(self.folder / NAMES)
        if names is None:
            raise DataError(f"{self.folder}: {NAMES} is damaged; run the command again, which makes the cache anew")
        return names

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
        shape = (len(self.labels[split]), *size, 3)
        with cache_errors(self.folder):
            return open_or_make(file, shape, lambda: self._make(split, file, size), self.say)

    def _make(self, split: str, file: Path, size: Size) -> None:
        """Write the images of a split: smaller squares from the larger ones, all others from the photos."""
        if size.is_square and size.width < self.side:
            self.pixels(split, square(self.side))  # sound, or made anew
            _write_smaller(self.folder / f"{split}-{self.side}.npy", file, size)
        else:
            _write_photos(self, split, file, size)

    def list_photos(self, split: str) -> tuple[PhotoSource, list[Photo]]:
        """Return the source and the photos of a split, in the order of its labels. Raises DataError where they are gone
        or are others."""
        source = _open_source(self)
        found = {photo.path: photo for photo in source.photos}
        for path in self.names[split]:
            if path not in found:
                raise _changed(self, repr(path))
        return source, [found[path] for path in self.names[split]]


def open_photos(
    path: Path,
    cache: Path,
    report: Report = _no_report,
    options: PhotoOptions | None = None,
    say: Say = _say_nothing,
) -> PhotoData:
    """Open the data at path, decoded into the cache unless it is there; report(done, total) follows the decoding, and
    `say` hears what was damaged and is made anew."""
    options = options or PhotoOptions()
    photo_files, cache = open_photo_files(Path(path), options), Path(cache)
    if photo_files.path.is_dir() and cache.resolve().is_relative_to(photo_files.path):
        raise DataError(f"{cache}: the cache lies inside the data folder {path}; name a cache folder outside of it")
    file = cache / "opened" / f"{_manifest(photo_files, options)}.json"
    known = read_json(file)
    data = known and _load(photo_files.name, cache, known, options)
    if not data:
        if file.exists():
            say(f"the image cache was damaged ({cache}); built anew")
        data = _decode_to_cache(photo_files, cache, file, report, options)
    data = replace(data, say=say)
    return replace(data, notes=(*data.notes, *_find_similar(data)))


def _find_similar(data: PhotoData) -> list[str]:
    """Return what is to be said of photos that look alike, looked for once in the cached squares."""
    file = data.folder / SIMILAR
    known = read_json(file)
    if known is not None and known.get("bits") == MOST_BITS:
        return known["notes"]
    if known is None and file.exists():
        data.say(f"{file}: damaged; made anew")
    hashes = {}
    for split in data.labels:
        data.pixels(split, square(data.side))  # sound, or made anew
        with cache_errors(data.folder):
            rows = read_rows(data.folder / f"{split}-{data.side}.npy")
            with closing(in_order(hash_pixels, rows)) as found:
                hashes[split] = np.array([*found], np.uint64).reshape(-1, WORDS)
    notes = describe_similar(data.names, data.labels, hashes)
    with suppress(OSError):  # a cache that is only read here
        write_json(file, {"bits": MOST_BITS, "notes": notes})
    return notes


def _manifest(photo_files: PhotoFiles, options: PhotoOptions) -> str:
    """Name 'these files, read in this way'; a table of labels counts by what is in it."""
    if options.is_usual:
        return photo_files.manifest
    tables = [Path(table).read_bytes() for table in options.labels if Path(table).is_file()]
    facts = [photo_files.manifest, make_name("", options), *(hashlib.sha256(table).hexdigest() for table in tables)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def find_decoded(fingerprint: str, cache: Path, source: Path, options: PhotoOptions | None = None) -> PhotoData | None:
    """Return what the cache has of photos that were at `source` and may be gone; None where that is not all there."""
    for folder in sorted(cache.glob(_folder_name("*", fingerprint))):
        name = folder.name.removesuffix(_folder_name("", fingerprint))
        found = _load(
            name, cache, {"path": str(source), "fingerprint": fingerprint, "skipped": []}, options or PhotoOptions()
        )
        if found is not None and found.fingerprint == fingerprint:
            return found
    return None


def _decode_to_cache(
    photo_files: PhotoFiles, cache: Path, opened: Path, report: Report, options: PhotoOptions
) -> PhotoData:
    source = list_photos(photo_files, options)
    where, photos = source.where, source.photos
    with warnings.catch_warnings(), cache_errors(cache):
        warnings.simplefilter("ignore")  # Pillow's, about odd metadata: they would break the progress bar
        side, loss = _look_at_sizes(source, options.fit)
        size = square(side)
        with building_folder(cache, len(photos) * (3 * size.area + 200)) as folder:
            decoding, decoded = _decode(source, folder, size, report, options.fit)
            notes = [*source.notes, *_grey_notes(decoding)]
            fingerprint = _write_index(source, folder, side, decoded, decoding)
            bad = [(source.file_of(one.photo), one.reason) for one in decoded if one.reason]
            known = {"path": where, "fingerprint": fingerprint, "skipped": sorted(source.left_out + bad)}
            known |= {"notes": notes, "groups": source.groups, "loss": loss}
            _publish(folder, photo_files.name, cache, known, options)
        remove_abandoned(opened.parent)
        if all(one.digest for one in decoded):  # a file the system refused today may be readable tomorrow
            write_json(opened, known)
    return _load(photo_files.name, cache, known, options)


def _grey_notes(decoding: Decoding) -> list[str]:
    if decoding.white == FULL_GREY:
        return []
    bits = decoding.white.bit_length()
    return [f"16-bit greys use {bits} bits of their 16 in this set, so {decoding.white:,} is white"]


def _look_at_sizes(source: PhotoSource, fit: str) -> tuple[int, float]:
    """Choose the cached side, and return the share of the pixels outside of centre squares; of all images or of a
    sample spread evenly over them.

    The side is the median of the shorter sides, of the longer where all of a photo is to be seen.
    """
    where, photos = source.where, source.photos
    count = min(len(photos), SAMPLED_SIZES)
    sizes, reason = [], ""
    for photo in (photos[place * len(photos) // count] for place in range(count)):
        name = source.file_of(photo)
        try:
            sizes.append(photo_size(source.read(photo), f"{where}: {name!r}"))
        except (UnreadableImage, OSError) as error:
            reason = reason or f"{name!r}: {error}"
    if not sizes:
        raise DataError(f"{where}: not one of {count} images can be read, the first is {reason}; {LAYOUT}")
    side = statistics.median(map(min if fit == "crop" else max, sizes))
    loss = 1 - sum(min(size) ** 2 for size in sizes) / sum(width * height for width, height in sizes)
    return min(MAX_SIDE, max(MIN_SIDE, int(side + 0.5))), loss


def _decode(source: PhotoSource, folder: Path, size: Size, report: Report, fit: str) -> tuple[Decoding, list[Decoded]]:
    """Write the pixels of the readable photos, one file a split, in the order of photos.

    Where 16-bit greys turn out to use fewer bits, once more, scaled by those that all of them use."""
    decoding = Decoding(fit)
    decoded, peak = _decode_once(source, folder, size, report, decoding)
    if 0 < peak < 2**15:
        decoding = Decoding(fit, 2 ** peak.bit_length() - 1)
        decoded, _ = _decode_once(source, folder, size, report, decoding)
    return decoding, decoded


def _decode_once(
    source: PhotoSource, folder: Path, size: Size, report: Report, decoding: Decoding
) -> tuple[list[Decoded], int]:
    decoded, largest = [], 0
    work = partial(decode_one, source, size, decoding=decoding)
    with closing(in_order(work, source.photos)) as results:
        for split, group in groupby(source.photos, key=lambda photo: photo.split):
            file = folder / f"{split}-{size}.npy"
            with open_whole(file) as opened, RowFile(opened, size) as rows:
                for _ in group:
                    one, pixels, peak = next(results)
                    decoded.append(one)
                    largest = max(largest, peak)
                    if pixels is not None:
                        rows.add(pixels)
                    report(len(decoded), len(source.photos))
            seal(file)
    return decoded, largest


def _write_index(source: PhotoSource, folder: Path, side: int, decoded: list[Decoded], decoding: Decoding) -> str:
    """Check what could be read, write names and index, and return the fingerprint."""
    kept = [one.photo for one in decoded if not one.reason]
    bad = [one for one in decoded if one.reason]
    first = f"the first is {source.file_of(bad[0].photo)!r}: {bad[0].reason}" if bad else ""
    why = f" ({len(bad)} unreadable, {first})" if bad else ""
    classes = sorted({one.photo.label for one in decoded})
    splits = list(dict.fromkeys(one.photo.split for one in decoded))
    check_classes(source.where, classes, kept, {split: f" in {split}" for split in splits}, why)
    places = {label: place for place, label in enumerate(classes)}
    names = {split: [photo.path for photo in kept if photo.split == split] for split in splits}
    labels = {split: [places[photo.label] for photo in kept if photo.split == split] for split in splits}
    tested = set(labels.get("test", places.values()))
    missing = [label for label in classes if places[label] not in tested]
    index = {
        "fingerprint": _fingerprint(decoded, decoding),
        "classes": classes,
        "side": side,
        "labels": labels,
        "notes": _notes(decoded, missing),
    }
    if decoding != USUAL:
        index["white"] = decoding.white
    write_json(folder / NAMES, names)
    _write_digests(folder, decoded)
    write_json(folder / INDEX, index)
    return index["fingerprint"]


def _fingerprint(decoded: Iterable[Decoded], decoding: Decoding) -> str:
    """Return the digest of the photos, and of how they are decoded where that is not the usual way."""
    photos = fingerprint_photos(decoded)
    if decoding == USUAL:
        return photos
    return hashlib.sha256(json.dumps([photos, decoding.fit, decoding.white]).encode()).hexdigest()


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


def _load(name: str, cache: Path, known: Mapping[str, Any], options: PhotoOptions) -> PhotoData | None:
    """Load the data whose fingerprint is known; None unless its cache folder is there and says what was written."""
    try:
        folder = cache / _folder_name(name, known["fingerprint"])
        index = read_json(folder / INDEX)
        if index is None or index["fingerprint"] != known["fingerprint"] or read_json(folder / NAMES) is None:
            return None
        labels = {split: np.array(places, dtype=np.int64) for split, places in index["labels"].items()}
        skipped = tuple((path, reason) for path, reason in known["skipped"])
        notes = (*known.get("notes", ()), *index["notes"])
        decoding = Decoding(options.fit, index.get("white", FULL_GREY))
        return PhotoData(
            _printable(name if options.fit == USUAL.fit else f"{name}-{options.fit}"), index["fingerprint"],
            tuple(map(_printable, index["classes"])), labels, index["side"], skipped, notes, folder,
            Path(known["path"]), options, decoding, known.get("groups", {}), known.get("loss", 0.0),
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
    seal(file)


def find_first_size(dataset, size: Size) -> Size | None:
    """Return the size at which a data set decodes photos for images of that size; None where it is not of photos."""
    return dataset.decoded_size(size) if isinstance(dataset, PhotoData) else None


def find_decoding(dataset) -> Decoding:
    """Return how a data set decodes photos."""
    return dataset.decoding if isinstance(dataset, PhotoData) else USUAL


def read_pixels(data: bytes, size: Size, first_size: Size | None, name: str, decoding: Decoding = USUAL) -> np.ndarray:
    """Return what `pixels` at that size holds of a photo in data sets that have this `find_first_size` and this
    `find_decoding`, uint8 [h, w, 3]; `name` is only for messages. Raises UnreadableImage, or DataError for an image
    bomb."""
    pixels = decode_photo(data, first_size or size, name, decoding)
    return _shrink_row(size, pixels) if size.width < pixels.shape[1] else pixels


def _shrink_row(size: Size, pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((size.width, size.height), RESAMPLING))


def _publish(folder: Path, name: str, cache: Path, known: Mapping[str, Any], options: PhotoOptions) -> None:
    """Give a complete cache folder its name, unless another process was first; a damaged one is replaced."""
    final = cache / _folder_name(name, known["fingerprint"])
    if final.exists() and not _load(name, cache, known, options):
        shutil.rmtree(final)
    try:
        folder.rename(final)
    except OSError:
        if not _load(name, cache, known, options):
            raise


def _folder_name(name: str, fingerprint: str) -> str:
    return f"{name}-{fingerprint[:12]}"


# ---------------------------------------------------------------- from the photos again


def _write_photos(data: PhotoData, split: str, file: Path, size: Size) -> None:
    """Write the images of a split from the photos themselves, whole or not at all. Raises DataError where one is not
    what it was when the squares were made."""
    source, photos = data.list_photos(split)
    digests = _read_digests(data, source)
    check_space(file.parent, len(photos) * 3 * size.area)
    work = partial(decode_one, source, size, decoding=data.decoding)
    with (
        warnings.catch_warnings(),
        open_whole(file) as opened,
        RowFile(opened, size) as rows,
        closing(in_order(work, photos)) as results,
    ):
        warnings.simplefilter("ignore")  # as where the squares were made
        for one, pixels, _ in results:
            if pixels is None or one.digest != digests.get(one.photo.path):
                raise _changed(data, repr(source.file_of(one.photo)) + (f" ({one.reason})" if one.reason else ""))
            rows.add(pixels)
    seal(file)


def _open_source(data: PhotoData) -> PhotoSource:
    if not data.source.exists():
        raise DataError(
            f"{data.source}: not there any more; rectangles, and what was damaged in {data.folder}, are made of the "
            "photos themselves: put the data back"
        )
    return open_source(data.source, data.options)


def _read_digests(data: PhotoData, source: PhotoSource) -> dict[str, str]:
    """Read by path the digest of each photo when the squares were made."""
    known = read_json(data.folder / DIGESTS)
    if known is None:  # damaged, or of an earlier version, which kept no more than the digest of all
        hashed = [one for one, *_ in in_order(partial(decode_one, source, None), source.photos)]
        if _fingerprint(hashed, data.decoding) != data.fingerprint:
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
