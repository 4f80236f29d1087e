"""Logits of images whose classes are known -> a temperature that makes probabilities honest, and where to be not sure.

A network's softmax is too sure of itself. Divided by one number, its temperature (Guo et al., arXiv 1706.04599), the
logits give probabilities that fit the known images best: those with the smallest cross-entropy.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

COLDEST, HOTTEST = 0.05, 20.0
PRECISIONS = (0.8, 0.9, 0.95, 0.98, 0.99)  # for which a written file has its threshold


@dataclass(frozen=True, slots=True)
class Confidence:
    """How sure a network may say it is: its `temperature`, and the probability from which on its answers count. Of the
    known `images`, that is a `share`, of which a part is right, `precision`; both 0 where no threshold gives what was
    asked for, and the threshold is then above 1."""

    temperature: float
    threshold: float
    images: int
    share: float
    precision: float


UNCALIBRATED = Confidence(1.0, 0.0, 0, 1.0, 0.0)  # no image is known: the softmax as it is, always answered


def fit_confidence(logits: np.ndarray, labels: np.ndarray, precision: float) -> Confidence:
    """Fit to logits [N, classes] and labels [N]: the lowest threshold at and above which at least that part of the
    answers is right."""
    temperature = fit_temperature(logits, labels)
    probabilities = softmax(logits / temperature, axis=1)
    sure, right = probabilities.max(1), probabilities.argmax(1) == labels
    order = np.argsort(-sure, kind="stable")
    sure, right = sure[order], right[order]
    last = np.append(sure[1:] < sure[:-1], True)  # equal ones are answered together
    precisions = np.cumsum(right) / np.arange(1, len(right) + 1)
    enough = np.flatnonzero(last & (precisions >= precision))
    if not len(enough):
        return Confidence(temperature, 2.0, len(labels), 0.0, 0.0)
    at = enough[-1]
    return Confidence(temperature, float(sure[at]), len(labels), float((at + 1) / len(labels)), float(precisions[at]))


def confidence_record(logits: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Fit for each of PRECISIONS -> as JSON has it, from which `load_confidence` makes one of them again."""
    fitted = [(asked, fit_confidence(logits, labels, asked)) for asked in PRECISIONS]
    levels = [
        {"asked": asked, "threshold": one.threshold, "share": one.share, "right": one.precision}
        for asked, one in fitted
    ]
    return {"temperature": fitted[0][1].temperature, "images": len(labels), "levels": levels}


def load_confidence(record: Mapping[str, Any], precision: float) -> Confidence:
    """Return what `confidence_record` has for one of PRECISIONS. Raises KeyError, TypeError or StopIteration on another
    record."""
    level = next(level for level in record["levels"] if level["asked"] == precision)
    return Confidence(record["temperature"], level["threshold"], record["images"], level["share"], level["right"])


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature with the smallest mean cross-entropy, within COLDEST and HOTTEST."""
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        return -log_softmax(logits / np.exp(log_temperature), axis=1)[rows, labels].mean()

    found = minimize_scalar(loss, bounds=np.log([COLDEST, HOTTEST]), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))
