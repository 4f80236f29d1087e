"""Scores that are no mean over images, such as mAP and mIoU -> their intervals over images, by the bootstrap.

Images are drawn anew from those that there are, as many of them, with repeats, and the score is that of what was drawn
(Efron 1979; percentiles of the draws). A score is given as a function of how often each image is there, which is much
quicker than counting it anew.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mnv2_sweep.base.intervals import CONFIDENCE

DRAWS = 1000
MOST_DRAWS = 10_000  # of images, held at once: 8 bytes each


class Interval(NamedTuple):
    """A score's interval at 95 %; NaN where fewer than half of the draws have a score."""

    low: float
    high: float


def draw_counts(images: int, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Return how often each image is drawn, float64 [draws, images]: the same ones for the same seed."""
    chosen = np.random.default_rng(seed).integers(images, size=(draws, images))
    rows = np.arange(draws)[:, None] * images
    return np.bincount((chosen + rows).ravel(), minlength=draws * images).reshape(draws, images).astype(float)


def bootstrap(score: Callable[[np.ndarray], np.ndarray], images: int, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Return the interval over images of a score, which is given as a function of weights [draws, images] -> [draws].
    At most MOST_DRAWS."""
    if images < 2:
        return Interval(np.nan, np.nan)
    values = score(draw_counts(images, min(draws, MOST_DRAWS), seed))
    known = values[np.isfinite(values)]
    if 2 * len(known) < len(values):
        return Interval(np.nan, np.nan)
    low, high = np.percentile(known, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)])
    return Interval(float(low), float(high))
