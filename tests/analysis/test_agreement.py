"""Agreement of two orders: by hand, against a bootstrap that really draws networks, against the published figures."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnv2_sweep.analysis.agreement import Agreement, compare_orders, near_text, share_near, tau_text, weigh_back
from mnv2_sweep.analysis.stats import count_near, kendall_tau, near_pairs
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.paper.published import CHECKPOINTS

PUBLISHED = np.array([c.top1_percent for c in CHECKPOINTS])
MADDS = np.array([count_cost(c.arch).madds for c in CHECKPOINTS], dtype=float)
INTERVALS = [name for name in Agreement.__dataclass_fields__ if name.endswith(("_low", "_high"))]


def noisy(spread: float, seed: int = 0) -> np.ndarray:
    return PUBLISHED + np.random.RandomState(seed).normal(0, spread, len(PUBLISHED))


def test_counts_by_hand():
    # near pairs: (0, 1), (1, 2), (3, 4); 0 and 2 differ by 1.44
    madds, reference, proxy = [100, 120, 144, 300, 310, 900], [1, 2, 3, 5, 4, 6], [1, 3, 2, 5, 4, 6]
    found = compare_orders(proxy, reference, madds)
    assert (found.networks, found.near_pairs, found.near_same) == (6, 3, 2)
    assert (found.near_share, found.near_tau) == pytest.approx((2 / 3, 1 / 3))
    assert found.tau == pytest.approx((14 - 1) / 15) and found.tau_gain == pytest.approx(0)
    assert found.near_gain == 0  # MAdds alone are wrong about another pair, (3, 4)
    assert np.isnan(found.near_low) and not np.isnan(found.tau_low)  # below LEAST_PAIRS
    assert near_text(found) == "2 of 3"


def test_ties_of_either_side_are_left_out():
    found = compare_orders([1, 1, 2, 3], [1, 2, 3, 3], [100, 101, 102, 103])
    assert (found.near_pairs, found.near_same) == (4, 4)
    assert found.tau == pytest.approx(4 / 5)  # tau-b: four pairs agree, five are untied on each side


def drawn_one_by_one(proxy, reference, madds, draws, seed):
    """The bootstrap without any trick: networks drawn, scipy's tau, pairs of a network and its copy skipped."""
    taus, shares = [], []
    for places in np.random.default_rng(seed).integers(len(proxy), size=(draws, len(proxy))):
        taus.append(kendall_tau(proxy[places], reference[places]))
        # Copies tie on both sides, so that they fall out of the counts.
        same, other, _ = count_near(proxy[places], reference[places], madds[places])
        shares.append(same / (same + other) if same + other else np.nan)
    return np.array(taus), np.array(shares)


def test_intervals_are_those_of_drawing_networks_one_by_one():
    proxy = noisy(2)
    taus, shares = drawn_one_by_one(proxy, PUBLISHED, MADDS, 300, 7)
    taus_madds, shares_madds = drawn_one_by_one(MADDS, PUBLISHED, MADDS, 300, 7)
    found = compare_orders(proxy, PUBLISHED, MADDS, draws=300, seed=7)
    expected = [taus, shares, taus - taus_madds, shares - shares_madds]
    ends = [np.nanpercentile(values, [2.5, 97.5]) for values in expected]
    assert [getattr(found, name) for name in INTERVALS] == pytest.approx(np.concatenate(ends))
    assert found.tau_low < found.tau < found.tau_high and found.near_low < found.near_share < found.near_high


def test_madds_alone_and_the_published_order():
    alone = compare_orders(MADDS, PUBLISHED, MADDS)
    assert (round(alone.tau, 3), alone.near_pairs, alone.near_same) == (0.954, 21, 16)
    assert (alone.tau_gain, alone.near_gain) == (0, 0) and np.isnan([alone.tau_gain_low, alone.near_gain_high]).all()
    perfect = compare_orders(PUBLISHED, PUBLISHED, MADDS)
    assert (perfect.tau, perfect.near_same) == (pytest.approx(1), 21)
    assert np.isnan([perfect.tau_low, perfect.near_low]).all()  # every draw would say the same
    assert (tau_text(perfect), near_text(perfect)) == ("1.000", "21 of 21")
    assert perfect.near_gain == pytest.approx(5 / 21) and perfect.near_gain_high > 0.5
    assert compare_orders(-PUBLISHED, PUBLISHED, MADDS).near_same == 0


def test_a_proxy_of_many_networks_is_told_from_madds():
    random = np.random.RandomState(0)
    madds = np.exp(random.uniform(np.log(10), np.log(600), 60))
    reference = 7 * np.log(madds) + random.normal(0, 3, 60)
    good = compare_orders(reference + random.normal(0, 0.5, 60), reference, madds)
    assert good.near_gain_low > 0 and good.tau_gain_low > 0 and good.near_low > 0.7
    bad = compare_orders(random.normal(0, 1, 60), reference, madds)
    assert bad.tau_gain_high < 0 and bad.near_low < 0.5 < bad.near_high


@pytest.mark.parametrize("side", ["proxy", "reference"])
def test_where_all_tie_nothing_is_said(side):
    proxy, reference = (np.ones(22), PUBLISHED) if side == "proxy" else (PUBLISHED, np.ones(22))
    found = compare_orders(proxy, reference, MADDS)
    assert (found.near_pairs, found.near_same) == (0, 0)
    assert np.isnan([found.tau, found.near_share, found.near_tau, *(getattr(found, name) for name in INTERVALS)]).all()
    assert tau_text(found) == "undefined (all accuracies tie)" and near_text(found) == "no untied pair"


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_networks(count):
    found = compare_orders(PUBLISHED[:count], PUBLISHED[:count], MADDS[:count])
    assert (found.networks, found.near_pairs) == (count, count // 2) and np.isnan(found.tau_low)
    assert tau_text(found) == ("1.000" if count == 2 else "undefined (fewer than two networks)")


def test_texts_with_intervals():
    found = compare_orders(noisy(2), PUBLISHED, MADDS)
    low, high = 100 * found.near_low, 100 * found.near_high
    assert near_text(found) == f"{found.near_same} of 21 (95 % {low:.0f} to {high:.0f} %)"
    assert tau_text(found) == f"{found.tau:.3f} (95 % {found.tau_low:.2f} to {found.tau_high:.2f})"


def test_seeds_and_draws():
    first, second = (compare_orders(noisy(2), PUBLISHED, MADDS, seed=seed) for seed in (0, 1))
    assert first == compare_orders(noisy(2), PUBLISHED, MADDS) != second
    assert np.isnan([getattr(compare_orders(noisy(2), PUBLISHED, MADDS, draws=0), name) for name in INTERVALS]).all()


def test_what_can_not_be_compared_is_refused():
    with pytest.raises(ValueError, match=r"\(2,\), \(3,\) and \(2,\) values given"):
        compare_orders([1, 2], [1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="not finite"):
        compare_orders([1, np.nan], [1, 2], [1, 2])


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(50, 150)), min_size=1, max_size=9))
def test_bounds_hold_for_any_orders(networks):
    proxy, reference, madds = zip(*networks, strict=True)
    found = compare_orders(proxy, reference, madds, draws=50)
    assert 0 <= found.near_same <= found.near_pairs <= len(networks) * (len(networks) - 1) // 2
    for low, high, least in [("tau_low", "tau_high", -1), ("near_low", "near_high", 0)]:
        low, high = getattr(found, low), getattr(found, high)
        assert np.isnan([low, high]).all() or least - 1e-12 <= low <= high <= 1 + 1e-12
    mirrored = compare_orders([-value for value in proxy], reference, madds, draws=0)
    assert mirrored.near_pairs - mirrored.near_same == found.near_same
    assert mirrored.tau == pytest.approx(-found.tau, nan_ok=True)


def test_it_is_fast():
    compare_orders(noisy(2), PUBLISHED, MADDS)
    start = time.process_time()
    compare_orders(noisy(2), PUBLISHED, MADDS, draws=2000)
    assert time.process_time() - start < 1


# ---------------------------------------------------------------- near pairs, weighed back


@pytest.mark.parametrize("count", [0, 1, 2, 3, 40])
def test_the_share_of_near_pairs_is_counted_as_near_pairs_has_it(count):
    madds = np.round(np.random.default_rng(count).lognormal(0, 1, count), 1) + 0.1  # with ties
    pairs = count * (count - 1) / 2
    assert share_near(madds) == pytest.approx(near_pairs(madds).sum() / 2 / pairs if pairs else np.nan, nan_ok=True)


def test_weighed_back_by_hand():
    """Near: 10 and 11, the other way; 100 and 110, tied. All four others as the reference."""
    madds, reference, proxy = [10, 11, 100, 110], [1, 2, 3, 4], [2, 1, 5, 5]
    assert weigh_back(proxy, reference, madds, 0.25) == pytest.approx(0.25 * -1 + 0.75 * 1)
    assert np.isnan(weigh_back(proxy, reference, [1, 10, 100, 1000], 0.25))  # no near pair
