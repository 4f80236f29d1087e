"""Options that several commands share."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from mnv2_sweep.errors import SweepError


def _one_format(context: typer.Context, wanted: bool) -> bool:
    if wanted and context.params.get("as_json"):
        raise SweepError("--json --csv: one of them")
    return wanted


SpaceFile = Annotated[Path, typer.Argument(help="A design space, for instance spaces/paper_grid.yaml.")]
SweepName = Annotated[str | None, typer.Argument(help="A sweep's name; without one, the sweep that ran last.")]
Results = Annotated[Path, typer.Option(help="Folder of all results.")]
Plots = Annotated[Path, typer.Option(help="Folder for the plots.")]
Data = Annotated[str | None, typer.Option(help="'shapes' (built in), or a folder or zip of class folders.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Trials at once; default: one per core, or one on a GPU.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV.", callback=_one_format)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop; no results are written.")]
RESULTS, PLOTS = Path("results"), Path("plots")


def drop_output() -> None:
    """Send what is still to be printed nowhere: who reads it has left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
