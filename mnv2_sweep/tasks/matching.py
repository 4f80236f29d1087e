"""True boxes of images and a detector's anchors -> which anchor learns which box, a batch at a time.

Truths are padded to as many a image: boxes [B, G, 4] as corners, shares of the image, and `there` [B, G], whether it is
one. A matching [B, A] has the number of a true box for each anchor, NOTHING for the background.
"""

import torch
from torch import Tensor

from mnv2_sweep.models.boxes import find_overlaps, to_centres, to_corners
from mnv2_sweep.nets.reach import MATCHED

NOTHING = -1


def match_anchors(anchors: Tensor, boxes: Tensor, there: Tensor, least: float = MATCHED) -> Tensor:
    """Return the matching of an SSD's anchors [A, 4], centres: each learns the true box that it overlaps most, where
    that is by `least`; and each true box has the anchor that overlaps it most, whatever that overlaps itself.

    Of equal overlaps the first counts; an anchor that is the best of several boxes learns the first of them
    (tensorflow/models, object_detection, matchers/argmax_matcher.py with force_match_for_each_row). A box that overlaps
    no anchor at all is learnt by none.
    """
    if boxes.shape[1] == 0:
        return torch.full((len(boxes), len(anchors)), NOTHING, device=boxes.device)
    overlaps = find_overlaps(boxes, to_corners(anchors)).masked_fill(~there[..., None], -1)  # [B, G, A]
    best, matched = overlaps.max(1)
    matched = matched.masked_fill(best < least, NOTHING)
    most, place = overlaps.max(2)  # [B, G]
    forced = torch.where(most > 0, place, NOTHING)
    return _give(matched, forced)


def match_cells(anchors: Tensor, places: Tensor, boxes: Tensor, there: Tensor) -> Tensor:
    """Return the matching of YOLOv2's anchors [A, 4], centres, which lie on one map whose places are `places` [2] wide
    and high: each true box is learnt by one, in the place where its middle lies the one whose shape overlaps its own
    most. Where several boxes have the same anchor, it learns the last of them (pjreddie/darknet, region_layer.c)."""
    columns, rows = (1 / places).round().long().tolist()
    shapes = anchors[: len(anchors) // (rows * columns), 2:]
    centres = to_centres(boxes)
    last = centres.new_tensor([columns - 1, rows - 1])
    cells = torch.minimum((centres[..., :2] / places).floor().clamp(min=0), last).long()  # [B, G, 2]
    at_origin = torch.cat([torch.zeros_like(centres[..., 2:]), centres[..., 2:]], -1)
    alike = find_overlaps(at_origin, torch.cat([torch.zeros_like(shapes), shapes], 1)).argmax(-1)
    place = (cells[..., 1] * columns + cells[..., 0]) * len(shapes) + alike
    place = torch.where(there & (centres[..., 2:] > 0).all(-1), place, NOTHING)
    matched = torch.full((len(boxes), len(anchors)), NOTHING, device=boxes.device)
    return _give(matched, place, last=True)


def _give(matched: Tensor, places: Tensor, last: bool = False) -> Tensor:
    """Give each true box the anchor at its place [B, G], NOTHING for none; the first of several, or the last."""
    boxes, count = places.shape[1], matched.shape[1]
    if boxes == 0:
        return matched
    order = torch.arange(1, boxes + 1, device=matched.device)  # larger comes first
    order = order if last else order.flip(0)
    wanted = torch.zeros(len(matched), count + 1, dtype=torch.long, device=matched.device)
    at = torch.where(places == NOTHING, count, places)  # the one more takes those that have none
    wanted.scatter_reduce_(1, at, order.expand_as(places), "amax")
    wanted = wanted[:, :count]
    return torch.where(wanted > 0, wanted - 1 if last else boxes - wanted, matched)


def pick_truths(values: Tensor, matched: Tensor) -> Tensor:
    """Return of `values` [B, G, ...] those of the box that each anchor learns, [B, A, ...]; of the background those of
    some box, or zeros where an image has room for none."""
    if values.shape[1] == 0:
        return values.new_zeros(*matched.shape, *values.shape[2:])
    at = matched.clamp(min=0).reshape(*matched.shape, *[1] * (values.ndim - 2))
    return values.gather(1, at.expand(*matched.shape, *values.shape[2:]))
