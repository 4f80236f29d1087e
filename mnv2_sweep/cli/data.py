"""The commands `data ...`: data sets, shown as contact sheets."""

from typing import Annotated

import typer

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.size import Size, as_size, square
from mnv2_sweep.base.text import harmless
from mnv2_sweep.cli.options import PLOTS, DataOptions, Plots, expand_options

SMALLEST, LARGEST = 8, 256  # pixels of a side
SIDE, MARKED_SIDE = 96, 192  # where none is said

data_app = typer.Typer(no_args_is_help=True, help="Look at data sets.")


@data_app.command("show")
@expand_options
def data_show(
    options: DataOptions,
    side: Annotated[
        str | None,
        typer.Option(
            help="Size at which images are shown: a side in pixels, or 160x120. [default: 96; with boxes or masks 192]"
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "train",
    what: Annotated[
        str | None, typer.Option("--as", help="What is shown: classes, boxes or masks; default: what the data have.")
    ] = None,
    plots: Plots = PLOTS,
) -> None:
    """Draw a contact sheet: some images of every class, or images with their boxes or masks."""
    from mnv2_sweep.cli.progress import open_annotated, open_data
    from mnv2_sweep.data.catalog import count_classes
    from mnv2_sweep.data.marked import CLASSES, KINDS, describe_marked, find_kind
    from mnv2_sweep.report.figures import draw_marked, draw_sheet

    size, name = _parse_size(side) if side else None, options.data_name()
    if what not in (None, *KINDS):
        raise SweepError(f"--as {what}: one of {', '.join(KINDS)} is wanted")
    if (kind := what or find_kind(name)) != CLASSES:
        marked = open_annotated(kind, name, options.fit)
        typer.echo(harmless("\n".join(describe_marked(marked))))
        for path in draw_marked(marked, split, size or square(MARKED_SIDE), plots):
            typer.echo(path)
        return
    dataset, _ = open_data(name)
    found = {split: count_classes(dataset, split) for split in dataset.labels}
    for number, label in enumerate(dataset.classes):
        counts = ", ".join(f"{of_split[number]:,} {split}" for split, of_split in found.items())
        typer.echo(f"{label}: {counts}")
    for path in draw_sheet(dataset, split, size or square(SIDE), plots):
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
