"""What a segmenter made of each image's pixels -> intersection over union of classes, and their mean; no torch.

Pixels are summed over all images before anything is divided: most images lack some class, and a mean of IoUs over
images would mean something else. Counts of single images are kept, so that mIoU has an interval over images.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

IGNORED = 255  # the value of pixels of which nobody says what they are; they count for nothing
TERMS = ("iou_hits", "iou_given", "iou_true")  # names among a result's terms


@dataclass(frozen=True, eq=False)
class Regions:
    """Pixels of each image by class, whole numbers [images, classes]: how many are of it and were taken for it, how
    many were taken for it, how many are of it."""

    hits: np.ndarray
    given: np.ndarray
    true: np.ndarray

    @property
    def absent(self) -> np.ndarray:
        """Return the classes of which no image has a pixel; the mean leaves them out."""
        return np.flatnonzero(self.true.sum(0) == 0)

    def terms(self) -> dict[str, np.ndarray]:
        """Return it as terms of a result (`trials.terms`): rows of whole numbers, image after image."""
        return {name: getattr(self, name.removeprefix("iou_")).astype(np.int64).ravel() for name in TERMS}

    def overlaps(self, weights: np.ndarray | None = None) -> np.ndarray:
        """Return the IoU of each class over all images, [draws, classes], in draws with these weights [draws, images];
        one draw without them. NaN for a class that is absent in a draw: what was taken for it is a miss of others."""
        weights = np.ones((1, len(self.true))) if weights is None else np.asarray(weights, dtype=float)
        hits, given, true = (weights @ part for part in (self.hits, self.given, self.true))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(true > 0, hits / (given + true - hits), np.nan)

    def mean_overlap(self, weights: np.ndarray | None = None) -> np.ndarray:
        """Return mIoU [draws], the mean over the classes that are there; NaN where none is."""
        overlaps = self.overlaps(weights)
        there = ~np.isnan(overlaps)
        with np.errstate(invalid="ignore"):
            return np.where(there, overlaps, 0).sum(1) / np.where(there.any(1), there.sum(1), np.nan)

    def accuracy(self) -> float:
        """Return the share of the pixels that were taken for what they are; NaN where there are none."""
        total = self.true.sum()
        return float(self.hits.sum() / total) if total else float("nan")


def count_regions(confusions: np.ndarray) -> Regions:
    """Return the counts of confusion matrices [images, classes, classes], of which row k has the pixels of class k by
    what they were taken for."""
    return Regions(np.diagonal(confusions, axis1=1, axis2=2), confusions.sum(1), confusions.sum(2))


def read_regions(terms: Mapping[str, np.ndarray], classes: int) -> Regions:
    """Return the counts of a split from its terms. Raises KeyError where they are not on record, ValueError where they
    don't go together."""
    arrays = [terms[name] for name in TERMS]
    if len({len(array) for array in arrays}) > 1 or len(arrays[0]) % classes:
        raise ValueError("terms of pixels: numbers that don't go together")
    return Regions(*(array.reshape(-1, classes) for array in arrays))
