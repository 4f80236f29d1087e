"""The commands `data ...`: data sets, shown as contact sheets."""

from typing import Annotated

import typer

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.size import Size, as_size
from mnv2_sweep.cli.options import PLOTS, DataOptions, Plots, expand_options

SMALLEST, LARGEST = 8, 256  # pixels of a side

data_app = typer.Typer(no_args_is_help=True, help="Look at data sets.")


@data_app.command("show")
@expand_options
def data_show(
    options: DataOptions,
    side: Annotated[str, typer.Option(help="Size at which the images are shown: a side in pixels, or 160x120.")] = "96",
    split: Annotated[str, typer.Option(help="train, val or test.")] = "train",
    plots: Plots = PLOTS,
) -> None:
    """Draw a contact sheet: some images of every class."""
    from mnv2_sweep.cli.progress import open_data
    from mnv2_sweep.data.catalog import count_classes
    from mnv2_sweep.report.figures import draw_sheet

    size = _parse_size(side)
    dataset, _ = open_data(options.data_name())
    found = {split: count_classes(dataset, split) for split in dataset.labels}
    for number, name in enumerate(dataset.classes):
        counts = ", ".join(f"{of_split[number]:,} {split}" for split, of_split in found.items())
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
