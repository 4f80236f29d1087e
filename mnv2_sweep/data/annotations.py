"""Boxes marked in images, as records: the same whatever file says them, in pixels of the image as people see it.

    a file --coco, voc, yolo, box_tables--> Sheets, as it has them --settle--> Boxes of an image --join_boxes-->
    BoxLabels of a split

A box is left, top, right, bottom, from 0 at the image's left and top edges to its width and height, so that its width
is right - left; it is kept to a hundredth of a pixel. Boxes of an image are in order of their corners and classes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from mnv2_sweep.base.size import Size
from mnv2_sweep.base.text import count_noun

DECIMALS = 2  # of corners, in pixels: formats round differently, and the same boxes are to be the same data
# What becomes of boxes as they are settled -> how it is said, with "box" or "boxes" before it.
CARE = {
    "cut": "cut at the image's edge",
    "outside": "left out: outside of the image",
    "flat": "left out: without area",
    "double": "left out: there twice",
}


class Mark(NamedTuple):
    """A box as a file has it: left, top, right, bottom in the file's unit, the name of its class, whether it holds a
    crowd (COCO) or is difficult (VOC), and COCO's `segmentation`, where there is one."""

    corners: tuple[float, float, float, float]
    label: str
    crowd: bool = False
    difficult: bool = False
    outline: Any = None


class Sheet(NamedTuple):
    """What a file says of one image: its file in the data, what is marked in it, its split ('' where nothing says) and
    its size (None where nothing does), and whether corners are shares of width and height instead of pixels."""

    image: str
    marks: Sequence[Mark]
    split: str = ""
    said: Size | None = None
    shares: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """The boxes of one image."""

    corners: np.ndarray  # float32 [N, 4]: left, top, right, bottom, in pixels
    classes: np.ndarray  # int64 [N]: places in the data's classes, from 0, without a background
    crowd: np.ndarray  # bool [N]: a crowd, of which none is to be told apart (COCO)
    difficult: np.ndarray  # bool [N]: neither missed nor found counts (VOC)

    def __len__(self) -> int:
        return len(self.classes)


@dataclass(frozen=True, slots=True, eq=False)
class BoxLabels:
    """The boxes of a split, one image after the other: image i has those from starts[i] to starts[i + 1]."""

    corners: np.ndarray  # float32 [M, 4], as those of Boxes
    classes: np.ndarray  # int64 [M]
    crowd: np.ndarray  # bool [M]
    difficult: np.ndarray  # bool [M]
    starts: np.ndarray  # int64 [N + 1]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.starts) - 1

    def __getitem__(self, image: int) -> Boxes:
        """Return the boxes of an image. Raises IndexError."""
        if not 0 <= image < len(self):
            raise IndexError(image)
        own = slice(self.starts[image], self.starts[image + 1])
        return Boxes(self.corners[own], self.classes[own], self.crowd[own], self.difficult[own])

    @property
    def counts(self) -> np.ndarray:
        """Return how many boxes each image has, int64 [N]."""
        return np.diff(self.starts)

    @property
    def images(self) -> np.ndarray:
        """Return the image of each box, int64 [M]."""
        return np.repeat(np.arange(len(self)), self.counts)


def join_boxes(images: Sequence[Boxes]) -> BoxLabels:
    """Return the boxes of images, one after the other."""
    parts = [*images, make_boxes([])]  # that there is something to put together
    starts = np.cumsum([0, *map(len, images)], dtype=np.int64)
    names = ("corners", "classes", "crowd", "difficult")
    return BoxLabels(*(np.concatenate([getattr(one, name) for one in parts]) for name in names), starts)


def make_boxes(rows: Sequence[Sequence[float]]) -> Boxes:
    """Return boxes of rows: left, top, right, bottom, class, crowd, difficult."""
    table = np.array(rows, np.float64).reshape(-1, 7)
    classes, crowd, difficult = table[:, 4].astype(np.int64), table[:, 5] > 0, table[:, 6] > 0
    return Boxes(table[:, :4].astype(np.float32), classes, crowd, difficult)


def settle(
    sheet: Sheet, upright: Size, orientation: int, classes: Mapping[str, int], care: Counter[str]
) -> Boxes:  # fmt: skip
    """Return the boxes of a sheet in pixels of the upright image, within it, each once; `orientation` is EXIF's, by
    which the boxes are turned too where they were drawn into the image as it is stored. `care` counts what was done."""
    turned = is_stored(sheet.said, upright, orientation)
    frame = Size(upright.width, upright.height) if turned else upright
    corners = np.array([mark.corners for mark in sheet.marks], np.float64).reshape(-1, 4)
    if sheet.shares:
        corners = corners * (frame.width, frame.height, frame.width, frame.height)
    flat = (corners[:, 2] <= corners[:, 0]) | (corners[:, 3] <= corners[:, 1])
    if turned:
        corners = turn_corners(corners, frame, orientation)
    corners = corners.round(DECIMALS)
    within = corners.clip(0, (upright.width, upright.height, upright.width, upright.height))
    gone = ((within[:, 2] <= within[:, 0]) | (within[:, 3] <= within[:, 1])) & ~flat
    kept = ~(flat | gone)
    rows = [
        (*box, classes[mark.label], mark.crowd, mark.difficult)
        for box, mark, is_kept in zip(within.tolist(), sheet.marks, kept, strict=True) if is_kept
    ]  # fmt: skip
    single = sorted(set(rows))
    care["cut"] += int((kept & (within != corners).any(1)).sum())
    care["outside"] += int(gone.sum())
    care["flat"] += int(flat.sum())
    care["double"] += len(rows) - len(single)
    return make_boxes(single)


def is_stored(said: Size | None, upright: Size, orientation: int) -> bool:
    """Return whether a size that is said of an image is that of the image as it is stored, and not that of the upright
    one. Where both are the same it is the upright one."""
    return orientation >= 5 and said == Size(upright.width, upright.height) != upright


def turn_corners(corners: np.ndarray, stored: Size, orientation: int) -> np.ndarray:
    """Return corners [N, 4] of an image as it is stored in the upright one, by EXIF's orientation, 1 to 8."""
    left, top, right, bottom = corners.T
    if orientation in (2, 3, 7, 8):  # left and right change places
        left, right = stored.width - right, stored.width - left
    if orientation in (3, 4, 6, 7):
        top, bottom = stored.height - bottom, stored.height - top
    sides = (top, left, bottom, right) if orientation >= 5 else (left, top, right, bottom)
    return np.stack(sides, 1)


def describe_care(care: Mapping[str, int]) -> list[str]:
    """Return lines on what became of boxes, with how many."""
    return [f"{count_boxes(care[key])} {said}" for key, said in CARE.items() if care.get(key)]


def count_boxes(count: int) -> str:
    """Return a count of boxes: "1 box", "2,000 boxes"."""
    return f"{count:,} boxes" if count != 1 else count_noun(1, "box")


def place_boxes(labels: BoxLabels, scales: np.ndarray, offsets: np.ndarray) -> BoxLabels:
    """Return boxes of images that were scaled and moved: scales and offsets [N, 2], of x and y."""
    scale, offset = (np.tile(np.repeat(values, labels.counts, axis=0), 2) for values in (scales, offsets))
    return replace(labels, corners=(labels.corners * scale + offset).astype(np.float32))
