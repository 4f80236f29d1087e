"""What a detector found in each image -> its average precision, of all images alike or weighed; no torch.

Matches say of each detection which truths of its image it found, as the metric's library decided it, and no more: no
boxes, no scores, but for their order. That is enough for the average precision of any images among them, so that mAP
has an interval over images, and it is little to keep with a result: some 5 bytes a detection before it is zipped.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

THRESHOLDS = np.linspace(0.5, 0.95, 10)  # of the overlap, COCO's
RECALLS = np.linspace(0, 1, 101)  # at which precision is read off, COCO's
AT_ONCE = 8_000_000  # weights of detections in draws
TERMS = ("ap_images", "ap_hits", "ap_left_out", "ap_detections", "ap_truths")  # names among a result's terms


class Precision(NamedTuple):
    """mAP over THRESHOLDS and mAP at an overlap of 0.5, [draws] each; NaN in a draw without any truth."""

    map: np.ndarray
    map50: np.ndarray


@dataclass(frozen=True, eq=False)
class Matches:
    """The detections of a split, class after class, in each class the highest score first.

    images: [D] the image of each, from 0; hits, left_out: uint16 [D], in which bit t says whether it found a truth at
    THRESHOLDS[t], or counts for nothing there, as what it found is a crowd; detections: [classes] how many there are of
    each class; truths: [images, classes] how many truths there are, without crowds.
    """

    images: np.ndarray
    hits: np.ndarray
    left_out: np.ndarray
    detections: np.ndarray
    truths: np.ndarray

    def terms(self) -> dict[str, np.ndarray]:
        """Return it as terms of a result (`trials.terms`): rows of whole numbers."""
        arrays = (self.images, self.hits, self.left_out, self.detections, self.truths.ravel())
        return {name: array.astype(np.int64) for name, array in zip(TERMS, arrays, strict=True)}

    def precision(self, weights: np.ndarray | None = None) -> Precision:
        """Return mAP of the images, or in draws with these weights [draws, images]: an image of weight 2 counts as if
        it were there twice, one of 0 as if it were not. A class without truth in a draw is left out of its mean."""
        weights = np.ones((1, len(self.truths))) if weights is None else np.asarray(weights, dtype=float)
        step = max(1, AT_ONCE // max(1, len(self.images)))
        parts = [self._draw(weights[begin : begin + step]) for begin in range(0, len(weights), step)]
        return Precision(*map(np.concatenate, zip(*parts, strict=True)))

    def _draw(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ends, sums, counts = np.cumsum(self.detections), np.zeros((len(weights), len(THRESHOLDS))), 0
        truths = weights @ self.truths
        for label, (begin, end) in enumerate(zip(ends - self.detections, ends, strict=True)):
            there = truths[:, label] > 0
            if there.any():
                of_class = self._class_precision(slice(begin, end), weights[there], truths[there, label])
                sums[there] += of_class
                counts = counts + there
        with np.errstate(invalid="ignore", divide="ignore"):
            means = sums / np.broadcast_to(counts, len(weights))[:, None]
        return means.mean(1), means[:, 0]

    def _class_precision(self, rows: slice, weights: np.ndarray, truths: np.ndarray) -> np.ndarray:
        """Return the average precision of a class at each threshold [draws, thresholds]."""
        images, hits, left_out = self.images[rows], self.hits[rows], self.left_out[rows]
        counted, found = weights[:, images], np.zeros((len(weights), len(THRESHOLDS)))
        every = counted.cumsum(1)
        for t in range(len(THRESHOLDS)):
            at = np.flatnonzero(hits >> t & 1)  # precision is highest, and recall grows, at hits alone
            if len(at):
                out = left_out >> t & 1
                given = (counted * (1 - out)).cumsum(1)[:, at] if out.any() else every[:, at]
                found[:, t] = _read_off(counted[:, at].cumsum(1), given, truths)
        return found


def _read_off(right: np.ndarray, given: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """Return the mean over RECALLS of the highest precision at that recall or more, [draws]: of hits in order [draws,
    n], how many are right and how many were given by then, of `truths` [draws]."""
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(given > 0, right / given, 0.0)
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = right / truths[:, None]
    reached = np.searchsorted(RECALLS, recall, side="right")  # of RECALLS, by each hit
    return (precision * np.diff(reached, axis=1, prepend=0)).sum(1) / len(RECALLS)


def read_matches(terms: Mapping[str, np.ndarray]) -> Matches:
    """Return the matches of a split from its terms. Raises KeyError where they are not on record, ValueError where they
    don't go together."""
    images, hits, left_out, detections, truths = (terms[name] for name in TERMS)
    if len({len(images), len(hits), len(left_out), int(detections.sum())}) > 1 or len(truths) % len(detections):
        raise ValueError("terms of boxes: numbers that don't go together")
    return Matches(images, hits, left_out, detections, truths.reshape(-1, len(detections)))
