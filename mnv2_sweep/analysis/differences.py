"""A table of trials and what was to be compared -> readings: difference, interval, p-value, and a verdict on the claim.

A difference is the main score of the base minus that of the changed network, in points of top-1: above 0 the base is
better; where less is better it is turned round. Pairs have
one seed; a seed that only one side has done is left out. How differences become intervals and p-values: see `paired`.
The p-values are corrected by Holm over all readings of the protocol, as one command asks them all. `spoken` has the
words in which tables and figures give a reading.

All seeds see the same validation images, so an interval over seeds is about these. Where it is on record which of them
each network got right, a second interval, `joint`, is over other images of the kind too: the squares of half an
interval over seeds and of half one over images add up (see `answers`). The published gap is looked for in that one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import ndtri

from mnv2_sweep.analysis.ablation import Comparison, Protocol, read_protocol
from mnv2_sweep.analysis.answers import find_answers, image_error
from mnv2_sweep.analysis.paired import (
    LEVEL,
    ONCE,
    Estimate,
    Further,
    adjust_holm,
    estimate_difference,
    find_failed,
    further_seeds,
    half_width,
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
from mnv2_sweep.record.store import read_each, read_outcomes
from mnv2_sweep.trials.tasks import TOP1, Score, main_score

REPRODUCED, SAME_SIGN, CONTRADICTED, UNDECIDED = "reproduced", "same sign", "contradicted", "undecided"
BETTER, WORSE = "better", "worse"  # the changed network, where the paper claims nothing


@dataclass(frozen=True, slots=True)
class Failed:
    """A trial that looks like a failed training: on which side, which seed, and the side's median, as shown."""

    of_base: bool
    seed: int
    score: float
    median: float


@dataclass(frozen=True, slots=True)
class Reading:
    """One comparison as measured: the main score, as shown, of both sides by seed, and what follows from it.

    `estimate` is of the difference; `kept` the same without seeds that look like `failed_looking` trainings, None where
    none does. `p` is of the claim's test, against no difference or against the other side of its margin, the larger one
    with such seeds and without; `holm` the same, corrected. `further` seeds would settle an undecided one at the level
    `level`; None where nothing is known of them. `image_error` is the standard error over images, NaN where they are
    not on record. `seconds`: of a trial, by side.
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
    further: Further | None
    seconds: tuple[float, float]
    failed: int
    train_size: int | str  # as in tables; 0 where nothing was trained
    val_images: int
    facts: Facts | None
    score: Score = TOP1
    looks: str = ONCE
    kept: Estimate | None = None
    failed_looking: tuple[Failed, ...] = ()
    image_error: float = field(default=math.nan, compare=False)

    @property
    def decided(self) -> bool:
        """Return whether the corrected p-value settles the comparison."""
        return self.holm <= LEVEL

    @property
    def joint(self) -> tuple[float, float] | None:
        """Return the interval over seeds and images; None where images are not on record, or seeds show no interval."""
        half = self._joint_half(LEVEL)
        return (self.estimate.mean - half, self.estimate.mean + half) if math.isfinite(half) else None

    @property
    def holds_beyond(self) -> bool | None:
        """Return whether what is decided holds on other images of the kind too, at the level that decided it; None
        where that is not known."""
        half, mean = self._joint_half(self.level), abs(self.estimate.mean)
        if not self.decided or not math.isfinite(half):
            return None
        edge = 0.0 if self.claim is None or self.claim.margin is None else self.claim.margin
        return bool(mean + half < edge if mean < edge else mean - half > edge)

    @property
    def correlation(self) -> float:
        """Return the correlation of the sides' scores over seeds; NaN below three of them or without a spread."""
        if len(self.seeds) < 3 or min(np.ptp(self.base), np.ptp(self.variant)) == 0:
            return math.nan
        return float(np.corrcoef(self.base, self.variant)[0, 1])

    def _joint_half(self, level: float) -> float:
        if not self.estimate.n > 1 or not self.estimate.sd > 0:
            return math.nan
        return math.hypot(
            float(half_width(self.estimate.sd, self.estimate.n, self.looks, level)),
            float(ndtri(1 - level / 2)) * self.image_error,
        )


def load_readings(folder: Path) -> tuple[Protocol, list[Reading]]:
    """Load what a sweep compares and what it has measured of it. Raises StoreError."""
    archs = dict.fromkeys(outcome.trial.arch for outcome in read_outcomes(folder))
    protocol = read_protocol(folder, tuple(archs))
    return protocol, find_readings(load_frame(folder), protocol, read_each(folder))


def find_readings(trials: pd.DataFrame, protocol: Protocol, each: Mapping[str, bytes] | None = None) -> list[Reading]:
    """Return a reading of every comparison, in order; those without a pair have no seeds and are undecided. `each` is
    what the trials' networks made of each image, by id, where that is on record."""
    readings = [_measure(trials, one, protocol.looks, each or {}) for one in protocol.comparisons]
    p = [reading.p for reading in readings]
    settled = zip(readings, adjust_holm(p), holm_levels(p), strict=True)
    return [_judge(replace(one, holm=holm, level=level), protocol.looks) for one, holm, level in settled]


def _measure(trials: pd.DataFrame, comparison: Comparison, looks: str, each: Mapping[str, bytes]) -> Reading:
    """Measure everything of a reading that does not depend on the others."""
    archs = (comparison.base, comparison.variant)
    keys = [arch_key(arch) for arch in archs]
    ours = trials[trials["arch_key"].isin(keys)]
    done = ours[ours["status"] == "done"].drop_duplicates(["arch_key", "seed"], keep="last")
    sides = [done[done["arch_key"] == key].set_index("seed") for key in keys]
    seeds = sorted(set(sides[0].index) & set(sides[1].index))
    score = main_score(trials)
    base, variant = (tuple(score.scale * side[f"val_{score.name}"].astype(float).loc[seeds]) for side in sides)
    values = score.sign * np.array([base, variant])
    found = find_failed(values)
    estimate, kept = estimate_difference(values[0] - values[1], looks), None
    if found:
        left = np.delete(values, [place for _, place in found], axis=1)
        kept = estimate_difference(left[0] - left[1], looks)
    claim = find_claim(*archs, same_cost=bool(comparison.matched)) if score == TOP1 else None
    return Reading(
        comparison=comparison,
        costs=(count_cost(archs[0]), count_cost(archs[1])),
        seeds=tuple(int(seed) for seed in seeds),
        base=base,
        variant=variant,
        estimate=estimate,
        claim=claim,
        p=max(_claim_p(one, claim, looks) for one in (estimate, kept) if one is not None),
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
        looks=looks,
        kept=kept,
        failed_looking=tuple(
            Failed(not side, seeds[place], (base, variant)[side][place], float(np.median((base, variant)[side])))
            for side, place in found
        ),
        image_error=_find_image_error(done[done["seed"].isin(seeds)], keys, each, score),
    )


def _find_image_error(done: pd.DataFrame, keys: Sequence[str], each: Mapping[str, bytes], score: Score) -> float:
    """Return the standard error over images of the difference of two networks, as shown."""
    if done["seed"].nunique() < 2 or not {*done["trial_id"]} <= each.keys():
        return math.nan
    answers = find_answers(done, each)
    return math.nan if answers is None else score.scale * image_error(answers)


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
        return replace(reading, further=further_seeds(estimate, reading.level, margin, looks))
    if claim is None:
        return replace(reading, verdict=WORSE if estimate.mean > 0 else BETTER)
    if margin is not None:
        return replace(reading, verdict=REPRODUCED if abs(estimate.mean) < margin else CONTRADICTED)
    if estimate.mean * claim.better <= 0:
        return replace(reading, verdict=CONTRADICTED)
    low, high = reading.joint or (estimate.low, estimate.high)
    inside = claim.gap is None or low <= claim.gap <= high
    return replace(reading, verdict=REPRODUCED if inside else SAME_SIGN)


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
