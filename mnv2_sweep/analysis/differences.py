"""A table of trials and what was to be compared -> readings: difference, interval, p-value, and a verdict on the claim.

A difference is the main score of the base minus that of the changed network, in points of top-1: above 0 the base is
better; where less is better it is turned round. Pairs have
one seed; a seed that only one side has done is left out. How differences become intervals and p-values: see `paired`.
The p-values are corrected by Holm over all readings of the protocol, as one command asks them all. The words in which
tables and figures give a reading stand here, too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from mnv2_sweep.analysis.ablation import Comparison, Protocol, read_protocol
from mnv2_sweep.analysis.paired import (
    LEVEL,
    Estimate,
    adjust_holm,
    estimate_difference,
    further_seeds,
    holm_levels,
    p_beyond,
    p_within,
)
from mnv2_sweep.analysis.stats import Facts, read_facts
from mnv2_sweep.base.size import as_size
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.cost import Cost, count_cost
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.paper.claims import PaperClaim, find_claim
from mnv2_sweep.record.frame import load_frame
from mnv2_sweep.record.store import read_outcomes
from mnv2_sweep.trials.tasks import TOP1, Score, main_score

REPRODUCED, CONTRADICTED, UNDECIDED = "reproduced", "contradicted", "undecided"
BETTER, WORSE = "better", "worse"  # the changed network, where the paper claims nothing


@dataclass(frozen=True, slots=True)
class Reading:
    """One comparison as measured: the main score, as shown, of both sides by seed, and what follows from it.

    `estimate` is of the difference. `p` is of the claim's test, against no difference or against the other
    side of its margin; `holm` the same, corrected. `further` seeds would settle an undecided one at the level `level`,
    if difference and spread stay as they are; None where no number within reason would. `seconds`: of a trial, by side.
    """

    comparison: Comparison
    costs: tuple[Cost, Cost]
    seeds: tuple[int, ...]
    base: tuple[float, ...]
    variant: tuple[float, ...]
    estimate: Estimate
    claim: PaperClaim | None
    p: float
    holm: float
    level: float
    verdict: str
    further: int | None
    seconds: tuple[float, float]
    failed: int
    train_size: int | str  # as in tables; 0 where nothing was trained
    val_images: int
    facts: Facts | None
    score: Score = TOP1

    @property
    def decided(self) -> bool:
        """Return whether the corrected p-value settles the comparison."""
        return self.holm <= LEVEL


def load_readings(folder: Path) -> tuple[Protocol, list[Reading]]:
    """Load what a sweep compares and what it has measured of it. Raises StoreError."""
    archs = dict.fromkeys(outcome.trial.arch for outcome in read_outcomes(folder))
    protocol = read_protocol(folder, tuple(archs))
    return protocol, find_readings(load_frame(folder), protocol)


def find_readings(trials: pd.DataFrame, protocol: Protocol) -> list[Reading]:
    """Return a reading of every comparison, in order; those without a pair have no seeds and are undecided."""
    readings = [_measure(trials, one, protocol.looks) for one in protocol.comparisons]
    p = [reading.p for reading in readings]
    settled = zip(readings, adjust_holm(p), holm_levels(p), strict=True)
    return [_judge(replace(one, holm=holm, level=level), protocol.looks) for one, holm, level in settled]


def _measure(trials: pd.DataFrame, comparison: Comparison, looks: str) -> Reading:
    """Measure everything of a reading that does not depend on the others."""
    archs = (comparison.base, comparison.variant)
    keys = [arch_key(arch) for arch in archs]
    ours = trials[trials["arch_key"].isin(keys)]
    done = ours[ours["status"] == "done"].drop_duplicates(["arch_key", "seed"], keep="last")
    sides = [done[done["arch_key"] == key].set_index("seed") for key in keys]
    seeds = sorted(set(sides[0].index) & set(sides[1].index))
    score = main_score(trials)
    base, variant = (tuple(score.scale * side[f"val_{score.name}"].astype(float).loc[seeds]) for side in sides)
    estimate = estimate_difference([score.sign * (a - b) for a, b in zip(base, variant, strict=True)], looks)
    claim = find_claim(*archs, same_cost=bool(comparison.matched)) if score == TOP1 else None
    return Reading(
        comparison=comparison,
        costs=(count_cost(archs[0]), count_cost(archs[1])),
        seeds=tuple(int(seed) for seed in seeds),
        base=base,
        variant=variant,
        estimate=estimate,
        claim=claim,
        p=_claim_p(estimate, claim, looks),
        holm=1.0,
        level=LEVEL,
        verdict=UNDECIDED,
        further=None,
        seconds=tuple(float(side["seconds"].astype(float).mean()) for side in sides),
        failed=int((ours["status"] == "failed").sum()),
        train_size=as_size(ours["train_size"].iloc[0]).cell if len(ours) else 0,
        val_images=int(done["val_images"].iloc[0]) if len(done) else 0,
        facts=read_facts(ours) if len(ours) else None,
        score=score,
    )


def _claim_p(estimate: Estimate, claim: PaperClaim | None, looks: str) -> float:
    """Return p of the test that the claim needs: against no difference, or against the side of the margin where it
    isn't."""
    if claim is None or claim.margin is None:
        return estimate.p
    test = p_within if abs(estimate.mean) < claim.margin else p_beyond
    return test(estimate.mean, estimate.sd, estimate.n, claim.margin, looks)


def _judge(reading: Reading, looks: str) -> Reading:
    """Return the reading with its verdict, or with the seeds that it still needs."""
    estimate, claim = reading.estimate, reading.claim
    margin = claim.margin if claim is not None else None
    if not reading.decided:
        further = further_seeds(estimate, reading.level, margin, looks) if estimate.n > 1 else None
        return replace(reading, further=further)
    if claim is None:
        return replace(reading, verdict=WORSE if estimate.mean > 0 else BETTER)
    if margin is not None:
        return replace(reading, verdict=REPRODUCED if abs(estimate.mean) < margin else CONTRADICTED)
    return replace(reading, verdict=REPRODUCED if estimate.mean * claim.better > 0 else CONTRADICTED)


def next_seeds(readings: Sequence[Reading], done: dict[ArchSpec, int], most: int) -> dict[ArchSpec, int]:
    """Count the seeds, 0 to n - 1, each network should have next: one more for both sides of what is undecided.

    `done`: how many each network was given so far. Equal to it where all is decided or has `most` already.
    """
    wanted = dict(done)
    for one in readings:
        if not one.decided:
            for arch in (one.comparison.base, one.comparison.variant):
                wanted[arch] = max(
                    wanted[arch], min(most, min(done[one.comparison.base], done[one.comparison.variant]) + 1)
                )
    return wanted


# ---------------------------------------------------------------- words


def cost_change(base: int, changed: int) -> str:
    """Say how a cost changed: "same", "-42.2 %", "+0.02 %"."""
    if base == changed:
        return "same"
    change = 100 * (changed / base - 1)
    return f"{change:+,.0f} %" if abs(change) >= 100 else f"{change:+.1f} %" if abs(change) >= 1 else f"{change:+.2f} %"


def interval_text(reading: Reading) -> str:
    """Return the interval as "+0.31 to +2.20"; "any" where every difference is still possible."""
    low, high = reading.estimate.low, reading.estimate.high
    return "any" if math.isinf(low) else f"{low:+.2f} to {high:+.2f}"


def p_text(p: float) -> str:
    """Return a p-value with three digits, "<0.001" below these."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def verdict_text(reading: Reading) -> str:
    """Return the verdict in words: "reproduced", "undecided", "worse than linear bottleneck"."""
    if reading.verdict in (BETTER, WORSE):
        return f"{reading.verdict} than {reading.comparison.change.before}"
    return reading.verdict


def claim_parts(reading: Reading) -> list[str]:
    """Return the claim with its place, and where the published gap lies."""
    claim = reading.claim
    if claim is None:
        return ["the paper claims nothing here"]
    parts = [f"the paper: {claim.text} ({claim.place})"]
    if claim.gap is not None:
        parts.append(f"published {claim.gap:+.2f} points ({claim.gap_place}){_against_interval(reading)}")
    return parts


def _against_interval(reading: Reading) -> str:
    low, high, gap = reading.estimate.low, reading.estimate.high, reading.claim.gap
    if math.isnan(low) or math.isinf(low):
        return ""
    return ", inside the interval" if low <= gap <= high else f", {'below' if gap < low else 'above'} the interval"
