"""A sweep's folder -> how it stands, without disturbing it: done, running, failed and why, how long it may take.

Only reads. What runs is known by its claim or its progress file; the time left follows the measured seconds of the
finished trials, in proportion to the MAdds and images of those that are left.
"""

import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mnv2_sweep.base.text import count_noun, duration, harmless
from mnv2_sweep.record.claims import read_claims
from mnv2_sweep.record.folders import log_path
from mnv2_sweep.record.store import Fate, find_trials, read_fates, read_planned, scan_outcomes
from mnv2_sweep.sweeps.attempt import read_progress
from mnv2_sweep.sweeps.schedule import read_command, trained_madds
from mnv2_sweep.trials.trial import Trial, trial_id, trial_label

MOST_MEASURED = 500  # results that the time left goes by


@dataclass(frozen=True, slots=True)
class Running:
    """A trial that somebody works on; the last four are None until it has reported."""

    trial: str
    owner: str
    step: int | None = None
    steps: int | None = None
    loss: float | None = None
    images_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """A trial that failed: how, how often it was tried, the first line of its error, its log where there is one."""

    trial: str
    kind: str
    attempts: int
    error: str
    log: str


@dataclass(frozen=True, slots=True)
class Status:
    """How a sweep stands. `planned` counts all trials of the sweep; `waiting` those nobody works on and that have no
    outcome yet, and interrupted ones among them. `seconds_left` is None while nothing is measured, or nothing runs.
    `command` is the one that ran last."""

    sweep: str
    planned: int
    done: int
    reused: int
    running: tuple[Running, ...]
    failed: tuple[Failed, ...]
    interrupted: int
    waiting: int
    runs: int
    seconds_left: float | None
    command: str | None = None


def read_status(folder: Path) -> Status:
    """Read how the sweep stands now. Raises StoreError when its file can't be read."""
    fates, claimed = read_fates(folder), read_claims(folder)
    planned = dict.fromkeys(read_planned(folder) or fates)
    kinds = [*find_trials(folder, [*planned][:1] + [*planned][-1:]).values()]  # starts are scheduled one by one
    ended = {n: fate for n, fate in fates.items() if n in planned and (fate.status == "done" or n not in claimed)}
    active = find_trials(folder, [name for name in claimed if name in planned and name not in ended])
    progress = {trial_id(trial): state for trial, state in read_progress(folder, active).items()}
    running = tuple(
        Running(_name(trial, kinds), claimed[name].split(" ")[0], **progress.get(name, {}))
        for name, trial in active.items()
    )
    failed = {name: fate for name, fate in ended.items() if fate.status == "failed"}
    trials = find_trials(folder, [*failed])
    counts = Counter(fate.status for fate in ended.values())
    left = [name for name in planned if name not in ended or ended[name].status == "interrupted"]
    return Status(
        folder.name,
        len(planned),
        counts["done"],
        sum(fate.source is not None for fate in ended.values()),
        running,
        tuple(_describe_failure(folder, trials[name], fate, kinds) for name, fate in failed.items()),
        counts["interrupted"],
        len(left) - len(active),
        len(set(claimed.values())),
        _seconds_left(folder, left, progress),
        read_command(folder),
    )


def _seconds_left(folder: Path, left: Sequence[str], progress: Mapping[str, dict]) -> float | None:
    """Return the seconds left, with as many workers as trials are running now, by the latest results."""
    if not left or not progress:
        return None if left else 0.0
    measured = [(one.trial, one.values, one.source) for one in scan_outcomes(folder, "done", MOST_MEASURED)]
    rates = [
        values["seconds"] / _work(trial, values["train_images"]) for trial, values, source in measured if not source
    ]
    if not rates:
        return None
    rate, images = statistics.median(rates), statistics.median(values["train_images"] for _, values, _ in measured)
    total = 0.0
    for name, trial in find_trials(folder, left).items():
        state = progress.get(name)
        total += rate * _work(trial, images) * (1 - state["step"] / state["steps"] if state else 1)
    return total / len(progress)


def _work(trial: Trial, images: float) -> float:
    """Return a number in proportion to what training takes: MAdds at the trained size, and a part that every image
    costs; ways that train on none take as long as one."""
    return (trained_madds(trial) + 1e6) * max(1, images)


def _describe_failure(folder: Path, trial: Trial, fate: Fate, kinds: Sequence[Trial]) -> Failed:
    first = fate.error.splitlines()[0] if fate.error else ""
    log = log_path(folder, trial)
    return Failed(_name(trial, kinds), fate.kind, fate.attempts, first, str(log) if log.exists() else "")


def _name(trial: Trial, kinds: Sequence[Trial]) -> str:
    return f"{trial_label(trial, kinds)}, {trial.train_size} px, seed {trial.seed}"


def status_json(status: Status) -> dict:
    """Return the status as one object."""
    return asdict(status)


def status_text(status: Status) -> str:
    """Return lines for a person."""
    counts = [f"{status.done} of {status.planned} done"]
    counts += [f"{status.reused} of them from other sweeps"] if status.reused else []
    counts += [f"{len(status.running)} running"] if status.running else []
    counts += [f"{len(status.failed)} failed"] if status.failed else []
    counts += [f"{status.waiting} waiting"] if status.waiting else []
    counts += [f"{status.interrupted} of them in mid-course"] if status.interrupted else []
    lines = [f"{status.sweep}: {', '.join(counts)}"]
    if status.running:
        left = "unknown yet" if status.seconds_left is None else f"about {duration(status.seconds_left)}"
        lines.append(f"time left {left}, by {count_noun(status.runs, 'run')}; {time.strftime('%H:%M:%S')}")
    elif status.waiting:
        lines.append(f"nothing runs; the same command goes on{f': {status.command}' if status.command else ''}")
    for one in status.running:
        how = "starting"
        if one.step is not None:
            how = f"step {one.step:,}/{one.steps:,}, loss {one.loss:.2f}, {one.images_per_second:.0f} images/s"
        lines.append(f"  running  {one.trial}: {how}")
    for one in status.failed:
        lines.append(f"  failed   {one.trial}: {one.kind}, tried {count_noun(one.attempts, 'time')}: {one.error}")
        lines += [f"           {one.log}"] if one.log else []
    return harmless("\n".join(lines))
