"""Made-up sweeps that decide themselves: what they say at their end, what is true, and what they take."""

from dataclasses import dataclass

import numpy as np

from mnv2_sweep.analysis.answers import Answers
from mnv2_sweep.analysis.odds import find_odds
from mnv2_sweep.analysis.until import Question, first_seeds, follow
from tests.answer_samples import draw_world
from tests.choice_samples import draw_limit

WITHIN = 0.005
BINS = ((0.0, 0.5), (0.5, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 0.97), (0.97, 1.01))


@dataclass(frozen=True)
class Decided:
    """Of many sweeps [sweeps]: how each ended; whether its best network was put out, and how
    likely that was said to be; the probability that the leader at
    the end is the best, and whether it is; that it is within the margin, and whether it is; what is lost; looks and
    trainings; training time, that of the full sweep and of its networks that fit; what the full sweep answers: whether
    it is right, what is lost, and whether this answer is no more than the margin worse."""

    verdict: list[str]
    wrongly: np.ndarray
    spent: np.ndarray
    said: np.ndarray
    right: np.ndarray
    near_said: np.ndarray
    near: np.ndarray
    loss: np.ndarray
    looks: np.ndarray
    trainings: np.ndarray
    time: np.ndarray
    full_time: np.ndarray
    fitting_time: np.ndarray
    full_right: np.ndarray
    full_loss: np.ndarray
    as_good: np.ndarray


def keep_networks(answers: Answers, fits: np.ndarray) -> Answers:
    """The answers of some networks."""
    parts = (
        tuple(one for one, ok in zip(every, fits, strict=True) if ok)
        for every in (answers.networks, answers.seeds, answers.terms, answers.losses)
    )
    return Answers(*parts, answers.is_fraction)


def tell_sweeps(
    sweeps: int, until: float, most: int, full: int, seed: int = 5, networks: int = 22, limited: bool = True, **world
) -> Decided:
    random, rows, verdicts = np.random.default_rng(seed), [], []
    for _ in range(sweeps):
        costs, truth, answers = draw_world(random, networks, seeds=max(most, full), **world)
        fits = draw_limit(random, costs) if limited else np.ones(networks, bool)
        every, own, true = keep_networks(answers, fits), costs[fits], truth[fits]
        looks = follow(every, own, Question(until, WITHIN, most))
        last, place = looks[-1], {name: at for at, name in enumerate(every.networks)}
        leader, best = place[last.leader], int(true.argmax())
        given = np.array([last.counts[name] for name in every.networks])
        whole = find_odds(first_seeds(every, dict.fromkeys(every.networks, full)), own)
        chosen = int(whole.scores.mean(0).argmax())
        verdicts.append(last.verdict)
        rows.append(
            (any(place[name] == best for look in looks for name in look.stopped), last.spent)
            + (last.probability[last.leader], leader == best, last.near, true[best] - true[leader] <= WITHIN)
            + (true[best] - true[leader], len(looks), given.sum(), (given * own).sum())
            + (full * costs.sum(), full * own.sum(), chosen == best, true[best] - true[chosen])
            + (true[chosen] - true[leader] <= WITHIN,)
        )
    return Decided(verdicts, *np.array(rows, dtype=float).T)
