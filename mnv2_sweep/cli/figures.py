"""The parts of `plot` that draw figures of the paper from no sweep: 1 (`--manifold`) and 7 (`--activity`)."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import typer

from mnv2_sweep.base.errors import SweepError

OPTIONS = {  # of each kind of plot; those of a sweep or a space have none of these
    "--manifold": ("--seed", "--matrices"),
    "--activity": ("--seed", "--base", "--data", "--images", "--input-scale"),
}
BASE, INPUT_SCALE = "1.0@96", 0.25  # of --activity; a quarter of the side, as `ablate` has it


def refuse_options(kind: str, sweep: str | None, given: Mapping[str, object]) -> None:
    """`plot --pareto --seed 3` would silently ignore the seed. Raises SweepError."""
    if kind in OPTIONS and sweep is not None:
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


def show_activity(
    base: str | None, data: str | None, images: int | None, input_scale: float | None, seed: int, plots: Path
) -> list[Path]:
    """Train a network, print its positive channels before and after, then draw them; returns the files written."""
    from mnv2_sweep.analysis.ablation import parse_bases
    from mnv2_sweep.base.text import align
    from mnv2_sweep.cli.open import open_data
    from mnv2_sweep.paper.manifold import activities_table
    from mnv2_sweep.report.figures import draw_activity
    from mnv2_sweep.sweeps.settings import choose_device
    from mnv2_sweep.training.activity import measure_activities
    from mnv2_sweep.training.control import Control
    from mnv2_sweep.trials.trial import EMBEDDED, DataRef, Trial, change_recipe, find_recipe

    arch, *more = parse_bases(BASE if base is None else base, or_else="")
    if more:
        raise SweepError(f"--base {base}: one network is trained here; give one")
    length = {"images": images, "epochs": None} if images else {}
    recipe = change_recipe(find_recipe("short"), {"input_scale": input_scale or INPUT_SCALE, **length})
    dataset, _ = open_data(EMBEDDED if data is None else data)
    arch = replace(arch, classes=max(arch.classes, len(dataset.classes)))
    trial = Trial(arch, recipe, DataRef(dataset.name, dataset.fingerprint, len(dataset.classes)), seed)
    device = choose_device("auto")
    activities = measure_activities(trial, dataset, device, Control(log=lambda line: typer.echo(line, err=True)))
    typer.echo(align(activities_table(activities), left=("layer", "kind")) + "\n")
    return draw_activity(trial, activities, device, plots)
