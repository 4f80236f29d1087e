"""What the records image by image cost, and whether what is said from them is true as often as it says: the long form
of tests/analysis/test_answers.py and test_odds.py, in made-up worlds whose truth is known.

    python benchmarks/odds.py [--worlds 1000]

Printed: bytes and milliseconds of a record with images and without; milliseconds of processor time in which the scorer
keeps them, beside an evaluation; how often joint intervals over seeds and images cover the truth, beside those over
images alone, and those of single scores; the probabilities of front and best in ten bins, said / true; how lucky the
best was, said and true; processor seconds of the odds of 22 networks.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from mnv2_sweep.analysis.answers import find_difference, score_interval
from mnv2_sweep.analysis.odds import find_odds
from mnv2_sweep.analysis.pareto import pareto_front
from mnv2_sweep.models.build import build_model
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.record.store import DATABASE, Outcome, record
from mnv2_sweep.tasks.classify import WORK
from mnv2_sweep.trials.recipe import Recipe
from mnv2_sweep.trials.terms import pack_terms
from mnv2_sweep.trials.trial import DataRef, Result, Trial
from tests.answer_samples import draw_world

SCORES = dict.fromkeys(("val", "test"), {"top1": 0.5, "loss": 1.25})
IMAGES = {"val": 5000, "test": 5000}
BATCHES = 20  # of 64, evaluated
WORLDS = {
    "22 networks, 1,000 images": dict(networks=22, images=1000),
    "22 networks, 2,000 images, 3 seeds": dict(networks=22, images=2000, seeds=3, of_seeds=0.05),
    "5 networks, 341 images": dict(networks=5, images=341),
    "5 networks, 341 images, 2 seeds": dict(networks=5, images=341, seeds=2, of_seeds=0.05),
    "22 networks far apart": dict(networks=22, images=1000, apart=0.5),
    "22 nearly equal networks": dict(networks=22, images=1000, apart=0.02),
    "5 nearly equal networks, 341 images": dict(networks=5, images=341, apart=0.02),
}


def measure_records(count: int = 200) -> None:
    random = np.random.default_rng(0)
    half = {"top1": random.random(5000) < 0.5, "loss": random.exponential(size=5000)}
    data = DataRef("shapes", "0" * 64, 10)
    for name, each in (("with images", pack_terms({"val": half, "test": half})), ("without", b"")):
        result = Result(SCORES, IMAGES, 1.5, 22_000, (), 1.0, 22_000.0, 400 * 2**20, "cpu", each)
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            for seed in range(count):
                record(Path(folder), Outcome(Trial(ArchSpec(), Recipe("tiny", images=22_000), data, seed), result))
            took, size = time.perf_counter() - began, (Path(folder) / DATABASE).stat().st_size
        print(f"record {name}: {size / count / 1000:.1f} kB, {1000 * took / count:.1f} ms a trial of 10,000 images")


def measure_scorer() -> None:
    """The scorer beside the evaluation of the smallest network of the paper's grid at 24 px, of which it takes most."""
    model = build_model(ArchSpec(width=0.35, resolution=24, classes=10)).eval()
    images, targets = torch.rand(64, 3, 24, 24), torch.randint(10, (64,))
    spent = dict.fromkeys(("network", "scorer", "images"), 0.0)
    with torch.inference_mode():
        model(images)
        scorer = WORK.scorer()
        for _ in range(BATCHES):
            began = time.process_time()
            outputs = model(images)
            spent["network"] += time.process_time() - began
            began = time.process_time()
            scorer.add(outputs, targets)
            spent["scorer"] += time.process_time() - began
        began = time.process_time()
        terms = {name: values.numpy() for name, values in scorer.terms().items()}
        pack_terms({"val": terms})
        spent["images"] = time.process_time() - began
    each = {name: 1000 * seconds / BATCHES for name, seconds in spent.items()}
    print("evaluation of a batch of 64, ms: " + ", ".join(f"{name} {value:.3f}" for name, value in each.items()))


def cover_truth(worlds: int) -> None:
    for seeds, of_seeds in ((1, 0.0), (2, 0.0), (2, 0.05), (2, 0.2), (3, 0.05), (3, 0.2), (5, 0.05), (5, 0.2)):
        random, joint, alone, single = np.random.default_rng(8), [], [], []
        for _ in range(worlds):
            _, truth, answers = draw_world(random, 6, 400, seeds, of_seeds=of_seeds)
            for one, other in ((0, 3), (1, 4), (2, 5)):
                found, true = find_difference(answers, one, other), truth[one] - truth[other]
                differences = answers.terms[one] - answers.terms[other]
                half = 1.96 * differences.mean(0).std(ddof=1) / 20
                joint.append(found.low <= true <= found.high)
                alone.append(abs(differences.mean() - true) <= half)
            ends = [score_interval(rows, answers.spread, True) for rows in answers.terms]
            single += [low <= true <= high for (low, high), true in zip(ends, truth, strict=True)]
        shares = [f"{100 * np.mean(held):.1f} %" for held in (joint, alone, single)]
        text = "covered {} by the joint interval, {} over images alone; single scores {}".format(*shares)
        print(f"{seeds} seeds that differ by {of_seeds}: {text}")


def check_odds(worlds: int) -> None:
    for name, world in WORLDS.items():
        random, said, luck = np.random.default_rng(11), {"front": [], "best": []}, []
        for _ in range(worlds):
            costs, truth, answers = draw_world(random, **world)
            odds, front = find_odds(answers, costs, draws=500), pareto_front(costs, truth)
            said["front"].append((odds.on_front, front))
            said["best"].append((odds.best, np.arange(len(truth)) == truth.argmax()))
            errors = np.array([rows.mean() for rows in answers.terms]) - truth
            own = errors[odds.measured_best]
            size = odds.front_low <= front.sum() <= odds.front_high
            inside = odds.optimism[1] <= own <= odds.optimism[2]
            luck.append((odds.optimism[0], own - errors.mean(), inside, size))  # without the luck that all have
        told, true, covered, sizes = 100 * np.mean(luck, axis=0)
        error = 100 * np.std([row[1] for row in luck]) / np.sqrt(worlds)
        print(f"{name}: luck of the best {told:.2f} points said, {true:.2f} true (±{1.96 * error:.2f}), interval "
              f"covers {covered:.1f} %; size of the front in its interval {sizes:.1f} %")  # fmt: skip
        for what, pairs in said.items():
            odds, true = (np.concatenate([pair[at] for pair in pairs]) for at in (0, 1))
            bins = np.minimum((10 * odds).astype(int), 9)
            texts = (
                f"{odds[bins == at].mean():.2f}/{true[bins == at].mean():.2f}" for at in range(10) if (bins == at).any()
            )
            print(f"  {what}: {' '.join(texts)}")


def measure_odds() -> None:
    costs, _, answers = draw_world(np.random.default_rng(0), 22, 5000)
    began = time.process_time()
    find_odds(answers, costs)
    print(f"odds of 22 networks on 5,000 images, 2,000 draws: {time.process_time() - began:.2f} s of processor time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--worlds", type=int, default=1000, help="made-up worlds of each kind")
    worlds = parser.parse_args().worlds
    torch.set_num_threads(1)
    measure_records()
    measure_scorer()
    measure_odds()
    cover_truth(worlds)
    check_odds(worlds)


if __name__ == "__main__":
    main()
