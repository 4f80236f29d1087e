"""Which network is taken: what is said of it comes true as often as it is said."""

import numpy as np
import pytest

from mnv2_sweep.analysis.choice import (
    SURE,
    TIED,
    UNSURE,
    Range,
    choose,
    find_better,
    find_cheaper,
    find_gain,
    find_range,
    order_rivals,
)
from tests.choice_samples import OF_SEEDS, tell

COSTS = np.array([10.0, 20, 30, 40])


@pytest.fixture(scope="module")
def told():
    return tell(320, draws=250, images=400, seeds=3, of_seeds=OF_SEEDS)


@pytest.mark.slow
def test_answers_are_right_as_often_as_they_say(told):
    count, right = told.of_answers(0.8, 0.9)
    assert count > 30 and 0.75 <= right <= 0.95
    for low, high in ((0.3, 0.6), (0.6, 0.8), (0.9, 1.01)):
        own = (told.leader_said >= low) & (told.leader_said < high)
        error = np.sqrt((told.leader_said[own] * (1 - told.leader_said[own])).sum()) / own.sum()
        assert abs(told.leader_said[own].mean() - told.leader_right[own].mean()) < 0.02 + 3 * error


@pytest.mark.slow
def test_the_interval_of_the_network_that_is_taken_is_that_of_a_choice(told):
    assert 0.93 <= told.covered.mean() <= 0.97


@pytest.mark.slow
def test_as_much_is_lost_as_is_said(told):
    error = (told.loss_said - told.loss).std() / np.sqrt(len(told.loss))
    assert told.loss.mean() > 0.001 and abs(told.loss_said.mean() - told.loss.mean()) < 2.5 * error


@pytest.mark.slow
def test_most_is_said_of_the_leader_not_of_the_cheaper_one_that_is_taken(told):
    assert (told.said <= told.leader_said + 0.25).all() and (told.said < told.leader_said).any()


def draw(*means: float, spread: float = 0.01, count: int = 4000) -> np.ndarray:
    return np.array(means) + spread * np.random.default_rng(1).standard_normal((count, len(means)))


def test_a_clear_leader_is_taken():
    choice = choose(draw(0.5, 0.6, 0.55, 0.4), np.ones(4, bool), COSTS, 0.85, 0.005)
    assert (choice.taken, choice.leader, choice.verdict) == (1, 1, SURE) and choice.probability[1] > 0.99
    assert choice.losses[0] == pytest.approx(0.1, abs=2e-3) and choice.lost_if_wrong < 0.05
    assert order_rivals(choice, 2) == [2, 0]


def test_of_two_that_cannot_be_told_apart_the_cheaper_is_taken():
    scores = draw(0.5, 0.598, 0.55, 0.6)
    choice = choose(scores, np.ones(4, bool), COSTS, 0.85, 0.005)
    assert (choice.taken, choice.leader, choice.verdict) == (1, 3, TIED)
    assert choice.probability[1] < choice.probability[3] < 0.85
    assert choice.losses[1] - choice.losses[3] == pytest.approx(0.002, abs=1e-3)
    strict = choose(scores, np.ones(4, bool), COSTS, 0.85, 0.0)  # nothing may be lost
    assert (strict.taken, strict.verdict) == (3, UNSURE)
    near = choose(scores, np.ones(4, bool), np.array([10, 37, 30, 40.0]), 0.85, 0.005)  # saves no tenth
    assert (near.taken, near.verdict) == (3, UNSURE)


def test_only_what_fits_counts_and_of_equals_the_cheaper():
    choice = choose(draw(0.5, 0.6, 0.7, 0.8), np.array([True, True, False, False]), COSTS, 0.85, 0.005)
    assert choice.taken == 1 and choice.probability[2:].tolist() == [0, 0] and np.isinf(choice.losses[2:]).all()
    assert choice.probability.sum() == pytest.approx(1) and order_rivals(choice, 9) == [0]
    same = np.full((50, 3), 0.5)
    assert choose(same, np.ones(3, bool), np.array([3.0, 1, 2]), 0.85, 0.005).taken == 1
    tie = choose(same, np.ones(3, bool), np.array([3.0, 1, 2]), 0.85, 0.005)
    assert tie.probability == pytest.approx(1 / 3) and tie.verdict == UNSURE  # nobody is the best
    alone = choose(draw(0.5), np.ones(1, bool), np.ones(1), 0.85, 0.005)
    assert (alone.verdict, alone.lost_if_wrong, order_rivals(alone, 5)) == (SURE, 0.0, [])


def test_steps_to_a_cheaper_and_a_better_network():
    scores, every = draw(0.5, 0.55, 0.58, 0.66), np.ones(4, bool)
    cheaper = find_cheaper(scores, 2, COSTS, every)
    assert cheaper.place == 1 and cheaper.by.mean == pytest.approx(-0.03, abs=2e-3) and cheaper.probability < 0.1
    assert find_cheaper(scores, 0, COSTS, every) is None
    assert find_cheaper(scores, 2, np.array([10, 28, 30, 40.0]), every).place == 0  # a tenth at least
    assert find_better(scores, 0, COSTS, every, 0.85).place == 1  # the cheapest that is surely better
    assert find_better(scores, 0, COSTS, np.array([True, False, False, True]), 0.85).place == 3
    assert find_better(scores, 3, COSTS, every, 0.85) is None
    assert find_better(draw(0.5, 0.501, 0.49), 0, COSTS[:3], every[:3], 0.85).place == 1  # the best, if none is sure
    assert find_better(draw(0.5, 0.45, 0.49), 0, COSTS[:3], every[:3], 0.85) is None


def test_ranges_of_scores_of_which_less_is_better():
    gain = find_gain(draw(0.5, 0.6), 0, 1)
    assert gain.by.low < 0.1 < gain.by.high and gain.probability > 0.99
    found = find_range(np.arange(101.0))
    assert (found.mean, found.low, found.high) == pytest.approx((50, 2.5, 97.5))
    assert Range(50.0, 2.5, 97.5).times(-1) == Range(-50.0, -97.5, -2.5)
