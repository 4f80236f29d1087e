"""Plan of a detector -> its anchors as boxes, and which boxes of a data set no anchor can match; no torch.

An anchor learns a true box that it overlaps by MATCHED or more (intersection over union). Each true box also has its
best anchor by force, but a box that no anchor overlaps so far has that one alone to learn it, and is mostly missed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from mnv2_sweep.nets.arch import SSDS, ArchSpec
from mnv2_sweep.nets.plan import Plan
from mnv2_sweep.nets.resolve import resolve

MATCHED = 0.5  # tensorflow/models, ssdlite_mobilenet_v2_coco.config, and weiliu89/caffe (ssd)
AT_ONCE = 4_000_000  # pairs of a box and an anchor
SIDES = (96, 128, 160, 192, 224, 256, 320, 384, 448, 512)  # pixels that `describe_reach` tries
SCALES = (0.15, 0.1, 0.075, 0.05)  # values of anchor_scale that it tries


class Reach(NamedTuple):
    """How many true boxes there are, how many of them overlap no anchor by MATCHED, and how many of those would not
    even if the best anchor lay right upon them, as none has such a shape."""

    boxes: int
    missed: int
    misshapen: int

    def __str__(self) -> str:
        return f"{self.missed:,} of {self.boxes:,} boxes"


def place_anchors(plan: Plan) -> np.ndarray:
    """Return all anchors of a detector, float64 [A, 4]: x and y of the centre, width and height, as shares of the
    image's width and height. They come map after map, row after row, place after place, the anchors of a place in the
    plan's order. Raises ValueError where the plan has none."""
    parts = []
    for block in plan.blocks:
        if block.kind == "boxes":
            (height, width), shares = block.layers[-1].size_out, np.array(block.anchors)
            y, x = np.meshgrid((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width, indexing="ij")
            centres = np.stack([x, y], -1)[:, :, None].repeat(len(shares), 2)
            sizes = np.broadcast_to(shares, (height, width, *shares.shape))
            parts.append(np.concatenate([centres, sizes], -1).reshape(-1, 4))
    if not parts:
        raise ValueError(f"a plan with head {plan.head} has no anchors")
    return np.concatenate(parts)


def best_overlaps(boxes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Return how far each box overlaps the anchor that it overlaps best, 0 to 1 [N]: `boxes` [N, 4] are left, top,
    right and bottom, `anchors` [A, 4] as `place_anchors` has them, both as shares of the image."""
    low, high = anchors[:, :2] - anchors[:, 2:] / 2, anchors[:, :2] + anchors[:, 2:] / 2
    areas, best = anchors[:, 2] * anchors[:, 3], np.zeros(len(boxes))
    step = max(1, AT_ONCE // max(1, len(anchors)))
    for begin in range(0, len(boxes), step):
        part = boxes[begin : begin + step, None]
        sides = np.minimum(part[..., 2:], high) - np.maximum(part[..., :2], low)
        common = sides.clip(min=0).prod(-1)
        union = (part[..., 2:] - part[..., :2]).prod(-1) + areas - common
        best[begin : begin + step] = (common / union).max(1)
    return best


def find_reach(plan: Plan, boxes: np.ndarray) -> Reach:
    """Return which true boxes [N, 4] the anchors of a plan can match: left, top, right and bottom, as shares of what
    the network sees of the image. Boxes without area are of no use here."""
    anchors = place_anchors(plan)
    missed = best_overlaps(boxes, anchors) < MATCHED
    centred = np.concatenate([np.zeros((missed.sum(), 2)), boxes[missed, 2:] - boxes[missed, :2]], 1)
    shapes = np.unique(np.concatenate([anchors[:, 2:] / 2, anchors[:, 2:]], 1), axis=0)
    misshapen = best_overlaps(centred, shapes) < MATCHED  # all with their left upper corners at 0, 0
    return Reach(len(boxes), int(missed.sum()), int(misshapen.sum()))


def reach_by(arch: ArchSpec, boxes: np.ndarray, field: str, values: Sequence) -> dict[object, Reach]:
    """Return the same for a detector with each of some values of a field, `resolution` or `anchor_scale`."""
    return {value: find_reach(resolve(replace(arch, **{field: value})), boxes) for value in values}


def describe_reach(arch: ArchSpec, boxes: np.ndarray) -> list[str]:
    """Say in a few lines how many true boxes no anchor can match, and what resolution or anchors would; none where all
    can be matched."""
    reach = find_reach(resolve(arch), boxes)
    if not reach.missed:
        return []
    share = reach.missed / reach.boxes
    lines = [f"{reach} ({100 * share:.1f} %) overlap no anchor by {MATCHED:g}, and are mostly missed"]
    larger = [side for side in SIDES if side > np.max(arch.resolution)]
    lines += _say_better("at", " px", reach, reach_by(arch, boxes, "resolution", larger))
    if arch.head in SSDS and arch.family != "vgg16":
        finer = [scale for scale in SCALES if scale != arch.anchor_scale]
        lines += _say_better("with anchor_scale", "", reach, reach_by(arch, boxes, "anchor_scale", finer))
    if reach.misshapen:
        have = "has" if reach.misshapen == 1 else "have"
        lines.append(f"{reach.misshapen:,} of them {have} the shape of no anchor at all, wherever it lies")
    return lines


def _say_better(before: str, unit: str, now: Reach, tried: Mapping[object, Reach]) -> list[str]:
    """Say which of the values that were tried misses least, if it misses less than now: the first of several."""
    value = min(tried, key=lambda value: tried[value].missed, default=None)
    if value is None or tried[value].missed >= now.missed:
        return []
    return [f"{before} {value}{unit} it would be {tried[value].missed:,}"]
