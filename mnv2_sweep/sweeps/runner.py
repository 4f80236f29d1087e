"""Networks and a recipe -> trained trials, as a person sees it: the plan and its price, progress, what went wrong."""

import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Console

from mnv2_sweep.archs.arch import ArchSpec
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.sweeps.display import SweepDisplay, counting
from mnv2_sweep.sweeps.environment import describe_environment
from mnv2_sweep.sweeps.session import RUNNING, describe_plan, open_session, prepare_session, run_session
from mnv2_sweep.sweeps.sweep import lock_sweep
from mnv2_sweep.training.estimate import device_name, estimate_seconds, wall_seconds
from mnv2_sweep.training.trial import Recipe
from mnv2_sweep.words import count_noun, duration


def run_networks(
    folder: Path,
    archs: Sequence[ArchSpec],
    recipe: Recipe,
    seeds: Sequence[int],
    data: tuple[Dataset, str],
    device: str,
    workers: int | None,
    dry_run: bool,
    source: str,
) -> int:
    """Plan, price, run and record; returns how many trials failed. Ctrl-C becomes typer.Exit(130).

    `data` is a data set with the name by which workers open it; `source` is kept as the sweep's space.yaml.
    """
    session = open_session(folder, archs, recipe, seeds, data, device)
    workers = min(workers or default_workers(device), max(1, len(session.missing)))
    print("\n".join([f"sweep     {folder}", *describe_plan(session)]))
    seconds = estimate_seconds(session.missing, session.dataset, device)
    if session.missing:
        wall = f"about {duration(wall_seconds(list(seconds.values()), workers))}"
        if not all(seconds.values()):
            wall, seconds = "unknown: the dearest network does not fit into memory", dict.fromkeys(session.missing, 1.0)
        print(f"time      {wall}, with {count_noun(workers, 'worker')} on {device}", flush=True)
    if dry_run or not session.missing:
        return 0
    console = Console(soft_wrap=True)
    environment = describe_environment(shlex.join(["mnv2-sweep", *sys.argv[1:]]), device, device_name(device))
    display = SweepDisplay(seconds, folder / RUNNING, console)
    recorded, failed = 0, 0
    try:
        with lock_sweep(folder):
            with counting(console, "preparing images", "size") as report:
                prepare_session(session, source, environment, report)
            for outcome in run_session(session, workers, display):
                recorded += 1
                failed += outcome.result is None
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # pressed again: it ends already
        left = len(session.missing) - recorded
        text = f"interrupted: {count_noun(recorded, 'trial')} recorded, {left} left; the same command continues"
        print(text, file=sys.stderr)
        raise typer.Exit(130) from None
    if failed:
        print(f"{failed} of {len(session.missing)} trials failed; the same command tries them again", file=sys.stderr)
    return failed


def default_workers(device: str) -> int:
    """One per core this process may use; one on a GPU."""
    if device == "cuda":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
