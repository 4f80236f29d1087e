"""What segmentation comes to without a network: the most frequent class everywhere, and two thresholds on brightness.

Both are chosen on the training images and counted on others. With two thresholds, each of the three ranges of
brightness has a class; thresholds and classes are those with the highest mIoU on the training images. Brightness is
the pixel's own, or how far it is from the mean of its image, in standard deviations: that is the fair one beside a
network whose images are normalised each by itself. Where classes differ in brightness, as bright cells on dark ground,
a network has to be better than both to be worth anything.
"""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import torch

from mnv2_sweep.data.batches import pick_luma
from mnv2_sweep.trials.regions import IGNORED, Regions, count_regions

LEVELS = 256
MIDDLE, STEP = 128, 32  # level of an image's mean, and levels in a standard deviation of its brightness
MOST_CLASSES = 5  # from which three ranges choose


class Ranges(NamedTuple):
    """Brightness below `low` is of the first class, from `high` on of the third, else of the second; classes may be
    the same."""

    low: int
    high: int
    classes: tuple[int, int, int]


def count_brightness(image: np.ndarray, truth: np.ndarray, classes: int, in_deviations: bool = False) -> np.ndarray:
    """Return how many pixels of each brightness are of each class, int64 [LEVELS, classes]; of an image uint8
    [h, w, 3], whose luma counts, and the classes of its pixels [h, w]. With `in_deviations`, brightness is in STEPs of
    a standard deviation from the image's mean, which is MIDDLE."""
    luma = pick_luma(torch.from_numpy(image)).numpy()[..., 0]
    if in_deviations:
        scaled = MIDDLE + STEP * (luma - luma.mean()) / max(luma.std(), 1e-6)
        luma = scaled.round().clip(0, LEVELS - 1)
    counted = truth != IGNORED
    pairs = luma[counted].astype(np.int64) * classes + truth[counted]
    return np.bincount(pairs, minlength=LEVELS * classes).reshape(LEVELS, classes)


def majority_regions(true: np.ndarray, label: int) -> Regions:
    """Return what comes of taking every pixel for one class, of how many pixels of each class images have [images,
    classes]."""
    own = np.arange(true.shape[1]) == label
    return Regions(true * own, true.sum(1, keepdims=True) * own, true)


def find_majority(true: np.ndarray) -> int:
    """Return the class with the most pixels, of [images, classes]; the first of several."""
    return int(true.sum(0).argmax())


def find_ranges(brightness: np.ndarray) -> Ranges:
    """Return the thresholds and classes with the highest mIoU, of pixels by brightness and class [LEVELS, classes];
    of several the first. Raises ValueError beyond MOST_CLASSES."""
    classes = brightness.shape[1]
    if classes > MOST_CLASSES:
        raise ValueError(f"two thresholds: {classes} classes given, at most {MOST_CLASSES} allowed")
    low, high = np.triu_indices(LEVELS + 1)
    before = np.concatenate([np.zeros((1, classes), np.int64), brightness.cumsum(0)])
    parts = (before[low], before[high] - before[low], before[-1] - before[high])  # [pairs of thresholds, classes]
    best, chosen = -1.0, Ranges(0, 0, (0, 0, 0))
    for labels in product(range(classes), repeat=3):
        mean = _mean_overlaps(parts, labels, before[-1])
        at = int(mean.argmax())
        if mean[at] > best:
            best, chosen = mean[at], Ranges(int(low[at]), int(high[at]), labels)
    return chosen


def _mean_overlaps(parts: Sequence[np.ndarray], labels: Sequence[int], true: np.ndarray) -> np.ndarray:
    """Return mIoU [rows] of three parts of the pixels, [rows, classes] each, that are taken for these classes."""
    hits, given = np.zeros(parts[0].shape), np.zeros(parts[0].shape)
    for part, label in zip(parts, labels, strict=True):
        hits[:, label] += part[:, label]
        given[:, label] += part.sum(1)
    there = true > 0
    return (hits[:, there] / (given + true - hits)[:, there]).mean(1)


def range_regions(brightness: np.ndarray, ranges: Ranges) -> Regions:
    """Return what the ranges make of images, of their pixels by brightness and class [images, LEVELS, classes]."""
    edges = (0, ranges.low, ranges.high, LEVELS)
    confusions = np.zeros((len(brightness), brightness.shape[2], brightness.shape[2]), np.int64)
    for begin, end, label in zip(edges, edges[1:], ranges.classes, strict=False):
        confusions[:, :, label] += brightness[:, begin:end].sum(1)
    return count_regions(confusions)
