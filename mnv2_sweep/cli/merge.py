"""The command `merge`: results folders of several machines into one."""

from pathlib import Path
from typing import Annotated

import typer

from mnv2_sweep.base.text import count_noun, printable
from mnv2_sweep.cli.options import RESULTS, Results, tell


def merge(
    other: Annotated[Path, typer.Argument(help="The results folder of another machine, or one sweep in it.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be added and stop.")] = False,
    results: Results = RESULTS,
) -> None:
    """Join the results of several machines: the same trial once, conflicts shown."""
    from mnv2_sweep.sweeps.merge import plan_merge, write_merge

    merges = plan_merge(other, results)
    for one in merges:
        theirs = other / one.sweep if (other / one.sweep).is_dir() else other
        if not dry_run:
            write_merge(one, theirs, results)
        added = count_noun(len(one.added), "trial")
        exports = f", {count_noun(len(one.exports), 'record')} of exports" if one.exports else ""
        done = "to add" if dry_run else "added"
        typer.echo(f"{printable(one.sweep)}: {added}{exports} {done}, {one.same} here already")
        for line in one.conflicts:
            tell(f"conflict: {line}")
    raise typer.Exit(1 if any(one.conflicts for one in merges) else 0)
