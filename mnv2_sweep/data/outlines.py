"""COCO's outlines, polygons or runs of pixels (RLE) -> masks, bool [height, width].

A pixel belongs to a polygon in which its centre lies. Runs go down the columns, one after the other, outside first.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mnv2_sweep.base.size import Size

MAX_POINTS = 100_000  # of one polygon


class BrokenOutline(Exception):
    """An outline that can't be read; the message is the reason."""


def draw_outline(outline: Any, size: Size) -> np.ndarray:
    """Return the mask of a COCO `segmentation`, of an image of that size. Raises BrokenOutline."""
    if isinstance(outline, dict):
        return decode_runs(outline, size)
    if not isinstance(outline, list) or not all(isinstance(one, list) for one in outline):
        raise BrokenOutline("neither a list of polygons nor runs (counts and size)")
    mask = np.zeros(size, bool)
    for polygon in outline:
        mask |= fill_polygon(polygon, size)
    return mask


def fill_polygon(numbers: Sequence[float], size: Size) -> np.ndarray:
    """Return the mask of a polygon of x and y in turn; where it crosses itself, what lies inside an odd number of
    times. Raises BrokenOutline."""
    if len(numbers) < 6 or len(numbers) % 2 or len(numbers) > 2 * MAX_POINTS:
        raise BrokenOutline(f"a polygon of {len(numbers)} numbers; wanted are x and y of at least 3 points")
    try:
        points = np.array(numbers, np.float64).reshape(-1, 2)
    except (ValueError, TypeError, OverflowError):
        raise BrokenOutline("a polygon of what are no numbers") from None
    if not np.isfinite(points).all():
        raise BrokenOutline("a polygon of what are no numbers")
    # Each edge turns over all pixels to its right, in the rows whose centres it passes; what is turned over an odd
    # number of times lies inside.
    turns = np.zeros((size.height, size.width + 1), np.int64)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if y0 > y1:
            x0, y0, x1, y1 = x1, y1, x0, y0
        first, end = (int(min(max(np.ceil(y - 0.5), 0), size.height)) for y in (y0, y1))
        if first < end:
            rows = np.arange(first, end)
            x = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
            np.add.at(turns, (rows, np.ceil(x - 0.5).clip(0, size.width).astype(np.int64)), 1)
    return np.cumsum(turns, axis=1)[:, :-1] % 2 == 1


def decode_runs(outline: dict[str, Any], size: Size) -> np.ndarray:
    """Return the mask of runs, as numbers or as COCO's text of them. Raises BrokenOutline."""
    counts, said = outline.get("counts"), outline.get("size")
    if said != [size.height, size.width]:
        raise BrokenOutline(f"runs of size {said!r}, of an image of [{size.height}, {size.width}]")
    if isinstance(counts, str):
        counts = unpack_counts(counts)
    whole = isinstance(counts, list) and all(type(count) is int and count >= 0 for count in counts)
    if not whole or sum(counts) != size.area:
        raise BrokenOutline(f"runs that are not as long together as the image has pixels, {size.area:,}")
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(size.width, size.height).T


def unpack_counts(text: str) -> list[int]:
    """Return the runs of COCO's text: numbers of 5 bits a character, the lowest first, with a sign, each from the
    third on as the difference to the one before the last (cocoapi, common/maskApi.c, rleFrString)."""
    counts: list[int] = []
    value = shift = 0
    for sign in text:
        code = ord(sign) - 48
        if not 0 <= code < 64 or shift > 30:
            raise BrokenOutline(f"runs with {sign!r} in them, which is not COCO's text")
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise BrokenOutline("runs that are cut short")
    return counts
