"""Images with boxes in a folder or an archive -> BoxData, whose pixels and boxes come at any size, together.

    path --list_marked--> MarkedFiles --read_boxes--> Sheets --settle--> BoxLabels, kept in the cache --> BoxData

The fingerprint is over classes and each image's split, name, bytes and boxes, so the same boxes are the same data in
whichever format they are. Images without boxes are kept: they are what a detector must find nothing in.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.size import Size
from mnv2_sweep.base.text import count_noun
from mnv2_sweep.data.annotations import (
    DECIMALS,
    BoxLabels,
    Sheet,
    count_boxes,
    describe_care,
    is_stored,
    join_boxes,
    place_boxes,
    settle,
)
from mnv2_sweep.data.asked import PhotoOptions
from mnv2_sweep.data.box_files import read_boxes
from mnv2_sweep.data.decode import Look
from mnv2_sweep.data.layout import some_names
from mnv2_sweep.data.marked_cache import (
    Made,
    check_class_names,
    check_some_left,
    describe_left_out,
    find_fingerprint,
    open_kept,
    split_records,
)
from mnv2_sweep.data.marked_files import MarkedFiles
from mnv2_sweep.data.marked_images import (
    MarkedSet,
    Report,
    Say,
    Seen,
    describe_copies,
    describe_fit,
    grey_white,
    look_at_image,
    place_in_splits,
    size_words,
    work_on_each,
)

KIND = "boxes"
HUNDREDTHS = 10**DECIMALS  # in which corners are kept in the index


@dataclass(frozen=True, eq=False)
class BoxData(MarkedSet):
    """Images with boxes, whose classes have no background among them; the pixels stay on disk."""

    labels: dict[str, BoxLabels]  # split -> boxes in pixels of the upright images as they are

    def boxes(self, split: str, size: Size) -> BoxLabels:
        """Return the boxes in pixels of what `pixels` returns at that size."""
        return place_boxes(self.labels[split], *self.images.placing(split, size))

    def count_boxes(self, split: str) -> np.ndarray:
        """Return how many boxes of each class a split has, int64 [classes]."""
        return np.bincount(self.labels[split].classes, minlength=len(self.classes))

    def count_images(self, split: str) -> np.ndarray:
        """Return how many images of a split have a box of each class, int64 [classes]."""
        labels = self.labels[split]
        pairs = np.unique(np.stack([labels.images, labels.classes]), axis=1)
        return np.bincount(pairs[1], minlength=len(self.classes))


def open_boxes(
    path: Path,
    cache: Path,
    report: Report = lambda done, total: None,
    options: PhotoOptions | None = None,
    say: Say = lambda line: None,
) -> BoxData:
    """Open images with boxes at a path, hashed and settled once; `report(done, total)` follows that, and `say` hears
    what was damaged in the cache and is made anew. Raises DataError."""
    data, records = open_kept(KIND, path, cache, options or PhotoOptions(), _make, report, say)
    return BoxData(**vars(data), labels={split: _load_labels(record) for split, record in records.items()})


def _load_labels(record: Mapping[str, Any]) -> BoxLabels:
    corners = np.array(record["corners"], np.float64).reshape(-1, 4) / HUNDREDTHS
    starts = np.cumsum([0, *record["counts"]], dtype=np.int64)
    crowd, difficult = (np.isin(np.arange(len(corners)), record[key]) for key in ("crowd", "difficult"))
    return BoxLabels(corners.astype(np.float32), np.array(record["classes"], np.int64), crowd, difficult, starts)


def _dump_labels(labels: BoxLabels) -> dict[str, list[int]]:
    return {
        "corners": (labels.corners.astype(np.float64) * HUNDREDTHS).round().astype(np.int64).ravel().tolist(),
        "counts": labels.counts.tolist(),
        "classes": labels.classes.tolist(),
        "crowd": np.flatnonzero(labels.crowd).tolist(),
        "difficult": np.flatnonzero(labels.difficult).tolist(),
    }


def _make(files: MarkedFiles, options: PhotoOptions, report: Report) -> Made:
    """Read annotations, look at their images, and settle boxes. Raises DataError."""
    read = read_boxes(files)
    sheets = {sheet.image: sheet for sheet in read.sheets}
    check_some_left(files, [*sheets], read.left_out)
    classes, notes = _find_classes(files.where, read.sheets, read.classes)
    seen, left_out = {}, [*read.left_out]
    for one in work_on_each(partial(look_at_image, files), sorted(sheets), report):
        reason = one.reason or _other_size(sheets[one.file], one.look)
        if reason:
            left_out.append((one.file, reason))
        else:
            seen[one.file] = one
    check_some_left(files, [*seen], left_out)
    placed = place_in_splits(files, {file: sheets[file].split for file in seen}, options)
    care: Counter[str] = Counter()
    places = {name: place for place, name in enumerate(classes)}
    settled = {
        file: settle(sheets[file], seen[file].look.size, seen[file].look.orientation, places, care)
        for own in placed.files.values() for file in own
    }  # fmt: skip
    records = split_records(placed, seen)
    labels = {split: join_boxes([settled[file] for file in own]) for split, own in placed.files.items()}
    for split, record in records.items():
        record |= _dump_labels(labels[split])
    _check_labels(files.where, labels)
    digests = {split: record["digests"] for split, record in records.items()}
    layout_notes = [*read.notes, *describe_left_out(files, [*sheets], "no annotation names"), *placed.notes]
    notes += [*describe_care(care), *_describe_turns(sheets, seen), *_describe_labels(labels, classes)]
    return Made(
        find_fingerprint(KIND, classes, records), classes, records, grey_white(seen.values()), placed.files, left_out,
        [*notes, *describe_copies(placed.names, digests)], layout_notes,
    )  # fmt: skip


def _find_classes(where: str, sheets: Sequence[Sheet], listed: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the classes that boxes have, sorted, and a line on those that are only listed. Raises DataError."""
    used = {mark.label for sheet in sheets for mark in sheet.marks}
    if not used:
        raise DataError(f"{where}: not one of {count_noun(len(sheets), 'image')} has a box; a detector needs some")
    check_class_names(where, sorted(used))
    rest = [name for name in listed if name not in used]
    order = sorted(used, key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name))
    return order, [f"classes without any box are left out: {some_names(rest)}"] if rest else []


def _other_size(sheet: Sheet, look: Look) -> str:
    """Return why boxes can't be of this image; '' where they can."""
    if sheet.said is None or sheet.said == look.size or is_stored(sheet.said, look.size, look.orientation):
        return ""
    return f"is {size_words(look.size)}, its boxes are said to be of {size_words(sheet.said)}"


def _check_labels(where: str, labels: Mapping[str, BoxLabels]) -> None:
    for split, own in labels.items():
        if not len(own.classes):
            raise DataError(f"{where}: {split} has {count_noun(len(own), 'image')} and no box; add some")


def _describe_turns(sheets: Mapping[str, Sheet], seen: Mapping[str, Seen]) -> list[str]:
    """Return lines on images that EXIF turns: what their boxes are taken for."""
    turned = {file: one.look for file, one in seen.items() if one.look.orientation != 1}
    stored = [file for file, look in turned.items() if is_stored(sheets[file].said, look.size, look.orientation)]
    told = [
        file for file, look in turned.items()
        if look.orientation >= 5 and not look.size.is_square and sheets[file].said == look.size
    ]  # fmt: skip
    unsure, lines = len(turned) - len(stored) - len(told), []
    if stored:
        lines.append(f"{count_noun(len(stored), 'image')} turned by EXIF, and their boxes with them, by their sizes")
    if unsure:
        lines.append(
            f"{count_noun(unsure, 'image')} turned by EXIF, where no size tells whether boxes were drawn before or "
            "after: they are taken as drawn into the upright image; data show shows them"
        )
    return lines


def _describe_labels(labels: Mapping[str, BoxLabels], classes: Sequence[str]) -> list[str]:
    """Return lines on images without boxes, classes that a split lacks, and boxes that are no ordinary ones."""
    lines = []
    if empty := {split: count for split, own in labels.items() if (count := int((own.counts == 0).sum()))}:
        counts = ", ".join(f"{count:,} {split}" for split, count in empty.items())
        lines.append(f"images without boxes, in which nothing is to be found: {counts}")
    for split, own in labels.items():
        if missing := [name for place, name in enumerate(classes) if not (own.classes == place).any()]:
            why = "so it can't be learnt" if split == "train" else "so its score there says nothing"
            lines.append(f"{split} has no box of class {some_names(missing)}, {why}")
    for name, what in (("crowd", "crowds"), ("difficult", "difficult")):
        if count := sum(int(getattr(own, name).sum()) for own in labels.values()):
            lines.append(f"{count_boxes(count)} said to be {what}: neither to be learnt nor counted as missed")
    return lines


def describe_boxes(data: BoxData) -> list[str]:
    """Return lines for a plan: images and boxes of each split, by class, sizes of boxes, how images are fitted."""
    splits = ", ".join(
        f"{len(own):,} {split} with {count_boxes(len(own.classes))}" for split, own in data.labels.items()
    )
    by_class = [f"{name} {count:,}" for name, count in zip(data.classes, data.count_boxes("train"), strict=True)]
    sides = np.concatenate([_sides(own) for own in data.labels.values()])
    low, middle, high = np.percentile(sides, (5, 50, 95))
    return [
        f"images    {splits}",
        f"classes   {', '.join(by_class)} (boxes for training)",
        f"boxes     sides of {low:.0f}, {middle:.0f} and {high:.0f} px (5, 50 and 95 % are smaller), as the images are",
        describe_fit(data.fit),
    ]


def _sides(labels: BoxLabels) -> np.ndarray:
    """Return the root of each box's area, float [M]."""
    width, height = (labels.corners[:, 2:] - labels.corners[:, :2]).T
    return np.sqrt(width * height)
