"""What more seeds or more photos would do to the odds, before anybody has paid for them.

The draws of `odds` hold every truth that the measurements allow, each with the luck of the seeds that were trained. So
results to come can be drawn, too: of one truth what so many more seeds would show on the same images, or what networks
trained anew would show on other images of the kind. Each such result moves all draws, as the rule of a Kalman filter
says (the linear rule by which `odds` itself goes from invented to drawn truths), and in the moved draws there is again
a leader, with a probability of being the best and a mean loss. What they are on average over the results to come, and
how often the answer is then as sure as is wanted, is what the effort brings. Nothing is gained in the draws alone: on
average over all results to come, every network's own probability stays what it is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mnv2_sweep.analysis.answers import Answers, Spread
from mnv2_sweep.analysis.choice import Choice
from mnv2_sweep.analysis.odds import Odds, find_covariance

SEEDS = (1, 2, 3, 4, 6, 8, 12, 16, 24)  # further ones that are tried
TIMES = (1, 2, 4, 8, 16)  # as many further images as there are, that are tried with as many seeds as there are
BOTH = ((6, 2), (12, 4), (24, 8), (24, 16))  # seeds and times that are tried where neither alone is enough
OFTEN = 0.8  # so often the answer has to become as sure as is wanted
LEAST_CHANCE = 0.02  # of being the best, from which on a network is worth an effort; of a fourth of the leader's
SELDOM = 0.001  # below, a chance is none
MOST_CONTENDERS = 8
LEAST_VARIANCE = 1e-12  # of a result; seeds may show no spread at all
FUTURES = 200  # results to come that are drawn


@dataclass(frozen=True, slots=True)
class Effort:
    """What it brings to train some networks, by their places, again: with so many further `seeds` each on the same
    images, or, where there are further `images`, with so many seeds for these. The leader's `probability` and the loss
    on average then, and how often the answer is then as sure as was wanted (`settled`)."""

    places: tuple[int, ...]
    seeds: int
    images: int
    probability: float
    loss: float
    settled: float


def foresee(answers: Answers, odds: Odds, choice: Choice, at_least: float) -> list[Effort]:
    """Return the least effort of each kind, seeds or images, that makes the answer as sure as is wanted in OFTEN of the
    results to come, else the largest that is tried, and both together where neither is enough. None where seeds show no
    spread, as nobody knows then how far training again moves a score, or where no other network may be the best."""
    places = find_contenders(choice)
    if not answers.spread.freedom or len(places) < 2:
        return []
    counts = np.array([len(answers.seeds[place]) for place in places])
    of_images = find_covariance([answers.terms[place] for place in places], Spread(0.0, 0))
    scores = odds.scores[:, places]
    measured = np.array([answers.terms[place].mean(dtype=float) for place in places])
    on_these = measured - odds.luck[:, places]  # what all seeds would show on these images

    def least(tried: Iterable[tuple[int, int]]) -> Effort:
        for seeds, times in tried:
            noise = np.diag(np.full(len(places), answers.spread.variance / seeds))
            if times:
                noise += of_images / times
            then = foresee_results(scores, scores if times else on_these, noise, at_least)
            effort = Effort(tuple(places), seeds, times * answers.images, *then)
            if effort.settled >= OFTEN:
                break
        return effort

    as_many = round(float(counts.mean()))
    efforts = [least((more, 0) for more in SEEDS), least((as_many, times) for times in TIMES)]
    return efforts if max(one.settled for one in efforts) >= OFTEN else [*efforts, least(BOTH)]


def find_contenders(choice: Choice) -> Sequence[int]:
    """Return the places of the networks that may be the best that fits, the likeliest first."""
    order = np.argsort(-choice.probability, kind="stable")
    chosen, least = {choice.leader, choice.taken}, min(LEAST_CHANCE, choice.probability[choice.leader] / 4)
    chosen.update(int(at) for at in order[:MOST_CONTENDERS] if choice.probability[at] >= max(least, SELDOM))
    return [int(at) for at in order if at in chosen]


def foresee_results(
    scores: np.ndarray, seen: np.ndarray, noise: np.ndarray, at_least: float, seed: int = 0, within: float = 0.0
) -> tuple[float, float, float]:
    """Return after one more result the mean probability that the leader is no more than `within` behind the best, its
    mean loss, and how often it is at least as sure; `scores` and what results are about, `seen`, are [draws, networks],
    a result is `seen` with `noise` [networks, networks] as covariance."""
    random, count = np.random.default_rng(seed), scores.shape[1]
    both = np.cov(scores, seen, rowvar=False)
    doubt = both[count:, count:] + noise + LEAST_VARIANCE * np.eye(count)
    rule = np.linalg.solve(doubt, both[count:, :count])  # [of results, of scores]
    values, vectors = np.linalg.eigh(noise)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    invented = seen + random.standard_normal(seen.shape) @ root.T
    left = (scores - invented @ rule).astype(np.float32)
    futures = min(FUTURES, len(seen))
    results = seen[:futures] + random.standard_normal((futures, count)) @ root.T
    then = np.empty((futures, 2))
    for at, shift in enumerate((results @ rule).astype(np.float32)):
        moved = left + shift
        leader = moved.mean(0).argmax()
        best = moved.max(1)
        then[at] = (moved[:, leader] >= best - np.float32(within)).mean(), (best - moved[:, leader]).mean()
    return float(then[:, 0].mean()), float(then[:, 1].mean()), float((then[:, 0] >= at_least).mean())
