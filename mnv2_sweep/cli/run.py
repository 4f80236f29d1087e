"""The command `run`: train and evaluate every network of a design space."""

from typing import Annotated

import typer

from mnv2_sweep.cli.options import (
    RunOptions,
    Seeds,
    Separate,
    Shared,
    SpaceFile,
    check_name,
    choose_strategy,
    name_sweep,
)

Budget = Annotated[
    str | None, typer.Option(help="Run only what fits into this time, as in 30m; seeds are dropped before networks.")
]


def run(
    space: SpaceFile,
    options: RunOptions,
    seeds: Seeds = None,
    budget: Budget = None,
    shared: Shared = False,
    separate: Separate = False,
) -> None:
    """Train and evaluate every network of a design space; run it again to do what is missing."""
    from mnv2_sweep.analysis.verdict import sweep_verdict
    from mnv2_sweep.cli.display import show_sweep
    from mnv2_sweep.cli.open import begin_space, open_run, open_space
    from mnv2_sweep.record.frame import load_frame
    from mnv2_sweep.report.figures import draw_pareto
    from mnv2_sweep.report.tables import results_text
    from mnv2_sweep.spaces.networks import expand

    given, path = open_space(space)
    loaded = given if shared or separate else begin_space(given)
    strategy = choose_strategy(loaded, shared, separate)
    opened = open_run(options, loaded.data, f"{path}: data:", strategy, budget)
    archs = expand(loaded, opened.classes)
    sweep = check_name(options.name or name_sweep(given, strategy, opened.data_name, opened.dataset.name))
    source, chosen = path.read_text(encoding="utf-8"), range(seeds) if seeds else loaded.seeds
    request = opened.join().ask(sweep, archs, loaded.recipe, chosen, strategy=strategy, task=loaded.task, source=source)
    failed = show_sweep(request)
    if not options.dry_run:
        frame = load_frame(request.folder)
        typer.echo("\n" + results_text(frame, sweep_verdict(request.folder)))
        if (frame["status"] == "done").any():
            for drawn in draw_pareto(request.folder, options.plots):
                typer.echo(drawn)
    raise typer.Exit(1 if failed else 0)
