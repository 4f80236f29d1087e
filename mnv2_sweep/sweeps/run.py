"""Networks and a recipe -> trained trials, as a person sees it: the plan and its price, progress, what went wrong."""

import shlex
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import typer
from rich.console import Console

from mnv2_sweep.analysis.stats import summarise
from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.heap import trim_heap
from mnv2_sweep.base.processes import prepare_processes
from mnv2_sweep.base.signals import StopRequest
from mnv2_sweep.base.text import bytes_text, count_noun, duration
from mnv2_sweep.cli.display import SweepDisplay, counting
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.record.folders import LOGS
from mnv2_sweep.record.frame import load_frame
from mnv2_sweep.spaces.space import ALONE, Strategy
from mnv2_sweep.sweeps.budget import Price, fit_budget, fitted_text, price_text, trials_wall
from mnv2_sweep.sweeps.environment import describe_environment
from mnv2_sweep.sweeps.estimate import device_name, has_device, price_sweep
from mnv2_sweep.sweeps.planned import count_failed, missing_trials, plan_trials
from mnv2_sweep.sweeps.pool import IMPORTED
from mnv2_sweep.sweeps.session import (
    Session,
    describe_plan,
    describe_tuning,
    find_groups,
    find_trained,
    make_sharing,
    open_session,
    prepare_session,
    run_session,
)
from mnv2_sweep.sweeps.settings import RunSettings, fill_gpus, usable_cores
from mnv2_sweep.trials.trial import DataRef, Recipe, Trial

NO_BUDGET = "--budget: the networks share one training, which is done whole; give it fewer images, or add --separate"
NO_GRAPHS = "--cuda-graphs: networks that share weights are trained without them; leave it out, or add --separate"
ONE_MACHINE = "the networks share one training, which runs on one machine; use --executor local, or --separate"


def run_networks(
    folder: Path,
    archs: Sequence[ArchSpec],
    recipe: Recipe,
    seeds: Sequence[int],
    data: tuple[Dataset, str],
    device: str,
    settings: RunSettings,
    dry_run: bool,
    source: str,
    retry_failed: bool = False,
    strategy: Strategy = ALONE,
    counts: Mapping[ArchSpec, int] | None = None,
    notes: Sequence[str] = (),
) -> int:
    """Plan, price, run and record; returns how many trials of the sweep failed. Ctrl-C becomes typer.Exit(130).

    `data` is a data set with the name by which workers open it; `source` is kept as the sweep's space.yaml. With
    `counts` a network has that many of the seeds only, the first ones. `notes` are lines for the plan.
    """
    check_sharing(strategy, settings)
    shared = make_sharing(strategy, archs, recipe, len(data[0].labels["train"]))
    opening = partial(
        open_session, folder, archs, recipe, seeds, data, device, retry_failed, shared=shared, counts=counts
    )
    opened = opening()
    plan = [f"sweep     {folder}", *describe_plan(opened), *notes]
    failed = _price_and_run(opened, plan, settings, dry_run, source)
    if strategy.finetune is None or dry_run:
        return failed
    if failed:
        print(f"finetune  skipped: {count_noun(failed, 'trial')} failed, so the front is not known; see --retry-failed")
        return failed
    frame = load_frame(folder)
    summary = summarise(frame[frame["training"] == "shared"])  # the same front, whatever was fine-tuned before
    front = set(summary[summary["on_front"]]["arch_key"])
    tuned = [arch for arch in archs if arch_key(arch) in front]
    opened = opening(tuned=tuned)
    return _price_and_run(opened, describe_tuning(opened), settings, dry_run, source)


def check_sharing(strategy: Strategy, settings: RunSettings) -> None:
    """Raise SweepError where networks that share weights can't be run so."""
    if strategy.name == "shared" and settings.budget_seconds is not None:
        raise SweepError(NO_BUDGET)
    if strategy.name == "shared" and settings.cuda_graphs:
        raise SweepError(NO_GRAPHS)
    if strategy.name == "shared" and settings.executor != "local":
        raise SweepError(f"--executor {settings.executor}: {ONE_MACHINE}")


def _price_and_run(session: Session, plan: Sequence[str], settings: RunSettings, dry_run: bool, source: str) -> int:
    """Say what it is and takes, and run it unless only that is wanted; returns as run_networks."""
    print("\n".join(plan), flush=True)
    began = time.monotonic()
    # Beside the look, where it does not take the look's own core.
    if session.missing and settings.elsewhere is None and not dry_run and usable_cores() > 1:
        prepare_processes(bool(settings.gpus), IMPORTED)
    price = _look(session, settings)
    if settings.budget_seconds is not None:
        session = _keep_fitting(session, price, settings.budget_seconds, time.monotonic() - began)
    settings = _spread(session, settings, price)
    seconds = {trial: price.trial_seconds.get(trial, 1.0) for trial in session.missing}
    if session.missing:
        wall = price.unknown or duration(trials_wall(seconds, session.missing, settings.workers))
        wall = f"unknown: {wall}" if price.unknown else f"about {wall}"
        groups = find_groups(session, settings)
        if groups:
            print(f"seeds     of {count_noun(len({trial.arch for trial in groups}), 'network')} are trained as one")
        print(f"time      {wall}, with {count_noun(settings.workers, 'worker')} on {session.device}", flush=True)
    return 0 if dry_run else _run_session(session, settings, seconds, source)


def run_seeds(
    folder: Path,
    counts: Mapping[ArchSpec, int],
    recipe: Recipe,
    data: tuple[Dataset, str],
    device: str,
    settings: RunSettings,
    source: str,
) -> int:
    """Run and record the first so many seeds of each network, without a plan and a price; returns how many failed."""
    seeds = range(max(counts.values()))
    session = open_session(folder, tuple(counts), recipe, seeds, data, device, counts=counts)
    settings = replace(settings, workers=min(settings.workers, max(1, len(session.missing))))
    return _run_session(session, settings, dict.fromkeys(session.missing, 1.0), source)


def _run_session(session: Session, settings: RunSettings, seconds: Mapping[Trial, float], source: str) -> int:
    """Run what is missing; returns how many trials of the sweep failed. Ctrl-C becomes typer.Exit(130)."""
    folder, device = session.folder, session.device
    console = Console(soft_wrap=True)
    environment = describe_environment(shlex.join(["mnv2-sweep", *sys.argv[1:]]), device, device_name(device))
    display = SweepDisplay(seconds, folder, console)
    with StopRequest(partial(print, "stopping: running trials write their checkpoints", file=sys.stderr)) as stop:
        recorded = _run(session, settings, display, console, source, environment, stop)
    left = len(missing_trials(session.trials, folder))
    if stop.asked and left:
        done = count_noun(recorded, "trial")
        print(f"interrupted: {done} recorded, {left} left; the same command continues", file=sys.stderr)
        raise typer.Exit(130)
    failed = count_failed(session.trials, folder)
    if failed:
        where = folder / LOGS
        print(f"{count_noun(failed, 'trial')} failed (logs in {where}); --retry-failed tries again", file=sys.stderr)
    return failed


def _look(session: Session, settings: RunSettings) -> Price:
    """What the missing trials take: as `plan --time` measures it for a budget, else in fewer seconds and rougher."""
    if not has_device(session.device):  # a cluster has what its machines have
        return Price({}, settings.workers, session.device, {}, unknown="this machine has no GPU")
    quick = settings.budget_seconds is None
    price = price_sweep(
        session.missing, session.dataset, session.data_name, session.device, settings.workers, alone=quick,
        trained=find_trained(session),
    )  # fmt: skip
    trim_heap()  # of what the look has trained
    return price


def _keep_fitting(session: Session, price: Price, budget_seconds: float, spent_seconds: float) -> Session:
    """The session with what fits into what the look has left of the budget, which is said, as missing; the rest stays
    planned. Raises SweepError where nothing fits."""
    fitted = fit_budget(price, max(0.0, budget_seconds - spent_seconds))
    lines = fitted_text(fitted, price, budget_seconds)
    if session.missing and not fitted.kept:
        raise SweepError(f"--budget: {lines[0].removeprefix('budget    ')}")
    print("\n".join(lines))
    return replace(session, missing=fitted.kept)


def _spread(session: Session, settings: RunSettings, price: Price) -> RunSettings:
    """The settings with as many workers as there is work, and room on the GPUs, for."""
    trials = len(session.missing)
    if settings.fills_gpus and trials:
        if price.unknown:
            raise SweepError(f"--per-gpu auto: {price.unknown}; give a number")
        most = max((len(group) for group in find_groups(session, settings).values()), default=1)
        taken = most * price.gpu_bytes // price.workers
        settings = fill_gpus(settings, taken)
        each = count_noun(len(settings.gpus) // len(set(settings.gpus)), "trial")
        print(f"gpu       {each} on each at once; the dearest takes {bytes_text(taken)}")
    return replace(settings, workers=min(settings.workers, max(1, trials)))


def price_networks(
    archs: Sequence[ArchSpec],
    recipe: Recipe,
    seeds: Sequence[int],
    data: tuple[Dataset, str],
    device: str,
    workers: int,
    budget_seconds: float | None,
    strategy: Strategy = ALONE,
) -> list[str]:
    """Lines for a person: what the whole sweep would take here, and what fits into a budget. Raises SweepError."""
    dataset, data_name = data
    reference = DataRef(dataset.name, dataset.fingerprint, len(dataset.classes))
    shared = make_sharing(strategy, archs, recipe, len(dataset.labels["train"]))
    if shared and budget_seconds is not None:
        raise SweepError(NO_BUDGET)
    plain = shared and replace(shared, finetune=None)  # which networks will be on the front nobody knows yet
    price = price_sweep(plan_trials(archs, recipe, reference, seeds, plain), dataset, data_name, device, workers)
    lines = price_text(price)
    if shared and shared.finetune is not None:
        lines.append(f"note      {shared.finetune:g} more epochs of the networks on the front come on top")
    if budget_seconds is not None:
        lines += fitted_text(fit_budget(price, budget_seconds), price, budget_seconds)
    return lines


def _run(
    session: Session,
    settings: RunSettings,
    display: SweepDisplay,
    console: Console,
    source: str,
    environment: dict,
    stop: StopRequest,
) -> int:
    """How many trials were recorded by this run; a second Ctrl-C ends them at once."""
    recorded = 0
    try:
        with counting(console, "preparing images", "size") as report:
            prepare_session(session, source, environment, report)
        for outcome in run_session(session, settings, display, stop):
            recorded += outcome.status != "interrupted"
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # pressed again: it ends already
    return recorded
