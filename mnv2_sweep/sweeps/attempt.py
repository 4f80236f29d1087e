"""One attempt at one trial -> an Outcome, whatever happens inside; progress and a log are left beside it."""

import json
import math
import os
import re
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from mnv2_sweep.base.files import remove_files, write_whole
from mnv2_sweep.nets.arch import arch_label
from mnv2_sweep.record.folders import RUNNING, checkpoint_path, events_path, log_path, progress_path
from mnv2_sweep.record.store import DIVERGED, EXCEPTION, INTERRUPTED, OUT_OF_MEMORY, Outcome
from mnv2_sweep.training.control import CHECKPOINT_SECONDS, Control, Interrupted
from mnv2_sweep.trials.trial import Result, Trial

TrialFunction = Callable[[Trial, Control], Result]
Watch = Callable[[Path, Trial, Control], AbstractContextManager[Control]]

# torch says so with a RuntimeError on the CPU and from CUDA's libraries; other errors speak of memory as well.
MEMORY_ENDED = re.compile(r"out of memory|allocate memory|not enough memory|ALLOC_FAILED|bad_alloc")
PROGRESS_SECONDS = 0.5
PROGRESS_KEYS = ("step", "steps", "loss", "images_per_second")


@dataclass(frozen=True, slots=True)
class Attempts:
    """How trials are tried: the function, the sweep's folder, how often a checkpoint is written, who else watches.

    `watch(folder for events, trial, control)` gives a context with the control to use; it must be picklable.
    """

    function: TrialFunction
    folder: Path
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    watch: Watch | None = None

    def run(
        self,
        trial: Trial,
        should_stop: Callable[[], bool],
        is_orphan: Callable[[], bool] = bool,
        count_time: Callable[[bool], None] = lambda on: None,
    ) -> Outcome:
        """Try the trial once. A worker that `is_orphan` after a step ends itself: nobody is left to take the result."""
        progress = _Progress(progress_path(self.folder, trial), is_orphan)
        with ExitStack() as stack:
            stack.callback(progress.remove)
            log = stack.enter_context(_Log(log_path(self.folder, trial)))
            log.write(f"attempt at {arch_label(trial.arch)}, seed {trial.seed}, process {os.getpid()}")
            control = Control(
                report=progress.report,
                should_stop=should_stop,
                log=log.write,
                count_time=count_time,
                checkpoint=checkpoint_path(self.folder, trial),
                checkpoint_seconds=self.checkpoint_seconds,
            )
            try:
                if self.watch is not None:
                    control = stack.enter_context(self.watch(events_path(self.folder, trial), trial, control))
                outcome = _check_result(trial, self.function(trial, control))
                log.write(outcome.kind)
            except (Exception, SystemExit) as error:
                outcome = _describe_error(trial, error)
                log.write(f"{outcome.kind}: {outcome.error}")
                if outcome.kind != INTERRUPTED:
                    log.write(traceback.format_exc().rstrip())
            return outcome


def _check_result(trial: Trial, result: Result) -> Outcome:
    """Return a done Outcome, unless the network gives no numbers: its weights may be finite and its logits not."""
    losses = [result.train_loss, *(scores["loss"] for scores in result.scores.values())]
    if all(math.isfinite(loss) for loss in losses):
        return Outcome(trial, result)
    return Outcome(trial, error=f"the losses of the trained network are {losses}", kind=DIVERGED)


def _describe_error(trial: Trial, error: BaseException) -> Outcome:
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, Interrupted):
        return Outcome(trial, error="interrupted; goes on from its checkpoint", kind=INTERRUPTED)
    if isinstance(error, FloatingPointError):
        return Outcome(trial, error=text, kind=DIVERGED)
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and MEMORY_ENDED.search(str(error))):
        return Outcome(trial, error=text, kind=OUT_OF_MEMORY)
    return Outcome(trial, error=text, kind=EXCEPTION)


class _Progress:
    """The trial's progress file, written about twice a second."""

    def __init__(self, path: Path, is_orphan: Callable[[], bool]):
        self.path, self.is_orphan, self.last = path, is_orphan, 0.0

    def report(self, step: int, steps: int, loss: float, images_per_second: float) -> None:
        if self.is_orphan():
            self.remove()
            os._exit(1)
        if step == steps or time.monotonic() - self.last >= PROGRESS_SECONDS:
            self.last = time.monotonic()
            values = dict(zip(PROGRESS_KEYS, (step, steps, loss, images_per_second), strict=True))
            write_progress(self.path, values)

    def remove(self) -> None:
        remove_progress(self.path)


def write_progress(path: Path, values: Mapping) -> None:
    """Replace the file, for whoever watches the folder; what the disk refuses is lost, as progress can wait."""
    with suppress(OSError):
        write_whole(path, json.dumps(values), sync=False)


def read_progress(folder: Path, trials: Mapping[str, Trial]) -> dict[Trial, dict]:
    """Read the progress of those of the trials (by id) that are running now; what can't be read is left out."""
    progress = {}
    for path in sorted((folder / RUNNING).glob("*.json")):
        if path.stem in trials:
            with suppress(OSError, ValueError, KeyError, TypeError):  # it just ended, or a lost machine tore the file
                state = json.loads(path.read_text())
                progress[trials[path.stem]] = {key: state[key] for key in PROGRESS_KEYS}
    return progress


def remove_progress(path: Path) -> None:
    """Remove the file and what killed writers of it left, <id>.<process>.tmp of earlier versions too."""
    remove_files(path.parent.glob(f"{path.stem}.*"))


def add_to_log(folder: Path, trial: Trial, text: str) -> None:
    """Add to the trial's log what only the parent knows: why its process died."""
    with _Log(log_path(folder, trial)) as log:
        log.write(text)


class _Log:
    """Lines with their time, appended; what the disk refuses is lost and harms nothing."""

    def __init__(self, path: Path):
        self.path, self.file = path, None

    def __enter__(self) -> "_Log":
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.file = self.path.open("a", encoding="utf-8", errors="backslashreplace")
        return self

    def write(self, text: str) -> None:
        if self.file is not None:
            with suppress(OSError):
                self.file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
                self.file.flush()

    def __exit__(self, *error: object) -> None:
        if self.file is not None:
            with suppress(OSError):
                self.file.close()
