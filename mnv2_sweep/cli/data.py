"""The commands `data ...`: data sets, shown as contact sheets."""

from typing import Annotated

import typer

from mnv2_sweep.cli.options import PLOTS, Data, Plots
from mnv2_sweep.trials.trial import EMBEDDED

data_app = typer.Typer(no_args_is_help=True, help="Look at data sets.")


@data_app.command("show")
def data_show(
    data: Data = None,
    side: Annotated[int, typer.Option(min=8, max=256, help="Side in pixels at which the images are shown.")] = 96,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "train",
    plots: Plots = PLOTS,
) -> None:
    """Draw a contact sheet: some images of every class."""
    from mnv2_sweep.cli.progress import open_data
    from mnv2_sweep.report.figures import draw_sheet

    dataset, _ = open_data(EMBEDDED if data is None else data)
    for number, name in enumerate(dataset.classes):
        counts = ", ".join(f"{(labels == number).sum():,} {split}" for split, labels in dataset.labels.items())
        typer.echo(f"{name}: {counts}")
    for path in draw_sheet(dataset, split, side, plots):
        typer.echo(path)
