"""Boxes as tensors: their two forms, how far they overlap, and the code in which detectors learn them.

Corners are left, top, right, bottom; centres are x, y, width, height. Both are shares of the image's width and height,
so 1 is its right or lower edge, unless a function says otherwise.
"""

import torch
from torch import Tensor

# x, y, width, height of a code are divided by these (TensorFlow's faster_rcnn_box_coder with scales 10, 10, 5, 5;
# "variances" in weiliu89/caffe, ssd).
VARIANCES = (0.1, 0.1, 0.2, 0.2)
LARGEST_LOG = 10.0  # of a decoded side, in anchors: beyond, a float16 overflows, and no image holds such a box
LEAST_SIDE = 1e-6  # of a box that is encoded; one without area has no logarithm


def to_corners(centres: Tensor) -> Tensor:
    """Return boxes [..., 4] as corners."""
    middle, sides = centres[..., :2], centres[..., 2:]
    return torch.cat([middle - sides / 2, middle + sides / 2], -1)


def to_centres(corners: Tensor) -> Tensor:
    """Return boxes [..., 4] as centres."""
    low, high = corners[..., :2], corners[..., 2:]
    return torch.cat([(low + high) / 2, high - low], -1)


def find_areas(corners: Tensor) -> Tensor:
    """Return the areas of boxes [..., 4], [...]; 0 where the corners are the wrong way round."""
    sides = (corners[..., 2:] - corners[..., :2]).clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def find_overlaps(first: Tensor, second: Tensor) -> Tensor:
    """Return the intersection over union of each box of the first [..., N, 4] with each of the second [..., M, 4], both
    corners, as [..., N, M]; 0 where neither has an area."""
    low = torch.maximum(first[..., :, None, :2], second[..., None, :, :2])
    high = torch.minimum(first[..., :, None, 2:], second[..., None, :, 2:])
    sides = (high - low).clamp(min=0)
    common = sides[..., 0] * sides[..., 1]
    union = find_areas(first)[..., :, None] + find_areas(second)[..., None, :] - common
    return common / union.clamp(min=torch.finfo(union.dtype).tiny)


def encode_boxes(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Return the code of boxes [..., 4] with respect to as many anchors [..., 4], both centres: how far the middle lies
    from the anchor's in anchors, and the logarithm of how much larger it is, both divided by VARIANCES (Liu et al.,
    arXiv 1512.02325, equation 2)."""
    moved = (boxes[..., :2] - anchors[..., :2]) / anchors[..., 2:]
    scaled = (boxes[..., 2:].clamp(min=LEAST_SIDE) / anchors[..., 2:]).log()
    return torch.cat([moved, scaled], -1) / boxes.new_tensor(VARIANCES)


def decode_boxes(code: Tensor, anchors: Tensor) -> Tensor:
    """Return the boxes [..., 4], centres, that `encode_boxes` gives this code with respect to the anchors [..., 4]."""
    code = code * code.new_tensor(VARIANCES)
    middle = anchors[..., :2] + code[..., :2] * anchors[..., 2:]
    return torch.cat([middle, anchors[..., 2:] * code[..., 2:].clamp(max=LARGEST_LOG).exp()], -1)


def encode_cells(boxes: Tensor, anchors: Tensor, places: Tensor) -> Tensor:
    """Return what YOLOv2 learns of boxes [..., 4] at as many anchors [..., 4], both centres, where a place of the map
    is `places` [..., 2] wide and high: where in the place its middle lies, 0 to 1, and the logarithm of how much larger
    than the anchor it is (Redmon and Farhadi, arXiv 1612.08242, section 2)."""
    inside = (boxes[..., :2] - anchors[..., :2]) / places + 0.5
    return torch.cat([inside, (boxes[..., 2:].clamp(min=LEAST_SIDE) / anchors[..., 2:]).log()], -1)


def decode_cells(code: Tensor, anchors: Tensor, places: Tensor) -> Tensor:
    """Return the boxes [..., 4], centres, of YOLOv2's outputs [..., 4], whose sigmoid is where in its place the middle
    lies; see `encode_cells`."""
    middle = anchors[..., :2] + (code[..., :2].sigmoid() - 0.5) * places
    return torch.cat([middle, anchors[..., 2:] * code[..., 2:].clamp(max=LARGEST_LOG).exp()], -1)
