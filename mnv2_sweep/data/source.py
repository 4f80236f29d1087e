"""A folder or zip of photos -> PhotoSource: which photos it has, and each one's bytes, hash and pixels.

Photos are worked on in a few threads and come back in order. Zips are read in place, never extracted.
"""

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from mnv2_sweep.base.size import Size
from mnv2_sweep.data.decode import UnreadableImage, decode_photo
from mnv2_sweep.data.layout import (
    CACHE_VERSION,
    Photo,
    PhotoFiles,
    check_file_sizes,
    find_wrapper,
    sort_photos,
)

THREADS = min(4, os.cpu_count() or 1)


class PhotoSource(NamedTuple):
    """The photos at a path, in cache order, the files left out of them with the reason, and how a photo is read."""

    where: str
    photos: list[Photo]
    left_out: list[tuple[str, str]]
    read: Callable[[Photo], bytes]


class Decoded(NamedTuple):
    photo: Photo
    digest: str  # of the file's bytes; '' when the system refused to read them
    reason: str  # why it is unreadable; '' when its pixels are in the cache


def list_photos(photo_files: PhotoFiles) -> PhotoSource:
    """List the photos in a folder or zip. Raises DataError where they lie as no data set does."""
    where = str(photo_files.path)
    sizes, folders = photo_files.files()
    top = find_wrapper(sizes, folders)
    files = {file.removeprefix(top): size for file, size in sizes.items() if file.startswith(top)}
    photos, left_out = sort_photos(where, files, {name.removeprefix(top) for name in folders if name.startswith(top)})
    check_file_sizes(where, (photo.path for photo in photos), files)
    return PhotoSource(where, photos, left_out, lambda photo: photo_files.read(top + photo.path))


def decode_one(source: PhotoSource, size: Size | None, photo: Photo) -> tuple[Decoded, np.ndarray | None]:
    """Decode one photo, or only hash it where no size is given; return what became of it, and its pixels, uint8
    [*size, 3], or None."""
    digest = ""
    try:
        data = source.read(photo)
        digest = hashlib.sha256(data).hexdigest()
        pixels = None if size is None else decode_photo(data, size, f"{source.where}: {photo.path!r}")
        return Decoded(photo, digest, ""), pixels
    except UnreadableImage as error:
        return Decoded(photo, digest or "unreadable", str(error)), None
    except OSError as error:
        return Decoded(photo, "", f"cannot be read: {error.strerror or error}"), None


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
