"""Intervals by the bootstrap: the same each time, near the textbook's where there is one, of mAP and mIoU."""

import numpy as np
import pytest

from mnv2_sweep.analysis.resample import MOST_DRAWS, bootstrap, draw_counts
from mnv2_sweep.tasks.average_precision import score_boxes
from mnv2_sweep.trials.regions import count_regions
from tests.box_samples import draw_images


def test_each_draw_has_as_many_images():
    counts = draw_counts(7, 50)
    assert counts.shape == (50, 7) and (counts.sum(1) == 7).all() and counts.max() > 1 and counts.min() == 0
    assert (draw_counts(7, 50) == counts).all() and (draw_counts(7, 50, seed=1) != counts).any()


def test_the_interval_of_a_mean_is_near_the_textbooks():
    values = np.random.default_rng(0).normal(size=400)
    low, high = bootstrap(lambda weights: weights @ values / weights.sum(1), 400)
    half = 1.96 * values.std() / 20
    assert (low, high) == (
        pytest.approx(values.mean() - half, abs=0.015),
        pytest.approx(values.mean() + half, abs=0.015),
    )
    assert bootstrap(lambda weights: weights @ values / weights.sum(1), 400) == (low, high)


def test_intervals_hold_what_was_measured():
    truths, found = draw_images(1, 40, 3)
    scores = score_boxes(truths, found, 3)
    low, high = bootstrap(lambda weights: scores.matches.precision(weights).map, 40, 200)
    assert 0 < low < scores.map < high < 1
    regions = count_regions(np.random.default_rng(0).integers(50, size=(40, 3, 3)) + 200 * np.eye(3, dtype=int))
    low, high = bootstrap(regions.mean_overlap, 40, 200)
    assert low < regions.mean_overlap()[0] < high


def test_one_image_or_mostly_no_score_have_no_interval():
    assert np.isnan(bootstrap(lambda weights: np.ones(len(weights)), 1)).all()
    assert np.isnan(bootstrap(lambda weights: np.full(len(weights), np.nan), 5)).all()
    partly = bootstrap(lambda weights: np.where(weights[:, 0] > 0, weights[:, 0], np.nan), 5, 400)
    assert partly[0] == 1


def test_draws_are_bounded():
    seen = []
    bootstrap(lambda weights: seen.append(len(weights)) or weights[:, 0], 2, 10 * MOST_DRAWS)
    assert seen == [MOST_DRAWS]
