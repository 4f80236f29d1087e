"""Which anchor learns which box: by hand, and against slow code that follows the sources step by step."""

import pytest
import torch

from mnv2_sweep.models.boxes import to_centres, to_corners
from mnv2_sweep.tasks.matching import NOTHING, match_anchors, match_cells, pick_truths
from tests.models.test_boxes import draw, slow_overlap

HALF = torch.tensor([[0.25, 0.5, 0.5, 1.0], [0.75, 0.5, 0.5, 1.0]])  # the left and the right half of the image


def slow_match(anchors: list, boxes: list, there: list, least: float) -> list[int]:
    """As argmax_matcher.py of TensorFlow: each anchor's best box, if it is good enough; then each box's best anchor,
    where of several boxes the first has it."""
    pairs = zip(boxes, there, strict=True)
    table = [[slow_overlap(box, anchor) if is_one else -1 for anchor in anchors] for box, is_one in pairs]
    matched = []
    for at in range(len(anchors)):
        column = [row[at] for row in table]
        best = max(column)
        matched.append(column.index(best) if best >= least else NOTHING)
    for box in reversed(range(len(boxes))):
        best = max(table[box])
        if there[box] and best > 0:
            matched[table[box].index(best)] = box
    return matched


@pytest.mark.parametrize("least", [0.5, 0.3])
def test_matching_is_that_of_slow_code(least):
    anchors, boxes = to_centres(draw(60)), draw(8, 6, seed=1)
    there = torch.rand(8, 6, generator=torch.Generator().manual_seed(2)) < 0.7
    found = match_anchors(anchors, boxes, there, least)
    for image in range(8):
        corners = to_corners(anchors).tolist()
        assert found[image].tolist() == slow_match(corners, boxes[image].tolist(), there[image].tolist(), least)
    assert (found >= 0).any() and found.dtype == torch.int64


def test_matching_by_hand():
    """A box on the left half, one a fifth of the right half, which has it by force, and padding."""
    boxes = torch.tensor([[[0, 0, 0.5, 1], [0.5, 0, 1, 0.2], [0, 0, 1, 1]]])
    matched = match_anchors(HALF, boxes, torch.tensor([[True, True, False]]))
    assert matched.tolist() == [[0, 1]]
    assert match_anchors(HALF, boxes[:, :2], torch.tensor([[True, False]])).tolist() == [[0, NOTHING]]


def test_of_two_boxes_with_one_best_anchor_the_first_has_it():
    boxes = torch.tensor([[[0, 0, 0.5, 0.2], [0, 0, 0.5, 0.3], [0.5, 0, 1, 0.2]]])
    every = torch.ones(1, 3, dtype=torch.bool)
    assert match_anchors(HALF, boxes, every).tolist() == [[0, 2]]
    assert match_anchors(HALF, boxes.flip(1), every).tolist() == [[1, 0]]


def test_an_image_without_boxes_is_background():
    assert (
        match_anchors(HALF, torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.bool)).tolist() == [[NOTHING] * 2] * 2
    )
    nothing = torch.zeros(1, 3, dtype=torch.bool)
    assert match_anchors(HALF, torch.rand(1, 3, 4), nothing).tolist() == [[NOTHING] * 2]


def test_a_box_that_overlaps_no_anchor_is_learnt_by_none():
    left = HALF[:1]
    assert match_anchors(left, torch.tensor([[[0.6, 0, 0.7, 1]]]), torch.ones(1, 1, dtype=torch.bool)).tolist() == [
        [-1]
    ]


# ---------------------------------------------------------------- YOLOv2

PLACES = torch.tensor([0.5, 0.25])  # 2 columns, 4 rows
SHAPES = torch.tensor([[0.1, 0.1], [0.8, 0.2]])


def grid() -> torch.Tensor:
    y, x = torch.meshgrid((torch.arange(4) + 0.5) / 4, (torch.arange(2) + 0.5) / 2, indexing="ij")
    centres = torch.stack([x, y], -1)[:, :, None].expand(-1, -1, 2, -1)
    return torch.cat([centres, SHAPES.expand(4, 2, 2, 2)], -1).reshape(-1, 4)


def test_cells_by_hand():
    """A small square in the second row's right place, a wide box in the last row's left one."""
    boxes = torch.tensor([[[0.9, 0.4, 0.98, 0.48], [0, 0.8, 0.9, 0.95]]])
    matched = match_cells(grid(), PLACES, boxes, torch.ones(1, 2, dtype=torch.bool))
    wanted = {(1 * 2 + 1) * 2 + 0: 0, (3 * 2 + 0) * 2 + 1: 1}
    assert matched[0].tolist() == [wanted.get(at, NOTHING) for at in range(16)]


def test_of_two_boxes_in_one_cell_the_last_has_it():
    boxes = torch.tensor([[[0.1, 0.1, 0.2, 0.2], [0.2, 0.1, 0.3, 0.2]]])
    every = torch.ones(1, 2, dtype=torch.bool)
    assert match_cells(grid(), PLACES, boxes, every)[0, 0].item() == 1
    assert match_cells(grid(), PLACES, boxes, torch.tensor([[True, False]]))[0, 0].item() == 0
    assert match_cells(grid(), PLACES, torch.zeros(1, 0, 4), torch.zeros(1, 0, dtype=torch.bool)).max() == NOTHING


def test_a_box_at_the_lower_right_corner_is_in_the_last_place():
    boxes = torch.tensor([[[0.99, 0.99, 1.01, 1.01]]])
    assert match_cells(grid(), PLACES, boxes, torch.ones(1, 1, dtype=torch.bool))[0].argmax() == 14


def test_what_belongs_to_a_box_is_picked():
    labels, boxes = torch.tensor([[3, 5]]), torch.arange(8.0).reshape(1, 2, 4)
    matched = torch.tensor([[1, -1, 0]])
    assert pick_truths(labels, matched).tolist() == [[5, 3, 3]]
    assert pick_truths(boxes, matched)[0, 0].tolist() == [4, 5, 6, 7]
    assert pick_truths(torch.zeros(1, 0, 4), matched).shape == (1, 3, 4)
