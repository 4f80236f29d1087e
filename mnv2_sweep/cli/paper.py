"""The command `paper`: the paper's tables beside our own counts."""

from typing import Annotated

import typer

from mnv2_sweep.cli.options import Json


def paper(
    table: Annotated[str | None, typer.Option(help="2, 3, 4, 5, 6, 7 or checkpoints; without it, all.")] = None,
    as_json: Json = False,
) -> None:
    """Print the paper's tables 2 to 7 and the published checkpoints: figure, our count, difference, reason."""
    from mnv2_sweep.paper.compare import paper_json, paper_text

    typer.echo(paper_json(table) if as_json else paper_text(table))
