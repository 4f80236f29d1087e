"""Three runs of one sweep at once, while five readers look at it in a loop: no error, no trial done twice.

    python benchmarks/together.py [--seconds 60]

Real trials of tiny networks, a worker a run, until Ctrl-C reaches all three. Who did what is read from the log files,
in which every attempt at a trial has its line with the number of its process: nobody is killed here, so more than one
is double work.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil

from mnv2_sweep.record.folders import CHECKPOINTS, LOGS, RUNNING
from mnv2_sweep.record.store import read_outcomes, read_statuses

SPACE = """# Do three do more than one?
stages: [[1, 8, 1, 1], [3, 8, 2, 2], [3, 16, 2, 2]]
fixed: {last_channels: 64}
axes:
  width: [0.5, 1.0]
  resolution: [48, 64, 80]
recipe: {base: short, images: 3000, curve_images: 100, input_scale: 0.25, name: tiny}
seeds: 100
"""
RUNS = 3
FOREVER = """
import sys
from pathlib import Path
from mnv2_sweep.sweeps.status import read_status
from mnv2_sweep.record.store import read_outcomes, read_schedule
folder, stop, reads = Path(sys.argv[1]), Path(sys.argv[2]), 0
while not stop.exists():
    outcomes, status = read_outcomes(folder), read_status(folder)
    assert len(outcomes) == len({o.id for o in outcomes})
    assert len(outcomes) <= status.planned == len(read_schedule(folder))
    reads += 1
print(reads)
"""


def cli(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "mnv2_sweep", *map(str, arguments)]


class Reader(threading.Thread):
    """A command again and again until the file `stop` is there."""

    def __init__(self, name: str, command: list[str], stop: Path):
        super().__init__()
        self.name, self.command, self.stop = name, command, stop
        self.reads, self.errors, self.longest = 0, [], 0.0

    def run(self) -> None:
        while not self.stop.exists():
            began = time.monotonic()
            done = subprocess.run(self.command, capture_output=True, text=True)
            self.longest = max(self.longest, time.monotonic() - began)
            self.reads += int(done.stdout) if self.command[1] == "-c" and done.returncode == 0 else 1
            if done.returncode or done.stderr:
                self.errors.append(f"exit {done.returncode}: {done.stderr}")


def start_runs(space: Path, results: Path, plots: Path) -> list[subprocess.Popen]:
    command = cli("run", space, "--results", results, "--plots", plots, "--workers", 1)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return [subprocess.Popen(command, start_new_session=True, **streams) for _ in range(RUNS)]


def watch(runs: list[subprocess.Popen], seconds: float) -> dict[int, int]:
    """Wait, and note which run each worker process belongs to."""
    owner: dict[int, int] = {}
    end = time.monotonic() + seconds
    while time.monotonic() < end and any(run.poll() is None for run in runs):
        for number, run in enumerate(runs):
            with suppress(psutil.Error):
                owner |= {child.pid: number for child in psutil.Process(run.pid).children()}
        time.sleep(0.2)
    return owner


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        space, results, plots, stop = top / "together.yaml", top / "results", top / "plots", top / "stop"
        folder = results / "together"
        space.write_text(SPACE)
        runs = start_runs(space, results, plots)
        output = ["" for _ in runs]
        threads = [
            threading.Thread(target=lambda i=i: output.__setitem__(i, runs[i].communicate()[0])) for i in (0, 1, 2)
        ]
        for thread in threads:
            thread.start()
        while not any(status == "done" for status, _ in read_statuses(folder).values()):
            if all(run.poll() is not None for run in runs):
                break
            time.sleep(0.1)
        where = ("--results", results)
        readers = [
            Reader("table", cli("table", *where), stop),
            Reader("table --csv --trials", cli("table", "--csv", "--trials", *where), stop),
            Reader("status", cli("status", *where), stop),
            Reader("plot --pareto", cli("plot", "--pareto", *where, "--plots", plots), stop),
            Reader(
                "read_outcomes, read_status in Python", [sys.executable, "-c", FOREVER, str(folder), str(stop)], stop
            ),
        ]
        for reader in readers:
            reader.start()
        owner = watch(runs, seconds)
        for run in runs:
            with suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGINT)
        for thread in threads:
            thread.join()
        stop.touch()
        for reader in readers:
            reader.join()
        sys.exit(1 if report(folder, runs, output, readers, owner, seconds) else 0)


def report(folder: Path, runs, output: list[str], readers: list[Reader], owner: dict[int, int], seconds: float) -> bool:
    """Print what happened; whether anything went wrong."""
    attempts, done, double = Counter(), Counter(), 0
    for path in (folder / LOGS).glob("*.log"):
        text = path.read_text()
        workers = [owner.get(int(pid), -1) for pid in re.findall(r"attempt at .*, process (\d+)$", text, re.MULTILINE)]
        attempts.update(workers)
        done.update(workers[-1:] if text.endswith(" done\n") else [])
        double += len(workers) > 1
    outcomes = read_outcomes(folder)
    recorded = Counter(outcome.status for outcome in outcomes)
    print(f"{RUNS} runs for {seconds:g} s after the first trial: {len(outcomes)} trials recorded, {dict(recorded)}")
    wrong = []
    for number, run in enumerate(runs):
        print(f"  run {number + 1}: {attempts[number]} begun, {done[number]} done; exit {run.returncode}")
        if run.returncode not in (0, 130) or "Traceback" in output[number] or "error" in output[number]:
            wrong.append(f"run {number + 1} ended with {run.returncode}: {output[number][-2000:]}")
    if attempts[-1] or done.total() != recorded["done"]:
        wrong.append(f"the logs name {done.total()} done, {attempts[-1]} by unknown processes")
    for reader in readers:
        print(
            f"  {reader.name:<37}{reader.reads:>7,} times, {len(reader.errors)} errors, longest {reader.longest:.1f} s"
        )
        wrong += [f"{reader.name}: {error}" for error in reader.errors[:3]]
    left = [str(path) for path in (folder / RUNNING).glob("*")] + [str(path) for path in folder.rglob("*.tmp")]
    kept = len(list((folder / CHECKPOINTS).glob("*.pt")))
    print(f"  interrupted trials: {recorded['interrupted']}, with {kept} checkpoints; left over: {len(left)} files")
    wrong += [f"left over: {path}" for path in left]
    wrong += [f"{double} trials were begun more than once"] * bool(double)
    wrong += ["nothing was shared"] * (min(done[number] for number in range(RUNS)) == 0)
    for line in wrong:
        print(f"WRONG: {line}")
    errors = sum(len(reader.errors) for reader in readers)
    print(f"double work: {double}, errors of readers: {errors}, aim 0 and 0: {'MISSED' if wrong else 'met'}")
    return bool(wrong)


if __name__ == "__main__":
    main()
