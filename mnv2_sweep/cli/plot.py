"""The command `plot`: figures of a sweep, of what a design space costs, or of the paper."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated

import typer

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.cli.options import PLOTS, RESULTS, Plots, Results, recipe_option, recipe_words

OPTIONS = {  # of each kind of plot; the other ones have none of these
    "--pareto": ("--band", "--cost", "--int8"),
    "--fronts": ("--cost",),
    "--manifold": ("--seed", "--matrices"),
    "--activity": ("--seed", "--base", "--data", "--images", "--input-scale"),
}
OF_NO_SWEEP = ("--manifold", "--activity")
BASE, INPUT_SCALE = "1.0@96", 0.25  # of --activity; a quarter of the side, as `ablate` has it


@dataclass(frozen=True)
class KindOptions:
    """What is drawn: one of these."""

    pareto: Annotated[bool, typer.Option("--pareto", help="Accuracy against MAdds, or a --cost, with the front.")] = (
        False
    )
    fronts: Annotated[bool, typer.Option("--fronts", help="The fronts by MAdds and by each device, side by side.")] = (
        False
    )
    ablation: Annotated[
        bool, typer.Option("--ablation", help="With against without, per seed, and the difference.")
    ] = False
    expansion: Annotated[
        bool, typer.Option("--expansion", help="Accuracy against MAdds for each t, and section 4's claims on them.")
    ] = False
    costs: Annotated[
        bool, typer.Option("--costs", help="MAdds, params, peak memory and depth of a space, with its cliffs.")
    ] = False
    confusion: Annotated[
        bool, typer.Option("--confusion", help="What the best network took the images of each class for.")
    ] = False
    manifold: Annotated[
        bool, typer.Option("--manifold", help="Figure 1: a spiral through ReLU and back, and what is lost on the way.")
    ] = False
    activity: Annotated[
        bool, typer.Option("--activity", help="Figure 7: train a network, draw its positive channels before and after.")
    ] = False


@dataclass(frozen=True)
class FigureOptions:
    """What belongs to some of the figures alone."""

    seed: Annotated[int | None, typer.Option(min=0, help="Of --manifold and --activity; default 0.")] = None
    matrices: Annotated[
        int | None, typer.Option(min=100, max=100_000, help="Of --manifold: matrices for each n; default 2,000.")
    ] = None
    base: Annotated[str | None, typer.Option(help="Of --activity: width@resolution; default 1.0@96.")] = None
    data: Annotated[str | None, typer.Option(help="Of --activity: as in run; default shapes.")] = None
    images: recipe_option("images", of="Of --activity: ") = None
    input_scale: recipe_option("input_scale", INPUT_SCALE, "Of --activity: ") = None
    band: Annotated[
        bool | None,
        typer.Option("--band", help="Of --pareto: where the front passes, at 95 %.", show_default=False),
    ] = None
    cost: Annotated[
        list[str] | None,
        typer.Option(
            help="Of --pareto: against this cost, as latency@NAME (see 'device list'); of --fronts: several with the "
            "option again; default: the latency of every profile.",
            show_default=False,
        ),
    ] = None
    int8: Annotated[
        bool | None,
        typer.Option("--int8", help="Of --pareto: with the points of networks exported in 8 bits.", show_default=False),
    ] = None


def plot(
    kind: KindOptions,
    paper: FigureOptions,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SWEEP | RECIPE]",
            help="A sweep's name, without one the last; with --costs a design space or the sweep with one; with "
            "--activity fields of the recipe, as in recipe.lr=0.05.",
            show_default=False,
        ),
    ] = None,
    results: Results = RESULTS,
    plots: Plots = PLOTS,
) -> None:
    """Draw a sweep's results, what the networks of a design space cost, or a figure of the paper, as PNG and SVG."""
    from mnv2_sweep.record.folders import find_space, find_sweep
    from mnv2_sweep.report.figures import describe_expansion, draw_ablation, draw_costs, draw_expansion, draw_pareto
    from mnv2_sweep.report.fronts import draw_fronts
    from mnv2_sweep.spaces.networks import select_networks
    from mnv2_sweep.spaces.read import load_space
    from mnv2_sweep.spaces.shipped import shipped_file

    kinds = {f"--{field.name}": getattr(kind, field.name) for field in fields(kind)}
    if sum(kinds.values()) != 1:
        raise SweepError(f"plot: say what to draw; one of {', '.join([*kinds][:-1])} and {[*kinds][-1]}")
    options = {f"--{field.name.replace('_', '-')}": getattr(paper, field.name) for field in fields(paper)}
    of_recipe, sweep = _split_words(words or [], kind.activity)
    refuse_options(max(kinds, key=kinds.get), sweep, options)
    if kind.manifold:
        _echo_paths(show_manifold(paper.matrices, paper.seed or 0, plots))
        return
    if kind.activity:
        _echo_paths(show_activity(paper, plots, of_recipe))
        return
    if kind.costs:
        own = sweep is None or Path(sweep).is_file() or (results / sweep).exists()
        shipped = None if own else shipped_file(sweep)
        path, name = (shipped, shipped.stem) if shipped else find_space(results, sweep)
        _echo_paths(draw_costs(select_networks(replace(load_space(path), name=name)), plots))
        return
    folder = find_sweep(results, sweep, kind.ablation)
    if kind.confusion:
        from mnv2_sweep.report.classes import draw_confusion

        _echo_paths(draw_confusion(folder, plots))
        return
    if kind.expansion:
        typer.echo(describe_expansion(folder))
        _echo_paths(draw_expansion(folder, plots))
        return
    if kind.fronts:
        lines, paths = draw_fronts(folder, plots, paper.cost or [])
        typer.echo("\n".join(lines))
        _echo_paths(paths)
    elif kind.ablation:
        _echo_paths(draw_ablation(folder, plots))
    else:
        if len(paper.cost or []) > 1:
            raise SweepError(
                f"plot --pareto: --cost {' --cost '.join(paper.cost)} given; one, or several with --fronts"
            )
        _echo_paths(draw_pareto(folder, plots, bool(paper.band), *(paper.cost or [None]), int8=bool(paper.int8)))


def _split_words(words: list[str], activity: bool) -> tuple[list[str], str | None]:
    """Return the words of a recipe, which is for --activity, and the sweep. Raises SweepError."""
    from mnv2_sweep.spaces.recipes import split_recipe_words

    of_recipe, sweeps = split_recipe_words(words, "plot --activity") if activity else ([], words)
    if len(sweeps) > 1:
        raise SweepError(f"plot: '{sweeps[0]}' and '{sweeps[1]}' given; one sweep is drawn at a time")
    return of_recipe, next(iter(sweeps), None)


def _echo_paths(paths: list[Path]) -> None:
    for path in paths:
        typer.echo(path)


def refuse_options(kind: str, sweep: str | None, given: Mapping[str, object]) -> None:
    """Raise SweepError for options of another kind of plot: `plot --pareto --seed 3` would silently ignore the seed."""
    if kind in OF_NO_SWEEP and sweep is not None:
        raise SweepError(f"plot {kind}: '{sweep}' given, but it draws no sweep; leave it out")
    wrong = [option for option, value in given.items() if value is not None and option not in OPTIONS.get(kind, ())]
    if wrong:
        kinds = " and ".join(other for other, options in OPTIONS.items() if wrong[0] in options)
        raise SweepError(f"plot {kind}: {wrong[0]} is for {kinds}; leave it out")


def show_manifold(matrices: int | None, seed: int, plots: Path) -> list[Path]:
    """Print what is lost for each n, then draw it; returns the files written."""
    from mnv2_sweep.base.text import align
    from mnv2_sweep.paper.manifold import MATRICES, SHOWN, embed_spiral, losses_table, measure_losses
    from mnv2_sweep.report.figures import draw_manifold

    losses = measure_losses(matrices or MATRICES, seed)
    typer.echo(align(losses_table(losses)) + "\n")
    return draw_manifold([embed_spiral(n, seed) for n in SHOWN], losses, seed, plots)


def show_activity(options: FigureOptions, plots: Path, words: Sequence[str] = ()) -> list[Path]:
    """Train a network, print its positive channels before and after, then draw them; returns the files written."""
    from mnv2_sweep.analysis.ablation import parse_bases
    from mnv2_sweep.base.text import align
    from mnv2_sweep.cli.progress import open_data
    from mnv2_sweep.paper.manifold import activities_table
    from mnv2_sweep.report.figures import draw_activity
    from mnv2_sweep.spaces.recipes import read_recipe_words
    from mnv2_sweep.sweeps.settings import choose_device
    from mnv2_sweep.training.activity import measure_activities
    from mnv2_sweep.training.control import Control
    from mnv2_sweep.trials.trial import EMBEDDED, DataRef, Trial

    arch, *more = parse_bases(BASE if options.base is None else options.base, or_else="")
    if more:
        raise SweepError(f"--base {options.base}: one network is trained here; give one")
    words = [*words, *recipe_words(images=options.images, input_scale=options.input_scale)]
    recipe = read_recipe_words(words, "plot --activity", None, {"input_scale": INPUT_SCALE})
    dataset, _ = open_data(EMBEDDED[0] if options.data is None else options.data)
    arch = replace(arch, classes=max(arch.classes, len(dataset.classes)))
    trial = Trial(arch, recipe, DataRef(dataset.name, dataset.fingerprint, len(dataset.classes)), options.seed or 0)
    device = choose_device("auto")
    activities = measure_activities(trial, dataset, device, Control(log=lambda line: typer.echo(line, err=True)))
    typer.echo(align(activities_table(activities), left=("layer", "kind")) + "\n")
    return draw_activity(trial, activities, device, plots)
