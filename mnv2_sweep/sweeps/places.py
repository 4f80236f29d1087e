"""Where a sweep keeps what: results/<sweep>/ and its folders."""

import os
import shutil
import uuid
from contextlib import suppress
from pathlib import Path

from mnv2_sweep.training.trial import Trial, shared_id, trial_id

EXAMPLE = "example"  # the one committed sweep, another machine's: a person's own come first and do not build on it
RUNNING, CHECKPOINTS, LOGS, EVENTS = "running", "checkpoints", "logs", "events"
PASSPORT = "passport.json"  # how far to trust the sweep's order
SHARED = "shared"  # weights that whole families of networks are slices of
STACKED = "stacked"  # results of seeds that were trained as one, until each one's trial has taken its own


def progress_path(folder: Path, trial: Trial) -> Path:
    """How far a running trial is, as JSON; gone when it ends."""
    return folder / RUNNING / f"{trial_id(trial)}.json"


def checkpoint_path(folder: Path, trial: Trial) -> Path:
    """The state of an unfinished trial; gone when it is finished."""
    return folder / CHECKPOINTS / f"{trial_id(trial)}.pt"


def log_path(folder: Path, trial: Trial) -> Path:
    """What happened in a trial, attempt after attempt."""
    return folder / LOGS / f"{trial_id(trial)}.log"


def events_path(folder: Path, trial: Trial) -> Path:
    """A trial's TensorBoard events."""
    return folder / EVENTS / trial_id(trial)


def weights_path(folder: Path, trial: Trial) -> Path:
    """The weights that the trial is a slice of; they stay."""
    return folder / SHARED / f"{shared_id(trial)}.pt"


def stack_path(folder: Path, trial: Trial) -> Path:
    """What came of a trial that was trained as one with other seeds, until it is recorded."""
    return folder / STACKED / f"{trial_id(trial)}.pt"


def link_file(source: Path, path: Path) -> None:
    """The same file under another path too, where none is yet; a copy where a link can't be. Files are replaced and
    never changed, so neither feels the other. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        try:
            os.link(source, unfinished)
        except OSError:
            shutil.copyfile(source, unfinished)
        os.replace(unfinished, path)
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """What those who were killed while they wrote for others have left; only while nobody writes some."""
    for name in (SHARED, STACKED):
        for left in (folder / name).glob("*.tmp"):
            with suppress(OSError):
                left.unlink()


def remove_empty(folder: Path) -> None:
    """The folders of what is gone when trials end, unless another run still has something there."""
    for name in (RUNNING, CHECKPOINTS, STACKED):
        with suppress(OSError):
            (folder / name).rmdir()
