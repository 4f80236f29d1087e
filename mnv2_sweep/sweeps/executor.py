"""Run a function over trials and yield an Outcome for each, in the order in which they end.

`run_serial` for tests and debugging; `run_pool` for work: one process a worker, single-threaded. A trial that
raises, or whose process dies, becomes a failed Outcome and never stops the others. Running trials leave their
progress as small JSON files in `running/`, so that any process can watch and a killed worker can hold no lock.
"""

import json
import multiprocessing.context
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from multiprocessing import connection
from multiprocessing.connection import Connection
from pathlib import Path

from mnv2_sweep.sweeps.interrupts import hold_interrupts
from mnv2_sweep.sweeps.store import Outcome
from mnv2_sweep.training.trial import Result, Trial, trial_id

Report = Callable[[int, int, float, float], None]
TrialFunction = Callable[[Trial, Report], Result]

PROGRESS_SECONDS = 0.5
DISMISS_SECONDS = 5
PROGRESS_KEYS = ("step", "steps", "loss", "images_per_second")


def run_serial(
    function: TrialFunction, trials: Sequence[Trial], running: Path, tick: Callable[[], None]
) -> Iterator[Outcome]:
    """One after the other in this process."""
    for trial in trials:
        yield _attempt(function, trial, running)
        tick()


def run_pool(
    function: TrialFunction, trials: Sequence[Trial], running: Path, tick: Callable[[], None], workers: int
) -> Iterator[Outcome]:
    """In `workers` processes; `function` must be picklable. `tick` is called about twice a second.

    Closing the iterator, or an exception in the caller (Ctrl-C), ends the workers at once.
    """
    waiting, team = deque(trials), []
    for trial in trials:
        _remove_progress(running, trial)  # left by a machine that was lost
    try:
        while waiting or team:
            while waiting and len(team) < workers:
                team.append(_Worker(function, running))
                team[-1].give(waiting.popleft())
            connection.wait([worker.pipe for worker in team], timeout=PROGRESS_SECONDS)
            for worker in [worker for worker in team if worker.pipe.poll()]:
                trial = worker.trial
                outcome = worker.take()
                if outcome is None:
                    team.remove(worker)
                    _remove_progress(running, trial)
                    outcome = Outcome(trial, error=_describe_death(worker.process.exitcode))
                elif waiting:
                    worker.give(waiting.popleft())
                else:
                    team.remove(worker)
                    worker.dismiss()
                yield outcome
            tick()
    finally:
        with hold_interrupts():
            for worker in team:
                worker.process.kill()
            for worker in team:
                worker.process.join()
            for trial in trials:
                _remove_progress(running, trial)
            with suppress(OSError):
                running.rmdir()  # unless another sweep still runs here


def _describe_death(code: int) -> str:
    if code >= 0:
        return f"the worker process ended with exit code {code}"
    likely = "; out of memory?" if -code == signal.SIGKILL else ""
    return f"the worker process was killed by {signal.Signals(-code).name}{likely}"


class _Worker:
    """A process with a pipe of its own. Workers share no queue and no lock, so that one which is killed at any
    moment takes nobody with it (with a pool library's shared lock we saw the others wait for ever)."""

    def __init__(self, function: TrialFunction, running: Path):
        self.pipe, theirs = _CONTEXT.Pipe()
        self.process = _CONTEXT.Process(target=_work, args=(theirs, function, running, os.getpid()), daemon=True)
        self.trial: Trial | None = None
        self.process.start()
        theirs.close()  # then the pipe ends when the process does

    def give(self, trial: Trial) -> None:
        self.trial = trial
        with suppress(OSError):  # it died already: `take` will say so
            self.pipe.send(trial)

    def take(self) -> Outcome | None:
        """What the process sent, or None if it is dead."""
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            return None

    def dismiss(self) -> None:
        """No more trials: the process ends by itself, or is ended if a thread of a trial keeps it."""
        self.pipe.close()
        self.process.join(DISMISS_SECONDS)
        self.process.kill()
        self.process.join()


def _work(pipe: Connection, function: TrialFunction, running: Path, parent: int) -> None:
    """The life of a worker process: trials come, outcomes go, until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends the workers
    with suppress(EOFError, OSError):
        while True:
            pipe.send(_attempt(function, pipe.recv(), running, parent))


def progress_path(running: Path, trial: Trial) -> Path:
    """Where a running trial writes {"step", "steps", "loss", "images_per_second"}."""
    return running / f"{trial_id(trial)}.json"


def read_progress(running: Path, trials: Mapping[str, Trial]) -> dict[Trial, dict]:
    """Progress of those of the trials (by id) that are running now; what can't be read is left out."""
    progress = {}
    for path in sorted(running.glob("*.json")):
        if path.stem in trials:
            with suppress(OSError, ValueError, KeyError, TypeError):  # it just ended, or a lost machine tore the file
                state = json.loads(path.read_text())
                progress[trials[path.stem]] = {key: state[key] for key in PROGRESS_KEYS}
    return progress


def _attempt(function: TrialFunction, trial: Trial, running: Path, parent: int | None = None) -> Outcome:
    """Run one trial; whatever it raises is its outcome. A worker ends itself when its `parent` process is gone."""
    path, last = progress_path(running, trial), 0.0

    def report(step: int, steps: int, loss: float, images_per_second: float) -> None:
        nonlocal last
        if parent is not None and os.getppid() != parent:
            _remove_progress(running, trial)
            os._exit(1)  # nobody is left to take the result
        if step == steps or time.monotonic() - last >= PROGRESS_SECONDS:
            last = time.monotonic()
            values = dict(zip(PROGRESS_KEYS, (step, steps, loss, images_per_second), strict=True))
            with suppress(OSError):  # a full disk, or another sweep that ended took the folder: progress can wait
                running.mkdir(parents=True, exist_ok=True)
                _unfinished(path).write_text(json.dumps(values))
                _unfinished(path).replace(path)

    try:
        return Outcome(trial, function(trial, report))
    except (Exception, SystemExit) as error:
        return Outcome(trial, error=f"{type(error).__name__}: {error}")
    finally:
        _remove_progress(running, trial)


def _unfinished(path: Path) -> Path:
    return path.with_suffix(f".{os.getpid()}.tmp")  # another sweep may write about the same trial


def _remove_progress(running: Path, trial: Trial) -> None:
    for left in running.glob(f"{trial_id(trial)}.*"):
        with suppress(OSError):
            left.unlink()


class _QuietProcess(multiprocessing.context.SpawnProcess):
    """Starts with SIGINT blocked: a Ctrl-C while it still imports would print a traceback of each worker."""

    def start(self) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _QuietContext(multiprocessing.context.SpawnContext):
    """Fresh interpreters, so that a worker inherits neither threads nor CUDA state."""

    Process = _QuietProcess


_CONTEXT = _QuietContext()
