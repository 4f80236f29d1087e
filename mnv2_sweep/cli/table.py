"""The command `table`: a sweep's results as text, CSV or JSON."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnv2_sweep.base.errors import StoreError, SweepError
from mnv2_sweep.cli.options import RESULTS, Costs, Csv, Json, Results, SweepName

if TYPE_CHECKING:
    import pandas as pd

MOST_PAIRS = 45  # of ten networks; of more, a person sees those that are near in MAdds


def table(
    sweep: SweepName = None,
    trials: Annotated[bool, typer.Option("--trials", help="A row per trial instead of one per network.")] = False,
    pairs: Annotated[
        bool,
        typer.Option(
            "--pairs", help="A row per pair of networks, compared image by image; of many, those near in MAdds."
        ),
    ] = False,
    classes: Annotated[
        bool,
        typer.Option(
            "--classes",
            help="A row per class of the best network: recall, precision, what it is taken for; --csv and --json: of "
            "every network.",
        ),
    ] = False,
    costs: Costs = None,
    as_json: Json = False,
    as_csv: Csv = False,
    results: Results = RESULTS,
) -> None:
    """Print a sweep's results, a row per network."""
    from mnv2_sweep.analysis.odds import add_odds, load_odds
    from mnv2_sweep.analysis.stats import summarise
    from mnv2_sweep.analysis.verdict import sweep_verdict
    from mnv2_sweep.base.text import align
    from mnv2_sweep.record.folders import find_sweep, is_ablation
    from mnv2_sweep.record.frame import load_frame
    from mnv2_sweep.record.store import read_truth
    from mnv2_sweep.report.costs import load_costs
    from mnv2_sweep.report.tables import frame_csv, frame_json, results_text, trials_table

    if len(kinds := [name for name, wanted in _kinds(pairs, trials, classes) if wanted]) > 1:
        raise SweepError(f"{' '.join(kinds)}: one of them")
    if costs and kinds and not trials:
        raise SweepError(f"table: --cost {kinds[0]}: one of them; costs are of networks")
    if costs and trials and not (as_json or as_csv):
        raise SweepError("table: --cost --trials: costs are of networks; leave out --trials, or give --csv or --json")
    folder = find_sweep(results, sweep)
    frame = load_frame(folder)
    further = load_costs(folder, costs or [])
    if pairs:
        show_pairs(folder, frame, as_json, as_csv)
        return
    if classes:
        show_classes(folder, frame, as_json, as_csv)
        return
    if as_json or as_csv:
        shown = frame if trials else add_odds(summarise(frame), load_odds(folder, frame))
        shown = further.add(shown)
        typer.echo(frame_json(shown) if as_json else frame_csv(shown))
    else:
        verdict = sweep_verdict(folder)
        if trials:
            typer.echo(align(trials_table(frame)))
        else:
            typer.echo(results_text(frame, verdict, load_odds(folder, frame), read_truth(folder), further))
        if is_ablation(folder) and not trials:
            show_readings(folder)


def _kinds(pairs: bool, trials: bool, classes: bool) -> list[tuple[str, bool]]:
    return [("--pairs", pairs), ("--trials", trials), ("--classes", classes)]


def show_readings(folder: Path) -> None:
    """Print what the paired experiments of an ablation say so far."""
    from mnv2_sweep.analysis.differences import load_readings
    from mnv2_sweep.report.ablation import readings_text

    protocol, readings = load_readings(folder)
    if any(one.seeds for one in readings):
        typer.echo("\n" + readings_text(readings, protocol.looks, peeked=protocol.peeked))


def show_classes(folder: Path, frame: "pd.DataFrame", as_json: bool, as_csv: bool) -> None:
    """Print what networks made of each class. Raises StoreError where that is not on record."""
    from mnv2_sweep.report.classes import classes_text, load_classes
    from mnv2_sweep.report.tables import frame_csv, frame_json

    if as_json or as_csv:
        table = load_classes(folder, frame)
        typer.echo(frame_json(table) if as_json else frame_csv(table))
    else:
        typer.echo(classes_text(folder, frame))


def show_pairs(folder: Path, frame: "pd.DataFrame", as_json: bool, as_csv: bool) -> None:
    """Print the differences between networks. Raises StoreError where they are not on record image by image."""
    import pandas as pd

    from mnv2_sweep.analysis.answers import load_answers, split_kinds
    from mnv2_sweep.analysis.odds import UNKNOWN_ODDS, unknown_odds
    from mnv2_sweep.analysis.pairs import WORDS, list_pairs, pairs_table, settled_text, splits_text
    from mnv2_sweep.base.text import align
    from mnv2_sweep.report.tables import frame_csv, frame_json
    from mnv2_sweep.trials.tasks import main_score

    kinds = split_kinds(frame)
    loaded = [(load_answers(folder, rows), rows) for rows in kinds.values()]
    if not loaded or any(answers is None for answers, _ in loaded):
        why = unknown_odds(main_score(frame))
        advice = ", nor how networks differ; train it again with --results elsewhere" if why == UNKNOWN_ODDS else ""
        raise StoreError(f"{folder}: {why}{advice}")
    every = sum(len(answers.networks) * (len(answers.networks) - 1) // 2 for answers, _ in loaded)
    whole, near_only = as_json or as_csv, not (as_json or as_csv) and every > MOST_PAIRS
    pairs = pd.concat([list_pairs(answers, rows, len(kinds) > 1, near_only) for answers, rows in loaded])
    if whole:
        typer.echo(frame_json(pairs) if as_json else frame_csv(pairs))
        return
    if pairs.empty:
        typer.echo(
            "no two networks to compare" + (" within 25 % of MAdds; --csv lists every pair" if near_only else "")
        )
        return
    score = main_score(frame)
    closing = [settled_text(pairs, score), splits_text(frame) if len(kinds) == 1 else ""]
    closing += [f"shown: pairs within 25 % of MAdds; all {every:,}: --csv or --json"] if near_only else []
    typer.echo("\n".join([align(pairs_table(pairs, score), WORDS), "", *filter(None, closing)]))
