"""A folder, zip or tar of photos -> PhotoSource: which photos it has, and each one's bytes, hash and pixels.

Photos are worked on in a few threads and come back in order. Archives are read in place, never extracted.
"""

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.size import Size
from mnv2_sweep.data.asked import PhotoOptions
from mnv2_sweep.data.decode import USUAL, Decoding, UnreadableImage, decode_pixels, is_image
from mnv2_sweep.data.files import CACHE_VERSION, MAX_FILE_BYTES, PhotoFiles, check_file_sizes, open_photo_files
from mnv2_sweep.data.identify import HEAD_BYTES, looks_like_image
from mnv2_sweep.data.labels import METADATA, Labelled, read_labels, read_pattern
from mnv2_sweep.data.layout import (
    AS_CLASSES,
    GENERIC,
    Photo,
    find_wrapper,
    is_unlabelled,
    some_names,
    sort_photos,
    split_of,
)
from mnv2_sweep.data.tables import Images, Table

TABLE_ENDS = (".csv", ".tsv", ".jsonl")
THREADS = min(4, os.cpu_count() or 1)


class PhotoSource(NamedTuple):
    """The photos at a path, in cache order, the files left out of them with the reason, what else was done, how a photo
    is read, its file inside the data, and the group of those that have one."""

    where: str
    photos: list[Photo]
    left_out: list[tuple[str, str]]
    notes: list[str]
    read: Callable[[Photo], bytes]
    file_of: Callable[[Photo], str]
    groups: dict[str, str]


class Decoded(NamedTuple):
    photo: Photo
    digest: str  # of the file's bytes; '' when the system refused to read them
    reason: str  # why it is unreadable; '' when its pixels are in the cache


def open_source(path: Path, options: PhotoOptions) -> PhotoSource:
    """List the photos at a path. Raises DataError where they lie as no data set does."""
    return list_photos(open_photo_files(path, options), options)


def list_photos(photo_files: PhotoFiles, options: PhotoOptions | None = None) -> PhotoSource:
    """List the photos in a folder or an archive. Raises DataError where they lie as no data set does."""
    where, options = str(photo_files.path), options or PhotoOptions()
    sizes, folders = photo_files.files()
    found = _find_images(photo_files, sizes)
    top = find_wrapper(found, folders)
    files = {file.removeprefix(top): size for file, size in sizes.items() if file.startswith(top)}
    inside = {name.removeprefix(top) for name in folders if name.startswith(top)}
    images = {file.removeprefix(top) for file in found if file.startswith(top)}

    def read(file: str) -> bytes:
        return photo_files.read(top + file)

    labelled = _read_labels(where, files, sorted(images), options, read)
    if labelled is None:
        sorted_photos, own, groups = sort_photos(where, files, inside, images), {}, {}
        if tables := [file for file in files if _may_say_labels(file) and ("/" not in file or _is_metadata(file))]:
            said = f"{tables[0]!r} is not read, as the photos lie in class folders; --labels {tables[0]} reads it"
            sorted_photos.notes.append(said)
    else:
        sorted_photos, own, groups = labelled
    photos, left_out, notes = sorted_photos
    check_file_sizes(where, (own.get(photo.path, photo.path) for photo in photos), files)
    return PhotoSource(
        where, photos, left_out, [*photo_files.notes, *notes], lambda photo: read(own.get(photo.path, photo.path)),
        lambda photo: own.get(photo.path, photo.path), groups,
    )  # fmt: skip


def _read_labels(
    where: str, files: Mapping[str, int], images: list[str], options: PhotoOptions, read: Callable[[str], bytes]
) -> Labelled | None:
    """Return the photos that tables or names tell the classes of, None where folders do. Raises DataError."""
    if not images:
        return None
    if options.label_pattern:
        return read_pattern(where, options.label_pattern, Images(images))
    tables = [_open_table(where, name, files, read) for name in options.labels]
    if not tables and _are_flat(images):
        found = [file for file in files if _is_metadata(file)]
        tables = [_open_table(where, name, files, read) for name in found]
        if not tables and (hint := [file for file in files if _may_say_labels(file)]):
            raise DataError(
                f"{where}: photos lie flat, as {images[0]!r}, in no class folders; {some_names(hint)} in it may say "
                f"their classes: --labels {hint[0]}; a table elsewhere: --labels FILE; names: --label-pattern "
                "'{label}.{number}.jpg'; " + AS_CLASSES
            )
    return read_labels(where, tables, options.named_columns(), Images(images)) if tables else None


def _find_images(photo_files: PhotoFiles, files: Iterable[str]) -> set[str]:
    """Return the files whose names end as those of images do, or, where none does, whose content begins so."""
    if images := {file for file in files if is_image(file)}:
        return images
    for file in files:
        with suppress(UnreadableImage, OSError):
            if looks_like_image(photo_files.read(file)[:HEAD_BYTES]):
                images.add(file)
    return images


def _is_metadata(file: str) -> bool:
    return file.rpartition("/")[2] in METADATA


def _may_say_labels(file: str) -> bool:
    return file.lower().endswith(TABLE_ENDS) and "submission" not in file.lower()


def _are_flat(images: Iterable[str]) -> bool:
    """Return whether no folder around any photo can be a class."""
    parts = {part for folder in {image.rpartition("/")[0] for image in images} for part in folder.split("/") if part}
    told = [part for part in parts if split_of(part) or is_unlabelled(part)]
    others = parts.difference(told)
    return all(GENERIC.fullmatch(part.lower()) for part in others) and (bool(told) or len(others) < 2)


def _open_table(where: str, name: str, files: Mapping[str, int], read: Callable[[str], bytes]) -> Table:
    """Read a table on disk, or inside the data. Raises DataError."""
    try:
        if Path(name).is_file():
            with Path(name).open("rb") as opened:
                return Table(name, opened.read(MAX_FILE_BYTES))
        if name in files:
            check_file_sizes(where, [name], files)
            return Table(name, read(name), name.rpartition("/")[0] + "/" if "/" in name else "")
    except (OSError, UnreadableImage) as error:
        raise DataError(f"--labels {name}: cannot be read: {error}") from error
    raise DataError(f"--labels {name}: no such file, neither here nor in {where}")


def decode_one(
    source: PhotoSource, size: Size | None, photo: Photo, decoding: Decoding = USUAL
) -> tuple[Decoded, np.ndarray | None, int]:
    """Decode one photo, or only hash it where no size is given; return what became of it, its pixels, uint8
    [*size, 3], or None, and the largest value of 16-bit greys, else 0."""
    digest = ""
    try:
        data = source.read(photo)
        digest = hashlib.sha256(data).hexdigest()
        if size is None:
            return Decoded(photo, digest, ""), None, 0
        pixels, peak = decode_pixels(data, size, f"{source.where}: {source.file_of(photo)!r}", decoding)
        return Decoded(photo, digest, ""), pixels, peak
    except UnreadableImage as error:
        return Decoded(photo, digest or "unreadable", str(error)), None, 0
    except OSError as error:
        return Decoded(photo, "", f"cannot be read: {error.strerror or error}"), None, 0


def fingerprint_photos(decoded: Iterable[Decoded]) -> str:
    """Return the digest of all photos of a data set, readable or not: of their splits, classes, paths and bytes."""
    digest = hashlib.sha256(f"mnv2_sweep photos {CACHE_VERSION}\n".encode())
    for photo, file_digest, _ in sorted(decoded):
        digest.update(json.dumps([*photo, file_digest]).encode())
    return digest.hexdigest()


def in_order(work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
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
