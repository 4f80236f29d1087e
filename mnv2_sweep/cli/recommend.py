"""The command `recommend`: which network of a sweep to take, within limits, and how sure that is."""

from typing import Annotated

import typer

from mnv2_sweep.cli.options import RESULTS, Json, Results, SweepName


def recommend(
    sweep: SweepName = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WISH",
            help='What the network may cost, as in "madds <= 100M", in the words of a space\'s constraints. Several '
            "with the option again; all are kept.",
        ),
    ] = None,
    at_least: Annotated[
        float, typer.Option(help="The probability of being the best that fits which makes the answer sure.")
    ] = 0.85,
    within: Annotated[
        float | None,
        typer.Option(
            help="What may be lost on average for a cheaper network that the data can't tell from the best, in the "
            "score's unit; default: 0.5 points of a score in percent, else nothing.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
    results: Results = RESULTS,
) -> None:
    """Say which network of a sweep to take, how sure that is, and what would settle it."""
    import json

    from mnv2_sweep.analysis.advice import advice_record, advice_text
    from mnv2_sweep.analysis.recommend import recommend as find_advice
    from mnv2_sweep.analysis.sweep import load_sweep
    from mnv2_sweep.record.folders import find_sweep

    advice = find_advice(load_sweep(find_sweep(results, sweep)), where or (), at_least, within)
    typer.echo(json.dumps(advice_record(advice), indent=2) if as_json else advice_text(advice))
