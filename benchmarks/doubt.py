"""Whether ablations decide, overstate and ask for seeds as they say, and whether image by image two tests agree: the
long form of tests/analysis/test_paired.py, test_differences.py and test_pairs.py.

    python benchmarks/doubt.py [--experiments 4000] [--sweep results/example]

Printed: how often `--until-decided` (3 to 20 seeds) decides where there is no difference, with sides that fail in some
trainings, skewed and correlated differences; by how much a difference is overstated that was decided early; how often
the range of further seeds holds what is needed; how often intervals over seeds and images cover the truth; how
McNemar's test, the paired bootstrap and the interval of a difference agree on the pairs of a recorded sweep, seed by
seed.
"""

import argparse
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy.stats import binom

sys.path.insert(0, str(Path(__file__).parents[1]))

from mnv2_sweep.analysis.answers import Answers, compare_answers, image_error, load_answers, pool_spread
from mnv2_sweep.analysis.paired import (
    ALWAYS,
    LEVEL,
    ONCE,
    POWER,
    estimate_difference,
    further_seeds,
    half_width,
    p_value,
    power_difference,
)
from mnv2_sweep.record.frame import load_frame
from tests.answer_samples import draw_world
from tests.reading_samples import decide_carefully

SEEDS = 20  # at most
BOOTSTRAP = 2000


def running(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean and spread of the first 1, 2, ... values of each row, and these counts."""
    n = np.arange(1, values.shape[-1] + 1)
    mean = values.cumsum(-1) / n
    squares = np.maximum((values**2).cumsum(-1) - n * mean**2, 0)
    return mean, np.sqrt(squares / np.maximum(n - 1, 1)) * np.where(n > 1, 1, np.nan), n


def decide(differences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which experiments [experiments, seeds] are ever decided from the third seed on, and the first look."""
    mean, sd, n = running(differences)
    settled = p_value(mean, sd, n, looks=ALWAYS) <= LEVEL
    settled[:, :2] = False
    return settled.any(1), settled.argmax(1)


def check_level(experiments: int) -> None:
    random, shape = np.random.default_rng(1), (experiments, SEEDS)
    made = {
        "normal differences": random.standard_normal(shape),
        "t with 3 degrees of freedom": random.standard_t(3, shape),
        "exponential ones, mean 0": random.exponential(1, shape) - 1,
        "lognormal ones, mean 0": random.lognormal(0, 1, shape) - np.exp(0.5),
    }
    for share in (0.05, 0.1, 0.2):
        alike = np.sqrt(share) * random.standard_normal((experiments, 1))
        made[f"normal ones correlated by {share}"] = alike + np.sqrt(1 - share) * random.standard_normal(shape)
    for name, differences in made.items():
        print(f"decided without a difference: {name}: {100 * decide(differences)[0].mean():.1f} %")
    for rate, lost in ((0.05, 10), (0.05, 30), (0.1, 5), (0.1, 10), (0.1, 30), (0.2, 5), (0.2, 10)):
        scores = random.standard_normal((experiments // 4, 2, SEEDS)) * np.sqrt(0.5)
        scores[:, 1] -= lost * (random.random(scores[:, 1].shape) < rate)
        wrong = [100 * decide_carefully(scores, true) for true in (0.0, rate * lost)]
        print(f"one side loses {lost} spreads in {100 * rate:.0f} % of its trainings: decided in {wrong[0]:.1f} % "
              f"though trainings that go well are equal, in {wrong[1]:.1f} % though the means are")  # fmt: skip


def check_overstated(experiments: int) -> None:
    for effect in (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0):
        differences = np.random.default_rng(9).normal(effect, 1, (5 * experiments, SEEDS))
        decided, look = decide(differences)
        means = running(differences)[0][decided, look[decided]]
        print(f"true difference {effect} spreads: {100 * decided.mean():.0f} % decided, overstated by "
              f"{100 * (means.mean() / effect - 1):.0f} %")  # fmt: skip


def check_further(experiments: int) -> None:
    for looks in (ONCE, ALWAYS):
        for effect in (0.5, 0.8, 1.0, 1.5, 2.0):
            counts = range(2, 1000)
            needed = next(n for n in counts if power_difference(effect, 1, n, LEVEL, looks) >= POWER)
            for n in (5, 8, 12):
                if needed > n:
                    values = np.random.default_rng(n).normal(effect, 1, (experiments // 8, n))
                    estimates = [estimate_difference(row, looks) for row in values]
                    ranges = [further_seeds(one, looks=looks) for one in estimates]
                    held = np.array([(one.low or 9999) <= needed - n <= (one.high or 9999) for one in ranges])
                    waiting = np.array([one.p > LEVEL for one in estimates])
                    shares = f"{100 * held.mean():.0f} %, of the undecided {100 * held[waiting].mean():.0f} %"
                    text = f"{looks}, {effect} spreads, {n} seeds, {needed - n} more needed: in the range of {shares}"
                    print(text)


def check_images(experiments: int) -> None:
    for of_seeds in (0.0, 0.1, 0.2):
        for seeds in (3, 6, 10):
            random, wrong, held = np.random.default_rng(2), [], []
            for _ in range(experiments // 4):
                _, truth, answers = draw_world(random, 2, 300, seeds, apart=0.05, of_seeds=of_seeds)
                estimate = estimate_difference((answers.terms[0] - answers.terms[1]).mean(1) - truth[0] + truth[1])
                half = np.hypot(half_width(estimate.sd, seeds), 1.96 * image_error(answers)) if estimate.sd else np.inf
                wrong.append(estimate.p <= LEVEL)
                held.append(abs(estimate.mean) <= half)
            print(f"300 images, {seeds} seeds that differ by {of_seeds}: over seeds alone {100 * np.mean(wrong):.1f} % "
                  f"are called different, over both {100 * np.mean(held):.1f} % covered")  # fmt: skip


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """Return McNemar's mid-p of two networks that are right [images] or not."""
    more, less = int((first > second).sum()), int((first < second).sum())
    n, k = more + less, min(more, less)
    return min(1.0, 2 * float(binom.cdf(k, n, 0.5)) - float(binom.pmf(k, n, 0.5))) if n else 1.0


def bootstrap(answers: Answers, seed: int, random: np.random.Generator) -> np.ndarray:
    """Return means of the networks' terms on images drawn with replacement [draws, networks], the same for all."""
    rows = np.stack([terms[seed] for terms in answers.terms])
    counts = random.multinomial(rows.shape[1], np.full(rows.shape[1], 1 / rows.shape[1]), BOOTSTRAP)
    return counts @ rows.T / rows.shape[1]


def compare_tests(folder: Path) -> None:
    answers, told = load_answers(folder, load_frame(folder)), []
    for seed in range(min(len(own) for own in answers.seeds)):
        draws = bootstrap(answers, seed, np.random.default_rng(seed))
        for one, other in combinations(range(len(answers.networks)), 2):
            sides = [answers.terms[at][seed : seed + 1] for at in (one, other)]
            low, high = np.percentile(draws[:, one] - draws[:, other], [2.5, 97.5])
            mean, half = compare_answers(*sides, pool_spread(sides), is_fraction=True)
            told.append((mcnemar(sides[0][0], sides[1][0]) <= LEVEL, low > 0 or high < 0, abs(mean) > half))
    told = np.array(told)
    print(f"{folder.name}, {len(told)} pairs of networks and seeds on {answers.images} images: told apart by McNemar's "
          f"mid-p {told[:, 0].sum()}, by the paired bootstrap {told[:, 1].sum()}, by our interval {told[:, 2].sum()}; "
          f"the bootstrap differs from McNemar in {(told[:, 0] != told[:, 1]).sum()}, ours in "
          f"{(told[:, 0] != told[:, 2]).sum()}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--experiments", type=int, default=4000, help="simulated experiments of each kind")
    parser.add_argument("--sweep", type=Path, default=Path("results/example"), help="a sweep with images on record")
    options = parser.parse_args()
    check_level(options.experiments)
    check_overstated(options.experiments)
    check_further(options.experiments)
    check_images(options.experiments)
    compare_tests(options.sweep)


if __name__ == "__main__":
    main()
