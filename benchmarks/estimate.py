"""Predicted against real wall time, computing and memory of spaces/quick.yaml and of a sweep of six networks.

    python benchmarks/estimate.py [REPEATS]        default 1; each takes two to three minutes on two cores

The estimate is taken right before `python -m mnv2_sweep run`, which starts with an empty results folder and with its
images in the cache. Other programs make both slower, and not always alike: so the part of a core that the workers
got is printed for both, the wall time that the estimate says for the run's part, and the seconds of computing, which
other programs hardly change. Memory is the largest sum over all processes of the run, what they share counted once
(Linux: PSS).
"""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from mnv2_sweep.base.places import cache_folder
from mnv2_sweep.data.batches import prepare_pixels
from mnv2_sweep.data.catalog import open_dataset
from mnv2_sweep.spaces.networks import expand
from mnv2_sweep.spaces.read import load_space
from mnv2_sweep.sweeps.budget import TimeEstimate, estimate_text
from mnv2_sweep.sweeps.estimate import estimate_sweep
from mnv2_sweep.sweeps.request import Session, SweepRequest, open_session

WORKERS = 2
QUICK = Path(__file__).parent.parent / "spaces" / "quick.yaml"
SIX = """
axes:
  width: [0.35, 0.5, 0.75]
  resolution: [128, 192]
recipe: {base: short, images: 6000, input_scale: 0.25, name: six}
seeds: 1
data: shapes
"""


def open_space(path: Path, folder: Path) -> Session:
    """The sweep of a space file, its images made."""
    space, dataset = load_space(path), open_dataset("shapes", cache_folder())
    archs = expand(space, len(dataset.classes))
    session = open_session(SweepRequest(folder, archs, space.recipe, space.seeds, dataset, "shapes"))
    for size in {trial.train_size for trial in session.missing}:
        prepare_pixels(dataset, size)
    return session


@dataclass(frozen=True)
class Run:
    """A real run: wall seconds, seconds of computing, the workers' part of a core, bytes at the peak."""

    wall_seconds: float
    computing_seconds: float
    cpu_fraction: float
    memory_bytes: int


def run_sweep(path: Path, folder: Path) -> Run:
    command = [sys.executable, "-m", "mnv2_sweep", "run", str(path), "--device", "cpu", "--workers", str(WORKERS)]
    command += ["--results", str(folder / "results"), "--plots", str(folder / "plots")]
    start, peak, all_seconds, workers = time.perf_counter(), 0, {}, {}
    process = psutil.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        with suppress(psutil.Error):
            children = process.children(recursive=True)
            peak = max(peak, sum(each.memory_full_info().pss for each in [process, *children]))
            for each in [process, *children]:
                used = each.cpu_times()
                all_seconds[each.pid] = used.user + used.system
                if each == process or each.ppid() == process.pid and "spawn_main" not in " ".join(each.cmdline()):
                    continue  # the command, and multiprocessing's own helpers
                workers[each.pid] = (all_seconds[each.pid], time.time() - each.create_time())
        time.sleep(0.5)
    if process.returncode:
        sys.exit(f"the run ended with {process.returncode}")
    busy = [worker for worker in workers.values() if worker[0] > 1]  # not who never got a trial
    share = sum(used for used, _ in busy) / sum(lived for _, lived in busy)
    return Run(time.perf_counter() - start, sum(all_seconds.values()), share, peak)


def computing_seconds(estimate: TimeEstimate) -> float:
    """What the estimate says of computing, without the waiting for a core."""
    starts = estimate.command_seconds + estimate.start_seconds  # workers are forked from a server that has started once
    return estimate.cpu_fraction * (sum(estimate.trial_seconds.values()) + sum(estimate.size_seconds.values()) + starts)


def compare(name: str, path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        session = open_space(path, Path(folder) / "none")
        load, start = os.getloadavg()[0], time.perf_counter()
        estimate = estimate_sweep(session.missing, session.dataset, session.data_name, "cpu", WORKERS)
        took = time.perf_counter() - start
        print(f"{name}: {len(session.missing)} trials, load {load:.1f}, estimated in {took:.0f} s")
        print("\n".join(f"  {line}" for line in estimate_text(estimate)))
        run = run_sweep(path, Path(folder))
    for what, predicted, real in (
        ("wall seconds", estimate.wall_seconds, run.wall_seconds),
        ("part of a core, %", 100 * estimate.cpu_fraction, 100 * run.cpu_fraction),
        ("wall, that part", estimate.wall_seconds * estimate.cpu_fraction / run.cpu_fraction, run.wall_seconds),
        ("computing seconds", computing_seconds(estimate), run.computing_seconds),
        ("memory, MB", estimate.memory_bytes / 1e6, run.memory_bytes / 1e6),
    ):
        print(f"  {what:<18} predicted {predicted:>7.1f}  real {real:>7.1f}  ratio {predicted / real:.2f}")
    print(f"  load at the end {os.getloadavg()[0]:.1f}", flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        six = Path(folder) / "six.yaml"
        six.write_text(SIX)
        for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 1):
            compare("quick.yaml", QUICK)
            compare("six networks", six)


if __name__ == "__main__":
    main()
