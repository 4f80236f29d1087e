"""Intervals, p-values and stopping: against scipy, against an integral, and on thousands of simulated experiments."""

import numpy as np
import pytest
from scipy import integrate
from scipy import stats as scipy_stats

from mnv2_sweep.analysis.paired import (
    ALWAYS,
    LARGER,
    LEVEL,
    MIXTURE,
    MOST_SEEDS,
    ONCE,
    POWER,
    SMALLER,
    Further,
    adjust_holm,
    critical_t,
    estimate_difference,
    fewest_seeds,
    find_failed,
    find_shift,
    further_seeds,
    half_width,
    holm_levels,
    log_ratio,
    p_beyond,
    p_value,
    p_within,
    power_difference,
    power_margin,
)
from tests.reading_samples import decide_carefully

EXPERIMENTS = 2000
DIFFERENCES = [0.015, 0.011, 0.003, 0.018, 0.009]


def draw_trials(random: np.random.Generator, networks: list[float], seeds: int) -> np.ndarray:
    """Top-1 of simulated trials [experiments, networks, seeds]: a true accuracy each, a spread that all networks share
    with a seed (order and augmentation), one of their own, and 1,000 validation images."""
    shared = random.normal(0, 0.01, (EXPERIMENTS, 1, seeds))
    own = random.normal(0, 0.012, (EXPERIMENTS, len(networks), seeds))
    accuracy = np.array(networks)[:, None] + shared + own
    return random.binomial(1000, np.clip(accuracy, 0, 1)) / 1000


def running(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and spread of the first 1, 2, ... values along the last axis, and these counts."""
    n = np.arange(1, values.shape[-1] + 1)
    mean = values.cumsum(-1) / n
    squares = (values**2).cumsum(-1) - n * mean**2
    return mean, np.sqrt(np.maximum(squares, 0) / np.maximum(n - 1, 1)) * np.where(n > 1, 1, np.nan), n


# ---------------------------------------------------------------- seeds fixed before


def test_student_s_interval_and_p_are_scipy_s():
    ours, theirs = estimate_difference(DIFFERENCES), scipy_stats.ttest_1samp(DIFFERENCES, 0)
    interval = theirs.confidence_interval(0.95)
    assert (ours.low, ours.high, ours.p) == pytest.approx((interval.low, interval.high, theirs.pvalue))
    assert (ours.mean, ours.n, ours.sd) == pytest.approx((0.0112, 5, np.std(DIFFERENCES, ddof=1)))


def test_margins_are_two_one_sided_tests():
    mean, sd, n = np.mean(DIFFERENCES), np.std(DIFFERENCES, ddof=1), len(DIFFERENCES)
    above = scipy_stats.ttest_1samp(DIFFERENCES, -0.02, alternative="greater").pvalue
    below = scipy_stats.ttest_1samp(DIFFERENCES, 0.02, alternative="less").pvalue
    assert p_within(mean, sd, n, 0.02) == pytest.approx(max(above, below)) and p_beyond(mean, sd, n, 0.02) == 1
    assert p_within(mean, sd, n, 0.005) == 1
    beyond = scipy_stats.ttest_1samp(DIFFERENCES, 0.005, alternative="greater").pvalue
    assert p_beyond(mean, sd, n, 0.005) == p_beyond(-mean, sd, n, 0.005) == pytest.approx(beyond)


@pytest.mark.parametrize("looks", [ONCE, ALWAYS])
@pytest.mark.parametrize(
    "differences",
    [[], [0.5], [0.5, 0.5, 0.5], [0.6 - 0.1, 0.5, 0.7 - 0.2]],
    ids=["none", "one", "all equal", "equal but for rounding"],
)
def test_seeds_without_a_spread_settle_nothing(differences, looks):
    estimate = estimate_difference(differences, looks)
    assert estimate.p == 1 and np.isnan([estimate.low, estimate.high]).all() and estimate.n == len(differences)
    assert further_seeds(estimate, looks=looks) is None
    assert p_within(estimate.mean, estimate.sd, estimate.n, 1.0, looks) == 1
    assert p_beyond(estimate.mean, estimate.sd, estimate.n, 0.1, looks) == 1


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
@pytest.mark.parametrize("true", [0.0, 0.013, -0.2])
def test_the_interval_covers_the_true_difference_in_95_of_100(seeds, true):
    top1 = draw_trials(np.random.default_rng(seeds), [0.5 + true, 0.5], seeds)
    estimates = [estimate_difference(one[0] - one[1]) for one in top1]
    covered = np.mean([not (e.low > true or e.high < true) for e in estimates])  # no bounds cover everything
    assert 0.93 <= covered <= 0.97


# ---------------------------------------------------------------- looking after every seed


@pytest.mark.parametrize("n", [2, 3, 6, 15])
@pytest.mark.parametrize("t", [0.0, 1.3, -4.0])
def test_the_ratio_is_the_mixture_over_true_differences(n, t):
    """Of t's densities: noncentral, the true difference in spreads being normal, over central."""

    def weighted(difference: float) -> float:
        weight = scipy_stats.norm.pdf(difference, 0, MIXTURE)
        return weight * scipy_stats.nct.pdf(t, n - 1, difference * np.sqrt(n))

    mixture = integrate.quad(weighted, -9, 9, limit=200)[0]  # 35 or less in t's own unit, where scipy is exact
    assert np.exp(log_ratio(t, n)) == pytest.approx(mixture / scipy_stats.t.pdf(t, n - 1), rel=1e-3)


@pytest.mark.parametrize("looks", [ONCE, ALWAYS])
def test_p_interval_and_critical_t_say_the_same(looks):
    for n in (4, 7, 30):
        edge = critical_t(n, LEVEL, looks)
        assert p_value(edge, np.sqrt(n), n, looks=looks) == pytest.approx(LEVEL)
        below, above = p_value(np.array([0.99, 1.01]) * edge, np.sqrt(n), n, looks=looks)
        assert below > LEVEL > above
        half = half_width(2.0, n, looks)
        assert p_value(3.0, 2.0, n, null=3.0 - half, looks=looks) == pytest.approx(LEVEL)
    estimate = estimate_difference([*DIFFERENCES, 0.01], looks)
    assert (estimate.p < LEVEL) == (estimate.low > 0)


def test_the_price_of_looking():
    """What the module says of its length."""
    ratios = [float(critical_t(n, looks=ALWAYS) / critical_t(n)) for n in (10, 20)]
    assert ratios == pytest.approx([1.8, 1.7], abs=0.05)
    assert np.isinf(critical_t(np.array([2, 3]), looks=ALWAYS)).all() and critical_t(4, looks=ALWAYS) < 7.5


def test_the_sequence_of_intervals_rarely_ever_loses_the_true_difference():
    top1 = draw_trials(np.random.default_rng(1), [0.52, 0.5], 40)
    mean, sd, n = running(top1[:, 0] - top1[:, 1])
    once, always = (p_value(mean, sd, n, 0.02, looks) <= LEVEL for looks in (ONCE, ALWAYS))
    assert always.any(1).mean() <= 0.05
    assert once[:, 3:].any(1).mean() > 0.2  # what Student's t does when one looks after every seed


def stop_when_decided(p: np.ndarray, start: int) -> list[bool]:
    """--until-decided on one experiment: p-values [comparisons, seeds], one more seed for what is not decided."""
    counts, most = [start] * len(p), p.shape[1]
    while True:
        adjusted = adjust_holm([p[i, count - 1] for i, count in enumerate(counts)])
        waiting = [i for i, value in enumerate(adjusted) if value > LEVEL and counts[i] < most]
        if not waiting:
            return [value <= LEVEL for value in adjusted]
        for i in waiting:
            counts[i] += 1


@pytest.mark.slow
@pytest.mark.parametrize("comparisons", [1, 4])
def test_until_decided_rarely_cries_wolf(comparisons):
    """No network differs from the base, whose trials all comparisons share."""
    top1 = draw_trials(np.random.default_rng(comparisons), [0.5] * (1 + comparisons), 20)
    mean, sd, n = running(top1[:, :1] - top1[:, 1:])
    p = p_value(mean, sd, n, looks=ALWAYS)
    wolves = sum(any(stop_when_decided(one, 3)) for one in p)
    assert wolves / EXPERIMENTS <= 0.05
    honest = sum(any(stop_when_decided(one, 3)) for one in p_value(mean, sd, n)[:100])
    assert honest > 12  # the same rule on Student's p-values does cry


def test_until_decided_finds_what_is_there_and_soon():
    top1 = draw_trials(np.random.default_rng(5), [0.55, 0.5], 20)
    mean, sd, n = running(top1[:, 0] - top1[:, 1])
    decided = p_value(mean, sd, n, looks=ALWAYS) <= LEVEL
    assert decided[:, -1].mean() > 0.99 and np.median(decided.argmax(1) + 1) <= 6


def test_margins_looked_at_always_rarely_mislead():
    """A true difference on the margin is neither within nor beyond it."""
    top1 = draw_trials(np.random.default_rng(7), [0.51, 0.5], 20)[:500]
    mean, sd, n = running(top1[:, 0] - top1[:, 1])
    looks = np.stack([mean, sd, np.broadcast_to(n, mean.shape)], axis=-1)[:, 2:]
    wrong = [any(min(p_within(*s, 0.01, ALWAYS), p_beyond(*s, 0.01, ALWAYS)) <= LEVEL for s in one) for one in looks]
    assert np.mean(wrong) <= 0.05


# ---------------------------------------------------------------- Holm


def test_holm_by_hand():
    """Of 4: 0.01 x 4, 0.02 x 3, 0.03 x 2, 0.2; never smaller than the one before."""
    assert adjust_holm([0.03, 0.01, 0.2, 0.02]) == pytest.approx([0.06, 0.04, 0.2, 0.06])
    assert adjust_holm([0.9, 0.8]) == [1, 1] and adjust_holm([]) == [] and adjust_holm([0.04]) == [0.04]


def test_what_waits_is_held_against_the_level_of_the_first_that_does():
    """0.01 is settled at 0.05 / 4; 0.02 is not at 0.05 / 3, and so nothing behind it is."""
    assert holm_levels([0.03, 0.01, 0.2, 0.02]) == pytest.approx([0.05 / 3, 0.05 / 4, 0.05 / 3, 0.05 / 3])
    assert holm_levels([0.03, 0.04]) == [0.025, 0.025]  # though 0.04 is below 0.05
    assert holm_levels([0.001, 0.04]) == [0.025, 0.05] and holm_levels([]) == []


@pytest.mark.parametrize("comparisons, seeds", [(1, 4), (2, 4), (4, 5), (15, 5), (40, 6), (2000, 8)])
def test_before_how_many_seeds_nothing_can_be_decided(comparisons, seeds):
    """p-values of an endless t statistic: its ratio goes to r^((n - 1) / 2)."""
    assert fewest_seeds(comparisons) == seeds
    least = [float(p_value(1.0, 1e-9, n, looks=ALWAYS)) for n in (seeds - 1, seeds)]
    assert least[0] > LEVEL / comparisons > least[1]
    assert least == pytest.approx([(1 + n * MIXTURE**2) ** (-(n - 1) / 2) for n in (seeds - 1, seeds)])


# ---------------------------------------------------------------- further seeds


@pytest.mark.parametrize("looks", [ONCE, ALWAYS])
@pytest.mark.parametrize("effect, n", [(0.8, 12), (2.0, 6), (-2.0, 8)])
def test_power_is_the_share_of_settled_experiments(effect, n, looks):
    values = np.random.default_rng(n).normal(effect, 1, (4000, n))
    p = p_value(values.mean(1), values.std(1, ddof=1), n, looks=looks)
    assert power_difference(effect, 1.0, n, LEVEL, looks) == pytest.approx((p <= LEVEL).mean(), abs=0.025)


@pytest.mark.parametrize("looks", [ONCE, ALWAYS])
@pytest.mark.parametrize("effect, n", [(0.0, 8), (0.4, 18), (2.2, 14)])
def test_power_of_margins(effect, n, looks):
    """Never more than the truth, and near it where it decides how many seeds are asked for."""
    values, margin = np.random.default_rng(n).normal(effect, 1, (1500, n)), 1.5
    which = p_beyond if effect > margin else p_within
    settled = [which(v.mean(), v.std(ddof=1), n, margin, looks) <= LEVEL for v in values]
    power, share = power_margin(effect, 1.0, n, margin, LEVEL, looks), np.mean(settled)
    assert power <= share + 0.02 and (share < 0.7 or power == pytest.approx(share, abs=0.04))


@pytest.mark.parametrize("looks", [ONCE, ALWAYS])
@pytest.mark.parametrize("margin", [None, 0.02, 0.008])
def test_ends_of_further_seeds_are_the_fewest_that_have_the_power(looks, margin):
    """Of the largest and the smallest difference, in spreads, that the seeds allow."""
    estimate = estimate_difference(DIFFERENCES, looks)
    further = further_seeds(estimate, LEVEL, margin, looks)
    mean, sd, n = estimate.mean, estimate.sd, estimate.n
    edge = 0.0 if margin is None else margin
    for end, chance in ((further.low, LARGER), (further.high, 1 - SMALLER)):
        shift = find_shift(abs(mean - edge) * np.sqrt(n) / sd, n, chance) / np.sqrt(n)

        def power(count: int, shift=shift) -> float:
            if margin is None:
                return power_difference(shift, 1, count, LEVEL, looks)
            if mean < margin:
                return power_margin(mean / sd, 1, count, shift + mean / sd, LEVEL, looks)
            return power_margin(shift, 1, count, 0.0, LEVEL, looks)

        if end is None:
            assert shift == 0 or power(MOST_SEEDS) < POWER
        else:
            assert end >= 1 and power(n + end) >= POWER and (end == 1 or POWER > power(n + end - 1))
    strict = further_seeds(estimate, LEVEL / 5, margin, looks)
    assert strict.low >= further.low and (strict.high or MOST_SEEDS) >= (further.high or MOST_SEEDS)


def test_further_seeds_at_the_ends():
    nothing = estimate_difference([0.01, -0.01, 0.012, -0.012, 0.0])
    assert nothing.mean == pytest.approx(0) and further_seeds(nothing).high is None
    assert further_seeds(nothing, level=1e-300) == Further(None, None)
    assert further_seeds(estimate_difference(DIFFERENCES[:4])) is None  # fewer than five say nothing
    plain = estimate_difference([0.5, 0.51, 0.50001, 0.5, 0.49])  # settled already: still at least one more
    assert further_seeds(plain) == Further(1, 1)
    assert find_shift(0.5, 5, 0.9) == 0 and find_shift(40.0, 5, 0.5) > 30


@pytest.mark.parametrize("looks", [ONCE, ALWAYS])
@pytest.mark.parametrize("effect, n", [(0.5, 5), (1.0, 5), (1.0, 8), (1.5, 5)])
def test_the_range_of_further_seeds_holds_what_is_needed(effect, n, looks):
    """In four of five experiments, of all and of those that are undecided, which alone are asked of."""
    needed = next(count for count in range(2, 200) if power_difference(effect, 1, count, LEVEL, looks) >= POWER)
    values = np.random.default_rng(n).normal(effect, 1, (300, n))
    estimates = [estimate_difference(row, looks) for row in values]
    ranges = [further_seeds(one, looks=looks) for one in estimates]
    held = [one.low is not None and one.low <= max(1, needed - n) <= (one.high or 2000) for one in ranges]
    undecided = [one.p > LEVEL for one in estimates]
    assert np.mean(held) > 0.8 - 0.03 and np.mean(np.array(held)[undecided]) > 0.8


# ---------------------------------------------------------------- failed trainings and skew


def draw_failing(random: np.random.Generator, rate: float, lost: float, seeds: int = 20) -> np.ndarray:
    """Scores [experiments, 2, seeds] of equal networks, of which the second fails in some trainings."""
    scores = random.standard_normal((EXPERIMENTS // 4, 2, seeds)) * np.sqrt(0.5)
    scores[:, 1] -= lost * (random.random(scores[:, 1].shape) < rate)
    return scores


def test_a_failed_training_is_found_on_its_side():
    base, changed = [60.1, 61.0, 60.4, 60.9, 60.2], [58.0, 58.9, 10.0, 58.3, 58.1]
    assert find_failed([base, changed]) == [(1, 2)] and find_failed([changed, base]) == [(0, 2)]
    assert find_failed([base[:3], changed[:3]]) == []  # three are too few to say what is usual
    assert find_failed([[1.0] * 5, [1.0, 1.0, 0.0, 1.0, 1.0]]) == []  # no spread to say it by
    assert find_failed([[0.0, 90.0, 0.1, 0.2, 0.3], base]) == []  # far better is no failure


@pytest.mark.parametrize("seeds, most", [(4, 0.035), (5, 0.02), (10, 0.005)])
def test_few_good_trainings_look_failed_and_few_failed_ones_good(seeds, most):
    random = np.random.default_rng(seeds)
    good = random.standard_normal((EXPERIMENTS, 2, seeds))
    assert np.mean([bool(find_failed(one)) for one in good]) < most
    good[:, 0, 1] -= 20
    assert np.mean([(0, 1) in find_failed(one) for one in good[:300]]) > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("rate, lost", [(0.05, 10), (0.1, 10), (0.1, 30), (0.2, 5)])
def test_failing_in_some_seeds_is_rarely_taken_for_being_worse(rate, lost):
    """In trainings as they mostly go the networks are equal."""
    assert decide_carefully(draw_failing(np.random.default_rng(1), rate, lost)) <= 0.05  # 500 experiments, as below


@pytest.mark.slow
def test_no_rule_knows_of_failures_that_nobody_saw():
    """What the module says: a difference in means that failures alone make is missed far more often than in 5 %."""
    assert decide_carefully(draw_failing(np.random.default_rng(1), 0.1, 10), true=1.0) > 0.1


@pytest.mark.parametrize("correlation", [0.0, 0.2])
def test_seeds_that_go_alike_mislead(correlation):
    """Trainings that share luck beyond what cancels break the rule; the image's share has an interval of its own."""
    random = np.random.default_rng(3)
    shared = random.standard_normal((EXPERIMENTS, 1)) * np.sqrt(correlation)
    values = shared + random.standard_normal((EXPERIMENTS, 20)) * np.sqrt(1 - correlation)
    mean, sd, n = running(values)
    wrong = (p_value(mean, sd, n, looks=ALWAYS)[:, 2:] <= LEVEL).any(1).mean()
    assert wrong <= 0.05 if correlation == 0 else wrong > 0.1


def test_what_is_decided_early_is_overstated():
    """The figures that `spoken` gives."""
    for effect, least, most in ((0.5, 0.7, 1.0), (1.0, 0.13, 0.21), (2.0, 0.01, 0.05), (3.0, -0.01, 0.03)):
        values = np.random.default_rng(9).normal(effect, 1, (EXPERIMENTS * 2, 20))
        mean, sd, n = running(values)
        p = p_value(mean, sd, n, looks=ALWAYS)
        p[:, :2] = 1.0
        decided = (p <= LEVEL).any(1)
        first = (p <= LEVEL).argmax(1)[decided]
        assert least < mean[decided, first].mean() / effect - 1 < most
