"""The command `run`: train and evaluate every network of a design space."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.text import count_noun
from mnv2_sweep.cli.options import (
    RunOptions,
    Seed,
    Seeds,
    Separate,
    Shared,
    SpaceFile,
    check_name,
    choose_strategy,
    name_sweep,
    tell,
)
from mnv2_sweep.cli.until import UntilOptions, read_until

if TYPE_CHECKING:
    from mnv2_sweep.analysis.deciding import Until
    from mnv2_sweep.sweeps.request import SweepRequest

Budget = Annotated[
    str | None, typer.Option(help="Run only what fits into this time, as in 30m; seeds are dropped before networks.")
]


def run(
    space: SpaceFile,
    options: RunOptions,
    wanted: UntilOptions,
    seeds: Seeds = None,
    seed: Seed = None,
    budget: Budget = None,
    shared: Shared = False,
    separate: Separate = False,
    again: Annotated[
        str | None,
        typer.Option(metavar="NETWORK", help="Train a network again whose weights were not kept, and keep them."),
    ] = None,
) -> None:
    """Train and evaluate every network of a design space; run it again to do what is missing."""
    from mnv2_sweep.analysis.deciding import choose_fitting, describe_until
    from mnv2_sweep.cli.display import show_sweep
    from mnv2_sweep.cli.open import begin_space, check_starts, open_run, open_space
    from mnv2_sweep.cli.pictures import Pictures
    from mnv2_sweep.spaces.networks import select_networks
    from mnv2_sweep.spaces.space import Kind
    from mnv2_sweep.sweeps.run import run_sweep
    from mnv2_sweep.sweeps.until import describe_end, run_until
    from mnv2_sweep.trials.preview import newest_preview

    if seed is not None and seeds is not None:
        raise SweepError("--seed --seeds: one of them; --seed K is seed K alone, --seeds N are seeds 0 to N-1")
    given, path = open_space(space)
    loaded = given if shared or separate else begin_space(given)
    strategy = choose_strategy(loaded, shared, separate)
    most, images = seeds or len(loaded.seeds), not options.no_images
    asked = read_until(wanted, loaded, strategy, most, images, seed=seed, budget=budget, again=again)
    opened = open_run(options, loaded.data, f"{path}: data:", strategy, budget)
    networks = select_networks(loaded, opened.classes)
    for line in networks.notes:
        typer.echo(line, err=True)
    archs, until = (tuple(networks), None) if asked is None else choose_fitting(networks, *asked)
    sweep = check_name(options.name or name_sweep(given, strategy, opened.data_name, opened.dataset.name))
    source, chosen = path.read_text(encoding="utf-8"), range(seeds) if seeds else loaded.seeds
    chosen = chosen if seed is None else (seed,)
    if again is None:
        opened = opened.join()
    first, *more = loaded.kinds if loaded.inits else (Kind(loaded.recipe, strategy),)
    request = opened.ask(
        sweep, archs, first.recipe, chosen, strategy=first.strategy, task=loaded.task, source=source, more=tuple(more),
        says_padding=loaded.sets_padding, is_part=seed is not None,
    )  # fmt: skip
    check_starts(request, loaded, path)
    if again is not None:
        raise typer.Exit(run_again(request, again))
    draw, preview = (partial(draws, request.folder, options.plots) for draws in (draw_so_far, preview_so_far))
    pictures = Pictures(draw, preview=preview, newest=partial(newest_preview, request.folder))
    notes = () if until is None else describe_until(until, len(archs), options.dry_run)
    rounds = run_sweep if until is None or options.dry_run else partial(run_until, until)
    failed = show_sweep(request, notes, pictures, rounds)
    if not options.dry_run:
        show_results(request.folder, options.plots, until, () if until is None else describe_end(request, until))
    raise typer.Exit(1 if failed else 0)


def draw_so_far(folder: Path, plots: Path) -> list[Path]:
    """Draw the front of what is recorded; what draws is imported when it is first needed."""
    from mnv2_sweep.report.figures import draw_pareto

    return draw_pareto(folder, plots)


def preview_so_far(folder: Path, plots: Path) -> list[Path]:
    """Draw what slices are worth while their weights train."""
    from mnv2_sweep.report.figures import draw_preview

    return draw_preview(folder, plots)


def show_results(folder: Path, plots: Path, until: "Until | None" = None, lines: Sequence[str] = ()) -> None:
    """Print a sweep's table, draw its front, and say which network to take: of one that was run `until` a question is
    answered, by that question, and after `lines` on how it was."""
    from mnv2_sweep.analysis.advice import short_lines
    from mnv2_sweep.analysis.odds import load_odds
    from mnv2_sweep.analysis.recommend import recommend
    from mnv2_sweep.analysis.sweep import Sweep
    from mnv2_sweep.analysis.verdict import sweep_verdict
    from mnv2_sweep.record.frame import load_frame
    from mnv2_sweep.record.store import read_truth
    from mnv2_sweep.report.tables import results_text

    frame = load_frame(folder)
    odds = load_odds(folder, frame)
    typer.echo("\n" + results_text(frame, sweep_verdict(folder), odds, read_truth(folder)))
    if (frame["status"] == "done").any():
        for drawn in draw_so_far(folder, plots):
            typer.echo(drawn)
        asked = {} if until is None else until.asked
        typer.echo("\n".join([*lines, *short_lines(recommend(Sweep(folder, frame), **asked))]))


def run_again(request: "SweepRequest", network: str) -> int:
    """Train a network again and say how it went; returns the exit code."""
    from mnv2_sweep.base.signals import StopRequest
    from mnv2_sweep.sweeps.again import describe_again, find_missing, is_well, train_again

    missing = find_missing(request.folder, network)
    if not missing:
        typer.echo(f"{network}: its weights are kept already")
        return 0
    typer.echo(f"again     {network}, {count_noun(len(missing), 'trial')} without weights")
    if request.dry_run:
        return 0
    stop = StopRequest(partial(tell, "stopping: running trials write their checkpoints"))
    ended = []
    for one in train_again(request, missing, stop):
        ended.append(one)
        typer.echo(describe_again(one))
    return 130 if stop.asked else int(not all(map(is_well, ended)))
