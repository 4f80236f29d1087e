"""The command `predict`: what a trained network says of photos."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mnv2_sweep.cli.options import PLOTS, RESULTS, Csv, Plots, Results
from mnv2_sweep.trials.trial import EMBEDDED


def predict(
    photos: Annotated[Path, typer.Argument(metavar="PHOTO|FOLDER", help="A photo, or a folder or zip of some.")],
    sweep: Annotated[str | None, typer.Option(help="A sweep's name; without one, the sweep that ran last.")] = None,
    network: Annotated[
        str | None, typer.Option(help="As tables name it; default: the best of those that kept their weights.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Default: the first that kept its weights.")] = None,
    data: Annotated[
        str | None, typer.Option(help="As in run; default: what the sweep was run on, where it still is.")
    ] = None,
    precision: Annotated[
        float,
        typer.Option(help="The part of its answers that is right on the validation images; else it is not sure."),
    ] = 0.95,
    as_csv: Csv = False,
    results: Results = RESULTS,
    plots: Plots = PLOTS,
) -> None:
    """Say which classes photos are of, with probabilities calibrated on the validation images, or that it is not
    sure."""
    from dataclasses import replace

    from mnv2_sweep.base.errors import SweepError
    from mnv2_sweep.base.text import count_noun, printable
    from mnv2_sweep.cli.progress import open_data
    from mnv2_sweep.nets.arch import arch_label
    from mnv2_sweep.record.folders import find_sweep
    from mnv2_sweep.report.predictions import (
        MOST_DRAWN,
        confidence_text,
        draw_predictions,
        predictions_csv,
        predictions_text,
    )
    from mnv2_sweep.sweeps.export import export_network
    from mnv2_sweep.sweeps.predict import calibrate_network, choose_outcome, list_photos, predict_photos
    from mnv2_sweep.sweeps.schedule import read_data_name

    if not 0 < precision <= 1:
        raise SweepError(f"--precision {precision:g}: a part of all answers, above 0 and at most 1, as in 0.95")
    folder = find_sweep(results, sweep)
    trial = choose_outcome(folder, network, seed).trial
    listed = list_photos(photos)
    recorded = read_data_name(folder)
    if data is None:
        data = recorded if recorded and (recorded in EMBEDDED or Path(recorded).exists()) else EMBEDDED[0]
    dataset, _ = open_data(data)
    model = export_network(folder, dataset, arch_label(trial.arch), trial.seed, as_slice=False).model
    confidence = calibrate_network(model, trial, dataset, precision)
    predictions, failed = [], 0
    for one in predict_photos(model, trial, dataset, confidence.temperature, listed):
        if one.probabilities is None:
            failed += 1
            typer.echo(f"{printable(one.name)}: {one.reason}", err=True)
        else:
            predictions.append(one if len(predictions) < MOST_DRAWN else replace(one, pixels=None))
    classes = tuple(map(printable, dataset.classes))
    title = f"{arch_label(trial.arch)}, seed {trial.seed}, of {folder.name}"
    show = predictions_csv if as_csv else predictions_text
    if predictions or as_csv:
        typer.echo(show(predictions, classes, confidence))
    said = sys.stderr if as_csv else sys.stdout
    print(f"{title}: {confidence_text(confidence, precision)}", file=said)
    if predictions:
        stem = plots / folder.name / "predictions"
        for path in draw_predictions(predictions, classes, confidence, title, stem):
            print(path, file=said)
    if failed:
        print(f"{count_noun(failed, 'photo')} could not be read", file=sys.stderr)
    raise typer.Exit(1 if failed else 0)
