"""The command `table`: a sweep's results as text, CSV or JSON."""

from typing import Annotated

import typer

from mnv2_sweep.cli.options import RESULTS, Csv, Json, Results, SweepName


def table(
    sweep: SweepName = None,
    trials: Annotated[bool, typer.Option("--trials", help="A row per trial instead of one per network.")] = False,
    as_json: Json = False,
    as_csv: Csv = False,
    results: Results = RESULTS,
) -> None:
    """Print a sweep's results, a row per network."""
    from mnv2_sweep.analysis.differences import load_readings
    from mnv2_sweep.analysis.stats import summarise
    from mnv2_sweep.analysis.verdict import sweep_verdict
    from mnv2_sweep.base.text import align
    from mnv2_sweep.record.folders import find_sweep, is_ablation
    from mnv2_sweep.record.frame import load_frame
    from mnv2_sweep.report.ablation import readings_text
    from mnv2_sweep.report.tables import frame_csv, frame_json, results_text, trials_table

    folder = find_sweep(results, sweep)
    frame = load_frame(folder)
    if as_json or as_csv:
        shown = frame if trials else summarise(frame)
        typer.echo(frame_json(shown) if as_json else frame_csv(shown))
    else:
        verdict = sweep_verdict(folder)
        typer.echo(align(trials_table(frame)) if trials else results_text(frame, verdict))
        protocol, readings = load_readings(folder) if is_ablation(folder) and not trials else (None, ())
        if any(one.seeds for one in readings):
            typer.echo("\n" + readings_text(readings, protocol.looks, peeked=protocol.peeked))
