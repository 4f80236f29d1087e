"""What goes wrong in a sweep, and what is left of it: a full disk, and trials that fail in every way they can.

    python benchmarks/failures.py

Disk: a sweep of tiny real trials on a small file system of its own (a tmpfs, where mounting is allowed) that is filled
in mid-course, and once more under a limit on the size of files. Trials: good ones, trained in earnest, among such that
raise, diverge, allocate without end, kill themselves, stop or never end.
"""

import mmap
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from chaos import NETWORKS, SPACE, read_results

from mnv2_sweep.base.places import cache_folder
from mnv2_sweep.base.text import align
from mnv2_sweep.data.catalog import open_dataset
from mnv2_sweep.nets.arch import ArchSpec, Stage
from mnv2_sweep.record.store import (
    DATABASE,
    DIVERGED,
    EXCEPTION,
    KILLED,
    OUT_OF_MEMORY,
    TIMED_OUT,
    read_outcomes,
    read_statuses,
)
from mnv2_sweep.sweeps.attempt import Attempts
from mnv2_sweep.sweeps.pool import Feed, Limits, run_pool
from mnv2_sweep.sweeps.queue import TrialQueue, record_outcomes
from mnv2_sweep.sweeps.workers import train_in_worker
from mnv2_sweep.training.control import Control
from mnv2_sweep.training.ways.way import Setup
from mnv2_sweep.trials.recipe import Recipe
from mnv2_sweep.trials.trial import DataRef, Result, Trial, trial_id

DISK_BYTES = 4 * 2**20
MEMORY_BYTES, SECONDS = 2**30, 60.0


def run_cli(space: Path, results: Path, before: Callable[[], None] | None = None) -> subprocess.Popen:
    command = [sys.executable, "-m", "mnv2_sweep", "run", str(space), "--results", str(results), "--workers", "2"]
    command += ["--plots", str(space.parent / "plots")]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=before)


def done_rows(folder: Path) -> dict[str, tuple[str, float]]:
    return {name: row for name, row in read_statuses(folder).items() if row[0] == "done"}


# ---------------------------------------------------------------- disk


@contextmanager
def small_disk(folder: Path):
    """A file system of its own at the folder; yields whether there is one."""
    folder.mkdir()
    mounted = sys.platform == "linux" and shutil.which("mount") is not None
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    mounted = mounted and subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def keep_full(path: Path, run: subprocess.Popen) -> None:
    """Write until not another byte fits, and again while the run lives: what it removes itself makes room for it."""
    with path.open("wb", buffering=0) as file:
        while run.poll() is None:
            for size in (2**16, 2**12, 1):
                with suppress(OSError):
                    while True:
                        file.write(b"x" * size)
            time.sleep(0.005)


def show_end(what: str, run: subprocess.Popen, folder: Path, before: dict) -> list[str]:
    """Print how a run on a full disk ended; what is wrong about it."""
    error = run.communicate()[1].rstrip()
    now = done_rows(folder)
    kept = before.items() <= now.items()
    print(
        f"  {what}: exit {run.returncode}; {len(before)} trials were done before, {len(now)} are now, all kept: {kept}"
    )
    print("\n".join(f"    {line}" for line in error.splitlines()))
    fine = run.returncode == 2 and kept and error.startswith("error: ") and "\n" not in error
    return [] if fine else [f"{what}: exit {run.returncode}, kept {kept}, {error}"]


def resume(space: Path, results: Path, expected: dict[str, str], before: dict) -> list[str]:
    run = run_cli(space, results)
    error = run.communicate()[1]
    same = read_results(results / space.stem) == expected
    kept = before.items() <= done_rows(results / space.stem).items()
    print(f"  with room again, the same command: exit {run.returncode}; all done, as undisturbed bit for bit: {same}")
    return [] if run.returncode == 0 and same and kept else [f"resumed: exit {run.returncode}, same {same}, {error}"]


def check_full_disk(space: Path, top: Path, expected: dict[str, str]) -> list[str]:
    with small_disk(top / "small") as mounted:
        if not mounted:
            print("  no tmpfs: mounting is not allowed here")
            return []
        results = top / "small" / "results"
        folder, filler = results / space.stem, top / "small" / "filler"
        run = run_cli(space, results)
        while len(done_rows(folder)) < 3 and run.poll() is None:
            time.sleep(0.05)
        before = done_rows(folder)
        keep_full(filler, run)
        wrong = show_end(f"disk of {DISK_BYTES / 2**20:g} MiB, filled after 3 trials", run, folder, before)
        before = done_rows(folder)
        run = run_cli(space, results)
        keep_full(filler, run)
        wrong += show_end("started on the full disk", run, folder, before)
        filler.unlink()
        return wrong + resume(space, results, expected, before)


def check_file_limit(space: Path, top: Path, size: int, expected: dict[str, str]) -> list[str]:
    """No file may grow as large as the results file has to become in the end."""
    results, most = top / "limited", size * 3 // 4
    run = run_cli(space, results, before=partial(resource.setrlimit, resource.RLIMIT_FSIZE, (most, most)))
    wrong = show_end(f"files of at most {most / 2**10:.0f} KiB", run, results / space.stem, {})
    return wrong + resume(space, results, expected, done_rows(results / space.stem))


# ---------------------------------------------------------------- trials


def allocate(control: Control) -> None:
    kept = []
    while True:
        kept.append(bytearray(16 << 20))


def allocate_shared(control: Control) -> None:
    """Memory that no limit of the system's counts; the parent watches."""
    kept = []
    while True:
        kept.append(mmap.mmap(-1, 16 << 20))
        kept[-1].write(b"x" * (16 << 20))
        time.sleep(0.02)


def raise_error(control: Control) -> None:
    raise ValueError("a bug in the trial")


def kill_self(control: Control) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_self_once(control: Control) -> None:
    """The first attempt leaves a file; the second goes on and trains."""
    mark = control.checkpoint.with_suffix(".mark")
    if not mark.exists():
        mark.parent.mkdir(exist_ok=True)
        mark.touch()
        kill_self(control)
    mark.unlink()


def crash(control: Control) -> None:
    os.abort()


def leave(control: Control) -> None:
    sys.exit("enough")


def hang(control: Control) -> None:
    while True:
        time.sleep(1)


def stop_self(control: Control) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def behave(control: Control) -> None:
    pass


# What a seed does, and how its trial must end: kind and attempts. "diverges" trains in earnest, at a rate of 1e9.
TRIALS = (
    ("good", behave, "done", 1), ("raises", raise_error, EXCEPTION, 1), ("good", behave, "done", 1),
    ("diverges to NaN", behave, DIVERGED, 1), ("allocates without end", allocate, OUT_OF_MEMORY, 2),
    ("allocates shared memory", allocate_shared, OUT_OF_MEMORY, 2), ("good", behave, "done", 1),
    ("kills itself", kill_self, KILLED, 2), ("kills itself once", kill_self_once, "done", 2),
    ("crashes", crash, KILLED, 2), ("good", behave, "done", 1), ("sys.exit", leave, EXCEPTION, 1),
    ("never ends", hang, TIMED_OUT, 1), ("stops itself", stop_self, TIMED_OUT, 1), ("good", behave, "done", 1),
)  # fmt: skip


def train_or_fail(trial: Trial, control: Control) -> Result:
    TRIALS[trial.seed][1](control)
    return train_in_worker("shapes", cache_folder(), Setup(), trial, control)


def check_trials(folder: Path) -> list[str]:
    data = open_dataset("shapes", cache_folder())
    reference = DataRef(data.name, data.fingerprint, len(data.classes))
    arch = ArchSpec(
        stages=(Stage(1, 8, 1, 1), Stage(3, 8, 2, 2)), width=0.5, resolution=16, last_channels=32, classes=10
    )
    recipe = Recipe("tiny", images=2000, curve_images=100)
    trials = [
        Trial(arch, replace(recipe, lr=1e9) if name.startswith("diverges") else recipe, reference, seed)
        for seed, (name, *_) in enumerate(TRIALS)
    ]
    began = time.monotonic()
    with TrialQueue(folder, trials) as queue:
        pool = run_pool(
            Attempts(train_or_fail, folder), Feed(queue.take, queue.others), 2, Limits(MEMORY_BYTES, SECONDS)
        )
        for _ in record_outcomes(queue, pool):
            pass
    outcomes = {outcome.id: outcome for outcome in read_outcomes(folder)}
    rows, wrong = [["seed", "trial", "status", "kind", "attempts", "error"]], []
    for trial, (name, _, kind, attempts) in zip(trials, TRIALS, strict=True):
        outcome = outcomes.get(trial_id(trial))
        if outcome is None or (outcome.kind, outcome.attempts) != (kind, attempts):
            wrong.append(f"seed {trial.seed}, {name}: {kind} after {attempts} expected, {outcome} recorded")
        if outcome is not None:
            what = f"top-1 {100 * outcome.result.score('val', 'top1'):.1f} %" if outcome.result else outcome.error
            rows.append([str(trial.seed), name, outcome.status, outcome.kind, str(outcome.attempts), what])
    print("\n".join(f"  {line}" for line in align(rows, left=("trial", "status", "kind", "error")).splitlines()))
    counts = Counter(outcome.status for outcome in outcomes.values())
    print(f"  {len(trials)} trials in {time.monotonic() - began:,.0f} s: {dict(counts)}; every one has its record")
    left = [path.name for part in ("running", "checkpoints") for path in (folder / part).glob("*")]
    return wrong + [f"left over: {left}"] * bool(left)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        space, calm = top / "failures.yaml", top / "calm"
        space.write_text(SPACE.format(seeds=2))
        print(f"a full disk ({2 * NETWORKS} trials)")
        if run_cli(space, calm).wait():
            sys.exit("the undisturbed run failed")
        expected = read_results(calm / space.stem)
        size = (calm / space.stem / DATABASE).stat().st_size
        wrong = check_full_disk(space, top, expected) + check_file_limit(space, top, size, expected)
        print(f"trials that fail (memory limit {MEMORY_BYTES / 2**20:g} MiB, time limit {SECONDS:g} s)")
        wrong += check_trials(top / "trials")
    for line in wrong:
        print(f"WRONG: {line}")
    print(f"clear errors, nothing recorded lost, every trial a record: {'MISSED' if wrong else 'met'}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
