"""The commands `data ...`: data sets, shown as contact sheets."""

from typing import Annotated

import typer

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.size import Size, as_size
from mnv2_sweep.cli.options import PLOTS, Data, Plots
from mnv2_sweep.trials.trial import EMBEDDED

SMALLEST, LARGEST = 8, 256  # pixels of a side

data_app = typer.Typer(no_args_is_help=True, help="Look at data sets.")


@data_app.command("show")
def data_show(
    data: Data = None,
    side: Annotated[str, typer.Option(help="Size at which the images are shown: a side in pixels, or 160x120.")] = "96",
    split: Annotated[str, typer.Option(help="train, val or test.")] = "train",
    plots: Plots = PLOTS,
) -> None:
    """Draw a contact sheet: some images of every class."""
    from mnv2_sweep.cli.progress import open_data
    from mnv2_sweep.report.figures import draw_sheet

    size = _parse_size(side)
    dataset, _ = open_data(EMBEDDED[0] if data is None else data)
    for number, name in enumerate(dataset.classes):
        counts = ", ".join(f"{(labels == number).sum():,} {split}" for split, labels in dataset.labels.items())
        typer.echo(f"{name}: {counts}")
    for path in draw_sheet(dataset, split, size, plots):
        typer.echo(path)


def _parse_size(word: str) -> Size:
    try:
        size = as_size(word)
    except ValueError:
        size = None
    if size is None or not SMALLEST <= min(size) <= max(size) <= LARGEST:
        raise SweepError(
            f"--side {word}: a side from {SMALLEST} to {LARGEST} pixels is wanted, or width x height as in 160x120"
        )
    return size
