"""Whether `recommend` is right as often as it says: the long form of tests/analysis/test_choice.py and
test_foresight.py, in made-up sweeps whose truth is known.

    python benchmarks/recommend.py [--worlds 1000]

Each sweep has 22 networks (or 5), all judged on the same images, and a limit on cost that only some keep. Seeds scatter
as in the committed example (1.3 points), or otherwise. Printed: of answers, by how sure they say they are, how many are
right; how often the interval of the network that is taken covers its true score, beside that of its score as measured;
what is lost on average, said and true; the odds foreseen after further seeds, beside those that came; what is said of
800 networks of which the contenders are compared; processor time.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from mnv2_sweep.analysis.answers import Answers
from mnv2_sweep.analysis.choice import choose, find_range
from mnv2_sweep.analysis.foresight import foresee
from mnv2_sweep.analysis.odds import find_odds
from tests.answer_samples import draw_world
from tests.choice_samples import AT_LEAST, OF_SEEDS, WITHIN, tell, tell_foreseen

WORLDS = {
    "2,500 images, 3 seeds, as the example": dict(images=2500, seeds=3, of_seeds=OF_SEEDS),
    "341 images, 3 seeds": dict(images=341, seeds=3, of_seeds=OF_SEEDS),
    "5,000 images, 1 seed, of these very weights": dict(images=5000),
    "1,000 images, 5 seeds that differ by 3 points": dict(images=1000, seeds=5, of_seeds=0.15),
    "2,500 images, 3 seeds, networks far apart": dict(images=2500, seeds=3, of_seeds=OF_SEEDS, apart=0.3),
    "2,500 images, 3 seeds, networks near the curve": dict(images=2500, seeds=3, of_seeds=OF_SEEDS, apart=0.04),
    "5 networks, 341 images, 2 seeds": dict(networks=5, images=341, seeds=2, of_seeds=OF_SEEDS),
}
MANY, MOST_BEST, AT_RANDOM = 800, 100, 80  # networks in all, and of them compared
BINS = ((0.0, 0.5), (0.5, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 0.97), (0.97, 1.01))


def check_choices(worlds: int) -> None:
    for name, world in WORLDS.items():
        told = tell(worlds, **world)
        error = 196 * told.loss.std() / np.sqrt(worlds)
        covered, measured = (100 * held.mean() for held in (told.covered, told.measured_covered))
        lost, true = 100 * told.loss_said.mean(), 100 * told.loss.mean()
        print(f"{name}: interval covers {covered:.1f} %, that of the score as measured {measured:.1f} %; lost on "
              f"average {lost:.2f} points said, {true:.2f} true (±{error:.2f})")  # fmt: skip
        texts = []
        for low, high in BINS:
            count, right = told.of_answers(low, high)
            texts.append(f"{low:g}-{min(1.0, high):g}: {100 * right:.0f} % of {count:,}" if count else "")
        print(f"  right, of answers said {'; '.join(filter(None, texts))}", flush=True)


def check_foresight(sweeps: int) -> None:
    for more in (1, 3, 8):
        told = tell_foreseen(sweeps, more, images=2500, seeds=3, of_seeds=OF_SEEDS)
        mean = {name: 100 * values.mean() for name, values in told.items()}
        error = 196 * (told["then"] - told["foreseen"]).std() / np.sqrt(sweeps)
        print(f"{more} further seeds of the contenders: from {mean['now']:.1f} % to {mean['foreseen']:.1f} % foreseen, "
              f"{mean['then']:.1f} % came (±{error:.1f}); as sure as wanted {mean['settled_foreseen']:.0f} % foreseen, "
              f"{mean['settled']:.0f} % came; lost {mean['loss_now']:.2f}, {mean['loss_foreseen']:.2f} foreseen, "
              f"{mean['loss_then']:.2f} points came", flush=True)  # fmt: skip


def check_contenders(sweeps: int) -> None:
    """Very many networks, of which the best and some at random are compared, as `analysis.recommend` does."""
    random, rows = np.random.default_rng(1), []
    for _ in range(sweeps):
        costs, truth, answers = draw_world(random, MANY, 300)
        measured = np.array([terms.mean(dtype=float) for terms in answers.terms])
        drawn, best = random.choice(MANY, AT_RANDOM, replace=False), np.argsort(-measured)[:MOST_BEST]
        some = np.unique(np.concatenate([drawn, best]))
        parts = [tuple(part[at] for at in some) for part in (answers.seeds, answers.terms, answers.losses)]
        compared = Answers(tuple(answers.networks[at] for at in some), *parts, answers.is_fraction)
        odds = find_odds(compared, costs[some], 300, typical=np.isin(some, drawn))
        choice = choose(odds.scores, np.ones(len(some), bool), costs[some], AT_LEAST, 0.0)
        own, true = find_range(odds.scores[:, choice.taken]), truth[some[choice.taken]]
        rows.append((choice.probability[choice.taken], true == truth.max(), own.low <= true <= own.high)
                    + (choice.losses[choice.taken], truth.max() - true))  # fmt: skip
    said, right, covered, loss_said, loss = 100 * np.mean(rows, axis=0)
    print(f"{MANY} networks, 300 images, 1 seed, the contenders compared, {sweeps} sweeps: best with {said:.0f} % "
          f"said, {right:.0f} % true; interval covers {covered:.0f} %; lost on average {loss_said:.2f} points said, "
          f"{loss:.2f} true")  # fmt: skip


def measure_time() -> None:
    costs, _, answers = draw_world(np.random.default_rng(0), 22, 2500, 3, of_seeds=OF_SEEDS)
    began = time.process_time()
    odds = find_odds(answers, costs)
    drawn = time.process_time()
    choice = choose(odds.scores, np.ones(22, bool), costs, AT_LEAST, WITHIN)
    foresee(answers, odds, choice, 0.999)
    print(f"processor time of 22 networks: {drawn - began:.2f} s for the odds, {time.process_time() - drawn:.2f} s for "
          "what would settle it")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--worlds", type=int, default=1000, help="made-up sweeps of each kind")
    worlds = parser.parse_args().worlds
    measure_time()
    check_choices(worlds)
    check_foresight(worlds // 4)
    check_contenders(worlds // 10)


if __name__ == "__main__":
    main()
