"""What networks made of each class -> an aligned table for people; a figure of what classes were taken for."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mnv2_sweep.analysis.classes import (
    MOST_CONFUSED,
    balanced_interval,
    best_networks,
    guess_text,
    load_given,
    tabulate_classes,
)
from mnv2_sweep.analysis.stats import summarise
from mnv2_sweep.base.errors import StoreError
from mnv2_sweep.base.text import align, count_noun, harmless, percent
from mnv2_sweep.plots.confusion import confusion_words, plot_confusion
from mnv2_sweep.plots.style import save_figure
from mnv2_sweep.record.folders import EXAMPLE
from mnv2_sweep.record.frame import load_frame
from mnv2_sweep.trials.tasks import BALANCED, CLASSIFICATION, main_score

MOST_SHOWN = 40  # classes of one network, the worst of more
SPLIT_WORDS = {"val": "validation"}
MOST_NAMES = 8


def load_classes(folder: Path, trials: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each network, split and class. Raises StoreError."""
    return pd.concat([tabulate_classes(given) for given in load_given(folder, trials)], ignore_index=True)


def classes_text(folder: Path, trials: pd.DataFrame) -> str:
    """Say what the best network, of each kind of start, made of each class. Raises StoreError."""
    summary = summarise(trials)
    blocks = []
    for key in best_networks(summary):
        row = summary[summary["arch_key"] == key].iloc[0]
        for given in load_given(folder, trials, {key}):
            table = tabulate_classes(given)
            blocks.append("\n".join(_class_lines(row, given.split, table)))
            truth = given.truth
    if not blocks:
        raise StoreError(f"{folder}: no trial has a result yet")
    return harmless("\n\n".join([*blocks, guess_text(truth, main_score(summary))]))


def _class_lines(row: pd.Series, split: str, table: pd.DataFrame) -> list[str]:
    prefix = "" if split == "val" else f"{split}_"
    low, high = balanced_interval(table)
    score = main_score(row.index)
    said = [score.said(row[f"{prefix}{score.name}"])]
    for other in CLASSIFICATION.ranked_by(score.name).others:
        value = row.get(f"{prefix}{other.name}")
        if pd.notna(value):
            said.append(other.said(value) + (f" (95 % {percent(low)} to {percent(high)})" if other == BALANCED else ""))
    if pd.notna(row.get(f"{prefix}loss")):
        said.append(f"loss {row[f'{prefix}loss']:.3f}")
    images, seeds = int(table["images"].sum()), count_noun(int(table["seeds"].iloc[0]), "seed")
    head = f"{row['network']}, {SPLIT_WORDS.get(split, split)}, {images:,} images, mean over {seeds}: {', '.join(said)}"
    lines = [head, "", align(class_rows(table), left=("class", "mostly taken for"))]
    if len(table) > MOST_SHOWN:
        lines.append(f"shown: the {MOST_SHOWN} classes with the lowest recall of {len(table):,}; --csv has all")
    never = table[(table["images"] > 0) & (table["predicted"] == 0)]["class"].tolist()
    if never:
        more = f" and {len(never) - MOST_NAMES:,} more" if len(never) > MOST_NAMES else ""
        lines.append(f"never predicted: {', '.join(never[:MOST_NAMES])}{more}")
    return lines


def class_rows(table: pd.DataFrame) -> list[list[str]]:
    """Return header and a row for each class of a network, of more than MOST_SHOWN those with the lowest recall."""
    shown = table if len(table) <= MOST_SHOWN else table.sort_values("recall", kind="stable").head(MOST_SHOWN)
    rows = [["class", "images", "recall", "95 % images", "precision", "F1", "mostly taken for"]]
    for one in shown.to_dict("records"):
        taken = f"{one['taken_for']} {percent(one['taken_for_share'], 0)} %" if one["taken_for"] else ""
        interval = "-" if np.isnan(one["low"]) else f"{percent(one['low'])}-{percent(one['high'])}"
        numbers = [_percent(one[name]) for name in ("recall", "precision", "f1")]
        rows.append([one["class"], f"{one['images']:,}", numbers[0], interval, *numbers[1:], taken])
    return rows


def _percent(value: float) -> str:
    return "-" if np.isnan(value) else percent(value)


def draw_confusion(folder: Path, plots: Path) -> list[Path]:
    """Draw what the best network, of each kind of start, took the validation images of each class for; return the files
    written. Raises StoreError."""
    trials = load_frame(folder)
    summary = summarise(trials)
    score, keys, written = main_score(summary), best_networks(summary), []
    if not keys:
        raise StoreError(f"{folder}: no trial has a result yet, so there is nothing to draw")
    for at, key in enumerate(keys):
        given = next(iter(load_given(folder, trials, {key})))
        if len(given.truth.classes) > MOST_CONFUSED:
            raise StoreError(
                f"{folder}: {len(given.truth.classes):,} classes, at most {MOST_CONFUSED} can be drawn; "
                "'mnv2-sweep table --classes' lists what each is taken for"
            )
        row = summary[summary["arch_key"] == key].iloc[0]
        title = f"{row['network']} on {trials['data'].iloc[0]}: {score.said(row[score.name])}"
        fig = plot_confusion(given, title, confusion_words(given))
        stem = "confusion" + (f"-{at + 1}" if len(keys) > 1 else "")
        last: Sequence[Path] = [] if folder.name == EXAMPLE else [plots / stem]
        written += save_figure(fig, plots / folder.name / stem, *last)
    return written
