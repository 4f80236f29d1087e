"""Annotated data at a path -> what was made of them once, kept in the cache: an index, and the images' places.

<cache>/<name>-<kind>-<fingerprint>/   index.json: splits with names, digests, sizes and what is marked
<cache>/opened/<manifest>.json         the fingerprint of what a path had when its names, sizes and times were these,
                                       its files in order, and what there is to say of it
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.files import remove_abandoned
from mnv2_sweep.base.text import count_noun
from mnv2_sweep.data.asked import PhotoOptions
from mnv2_sweep.data.cache import building_folder, cache_errors, read_json, write_json
from mnv2_sweep.data.decode import Decoding
from mnv2_sweep.data.files import open_photo_files
from mnv2_sweep.data.layout import some_names
from mnv2_sweep.data.marked_files import MarkedFiles, list_marked
from mnv2_sweep.data.marked_images import (
    MARKED_FITS,
    MARKED_VERSION,
    MarkedImages,
    MarkedSet,
    Placed,
    Report,
    Say,
    Seen,
    check_options,
    manifest_of,
)

INDEX = "index.json"
PLACES = ("names", "digests", "sizes")  # of each split in the index


class Made(NamedTuple):
    """What is made of annotated data: the fingerprint, the classes, by split a record of names, digests, sizes and what
    is marked, in values of JSON, the files by split, what was left out with the reason, and what there is to say of
    the content and of the layout."""

    fingerprint: str
    classes: Sequence[str]
    splits: Mapping[str, Mapping[str, Any]]
    white: int
    files: Mapping[str, Sequence[str]]
    left_out: Sequence[tuple[str, str]]
    notes: Sequence[str]
    layout_notes: Sequence[str]


class Kept(NamedTuple):
    """Annotated data as the cache has them, and by split the record that was made, see Made."""

    data: MarkedSet
    splits: Mapping[str, Mapping[str, Any]]


Make = Callable[[MarkedFiles, PhotoOptions, Report], Made]


def open_kept(
    kind: str, path: Path, cache: Path, options: PhotoOptions, make: Make, report: Report, say: Say
) -> Kept:  # fmt: skip
    """Return annotated data of a kind, made by `make` unless the cache has them. Raises DataError."""
    fit = check_options(options)
    photo_files, cache = open_photo_files(Path(path), options), Path(cache)
    if photo_files.path.is_dir() and cache.resolve().is_relative_to(photo_files.path):
        raise DataError(f"{cache}: the cache lies inside the data folder {path}; name a cache folder outside of it")
    opened = cache / "opened" / f"{manifest_of(photo_files, options, kind)}.json"
    known, stem = read_json(opened), f"{photo_files.name}-{kind}"
    kept = known and _load(stem, cache, known, options, fit, say)
    if kept:
        return kept
    if opened.exists():
        say(f"the image cache was damaged ({cache}); built anew")
    made = make(list_marked(photo_files), options, report)
    known = {"path": str(photo_files.path), "fingerprint": made.fingerprint, "skipped": sorted(made.left_out)}
    known |= {"notes": [*photo_files.notes, *made.layout_notes], "files": made.files}
    index = {"fingerprint": made.fingerprint, "classes": list(made.classes), "white": made.white}
    index |= {"splits": made.splits, "notes": list(made.notes)}
    with cache_errors(cache):
        with building_folder(cache, 200 * sum(map(len, made.files.values()))) as folder:
            write_json(folder / INDEX, index)
            final = cache / _folder_name(stem, made.fingerprint)
            if final.exists() and read_json(final / INDEX) != index:
                shutil.rmtree(final)
            if not final.exists():
                folder.rename(final)
        remove_abandoned(opened.parent)
        write_json(opened, known)
    kept = _load(stem, cache, known, options, fit, say)
    if kept is None:
        raise DataError(f"{final}: damaged as soon as it was written; is the disk sound?")
    return kept


def _load(
    stem: str, cache: Path, known: Mapping[str, Any], options: PhotoOptions, fit: str, say: Say
) -> Kept | None:  # fmt: skip
    """Load the data whose fingerprint is known; None unless the cache says what was written."""
    try:
        folder = cache / _folder_name(stem, known["fingerprint"])
        index = read_json(folder / INDEX)
        if index is None or index["fingerprint"] != known["fingerprint"]:
            return None
        splits, files = index["splits"], known["files"]
        names, digests = ({split: one[key] for split, one in splits.items()} for key in PLACES[:2])
        if {split: len(own) for split, own in files.items()} != {split: len(own) for split, own in names.items()}:
            return None
        sizes = {split: np.array(one["sizes"], np.int64).reshape(-1, 2) for split, one in splits.items()}
        images = MarkedImages(
            Path(known["path"]), options, folder, names, files, digests, sizes, Decoding(fit, index["white"]), say
        )
        skipped = tuple((file, reason) for file, reason in known["skipped"])
        notes = (*known["notes"], *index["notes"])
        name, fingerprint = stem, known["fingerprint"]
        if fit != MARKED_FITS[0]:  # other pixels are other data
            name, fingerprint = f"{stem}-{fit}", hashlib.sha256(json.dumps([fingerprint, fit]).encode()).hexdigest()
        return Kept(MarkedSet(name, fingerprint, tuple(index["classes"]), images, skipped, notes), splits)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # no such folder, or something damaged it
        return None


def split_records(placed: Placed, seen: Mapping[str, Seen]) -> dict[str, dict[str, Any]]:
    """Return by split the names, digests and sizes of its images."""
    return {
        split: {
            "names": placed.names[split],
            "digests": [seen[file].digest for file in files],
            "sizes": [list(seen[file].look.size) for file in files],
        }
        for split, files in placed.files.items()
    }


def find_fingerprint(kind: str, classes: Sequence[str], records: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the digest of annotated data of a kind, of their classes and of each split's record."""
    digest = hashlib.sha256(f"mnv2_sweep {kind} {MARKED_VERSION}\n".encode())
    digest.update(json.dumps([classes, sorted(records.items())]).encode())
    return digest.hexdigest()


def check_class_names(where: str, names: Iterable[str]) -> None:
    """Raise DataError where a class can't be named on one line."""
    for name in names:
        if not name.isprintable():
            raise DataError(f"{where}: class {name!r} is no name on one line")


def check_some_left(files: MarkedFiles, kept: Sequence[str], left_out: Sequence[tuple[str, str]]) -> None:
    """Raise DataError where no image can be used."""
    if not kept:
        first = f"; the first is {left_out[0][0]!r}: {left_out[0][1]}" if left_out else ""
        raise DataError(f"{files.where}: not one of {len(left_out)} images can be used{first}")


def describe_left_out(files: MarkedFiles, named: Sequence[str], what: str) -> list[str]:
    """Return a line on images of the data of which nothing says what is in them."""
    rest = sorted({*files.images.files}.difference(named))
    return [f"left out {count_noun(len(rest), 'image')} that {what}: {some_names(rest, 3)}"] if rest else []


def _folder_name(stem: str, fingerprint: str) -> str:
    return f"{stem}-{fingerprint[:12]}"
