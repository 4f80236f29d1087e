"""Choices in made-up sweeps whose truth is known: what is said of each, and what is true."""

from dataclasses import dataclass

import numpy as np

from mnv2_sweep.analysis.answers import score_interval
from mnv2_sweep.analysis.choice import choose, find_range
from mnv2_sweep.analysis.foresight import find_contenders, foresee_results
from mnv2_sweep.analysis.odds import find_odds
from tests.answer_samples import draw_world, keep_seeds

OF_SEEDS = 0.07  # 1.4 points from seed to seed, as in the committed example (1.3)
AT_LEAST, WITHIN = 0.85, 0.005


@dataclass(frozen=True)
class Told:
    """Of many sweeps [sweeps]: the probability that was said of the leader and of the network to take, whether it is
    the best that fits; whether its interval, and that of its score as measured, has the truth; what is lost."""

    leader_said: np.ndarray
    leader_right: np.ndarray
    said: np.ndarray
    right: np.ndarray
    covered: np.ndarray
    measured_covered: np.ndarray
    loss_said: np.ndarray
    loss: np.ndarray

    def of_answers(self, low: float, high: float) -> tuple[int, float]:
        """How many answers are given with such a probability, and how many of them are right."""
        own = (self.leader_said >= low) & (self.leader_said < high)
        return int(own.sum()), float(self.leader_right[own].mean()) if own.any() else np.nan


def draw_limit(random: np.random.Generator, costs: np.ndarray) -> np.ndarray:
    """Which networks keep a limit on their cost that four of them do, or more."""
    return costs <= np.sort(costs)[random.integers(3, len(costs))]


def tell(sweeps: int, seed: int = 5, draws: int = 500, networks: int = 22, **world) -> Told:
    random, rows = np.random.default_rng(seed), []
    for _ in range(sweeps):
        costs, truth, answers = draw_world(random, networks, **world)
        odds, fits = find_odds(answers, costs, draws), draw_limit(random, costs)
        choice = choose(odds.scores, fits, costs, AT_LEAST, WITHIN)
        best, taken = np.flatnonzero(fits)[truth[fits].argmax()], choice.taken
        own, measured = find_range(odds.scores[:, taken]), score_interval(answers.terms[taken], answers.spread, True)
        rows.append(
            (choice.probability[choice.leader], choice.leader == best, choice.probability[taken], taken == best)
            + (own.low <= truth[taken] <= own.high, measured[0] <= truth[taken] <= measured[1])
            + (choice.losses[taken], truth[best] - truth[taken])
        )
    return Told(*np.array(rows, dtype=float).T)


def tell_foreseen(
    sweeps: int, more: int, seed: int = 5, draws: int = 1000, networks: int = 22, **world
) -> dict[str, np.ndarray]:
    """Of answers that are not sure: the leader's probability and mean loss now, foreseen after so many further seeds of
    the contenders and as they then come; and how often it is then foreseen, and is, as sure as is wanted."""
    random, rows, seeds = np.random.default_rng(seed), [], world.pop("seeds")
    while len(rows) < sweeps:
        costs, _, every = draw_world(random, networks, seeds=seeds + more, **world)
        answers, fits = keep_seeds(every, seeds), draw_limit(random, costs)
        odds = find_odds(answers, costs, draws)
        choice = choose(odds.scores, fits, costs, AT_LEAST, 0.0)
        places = find_contenders(choice)
        if choice.probability[choice.leader] >= AT_LEAST or len(places) < 2:
            continue
        measured = np.array([answers.terms[place].mean() for place in places])
        noise = np.diag(np.full(len(places), answers.spread.variance / more))
        foreseen = foresee_results(odds.scores[:, places], measured - odds.luck[:, places], noise, AT_LEAST)
        then = choose(find_odds(keep_seeds(every, seeds, places), costs, draws).scores, fits, costs, AT_LEAST, 0.0)
        sure = then.probability[then.leader]
        rows.append((choice.probability[choice.leader], choice.losses[choice.leader], *foreseen, sure)
                    + (then.losses[then.leader], sure >= AT_LEAST))  # fmt: skip
    names = ("now", "loss_now", "foreseen", "loss_foreseen", "settled_foreseen", "then", "loss_then", "settled")
    return dict(zip(names, np.array(rows, dtype=float).T, strict=True))
