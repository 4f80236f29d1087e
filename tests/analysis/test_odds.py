"""Odds of the front and of the best: what they say comes true as often as they say."""

import numpy as np
import pandas as pd
import pytest

from mnv2_sweep.analysis.odds import (
    ODDS_COLUMNS,
    add_odds,
    doubt_text,
    draw_fronts,
    expected_luck,
    find_covariance,
    find_odds,
    front_band,
    front_odds,
    front_text,
    probability_text,
)
from mnv2_sweep.analysis.pareto import pareto_front
from tests.answer_samples import answers_of, draw_world
from tests.regress_task import ERROR

WORLDS = {
    "22 networks": dict(networks=22, images=1000),
    "22 networks, 3 seeds": dict(networks=22, images=1000, seeds=3, of_seeds=0.05),
    "5 networks on 341 photos": dict(networks=5, images=341),
    "far apart": dict(networks=12, images=2000, apart=0.5),
}


def simulate(count: int, **world) -> dict[str, np.ndarray]:
    """What is said and what is true in so many worlds, network by network and world by world."""
    random, told = np.random.default_rng(11), {}
    for _ in range(count):
        costs, truth, answers = draw_world(random, **world)
        odds, front = find_odds(answers, costs, draws=300), pareto_front(costs, truth)
        luck = answers.terms[odds.measured_best].mean() - truth[odds.measured_best]
        facts = {
            "front": (odds.on_front, front),
            "best": (odds.best, np.arange(len(truth)) == truth.argmax()),
            "size": (odds.front_low <= front.sum() <= odds.front_high,),
            "luck": (odds.optimism[0], luck, odds.optimism[1] <= luck <= odds.optimism[2]),
        }
        for name, values in facts.items():
            told.setdefault(name, []).append(values)
    return told


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_probabilities_are_calibrated_in_ten_bins(world):
    told = simulate(150, **world)
    for name in ("front", "best"):
        said, true = (np.concatenate([pair[at] for pair in told[name]]) for at in (0, 1))
        bins = np.minimum((10 * said).astype(int), 9)
        for own in (bins == at for at in range(10)):
            error = 3.5 * np.sqrt(max(own.sum() * 0.02, (said[own] * (1 - said[own])).sum())) / max(1, own.sum())
            assert not own.any() or abs(said[own].mean() - true[own].mean()) < 0.03 + error
    assert np.mean([inside for (inside,) in told["size"]]) > 0.93
    assert 0.9 <= np.mean([inside for _, _, inside in told["luck"]]) <= 0.99


@pytest.mark.parametrize(
    "world",
    [
        dict(networks=22, images=400, apart=0.0), dict(networks=22, images=400, apart=0.1),
        dict(networks=5, images=341, apart=0.0), dict(networks=5, images=341, apart=0.3),
        dict(networks=5, images=341, seeds=3, of_seeds=0.1), dict(networks=2, images=341, apart=0.05),
    ],
    ids=["22 equals", "22", "5 equals", "5", "5, 3 seeds", "2"],
)  # fmt: skip
def test_how_lucky_the_best_was_is_said_as_large_as_it_is(world):
    random, said, true = np.random.default_rng(23), [], []
    for _ in range(250):
        _, truth, answers = draw_world(random, **world)
        measured = np.array([rows.mean(dtype=float) for rows in answers.terms])
        covariance = find_covariance(answers.terms, answers.spread)
        said.append(expected_luck(measured, covariance, np.random.default_rng(0)))
        errors = measured - truth
        true.append(errors[measured.argmax()] - errors.mean())  # what is all networks' luck is nobody's
    said, true, error = np.mean(said), np.mean(true), np.std(true) / np.sqrt(250)
    assert true > 0.003 and abs(said - true) < 0.2 * true + 2.5 * error


def test_who_is_far_ahead_was_not_lucky():
    told = simulate(60, networks=22, images=400, apart=1.5)
    assert abs(np.mean(told["luck"], axis=0)[0]) < 0.004
    assert expected_luck(np.array([0.2, 0.9]), np.eye(2) * 1e-4, np.random.default_rng(0)) == 0


def test_a_summary_gets_its_odds(monkeypatch):
    costs, _, answers = draw_world(np.random.default_rng(2), 3, 500, 2, of_seeds=0.1)
    odds, networks = find_odds(answers, costs), pd.DataFrame({"arch_key": ["2", "none", "0"], "top1": 0.5})
    with_odds = add_odds(networks, {"scratch": odds})
    assert tuple(with_odds.columns[-4:]) == ODDS_COLUMNS and with_odds.iloc[1, -4:].isna().all()
    assert with_odds.iloc[0, -4:].tolist() == [odds.on_front[2], odds.best[2], odds.low[2], odds.high[2]]
    assert add_odds(networks, None)[[*ODDS_COLUMNS]].isna().all(axis=None)
    monkeypatch.setattr("mnv2_sweep.analysis.odds.main_score", lambda columns: ERROR)  # of which less is better
    less = add_odds(networks, {"scratch": odds})
    assert less.iloc[2, -2:].tolist() == [-odds.high[0], -odds.low[0]]


def test_fronts_of_draws_are_those_of_pareto_front():
    random = np.random.default_rng(0)
    costs = np.array([3.0, 1, 2, 2, 5, 1, 4])
    scores = random.integers(0, 5, (200, 7)).astype(float)  # with ties
    assert np.array_equal(draw_fronts(scores, costs), [pareto_front(costs, row) for row in scores])


def test_the_same_odds_every_time_and_sums_that_must_hold():
    costs, _, answers = draw_world(np.random.default_rng(0), 8, 300, 2, of_seeds=0.05)
    one, again = (find_odds(answers, costs) for _ in range(2))
    assert np.array_equal(one.scores, again.scores) and one.best.sum() == pytest.approx(1)
    assert one.on_front[0] == 1.0 and (one.best <= one.on_front).all()  # the cheapest, and every best, are on it
    assert one.front_low <= one.on_front.sum() <= one.front_high and one.knows_seeds
    order, low, high = front_band(one, costs)
    assert (np.diff(order) > 0).all() and (np.diff(low) >= 0).all() and (low < high).all()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_networks_of_one_cost_and_without_any_doubt(count):
    odds = find_odds(answers_of(*[[[True] * 9]] * count), np.full(count, 7.0), draws=50)
    assert np.isfinite(odds.scores).all() and odds.best.sum() == pytest.approx(1)
    assert abs(odds.optimism[0]) < 1e-3 and odds.on_front.max() > 0.2


def test_words():
    costs, _, answers = draw_world(np.random.default_rng(2), 22, 500)
    odds = find_odds(answers, costs)
    assert front_text(odds).endswith(" of 22") and "(" in front_text(odds)
    assert doubt_text(odds) == "other images of the kind, for these very weights"
    said = [probability_text(value) for value in (0.0, 0.004, 0.5, 0.996, 1.0, np.nan)]
    assert said == ["<1 %", "<1 %", "50 %", ">99 %", ">99 %", "-"]
    networks = pd.DataFrame({"arch_key": ["3", "none"], "init": ["a", "a"]})
    assert front_odds({"a": odds}, networks).tolist() == pytest.approx([odds.on_front[3], np.nan], nan_ok=True)
    assert np.isnan(front_odds({"b": odds}, networks)).all()
