"""Trials -> Outcomes, in the order in which they end: one after the other in this process, or in a pool of worker
processes.

`run_serial` is for tests and debugging, `run_pool` for real sweeps: one process a worker, single-threaded. A trial that
raises, grows too large, takes too long, or whose process dies, becomes a failed Outcome and never stops the others.
Asked to stop, the running trials write their checkpoints and end as interrupted Outcomes.
"""

import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import Pipe, connection, parent_process
from multiprocessing.connection import Connection

import psutil

from mnv2_sweep.base.heap import keep_heap, trim_heap
from mnv2_sweep.base.processes import SERVER_GONE, ChildProcess, begin_process
from mnv2_sweep.base.signals import hold_interrupts
from mnv2_sweep.base.text import mebibytes
from mnv2_sweep.record.folders import progress_path
from mnv2_sweep.record.store import INTERRUPTED, KILLED, OUT_OF_MEMORY, TIMED_OUT, Outcome
from mnv2_sweep.sweeps.attempt import Attempts, add_to_log, remove_progress
from mnv2_sweep.trials.trial import Trial
from mnv2_sweep.trials.ways import WAYS

# What every worker comes to need: training, and what torch's optimizers import when they are first used.
IMPORTED = [*(way.module for way in WAYS.values()), "torch._dynamo"]
WAIT_SECONDS = 0.2
IDLE_SECONDS = 1.0  # between two checks of what other runs have left
DISMISS_SECONDS = 5
STOP_SECONDS = 120  # for a running trial to write its checkpoint
STOP, BEGAN, ASIDE = "stop", "began", "aside"


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one trial: resident bytes of its process (None: not watched), seconds of one attempt (None: any),
    without those that are no part of the trial (`Control.count_time`)."""

    memory_bytes: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Feed:
    """What feeds an executor with trials: `take` gives the next one or None, `others` how many may still come, `stop`
    says whether to end early, `tick` is called a few times a second. With `pulse`, None is yielded among the outcomes
    as often, so that whoever iterates can look around."""

    take: Callable[[], Trial | None]
    others: Callable[[], int] = int
    stop: Callable[[], bool] = bool
    tick: Callable[[], None] = lambda: None
    pulse: bool = False


def run_serial(attempts: Attempts, feed: Feed) -> Iterator[Outcome | None]:
    """Run trials one after the other in this process."""
    while not feed.stop():
        trial = feed.take()
        if trial is not None:
            yield attempts.run(trial, feed.stop)
        elif feed.others():
            time.sleep(IDLE_SECONDS)
        else:
            return
        feed.tick()
        if feed.pulse:
            yield None


def run_pool(
    attempts: Attempts, feed: Feed, workers: int, limits: Limits = Limits(), gpus: Sequence[str] = ()
) -> Iterator[Outcome | None]:
    """Run trials in `workers` processes; the attempts' function must be picklable. With `gpus`, worker i sees only the
    i-th.

    Closing the iterator, or an exception in the caller (Ctrl-C pressed twice), ends the workers at once.
    """
    team = _Team(attempts, feed, workers, limits, gpus)
    try:
        while team.fill():
            yield from team.collect()
            feed.tick()
            if feed.pulse:
                yield None
    finally:
        team.end()


class _Team:
    """The workers of one run: free places are filled, what ends is handed on."""

    def __init__(self, attempts: Attempts, feed: Feed, workers: int, limits: Limits, gpus: Sequence[str]):
        self.attempts, self.feed, self.limits = attempts, feed, limits
        self.gpus = [*gpus] or [None] * workers  # of each place
        self.workers: list[_Worker] = []
        self.idle_until = 0.0  # nothing to take before this
        self.asked = 0.0  # when the workers were asked to stop

    def fill(self) -> bool:
        """Give trials to free places; returns False when nothing runs and nothing will come."""
        if self.feed.stop() and not self.asked:
            self.asked = time.monotonic()
            for worker in self.workers:
                worker.ask_to_stop()
        while len(self.workers) < len(self.gpus) and time.monotonic() >= self.idle_until and not self.feed.stop():
            trial = self.feed.take()
            if trial is None:
                self.idle_until = time.monotonic() + IDLE_SECONDS
            else:
                place = min(set(range(len(self.gpus))) - {worker.place for worker in self.workers})
                self.workers.append(_Worker(self.attempts, self.limits, place, self.gpus[place]))
                self.workers[-1].give(trial)
        return bool(self.workers) or not (self.asked or not self.feed.others())

    def collect(self) -> Iterator[Outcome]:
        """Wait a moment, and yield what has ended."""
        if not self.workers:
            time.sleep(WAIT_SECONDS)
            return
        connection.wait([worker.pipe for worker in self.workers], timeout=WAIT_SECONDS)
        for worker in list(self.workers):
            worker.watch(self.asked)
            outcome = worker.take() if worker.pipe.poll() else None
            if outcome is not None:
                told = outcome.kind == INTERRUPTED and not (self.asked or self.feed.stop())
                if told:  # by somebody else; as if it had been killed, but for its checkpoint
                    outcome = replace(outcome, kind=KILLED, error="the worker process was told to end (SIGTERM)")
                self._go_on(worker, outcome, told)
                yield outcome

    def _go_on(self, worker: "_Worker", outcome: Outcome, told: bool) -> None:
        # After some errors CUDA answers nothing but errors in that process: the next trial gets a fresh one.
        is_spoilt = told or worker.is_dead or (worker.gpu is not None and outcome.status == "failed")
        trial = None if self.asked or is_spoilt else self.feed.take()
        if trial is None:
            self.workers.remove(worker)
            worker.dismiss()
        else:
            worker.give(trial)

    def end(self) -> None:
        """Kill what still runs."""
        with hold_interrupts():
            for worker in self.workers:
                worker.process.kill()
            for worker in self.workers:
                worker.process.join()
                remove_progress(progress_path(self.attempts.folder, worker.trial))


class _Worker:
    """A process with a pipe of its own. Workers share no queue and no lock, so that one which is killed at any
    moment takes nobody with it (with a pool library's shared lock we saw the others wait for ever)."""

    def __init__(self, attempts: Attempts, limits: Limits, place: int, gpu: str | None):
        self.pipe, theirs = Pipe()
        self.attempts, self.limits, self.place, self.gpu = attempts, limits, place, gpu
        self.process = ChildProcess(_serve, (theirs, attempts, limits, gpu), gpu is not None, IMPORTED)
        self.trial: Trial | None = None
        self.began: float | None = None  # None while the process starts, or does what is no part of the trial
        self.verdict: tuple[str, str] | None = None  # why we killed it
        self.is_dead = False
        theirs.close()  # then the pipe ends when the process does

    def give(self, trial: Trial) -> None:
        self.trial, self.began = trial, None
        with suppress(OSError):  # it died already: `take` will say so
            self.pipe.send(trial)

    def ask_to_stop(self) -> None:
        with suppress(OSError):
            self.pipe.send(STOP)

    def watch(self, asked: float) -> None:
        """End the process if it is over its limits, or has not stopped long after it was asked to."""
        taken, limits = 0.0 if self.began is None else time.monotonic() - self.began, self.limits
        if self.pipe.poll():  # its trial has ended
            return
        if asked and time.monotonic() - asked > STOP_SECONDS:
            self._kill(INTERRUPTED, "interrupted; it did not stop by itself")
        elif limits.seconds is not None and taken > limits.seconds:
            self._kill(TIMED_OUT, f"took more than the {limits.seconds:,.0f} s allowed")
        elif limits.memory_bytes is not None:
            with suppress(psutil.Error):
                used = psutil.Process(self.process.pid).memory_info().rss
                if used > limits.memory_bytes:
                    text = f"used {mebibytes(used)}, {mebibytes(limits.memory_bytes)} are allowed"
                    self._kill(OUT_OF_MEMORY, text)

    def _kill(self, kind: str, text: str) -> None:
        if self.verdict is None:
            self.verdict = (kind, text)
            self.process.kill()

    def take(self) -> Outcome | None:
        """Return what the process sent, or how it died; None where it only said whether its time counts."""
        try:
            outcome = self.pipe.recv()
            if outcome in (BEGAN, ASIDE):
                self.began = time.monotonic() if outcome == BEGAN else None
                return None
            self.is_dead = self.verdict is not None  # killed in the moment in which it ended
            return outcome
        except (EOFError, OSError):
            self.process.join()
            self.is_dead = True
            remove_progress(progress_path(self.attempts.folder, self.trial))
            kind, text = self.verdict or (KILLED, describe_death(self.process.exitcode))
            add_to_log(self.attempts.folder, self.trial, f"{kind}: {text}")
            return Outcome(self.trial, error=text, kind=kind)

    def dismiss(self) -> None:
        """Dismiss the process, for which no more trials come: it ends by itself, or is ended if a thread of a trial
        keeps it."""
        self.pipe.close()
        self.process.join(DISMISS_SECONDS)
        self.process.kill()
        self.process.join()


def describe_death(code: int) -> str:
    if code == SERVER_GONE:
        return "the worker process ended after the one that it was forked from; out of memory?"
    if code >= 0:
        return f"the worker process ended with exit code {code}"
    likely = "; out of memory?" if -code == signal.SIGKILL else ""
    names = {number.value: number.name for number in signal.Signals}  # real-time signals have none
    return f"the worker process was killed by {names.get(-code, f'signal {-code}')}{likely}"


def _serve(pipe: Connection, attempts: Attempts, limits: Limits, gpu: str | None) -> None:
    """Live as a worker process: trials come, outcomes go, until the pipe is closed."""
    parent = parent_process()  # the run
    asked = False

    def ask(number: int, frame: object) -> None:
        nonlocal asked
        asked = True

    begin_process(on_sigterm=ask)
    keep_heap()
    _limit_memory(limits)
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # CUDA looks at it when it is first used

    def should_stop() -> bool:
        nonlocal asked
        try:
            asked = asked or (pipe.poll() and pipe.recv() == STOP)
        except (EOFError, OSError):  # the parent is gone
            asked = True
        return asked

    def count_time(on: bool) -> None:
        with suppress(OSError):  # the parent is gone
            pipe.send(BEGAN if on else ASIDE)

    with suppress(EOFError, OSError):
        while not asked:
            message = pipe.recv()
            if message != STOP:
                pipe.send(BEGAN)
                pipe.send(attempts.run(message, should_stop, lambda: not parent.is_alive(), count_time))
                trim_heap()


def _limit_memory(limits: Limits) -> None:
    """Let an allocation beyond the limit fail with a clear error, where the system can say so (Linux)."""
    if limits.memory_bytes is not None and sys.platform == "linux":
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_DATA, (limits.memory_bytes, resource.RLIM_INFINITY))
