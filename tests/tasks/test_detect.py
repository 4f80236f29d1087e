"""Detection and segmentation as tasks: targets, how they move, perfect outputs, and a short training of each."""

import numpy as np
import pytest
import torch

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.size import Size, square
from mnv2_sweep.models.boxes import encode_boxes, to_centres
from mnv2_sweep.models.detect import anchor_tensor
from mnv2_sweep.nets.arch import ArchSpec, Stage
from mnv2_sweep.tasks.detect import CROWD, DIFFICULT, NO_ROW, TRUTH
from mnv2_sweep.tasks.detect import WORK as DETECTION
from mnv2_sweep.tasks.matching import match_anchors, pick_truths
from mnv2_sweep.tasks.multibox import find_classes
from mnv2_sweep.tasks.segment import WORK as SEGMENTATION
from mnv2_sweep.training.loop import run_trial
from mnv2_sweep.trials.matches import read_matches
from mnv2_sweep.trials.recipe import Recipe
from mnv2_sweep.trials.regions import IGNORED, read_regions
from mnv2_sweep.trials.tasks import TASKS
from mnv2_sweep.trials.terms import unpack_terms
from mnv2_sweep.trials.trial import DataRef, Trial
from tests.marked_toys import DETECT, SEGMENT, ToySquares, make_labels

STAGES = (Stage(1, 8, 1, 1), Stage(3, 12, 1, 2), Stage(3, 16, 1, 2), Stage(3, 24, 1, 2), Stage(3, 32, 1, 2))
SSDLITE = ArchSpec(
    stages=STAGES, resolution=64, classes=2, head="ssdlite", scales=3, extra_channels=32, last_channels=64
)
YOLO = ArchSpec(family="darknet19", width=0.1, head="yolov2", resolution=64, classes=2)
DEEPLAB = ArchSpec(
    stages=STAGES, resolution=64, classes=3, head="deeplabv3", aspp=False, last_channels=0, output_stride=8
)
ROWS = [[[0, 0, 40, 40, 1, 0, 0], [40, 40, 60, 70, 0, 1, 0]], [], [[8, 8, 16, 16, 0, 0, 1]]]


class Boxed:
    name = "three"

    def boxes(self, split: str, size: Size):
        return make_labels(ROWS)


@pytest.fixture(scope="module")
def squares() -> ToySquares:
    return ToySquares(train=48, val=18)


@pytest.fixture(autouse=True)
def tasks(monkeypatch):
    for task in (DETECT, SEGMENT):
        monkeypatch.setitem(TASKS, task.name, task)


def test_targets_are_shares_padded_with_rows_that_are_none():
    targets = DETECTION.read_targets(Boxed(), "val", Size(80, 160), "cpu")
    assert targets.shape == (3, 2, 6)
    assert targets[0, 0].tolist() == [0, 0, 0.25, 0.5, 1, TRUTH] and targets[0, 1, 5] == CROWD
    assert targets[2, 0, 5] == DIFFICULT and (targets[1] == 0).all() and targets[2, 1, 5] == NO_ROW


def test_targets_move_with_their_images():
    targets = DETECTION.read_targets(Boxed(), "train", square(80), "cpu")
    recipe = Recipe("tiny", epochs=1, crop_min_area=0.3)
    moves = DETECTION.draw_moves(targets, recipe, torch.Generator().manual_seed(0))
    assert torch.equal(moves, DETECTION.draw_moves(targets, recipe, torch.Generator().manual_seed(0)))
    moved = DETECTION.move(targets, moves, square(64))
    assert moved.shape == targets.shape and not torch.equal(moved, targets)
    gone = moved[..., 5] == NO_ROW
    assert (moved[gone] == 0).all() and torch.equal(moved[~gone][:, 4:], targets[~gone][:, 4:])
    mirrored = DETECTION.move(targets, torch.tensor([[-1.0, 0, 0], [0, 1, 0]]).expand(3, 2, 3), square(64))
    assert mirrored[0, 0].tolist() == [0.5, 0, 1, 0.5, 1, TRUTH]


def test_a_network_that_says_what_is_true_is_perfect():
    """The outputs of an SSD are made of the targets of three images, of which one has none, one a difficult box."""
    targets = DETECTION.read_targets(Boxed(), "val", square(80), "cpu")
    work, anchors = DETECTION.of(SSDLITE), anchor_tensor(SSDLITE)
    boxes, there = targets[..., :4], targets[..., 5] == TRUTH
    matched = match_anchors(anchors, boxes, there)
    code = encode_boxes(to_centres(pick_truths(boxes, matched)), anchors)
    scores = 20.0 * torch.nn.functional.one_hot(find_classes(targets[..., 4].long(), matched), 3) - 10
    outputs, begin = [], 0
    for side, each in ((4, 3), (2, 6), (1, 6)):
        end = begin + side**2 * each
        for rows in (code[:, begin:end], scores[:, begin:end]):
            outputs.append(rows.reshape(3, side, side, -1).permute(0, 3, 1, 2))
        begin = end
    assert begin == len(anchors)
    scorer = work.scorer()
    scorer.add([one[:1] for one in outputs], targets[:1])
    scorer.add([one[1:] for one in outputs], targets[1:])
    found = scorer.scores()
    assert found["map"] == found["map50"] == 1 and 0 <= found["loss"] < 1e-2
    terms = {name: values.numpy() for name, values in scorer.terms().items()}
    assert read_matches(terms).precision().map[0] == 1 and terms["loss"].shape == (3,)


@pytest.mark.parametrize(("work", "what"), [(DETECTION, "boxes"), (SEGMENTATION, "masks")], ids=["boxes", "masks"])
def test_data_without_them_are_refused(work, what, tiny_data):
    with pytest.raises(SweepError, match=f"but toy has no {what}; give data with {what}"):
        work.read_targets(tiny_data, "val", square(16), "cpu")


@pytest.mark.parametrize("work", [DETECTION, SEGMENTATION], ids=["boxes", "masks"])
def test_neither_is_mixed(work):
    with pytest.raises(SweepError, match="recipe.mixup: given"):
        work.soften(torch.zeros(2, 3, 6), 3, Recipe("tiny", epochs=1))


def test_masks_move_with_their_images(squares):
    targets = SEGMENTATION.read_targets(squares, "train", square(64), "cpu")
    assert targets.shape == (48, 80, 80) and targets.dtype == torch.uint8
    assert SEGMENTATION.read_targets(squares, "val", square(64), "cpu").shape == (18, 64, 64)
    mirrored = SEGMENTATION.move(targets, torch.tensor([[-1.0, 0, 0], [0, 1, 0]]).expand(48, 2, 3), square(80))
    assert torch.equal(mirrored, targets.flip(2))


def test_pixels_by_hand():
    truth = torch.tensor([[[0, 1], [2, IGNORED]], [[0, 0], [0, 0]]], dtype=torch.uint8)
    given = torch.tensor([[[0, 1], [1, 0]], [[0, 0], [0, 1]]])
    logits = 20.0 * torch.nn.functional.one_hot(given, 3).permute(0, 3, 1, 2)
    scorer = SEGMENTATION.scorer()
    scorer.add(logits, truth)
    scores = scorer.scores()
    assert scores["pixel_accuracy"] == 5 / 7 and scores["miou"] == pytest.approx((4 / 5 + 1 / 3 + 0) / 3)
    terms = {name: values.numpy() for name, values in scorer.terms().items()}
    assert read_regions(terms, 3).mean_overlap()[0] == scores["miou"] and terms["loss"].shape == (2,)


def make_trial(arch: ArchSpec, task: str, classes: int, **recipe) -> Trial:
    recipe = {"batch": 12, "lr": 0.05, "norm_momentum": 0.3, "crop_min_area": 0.5, **recipe}
    return Trial(arch, Recipe("tiny", **recipe), DataRef("squares", ToySquares.fingerprint, classes), 0, task=task)


@pytest.mark.slow
def test_a_detector_is_trained_and_each_image_is_on_record(squares):
    trial = make_trial(SSDLITE, "detect", 2, images=240)
    result = run_trial(trial, squares)
    assert result.curve[-1].train_loss < 0.7 * result.curve[0].train_loss
    assert {"map", "map50", "loss"} == set(result.scores["val"]) and set(result.curve[-1].scores) == {"map"}
    matches = read_matches(unpack_terms(result.each)["val"])
    assert matches.precision().map[0] == pytest.approx(result.scores["val"]["map"], abs=1e-12)
    assert matches.truths.sum() == sum(map(len, squares.rows["val"]))


@pytest.mark.slow
def test_yolo_is_trained(squares):
    result = run_trial(make_trial(YOLO, "detect", 2, images=96, lr=0.005), squares)
    assert result.curve[-1].train_loss < result.curve[0].train_loss


@pytest.mark.slow
def test_the_same_trial_gives_the_same_numbers(squares):
    trial = make_trial(SSDLITE, "detect", 2, images=48)
    first, again = (run_trial(trial, squares) for _ in range(2))
    assert first.scores == again.scores and first.each == again.each


@pytest.mark.slow
def test_a_segmenter_learns_coloured_squares(squares):
    result = run_trial(make_trial(DEEPLAB, "segment", 3, images=360, lr=0.02), squares)
    assert result.scores["val"]["miou"] > 0.4  # one class everywhere has at most 1 / 3
    regions = read_regions(unpack_terms(result.each)["val"], 3)
    assert regions.mean_overlap()[0] == pytest.approx(result.scores["val"]["miou"])
    assert np.array(regions.true).sum() == 18 * 64 * 64
