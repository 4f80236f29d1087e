"""One attempt at a trial: how each kind of error is called, and what is left beside the result."""

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from mnv2_sweep.nets.arch import arch_label
from mnv2_sweep.record.folders import checkpoint_path, events_path, log_path, progress_path
from mnv2_sweep.record.store import DIVERGED, EXCEPTION, INTERRUPTED, OUT_OF_MEMORY, Outcome
from mnv2_sweep.sweeps import attempt
from mnv2_sweep.sweeps.attempt import Attempts, read_progress
from mnv2_sweep.training.control import Control, Interrupted
from mnv2_sweep.trials.trial import Result, Trial
from tests.trial_samples import (
    FINE,
    by_id,
    full_disk,
    plan,
    read_own_progress,
    report_once,
    report_then_raise,
    result_of,
)

(TRIAL,) = plan(FINE)


def run(function, folder: Path, should_stop=bool, **settings) -> Outcome:
    return Attempts(function, folder, **settings).run(TRIAL, should_stop)


def raises(error: BaseException):
    def function(trial: Trial, control: Control) -> Result:
        raise error

    return function


def read_log(folder: Path) -> list[str]:
    """The lines of the trial's log, without their times."""
    lines = log_path(folder, TRIAL).read_text().splitlines()
    return [line[20:] if line[:2] == "20" else line for line in lines]


# ---------------------------------------------------------------- how it ended


def test_a_result_is_an_outcome(tmp_path):
    outcome = run(lambda trial, control: result_of(0.25), tmp_path)
    assert outcome == Outcome(TRIAL, result_of(0.25))
    assert (outcome.kind, outcome.status, outcome.error) == ("done", "done", None)


@pytest.mark.parametrize(
    "error, kind",
    [
        (ValueError("too large\nby far"), EXCEPTION),
        (KeyError("gone"), EXCEPTION),
        (OSError(28, "No space left on device"), EXCEPTION),
        (SystemExit(3), EXCEPTION),
        (RecursionError("maximum recursion depth exceeded"), EXCEPTION),
        (FloatingPointError("the training loss became nan"), DIVERGED),
        (MemoryError(), OUT_OF_MEMORY),
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), OUT_OF_MEMORY),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you "
                      "tried to allocate 4096 bytes. Error code 12 (Cannot allocate memory)"), OUT_OF_MEMORY),
        (RuntimeError("CUDA error: out of memory"), OUT_OF_MEMORY),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), OUT_OF_MEMORY),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), EXCEPTION),
        (RuntimeError("required rank 4 tensor to use channels_last memory format"), EXCEPTION),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)  # fmt: skip
def test_each_error_has_its_kind(tmp_path, error, kind):
    outcome = run(raises(error), tmp_path)
    assert (outcome.kind, outcome.status, outcome.result) == (kind, "failed", None)
    assert outcome.error == f"{type(error).__name__}: {error}"


@pytest.mark.parametrize(
    "allocate",
    [lambda: torch.empty(2**50), lambda: np.empty(2**60, np.uint8), lambda: bytearray(2**60)],
    ids=["torch", "numpy", "bytearray"],
)
def test_what_is_said_where_memory_ends(tmp_path, allocate):
    assert run(lambda trial, control: allocate(), tmp_path).kind == OUT_OF_MEMORY


def test_asked_to_stop_it_is_interrupted(tmp_path):
    asked = []

    def train(trial: Trial, control: Control) -> Result:
        while not control.should_stop():
            asked.append(0)
        raise Interrupted("asked to stop")

    outcome = run(train, tmp_path, should_stop=lambda: len(asked) == 3)
    assert (outcome.kind, outcome.status, len(asked)) == (INTERRUPTED, "interrupted", 3)
    assert outcome.error == "interrupted; goes on from its checkpoint"


def test_ctrl_c_is_no_outcome(tmp_path):
    """In a serial run it is the person's second one: everything ends."""

    def train(trial: Trial, control: Control) -> Result:
        control.report(1, 2, 0.5, 10.0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(train, tmp_path)
    assert list((tmp_path / "running").iterdir()) == []


def test_a_trial_is_told_where_its_checkpoint_is(tmp_path):
    given = []
    run(lambda trial, control: given.append(control) or result_of(0.5), tmp_path, checkpoint_seconds=7.0)
    assert given[0].checkpoint == checkpoint_path(tmp_path, TRIAL)
    assert given[0].checkpoint_seconds == 7.0


@contextmanager
def counting_steps(counts: list, folder: Path, trial: Trial, control: Control):
    def report(*state: object) -> None:
        counts[-1] += 1
        control.report(*state)

    counts += [folder, trial, 0]
    yield replace(control, report=report)
    counts.append("left")


def test_somebody_else_may_watch(tmp_path):
    counts = []
    outcome = run(report_once, tmp_path, watch=partial(counting_steps, counts))
    assert outcome == Outcome(TRIAL, result_of(0.5))
    assert counts == [events_path(tmp_path, TRIAL), TRIAL, 1, "left"]


def test_who_watches_is_told_of_the_end_of_a_failed_trial(tmp_path):
    counts = []
    assert run(report_then_raise, tmp_path, watch=partial(counting_steps, counts)).error == "KeyError: 'gone'"
    assert counts[-2:] == [1, "left"]


def test_who_can_t_watch_fails_the_trial(tmp_path):
    def refuse(folder, trial, control):
        raise ImportError("no tensorboard here")

    outcome = run(report_once, tmp_path, watch=refuse)
    assert (outcome.kind, outcome.error) == (EXCEPTION, "ImportError: no tensorboard here")


# ---------------------------------------------------------------- the log


def test_the_log_of_a_good_trial(tmp_path):
    run(lambda trial, control: control.log("step 10: größer") or result_of(0.5), tmp_path)
    begin = f"attempt at {arch_label(TRIAL.arch)}, seed 0, process {os.getpid()}"
    assert read_log(tmp_path) == [begin, "step 10: größer", "done"]


def test_the_log_says_where_an_error_came_from(tmp_path):
    run(report_then_raise, tmp_path)
    begin, error, traceback, *lines = read_log(tmp_path)
    assert (error, traceback) == ("exception: KeyError: 'gone'", "Traceback (most recent call last):")
    assert lines[-1] == "KeyError: 'gone'" and any("in report_then_raise" in line for line in lines)


def test_every_attempt_is_in_the_log(tmp_path):
    for function in (raises(Interrupted("asked to stop")), raises(MemoryError()), report_once):
        run(function, tmp_path)
    lines = read_log(tmp_path)
    assert sum(line.startswith("attempt at ") for line in lines) == 3
    assert lines[1:2] == ["interrupted: interrupted; goes on from its checkpoint"]
    assert lines[2].startswith("attempt at ")  # no traceback of what was asked for
    assert lines[-1] == "done"


def test_the_log_takes_any_text(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    outcome = run(raises(FileNotFoundError(name)), tmp_path)
    assert outcome.error == f"FileNotFoundError: {name}"
    assert r"exception: FileNotFoundError: caf\udce9.png" in read_log(tmp_path)


# ---------------------------------------------------------------- progress


def test_progress_is_there_while_it_runs_and_gone_after(tmp_path):
    outcome = run(partial(read_own_progress, tmp_path), tmp_path)
    assert (outcome.result.score("val", "top1"), outcome.result.train_images, outcome.result.images.get("val", 0)) == (
        1.25,
        4,
        9,
    )
    assert list((tmp_path / "running").iterdir()) == []


def test_a_failed_trial_leaves_no_progress(tmp_path):
    assert run(report_then_raise, tmp_path).error == "KeyError: 'gone'"
    assert list((tmp_path / "running").iterdir()) == []


def test_progress_is_written_at_most_twice_a_second_and_at_the_end(tmp_path, monkeypatch):
    clock, written = [0.0], []
    monkeypatch.setattr(attempt.time, "monotonic", lambda: clock[0])

    def train(trial: Trial, control: Control) -> Result:
        for step in range(1, 9):
            clock[0] = 100 + step * 0.2
            control.report(step, 8, 1.0, 1.0)
            written.append(read_progress(tmp_path, by_id([trial]))[trial]["step"])
        return result_of(0.0)

    assert run(train, tmp_path).error is None
    assert written == [1, 1, 1, 4, 4, 4, 7, 8]


def test_progress_of_trials_that_do_not_run_is_left_out(tmp_path):
    one, other = plan(0, 1)
    state = {"step": 3, "steps": 4, "loss": 0.5, "images_per_second": 9.0}
    progress_path(tmp_path, one).parent.mkdir()
    progress_path(tmp_path, one).write_text('{"step": 3, "steps": 4, "loss": 0.5, "images_per_second": 9.0, "x": 1}')
    assert read_progress(tmp_path, by_id([one, other])) == {one: state}
    assert read_progress(tmp_path, by_id([other])) == {}
    assert read_progress(tmp_path / "nowhere", by_id([one])) == {}


@pytest.mark.parametrize("text", ["", '{"step": 3, "st', "[]", "{}", "7"], ids=str)
def test_torn_progress_is_left_out(tmp_path, text):
    progress_path(tmp_path, TRIAL).parent.mkdir()
    progress_path(tmp_path, TRIAL).write_text(text)
    assert read_progress(tmp_path, by_id([TRIAL])) == {}


# ---------------------------------------------------------------- what must not harm it


def report_and_log(trial: Trial, control: Control) -> Result:
    control.report(1, 2, 0.5, 10.0)
    control.log("half of it is done")
    return result_of(0.5)


def test_a_full_disk_fails_no_trial(tmp_path):
    with full_disk():
        outcome = run(report_and_log, tmp_path)
    assert outcome == Outcome(TRIAL, result_of(0.5))
    assert [path.name for path in (tmp_path / "running").iterdir()] == []


def test_a_disk_that_fills_in_mid_course_fails_no_trial(tmp_path):
    def train(trial: Trial, control: Control) -> Result:
        control.log("there is room")
        with full_disk():
            return report_and_log(trial, control)

    assert run(train, tmp_path) == Outcome(TRIAL, result_of(0.5))
    assert "there is room" in read_log(tmp_path)


def test_folders_that_can_t_be_made_fail_no_trial(tmp_path):
    for name in ("logs", "running"):
        (tmp_path / name).write_text("a file is in the way")
    assert run(report_and_log, tmp_path) == Outcome(TRIAL, result_of(0.5))


@pytest.mark.parametrize("ends", [False, True], ids=["there", "gone"])
def test_a_worker_ends_itself_when_its_parent_is_gone(tmp_path, ends):
    code = (
        "import sys; from pathlib import Path\n"
        "from mnv2_sweep.sweeps.attempt import Attempts\n"
        "from tests.trial_samples import plan, report_once\n"
        f"outcome = Attempts(report_once, Path(sys.argv[1])).run(plan(0)[0], bool, is_orphan=lambda: {ends})\n"
        "print(outcome.status)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": ":".join(sys.path)})
    assert (run.returncode, run.stdout, run.stderr) == ((1, "", "") if ends else (0, "done\n", ""))
    assert not list(tmp_path.glob("running/*"))
