"""SweepRequest --run_sweep--> events: the schedule and its time, images made, trials that end, how it ended.

Nothing is printed here: whoever asks for the sweep shows the events as they come.
"""

import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mnv2_sweep.analysis.stats import summarise
from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.heap import trim_heap
from mnv2_sweep.base.processes import prepare_processes
from mnv2_sweep.base.signals import StopRequest
from mnv2_sweep.base.text import bytes_text, count_noun, duration
from mnv2_sweep.data.describe import describe_classes, describe_photos
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.record.frame import load_frame
from mnv2_sweep.sweeps.budget import TimeEstimate, estimate_text, fit_budget, fitted_text, trials_wall
from mnv2_sweep.sweeps.environment import describe_environment
from mnv2_sweep.sweeps.estimate import device_name, estimate_sweep, has_device
from mnv2_sweep.sweeps.keep import Keeper, keep_lines
from mnv2_sweep.sweeps.pool import IMPORTED
from mnv2_sweep.sweeps.request import (
    Session,
    SweepRequest,
    check_strategy,
    describe_schedule,
    describe_tuning,
    find_earlier,
    find_prepared,
    open_session,
    prepare_session,
    schedule_request,
)
from mnv2_sweep.sweeps.schedule import count_failed, missing_trials
from mnv2_sweep.sweeps.settings import RunSettings, fill_gpus, usable_cores
from mnv2_sweep.sweeps.workers import Ended, Ticked, find_groups, run_session
from mnv2_sweep.training.ways.way import work_of
from mnv2_sweep.trials.tasks import task_of
from mnv2_sweep.trials.trial import Trial
from mnv2_sweep.trials.ways import goes_on


@dataclass(frozen=True, slots=True)
class Scheduled:
    """The sweep, or its second part, is open; `lines` describe it to a person. `tuning`: networks are trained on."""

    folder: Path
    lines: tuple[str, ...]
    tuning: bool = False


@dataclass(frozen=True, slots=True)
class Noted:
    """Lines for a person: the estimated time, what fits into a budget, what is left out."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Prepared:
    """The images of `done` of the `total` training sizes are made."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Begun:
    """Trials begin, each with the seconds that it is estimated to take."""

    folder: Path
    seconds: Mapping[Trial, float]


@dataclass(frozen=True, slots=True)
class Removed:
    """A line on each file of weights that an earlier run had kept and this one has removed, while trials run."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """All that this run began has ended: trials it `recorded`, trials `left` to a later run (0 unless it was stopped),
    trials of the sweep that `failed`, in whatever run."""

    folder: Path
    recorded: int
    left: int
    failed: int


Event = Scheduled | Noted | Prepared | Begun | Ticked | Ended | Removed | Finished


def run_sweep(request: SweepRequest, stop: StopRequest | None = None) -> Iterator[Event]:
    """Schedule, estimate, run and record what is asked for; then train on the networks of the front, where that is
    wanted.

    Once trials run, the first Ctrl-C sets `stop`: they write their checkpoints, and the last event says how many are
    `left`; the second one ends them at once. Returns the last event. Raises SweepError, before anything is written
    where possible.
    """
    stop = stop or StopRequest()
    check_strategy(request.strategy, request.settings)
    session = open_session(request)
    if request.announced:
        yield Scheduled(request.folder, tuple(describe_schedule(session)))
    finished = yield from _run_session(session, stop)
    if request.later_marks is None or request.dry_run or finished.left:
        return finished
    if finished.failed:
        failed = count_noun(finished.failed, "trial")
        yield Noted((f"finetune  skipped: {failed} failed, so the front is not known; see --retry-failed",))
        return finished
    frame = load_frame(request.folder)
    summary = summarise(frame[~frame["training"].map(goes_on)])  # the same front, whatever was fine-tuned before
    front = set(summary[summary["on_front"]]["arch_key"])
    session = open_session(request, tuned=[arch for arch in request.archs if arch_key(arch) in front])
    yield Scheduled(request.folder, tuple(describe_tuning(session)), tuning=True)
    return (yield from _run_session(session, stop))


def _run_session(session: Session, stop: StopRequest) -> Iterator[Event]:
    """Estimate the time and, unless only that is wanted, train what is missing; returns the last event."""
    request, settings, seconds = session.request, session.request.settings, dict.fromkeys(session.missing, 1.0)
    if request.announced:
        session, settings, seconds = yield from _estimate(session)
    else:
        settings = replace(settings, workers=min(settings.workers, max(1, len(session.missing))))
    if request.dry_run:
        return Finished(request.folder, 0, 0, 0)
    finished = yield from _train(session, settings, seconds, stop)
    yield finished
    return finished


def _estimate(session: Session) -> Iterator[Event]:
    """Say what the missing trials take; returns the session with those that fit a budget, the settings with as many
    workers as there is work, and the estimated seconds of each trial."""
    request, settings, began = session.request, session.request.settings, time.monotonic()
    # Beside the timing, where it does not take its core.
    if session.missing and settings.elsewhere is None and not request.dry_run and usable_cores() > 1:
        prepare_processes(bool(settings.gpus), IMPORTED)
    estimate = _estimate_missing(session)
    if settings.budget_seconds is not None:
        fitted = fit_budget(estimate, max(0.0, settings.budget_seconds - (time.monotonic() - began)))
        lines = fitted_text(fitted, estimate, settings.budget_seconds)
        if session.missing and not fitted.kept:
            raise SweepError(f"--budget: {lines[0].removeprefix('budget    ')}")
        yield Noted(tuple(lines))
        session = replace(session, missing=fitted.kept)  # the rest stays scheduled
    if settings.fills_gpus and session.missing:
        settings, lines = _fill_gpus(session, estimate)
        yield Noted(lines)
    settings = replace(settings, workers=min(settings.workers, max(1, len(session.missing))))
    seconds = {trial: estimate.trial_seconds.get(trial, 1.0) for trial in session.missing}
    if session.missing:
        yield Noted(tuple(_time_lines(session, settings, estimate, seconds)))
    return session, settings, seconds


def _time_lines(
    session: Session, settings: RunSettings, estimate: TimeEstimate, seconds: Mapping[Trial, float]
) -> list[str]:
    groups = find_groups(session, settings)
    networks = count_noun(len({trial.arch for trial in groups}), "network")
    wall = estimate.unknown or duration(trials_wall(seconds, session.missing, settings.workers))
    wall = f"unknown: {wall}" if estimate.unknown else f"about {wall}"
    return [
        *([f"seeds     of {networks} are trained as one"] if groups else []),
        f"time      {wall}, with {count_noun(settings.workers, 'worker')} on {session.request.device}",
    ]


def _estimate_missing(session: Session) -> TimeEstimate:
    """Estimate what the missing trials take: as `plan --time` measures it for a budget, else in fewer seconds and
    rougher."""
    request = session.request
    if not has_device(request.device):  # a cluster has what its machines have
        return TimeEstimate({}, request.settings.workers, request.device, {}, unknown="this machine has no GPU")
    quick = request.settings.budget_seconds is None
    estimate = estimate_sweep(
        session.missing, request.dataset, request.data_name, request.device, request.settings.workers, alone=quick,
        trained=find_prepared(session),
    )  # fmt: skip
    trim_heap()  # of what was trained for the timing
    return estimate


def _fill_gpus(session: Session, estimate: TimeEstimate) -> tuple[RunSettings, tuple[str, ...]]:
    """Return the settings with as many workers as the GPUs have room for, and a line on that."""
    if estimate.unknown:
        raise SweepError(f"--per-gpu auto: {estimate.unknown}; give a number")
    settings = session.request.settings
    most = max((len(group) for group in find_groups(session, settings).values()), default=1)
    taken = most * estimate.gpu_bytes // estimate.workers
    settings = fill_gpus(settings, taken)
    each = count_noun(len(settings.gpus) // len(set(settings.gpus)), "trial")
    return settings, (f"gpu       {each} on each at once; the dearest takes {bytes_text(taken)}",)


def _train(
    session: Session, settings: RunSettings, seconds: Mapping[Trial, float], stop: StopRequest
) -> Iterator[Event]:
    """Run what is missing; returns how it ended. A second Ctrl-C ends the trials at once."""
    folder, request, recorded, kept = session.folder, session.request, 0, []
    earlier = find_earlier(session)  # before others' weights are taken over
    environment = describe_environment(request.command, request.device, device_name(request.device))
    with stop:
        try:
            for done, total in prepare_session(session, environment):
                yield Prepared(done, total)
            yield Begun(folder, seconds)
            keeper = Keeper(folder, settings.keep_here, earlier)
            for event in run_session(session, settings, stop):
                removed = []
                if isinstance(event, Ended):
                    recorded += event.outcome.status != "interrupted"
                    removed = keeper.add(event.outcome)
                yield event
                if removed:
                    yield Removed(tuple(removed))
            if removed := keeper.finish(session.trials):
                yield Removed(tuple(removed))
            kept = keeper.describe(session.trials)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # pressed again: it ends already
    if kept and request.announced:
        yield Noted(tuple(kept))
    left = len(missing_trials(session.trials, folder)) if stop.asked else 0
    return Finished(folder, recorded, left, count_failed(session.trials, folder))


def estimate_request(request: SweepRequest) -> list[str]:
    """Return lines on what the whole sweep would take here, and what of it fits a budget. Raises SweepError."""
    later, budget_seconds = request.later_marks, request.settings.budget_seconds
    check_strategy(request.strategy, request.settings)
    trials = schedule_request(request)
    estimate = estimate_sweep(trials, request.dataset, request.data_name, request.device, request.settings.workers)
    lines = [*describe_photos(request.dataset), *describe_classes(request.dataset, task_of(trials[0]).main)]
    lines += estimate_text(estimate)
    if later is not None:  # which networks will be on the front nobody knows yet
        length = work_of(trials[0]).more_text(request.strategy)
        lines.append(f"note      {length} of the networks on the front come on top")
    lines += keep_lines(trials, request.settings.keep_here)
    if budget_seconds is not None:
        lines += fitted_text(fit_budget(estimate, budget_seconds), estimate, budget_seconds)
    return lines
