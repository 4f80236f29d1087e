"""Both executors under one test body, then what only processes can do: die, be ended, be watched."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from mnv2_sweep.archs.arch import ArchSpec
from mnv2_sweep.sweeps import executor
from mnv2_sweep.sweeps.executor import progress_path, read_progress, run_pool, run_serial
from mnv2_sweep.sweeps.store import Outcome
from mnv2_sweep.training.trial import DataRef, Recipe, Result, Trial, trial_id

# Trial functions are at module level, so that spawned workers can import them; the seed says what a trial does.
FINE, SLOW, RAISES, EXITS, KILLED = range(5)


def plan(*seeds: int) -> list[Trial]:
    return [Trial(ArchSpec(), Recipe("planned", images=10), DataRef("toy", "0123", 3), seed) for seed in seeds]


def result_of(top1: float) -> Result:
    return Result(top1, 1.0, 10, None, None, 0, 1.0, 10, (), 1.0, 1.0, 1, "cpu")


def behave(trial: Trial, report) -> Result:
    if trial.seed == RAISES:
        raise ValueError("too large\nby far")
    if trial.seed == EXITS:
        os._exit(7)
    if trial.seed == KILLED:
        os.kill(os.getpid(), signal.SIGKILL)
    return result_of(trial.seed / 100)


def name_process(trial: Trial, report) -> Result:
    return replace(result_of(0.0), train_images=os.getpid())


def read_own_progress(running: Path, trial: Trial, report) -> Result:
    """Reports, then returns what a watcher could read at that moment."""
    report(4, 9, 1.25, 33.0)
    progress = read_progress(running, {trial_id(trial): trial})[trial]
    return replace(result_of(progress["loss"]), train_images=progress["step"], val_images=progress["steps"])


def report_and_wait(go: Path, trial: Trial, report) -> Result:
    """Reports at once, then waits for a file, at most ten seconds."""
    report(1, 2, 0.5, 10.0)
    end = time.monotonic() + 10
    while not go.exists() and time.monotonic() < end:
        time.sleep(0.01)
    report(2, 2, 0.25, 20.0)
    return result_of(float(go.exists()))


def sleep_if_slow(folder: Path, trial: Trial, report) -> Result:
    (folder / f"pid-{trial.seed}").write_text(str(os.getpid()))
    if trial.seed != FINE:
        report(1, 100, 1.0, 1.0)
        time.sleep(60)
    return result_of(0.5)


def beat(folder: Path, trial: Trial, report) -> Result:
    """Reports for a minute and counts how often; a worker without a parent ends in `report`."""
    for step in range(1, 6000):
        report(step, 6000, 1.0, 1.0)
        (folder / "beats").write_text(str(step))
        time.sleep(0.01)
    return result_of(0.5)


def exit_politely(trial: Trial, report) -> Result:
    if trial.seed == EXITS:
        sys.exit(3)
    return result_of(0.5)


Run = Callable[[Callable, Sequence[Trial], Path, Callable[[], None]], Iterator[Outcome]]
RUNS: dict[str, Run] = {"serial": run_serial, "pool": partial(run_pool, workers=2)}
every_executor = pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


# ---------------------------------------------------------------- both


@every_executor
def test_every_trial_ends_as_an_outcome(run, tmp_path):
    trials = plan(FINE, RAISES, SLOW, 50, 51)
    outcomes = {outcome.trial.seed: outcome for outcome in run(behave, trials, tmp_path / "running", lambda: None)}
    assert outcomes.pop(RAISES) == Outcome(trials[1], error="ValueError: too large\nby far")
    assert outcomes == {t.seed: Outcome(t, result_of(t.seed / 100)) for t in trials if t.seed != RAISES}


@every_executor
def test_no_trials_no_outcomes(run, tmp_path):
    assert list(run(behave, [], tmp_path / "running", lambda: None)) == []


@every_executor
def test_progress_appears_and_vanishes(run, tmp_path):
    running = tmp_path / "new" / "running"
    (outcome,) = run(partial(read_own_progress, running), plan(FINE), running, lambda: None)
    assert outcome.result == replace(result_of(1.25), train_images=4, val_images=9)
    assert not running.exists() or list(running.iterdir()) == []


@every_executor
def test_failed_trials_leave_no_progress(run, tmp_path):
    running = tmp_path / "running"
    (outcome,) = run(report_then_raise, plan(FINE), running, lambda: None)
    assert outcome.error == "KeyError: 'gone'"
    assert not running.exists() or list(running.iterdir()) == []


def report_then_raise(trial: Trial, report) -> Result:
    report(1, 2, 0.5, 10.0)
    raise KeyError("gone")


@every_executor
def test_ticks_come_while_trials_run(run, tmp_path):
    ticks = []
    outcomes = list(run(behave, plan(FINE, SLOW, 50), tmp_path / "running", lambda: ticks.append(0)))
    assert len(outcomes) == 3 and ticks


@every_executor
def test_outcomes_come_one_by_one(run, tmp_path):
    """Each is handed over before the rest has ended: here the second waits until the first was received."""
    go, received = tmp_path / "go", []
    for outcome in run(partial(wait_unless_first, go), plan(FINE, SLOW), tmp_path / "running", lambda: None):
        received.append((outcome.trial.seed, outcome.result.val_top1))
        go.touch()
    assert received == [(FINE, 0.0), (SLOW, 1.0)]


def wait_unless_first(go: Path, trial: Trial, report) -> Result:
    return result_of(0.0) if trial.seed == FINE else report_and_wait(go, trial, report)


def test_serial_runs_in_order_in_this_process(tmp_path):
    outcomes = list(run_serial(name_process, plan(9, 3, 7), tmp_path / "running", lambda: None))
    assert [outcome.trial.seed for outcome in outcomes] == [9, 3, 7]
    assert {outcome.result.train_images for outcome in outcomes} == {os.getpid()}


def test_a_serial_run_outlives_the_shell_that_started_it(tmp_path, monkeypatch):
    """As with `nohup ... &` and a closed terminal: the process gets another parent in the middle of a trial."""

    def refuse(code):
        raise RuntimeError(f"this process would have ended with code {code}")

    monkeypatch.setattr(executor.os, "_exit", refuse)
    parents = iter([100])
    monkeypatch.setattr(executor.os, "getppid", lambda: next(parents, 1))
    (outcome,) = run_serial(report_once, plan(FINE), tmp_path / "running", lambda: None)
    assert outcome.status == "done"


def test_a_sweep_that_ends_leaves_another_one_s_progress_alone(tmp_path):
    """Two sweeps of one folder: the first ends after the second's trial began and before it reports."""

    def train(trial: Trial, report) -> Result:
        assert list(run_pool(behave, [], tmp_path / "running", lambda: None, workers=1)) == []
        return report_once(trial, report)

    assert list(run_serial(train, plan(FINE), tmp_path / "running", lambda: None))[0].error is None


def report_once(trial: Trial, report) -> Result:
    report(1, 2, 0.5, 10.0)
    return result_of(0.5)


# ---------------------------------------------------------------- progress files


def test_progress_is_written_at_most_twice_a_second_and_at_the_end(tmp_path, monkeypatch):
    clock, written = [0.0], []
    monkeypatch.setattr(executor.time, "monotonic", lambda: clock[0])

    def train(trial: Trial, report) -> Result:
        for step in range(1, 9):
            clock[0] = 100 + step * 0.2
            report(step, 8, 1.0, 1.0)
            written.append(read_progress(tmp_path, {trial_id(trial): trial})[trial]["step"])
        return result_of(0.0)

    (outcome,) = run_serial(train, plan(FINE), tmp_path, lambda: None)
    assert outcome.error is None
    assert written == [1, 1, 1, 4, 4, 4, 7, 8]


def test_a_disk_too_full_for_progress_fails_no_trial(tmp_path, monkeypatch):
    def refuse(path, text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", refuse)
    (outcome,) = run_serial(report_once, plan(FINE), tmp_path / "running", lambda: None)
    assert outcome == Outcome(outcome.trial, result_of(0.5))


def test_progress_of_trials_that_do_not_run_is_left_out(tmp_path):
    one, other = plan(0, 1)
    progress_path(tmp_path, one).write_text('{"step": 3, "steps": 4, "loss": 0.5, "images_per_second": 9.0}')
    progress = read_progress(tmp_path, {trial_id(t): t for t in (one, other)})
    assert progress == {one: {"step": 3, "steps": 4, "loss": 0.5, "images_per_second": 9.0}}
    assert read_progress(tmp_path / "nowhere", {trial_id(one): one}) == {}


# ---------------------------------------------------------------- processes


def test_workers_are_other_processes(tmp_path):
    outcomes = list(run_pool(name_process, plan(*range(4)), tmp_path / "running", lambda: None, workers=2))
    workers = {outcome.result.train_images for outcome in outcomes}
    assert len(outcomes) == 4 and 1 <= len(workers) <= 2 and os.getpid() not in workers


def test_a_worker_that_dies_fails_its_trial_alone(tmp_path):
    trials = plan(EXITS, FINE, KILLED, SLOW, 50, 51)
    outcomes = {o.trial.seed: o for o in run_pool(behave, trials, tmp_path / "running", lambda: None, workers=2)}
    assert len(outcomes) == 6
    assert outcomes[EXITS].error == "the worker process ended with exit code 7"
    assert outcomes[KILLED].error == "the worker process was killed by SIGKILL; out of memory?"
    assert all(outcomes[seed] == Outcome(trials[i], result_of(seed / 100)) for i, seed in ((1, 0), (3, 1), (4, 50)))
    assert not (tmp_path / "running").exists()


def test_progress_of_a_worker_that_died_vanishes_at_once(tmp_path):
    """Not at the sweep's end: the other trial runs on while nothing is left of the one that died."""
    running, go = tmp_path / "running", tmp_path / "go"
    trials = plan(FINE, KILLED)
    outcomes = run_pool(partial(report_then_die, go), trials, running, lambda: None, workers=2)
    died = next(outcomes)
    assert died.trial.seed == KILLED and died.status == "failed"
    assert wait_until(lambda: list(read_progress(running, {trial_id(t): t for t in trials})) == [trials[0]])
    go.touch()
    assert [outcome.result.val_top1 for outcome in outcomes] == [1.0]


def report_then_die(go: Path, trial: Trial, report) -> Result:
    if trial.seed == KILLED:
        report(1, 2, 0.5, 10.0)
        os.kill(os.getpid(), signal.SIGKILL)
    return report_and_wait(go, trial, report)


def test_a_worker_killed_while_it_writes_its_progress_leaves_nothing(tmp_path):
    running = tmp_path / "running"
    (outcome,) = run_pool(partial(die_writing, running), plan(KILLED), running, lambda: None, workers=1)
    assert outcome.status == "failed"
    assert not running.exists()


def die_writing(running: Path, trial: Trial, report) -> Result:
    """What a kill between the two steps of `report` leaves."""
    report(1, 2, 0.5, 10.0)
    progress_path(running, trial).rename(progress_path(running, trial).with_suffix(".tmp"))
    os.kill(os.getpid(), signal.SIGKILL)


def test_sys_exit_in_a_trial_fails_it_alone(tmp_path):
    outcomes = list(run_pool(exit_politely, plan(EXITS, FINE), tmp_path / "running", lambda: None, workers=1))
    assert {outcome.trial.seed: outcome.status for outcome in outcomes} == {EXITS: "failed", FINE: "done"}


def test_progress_can_be_watched_while_a_pool_runs(tmp_path):
    running, go, seen = tmp_path / "running", tmp_path / "go", []
    trials = plan(FINE, SLOW)

    def tick() -> None:
        seen.append(read_progress(running, {trial_id(t): t for t in trials}))
        if len(seen[-1]) == 2:
            go.touch()

    outcomes = list(run_pool(partial(report_and_wait, go), trials, running, tick, workers=2))
    assert [outcome.result.val_top1 for outcome in outcomes] == [1.0, 1.0]
    watched = next(progress for progress in seen if len(progress) == 2)
    assert watched == dict.fromkeys(trials, {"step": 1, "steps": 2, "loss": 0.5, "images_per_second": 10.0})
    assert not running.exists()


@pytest.mark.parametrize("end", ["close", "exception"])
def test_ending_early_ends_the_workers(tmp_path, end):
    running, trials = tmp_path / "running", plan(FINE, SLOW, 50, 51)
    outcomes = run_pool(partial(sleep_if_slow, tmp_path), trials, running, lambda: None, workers=2)
    assert next(outcomes).trial.seed == FINE
    assert wait_until(lambda: len(list(tmp_path.glob("pid-*"))) == 3)  # both workers sleep now
    workers = {int(path.read_text()) for path in tmp_path.glob("pid-*")}
    assert wait_until(lambda: len(read_progress(running, {trial_id(t): t for t in trials})) == 2) and any(
        is_alive(pid) for pid in workers
    )
    start = time.monotonic()
    if end == "close":
        outcomes.close()
    else:
        with pytest.raises(KeyboardInterrupt):
            outcomes.throw(KeyboardInterrupt)
    assert time.monotonic() - start < 10
    assert wait_until(lambda: not any(is_alive(pid) for pid in workers))
    assert not running.exists()


def test_an_error_in_tick_ends_the_workers(tmp_path):
    def tick() -> None:
        if len(list(tmp_path.glob("pid-*"))) == 2:
            raise RuntimeError("the display broke")

    trials = plan(SLOW, 50)
    with pytest.raises(RuntimeError, match="the display broke"):
        list(run_pool(partial(sleep_if_slow, tmp_path), trials, tmp_path / "running", tick, workers=2))
    workers = {int(path.read_text()) for path in tmp_path.glob("pid-*")}
    assert wait_until(lambda: not any(is_alive(pid) for pid in workers))


def test_workers_of_a_killed_parent_end(tmp_path):
    code = (
        "import sys; from functools import partial; from pathlib import Path\n"
        "from mnv2_sweep.sweeps.executor import run_pool\n"
        "from test_executor import beat, plan\n"
        "folder = Path(sys.argv[1])\n"
        "list(run_pool(partial(beat, folder), plan(0), folder / 'running', lambda: None, workers=1))\n"
    )
    beats, paths = tmp_path / "beats", os.pathsep.join(sys.path)
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env={**os.environ, "PYTHONPATH": paths})
    assert wait_until(lambda: beats.exists() and beats.read_text().isdigit(), 30)
    parent.kill()
    parent.wait()

    def stands_still() -> bool:
        before = beats.read_text()
        time.sleep(0.3)
        return before == beats.read_text()

    assert wait_until(stands_still)
    assert int(beats.read_text()) < 5000  # ended, not finished
