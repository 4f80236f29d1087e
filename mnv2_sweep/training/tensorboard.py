"""Curve points -> TensorBoard events, against training images. Needs the extra dependency `tensorboard`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from mnv2_sweep.nets.arch import arch_label
from mnv2_sweep.training.control import Control
from mnv2_sweep.trials.trial import CurvePoint, Trial

NO_SCALARS = ("epoch", "images")


def _nowhere(line: str) -> None:
    pass


@contextmanager
def event_points(
    folder: Path, trial: Trial, log: Callable[[str], None] = _nowhere
) -> Iterator[Callable[[CurvePoint], None]]:
    """Yield what is to be called with each point of the trial's curve; the point is on disk when it returns.

    A disk that refuses the events gets one line in the log; the trial then goes on without them.
    """
    events = _Events(folder, trial, log)
    try:
        yield events.add
    finally:
        events.close()


@contextmanager
def watch_points(folder: Path, trial: Trial, control: Control) -> Iterator[Control]:
    """Yield the control, with the trial's points going to events in the folder."""
    with event_points(folder, trial, control.log) as point:
        yield replace(control, point=point)


class _Events:
    """The events file of one attempt, made with its first point."""

    def __init__(self, folder: Path, trial: Trial, log: Callable[[str], None]):
        self.folder, self.trial, self.log = folder, trial, log
        self.writer: SummaryWriter | None = None
        self.refused = False

    def add(self, point: CurvePoint) -> None:
        if self.refused:  # TensorBoard's writing thread has ended
            return
        try:
            if self.writer is None:
                # An attempt that was killed may have got further than the checkpoint that this one goes on from:
                # what is in its file from here on is hidden.
                self.writer = SummaryWriter(str(self.folder), purge_step=point.images)
                self.writer.add_text("trial", describe_trial(self.trial), point.images)
            for name, value in point.flat().items():
                if name not in NO_SCALARS and value is not None:
                    self.writer.add_scalar(name, value, point.images)
            self.writer.flush()
        except OSError as error:
            self._refuse(error)

    def close(self) -> None:
        try:
            if self.writer is not None:
                self.writer.close()
        except OSError as error:
            self._refuse(error)

    def _refuse(self, error: OSError) -> None:
        if not self.refused:
            self.refused = True
            self.log(f"no TensorBoard events from here on: {error.strerror or error}")


def describe_trial(trial: Trial) -> str:
    return f"{arch_label(trial.arch)}; recipe {trial.recipe.name}; data {trial.data.name}; seed {trial.seed}"
