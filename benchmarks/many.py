"""Processor time and memory of commands that read results, on sweeps of 2,000 and of 50,000 recorded trials.

    python benchmarks/many.py [--against COMMIT] [--trials 2000 50000] [--seeds 3] [--repeats 3]

The commands are `status`, `table`, `plot`, `recommend` and `report`. The sweep is made up: random networks of
spaces/blocks.yaml with `--seeds` seeds each, ten points of a curve and what became of 2,000 validation images a trial,
one trial in 500 failed. Each command is a process of its own, in turns with that of an earlier commit; given are the
medians of its processor time (user and system, Python's start and imports included) and of its peak resident memory.
"""

import argparse
import io
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.record.store import Outcome, record_all, write_schedule
from mnv2_sweep.spaces.networks import select_networks
from mnv2_sweep.spaces.read import load_space
from mnv2_sweep.spaces.space import Sample
from mnv2_sweep.trials.recipe import Recipe
from mnv2_sweep.trials.terms import pack_terms
from mnv2_sweep.trials.trial import CurvePoint, DataRef, Result, Trial

ROOT = Path(__file__).parents[1]
RECOMMEND, REPORT = (("recommend", "--where", "madds <= 300M"), ("report", "--where", "madds <= 300M"))
COMMANDS = (("status",), ("table",), ("table", "--csv"), ("plot", "--pareto"), RECOMMEND, REPORT)
AIMED, AIM_RATIO, AIM_SECONDS = ("status", "table"), 15, 3.0
OWN_AIMS = {RECOMMEND: 10.0, REPORT: 30.0}  # seconds, of commands that earlier versions do not have
FAILED_EACH = 500


def make_outcomes(trials: list[Trial]) -> Iterator[Outcome]:
    draw, draw_images = random.Random(0), np.random.default_rng(0)
    for number, trial in enumerate(trials):
        if number % FAILED_EACH == 0:
            yield Outcome(trial, error="RuntimeError: made up")
            continue
        curve = tuple(
            CurvePoint(float(i), 2200 * i, draw.random(), 0.03, {"top1": draw.random()}) for i in range(1, 11)
        )
        scores = {split: {"top1": draw.randrange(2001) / 2000, "loss": draw.random()} for split in ("val", "test")}
        images = {"val": 2000, "test": 2000}
        right = draw_images.random(2000) < scores["val"]["top1"]
        each = pack_terms({"val": {"top1": right, "loss": draw_images.random(2000)}})
        seconds, speed = 100 * draw.random(), 10_000 * draw.random()
        yield Outcome(trial, Result(scores, images, 1.5, 22_000, curve, seconds, speed, 400 * 2**20, "cpu", each))


def make_sweep(folder: Path, count: int, seeds: int) -> None:
    space = load_space(ROOT / "spaces" / "blocks.yaml")
    archs: list[ArchSpec] = list(select_networks(replace(space, sample=Sample(-(-count // seeds)))))
    data, recipe = DataRef("shapes", "0" * 64, 10), Recipe("tiny", images=22_000)
    trials = [Trial(arch, recipe, data, seed) for seed in range(seeds) for arch in archs][:count]
    record_all(folder, make_outcomes(trials))
    write_schedule(folder, trials, replace=True)


def measure(code: Path, results: Path, command: tuple[str, ...]) -> tuple[float, float]:
    """(processor seconds, peak MiB) of the command as that version has it."""
    outputs = {"plot": ("--plots", str(results / "plots")), "report": ("--out", str(results / "report.html"))}
    more = outputs.get(command[0], ())
    with subprocess.Popen(
        [sys.executable, "-m", "mnv2_sweep", *command, "--results", str(results), *more],
        cwd=results, env={**os.environ, "PYTHONPATH": str(code)}, stdout=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} of {code} ended with {process.returncode}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def compare(versions: dict[str, Path], results: Path, repeats: int, count: int) -> None:
    for command in COMMANDS:
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name in versions}
        for _ in range(repeats):
            for name, code in versions.items():
                if name == "ours" or command not in OWN_AIMS:
                    runs[name].append(measure(code, results, command))
        medians = {
            name: [statistics.median(part) for part in zip(*some, strict=True)] for name, some in runs.items() if some
        }
        said = command[0] if command in OWN_AIMS else " ".join(command)
        line = f"{count:>7,} {said:<15}"
        line += "".join(f"{seconds:>9.2f} s{memory:>7,.0f} MiB" for seconds, memory in medians.values())
        (ours, _), *others = medians.values()
        line += f"{others[0][0] / ours:>7.1f} times" if others else ""
        if said in AIMED:
            met = ours < AIM_SECONDS and (not others or count < 10_000 or others[0][0] / ours >= AIM_RATIO)
            line += f"   {'met' if met else 'MISSED'}"
        elif command in OWN_AIMS:
            line += f"   {'met' if ours < OWN_AIMS[command] else 'MISSED'}"
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--against")
    parser.add_argument("--trials", type=int, nargs="+", default=[2_000, 50_000])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="many-") as folder:
        versions = {"ours": ROOT}
        if given.against:
            archive = subprocess.run(
                ["git", "archive", given.against], cwd=ROOT, check=True, capture_output=True
            ).stdout
            versions[given.against] = Path(folder, "against")
            with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
                tar.extractall(versions[given.against], filter="data")
        print(f"{'':>23}{''.join(f'{name[:12]:>22}' for name in versions)}")
        print(
            f"aims: {' and '.join(AIMED)} under {AIM_SECONDS:g} s, of 10,000 trials or more {AIM_RATIO} times as fast; "
            + " and ".join(f"{command[0]} under {aim:g} s" for command, aim in OWN_AIMS.items())
        )
        for count in given.trials:
            results = Path(folder, str(count))
            # In a process of its own: those that are measured begin with the memory of the one that starts them.
            maker = multiprocessing.get_context("spawn").Process(
                target=make_sweep, args=(results / "many", count, given.seeds)
            )
            maker.start()
            maker.join()
            if maker.exitcode:
                sys.exit("the sweep could not be made")
            compare(versions, results, given.repeats, count)


if __name__ == "__main__":
    main()
