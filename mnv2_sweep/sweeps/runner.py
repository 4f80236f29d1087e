"""Networks and a recipe -> trained trials, as a person sees it: the plan and its price, progress, what went wrong."""

import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import typer
from rich.console import Console

from mnv2_sweep.archs.arch import ArchSpec
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.sweeps.display import SweepDisplay, counting
from mnv2_sweep.sweeps.environment import describe_environment
from mnv2_sweep.sweeps.interrupts import StopRequest
from mnv2_sweep.sweeps.places import LOGS
from mnv2_sweep.sweeps.session import Session, describe_plan, open_session, prepare_session, run_session
from mnv2_sweep.sweeps.settings import RunSettings
from mnv2_sweep.sweeps.sweep import count_failed, missing_trials, plan_trials
from mnv2_sweep.training.estimate import device_name, estimate_seconds, has_device, price_sweep
from mnv2_sweep.training.price import fit_budget, fitted_text, price_text, wall_seconds
from mnv2_sweep.training.trial import DataRef, Recipe
from mnv2_sweep.words import count_noun, duration


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
) -> int:
    """Plan, price, run and record; returns how many trials of the sweep failed. Ctrl-C becomes typer.Exit(130).

    `data` is a data set with the name by which workers open it; `source` is kept as the sweep's space.yaml.
    """
    session = open_session(folder, archs, recipe, seeds, data, device, retry_failed)
    workers = min(settings.workers, max(1, len(session.missing)))
    settings = replace(settings, workers=workers)
    print("\n".join([f"sweep     {folder}", *describe_plan(session)]))
    seconds = dict.fromkeys(session.missing, 0.0)
    if has_device(device):  # a cluster has what its machines have
        seconds = estimate_seconds(session.missing, session.dataset, device)
    if session.missing:
        wall = f"about {duration(wall_seconds(list(seconds.values()), workers))}"
        if not all(seconds.values()):
            why = "the dearest network does not fit into memory" if has_device(device) else "this machine has no GPU"
            wall, seconds = f"unknown: {why}", dict.fromkeys(session.missing, 1.0)
        print(f"time      {wall}, with {count_noun(workers, 'worker')} on {device}", flush=True)
    if dry_run:
        return 0
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


def price_networks(
    archs: Sequence[ArchSpec],
    recipe: Recipe,
    seeds: Sequence[int],
    data: tuple[Dataset, str],
    device: str,
    workers: int,
    budget_seconds: float | None,
) -> list[str]:
    """Lines for a person: what the whole sweep would take here, and what fits into a budget. Raises SweepError."""
    dataset, data_name = data
    reference = DataRef(dataset.name, dataset.fingerprint, len(dataset.classes))
    price = price_sweep(plan_trials(archs, recipe, reference, seeds), dataset, data_name, device, workers)
    lines = price_text(price)
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
