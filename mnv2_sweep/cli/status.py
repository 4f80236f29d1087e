"""The command `status`: how a sweep stands, also while it runs."""

import json
import time
from typing import Annotated

import typer

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.cli.options import RESULTS, Json, Results, SweepName

WATCH_SECONDS = 2.0


def status(
    sweep: SweepName = None,
    watch: Annotated[bool, typer.Option("--watch", help="Again every two seconds, until nothing is left.")] = False,
    kept: Annotated[
        bool,
        typer.Option("--kept", help="List which results have weights, where, which have none, and exports."),
    ] = False,
    as_json: Json = False,
    results: Results = RESULTS,
) -> None:
    """Say how a sweep stands, also while it runs: done, running, failed and why, the time left."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from mnv2_sweep.record.folders import find_sweep
    from mnv2_sweep.sweeps.status import read_status, status_json, status_text

    folder = find_sweep(results, sweep)
    ways = {"--watch": watch, "--json": as_json, "--kept": kept}
    if sum(ways.values()) > 1:
        raise SweepError(f"{' '.join(way for way, wanted in ways.items() if wanted)}: one of them")
    if kept:
        from mnv2_sweep.record.exports import list_exports
        from mnv2_sweep.sweeps.keep import list_kept

        exports = list_exports(folder)
        typer.echo(list_kept(folder) + (f"\n\n{exports}" if exports else ""))
        return
    if not watch:
        now = read_status(folder)
        typer.echo(json.dumps(status_json(now)) if as_json else status_text(now))
        return
    with Live(console=Console(), auto_refresh=False) as live:
        while True:
            now = read_status(folder)
            live.update(Text(status_text(now)), refresh=True)
            if not now.running:
                return
            time.sleep(WATCH_SECONDS)
