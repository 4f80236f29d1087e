"""Fronts by several costs: those of `pareto`, and changes that are marked only beyond noise."""

import numpy as np
import pytest

from mnv2_sweep.analysis.fronts import CostAxis, changed_pairs, compare_fronts, front_rows
from mnv2_sweep.analysis.pareto import pareto_front

SCORES = np.array([0.5, 0.6, 0.7, 0.8])
MADDS = CostAxis("madds", np.array([10.0, 20.0, 30.0, 40.0]))


def test_rows_have_the_fronts_of_each_alone():
    random = np.random.default_rng(0)
    scores, costs = random.integers(0, 6, (200, 9)).astype(float), random.integers(1, 5, (200, 9)).astype(float)
    rows = front_rows(scores, costs)
    assert [row.tolist() for row in rows] == [pareto_front(*pair).tolist() for pair in zip(costs, scores, strict=True)]


def test_a_network_that_a_device_makes_slow_leaves_the_front():
    madds, device = compare_fronts(SCORES, [MADDS, CostAxis("latency@x", np.array([10.0, 50.0, 30.0, 40.0]), 1.05)])
    assert madds.on_front.all() and not madds.enters.any() and not madds.leaves.any()
    assert device.on_front.tolist() == [True, False, True, True]
    assert device.leaves.tolist() == [False, True, False, False] and not device.enters.any()
    assert device.changes == 1 and device.probability[1] < 0.05


def test_one_that_a_device_makes_fast_enters_it():
    scores = np.array([0.5, 0.7, 0.6, 0.8])
    madds, device = compare_fronts(scores, [MADDS, CostAxis("latency@x", np.array([10.0, 30.0, 20.0, 40.0]), 1.05)])
    assert madds.on_front.tolist() == [True, True, False, True]
    assert device.enters.tolist() == [False, False, True, False] and not device.leaves.any()


@pytest.mark.parametrize("margin, marked", [(1.01, True), (1.3, False)])
def test_a_change_within_the_error_of_predictions_is_not_marked(margin, marked):
    slow = CostAxis("latency@x", np.array([10.0, 31.5, 30.0, 40.0]), margin)
    _, device = compare_fronts(SCORES, [MADDS, slow])
    assert device.changes == 1 and device.leaves.tolist() == [False, marked, False, False]


def test_a_change_that_other_images_would_undo_is_not_marked():
    slow = CostAxis("latency@x", np.array([10.0, 35.0, 30.0, 40.0]))
    drawn = np.tile(SCORES, (1000, 1))
    drawn[::2, 1] = 0.75  # then the second is better than the third
    _, device = compare_fronts(SCORES, [MADDS, slow], drawn)
    assert device.changes == 1 and not device.leaves.any()


def test_what_is_not_known_is_on_no_front_and_no_change():
    costs = CostAxis("latency@x", np.array([10.0, np.nan, 30.0, 40.0]), 1.05)
    scores = np.array([0.5, 0.6, 0.7, np.nan])
    madds, device = compare_fronts(scores, [MADDS, costs])
    assert madds.on_front.tolist() == [True, True, True, False]
    assert device.on_front.tolist() == [True, False, True, False] and device.changes == 0
    assert np.isnan(device.probability).tolist() == [False, True, False, True]


def test_pairs_that_change_places():
    first, second = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 2.0, 1.99, 1.2])
    assert changed_pairs(first, second, 1.05) == (3, 2, 6)
    assert changed_pairs(first, first, 1.0) == (0, 0, 6)


def test_the_same_draws_every_time():
    slow = CostAxis("latency@x", np.array([10.0, 31.5, 30.0, 40.0]), 1.1)
    one, other = (compare_fronts(SCORES, [MADDS, slow])[1].probability for _ in range(2))
    assert np.array_equal(one, other)
