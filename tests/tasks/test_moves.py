"""Moves of images, their boxes and the classes of their pixels: by hand, and that all three end at the same place."""

import pytest
import torch

from mnv2_sweep.base.size import Size, square
from mnv2_sweep.data.batches import draw_crops
from mnv2_sweep.models.boxes import find_areas
from mnv2_sweep.tasks.moves import (
    apply_contrast,
    cut_boxes,
    draw_frames,
    draw_scales,
    make_moves,
    move_boxes,
    move_classes,
    move_images,
    whole_moves,
)
from mnv2_sweep.trials.recipe import Recipe
from mnv2_sweep.trials.regions import IGNORED
from tests.models.test_boxes import draw

YES = torch.ones(1, 1, dtype=torch.bool)
QUARTER = torch.tensor([[0.0, 0.5, 0.5, 1.0]])  # the lower left one


def box(*corners: float) -> torch.Tensor:
    return torch.tensor([[list(corners)]])


def test_a_whole_move_changes_nothing():
    images, truth = torch.rand(2, 3, 6, 8), torch.randint(3, (2, 6, 8), dtype=torch.uint8)
    boxes = draw(2, 4)
    there = torch.tensor([[True] * 4, [True, False, True, False]])
    moves = whole_moves(2)
    assert torch.allclose(move_images(images, moves, Size(6, 8)), images, atol=1e-5)
    assert torch.equal(move_classes(truth, moves, Size(6, 8)), truth)
    moved, kept = move_boxes(boxes, there, moves)
    assert torch.equal(kept, there) and torch.allclose(moved, boxes * there[..., None], atol=1e-6)


@pytest.mark.parametrize(
    ("flip", "wanted"), [(False, [0.2, 0.4, 0.6, 1.0]), (True, [0.4, 0.4, 0.8, 1.0])], ids=["plain", "mirrored"]
)
def test_boxes_by_hand(flip, wanted):
    """The lower left quarter: 0.1 to 0.3 become 0.2 to 0.6, or 0.4 to 0.8 mirrored; 0.7 to 1.0 become 0.4 to 1.0."""
    moves = make_moves(QUARTER, torch.tensor([flip]))
    moved, kept = move_boxes(box(0.1, 0.7, 0.3, 1.0), YES, moves)
    assert kept.item() and moved[0, 0].tolist() == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(
    ("corners", "least", "kept"),
    [
        ((0.4, 0.6, 0.59, 0.8), 0.0, True),  # its middle is within
        ((0.4, 0.6, 0.61, 0.8), 0.0, False),
        ((0.4, 0.6, 0.59, 0.8), 0.6, False),  # 0.53 of it is
        ((0.6, 0.6, 0.9, 0.8), 0.0, False),
        ((0.2, 0.7, 0.2001, 0.8), 0.0, False),  # nothing is left of it
    ],
    ids=["middle within", "middle outside", "too little of it", "outside", "flat"],
)
def test_boxes_whose_middle_is_outside_are_gone(corners, least, kept):
    moved, there = move_boxes(box(*corners), YES, make_moves(QUARTER), least)
    assert there.item() is kept and (kept or not moved.any())
    assert not kept or moved[0, 0, 2] == 1.0


def test_classes_by_hand():
    truth = torch.tensor([[[0, 1, 2, 3], [4, 5, 6, 7]]], dtype=torch.uint8)
    quarter = make_moves(torch.tensor([[0.5, 0.0, 1.0, 1.0]]))
    assert move_classes(truth, quarter, Size(2, 2)).tolist() == [[[2, 3], [6, 7]]]
    mirrored = make_moves(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([True]))
    assert move_classes(truth, mirrored, Size(2, 4)).tolist() == [[[3, 2, 1, 0], [7, 6, 5, 4]]]
    around = make_moves(torch.tensor([[-0.25, 0.0, 0.75, 1.0]]))
    assert move_classes(truth, around, Size(2, 4)).tolist() == [[[IGNORED, 0, 1, 2], [IGNORED, 4, 5, 6]]]
    assert move_classes(truth, whole_moves(1), Size(4, 8))[0, ::2, ::2].tolist() == truth[0].tolist()


@pytest.mark.parametrize("flip", [False, True], ids=["plain", "mirrored"])
def test_image_boxes_and_classes_end_at_the_same_place(flip):
    """A bright rectangle of class 1: where it is in the moved image, its box and its pixels are."""
    side, rows, columns = 96, slice(30, 66), slice(20, 50)
    images, truth = torch.full((4, 3, side, side), -1.0), torch.zeros(4, side, side, dtype=torch.uint8)
    images[:, :, rows, columns], truth[:, rows, columns] = 1.0, 1
    boxes = torch.tensor([20.0, 30, 50, 66]).expand(4, 1, 4) / side
    frames = torch.tensor([[0.1, 0.2, 0.7, 0.9], [0.3, 0.1, 0.8, 0.6], [-0.3, -0.4, 1.2, 1.3], [0.0, 0.0, 1.0, 1.0]])
    moves = make_moves(frames, torch.full((4,), flip))
    new = move_images(images, moves, square(120))
    found, kept = move_boxes(boxes, torch.ones(4, 1, dtype=torch.bool), moves)
    classes = move_classes(truth, moves, square(120))
    assert kept.all()
    for image in range(4):
        bright = new[image, 0] > 0.2
        assert (bright != (classes[image] == 1)).float().mean() < 0.02
        y, x = torch.where(classes[image] == 1)
        edges = torch.stack([x.min(), y.min(), x.max() + 1, y.max() + 1]) / 120
        assert torch.allclose(found[image, 0], edges, atol=0.02)
    assert (new[2, :, 0, 0] == 0).all() and classes[2, 0, 0] == IGNORED


def test_the_crops_of_a_recipe_are_moves():
    recipe = Recipe("tiny", epochs=1, crop_min_area=0.3)
    moves = draw_crops(50, recipe, torch.Generator().manual_seed(0))
    boxes = torch.tensor([0.4, 0.4, 0.6, 0.6]).expand(50, 1, 4)
    moved, kept = move_boxes(boxes, torch.ones(50, 1, dtype=torch.bool), moves)
    assert kept.any() and (moved >= 0).all() and (moved <= 1).all()
    areas = find_areas(moved)[kept]
    assert (areas >= 0.5 * 0.04).all() and areas.max() > 0.08  # crops magnify


def test_crops_hold_a_part_of_a_box():
    boxes, there = draw(200, 5), torch.rand(200, 5, generator=torch.Generator().manual_seed(1)) < 0.5
    frames = draw_frames(boxes, there, torch.Generator().manual_seed(2))
    assert torch.equal(frames, draw_frames(boxes, there, torch.Generator().manual_seed(2)))
    assert (frames >= 0).all() and (frames <= 1 + 1e-6).all() and (find_areas(frames) > 0.04).all()
    parts = find_areas(cut_boxes(boxes, frames[:, None])) / find_areas(boxes)
    some = there.any(1)
    assert (parts.masked_fill(~there, 0).amax(1)[some] > 0).all() and find_areas(frames)[some].std() > 0.1


def test_a_crop_that_can_hold_none_is_the_whole_image():
    """Small boxes of no area: none of the crops holds a part of them."""
    frames = draw_frames(torch.zeros(3, 1, 4), torch.ones(3, 1, dtype=torch.bool), torch.Generator().manual_seed(0))
    assert frames.tolist() == [[0, 0, 1, 1]] * 3
    empty = draw_frames(torch.zeros(3, 0, 4), torch.zeros(3, 0, dtype=torch.bool), torch.Generator().manual_seed(0))
    assert (find_areas(empty) < 1).all()


def test_scales_by_hand():
    """Of images of 200 x 100: at scale 2 a crop of 100 px is a quarter of the width and half of the height; at 0.5 the
    image is 100 x 50, so that the crop is the whole width and has it in the middle of its height."""
    size, image = square(100), Size(100, 200)
    frames = draw_scales(40, [2.0], size, image, torch.Generator().manual_seed(0))
    sides = frames[:, 2:] - frames[:, :2]
    assert torch.allclose(sides, torch.tensor([0.25, 0.5])) and (frames >= 0).all() and (frames <= 1).all()
    assert frames[:, 0].std() > 0.1
    assert draw_scales(1, [0.5], size, image)[0].tolist() == [0, -0.5, 1, 1.5]
    drawn = draw_scales(60, [0.5, 1.0, 2.0], size, image, torch.Generator().manual_seed(0))
    assert len({round(float(width), 3) for width in drawn[:, 2] - drawn[:, 0]}) == 3


def test_contrast_by_hand():
    images = torch.tensor([-0.5, 0.5]).reshape(1, 1, 1, 2).expand(2, 1, 1, 2)
    changed = apply_contrast(images, torch.tensor([0.5, 4.0])).flatten(1)
    assert changed.tolist() == [[-0.25, 0.25], [-1, 1]]


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 4), (3, 1), (3, 4)])
def test_any_size_is_made(rows, columns):
    truth = torch.zeros(1, 5, 7, dtype=torch.uint8)
    assert move_classes(truth, make_moves(QUARTER), Size(rows, columns)).shape == (1, rows, columns)
    assert move_images(torch.zeros(1, 3, 5, 7), make_moves(QUARTER), Size(rows, columns)).shape == (1, 3, rows, columns)
