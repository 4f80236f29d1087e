"""Predictions -> an aligned table for people, CSV for programs, a contact sheet."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mnv2_sweep.analysis.confidence import Confidence
from mnv2_sweep.base.text import align, harmless_cell, percent, printable
from mnv2_sweep.plots.predictions import plot_predictions
from mnv2_sweep.plots.style import save_figure
from mnv2_sweep.sweeps.predict import Prediction

MOST_DRAWN = 64
NOT_SURE = "not sure"


def answer(prediction: Prediction, classes: Sequence[str], confidence: Confidence) -> str:
    """Return the class, or "not sure" below the threshold."""
    return classes[prediction.best] if prediction.is_sure(confidence.threshold) else NOT_SURE


def predictions_text(predictions: Sequence[Prediction], classes: Sequence[str], confidence: Confidence) -> str:
    """Return a table: the answer, and the two most probable classes of each photo."""
    rows = [("photo", "answer", "most probable", "%", "next", "%")]
    for one in predictions:
        first, *others = np.argsort(-one.probabilities, kind="stable")
        after = (classes[others[0]], percent(one.probabilities[others[0]])) if others else ("", "")
        shown = (answer(one, classes, confidence), classes[first], percent(one.probabilities[first]), *after)
        rows.append((printable(one.name), *shown))
    return align(rows, left=("photo", "answer", "most probable", "next"))


def predictions_csv(predictions: Sequence[Prediction], classes: Sequence[str], confidence: Confidence) -> str:
    """Return a row a photo: its answer, the most probable class, and the probability of every class."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["photo", "answer", "class", "probability", *map(harmless_cell, classes)])
    for one in predictions:
        names = (printable(one.name), answer(one, classes, confidence), classes[one.best])
        numbers = [f"{value:.6f}" for value in (one.probabilities[one.best], *one.probabilities)]
        writer.writerow([*map(harmless_cell, names), *numbers])
    return text.getvalue().rstrip("\n")


def confidence_text(confidence: Confidence, precision: float) -> str:
    """Say what the validation images have made of the network's probabilities."""
    asked, images = percent(precision), confidence.images
    if not images:
        return (
            "its probabilities are not calibrated, and it is never not sure, as nothing is known of this file on "
            "validation images"
        )
    if not confidence.share:
        return f"not sure of anything: no threshold has {asked} % right on the {images:,} validation images"
    return (
        f"not sure below {percent(confidence.threshold)} %: at and above it are {percent(confidence.share)} % of the "
        f"{images:,} validation images, {percent(confidence.precision)} % of them right ({asked} % asked for); "
        f"temperature {confidence.temperature:.2f}"
    )


def draw_predictions(
    predictions: Sequence[Prediction], classes: Sequence[str], confidence: Confidence, title: str, stem: Path
) -> list[Path]:
    """Draw the first MOST_DRAWN photos as they were seen, with the answers; return the files written."""
    drawn = predictions[:MOST_DRAWN]
    title += f"; the first {MOST_DRAWN} of {len(predictions):,}" if len(predictions) > MOST_DRAWN else ""
    sure = [one.is_sure(confidence.threshold) for one in drawn]
    lines = []
    for one, is_sure in zip(drawn, sure, strict=True):
        said = f"{classes[one.best]} {percent(one.probabilities[one.best], 0)} %"
        lines.append((said if is_sure else f"? {said}", printable(one.name.rpartition("/")[2])))
    return save_figure(plot_predictions([one.pixels for one in drawn], lines, sure, title), stem)
