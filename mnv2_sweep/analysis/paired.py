"""Paired differences over seeds -> interval, p-value, Holm's correction, and how many more seeds would settle it.

A difference is one number a seed: top-1 of one network minus top-1 of another, trained with that seed. They are taken
as independent and normal about a true difference, with a spread that nobody knows. There are two ways to look at them:

- `looks` "once": the number of seeds was fixed before. Student's t on the paired differences, n - 1 degrees of freedom.
- `looks` "always": somebody looks after every seed and stops when he likes. Student's t is then wrong: under no
  difference its 5 % grow with every look. Instead a likelihood ratio B is followed, of the t statistics so far, between
  "true difference / spread is normal about 0 with deviation MIXTURE" and "it is 0":

      B = r^(-1/2) ((1 + t^2/v) / (1 + t^2/(v r)))^(n/2),    v = n - 1,  r = 1 + n MIXTURE^2,

  under no difference a martingale that starts at 1 (a Gaussian mixture of scale-invariant likelihood ratios: Wang and
  Ramdas, "Anytime-valid t-tests and confidence sequences for Gaussian means with unknown variance", arXiv 2310.03722).
  By Ville's inequality it ever reaches 1 / a with probability a at most, whenever one stops and however long one goes
  on; so 1 / B is a p-value at every look, and the differences at which B stays below 20 are an interval that holds at
  every look at once with 95 %. It costs width: at 10 seeds the interval is 1.8 times as long as Student's, at 20 1.7
  times, and no p-value is below 0.05 before the fourth seed.

Several comparisons: Holm's correction, which holds for p-values of either kind, however they depend on each other.

What breaks both is skew: where one side fails in some of its trainings, a mean over all trainings is mostly made by
trainings that nobody has seen yet, and no rule for means can know of them. So a difference is of trainings as they
mostly go, a seed that looks like a failed training is named (`find_failed`), and nothing is decided that is not
decided with such seeds and without them. Of a difference that is nothing but failures, both rules then decide more
often than their level says: `benchmarks/doubt.py` has how often.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

import numpy as np
from scipy.special import nctdtr, stdtr, stdtrit

LEVEL = 0.05  # of every test; intervals are at 1 - LEVEL
POWER = 0.8  # with which further seeds would settle a comparison
MIXTURE = 2.0  # true differences that one looks for, in spreads over seeds
MOST_SEEDS = 1000  # looked through for a number that would do
LEAST_FURTHER = 5  # seeds from which on further ones are counted; fewer say next to nothing of the spread
# Of the difference in spreads: chances that it is larger, and that it is smaller, than the range of further seeds has
# it. What is undecided was rather measured too small, so the larger end needs more room.
LARGER, SMALLER = 0.025, 0.1
LEAST_FAILED, FAILED = 4, 8.0  # seeds to judge by; spreads below the median of its side
EQUAL = 1e-9  # differences nearer to each other are the same: floating point alone parts them
FAR = 35.0  # of a shift, from which a t statistic is nowhere near 0
ONCE, ALWAYS = "once", "always"


@dataclass(frozen=True, slots=True)
class Estimate:
    """Mean difference of n seeds with its 95 % interval and its p-value against no difference.

    NaN bounds and p = 1 where the seeds do not show a spread: below two of them, or where all are equal, which says
    more about the number of images than about the seeds.
    """

    mean: float
    low: float
    high: float
    p: float
    n: int
    sd: float


def estimate_difference(differences: Sequence[float], looks: str = ONCE) -> Estimate:
    """Estimate the true difference from one number a seed; see Estimate and the module."""
    values = np.asarray(differences, dtype=float)
    n = len(values)
    mean = float(values.mean()) if n else np.nan
    sd = float(values.std(ddof=1)) if n > 1 else np.nan
    sd = 0.0 if n > 1 and np.ptp(values) < EQUAL else sd
    half = float(half_width(sd, n, looks)) if n > 1 and sd > 0 else np.nan
    return Estimate(mean, mean - half, mean + half, float(p_value(mean, sd, n, looks=looks)), n, sd)


def t_statistic(mean, sd, n, null=0.0):
    """Return the t statistic of any number of experiments at once; NaN where there is no spread."""
    mean, sd, n = np.asarray(mean, float), np.asarray(sd, float), np.asarray(n, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(sd > 0, (mean - null) * np.sqrt(n) / sd, np.nan)


def p_value(mean, sd, n, null=0.0, looks: str = ONCE):
    """Return the two-sided p-value against a true difference of `null`; arrays allowed. 1 where there is no spread."""
    t, n = t_statistic(mean, sd, n, null), np.asarray(n, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * stdtr(n - 1, -np.abs(t)) if looks == ONCE else np.exp(-np.maximum(0.0, log_ratio(t, n)))
    return np.where(np.isnan(p), 1.0, p)


def log_ratio(t, n):
    """Return the logarithm of B, see the module; arrays allowed."""
    freedom, r = n - 1, 1 + n * MIXTURE**2
    return n / 2 * (np.log1p(t**2 / freedom) - np.log1p(t**2 / (freedom * r))) - np.log(r) / 2


def critical_t(n, level: float = LEVEL, looks: str = ONCE):
    """Return |t| from which the two-sided p-value is `level` or less; infinite where no t is enough. Arrays allowed."""
    n = np.asarray(n, float)
    if looks == ONCE:
        return stdtrit(n - 1, 1 - level / 2)
    r = 1 + n * MIXTURE**2
    k = (r / level**2) ** (1 / n)  # B = 1 / level where (1 + t^2/v) = k (1 + t^2/(v r))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(k < r, np.sqrt((n - 1) * (k - 1) / (1 - np.minimum(k / r, 1))), np.inf)


def half_width(sd, n, looks: str = ONCE, level: float = LEVEL):
    """Return half the interval at 1 - `level`; arrays allowed."""
    return critical_t(n, level, looks) * np.asarray(sd, float) / np.sqrt(n)


def p_within(mean: float, sd: float, n: int, margin: float, looks: str = ONCE) -> float:
    """Return p against "the true difference is beyond `margin` on one side or the other"; 1 where the mean itself is.

    Looked at once these are two one-sided t tests (TOST), of which the larger p counts.
    """
    if not abs(mean) < margin:
        return 1.0
    p = max(float(p_value(mean, sd, n, edge, looks)) for edge in (-margin, margin))
    return p / 2 if looks == ONCE and p < 1 else p


def p_beyond(mean: float, sd: float, n: int, margin: float, looks: str = ONCE) -> float:
    """Return p against "the true difference is within `margin`"; 1 where the mean itself is."""
    if not abs(mean) > margin:
        return 1.0
    p = float(p_value(mean, sd, n, margin if mean > 0 else -margin, looks))
    return p / 2 if looks == ONCE and p < 1 else p


def adjust_holm(p: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values, in the given order: those of at most LEVEL are settled together."""
    values = np.asarray(p, dtype=float)
    order = np.argsort(values, kind="stable")
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)))
    return adjusted.tolist()


def holm_levels(p: Sequence[float]) -> list[float]:
    """Return the level that each of m p-values is held against: LEVEL / m for the smallest, LEVEL / (m - 1) for the
    next, and so on up to the first that is above its level; all behind it wait until one of them is below that."""
    order = np.argsort(np.asarray(p, dtype=float), kind="stable")
    settled = sum(adjusted <= LEVEL for adjusted in adjust_holm(p))
    levels = np.empty(len(order))
    levels[order] = LEVEL / np.maximum(np.arange(len(order), 0, -1), len(order) - settled)
    return levels.tolist()


def fewest_seeds(comparisons: int) -> int:
    """Return the first look after every seed at which one of so many comparisons can be decided at all."""
    n = np.arange(2, MOST_SEEDS + 1)
    return int(n[np.isfinite(critical_t(n, LEVEL / comparisons, ALWAYS))][0])


def power_difference(mean: float, sd: float, n: int, level: float, looks: str = ONCE) -> float:
    """Return the probability that n seeds settle the sign, where the true difference is `mean` and the spread `sd`."""
    edge, shift = float(critical_t(n, level, looks)), abs(mean) * np.sqrt(n) / sd
    return 0.0 if np.isinf(edge) else _beyond(n, shift, edge) + _beyond(n, -shift, edge)


def power_margin(mean: float, sd: float, n: int, margin: float, level: float, looks: str = ONCE) -> float:
    """Return the probability, or a little less, that n seeds settle on which side of the margins the true `mean` is."""
    edge = float(critical_t(n, 2 * level if looks == ONCE else level, looks))
    if np.isinf(edge):
        return 0.0
    if abs(mean) > margin:
        return _beyond(n, (abs(mean) - margin) * np.sqrt(n) / sd, edge)
    near, far = (_beyond(n, (margin - sign * mean) * np.sqrt(n) / sd, edge) for sign in (1, -1))
    return max(0.0, near + far - 1)


def _beyond(n: int, shift: float, edge: float) -> float:
    """Return the probability that a t statistic with n - 1 degrees of freedom about `shift` is above `edge`."""
    if abs(shift) > FAR:  # beyond what nctdtr can
        return float(shift > edge)
    return float(1 - nctdtr(n - 1, shift, edge))


@dataclass(frozen=True, slots=True)
class Further:
    """How many seeds to add: from `low` to `high`; None is more than MOST_SEEDS in all."""

    low: int | None
    high: int | None


def further_seeds(
    estimate: Estimate, level: float = LEVEL, margin: float | None = None, looks: str = ONCE
) -> Further | None:
    """Count the seeds to add so that POWER settles the comparison, as a range that holds what is needed in four of five
    experiments or more; for `looks` "always" as if only the last look counted, which is a tenth too many.

    With `margin` the question is on which side of it the difference lies, else which sign it has. The range is that of
    all differences, in spreads, that the seeds allow (see LARGER). Always at least 1; None below LEAST_FURTHER seeds,
    or where they show no spread.
    """
    mean, sd, n = abs(estimate.mean), estimate.sd, estimate.n
    if n < LEAST_FURTHER or not sd > 0:
        return None
    inside = margin is not None and mean < margin
    edge = 0.0 if margin is None else margin
    t = abs(mean - edge) * np.sqrt(n) / sd
    ends = []
    for chance in (LARGER, 1 - SMALLER):
        shift = find_shift(t, n, chance) / np.sqrt(n)  # spreads from the edge
        if shift <= 0:
            ends.append(None)
        elif margin is None:
            ends.append(_fewest(lambda count, d=shift: power_difference(d, 1.0, count, level, looks)))
        elif inside:  # the other edge is as far beyond this one as it seems now
            ends.append(
                _fewest(lambda count, d=shift: power_margin(mean / sd, 1.0, count, d + mean / sd, level, looks))
            )
        else:
            ends.append(_fewest(lambda count, d=shift: power_margin(d, 1.0, count, 0.0, level, looks)))
    return Further(*(None if end is None else max(1, end - n) for end in ends))


def find_shift(t: float, n: int, chance: float) -> float:
    """Return the shift about which a t statistic of n seeds is below `t` (from 0 on) with this chance; 0 where that is
    so of no shift above 0."""
    if stdtr(n - 1, t) <= chance:
        return 0.0
    brentq = import_module("scipy.optimize").brentq  # loaded here: a quarter of a second, which tables have no use for
    return float(brentq(lambda shift: 1 - _beyond(n, shift, t) - chance, 0.0, t + FAR, xtol=1e-6))


def _fewest(power: Callable[[int], float]) -> int | None:
    """Return the fewest seeds that have POWER; None where MOST_SEEDS have not."""
    if power(MOST_SEEDS) < POWER:
        return None
    low, high = 1, MOST_SEEDS  # one seed never settles anything
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high


# ---------------------------------------------------------------- failed trainings


def find_failed(sides: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    """Return (side, place) of every score that looks like a failed training; larger scores are better, and all sides
    have the same seeds.

    That is FAILED spreads below the median of its own side, the spread being 1.48 times the median distance from it on
    all sides. Of normal scores that happens in 2 of 100 comparisons of four seeds, in 1 of five, and hardly from ten
    on.
    """
    scores = np.asarray(sides, dtype=float)
    if scores.shape[1] < LEAST_FAILED:
        return []
    below = np.median(scores, axis=1, keepdims=True) - scores
    spread = 1.4826 * float(np.median(np.abs(below)))
    return [(int(side), int(place)) for side, place in np.argwhere((below > FAILED * spread) & (spread > EQUAL))]
