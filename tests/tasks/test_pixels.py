"""Losses and counts of pixels: by hand and against slow code; and what comes of no network at all."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from mnv2_sweep.tasks.pixel_baselines import (
    LEVELS,
    Ranges,
    count_brightness,
    find_majority,
    find_ranges,
    majority_regions,
    range_regions,
)
from mnv2_sweep.tasks.pixels import count_confusions, pixel_losses
from mnv2_sweep.trials.regions import IGNORED, Regions, count_regions, read_regions
from mnv2_sweep.trials.terms import pack_terms, unpack_terms


def draw_classes(*shape: int, classes: int = 3, seed: int = 0) -> torch.Tensor:
    truth = torch.randint(classes + 1, shape, generator=torch.Generator().manual_seed(seed))
    return truth.masked_fill(truth == classes, IGNORED).to(torch.uint8)


def test_the_loss_is_a_mean_over_the_pixels_that_count():
    logits, truth = torch.randn(3, 3, 4, 5, generator=torch.Generator().manual_seed(1)), draw_classes(3, 4, 5)
    truth[1] = IGNORED
    losses = pixel_losses(logits, truth)
    every = functional.cross_entropy(logits.movedim(1, -1).reshape(-1, 3), truth.flatten().long(), ignore_index=IGNORED)
    assert losses.mean().item() == pytest.approx(every.item(), rel=1e-5)
    assert losses[1] == 0 and (losses[[0, 2]] > 0).all()


def test_the_loss_by_hand():
    logits = torch.tensor([[[[0.0, 2.0]], [[0.0, 0.0]]]])  # two pixels, two classes
    truth = torch.tensor([[[1, IGNORED]]], dtype=torch.uint8)
    assert pixel_losses(logits, truth).item() == pytest.approx(math.log(2))


def test_nothing_to_learn_is_no_loss_and_a_number():
    logits = torch.zeros(2, 3, 2, 2, requires_grad=True)
    loss = pixel_losses(logits, torch.full((2, 2, 2), IGNORED, dtype=torch.uint8)).mean()
    loss.backward()
    assert loss == 0 and logits.grad.abs().max() == 0


def test_confusions_are_those_of_slow_code():
    given, truth = draw_classes(3, 6, 7, seed=1).clamp(max=2), draw_classes(3, 6, 7)
    found = count_confusions(given, truth, 3)
    for image in range(3):
        slow = np.zeros((3, 3), int)
        for a, b in zip(given[image].flatten().tolist(), truth[image].flatten().tolist(), strict=True):
            if b != IGNORED:
                slow[b, a] += 1
        assert found[image].tolist() == slow.tolist()


@pytest.mark.parametrize("name", ["given", "true"])
def test_a_class_that_there_is_not_is_refused(name):
    pair = {"given": torch.zeros(1, 2, 2), "true": torch.zeros(1, 2, 2)} | {name: torch.full((1, 2, 2), 3)}
    with pytest.raises(ValueError, match=f"a {name} class is none of 0 to 2"):
        count_confusions(*pair.values(), 3)


# ---------------------------------------------------------------- mIoU


def test_overlaps_by_hand_over_all_images():
    """Of class 0 there are 4 pixels, 3 found, 1 more taken for it; of class 1 4, 3 found, 1 more; class 2 is absent
    but for one pixel of class 1 that was taken for it."""
    confusions = np.array([[[3, 1, 0], [0, 2, 0], [0, 0, 0]], [[0, 0, 0], [1, 1, 1], [0, 0, 0]]])
    regions = count_regions(confusions)
    overlaps = regions.overlaps()[0]
    assert overlaps[:2].tolist() == [3 / 5, 3 / 6] and np.isnan(overlaps[2])
    assert regions.absent.tolist() == [2]
    assert regions.mean_overlap()[0] == pytest.approx((3 / 5 + 1 / 2) / 2)
    assert regions.accuracy() == pytest.approx(6 / 9)


def test_sums_come_before_the_division():
    """A mean over images would be (1 + 0) / 2."""
    regions = Regions(np.array([[90], [0]]), np.array([[90], [0]]), np.array([[90], [10]]))
    assert regions.mean_overlap()[0] == 0.9


def test_weights_are_how_often_an_image_is_there():
    random = np.random.default_rng(0)
    confusions, weights = random.integers(9, size=(5, 3, 3)), np.array([2, 0, 1, 3, 1])
    weighed = count_regions(confusions).mean_overlap(weights[None])
    again = count_regions(np.repeat(confusions, weights, 0)).mean_overlap()
    assert weighed == pytest.approx(again)


def test_nothing_true_is_unknown():
    regions = count_regions(np.zeros((2, 3, 3), int))
    assert np.isnan(regions.mean_overlap()).all() and np.isnan(regions.accuracy())
    assert regions.absent.tolist() == [0, 1, 2]


def test_regions_are_kept_as_terms_and_come_back():
    regions = count_regions(np.random.default_rng(0).integers(70_000, size=(4, 3, 3)))
    kept = unpack_terms(pack_terms({"val": regions.terms()}))["val"]
    assert read_regions(kept, 3).mean_overlap() == regions.mean_overlap()
    with pytest.raises(ValueError, match="don't go together"):
        read_regions(kept, 5)
    with pytest.raises(KeyError):
        read_regions({}, 3)


# ---------------------------------------------------------------- without a network


def test_the_majority_class_by_hand():
    true = np.array([[8, 2], [9, 1]])
    assert find_majority(true) == 0 and find_majority(true[:, ::-1]) == 1
    regions = majority_regions(true, 0)
    assert regions.overlaps()[0].tolist() == [17 / 20, 0] and regions.accuracy() == 0.85
    everywhere = count_confusions(torch.zeros(1, 10), torch.tensor([[0] * 8 + [1] * 2]), 2).numpy()
    first, again = majority_regions(true[:1], 0), count_regions(everywhere)
    assert all((getattr(first, name) == getattr(again, name)).all() for name in ("hits", "given", "true"))


def test_brightness_by_hand():
    image = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0]]], np.uint8)
    counts = count_brightness(image, np.array([[0, 1, IGNORED]], np.uint8), 2)
    assert counts.shape == (LEVELS, 2) and counts.sum() == 2 and counts[0, 0] == counts[255, 1] == 1
    assert count_brightness(image, np.array([[0, 0, 1]], np.uint8), 2)[76, 1] == 1  # 0.299 of red


def test_brightness_in_deviations_does_not_know_how_bright_an_image_is():
    image = np.random.default_rng(0).integers(40, 90, (6, 5, 1)).repeat(3, 2)
    truth = np.zeros((6, 5), np.uint8)
    dark, bright = (count_brightness(one.astype(np.uint8), truth, 1, True)[:, 0] for one in (image, 2 * image + 60))
    assert abs((dark * np.arange(LEVELS)).sum() - (bright * np.arange(LEVELS)).sum()) <= 30  # rounding of 30 pixels
    assert (dark * np.arange(LEVELS)).sum() / 30 == pytest.approx(128, abs=1)
    flat = count_brightness(np.full((2, 2, 3), 9, np.uint8), truth[:2, :2], 1, True)
    assert flat[128, 0] == 4


def slow_best(brightness: np.ndarray, classes: int) -> float:
    """Every pair of thresholds and every choice of classes, pixel for pixel."""
    levels, pixels = np.arange(LEVELS), brightness
    best, edges = 0.0, [0, *(np.flatnonzero(brightness.sum(1)) + 1)]
    for low in edges:
        for high in (edge for edge in edges if edge >= low):
            for labels in np.ndindex(*[classes] * 3):
                given = np.where(levels < low, labels[0], np.where(levels < high, labels[1], labels[2]))
                table = np.stack([pixels[given == label].sum(0) for label in range(classes)], 1)
                best = max(best, float(count_regions(table[None]).mean_overlap()[0]))
    return best


@pytest.mark.parametrize("seed", range(3))
def test_two_thresholds_are_the_best_there_are(seed):
    random, brightness = np.random.default_rng(seed), np.zeros((LEVELS, 3), np.int64)
    brightness[random.choice(LEVELS, 7, replace=False)] = random.integers(50, size=(7, 3))
    regions = range_regions(brightness[None], find_ranges(brightness))
    assert regions.mean_overlap()[0] == pytest.approx(slow_best(brightness, 3))


def test_dark_grey_and_bright_are_told_apart():
    brightness = np.zeros((LEVELS, 3), np.int64)
    brightness[:50, 1], brightness[50:200, 0], brightness[200:, 2] = 3, 9, 1
    ranges = find_ranges(brightness)
    assert ranges == Ranges(50, 200, (1, 0, 2))
    assert range_regions(brightness[None], ranges).mean_overlap()[0] == 1


def test_many_classes_have_no_thresholds():
    with pytest.raises(ValueError, match="6 classes given, at most 5 allowed"):
        find_ranges(np.zeros((LEVELS, 6), np.int64))
