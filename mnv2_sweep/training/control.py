"""What a running trial is given by whoever runs it: where to report, where to keep its state, when to stop."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnv2_sweep.trials.trial import CurvePoint, Result, Trial

CHECKPOINT_SECONDS = 60.0


class Interrupted(Exception):
    """The trial was asked to stop; its state is in its checkpoint, if it has one."""


def _nothing(*values: object) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Control:
    """What a running trial is given by whoever runs it: functions that are called from inside it, and a place for its
    state.

    `report(step, steps, loss, images_per_second)` after every step, with the loss now and then; it must be cheap.
    `should_stop()` is asked after every step and every evaluated batch: once true, the trial writes its checkpoint
    and raises Interrupted. `point` gets each point of the curve, `log` lines for the trial's log file.
    `keep(trial, model, result)` gets each trained network (a torch module) that has been measured, and leaves it as it
    is; it raises Interrupted when asked to stop. `count_time(False)` says that what follows is no part of the trial
    itself, so that no limit counts its time; `count_time(True)` that the trial begins. `checkpoint` is where the state
    is kept every `checkpoint_seconds`, whole or not at all, and found by the next attempt; None keeps none.
    """

    report: Callable[[int, int, float, float], None] = _nothing
    should_stop: Callable[[], bool] = bool
    point: Callable[[CurvePoint], None] = _nothing
    log: Callable[[str], None] = _nothing
    keep: Callable[[Trial, Any, Result], None] = _nothing
    count_time: Callable[[bool], None] = _nothing
    checkpoint: Path | None = None
    checkpoint_seconds: float = CHECKPOINT_SECONDS
