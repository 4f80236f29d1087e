"""A cheap order of networks beside a dear one -> Agreement: Kendall's tau, the pairs of similar cost, intervals.

A proxy (a short training, a score, MAdds alone) orders networks; the reference is the order one would pay for if it
were not so dear. Across a wide range of cost both mostly follow cost, so tau is high for MAdds alone too; what a proxy
adds shows among networks whose MAdds are within 25 %, of the larger one's. Hence both figures, and for each its gain
over costs alone: nominal MAdds, or those that training executed, whichever order the networks better.

Intervals are at 95 %, percentiles of a bootstrap over networks: other networks of the same kind, and not other pairs,
since the pairs of one network move together. In a draw, a pair of a network with its own copy is left out. They don't
hold the noise of training: another seed is another order. In simulated calibrations of 6 to 22 networks, those of tau
and of shares held the truth 97 times in 100 or more, so they are rather too wide. Those of gains held it less often
below about eight near pairs (of 6 networks as seldom as 55 times in 100), as many end at 0, but lay wholly above or
below 0 without reason less than once in 100: that a gain is there is said late, and rarely wrongly.

An interval is NaN where drawing again says nothing: where all draws are alike (every pair went the same way, or the
proxy gives MAdds' own order), where half of the draws or more leave nothing to compare, and, among near pairs, below
LEAST_PAIRS of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mnv2_sweep.analysis.stats import NEAR_FRACTION, count_near, kendall_tau, near_pairs, order_signs, start_kinds
from mnv2_sweep.base.intervals import CONFIDENCE
from mnv2_sweep.trials.tasks import main_score

LEAST_PAIRS = 4  # untied near pairs from which an interval is given
LEAST_PUBLISHED = 3  # networks


@dataclass(frozen=True, slots=True)
class Agreement:
    """How the order by a proxy agrees with a reference; `low` and `high` are the ends of 95 % intervals.

    `tau` is Kendall's tau-b, NaN where all values of one side tie. `near_pairs` counts the pairs whose MAdds are
    within 25 %, those tied on either side left out, `near_same` those ordered as the reference does and `near_share`
    their share (NaN where there is no such pair); `near_tau` is same minus other over all of them. The gains are the
    proxy's tau and share minus those of costs alone, on the same networks.
    """

    networks: int
    tau: float
    tau_low: float
    tau_high: float
    near_pairs: int
    near_same: int
    near_share: float
    near_low: float
    near_high: float
    tau_gain: float
    tau_gain_low: float
    tau_gain_high: float
    near_gain: float
    near_gain_low: float
    near_gain_high: float

    @property
    def near_tau(self) -> float:
        """Return the near pairs ordered the same way minus those ordered the other way, over all of them."""
        return 2 * self.near_share - 1


@dataclass(frozen=True, slots=True)
class _Pairs:
    """What one order says about each pair [n, n]: `agree` is 1 as the reference, -1 the other way, 0 tied on either
    side; and which pairs are untied on its own side and on the reference's."""

    agree: np.ndarray
    untied: np.ndarray
    reference_untied: np.ndarray

    def tau(self, counts: np.ndarray) -> np.ndarray:
        """Return Kendall's tau-b [draws] of networks taken `counts` [draws, n] times each.

        Tau-b is same minus other over the root of the pairs untied on one side times those untied on the other, so
        that the pairs of a network and its copy, tied on both, are left out by themselves.
        """
        both = _count(self.untied, counts) * _count(self.reference_untied, counts)
        return _divide(_count(self.agree, counts), np.sqrt(both))

    def fraction(self, counts: np.ndarray, near: np.ndarray) -> np.ndarray:
        """Return the fraction [draws] of the untied near pairs that are ordered as the reference does."""
        return _divide(_count((self.agree > 0) & near, counts), _count((self.agree != 0) & near, counts))


def compare_orders(
    proxy: Sequence[float],
    reference: Sequence[float],
    madds: Sequence[float],
    draws: int = 2000,
    seed: int = 0,
    costs: Sequence[float] | None = None,
) -> Agreement:
    """Compare two orders of the same networks; all values are finite, higher is better in both. The gains are over the
    order by `costs`, which are the MAdds unless they are given."""
    orders = [
        np.asarray(values, dtype=float) for values in (proxy, reference, madds, madds if costs is None else costs)
    ]
    proxy, reference, madds, costs = orders
    if proxy.ndim != 1 or len({values.shape for values in orders}) > 1:
        raise ValueError(f"orders: {proxy.shape}, {reference.shape} and {madds.shape} values given, equal ones allowed")
    if not np.isfinite(orders).all():
        raise ValueError("orders: a value is not finite; leave out the networks without a result")
    same, other, _ = count_near(proxy, reference, madds)
    fraction, fraction_alone = _fraction(same, other), _fraction(*count_near(costs, reference, madds)[:2])
    tau, tau_alone = kendall_tau(proxy, reference), kendall_tau(costs, reference)

    near, ours, alone = near_pairs(madds), _compare_pairs(proxy, reference), _compare_pairs(costs, reference)
    counts = _draw_networks(len(proxy), draws, seed)
    taus, fractions = ours.tau(counts), ours.fraction(counts, near)
    enough = same + other >= LEAST_PAIRS
    return Agreement(
        len(proxy),
        *(tau, *_interval(taus)),
        *(same + other, same, fraction, *_interval(fractions, enough)),
        *(tau - tau_alone, *_interval(taus - alone.tau(counts))),
        *(fraction - fraction_alone, *_interval(fractions - alone.fraction(counts, near), enough)),
    )


def share_near(madds: Sequence[float]) -> float:
    """Return which share of the pairs of networks is near in MAdds, in time n log n; NaN for fewer than two of them."""
    madds, n = np.sort(np.asarray(madds, dtype=float)), len(madds)
    if n < 2:
        return np.nan
    first = np.searchsorted(madds, (1 - NEAR_FRACTION) * madds)  # of each network, the cheapest one near it
    return float((np.arange(n) - first).sum() / (n * (n - 1) / 2))


def weigh_back(proxy: Sequence[float], reference: Sequence[float], madds: Sequence[float], near: float) -> float:
    """Return tau as it would be if this share of the pairs were near in MAdds: that of near pairs and that of all
    others, each same minus other over the untied, weighed by their shares. NaN where one kind has no untied pair."""
    signs = (order_signs(proxy) * order_signs(reference))[np.triu_indices(len(proxy), 1)]
    is_near = near_pairs(madds)[np.triu_indices(len(proxy), 1)]
    kinds = [signs[(signs != 0) & (is_near == kind)] for kind in (True, False)]
    if not all(map(len, kinds)):
        return np.nan
    return float(near * kinds[0].mean() + (1 - near) * kinds[1].mean())


@dataclass(frozen=True, slots=True)
class PublishedComparison:
    """How three orders of the paper's networks agree with their published top-1: ours, the one by nominal MAdds, which
    is what cost alone would tell, and the one by the MAdds that training executed, where these are others. `near_tied`
    counts the near pairs that are tied on either side of ours (published 1.0 at 96 and 0.35 at 224 are)."""

    ours: Agreement
    madds: Agreement
    executed: Agreement | None
    near_tied: int


def compare_published(summary: pd.DataFrame) -> PublishedComparison | None:
    """Compare the order of a summary's networks (`stats.summarise`) with the published one; None below three published
    networks with a result, and for several kinds of start, which are not one order."""
    score = main_score(summary)
    published = f"published_{score.name}"
    some = summary[summary[published].notna() & summary[score.name].notna()]
    if len(some) < LEAST_PUBLISHED or len(start_kinds(summary)) > 1:
        return None
    ours, theirs = score.sign * some[score.name], score.sign * some[published]
    costs = {"madds": some["madds"], "executed_madds": some["executed_madds"]}
    alone = {name: compare_orders(cost, theirs, some["madds"]) for name, cost in costs.items()}
    is_other = not np.array_equal(*map(order_signs, costs.values()))
    return PublishedComparison(
        compare_orders(ours, theirs, some["madds"]), alone["madds"], alone["executed_madds"] if is_other else None,
        count_near(ours, theirs, some["madds"])[2],
    )  # fmt: skip


def costs_text(comparison: PublishedComparison) -> str:
    """Say what costs alone tell of the published order, as in "MAdds alone 0.954 (95 % 0.88 to 1.00), 16 of 21"."""
    texts = [f"MAdds alone {tau_text(comparison.madds)}, {near_counts(comparison.madds)}"]
    if comparison.executed:
        texts.append(f"MAdds as executed {tau_text(comparison.executed)}, {near_counts(comparison.executed)}")
    return "; ".join(texts)


def near_counts(agreement: Agreement) -> str:
    """Return the untied near pairs in the reference's order, of all: "16 of 21"."""
    return f"{agreement.near_same} of {agreement.near_pairs}" if agreement.near_pairs else "no untied pair"


def tau_text(agreement: Agreement) -> str:
    """Return tau with its interval, for people; never "nan"."""
    if np.isnan(agreement.tau):
        why = "all accuracies tie" if agreement.networks > 1 else "fewer than two networks"
        return f"undefined ({why})"
    return f"{agreement.tau:.3f}" + _range_text(agreement.tau_low, agreement.tau_high, 1, ".2f", "")


def near_text(agreement: Agreement) -> str:
    """Say how many of the untied near pairs are ordered as the reference does, with the interval of their fraction."""
    if not agreement.near_pairs:
        return "no untied pair"
    return near_counts(agreement) + _range_text(agreement.near_low, agreement.near_high, 100, ".0f", " %")


def _range_text(low: float, high: float, scale: float, form: str, unit: str) -> str:
    return "" if np.isnan(low) else f" (95 % {scale * low:{form}} to {scale * high:{form}}{unit})"


def _compare_pairs(order: np.ndarray, reference: np.ndarray) -> _Pairs:
    signs, reference_signs = order_signs(order), order_signs(reference)
    return _Pairs(signs * reference_signs, signs != 0, reference_signs != 0)


def _draw_networks(count: int, draws: int, seed: int) -> np.ndarray:
    """Draw as many networks as there are, with replacement: how often [draws, count] each is taken."""
    counts = np.zeros((draws, count))
    if count:
        taken = np.random.default_rng(seed).integers(count, size=(draws, count))
        np.add.at(counts, (np.arange(draws)[:, None], taken), 1)
    return counts


def _count(pairs: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Sum [draws] a symmetric pair matrix over the pairs of networks taken `counts` times: each pair as often as its
    networks meet. Whole numbers, so exact."""
    return ((counts @ pairs) * counts).sum(axis=1) / 2


def _divide(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole, NaN where there is nothing to divide by."""
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _fraction(same: int, other: int) -> float:
    return same / (same + other) if same + other else np.nan


def _interval(drawn: np.ndarray, enough: bool = True) -> tuple[float, float]:
    """Return the percentile interval; NaN where drawing again says nothing (see the module's text)."""
    known = drawn[~np.isnan(drawn)]
    if not enough or 2 * len(known) <= len(drawn) or known.min() == known.max():
        return np.nan, np.nan
    low, high = np.percentile(known, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)])
    return float(low), float(high)
