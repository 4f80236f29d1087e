"""Verdicts on made-up trials: each of the three, with claims of every kind, and on simulated ones."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mnv2_sweep.analysis.ablation import (
    NO_DEPTHWISE,
    NO_LINEAR_BOTTLENECK,
    NO_RESIDUAL,
    SCALE_LAST_CONV,
    WIDE_RESIDUAL,
    Protocol,
    change_activation,
    change_expansion,
    plan_comparisons,
)
from mnv2_sweep.analysis.differences import find_readings, next_seeds
from mnv2_sweep.analysis.paired import ALWAYS, LEVEL, ONCE
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.cost import count_cost
from tests.reading_samples import BASE, make_trials, read_changes

HIGH, LOW = [60.0, 61.0, 60.5, 60.2], [55.0, 55.9, 55.6, 55.0]
NEAR = [60.1, 60.9, 60.7, 60.1]


@pytest.mark.parametrize(
    "change, base, variant, verdict",
    [
        (NO_RESIDUAL, HIGH, LOW, "reproduced"),
        (NO_RESIDUAL, LOW, HIGH, "contradicted"),
        (NO_RESIDUAL, HIGH, NEAR, "undecided"),
        (NO_DEPTHWISE, LOW, HIGH, "reproduced"),
        (NO_DEPTHWISE, HIGH, LOW, "contradicted"),
        (SCALE_LAST_CONV, HIGH, LOW, "reproduced"),
        (change_activation("hswish"), HIGH, LOW, "worse"),
        (change_activation("hswish"), LOW, HIGH, "better"),
        (change_activation("hswish"), HIGH, NEAR, "undecided"),
        (change_expansion(8), HIGH, LOW, "worse"),  # at one width the paper says nothing of it
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "name", ""),
)
def test_verdicts(change, base, variant, verdict):
    (reading,) = read_changes({change: variant}, base)
    assert reading.verdict == verdict and reading.decided == (verdict != "undecided")
    assert reading.seeds == (0, 1, 2, 3)
    assert (reading.base, reading.variant) == (pytest.approx(base), pytest.approx(variant))
    theirs = scipy_stats.ttest_rel(base, variant)
    interval = theirs.confidence_interval(0.95)
    estimate = reading.estimate
    assert (estimate.mean, estimate.low, estimate.high, reading.p, reading.holm) == pytest.approx(
        (np.mean(base) - np.mean(variant), interval.low, interval.high, theirs.pvalue, theirs.pvalue)
    )


@pytest.mark.parametrize(
    "variant, verdict", [(NEAR, "reproduced"), (LOW, "contradicted"), ([59.0, 60.2, 59.5, 59.0], "undecided")]
)
def test_expansions_are_nearly_the_same_within_a_point(variant, verdict):
    as_is, matched = read_changes({change_expansion(8): variant}, HIGH, ArchSpec(width=1.0, resolution=96), "madds")
    assert as_is.claim is None and matched.claim.margin == 1.0 and matched.comparison.variant.width == 0.83
    assert matched.verdict == verdict
    if verdict == "reproduced":
        edges = [scipy_stats.ttest_1samp(np.subtract(HIGH, variant), edge, alternative=side).pvalue
                 for edge, side in ((-1, "greater"), (1, "less"))]  # fmt: skip
        assert matched.p == pytest.approx(max(edges)) and matched.holm == pytest.approx(2 * matched.p)


def test_p_values_are_corrected_over_all_readings():
    changes = {NO_RESIDUAL: LOW, WIDE_RESIDUAL: NEAR, NO_LINEAR_BOTTLENECK: [60.0, 60.2, 60.5, 59.2]}
    readings = read_changes(changes, HIGH)
    p = [reading.p for reading in readings]
    assert readings[0].holm == pytest.approx(3 * p[0]) and readings[0].level == pytest.approx(0.05 / 3)
    assert readings[1].holm >= readings[2].holm >= readings[2].p
    assert p[0] == read_changes({NO_RESIDUAL: LOW}, HIGH)[0].p  # which the others do not change


def test_pairs_share_a_seed_and_failures_are_counted():
    (reading,) = read_changes({NO_RESIDUAL: [None, 56.0, 54.0]}, [60.0, 61.0, None, 62.0])
    assert (reading.seeds, reading.failed) == ((1,), 2)
    assert (*reading.base, *reading.variant) == pytest.approx((61.0, 56.0))
    assert reading.verdict == "undecided" and reading.further is None and np.isnan(reading.estimate.low)


@pytest.mark.parametrize("order", [ONCE, ALWAYS])
def test_rows_may_have_any_order_and_other_networks_among_them(order):
    protocol = Protocol(plan_comparisons([BASE], [NO_RESIDUAL])[0], order)
    networks = {BASE: HIGH, replace(BASE, residual="none"): LOW, replace(BASE, kernel=5): HIGH}
    trials = make_trials(networks)
    shuffled = trials.sample(frac=1, random_state=0)
    assert find_readings(trials, protocol) == find_readings(shuffled, protocol)
    assert find_readings(trials, protocol)[0].base == pytest.approx(HIGH)


def test_costs_are_those_of_both_sides():
    (reading,) = read_changes({NO_DEPTHWISE: LOW}, HIGH)
    assert reading.costs == (count_cost(BASE), count_cost(replace(BASE, depthwise=False)))
    assert reading.seconds == (30.0, 30.0) and (reading.train_size, reading.val_images) == (24, 1000)


def test_nothing_trained_is_undecided():
    protocol = Protocol(plan_comparisons([BASE], [NO_RESIDUAL])[0])
    for trials in (make_trials({BASE: HIGH}), make_trials({BASE: HIGH}).iloc[:0]):
        (reading,) = find_readings(trials, protocol)
        assert (reading.seeds, reading.verdict, reading.further, reading.p) == ((), "undecided", None, 1.0)


def test_an_undecided_reading_asks_for_seeds():
    base, variant = [60.0, 61.0, 60.5, 59.6], [59.3, 60.6, 59.2, 59.7]
    (once,) = read_changes({NO_RESIDUAL: variant}, base)
    (always,) = read_changes({NO_RESIDUAL: variant}, base, looks=ALWAYS)
    assert once.verdict == always.verdict == "undecided" and 1 <= once.further < always.further
    assert always.estimate.high - always.estimate.low > once.estimate.high - once.estimate.low


# ---------------------------------------------------------------- until decided


def run_until_decided(true: dict, most: int, start: int = 3, seed: int = 0) -> tuple[list, dict]:
    """The loop of --until-decided on simulated trials: what it ends with, and how many seeds each network had."""
    random = np.random.default_rng(seed)
    shared = random.normal(0, 1, most)
    protocol = Protocol(plan_comparisons([BASE], list(true))[0], ALWAYS)
    archs = {BASE: 60.0} | {one.variant: 60.0 - true[one.change] for one in protocol.comparisons}
    drawn = {arch: (mean + shared + random.normal(0, 0.7, most)).round(1) for arch, mean in archs.items()}
    done = dict.fromkeys(archs, start)
    while True:
        readings = find_readings(make_trials({arch: drawn[arch][:n].tolist() for arch, n in done.items()}), protocol)
        wanted = next_seeds(readings, done, most)
        if wanted == done:
            return readings, done
        assert all(wanted[arch] - done[arch] in (0, 1) for arch in done)
        done = wanted


def test_a_decided_comparison_gets_no_more_seeds_and_the_others_go_on():
    readings, done = run_until_decided({NO_RESIDUAL: 8.0, NO_LINEAR_BOTTLENECK: 0.0}, most=10)
    large, none = readings
    assert large.verdict == "reproduced" and none.verdict == "undecided"
    assert done[large.comparison.variant] < 8 and done[none.comparison.variant] == done[BASE] == 10
    assert len(large.seeds) == done[large.comparison.variant]


def test_all_decided_stops_before_the_end():
    readings, done = run_until_decided({NO_RESIDUAL: 8.0, WIDE_RESIDUAL: 6.0}, most=30)
    assert [one.verdict for one in readings] == ["reproduced"] * 2 and max(done.values()) < 15
    assert all(one.holm <= LEVEL for one in readings)


def test_failed_trials_do_not_hold_it_up():
    protocol = Protocol(plan_comparisons([BASE], [NO_RESIDUAL])[0], ALWAYS)
    variant = protocol.comparisons[0].variant
    readings = find_readings(make_trials({BASE: [60.0, None, 61.0], variant: [59.0, 59.5, None]}), protocol)
    assert next_seeds(readings, {BASE: 3, variant: 3}, 5) == {BASE: 4, variant: 4}
    assert next_seeds(readings, {BASE: 5, variant: 5}, 5) == {BASE: 5, variant: 5}
