"""Both executors under one test body, then what only processes can do: die, be ended, be limited, be watched."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest

from mnv2_sweep.base.processes import SERVER_GONE
from mnv2_sweep.record.folders import log_path
from mnv2_sweep.record.store import INTERRUPTED, KILLED, OUT_OF_MEMORY, TIMED_OUT, Outcome
from mnv2_sweep.sweeps import pool
from mnv2_sweep.sweeps.attempt import Attempts, read_progress
from mnv2_sweep.sweeps.pool import Feed, Limits, run_pool, run_serial
from mnv2_sweep.training.control import Control
from mnv2_sweep.trials.trial import Result, Trial
from tests.trial_samples import (
    DIES,
    EXITS,
    FINE,
    RAISES,
    SIGNALLED,
    SLOW,
    behave,
    by_id,
    die_writing,
    exit_politely,
    feed_of,
    grow,
    is_running,
    name_gpu,
    name_process,
    note_then_behave,
    plan,
    read_own_progress,
    report_and_wait,
    report_once,
    report_then_die,
    report_then_raise,
    result_of,
    sleep_if_slow,
    stop_if_told,
    train_until_stopped,
    wait_aside,
    wait_unless_first,
    wait_until,
)

Run = Callable[[Attempts, Feed], Iterator[Outcome]]
RUNS: dict[str, Run] = {"serial": run_serial, "pool": partial(run_pool, workers=2)}
every_executor = pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
PROMPT = 20  # seconds, on a busy machine; trials that nobody stops take a minute
LIMIT_MIB = 900  # torch itself takes some 300


def no_progress(folder: Path) -> bool:
    return not list(folder.glob("running/*"))


def processes(folder: Path) -> set[int]:
    """Of the trials that have begun."""
    return {int(path.read_text()) for path in folder.glob("pid-*")}


def begun(folder: Path) -> int:
    return len(list(folder.glob("pid-*")))


def by_seed(outcomes) -> dict[int, Outcome]:
    return {outcome.trial.seed: outcome for outcome in outcomes}


# ---------------------------------------------------------------- both


@every_executor
def test_every_trial_ends_as_an_outcome(run, tmp_path):
    trials = plan(FINE, RAISES, SLOW, 50, 51)
    outcomes = by_seed(run(Attempts(behave, tmp_path), feed_of(trials)))
    assert outcomes.pop(RAISES) == Outcome(trials[1], error="ValueError: too large\nby far")
    assert outcomes == {t.seed: Outcome(t, result_of(t.seed / 100)) for t in trials if t.seed != RAISES}


@every_executor
def test_no_trials_no_outcomes(run, tmp_path):
    assert list(run(Attempts(behave, tmp_path), feed_of([]))) == []


@every_executor
def test_progress_appears_and_vanishes(run, tmp_path):
    folder = tmp_path / "new"
    (outcome,) = run(Attempts(partial(read_own_progress, folder), folder), feed_of(plan(FINE)))
    assert outcome.result == replace(result_of(1.25), train_images=4, images={"val": 9})
    assert no_progress(folder)


@every_executor
def test_failed_trials_leave_no_progress(run, tmp_path):
    (outcome,) = run(Attempts(report_then_raise, tmp_path), feed_of(plan(FINE)))
    assert outcome.error == "KeyError: 'gone'"
    assert no_progress(tmp_path)


@every_executor
def test_ticks_come_while_trials_run(run, tmp_path):
    ticks = []
    feed = feed_of(plan(FINE, SLOW, 50), tick=lambda: ticks.append(0))
    assert len(list(run(Attempts(behave, tmp_path), feed))) == 3 and ticks


@every_executor
def test_outcomes_come_one_by_one(run, tmp_path):
    """Each is handed over before the rest has ended: here the second waits until the first was received."""
    go, received = tmp_path / "go", []
    for outcome in run(Attempts(partial(wait_unless_first, go), tmp_path), feed_of(plan(FINE, SLOW))):
        received.append((outcome.trial.seed, outcome.result.score("val", "top1")))
        go.touch()
    assert received == [(FINE, 0.0), (SLOW, 1.0)]


@pytest.mark.slow
@every_executor
def test_trials_may_come_later(run, tmp_path, monkeypatch):
    """Others hold the rest: it is waited for, and done when they give it up."""
    monkeypatch.setattr(pool, "IDLE_SECONDS", 0.02)
    (trial,), looks = plan(50), []

    def take() -> Trial | None:
        looks.append(0)
        return trial if len(looks) == 4 else None

    feed = Feed(take, others=lambda: int(len(looks) < 4))
    assert list(run(Attempts(behave, tmp_path), feed)) == [Outcome(trial, result_of(0.5))]


@every_executor
def test_what_others_do_is_not_waited_for_longer_than_they_take(run, tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "IDLE_SECONDS", 0.02)
    left = [2, 1, 0]
    assert list(run(Attempts(behave, tmp_path), Feed(lambda: None, others=lambda: left.pop(0)))) == []
    assert left == []


@every_executor
def test_a_stop_request_before_the_first_trial(run, tmp_path):
    taken = []
    feed = Feed(lambda: taken.append(0), others=lambda: 1, stop=lambda: True)
    assert list(run(Attempts(behave, tmp_path), feed)) == []
    assert taken == []


@pytest.mark.parametrize("run, at_once", [(run_serial, 1), (partial(run_pool, workers=2), 2)], ids=RUNS)
def test_a_stop_request_interrupts_what_runs_and_begins_nothing(run, at_once, tmp_path):
    trials = plan(10, 11, 12, 13)
    feed = feed_of(trials, others=lambda: 4, stop=lambda: begun(tmp_path) == at_once)
    outcomes = run(Attempts(partial(train_until_stopped, tmp_path), tmp_path), feed)
    start = time.monotonic()
    ended = list(outcomes)
    assert time.monotonic() - start < PROMPT
    assert {outcome.trial.seed for outcome in ended} == {10, 11} if at_once == 2 else {10}
    assert {(o.kind, o.status, o.error) for o in ended} == {
        (INTERRUPTED, "interrupted", "interrupted; goes on from its checkpoint")
    }
    assert begun(tmp_path) == at_once and no_progress(tmp_path)


def test_the_death_of_all_at_once_has_its_words():
    found = pool.describe_death(SERVER_GONE)
    assert found == "the worker process ended after the one that it was forked from; out of memory?"


def test_serial_runs_in_order_in_this_process(tmp_path):
    outcomes = list(run_serial(Attempts(name_process, tmp_path), feed_of(plan(9, 3, 7))))
    assert [outcome.trial.seed for outcome in outcomes] == [9, 3, 7]
    assert {outcome.result.train_images for outcome in outcomes} == {os.getpid()}


def test_a_sweep_that_ends_leaves_another_one_s_progress_alone(tmp_path):
    """Two runs of one sweep: the first ends after the second's trial began and before it reports."""

    def train(trial: Trial, control: Control) -> Result:
        assert list(run_pool(Attempts(behave, tmp_path), feed_of([]), workers=1)) == []
        return report_once(trial, control)

    (outcome,) = run_serial(Attempts(train, tmp_path), feed_of(plan(FINE)))
    assert outcome.error is None


# ---------------------------------------------------------------- processes


def test_workers_are_other_processes(tmp_path):
    outcomes = list(run_pool(Attempts(name_process, tmp_path), feed_of(plan(*range(4))), workers=2))
    workers = {outcome.result.train_images for outcome in outcomes}
    assert len(outcomes) == 4 and 1 <= len(workers) <= 2 and os.getpid() not in workers


def test_a_worker_that_dies_fails_its_trial_alone(tmp_path):
    trials = plan(EXITS, FINE, DIES, SLOW, SIGNALLED, 50, 51)
    outcomes = by_seed(run_pool(Attempts(behave, tmp_path), feed_of(trials), workers=2))
    errors = {
        EXITS: "the worker process ended with exit code 7",
        DIES: "the worker process was killed by SIGKILL; out of memory?",
        SIGNALLED: "the worker process was killed by signal 40",
    }
    for trial in trials:
        if trial.seed in errors:
            assert outcomes.pop(trial.seed) == Outcome(trial, error=errors[trial.seed], kind=KILLED)
    assert outcomes == {seed: Outcome(*plan(seed), result_of(seed / 100)) for seed in (FINE, SLOW, 50, 51)}
    assert no_progress(tmp_path)


def test_progress_of_a_worker_that_died_vanishes_at_once(tmp_path):
    """Not at the sweep's end: the other trial runs on while nothing is left of the one that died."""
    go, trials = tmp_path / "go", plan(FINE, DIES)
    outcomes = run_pool(Attempts(partial(report_then_die, go), tmp_path), feed_of(trials), workers=2)
    died = next(outcomes)
    assert died.trial.seed == DIES and died.status == "failed"
    assert wait_until(lambda: list(read_progress(tmp_path, by_id(trials))) == [trials[0]])
    go.touch()
    assert [outcome.result.score("val", "top1") for outcome in outcomes] == [1.0]


def test_a_worker_killed_while_it_writes_its_progress_leaves_nothing(tmp_path):
    (outcome,) = run_pool(Attempts(partial(die_writing, tmp_path), tmp_path), feed_of(plan(DIES)), workers=1)
    assert outcome.status == "failed"
    assert no_progress(tmp_path)


def test_sys_exit_in_a_trial_fails_it_alone(tmp_path):
    outcomes = run_pool(Attempts(exit_politely, tmp_path), feed_of(plan(EXITS, FINE)), workers=1)
    assert [(outcome.trial.seed, outcome.error) for outcome in outcomes] == [(EXITS, "SystemExit: 3"), (FINE, None)]


def test_progress_can_be_watched_while_a_pool_runs(tmp_path):
    go, seen, trials = tmp_path / "go", [], plan(FINE, SLOW)

    def tick() -> None:
        seen.append(read_progress(tmp_path, by_id(trials)))
        if len(seen[-1]) == 2:
            go.touch()

    outcomes = run_pool(Attempts(partial(report_and_wait, go), tmp_path), feed_of(trials, tick=tick), workers=2)
    assert [outcome.result.score("val", "top1") for outcome in outcomes] == [1.0, 1.0]
    watched = next(progress for progress in seen if len(progress) == 2)
    assert watched == dict.fromkeys(trials, {"step": 1, "steps": 2, "loss": 0.5, "images_per_second": 10.0})
    assert no_progress(tmp_path)


@pytest.mark.parametrize("end", ["close", "exception"])
def test_ending_early_ends_the_workers(tmp_path, end):
    trials = plan(FINE, SLOW, 50, 51)
    outcomes = run_pool(Attempts(partial(sleep_if_slow, tmp_path), tmp_path), feed_of(trials), workers=2)
    assert next(outcomes).trial.seed == FINE
    assert wait_until(lambda: len(read_progress(tmp_path, by_id(trials))) == 2)  # both workers sleep now
    workers = processes(tmp_path)
    assert all(is_running(pid) for pid in workers) and len(workers) == 2
    start = time.monotonic()
    if end == "close":
        outcomes.close()
    else:
        with pytest.raises(KeyboardInterrupt):
            outcomes.throw(KeyboardInterrupt)
    assert time.monotonic() - start < PROMPT
    assert not any(is_running(pid) for pid in workers)
    assert no_progress(tmp_path)


def test_an_error_in_tick_ends_the_workers(tmp_path):
    def tick() -> None:
        if begun(tmp_path) == 2:
            raise RuntimeError("the display broke")

    feed = feed_of(plan(SLOW, 50), tick=tick)
    with pytest.raises(RuntimeError, match="the display broke"):
        list(run_pool(Attempts(partial(sleep_if_slow, tmp_path), tmp_path), feed, workers=2))
    assert wait_until(lambda: not any(is_running(pid) for pid in processes(tmp_path)))


# ---------------------------------------------------------------- limits


@pytest.mark.slow
@pytest.mark.parametrize("how", ["large blocks", "small objects", "shared memory"])
def test_a_trial_that_takes_too_much_memory_fails_alone(tmp_path, how):
    trials, limits = plan(FINE, SLOW, 50), Limits(memory_bytes=LIMIT_MIB << 20)
    outcomes = by_seed(run_pool(Attempts(partial(grow, how), tmp_path), feed_of(trials), 1, limits))
    assert (outcomes[SLOW].kind, outcomes[SLOW].status) == (OUT_OF_MEMORY, "failed")
    if how == "shared memory":
        found = re.fullmatch(rf"used (.+) MiB, {LIMIT_MIB} MiB are allowed", outcomes[SLOW].error)
        assert LIMIT_MIB < float(found[1].replace(",", "")) < 2 * LIMIT_MIB
    assert [outcomes[seed].result for seed in (FINE, 50)] == [result_of(0.5)] * 2
    assert no_progress(tmp_path)


@pytest.mark.slow
def test_a_trial_that_takes_too_long_fails_alone(tmp_path):
    trials = plan(SLOW, FINE)
    run = run_pool(Attempts(partial(sleep_if_slow, tmp_path), tmp_path), feed_of(trials), 1, Limits(seconds=2.5))
    slow, fine = run
    assert slow == Outcome(trials[0], error="took more than the 2 s allowed", kind=TIMED_OUT)
    assert fine == Outcome(trials[1], result_of(0.5))
    assert no_progress(tmp_path)


@pytest.mark.slow
def test_what_is_no_part_of_a_trial_does_not_count_against_its_limit(tmp_path):
    trials = plan(FINE, SLOW)
    run = run_pool(Attempts(partial(wait_aside, 0.8), tmp_path), feed_of(trials), 1, Limits(seconds=0.4))
    assert [(outcome.trial.seed, outcome.kind) for outcome in run] == [(FINE, "done"), (SLOW, TIMED_OUT)]


def test_a_trial_that_ends_at_its_limit_harms_not_the_next(tmp_path, monkeypatch):
    """The first ends between two looks at the clock, the second is quick."""
    monkeypatch.setattr(pool, "WAIT_SECONDS", 5)
    run = run_pool(Attempts(behave, tmp_path), feed_of(plan(50, 51, 52)), 1, Limits(seconds=0.02))
    assert [(outcome.trial.seed, outcome.error) for outcome in run] == [(50, None), (51, None), (52, None)]


# ---------------------------------------------------------------- stopping


def test_a_stop_request_reaches_a_worker_that_still_starts(tmp_path):
    (trial,), taken = plan(10), []

    def take() -> Trial:
        taken.append(trial)
        return trial

    feed = Feed(take, stop=lambda: len(taken) > 0)
    (outcome,) = run_pool(Attempts(partial(train_until_stopped, tmp_path), tmp_path), feed, workers=2)
    assert outcome.kind == INTERRUPTED and taken == [trial]


def test_a_trial_that_does_not_stop_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "STOP_SECONDS", 0.2)
    feed = feed_of(plan(SLOW), stop=lambda: begun(tmp_path) == 1)
    (outcome,) = run_pool(Attempts(partial(sleep_if_slow, tmp_path), tmp_path), feed, workers=1)
    assert (outcome.kind, outcome.error) == (INTERRUPTED, "interrupted; it did not stop by itself")
    assert no_progress(tmp_path)


# A sweep as the command line runs it; prints each outcome, and how it ended.
SWEEP = """
import sys
from functools import partial
from pathlib import Path
from mnv2_sweep.sweeps.attempt import Attempts
from mnv2_sweep.sweeps.pool import run_pool
from mnv2_sweep.base.signals import StopRequest
from mnv2_sweep.sweeps import pool
from tests import trial_samples

pool.IMPORTED.clear()  # no trial here needs torch
if __name__ == "__main__":
    folder, function = Path(sys.argv[1]), getattr(trial_samples, sys.argv[2])
    attempts = Attempts(partial(function, folder), folder)
    with StopRequest(lambda: print("stopping", flush=True)) as stop:
        try:
            feed = trial_samples.feed_of(trial_samples.plan(10, 11, 12), stop=stop)
            for outcome in run_pool(attempts, feed, workers=2):
                print(outcome.trial.seed, outcome.kind, flush=True)
            print("ended", flush=True)
        except KeyboardInterrupt:
            print("at once", flush=True)
"""


@contextmanager
def sweep(folder: Path, function: str):
    """Two of three trials are running; the sweep is a process group of its own, as a shell makes one."""
    command = [sys.executable, "-c", SWEEP, str(folder), function]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process = subprocess.Popen(command, env=environment, start_new_session=True, **pipes)
    try:
        assert wait_until(lambda: begun(folder) == 2)
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM", "a closed terminal"])
def test_asked_once_the_running_trials_stop_and_the_prompt_is_back(tmp_path, how):
    with sweep(tmp_path, "train_until_stopped") as process:
        start = time.monotonic()
        if how == "Ctrl-C":
            os.killpg(process.pid, signal.SIGINT)  # a terminal tells the workers, too
        elif how == "SIGTERM":
            process.terminate()
        else:
            os.killpg(process.pid, signal.SIGHUP)
        out, err = process.communicate(timeout=PROMPT)
        assert time.monotonic() - start < PROMPT
    first, *ended, last = out.splitlines()
    assert (first, sorted(ended), last) == ("stopping", ["10 interrupted", "11 interrupted"], "ended")
    assert (err, process.returncode) == ("", 0)
    assert not any(is_running(pid) for pid in processes(tmp_path)) and no_progress(tmp_path)


def test_asked_twice_it_ends_at_once(tmp_path):
    with sweep(tmp_path, "sleep_if_slow") as process:
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout.readline() == "stopping\n"
        time.sleep(0.1)
        assert process.poll() is None and all(is_running(pid) for pid in processes(tmp_path))
        start = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=PROMPT)
        assert time.monotonic() - start < PROMPT
    assert (out, err, process.returncode) == ("at once\n", "", 0)
    assert not any(is_running(pid) for pid in processes(tmp_path)) and no_progress(tmp_path)


def test_a_worker_that_somebody_else_tells_to_end_is_replaced(tmp_path):
    """As by a watcher of the machine's memory; its trial ended with a checkpoint, so that it can be tried again."""
    told = set()

    def tick() -> None:
        if not told and processes(tmp_path):
            told.update(processes(tmp_path))
            os.kill(*told, signal.SIGTERM)

    feed = feed_of(plan(SLOW, FINE), tick=tick)
    first, second = run_pool(Attempts(partial(stop_if_told, tmp_path), tmp_path), feed, workers=1)
    assert (first.kind, first.error) == (KILLED, "the worker process was told to end (SIGTERM)")
    assert second.status == "done" and len(processes(tmp_path)) == 2 and no_progress(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("function", ["beat", "train_until_stopped"])
def test_workers_of_a_killed_parent_end(tmp_path, function):
    with sweep(tmp_path, function) as process:
        workers = processes(tmp_path)
        process.kill()
        process.wait()
        assert wait_until(lambda: not any(is_running(pid) for pid in workers))
    assert no_progress(tmp_path)


# ---------------------------------------------------------------- GPUs


@pytest.mark.slow
def test_each_worker_sees_its_own_gpu(tmp_path):
    run = run_pool(
        Attempts(partial(name_gpu, tmp_path, 3), tmp_path), feed_of(plan(10, 11, 12)), 3, gpus=("5", "7", "7")
    )
    assert sorted(outcome.result.train_images for outcome in run) == [5, 7, 7]


@pytest.mark.slow
def test_a_worker_in_the_place_of_a_dead_one_gets_its_gpu(tmp_path):
    """The first holds GPU 5 until the third has begun, where the second died."""
    trials = plan(10, DIES, 12)
    outcomes = by_seed(
        run_pool(Attempts(partial(name_gpu, tmp_path, 3), tmp_path), feed_of(trials), 2, gpus=("5", "7"))
    )
    assert {seed: outcome.result and outcome.result.train_images for seed, outcome in outcomes.items()} == {
        10: 5,
        DIES: None,
        12: 7,
    }


@pytest.mark.slow
@pytest.mark.parametrize("gpus, processes", [(("5",), 2), ((), 1)], ids=["GPU", "CPU"])
def test_after_an_error_on_a_gpu_the_next_trial_gets_a_fresh_process(tmp_path, gpus, processes):
    attempts = Attempts(partial(note_then_behave, tmp_path), tmp_path)
    first, second = run_pool(attempts, feed_of(plan(RAISES, FINE)), 1, gpus=gpus)
    assert (first.kind, second.status) == ("exception", "done")
    assert len({path.read_text() for path in tmp_path.glob("pid-*")}) == processes


def test_the_log_of_a_trial_whose_process_died_says_why(tmp_path):
    (trial,) = plan(DIES)
    (outcome,) = run_pool(Attempts(behave, tmp_path), feed_of([trial]), 1)
    assert f"killed: {outcome.error}" in log_path(tmp_path, trial).read_text().splitlines()[-1]


ONE_TRIAL = """
import sys
from functools import partial
from pathlib import Path
from mnv2_sweep.sweeps.attempt import Attempts
from mnv2_sweep.sweeps.pool import run_pool
from mnv2_sweep.sweeps import pool
from tests.trial_samples import name_gpu, plan, feed_of

pool.IMPORTED.clear()
if __name__ == "__main__":
    folder = Path(sys.argv[1])
    (outcome,) = run_pool(Attempts(partial(name_gpu, folder, 1), folder), feed_of(plan(10)), workers=1)
    print(outcome.result.train_images)
"""


def test_what_workers_import_beforehand_is_there():
    """The server that they are forked from passes over a name that is wrong, and each worker then takes seconds."""
    assert pool.IMPORTED and all(find_spec(name) for name in pool.IMPORTED)


def test_without_gpus_the_environment_is_left_as_it_is(tmp_path):
    """In a process of its own: workers have the environment in which the first of them began."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "CUDA_VISIBLE_DEVICES": "3"}
    command = [sys.executable, "-c", ONE_TRIAL, str(tmp_path)]
    assert subprocess.run(command, capture_output=True, text=True, env=environment).stdout == "3\n"
