"""The command `recommend`: which network of a sweep to take, within limits, and how sure that is."""

import typer

from mnv2_sweep.cli.options import RESULTS, AtLeast, Json, Results, SweepName, Wishes, Within


def recommend(
    sweep: SweepName = None,
    where: Wishes = None,
    at_least: AtLeast = 0.85,
    within: Within = None,
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
