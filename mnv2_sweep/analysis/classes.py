"""What networks made of each class: how much of it is right, what it is taken for; and what guessing alone reaches.

All of it follows from the class that each image was given (`trials.terms`), which is on record of every trial, and the
classes of the images. Recall is the share of a class's images that is right, the mean over seeds, with Wilson's
interval over the class's images; precision the share that is right of the images that were given the class.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mnv2_sweep.base.errors import StoreError
from mnv2_sweep.base.intervals import wilson_intervals
from mnv2_sweep.record.store import read_each, read_truth
from mnv2_sweep.trials.tasks import BALANCED, MACRO_F1, TOP1, TOP5, Score, main_score
from mnv2_sweep.trials.terms import Truth, find_predicted, unpack_terms
from mnv2_sweep.trials.trial import SPLITS
from mnv2_sweep.trials.ways import goes_on

MOST_CONFUSED = 200  # classes of one matrix, as a person can still look at it
UNKNOWN_CLASSES = (
    "which class each image was given is not on record of all results (an earlier version, or --no-images); train it "
    "again with --results elsewhere"
)
CLASS_COLUMNS = (
    *("network", "arch_key", "seeds", "split", "class", "images", "recall", "low", "high", "precision", "f1"),
    *("predicted", "taken_for", "taken_for_share"),
)


@dataclass(frozen=True, eq=False)
class Given:
    """What a network made of a split: the classes of the images [images], and those that they were given by each seed
    [seeds, images]."""

    network: str
    arch_key: str
    split: str
    truth: Truth
    predicted: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        return self.truth.labels[self.split]

    @property
    def seeds(self) -> int:
        return len(self.predicted)

    def count(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return of each class how many images it has, how many were given it, how many of these are right; the last
        two are means over seeds."""
        classes = len(self.truth.classes)
        right = self.predicted == self.labels
        hits = np.bincount(np.broadcast_to(self.labels, right.shape)[right], minlength=classes)
        given = np.bincount(self.predicted.ravel(), minlength=classes)
        return self.truth.counts(self.split), given / self.seeds, hits / self.seeds

    def confusion(self) -> np.ndarray:
        """Return how many images of each class (rows) were given each class, [classes, classes], means over seeds."""
        classes = len(self.truth.classes)
        pairs = np.bincount((self.labels * classes + self.predicted).ravel(), minlength=classes**2)
        return pairs.reshape(classes, classes) / self.seeds


def load_given(folder: Path, trials: pd.DataFrame, networks: set[str] | None = None) -> Iterator[Given]:
    """Yield what the networks of a table of trials (`load_frame`), or those with these keys, made of the validation
    images and then of the test images; a network trained on by itself not as that. Raises StoreError where that is not
    on record."""
    truth = read_truth(folder)
    done = trials[(trials["status"] == "done") & ~trials["training"].map(goes_on).astype(bool)]
    done = done if networks is None else done[done["arch_key"].isin(networks)]
    done = done.drop_duplicates(["arch_key", "seed"], keep="last").sort_values(["madds", "network", "seed"])
    if truth is None or done.empty:
        raise StoreError(f"{folder}: {UNKNOWN_CLASSES if len(done) else 'no trial has a result yet'}")
    for key, rows in done.groupby("arch_key", sort=False):
        try:
            each = read_each(folder, [*rows["trial_id"]])
            terms = [unpack_terms(each[name]) for name in rows["trial_id"]]
            for split in (split for split in SPLITS if split in truth.labels):
                predicted = np.stack([find_predicted(of_trial[split], truth.labels[split]) for of_trial in terms])
                yield Given(rows["network"].iloc[0], key, split, truth, predicted)
        except (KeyError, ValueError):
            raise StoreError(f"{folder}: {UNKNOWN_CLASSES}") from None


def tabulate_classes(given: Given) -> pd.DataFrame:
    """Return a row for each class: CLASS_COLUMNS. Recall is NaN of a class without images in the split, precision of
    one that no image was given. `taken_for` is the other class that most of its images were given, "" for none."""
    images, predicted, right = given.count()
    with np.errstate(invalid="ignore", divide="ignore"):
        recall, precision = right / images, right / predicted
        f1 = 2 * right / (images + predicted)
    low, high = wilson_intervals(recall, images)
    wrong, share = _taken_for(given)
    names = np.array([*given.truth.classes, ""], dtype=object)
    facts = {"network": given.network, "arch_key": given.arch_key, "seeds": given.seeds, "split": given.split}
    columns = {
        "class": given.truth.classes, "images": images, "recall": recall, "low": low, "high": high,
        "precision": precision, "f1": f1, "predicted": predicted, "taken_for": names[wrong], "taken_for_share": share,
    }  # fmt: skip
    return pd.DataFrame(columns).assign(**facts)[[*CLASS_COLUMNS]]


def _taken_for(given: Given) -> tuple[np.ndarray, np.ndarray]:
    """Return of each class the one that most of its wrong images were given, -1 for none, and what share of its images
    that is."""
    classes = len(given.truth.classes)
    taken, share = np.full(classes, -1), np.zeros(classes)
    is_wrong = given.predicted != given.labels
    pairs = (given.labels * classes + given.predicted)[is_wrong]
    found, counts = np.unique(pairs, return_counts=True)
    for at in np.argsort(counts, kind="stable"):  # the most frequent last
        taken[found[at] // classes] = found[at] % classes
        share[found[at] // classes] = counts[at]
    return taken, share / np.maximum(1, given.truth.counts(given.split) * given.seeds)


def balanced_interval(classes: pd.DataFrame) -> tuple[float, float]:
    """Return the interval of balanced accuracy over images, from those of each class's recall (`tabulate_classes`), as
    their images are independent: the distances to their ends add up as squares (Zou and Donner 2008)."""
    known = classes[classes["images"] > 0]
    recall, low, high = (known[name].to_numpy(float) for name in ("recall", "low", "high"))
    below, above = (float(np.sqrt((side**2).sum()) / len(known)) for side in (recall - low, high - recall))
    return float(recall.mean()) - below, float(recall.mean()) + above


def guess_score(score: Score, counts: np.ndarray) -> float:
    """Return what a network can reach of a score that never looks at the images, by the better of always saying the
    largest class and saying any class as often; `counts` are images of each class. NaN of other scores."""
    shares, classes = counts / max(1, counts.sum()), len(counts)
    if score == TOP1:
        return float(shares.max())
    if score == TOP5:
        return float(np.sort(shares)[-5:].sum())
    if score == BALANCED:
        return 1 / np.count_nonzero(counts)
    if score == MACRO_F1:
        evenly = (2 * shares / (1 + classes * shares)).mean()
        return float(max(evenly, 2 * shares.max() / (1 + shares.max()) / np.count_nonzero(counts)))
    return float("nan")


def guess_text(truth: Truth, score: Score) -> str:
    """Say what guessing reaches on the validation images."""
    counts = truth.counts("val")
    largest = truth.classes[int(counts.argmax())]
    share = guess_score(TOP1, counts)
    text = f"guessing: {TOP1.amount(share)} of the validation images are of the largest class, {largest}"
    return text if score == TOP1 else f"{text}; without looking {score.said(guess_score(score, counts))} at most"


def best_networks(summary: pd.DataFrame) -> list[str]:
    """Return the key of the best network of a summary by the score that ranks, of each kind of start."""
    score = main_score(summary)
    measured = summary[summary[score.name].notna()]
    kinds = measured.groupby("init", sort=False) if "init" in measured else [("", measured)]
    return [rows.loc[(score.sign * rows[score.name]).idxmax(), "arch_key"] for _, rows in kinds if len(rows)]
