"""A sweep killed with SIGKILL at random moments, workers and parent alike, and resumed until it is done.

    python benchmarks/chaos.py [--kills 100] [--trials 30] [--seed 0]         ten to twenty minutes on two cores

Real trials of tiny networks through the real command line, which keeps a checkpoint twice a second here, so that kills
hit checkpoints, too. Most moments are drawn at random (from the start of a run on); some wait until a trial is being
recorded or a checkpoint written. The sweep goes on with the same command, with --retry-failed when it has ended by
itself, as a trial whose worker dies twice is a failure. In the end its results are compared bit for bit with those of
a run that nobody disturbed, and every recorded row with what it was when it was first seen.
"""

import argparse
import csv
import io
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import psutil

from mnv2_sweep.record.folders import CHECKPOINTS, LOGS, RUNNING
from mnv2_sweep.record.store import DATABASE, read_outcomes, read_statuses
from mnv2_sweep.trials.trial import dump_result

SPACE = """# Does the sweep survive?
stages: [[1, 8, 1, 1], [3, 8, 2, 2], [3, 16, 2, 2]]
fixed: {{last_channels: 64}}
axes:
  width: [0.5, 1.0]
  resolution: [48, 64, 80]
recipe: {{base: short, images: 8000, curve_images: 100, input_scale: 0.25, name: tiny}}
seeds: {seeds}
"""
NETWORKS = 6
CLI = """
from functools import partial
from mnv2_sweep.sweeps import session
session.Attempts = partial(session.Attempts, checkpoint_seconds=0.5)
from mnv2_sweep.cli.main import main
main()
"""
MACHINES = ("seconds", "images_per_second", "peak_memory_bytes")  # measured of the machine, not of the network
HISTORY = ("attempts",)  # how often a trial was tried

WORKER, PARENT, ALL = "worker", "parent", "parent and workers"
RECORDING, CHECKPOINTING = "parent while it records", "worker while it writes a checkpoint"
KINDS = (WORKER,) * 10 + (CHECKPOINTING,) * 3 + (PARENT,) * 4 + (RECORDING,) * 1 + (ALL,) * 2
LONGEST_WAIT = 60.0
STARTS = re.compile("spawn_main|forkserver")  # how such a process is called


class Chaos:
    """Kills what a sweep's run consists of; `ahead` trials done for the kills so far make the gaps shorter."""

    def __init__(self, folder: Path, kills: int, trials: int, draw: random.Random):
        self.folder, self.wanted, self.trials, self.draw = folder, kills, trials, draw
        self.kills: Counter[str] = Counter()
        self.moments: Counter[str] = Counter()
        self.seen: dict[str, tuple[float, str]] = {}
        self.pids: set[int] = set()
        self.wrong: list[str] = []

    def disturb(self, run: subprocess.Popen) -> None:
        """Kill once, or return when the run has ended by itself."""
        kind = self.draw.choice(KINDS)
        done = sum(status == "done" for status, _ in read_statuses(self.folder).values())
        ahead = done / self.trials > 0.7 * self.kills.total() / self.wanted
        gap = self.draw.uniform(0, 2 if ahead else 10)
        if kind in (WORKER, CHECKPOINTING):
            self._wait(run, lambda: self._workers(run), LONGEST_WAIT)
        self._wait(run, lambda: False, gap)
        if kind == RECORDING and not self._wait(run, self._is_recording, LONGEST_WAIT, 0.0005):
            kind = PARENT
        if kind == CHECKPOINTING and not self._wait(run, self._is_checkpointing, 10, 0.0005):
            kind = WORKER
        workers = self._workers(run)
        if run.poll() is not None or (kind in (WORKER, CHECKPOINTING) and not workers):
            return
        self._note_moment(workers)
        if kind == ALL:
            os.killpg(run.pid, signal.SIGKILL)
        elif kind in (PARENT, RECORDING):
            run.kill()
        else:
            with suppress(psutil.NoSuchProcess):
                self.draw.choice(workers).kill()
        self.kills[kind] += 1
        if kind in (ALL, PARENT, RECORDING):
            run.wait()

    def _wait(self, run: subprocess.Popen, what: Callable[[], object], seconds: float, pause: float = 0.05) -> bool:
        """Until it is so; False when the time is over or the run has ended."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and run.poll() is None:
            if what():
                return True
            time.sleep(pause)
        return False

    def _workers(self, run: subprocess.Popen) -> list[psutil.Process]:
        """The run's worker processes and the one that they are forked from, in the order of their numbers; not
        multiprocessing's tracker of resources."""
        workers = []
        with suppress(psutil.Error):
            for process in psutil.Process(run.pid).children(recursive=True):
                with suppress(psutil.Error):
                    if STARTS.search(" ".join(process.cmdline())):
                        workers.append(process)
        self.pids |= {worker.pid for worker in workers}
        return sorted(workers, key=lambda worker: worker.pid)

    def _note_moment(self, workers: list[psutil.Process]) -> None:
        if not workers:
            self.moments["before there were workers"] += 1
        elif not any((self.folder / RUNNING).glob("*.json")):
            self.moments["while no trial had reported (starts, ends, evaluation)"] += 1
        else:
            self.moments["while trials trained"] += 1
        if self._is_recording():
            self.moments["and in a transaction of trials.db"] += 1
        if self._is_checkpointing():
            self.moments["and with a checkpoint half written"] += 1

    def _is_recording(self) -> bool:
        return (self.folder / f"{DATABASE}-journal").exists()

    def _is_checkpointing(self) -> bool:
        return any((self.folder / CHECKPOINTS).glob("*.tmp"))

    def look(self) -> None:
        """What is recorded stays recorded, once and as it is."""
        rows = {name: (at, "") for name, (status, at) in read_statuses(self.folder).items() if status == "done"}
        for outcome in read_outcomes(self.folder):
            if outcome.result:
                rows[outcome.id] = (rows[outcome.id][0], dump_result(outcome.result))
        for name, row in self.seen.items():
            if rows.get(name) != row:
                self.wrong.append(f"trial {name} was recorded as {row} and is now {rows.get(name)}")
        self.seen |= rows


def start(space: Path, results: Path, log: Path, *options: str) -> subprocess.Popen:
    command = [sys.executable, "-c", CLI, "run", str(space), "--results", str(results), "--workers", "2", *options]
    with log.open("w") as file:
        return subprocess.Popen(
            [*command, "--plots", str(results.parent / "plots")], stdout=file, stderr=file, start_new_session=True
        )


def read_table(results: Path) -> list[dict[str, str]]:
    """`table --csv --trials`, in the order of the ids, without what says something of the machine and the past."""
    command = [sys.executable, "-m", "mnv2_sweep", "table", "--csv", "--trials", "--results", str(results)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = sorted(csv.DictReader(io.StringIO(done.stdout)), key=lambda row: row["trial_id"])
    return [{name: value for name, value in row.items() if name not in MACHINES + HISTORY} for row in rows]


def read_results(folder: Path) -> dict[str, str]:
    """Every number of every result, the curve too, as stored."""
    unmeasured = dict.fromkeys(MACHINES, 0)
    return {o.id: dump_result(replace(o.result, **unmeasured)) for o in read_outcomes(folder) if o.result}


def count_logs(folder: Path) -> Counter[str]:
    lines = [line.split(" ", 2)[-1] for path in (folder / LOGS).glob("*.log") for line in path.read_text().splitlines()]
    starts = ("attempt", "resumed after", "done", "the checkpoint is not used", "the checkpoint of step")
    return Counter(start for line in lines for start in starts if line.startswith(start))


def check(chaos: Chaos, calm: Path, stormy: Path, trials: int) -> list[str]:
    """Everything that is not as it should be."""
    wrong, folder = chaos.wrong, chaos.folder
    table, expected = read_table(stormy), read_table(calm)
    columns = [c for c in expected[0] if [r[c] for r in table] != [r[c] for r in expected]]
    if table != expected:
        wrong.append(f"the table differs from that of the undisturbed run: columns {columns}")
    print(f"table: {len(table)} rows of {len(expected[0])} columns, as undisturbed: {table == expected}")
    same = read_results(folder) == read_results(calm / folder.name)
    print(f"curves and all other numbers of the results, as undisturbed: {same}")
    if not same:
        wrong.append("stored results differ from those of the undisturbed run")
    with closing(sqlite3.connect(folder / DATABASE)) as database:
        rows, names, integrity = database.execute(
            "SELECT count(*), count(DISTINCT id), (SELECT * FROM pragma_integrity_check) FROM trials"
        ).fetchone()
        planned = database.execute("SELECT count(*) FROM planned").fetchone()[0]
    print(f"trials.db: {rows} rows, {rows - names} twice, {planned} planned; integrity check {integrity}")
    if (rows, names, planned, integrity) != (trials, trials, trials, "ok"):
        wrong.append(f"trials.db: {rows} rows, {names} different, {planned} planned, {trials} expected, {integrity}")
    time.sleep(1)
    left = [p for part in (RUNNING, CHECKPOINTS) for p in (folder / part).glob("*")]
    left += [p for p in folder.rglob("*") if p.suffix == ".tmp" or p.name.endswith("-journal")]
    alive = [pid for pid in chaos.pids if psutil.pid_exists(pid) and STARTS.search(_command(pid))]
    print(f"left over: {len(left)} files in running/, checkpoints/ and of half a writing; {len(alive)} processes")
    wrong += [f"left over: {path}" for path in left] + [f"still alive: process {pid}" for pid in alive]
    return wrong


def _command(pid: int) -> str:
    with suppress(psutil.Error):
        return " ".join(psutil.Process(pid).cmdline())
    return ""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--trials", type=int, default=30, help=f"rounded up to a multiple of {NETWORKS}")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    seeds = -(-options.trials // NETWORKS)
    trials = seeds * NETWORKS
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        space, calm, stormy = top / "chaos.yaml", top / "calm", top / "stormy"
        space.write_text(SPACE.format(seeds=seeds))
        began = time.monotonic()
        if code := start(space, calm, top / "calm.log").wait():
            sys.exit(f"the undisturbed run ended with {code}:\n{(top / 'calm.log').read_text()}")
        undisturbed = time.monotonic() - began
        chaos = Chaos(stormy / "chaos", options.kills, trials, random.Random(options.seed))
        ends, began, code = Counter(), time.monotonic(), None
        while code != 0:
            log = top / f"{ends.total():04d}.log"
            run = start(space, stormy, log, *(["--retry-failed"] if code == 1 else []))
            while run.poll() is None:
                if chaos.kills.total() < options.kills:
                    chaos.disturb(run)
                else:
                    run.wait()
            code = run.returncode
            ends[code] += 1
            if code not in (0, 1, -signal.SIGKILL) or (code >= 0 and "Traceback" in log.read_text()):
                chaos.wrong.append(f"a run ended with {code}: {log.read_text()[-2000:]}")
                break
            chaos.look()
        seconds = time.monotonic() - began
        failures = sum(o.status != "done" for o in read_outcomes(chaos.folder))
        kills = chaos.kills
        print(f"{trials} trials, seed {options.seed}: undisturbed {undisturbed:,.0f} s, with kills {seconds:,.0f} s")
        print(f"kills: {kills.total()}; " + ", ".join(f"{count} of a {kind}" for kind, count in kills.most_common()))
        print("moments: " + ", ".join(f"{count} {moment}" for moment, count in chaos.moments.most_common()))
        print(f"runs: {ends.total()}, of which {ends[-9]} killed, {ends[1]} ended with failed trials, {ends[0]} done")
        logs = count_logs(chaos.folder)
        print(
            f"attempts: {logs['attempt']} at {trials} trials; {logs['resumed after']} went on from a checkpoint, "
            f"{logs['done'] - trials} were finished and killed before they were recorded, "
            f"{logs['the checkpoint is not used']} checkpoints were refused"
        )
        print(f"recorded: {len(chaos.seen)} done, {failures} failed; 0 changed or lost later" * (not chaos.wrong))
        wrong = check(chaos, calm, stormy, trials)
        if kills.total() < options.kills:
            wrong.append(f"the sweep was done after {kills.total()} kills, {options.kills} were wanted")
        for line in wrong:
            print(f"WRONG: {line}")
        print(f"killed {kills.total()} times and equal to the undisturbed run: {'MISSED' if wrong else 'met'}")
        sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
