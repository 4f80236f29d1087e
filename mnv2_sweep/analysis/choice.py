"""Draws of the true scores of networks (`odds`) -> which one to take of those that fit, how sure that is, what is lost
where it is wrong, and what other networks give for more or less of a cost.

The leader is the network with the highest mean over the draws, so the one with which least is lost on average; how
likely it is the best that fits is the part of the draws in which it is. What it lost by being chosen for its luck is in
the draws already, which are drawn back (`odds`): the interval of its score is that of a choice.

Where the leader is not as likely the best as is wanted, a cheaper network is taken in its place if it saves a tenth,
the draws don't tell the two apart (the leader is better in fewer of them than is wanted) and little is lost on average.
That can only be seen in draws of both: intervals of single scores overlap long after two networks are told apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mnv2_sweep.analysis.odds import share_best
from mnv2_sweep.base.intervals import CONFIDENCE

SURE, TIED, UNSURE = "sure", "tied", "unsure"
CHEAPER = 0.1  # part of a cost that a cheaper network has to save


@dataclass(frozen=True, slots=True)
class Range:
    """A mean over draws, and between what 95 % of them lie."""

    mean: float
    low: float
    high: float

    def times(self, factor: float) -> "Range":
        """Return the range of what is `factor` times as much, as where less is better (-1)."""
        low, high = sorted((factor * self.low, factor * self.high))
        return Range(factor * self.mean, low, high)


def find_range(draws: np.ndarray) -> Range:
    """Return the range of draws [draws]."""
    low, high = np.percentile(draws, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)])
    return Range(float(draws.mean()), float(low), float(high))


@dataclass(frozen=True, eq=False)
class Choice:
    """Which network to take, by its place, and which one leads: another one where `verdict` is TIED. Of each network
    [networks]: the `probability` of being the best that fits (0 of those that don't), and what is lost on average by
    taking it (`losses`; infinite for those that don't fit)."""

    taken: int
    leader: int
    verdict: str
    probability: np.ndarray
    losses: np.ndarray

    @property
    def lost_if_wrong(self) -> float:
        """Return what is lost on average where the one that is taken is not the best; 0 where it always is."""
        wrong = 1 - self.probability[self.taken]
        return float(self.losses[self.taken] / wrong) if wrong > 0 else 0.0


def choose(scores: np.ndarray, fits: np.ndarray, costs: np.ndarray, at_least: float, within: float) -> Choice:
    """Choose among networks of which `scores` [draws, networks] were drawn, those that fit [networks], at least one;
    `at_least` is the probability that is wanted, `within` the score that may be lost for a cheaper one by `costs`
    [networks]."""
    places = np.flatnonzero(fits)
    places = places[np.argsort(costs[places], kind="stable")]  # of equals the cheaper one
    own = scores[:, places]
    probability, losses = np.zeros(len(fits)), np.full(len(fits), np.inf)
    probability[places] = share_best(own)
    losses[places] = (own.max(1, keepdims=True) - own).mean(0)
    leader = int(places[own.mean(0).argmax()])
    if probability[leader] >= at_least:
        return Choice(leader, leader, SURE, probability, losses)
    ahead = scores[:, [leader]] - own
    alike = (
        (costs[places] <= (1 - CHEAPER) * costs[leader]) & ((ahead > 0).mean(0) < at_least) & (ahead.mean(0) <= within)
    )
    if alike.any():
        return Choice(int(places[alike][0]), leader, TIED, probability, losses)
    return Choice(leader, leader, UNSURE, probability, losses)


@dataclass(frozen=True, slots=True)
class Gain:
    """Another network, by its place: by how much it is better than the one that is taken, and how likely it is."""

    place: int
    by: Range
    probability: float


def find_gain(scores: np.ndarray, taken: int, other: int) -> Gain:
    """Return what taking the other one would gain."""
    by = scores[:, other] - scores[:, taken]
    return Gain(other, find_range(by), float((by > 0).mean()))


def find_cheaper(scores: np.ndarray, taken: int, costs: np.ndarray, fits: np.ndarray) -> Gain | None:
    """Return the best of the networks that fit and save a tenth of the cost or more; None where there is none."""
    places = np.flatnonzero(fits & (costs <= (1 - CHEAPER) * costs[taken]))
    return find_gain(scores, taken, int(places[scores[:, places].mean(0).argmax()])) if len(places) else None


def find_better(scores: np.ndarray, taken: int, costs: np.ndarray, may: np.ndarray, at_least: float) -> Gain | None:
    """Return the cheapest of the dearer networks, of those that `may` be taken, that is better with that probability;
    else the best of them, if it is better at all."""
    places = np.flatnonzero(may & (costs > costs[taken]))
    by = scores[:, places] - scores[:, [taken]]
    sure = places[(by > 0).mean(0) >= at_least]
    if len(sure):
        return find_gain(scores, taken, int(sure[costs[sure].argmin()]))
    if not len(places) or by.mean(0).max() <= 0:
        return None
    return find_gain(scores, taken, int(places[by.mean(0).argmax()]))


def order_rivals(choice: Choice, most: int) -> Sequence[int]:
    """Return the places of other networks that fit, the likeliest first, at most so many."""
    fit = np.flatnonzero(np.isfinite(choice.losses))
    order = fit[np.lexsort((choice.losses[fit], -choice.probability[fit]))]
    return [int(place) for place in order if place != choice.taken][:most]
