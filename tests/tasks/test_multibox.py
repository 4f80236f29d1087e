"""Losses of detectors: by hand, against slow code in plain Python, and that they can be learnt from."""

import math

import pytest
import torch
from torch.nn import functional

from mnv2_sweep.models.boxes import decode_cells, encode_boxes, find_overlaps, to_centres, to_corners
from mnv2_sweep.models.detect import Raw
from mnv2_sweep.tasks.matching import NOTHING, match_anchors, match_cells
from mnv2_sweep.tasks.multibox import (
    Mining,
    Truths,
    class_losses,
    find_classes,
    mine_negatives,
    multibox_losses,
    yolo_losses,
)
from tests.models.test_boxes import draw
from tests.tasks.test_matching import PLACES, grid


def test_targets_of_classes():
    matched = torch.tensor([[NOTHING, 1, 0]])
    assert find_classes(torch.tensor([[4, 7]]), matched).tolist() == [[0, 8, 5]]
    assert find_classes(torch.zeros(1, 0, dtype=torch.long), torch.full((1, 3), NOTHING)).tolist() == [[0, 0, 0]]


def test_class_losses_by_hand():
    scores, classes = torch.tensor([[[0.0, 2.0, -1.0]]]), torch.tensor([[1]])

    def log(x: float) -> float:
        return -math.log(1 / (1 + math.exp(-x)))

    parts = [log(-0.0), log(2.0), log(1.0)]  # no background, class 1, no class 2
    assert class_losses(scores, classes, False).item() == pytest.approx(sum(parts))
    alphas = [0.75, 0.25, 0.75]
    focal = sum(alpha * (1 - math.exp(-part)) ** 2 * part for alpha, part in zip(alphas, parts, strict=True))
    assert class_losses(scores, classes, False, focal=True).item() == pytest.approx(focal)
    soft = math.log(1 + math.exp(2) + math.exp(-1)) - 2
    assert class_losses(scores, classes, True).item() == pytest.approx(soft)
    assert class_losses(scores, classes, True, True).item() == pytest.approx(0.25 * (1 - math.exp(-soft)) ** 2 * soft)


def test_hard_negatives_by_hand():
    losses = torch.tensor([[9.0, 1, 5, 3, 2, 4], [1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1]])
    positive = torch.zeros(3, 6, dtype=torch.bool)
    positive[0, 0] = True
    positive[2, :4] = True
    chosen = mine_negatives(losses, positive, Mining(3, 1))
    assert chosen.tolist() == [
        [False, False, True, True, False, True],  # three for the one that is matched
        [False] * 5 + [True],  # at least one
        [False] * 4 + [True, True],  # no more than there are
    ]
    assert mine_negatives(losses, positive, Mining(3, 0))[1].sum() == 0
    assert mine_negatives(torch.ones(1, 6), positive[:1], Mining(2, 0)).tolist() == [[False, True, True] + [False] * 3]


def make_truths(images: int = 4, boxes: int = 5) -> Truths:
    there = torch.rand(images, boxes, generator=torch.Generator().manual_seed(3)) < 0.6
    there[-1] = False  # an image without any
    labels = torch.randint(2, (images, boxes), generator=torch.Generator().manual_seed(4))
    return Truths(draw(images, boxes, seed=5), labels, there)


def slow_multibox(raw: Raw, anchors: torch.Tensor, matched: list, truths: Truths, softmax: bool) -> list[float]:
    """Anchor by anchor."""
    losses, total = [], sum(one >= 0 for image in matched for one in image)
    for image, of_image in enumerate(matched):
        loss, negatives = 0.0, []
        for at, box in enumerate(of_image):
            scores = raw.scores[image, at]
            wanted = 0 if box < 0 else 1 + int(truths.labels[image, box])
            if softmax:
                says = float(scores.logsumexp(0) - scores[wanted])
            else:
                yes = [column == wanted for column in range(len(scores))]
                says = sum(float(functional.softplus(-s if is_it else s)) for s, is_it in zip(scores, yes, strict=True))
            if box < 0:
                negatives.append(says)
                continue
            code = encode_boxes(to_centres(truths.boxes[image, box]), anchors[at])
            for a, b in zip(raw.boxes[image, at].tolist(), code.tolist(), strict=True):
                loss += (a - b) ** 2 / 2 if abs(a - b) < 1 else abs(a - b) - 0.5
            loss += says
        count = 3 * sum(box >= 0 for box in of_image)
        hardest = sorted(negatives, reverse=True)[: count if softmax else max(3, count)]
        losses.append((loss + sum(hardest)) * len(matched) / max(1, total))
    return losses


@pytest.mark.parametrize("softmax", [False, True], ids=["sigmoid", "softmax"])
def test_multibox_loss_is_that_of_slow_code(softmax):
    generator, truths, anchors = torch.Generator().manual_seed(0), make_truths(), to_centres(draw(40, seed=6))
    raw = Raw(torch.randn(4, 40, 4, generator=generator), torch.randn(4, 40, 3, generator=generator))
    matched = match_anchors(anchors, truths.boxes, truths.there)
    losses = multibox_losses(raw, anchors, matched, truths, softmax)
    assert losses.tolist() == pytest.approx(slow_multibox(raw, anchors, matched.tolist(), truths, softmax), rel=1e-4)
    assert (matched >= 0).sum() > 5


@pytest.mark.parametrize("focal", [False, True], ids=["mined", "focal"])
def test_what_is_right_has_no_loss_and_what_is_wrong_has(focal):
    truths, anchors = make_truths(), to_centres(draw(40, seed=6))
    matched = match_anchors(anchors, truths.boxes, truths.there)
    classes = find_classes(truths.labels, matched)
    code = encode_boxes(to_centres(truths.boxes.gather(1, matched.clamp(min=0)[..., None].expand(-1, -1, 4))), anchors)
    right = Raw(code, 40.0 * functional.one_hot(classes, 3) - 20)
    assert multibox_losses(right, anchors, matched, truths, focal=focal).max() < 1e-4
    wrong = right._replace(boxes=code + 1)
    assert multibox_losses(wrong, anchors, matched, truths, focal=focal).mean().item() == pytest.approx(
        4 * 0.5, rel=1e-4
    )
    wrong = right._replace(scores=-right.scores)
    assert multibox_losses(wrong, anchors, matched, truths, focal=focal).mean() > 10


@pytest.mark.parametrize("focal", [False, True], ids=["mined", "focal"])
def test_a_batch_without_boxes_learns_background(focal):
    raw = Raw(torch.zeros(2, 9, 4, requires_grad=True), torch.zeros(2, 9, 3, requires_grad=True))
    none = Truths(torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.long), torch.zeros(2, 0, dtype=torch.bool))
    anchors = to_centres(draw(9))
    matched = match_anchors(anchors, none.boxes, none.there)
    loss = multibox_losses(raw, anchors, matched, none, focal=focal).mean()
    loss.backward()
    assert loss > 0 and raw.boxes.grad.abs().max() == 0 and raw.scores.grad.isfinite().all()
    assert (raw.scores.grad[..., 0] <= 0).all() and (raw.scores.grad[..., 1:] >= 0).all()


@pytest.mark.parametrize("softmax", [False, True], ids=["sigmoid", "softmax"])
@pytest.mark.parametrize("focal", [False, True], ids=["mined", "focal"])
def test_padding_changes_nothing(softmax, focal):
    truths, anchors = make_truths(), to_centres(draw(40, seed=6))
    raw = Raw(torch.randn(4, 40, 4), torch.randn(4, 40, 3))
    more = Truths(
        torch.cat([truths.boxes, torch.zeros(4, 2, 4)], 1), functional.pad(truths.labels, (0, 2)),
        functional.pad(truths.there, (0, 2)),
    )  # fmt: skip
    sums = [
        multibox_losses(raw, anchors, match_anchors(anchors, some.boxes, some.there), some, softmax, focal)
        for some in (truths, more)
    ]
    assert torch.equal(*sums)


# ---------------------------------------------------------------- YOLOv2


def test_yolo_loss_by_hand():
    """One box on the first anchor of a place, in its middle and of its shape: what is wrong is the object and the
    classes; all others say object 0.5."""
    anchors = grid()
    box = to_corners(anchors[6])[None, None]
    truths = Truths(box, torch.tensor([[1]]), torch.ones(1, 1, dtype=torch.bool))
    raw = Raw(torch.zeros(1, 16, 4), torch.zeros(1, 16, 3))
    boxes = to_corners(decode_cells(raw.boxes, anchors, PLACES))
    matched = match_cells(anchors, PLACES, truths.boxes, truths.there)
    assert matched[0].tolist() == [0 if at == 6 else -1 for at in range(16)]
    loss = yolo_losses(raw, anchors, PLACES, matched, truths, boxes)
    others = 15 * 0.5 * 0.25
    assert loss.item() == pytest.approx(5 * 0.5 * 0.25 + math.log(2) + others, rel=1e-5)
    moved = Raw(raw.boxes.clone(), raw.scores)
    moved.boxes[0, 6, 2] = 0.1  # wider
    boxes = to_corners(decode_cells(moved.boxes, anchors, PLACES))
    own = find_overlaps(boxes[0, 6:7], box[0]).item()
    wanted = (2 - 0.01) * 0.5 * 0.1**2 + 5 * 0.5 * (0.5 - own) ** 2 + math.log(2) + others
    assert yolo_losses(moved, anchors, PLACES, matched, truths, boxes).item() == pytest.approx(wanted, rel=1e-5)


def test_yolo_leaves_out_what_overlaps_a_box_though_it_is_not_its_anchor():
    anchors = grid()
    truths = Truths(to_corners(anchors[6])[None, None], torch.tensor([[0]]), torch.ones(1, 1, dtype=torch.bool))
    raw = Raw(torch.zeros(1, 16, 4), torch.full((1, 16, 3), 3.0))
    matched = match_cells(anchors, PLACES, truths.boxes, truths.there)
    far = to_corners(anchors)[None]
    near = far.clone()
    near[0, 2] = truths.boxes[0, 0]
    less = yolo_losses(raw, anchors, PLACES, matched, truths, near)
    more = yolo_losses(raw, anchors, PLACES, matched, truths, far)
    assert (more - less).item() == pytest.approx(torch.tensor(3.0).sigmoid().item() ** 2 / 2, rel=1e-4)


def test_yolo_without_boxes_learns_that_there_are_none():
    raw = Raw(torch.zeros(2, 16, 4), torch.zeros(2, 16, 3, requires_grad=True))
    none = Truths(torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.long), torch.zeros(2, 0, dtype=torch.bool))
    matched = match_cells(grid(), PLACES, none.boxes, none.there)
    loss = yolo_losses(raw, grid(), PLACES, matched, none, to_corners(grid())[None].expand(2, -1, -1))
    loss.mean().backward()
    assert loss.tolist() == pytest.approx([16 * 0.125 * 2] * 2) and (raw.scores.grad[..., 0] > 0).all()
