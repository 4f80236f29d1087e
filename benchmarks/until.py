"""Whether `run --until` keeps what it promises: the long form of tests/analysis/test_until.py, in made-up sweeps whose
truth is known.

    python benchmarks/until.py [--worlds 300] [--until 0.9] [--replay results/example]

Each sweep has 22 networks (or 5), all judged on the same images, and a limit on cost that only some keep; these are
trained seed by seed as the rule says. Seeds scatter as in the committed example (1.3 points), or otherwise. Printed: in
how many sweeps the best network that fits was put out; of answers, by how sure they say they are at the end, how many
are right, or within the margin; how they end; what is lost on average; which part of the training time of the full
sweep they take (all 22 networks with three seeds each, and those alone that fit), a training taken to last as its
network has MAdds; beside that, what the full sweep would have answered. --replay follows the rule on the record of a
real sweep instead, its seeds in every order, within several limits on MAdds, and compares with what all of it says.
"""

import argparse
import sys
import time
from collections import Counter
from itertools import permutations
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from mnv2_sweep.analysis.answers import Answers, find_answers
from mnv2_sweep.analysis.odds import costs_of, find_odds
from mnv2_sweep.analysis.until import Question, follow
from mnv2_sweep.record.frame import load_frame
from mnv2_sweep.record.store import read_each
from tests.choice_samples import OF_SEEDS
from tests.until_samples import BINS, WITHIN, keep_networks, tell_sweeps

WORLDS = {
    "2,500 images, as the example": dict(images=2500, of_seeds=OF_SEEDS),
    "341 images": dict(images=341, of_seeds=OF_SEEDS),
    "1,000 images, seeds differ by 3 points": dict(images=1000, of_seeds=0.15),
    "2,500 images, networks far apart": dict(images=2500, of_seeds=OF_SEEDS, apart=0.3),
    "2,500 images, networks near the curve": dict(images=2500, of_seeds=OF_SEEDS, apart=0.04),
    "5 networks, 341 images": dict(networks=5, images=341, of_seeds=OF_SEEDS),
}
FULL = 3  # seeds of the full sweep
LIMITS = (30e6, 50e6, 70e6, 110e6, 200e6, 320e6, np.inf)  # on MAdds, of a replay


def check(name: str, world: dict, worlds: int, until: float, most: int, limited: bool = True) -> None:
    began = time.process_time()
    told = tell_sweeps(worlds, until, most, FULL, limited=limited, **world)
    wrong, error = 100 * told.wrongly.mean(), 196 * np.sqrt(max(told.wrongly.mean(), 1 / worlds) / worlds)
    ends = ", ".join(f"{end} {100 * count / worlds:.0f} %" for end, count in Counter(told.verdict).most_common())
    print(f"{name}, at most {most} seeds{'' if limited else ', no limit on cost'}: best put out in {wrong:.1f} % "
          f"(±{error:.1f}), {100 * told.spent.mean():.1f} % said; ends {ends}; "
          f"{told.looks.mean():.1f} looks, {told.trainings.mean():.1f} trainings")  # fmt: skip
    texts = []
    for low, high in BINS:
        own = (told.said >= low) & (told.said < high)
        if own.any():
            texts.append(f"{low:g}-{min(1.0, high):g}: {100 * told.right[own].mean():.0f} % of {own.sum()} "
                         f"({100 * told.near[own].mean():.0f} % within {100 * WITHIN:g} points)")  # fmt: skip
    near = np.array([end == "near" for end in told.verdict])
    if near.any():
        texts.append(
            f"ended near: {100 * told.near[near].mean():.0f} % are, {100 * told.near_said[near].mean():.0f} % said"
        )
    print(f"  right, of answers said {'; '.join(texts)}")
    print(f"  training time {100 * told.time.sum() / told.full_time.sum():.0f} % of the full sweep's, "
          f"{100 * told.time.sum() / told.fitting_time.sum():.0f} % of that of those that fit; right "
          f"{100 * told.right.mean():.0f} %, full sweep {100 * told.full_right.mean():.0f} %; lost on average "
          f"{100 * told.loss.mean():.2f} points, full sweep {100 * told.full_loss.mean():.2f}; same answer or within "
          f"{100 * WITHIN:g} points of its {100 * told.as_good.mean():.0f} %; {time.process_time() - began:.0f} s",
          flush=True)  # fmt: skip


def replay(folder: Path, until: float) -> None:
    frame = load_frame(folder)
    every = find_answers(frame, read_each(folder, [*frame["trial_id"]]))
    costs, rows = costs_of(every, frame), []
    for most in LIMITS:
        fits = costs <= most
        if fits.sum() < 2:
            continue
        answers, own = keep_networks(every, fits), costs[fits]
        means = find_odds(answers, own).scores.mean(0)
        best, seeds = int(means.argmax()), len(answers.terms[0])
        for order in permutations(range(seeds)):
            parts = (tuple(rows[[*order]] for rows in of_all) for of_all in (answers.terms, answers.losses))
            looks = follow(Answers(answers.networks, answers.seeds, *parts), own, Question(until, WITHIN, seeds))
            leader = answers.networks.index(looks[-1].leader)
            given = np.array([looks[-1].counts[name] for name in answers.networks])
            out = answers.networks[best] in {name for look in looks for name in look.stopped}
            trained = (given * own).sum() / seeds
            near = means[best] - means[leader] <= WITHIN
            rows.append((leader == best, near, out, trained / own.sum(), trained / costs.sum()))
    same, near, out, fitting, full = 100 * np.mean(rows, axis=0)
    print(f"{folder}, {len(rows)} replays ({len(LIMITS)} limits, seeds in every order): the answer of all its seeds in "
          f"{same:.0f} %, within {100 * WITHIN:g} points of it in {near:.0f} %; that network put out in {out:.0f} %; "
          f"{fitting:.0f} % of the MAdds of those that fit, {full:.0f} % of all were trained")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--worlds", type=int, default=300, help="made-up sweeps of each kind")
    parser.add_argument("--until", type=float, default=0.9)
    parser.add_argument("--replay", type=Path, help="the folder of a sweep with several seeds of each network")
    options = parser.parse_args()
    if options.replay is not None:
        replay(options.replay, options.until)
        return
    for name, world in WORLDS.items():
        check(name, world, options.worlds, options.until, FULL)
    example = dict(images=2500, of_seeds=OF_SEEDS)
    check("2,500 images, as the example", example, options.worlds, options.until, 8)
    check("2,500 images, as the example", example, options.worlds, options.until, FULL, limited=False)


if __name__ == "__main__":
    main()
