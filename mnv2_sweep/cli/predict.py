"""The command `predict`: what a trained network says of photos."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from mnv2_sweep.cli.options import PLOTS, RESULTS, Csv, FollowLinks, Plots, Results, ZipEncoding

if TYPE_CHECKING:
    from mnv2_sweep.analysis.confidence import Confidence
    from mnv2_sweep.sweeps.predict import Classifier, Photos
    from mnv2_sweep.trials.trial import Trial


def predict(
    photos: Annotated[Path, typer.Argument(metavar="PHOTO|FOLDER", help="A photo, or a folder, zip or tar of some.")],
    sweep: Annotated[str | None, typer.Option(help="A sweep's name; without one, the sweep that ran last.")] = None,
    network: Annotated[
        str | None, typer.Option(help="As tables name it; default: the best of those that kept their weights.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Default: the first that kept its weights.")] = None,
    file: Annotated[
        Path | None,
        typer.Option(help="A file that export --to wrote, or its folder, instead of a sweep's network: run as it is."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="As in run; default: what the sweep was run on, where it still is.")
    ] = None,
    precision: Annotated[
        float,
        typer.Option(help="The part of its answers that is right on the validation images; else it is not sure."),
    ] = 0.95,
    zip_encoding: ZipEncoding = None,
    follow_links: FollowLinks = False,
    as_csv: Csv = False,
    results: Results = RESULTS,
    plots: Plots = PLOTS,
) -> None:
    """Say which classes photos are of, with probabilities calibrated on the validation images, or that it is not
    sure."""
    from mnv2_sweep.base.errors import SweepError
    from mnv2_sweep.data.asked import PhotoOptions
    from mnv2_sweep.sweeps.predict import list_photos

    if not 0 < precision <= 1:
        raise SweepError(f"--precision {precision:g}: a part of all answers, above 0 and at most 1, as in 0.95")
    chosen = {"--sweep": sweep, "--network": network, "--seed": seed, "--data": data}
    given = [option for option, value in chosen.items() if value is not None]
    if file is not None and given:
        raise SweepError(f"{' '.join(given)}: of a sweep's networks; leave out either that or --file")
    reading = PhotoOptions(zip_encoding=zip_encoding or "", follow_links=follow_links)
    if file is not None:
        listed, speaker = list_photos(photos, reading), _open_file(file, precision)
    else:
        folder, trial = _choose_trial(results, sweep, network, seed)
        listed = list_photos(photos, reading)
        speaker = _open_network(folder, trial, data, precision)
    raise typer.Exit(1 if _say_predictions(speaker, listed, precision, plots, as_csv) else 0)


class _Speaker(NamedTuple):
    """What answers, how sure it may be, how it is called, and the folder of its plot."""

    classifier: "Classifier"
    confidence: "Confidence"
    title: str
    plot_folder: str


def _open_file(file: Path, precision: float) -> _Speaker:
    from mnv2_sweep.base.text import printable
    from mnv2_sweep.sweeps.exported import open_exported

    opened = open_exported(file, precision)
    if opened.note:
        typer.echo(f"note: {printable(opened.note)}", err=True)
    return _Speaker(opened.classifier, opened.confidence, opened.title, opened.path.parent.resolve().name)


def _choose_trial(results: Path, sweep: str | None, network: str | None, seed: int | None) -> "tuple[Path, Trial]":
    from mnv2_sweep.record.folders import find_sweep
    from mnv2_sweep.sweeps.predict import choose_outcome

    folder = find_sweep(results, sweep)
    return folder, choose_outcome(folder, network, seed).trial


def _open_network(folder: Path, trial: "Trial", data: str | None, precision: float) -> _Speaker:
    from mnv2_sweep.base.errors import SweepError
    from mnv2_sweep.cli.progress import open_recorded
    from mnv2_sweep.sweeps.export import export_network, recorded_label
    from mnv2_sweep.sweeps.predict import calibrate_network, network_classifier

    name, dataset = recorded_label(folder, trial), open_recorded(folder, trial, data)
    if dataset is None:
        raise SweepError(
            "--data: probabilities are calibrated on the validation images; give their place, or a written file that "
            "was calibrated when it was exported: --file FILE"
        )
    model = export_network(folder, dataset, name, trial.seed, as_slice=False).model
    classifier = network_classifier(model, trial, dataset)
    confidence = calibrate_network(classifier, dataset, precision)
    return _Speaker(classifier, confidence, f"{name}, seed {trial.seed}, of {folder.name}", folder.name)


def _say_predictions(speaker: _Speaker, listed: "Photos", precision: float, plots: Path, as_csv: bool) -> int:
    """Print what is said of each photo and draw some; return how many could not be read."""
    from dataclasses import replace

    from mnv2_sweep.base.text import count_noun, printable
    from mnv2_sweep.report.predictions import (
        MOST_DRAWN,
        confidence_text,
        draw_predictions,
        predictions_csv,
        predictions_text,
    )
    from mnv2_sweep.sweeps.predict import predict_photos

    classifier, confidence, title, plot_folder = speaker
    predictions, failed = [], 0
    for one in predict_photos(classifier, confidence.temperature, listed):
        if one.probabilities is None:
            failed += 1
            typer.echo(f"{printable(one.name)}: {one.reason}", err=True)
        else:
            predictions.append(one if len(predictions) < MOST_DRAWN else replace(one, pixels=None))
    classes = tuple(map(printable, classifier.classes))
    show = predictions_csv if as_csv else predictions_text
    if predictions or as_csv:
        typer.echo(show(predictions, classes, confidence))
    said = sys.stderr if as_csv else sys.stdout
    print(f"{printable(title)}: {confidence_text(confidence, precision)}", file=said)
    if predictions:
        for path in draw_predictions(predictions, classes, confidence, title, plots / plot_folder / "predictions"):
            print(printable(str(path)), file=said)
    if failed:
        print(f"{count_noun(failed, 'photo')} could not be read", file=sys.stderr)
    return failed
