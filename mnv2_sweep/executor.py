"""Run a function over trials and yield an Outcome for each, in the order in which they end.

`run_serial` for tests and debugging; `run_pool` for work: one process a worker, single-threaded. A trial that
raises, or whose process dies, becomes a failed Outcome and never stops the others. Running trials leave their
progress as small JSON files in `running/`, so that any process can watch and a killed worker can hold no lock.
"""

import json
import multiprocessing
import multiprocessing.context
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import suppress
from pathlib import Path

from pebble import ProcessExpired, ProcessPool

from mnv2_sweep.store import Outcome
from mnv2_sweep.trial import Result, Trial, trial_id

Report = Callable[[int, int, float, float], None]
TrialFunction = Callable[[Trial, Report], Result]

PROGRESS_SECONDS = 0.5


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
    pool = ProcessPool(workers, initializer=_prepare_worker, context=_QuietContext())
    try:
        waiting = {pool.schedule(_attempt, args=(function, trial, running)): trial for trial in trials}
        while waiting:
            finished, _ = wait(waiting, timeout=PROGRESS_SECONDS, return_when=FIRST_COMPLETED)
            for future in finished:
                trial = waiting.pop(future)
                try:
                    yield future.result()
                except ProcessExpired as error:
                    progress_path(running, trial).unlink(missing_ok=True)
                    yield Outcome(trial, error=f"the worker process died (exit code {error.exitcode}); out of memory?")
            tick()
    finally:
        pool.stop()
        pool.join()
        for trial in trials:
            progress_path(running, trial).unlink(missing_ok=True)
        with suppress(OSError):
            running.rmdir()  # unless another sweep still runs here


def progress_path(running: Path, trial: Trial) -> Path:
    """Where a running trial writes {"step", "steps", "loss", "images_per_second"}."""
    return running / f"{trial_id(trial)}.json"


def read_progress(running: Path, trials: Sequence[Trial]) -> dict[Trial, dict]:
    """Progress of the trials that are running now."""
    progress = {}
    for trial in trials:
        try:
            progress[trial] = json.loads(progress_path(running, trial).read_text())
        except FileNotFoundError:
            continue
    return progress


def _attempt(function: TrialFunction, trial: Trial, running: Path) -> Outcome:
    path, parent, last = progress_path(running, trial), os.getppid(), 0.0
    running.mkdir(parents=True, exist_ok=True)

    def report(step: int, steps: int, loss: float, images_per_second: float) -> None:
        nonlocal last
        if os.getppid() != parent:
            os._exit(1)  # the parent was killed: nobody is left to take the result
        if step == steps or time.monotonic() - last >= PROGRESS_SECONDS:
            last = time.monotonic()
            values = {"step": step, "steps": steps, "loss": loss, "images_per_second": images_per_second}
            path.with_suffix(".tmp").write_text(json.dumps(values))
            path.with_suffix(".tmp").replace(path)

    try:
        return Outcome(trial, function(trial, report))
    except Exception as error:  # whatever a trial raises is its result
        return Outcome(trial, error=f"{type(error).__name__}: {error}")
    finally:
        path.unlink(missing_ok=True)


def _prepare_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends the workers


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
