"""A sweep killed at random moments and resumed: the short form of benchmarks/chaos.py, with a function for training."""

import json
import os
import random
import re
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from mnv2_sweep.record.folders import CHECKPOINTS, RUNNING
from mnv2_sweep.record.store import read_outcomes, read_statuses
from mnv2_sweep.sweeps.attempt import Attempts
from mnv2_sweep.sweeps.pool import Feed, run_pool, run_serial
from mnv2_sweep.sweeps.queue import TrialQueue, record_outcomes
from mnv2_sweep.sweeps.schedule import missing_trials
from mnv2_sweep.training.control import Control
from mnv2_sweep.trials.trial import Result, Trial
from tests.trial_samples import plan, result_of, wait_until

TRIALS, KILLS = 6, 6
STEPS, STEP_SECONDS = 100, 0.01
LONGEST_GAP = 0.4  # all gaps together are shorter than the sweep, which can't be done before the last kill


def stand_for_training(seconds: float, trial: Trial, control: Control) -> Result:
    """A number that depends on every step so far, kept as a real trial's state is."""
    path, step, value = control.checkpoint, 0, trial.seed
    for left in path.parent.glob(f"{path.stem}.*.tmp"):
        left.unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        step, value = json.loads(path.read_text())
    while step < STEPS:
        step, value = step + 1, (value * 6364136223846793005 + step) % 2**53
        control.report(step, STEPS, 1.0, 1.0)
        if step % 5 == 0:
            path.parent.mkdir(exist_ok=True)
            unfinished = path.with_suffix(f".{os.getpid()}.tmp")
            unfinished.write_text(json.dumps([step, value]))
            with suppress(FileNotFoundError):  # a killed run's worker may still be at it
                unfinished.replace(path)
        time.sleep(seconds)
    result = result_of(value / 2**53)
    return replace(result, scores={**result.scores, "val": {**result.scores["val"], "loss": trial.seed / 7}})


def sweep(folder: Path, workers: int = 2) -> None:
    """What `run --retry-failed` does; with no workers in this process, and quickly."""
    attempts = Attempts(stand_for_training_slowly if workers else stand_for_training_quickly, folder)
    with TrialQueue(folder, missing_trials(plan(*range(TRIALS)), folder, retry_failed=True)) as queue:
        feed = Feed(queue.take, queue.others)
        for _ in record_outcomes(queue, run_pool(attempts, feed, workers) if workers else run_serial(attempts, feed)):
            pass


def stand_for_training_quickly(trial: Trial, control: Control) -> Result:
    return stand_for_training(0, trial, control)


def stand_for_training_slowly(trial: Trial, control: Control) -> Result:
    return stand_for_training(STEP_SECONDS, trial, control)


def workers_of(parent: subprocess.Popen) -> list[psutil.Process]:
    """And the process that they are forked from, where there is one."""
    found = []
    with suppress(psutil.Error):
        for process in psutil.Process(parent.pid).children(recursive=True):
            with suppress(psutil.Error):
                found += [process] if re.search("spawn_main|forkserver", " ".join(process.cmdline())) else []
    return found


def kill_one(parent: subprocess.Popen, draw: random.Random) -> bool:
    """The parent or a worker, some moments after there are workers; False where the parent has ended by itself."""
    wait_until(lambda: workers_of(parent) or parent.poll() is not None, 30)
    time.sleep(draw.uniform(0, LONGEST_GAP))
    if parent.poll() is not None:
        return False
    with suppress(psutil.NoSuchProcess):
        draw.choice([psutil.Process(parent.pid), *workers_of(parent)]).kill()
    return True


def results_of(folder: Path) -> dict[str, Result | None]:
    return {outcome.id: outcome.result for outcome in read_outcomes(folder)}


@pytest.mark.slow
def test_a_sweep_killed_again_and_again_ends_as_one_that_nobody_disturbed(tmp_path):
    calm, folder = tmp_path / "calm", tmp_path / "stormy"
    sweep(calm, workers=0)
    code = (
        "import sys; from pathlib import Path; from tests.sweeps.test_chaos import sweep\n"
        "from mnv2_sweep.sweeps import pool; pool.IMPORTED.clear()  # no torch\n"
        "sweep(Path(sys.argv[1]))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    draw, kills, seen = random.Random(4), 0, {}
    while True:
        parent = subprocess.Popen([sys.executable, "-c", code, str(folder)], env=environment)
        while kills < KILLS and kill_one(parent, draw):
            kills += 1
        code_of_parent = parent.wait()
        done = {name: row for name, row in read_statuses(folder).items() if row[0] == "done"}
        assert {name: done.get(name) for name in seen} == seen  # what is recorded stays as it is
        seen = done
        if code_of_parent == 0 and len(done) == TRIALS:
            break
        assert code_of_parent in (0, -9)  # ended with trials that failed twice, or killed
    assert kills == KILLS
    assert results_of(folder) == results_of(calm)
    assert len(read_outcomes(folder)) == TRIALS
    assert [path for part in (RUNNING, CHECKPOINTS) for path in (folder / part).glob("*")] == []
