"""A table of trials of several expansions and widths -> a curve of top-1 against MAdds for each, and two claims tested.

Section 4 of the paper: expansions t from 5 to 10 have nearly the same curves, and within that range small networks are
better with smaller t, large ones with larger t. Curves are compared at equal MAdds, where both have them: at the ends
and the middle, in logarithms, of the range that all of them cover; nothing is extrapolated. A curve is the polynomial
in the logarithm of MAdds through the NEAREST networks (straight lines between two would be off by up to 0.9 points
where widths are a third apart and curves bend). How far it may be off is judged by what changes with a network fewer,
and is taken off every margin: a verdict holds for both curves. All tests are on one number a seed, as in `paired`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mnv2_sweep.analysis.differences import CONTRADICTED, REPRODUCED, UNDECIDED
from mnv2_sweep.analysis.paired import (
    LEAST_FURTHER,
    LEVEL,
    MOST_SEEDS,
    POWER,
    Estimate,
    Further,
    adjust_holm,
    estimate_difference,
    further_seeds,
    p_beyond,
    p_value,
    p_within,
)
from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.text import count_noun, duration, millions, percent
from mnv2_sweep.nets.arch import FAMILIES
from mnv2_sweep.paper.claims import EXPANSION, EXPANSION_BY_SIZE, SAME_CURVES, PaperClaim
from mnv2_sweep.trials.tasks import TOP1, main_score

POINTS = 3  # costs at which curves are compared
NEAREST = 4  # networks, through which a curve goes; the farthest of them is what tells how far it may be off
OURS = 6  # the expansion that others are compared with, where it is there
SAME = tuple(name for name in FAMILIES["mobilenet_v2"] if name not in ("stages", "width"))  # in all networks of curves


@dataclass(frozen=True, slots=True, eq=False)
class TradeOff:
    """Networks of one expansion in order of MAdds: top-1 in percent [networks, seeds], seconds a trial [networks]."""

    t: int
    widths: np.ndarray
    madds: np.ndarray
    top1: np.ndarray
    seconds: np.ndarray

    def at(self, madds: float, fewer: int = 0) -> np.ndarray:
        """Return top-1 of every seed at some MAdds, which must lie in the curve's range; with so many networks fewer,
        but never fewer than two."""
        away = np.log(self.madds / madds)
        nearest = np.argsort(np.abs(away), kind="stable")[: max(2, min(NEAREST, len(away)) - fewer)]
        powers = np.vander(away[nearest])
        return np.linalg.solve(powers, self.top1[nearest])[-1]

    def covers(self, madds: float) -> bool:
        """Return whether these MAdds lie in the curve's range."""
        return self.madds[0] <= madds * 1.000001 and madds <= self.madds[-1] * 1.000001


@dataclass(frozen=True, slots=True)
class ClaimVerdict:
    """A claim of section 4: verdict, why in words, the seeds that would settle it (None where they are not known)."""

    text: str
    place: str
    verdict: str
    why: str
    further: Further | None = None
    seconds: float = 0.0  # of one seed of all networks; 0 where the claim can't be tested at all

    @property
    def sentence(self) -> str:
        """Return verdict, claim, place and why in one sentence."""
        return f"{self.verdict}: {self.text} ({self.place}); {self.why}"


def find_trade_offs(trials: pd.DataFrame) -> tuple[list[TradeOff], tuple[int, ...]]:
    """Find a curve for each expansion, in order, and their seeds: those that every network has done.

    Raises SweepError when the networks differ in more than width and expansion, there is only one expansion, or what
    they learn has no top-1: that is what section 4 speaks of.
    """
    if main_score(trials) != TOP1:
        raise SweepError(
            f"plot --expansion: the paper's claims are on top-1, this sweep has {main_score(trials).label}"
        )
    known = trials[trials["expansion"].notna() & (trials["family"] == "mobilenet_v2")] if len(trials) else trials
    for name in SAME:
        values = sorted(known[name].unique().tolist()) if len(known) else []
        if len(values) > 1:
            shown = ", ".join(map(str, values))
            raise SweepError(
                f"plot --expansion: networks of {name} {shown}; one is wanted, and only width and t differ"
            )
    done = known[known["status"] == "done"].drop_duplicates(["arch_key", "seed"], keep="last") if len(known) else known
    if not len(done) or done["expansion"].nunique() < 2:
        raise SweepError(
            "plot --expansion: results of at least two expansions are needed; 'mnv2-sweep run spaces/expansion.yaml' "
            "makes a family of curves"
        )
    counts = done.groupby("seed")["arch_key"].nunique()
    seeds = tuple(int(seed) for seed in counts.index[counts == done["arch_key"].nunique()])
    if not seeds:
        raise SweepError("plot --expansion: no seed is done by every network; run the sweep to its end")
    kept = done[done["seed"].isin(seeds)]
    return [_trade_off(int(t), of_t) for t, of_t in kept.groupby("expansion")], seeds


def _trade_off(t: int, trials: pd.DataFrame) -> TradeOff:
    networks = trials.drop_duplicates("arch_key").sort_values("madds")
    networks = networks.drop_duplicates("madds")
    top1 = trials.pivot(index="arch_key", columns="seed", values="val_top1").astype(float)
    seconds = trials.groupby("arch_key")["seconds"].mean().astype(float)
    keys = networks["arch_key"]
    return TradeOff(
        t,
        networks["width"].to_numpy(dtype=float),
        networks["madds"].to_numpy(dtype=float),
        100 * top1.loc[keys].to_numpy(),
        seconds.loc[keys].to_numpy(),
    )


def common_madds(curves: Sequence[TradeOff]) -> list[float]:
    """Return POINTS costs from end to end of the range that all curves cover, evenly in logarithms; none without
    one."""
    if not curves:
        return []
    low, high = max(curve.madds[0] for curve in curves), min(curve.madds[-1] for curve in curves)
    return np.geomspace(low, high, POINTS).tolist() if low < high else []


def judge_claims(curves: Sequence[TradeOff]) -> list[ClaimVerdict]:
    """Judge both claims of section 4."""
    tested = [curve for curve in curves if curve.t in SAME_CURVES]
    madds = common_madds(tested)
    if len(tested) < 2 or not madds:
        why = (
            f"at least two expansions from {SAME_CURVES[0]} to {SAME_CURVES[-1]} are needed"
            if len(tested) < 2
            else "their curves have no MAdds in common: add widths"
        )
        return [ClaimVerdict(one.text, one.place, UNDECIDED, why) for one in (EXPANSION, EXPANSION_BY_SIZE)]
    return [_judge_same(tested, madds), _judge_by_size(tested, madds)]


def claims_text(claims: Sequence[ClaimVerdict], seeds: int) -> str:
    """Return a line a claim, with the seeds that would settle an undecided one."""
    lines = []
    for one in claims:
        more = ""
        if one.verdict == UNDECIDED and 1 < seeds < LEAST_FURTHER and one.seconds:
            more = f"; how many further seeds would settle it can be told from {LEAST_FURTHER} on"
        elif one.verdict == UNDECIDED and one.further is not None:
            more = f"; {_further_text(one.further, one.seconds)}"
        lines.append(one.sentence + more)
    return "\n".join(lines)


def _further_text(further: Further, seconds: float) -> str:
    """Say how many seeds more, and what they take of one worker."""
    settle, low = f"would settle it with {percent(POWER, 0)} % power", further.low
    if low is None:
        return f"more than {MOST_SEEDS:,} seeds would be needed"
    at_least = f"from {duration(low * seconds)} of one worker"
    if further.high is None:
        return f"{low} further seeds or more {settle}, {at_least}; how many at most is not known yet"
    high, to = count_noun(further.high, "further seed"), f"to {duration(further.high * seconds)}"
    return f"{low} to {high} {settle}, {at_least} {to}"


def _judge_same(curves: Sequence[TradeOff], madds: Sequence[float]) -> ClaimVerdict:
    """Judge whether the curves are nearly the same. Reproduced: at every cost every curve is within the margin (each by
    two one-sided tests at LEVEL, so all together at LEVEL). Contradicted: one of them is beyond it, corrected by
    Holm."""
    own = min(curves, key=lambda curve: (curve.t != OURS, abs(curve.t - OURS)))
    others = [(curve, at) for curve in curves if curve is not own for at in madds]
    estimates = [estimate_difference(curve.at(at) - own.at(at)) for curve, at in others]
    fewer = [curve.at(at, fewer=1) - own.at(at, fewer=1) for curve, at in others]
    off = [abs(float(values.mean()) - one.mean) for values, one in zip(fewer, estimates, strict=True)]
    margin = EXPANSION.margin
    pairs = [*zip(estimates, off, strict=True)]
    within = [p_within(one.mean, one.sd, one.n, margin - error) for one, error in pairs]
    beyond = adjust_holm([p_beyond(one.mean, one.sd, one.n, margin + error) for one, error in pairs])
    worst = max(range(len(others)), key=lambda i: abs(estimates[i].mean))
    curve, at = others[worst]
    why = (
        f"largest difference: t = {curve.t} minus t = {own.t} at {millions(at)} MAdds, {_points(estimates[worst])}; "
        f"within {margin:g} point everywhere: p {max(within):.3f}; beyond it somewhere: p {min(beyond):.3f} (Holm over "
        f"{len(others)}); {_off_text(curves, off)}"
    )
    if max(within) <= LEVEL or min(beyond) <= LEVEL:
        verdict = REPRODUCED if max(within) <= LEVEL else CONTRADICTED
        return ClaimVerdict(EXPANSION.text, EXPANSION.place, verdict, why)
    outside = [
        further_seeds(one, LEVEL / len(others), margin + error)
        for one, error in pairs
        if abs(one.mean) > margin + error
    ]
    still = [pair for pair, p in zip(pairs, within, strict=True) if p > LEVEL]
    inside = [
        further_seeds(one, LEVEL, margin - error) if abs(one.mean) < margin - error else None for one, error in still
    ]
    return _undecided(EXPANSION, why, outside, inside, curves)


def _judge_by_size(curves: Sequence[TradeOff], madds: Sequence[float]) -> ClaimVerdict:
    """Judge the slope of top-1 over log2 t, of each seed, at the smallest and at the largest common cost.

    Reproduced: it falls at the small end and rises at the large end (both one-sided at LEVEL, so together at LEVEL).
    Contradicted: it surely does the opposite at one of them, corrected by Holm.
    """
    small, large = (_slopes(curves, at) for at in (madds[0], madds[-1]))
    ends = [estimate_difference(small), estimate_difference(large)]
    fewer = [float(_slopes(curves, at, fewer=1).mean()) for at in (madds[0], madds[-1])]
    off = [abs(slope - one.mean) for slope, one in zip(fewer, ends, strict=True)]
    interaction = estimate_difference(large - small)
    claimed = [_one_sided(ends[0], -1, off[0]), _one_sided(ends[1], 1, off[1])]
    opposite = adjust_holm([_one_sided(ends[0], 1, off[0]), _one_sided(ends[1], -1, off[1])])
    why = (
        f"points for each doubling of t: {_points(ends[0])} at {millions(madds[0])} MAdds, {_points(ends[1])} at "
        f"{millions(madds[-1])}; the second minus the first {_points(interaction)}, p {interaction.p:.3f}; "
        f"{_off_text(curves, off)}"
    )
    if max(claimed) <= LEVEL or min(opposite) <= LEVEL:
        verdict = REPRODUCED if max(claimed) <= LEVEL else CONTRADICTED
        return ClaimVerdict(EXPANSION_BY_SIZE.text, EXPANSION_BY_SIZE.place, verdict, why)
    signed = [*zip(ends, (-1, 1), off, claimed, strict=True)]
    other_way = [further_seeds(one, LEVEL / 2, error) for one, sign, error, _ in signed if one.mean * sign < -error]
    as_claimed = [
        further_seeds(one, LEVEL, error) if abs(one.mean) > error else None for one, _, error, p in signed if p > LEVEL
    ]
    return _undecided(EXPANSION_BY_SIZE, why, other_way, as_claimed, curves)


def _off_text(curves: Sequence[TradeOff], off: Sequence[float]) -> str:
    """Say how far curves may be off."""
    if min(len(curve.madds) for curve in curves) < 3:
        return "curves of two networks are straight lines: how far these are off is not known"
    return f"between networks the curves may be off by {max(off):.2f}, which is allowed for"


def _slopes(curves: Sequence[TradeOff], madds: float, fewer: int = 0) -> np.ndarray:
    """Return the slope of a straight line through top-1 over log2 t, for every seed; `fewer` as in `TradeOff.at`."""
    t = np.log2([curve.t for curve in curves])
    top1 = np.array([curve.at(madds, fewer) for curve in curves])  # [expansions, seeds]
    return (t - t.mean()) @ top1 / ((t - t.mean()) ** 2).sum()


def _one_sided(estimate: Estimate, sign: int, off: float) -> float:
    """Return the p-value against "the true value is at most `off` beyond 0 on the side of `sign`"."""
    p = float(p_value(estimate.mean, estimate.sd, estimate.n, sign * off))
    return p / 2 if (estimate.mean - sign * off) * sign > 0 else 1 - p / 2


def _undecided(
    claim: PaperClaim, why: str, against: list[Further | None], for_it: list[Further | None], curves: Sequence[TradeOff]
) -> ClaimVerdict:
    """Return the verdict with the further seeds, and what one takes: one test `against` the claim would contradict it,
    so the quickest of those counts where there are any; else all the open ones `for_it` are needed, so the slowest."""
    asked, choose, further = against or for_it, min if against else max, None
    if None not in asked:
        lows, highs = ([math.inf if end is None else end for end in ends] for ends in
                       ([one.low for one in asked], [one.high for one in asked]))  # fmt: skip
        further = Further(*(None if math.isinf(end) else end for end in (choose(lows), choose(highs))))
    seconds = float(sum(curve.seconds.sum() for curve in curves))
    return ClaimVerdict(claim.text, claim.place, UNDECIDED, why, further, seconds)


def _points(estimate: Estimate) -> str:
    """Return a difference with its interval: "+0.31 (-0.20 to +0.82)"."""
    interval = "" if math.isnan(estimate.low) else f" ({estimate.low:+.2f} to {estimate.high:+.2f})"
    return f"{estimate.mean:+.2f}{interval}"
