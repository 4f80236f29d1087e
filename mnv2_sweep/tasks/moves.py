"""Crops, flips and scales that move an image's boxes and the classes of its pixels along, as batched tensors.

A move [B, 2, 3] says where in the image each place of the new one comes from, both in [-1, 1], as `data.batches` draws
its crops: those of a recipe (`draw_crops`) are moves, too. Moves have no turns: x comes from x, y from y. What lies
outside of the image is grey, which is 0, and IGNORED. Colours move nothing: `data.batches.apply_colours` and
`apply_contrast` change images alone.

Boxes are padded, [B, G, 4] as corners and shares of the image, with `there` [B, G], whether each is one.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from mnv2_sweep.base.size import Size
from mnv2_sweep.models.boxes import find_areas
from mnv2_sweep.trials.regions import IGNORED

LEAST_SIDE = 1e-3  # of the image's; a box of which less is left is gone
# What part of some box a crop must hold, one of which is drawn for each image; 0: any (Liu et al., arXiv 1512.02325,
# section 2.2, which asks for the overlap; tensorflow/models' ssd_random_crop asks for the part of the box).
COVERED = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
TRIES = 20  # crops that are drawn for an image; the first that holds enough is taken, or else the whole image
LEAST_AREA, LEAST_ASPECT, MOST_ASPECT = 0.1, 0.5, 2.0  # of those crops


def whole_moves(count: int) -> Tensor:
    """Return moves that change nothing, [count, 2, 3]."""
    return make_moves(torch.zeros(count, 4) + torch.tensor([0.0, 0.0, 1.0, 1.0]))


def make_moves(frames: Tensor, flip: Tensor | None = None) -> Tensor:
    """Return the moves [B, 2, 3] that cut frames [B, 4] out of images, corners as shares, which may reach out of them;
    mirrored where `flip` [B] says so."""
    moves, (low, high) = torch.zeros(len(frames), 2, 3), (frames[:, :2], frames[:, 2:])
    side = torch.ones(len(frames)) if flip is None else torch.where(flip, -1.0, 1.0)
    moves[:, 0, 0], moves[:, 1, 1] = (high - low)[:, 0] * side, (high - low)[:, 1]
    moves[:, :, 2] = low + high - 1
    return moves


def draw_frames(
    boxes: Tensor, there: Tensor, generator: torch.Generator | None = None, least_area: float = LEAST_AREA
) -> Tensor:
    """Draw a crop for each image [B, 4], corners as shares, which holds a drawn part (COVERED) of at least one of its
    boxes; the whole image where TRIES crops hold none so far. An image without boxes gets the first that is drawn."""
    count = len(boxes)
    draws = torch.rand(4, count, TRIES, generator=generator)
    wanted = torch.tensor(COVERED)[torch.randint(len(COVERED), (count, 1), generator=generator)]
    area = least_area + (1 - least_area) * draws[0]
    aspect = torch.exp(math.log(LEAST_ASPECT) + math.log(MOST_ASPECT / LEAST_ASPECT) * draws[1])
    sides = torch.stack([(area * aspect).sqrt(), (area / aspect).sqrt()], -1).clamp(max=1)
    low = (1 - sides) * draws[2:].permute(1, 2, 0)
    frames = torch.cat([low, low + sides], -1)  # [B, tries, 4]
    held = cut_boxes(boxes[:, None], frames[:, :, None])  # [B, tries, G, 4]
    parts = find_areas(held) / find_areas(boxes)[:, None].clamp(min=1e-12)
    parts = parts.masked_fill(~there[:, None], -1)
    most = torch.cat([parts, torch.full((count, TRIES, 1), -1.0)], -1).amax(-1)
    enough = (most > 0) & (most >= wanted - 1e-6) | ~there.any(1, keepdim=True)
    at = enough.float().argmax(1)
    chosen = frames[torch.arange(count), at]
    return torch.where(enough.any(1, keepdim=True), chosen, torch.tensor([0.0, 0.0, 1.0, 1.0]))


def draw_scales(
    count: int, scales: Sequence[float], size: Size, image: Size, generator: torch.Generator | None = None
) -> Tensor:
    """Draw frames [count, 4] of `size` pixels out of images that are first made as large as `image` times one of the
    scales, anywhere in them; or around them, with them in the middle, where they are smaller (tensorflow/models,
    deeplab: scales 0.5 to 2 in steps of 0.25, crops of the training size)."""
    scale = torch.tensor(scales)[torch.randint(len(scales), (count,), generator=generator)]
    places = torch.rand(count, 2, generator=generator)
    wanted = torch.tensor([size.width / image.width, size.height / image.height])
    sides = wanted / scale[:, None]
    room = 1 - sides
    low = torch.where(room > 0, room * places, room / 2)
    return torch.cat([low, low + sides], 1)


def cut_boxes(boxes: Tensor, frames: Tensor) -> Tensor:
    """Return what frames [..., 4] leave of boxes [..., 4], in shares of the whole image, both corners; the wrong way
    round where that is nothing."""
    return torch.cat(
        [torch.maximum(boxes[..., :2], frames[..., :2]), torch.minimum(boxes[..., 2:], frames[..., 2:])], -1
    )


def move_images(images: Tensor, moves: Tensor, size: Size) -> Tensor:
    """Return images [B, C, h, w] in [-1, 1] as they are moved, [B, C, *size]."""
    grid = functional.affine_grid(moves.to(images.device), [*images.shape[:2], *size], align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def move_boxes(boxes: Tensor, there: Tensor, moves: Tensor, least: float = 0.0) -> tuple[Tensor, Tensor]:
    """Return boxes [B, G, 4] in the moved image, cut at its edges, and which are there still [B, G]: those whose middle
    is within it, as the middle of a true box is what its anchor lies on, and of which at least a part `least` is."""
    scale, shift = torch.diagonal(moves[..., :2], dim1=1, dim2=2), moves[..., 2]
    ends = (2 * boxes.unflatten(-1, (2, 2)) - 1 - shift[:, None, None]) / scale[:, None, None]  # [B, G, 2, 2]
    ends = ends.sort(2).values / 2 + 0.5
    middle = ends.mean(2)
    whole = ends.flatten(2)
    cut = whole.clamp(0, 1)
    kept = there & ((middle >= 0) & (middle < 1)).all(-1) & ((cut[..., 2:] - cut[..., :2]) >= LEAST_SIDE).all(-1)
    kept &= find_areas(cut) >= least * find_areas(whole)
    return cut * kept[..., None], kept


def move_classes(truth: Tensor, moves: Tensor, size: Size) -> Tensor:
    """Return the classes of pixels [B, h, w], uint8, as they are moved, [B, *size]: that of the nearest pixel, IGNORED
    outside of the image."""
    height, width = truth.shape[1:]
    rows, within_rows = _nearest(moves[:, 1, 1], moves[:, 1, 2], size.height, height)
    columns, within_columns = _nearest(moves[:, 0, 0], moves[:, 0, 2], size.width, width)
    rows, columns = rows.to(truth.device), columns.to(truth.device)
    images = torch.arange(len(truth), device=truth.device)[:, None, None]
    moved = truth[images, rows[:, :, None], columns[:, None]]
    outside = ~(within_rows[:, :, None] & within_columns[:, None]).to(truth.device)
    return moved.masked_fill(outside, IGNORED)


def _nearest(scale: Tensor, shift: Tensor, count: int, among: int) -> tuple[Tensor, Tensor]:
    """Return which of `among` pixels of a side each of `count` new ones comes from, [B, count], and whether it does."""
    places = (2 * torch.arange(count) + 1) / count - 1
    at = ((scale[:, None] * places + shift[:, None] + 1) / 2 * among).floor().long()
    return at.clamp(0, among - 1), (at >= 0) & (at < among)


def apply_contrast(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply how far images [B, C, h, w] in [-1, 1] are from their mean by factors [B], cut to [-1, 1]."""
    means = images.mean((1, 2, 3), keepdim=True)
    return (means + (images - means) * factors.to(images.device)[:, None, None, None]).clamp(-1, 1)
