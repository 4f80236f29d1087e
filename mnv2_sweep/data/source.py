"""A folder, zip or tar of photos -> PhotoSource: which photos it has, and each one's bytes, hash and pixels.

Photos are worked on in a few threads and come back in order. Archives are read in place, never extracted.
"""

import hashlib
import json
import os
import re
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.size import Size, square
from mnv2_sweep.data.asked import PhotoOptions
from mnv2_sweep.data.decode import USUAL, Decoding, UnreadableImage, decode_pixels, is_image
from mnv2_sweep.data.files import (
    CACHE_VERSION,
    MAX_FILE_BYTES,
    PhotoFiles,
    begins_as_image,
    check_file_sizes,
    open_photo_files,
)
from mnv2_sweep.data.labels import METADATA, Labelled, read_labels, read_pattern
from mnv2_sweep.data.layout import (
    AS_CLASSES,
    GENERIC,
    FindGroups,
    Photo,
    find_wrapper,
    is_unlabelled,
    some_names,
    sort_photos,
    split_of,
)
from mnv2_sweep.data.similar import WORDS, hash_pixels, join_similar
from mnv2_sweep.data.tables import Images, Table

SMALL = square(32)  # at which photos are decoded that are only held against each other
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

    find_groups = partial(group_photos, where, options, read)
    labelled = _read_labels(where, files, sorted(images), options, read, find_groups)
    if labelled is None:
        sorted_photos, own = sort_photos(where, files, inside, images, find_groups), {}
        if tables := [file for file in files if _may_say_labels(file) and ("/" not in file or _is_metadata(file))]:
            said = f"{tables[0]!r} is not read, as the photos lie in class folders; --labels {tables[0]} reads it"
            sorted_photos.notes.append(said)
    else:
        sorted_photos, own = labelled
    photos, left_out, notes, groups = sorted_photos
    check_file_sizes(where, (own.get(photo.path, photo.path) for photo in photos), files)
    return PhotoSource(
        where, photos, left_out, [*photo_files.notes, *notes], lambda photo: read(own.get(photo.path, photo.path)),
        lambda photo: own.get(photo.path, photo.path), dict(groups),
    )  # fmt: skip


def _read_labels(
    where: str, files: Mapping[str, int], images: list[str], options: PhotoOptions, read: Callable[[str], bytes],
    find_groups: FindGroups,
) -> Labelled | None:  # fmt: skip
    """Return the photos that tables or names tell the classes of, None where folders do. Raises DataError."""
    if not images:
        return None
    if options.label_pattern:
        return read_pattern(where, options.label_pattern, Images(images), find_groups)
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
    return read_labels(where, tables, options.named_columns(), Images(images), find_groups) if tables else None


def group_photos(
    where: str, options: PhotoOptions, read: Callable[[str], bytes], photos: Sequence[Photo],
    files: Mapping[str, str], given: Mapping[str, str],
) -> dict[str, str]:  # fmt: skip
    """Return by path the group of each photo that has one: `given` by a table, told by its name (`group_pattern`), or
    of those that look like it (`group_similar`). Raises DataError."""
    groups = dict(given)
    if options.group_pattern:
        groups = _group_by_name(where, options.group_pattern, photos, files) | groups
    if options.group_similar:
        splits = {photo.split for photo in photos}
        if "val" in splits:
            raise DataError(
                f"--group-similar: {where} has a split for validation already; it is for data whose own is held out"
            )
        groups = _join_groups(
            _hash_files(read, [files.get(photo.path, photo.path) for photo in photos]), photos, groups
        )
    return groups


def _group_by_name(where: str, pattern: str, photos: Sequence[Photo], files: Mapping[str, str]) -> dict[str, str]:
    """Return by path what the pattern finds in the photo's name, or, where it has a slash, in its path in the data: its
    group called `group`, else the first, else all of it."""
    compiled, groups = re.compile(pattern), {}
    for photo in photos:
        file = files.get(photo.path, photo.path)
        if found := compiled.search(file if "/" in pattern else file.rpartition("/")[2]):
            key = "group" if "group" in compiled.groupindex else min(1, compiled.groups)
            groups[photo.path] = found[key] or found[0]
    if not groups:
        first = files.get(photos[0].path, photos[0].path)
        raise DataError(f"{where}: --group-pattern {pattern!r} finds nothing in {first!r}, nor in any other name")
    return groups


def _hash_files(read: Callable[[str], bytes], files: Sequence[str]) -> np.ndarray:
    """Return hashes of what photos show, uint64 [N, WORDS]; zeros, which are like none, of those that can't be read."""

    def find_hash(file: str) -> np.ndarray:
        with suppress(UnreadableImage, OSError):
            return hash_pixels(decode_pixels(read(file), SMALL, file).values)
        return np.zeros(WORDS, np.uint64)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about odd metadata
        return np.array([*in_order(find_hash, files)], np.uint64).reshape(-1, WORDS)


def _join_groups(hashes: np.ndarray, photos: Sequence[Photo], groups: Mapping[str, str]) -> dict[str, str]:
    """Return groups in which photos that look alike are together, and with them the groups that they had."""
    like, names, joined = join_similar(hashes), [groups.get(photo.path) for photo in photos], {}
    links: dict[object, object] = {}

    def find(key: object) -> object:
        while links.setdefault(key, key) != key:
            key = links[key]
        return key

    for at, (first, name) in enumerate(zip(like.tolist(), names, strict=True)):
        for other in (first, *([] if name is None else [name])):
            one, two = sorted((find(at), find(other)), key=str)
            links[two] = one
    members = Counter(find(at) for at in range(len(photos)))
    for at, photo in enumerate(photos):
        root = find(at)
        if members[root] > 1 or names[at] is not None:
            joined[photo.path] = root if isinstance(root, str) else f"like {photos[root].path}"
    return joined


def _find_images(photo_files: PhotoFiles, files: Iterable[str]) -> set[str]:
    """Return the files whose names end as those of images do, or, where none does, whose content begins so."""
    images = {file for file in files if is_image(file)}
    return images or {file for file in files if begins_as_image(photo_files, file)}


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
