"""Weights: a network's arrays with the record of their conventions, however they were stored."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mnv2_sweep.trials.weights import WeightsRecord


@dataclass(frozen=True, eq=False)
class Weights:
    """A network's arrays, float32, by the names of `models.build`, without a classifier's where there is none."""

    record: WeightsRecord
    arrays: dict[str, np.ndarray]
    notes: tuple[str, ...] = ()  # what a person should know: what was assumed, what was left out


def drop_background(weights: Weights) -> Weights:
    """Return the weights with ImageNet's 1000 classes, without the background that Google's have as class 0."""
    if weights.record.order != "imagenet after background":
        return weights
    cut = {name: weights.arrays[name][1:] for name in ("classifier.1.weight", "classifier.1.bias")}
    return replace(weights, record=replace(weights.record, classes=1000, order="imagenet"), arrays=weights.arrays | cut)


def turn_kernels(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays with every kernel larger than 1x1 turned by 180 degrees; twice is the same as not at all."""
    return {
        name: np.ascontiguousarray(array[:, :, ::-1, ::-1]) if array.ndim == 4 and array.shape[2] > 1 else array
        for name, array in arrays.items()
    }
