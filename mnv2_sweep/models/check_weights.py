"""Weights and a few photos -> for which padding and pixels they were trained, without a label.

A batch norm holds the mean and variance of what it read in training. Photos that come as they came then have nearly the
same; with the wrong padding or scaling they have others, in every layer from the first.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from mnv2_sweep.base.errors import WeightsError
from mnv2_sweep.models.pretrained import build_pretrained, read_statistics, to_input
from mnv2_sweep.pretrained.weights import Weights
from mnv2_sweep.trials.weights import HALF, IMAGENET_MEAN, IMAGENET_STD, WeightsRecord

PIXELS = {"mean/std": (IMAGENET_MEAN, IMAGENET_STD), "-1 to 1": (HALF, HALF)}
MOST_NATS = 2.0
DEAD = 1e-8
CLEAR = 1.05  # of 42 draws of 13 photos (three files, photos of clothes) the least clear right answer had 1.107


@dataclass(frozen=True)
class Fit:
    """How far the photos' statistics lie from the weights' under two conventions, in nats: the divergence of two normal
    distributions, at most MOST_NATS a channel, mean over the channels and then the layers."""

    padding: str
    pixels: str
    distance: float


def compare_conventions(weights: Weights, photos: np.ndarray) -> list[Fit]:
    """Return the four combinations of padding and pixels, the one that fits best first; photos are uint8
    [N, side, side, 3]. Raises WeightsError where the weights have no statistics."""
    if weights.record.folded:
        raise WeightsError(f"{weights.record.name}: its batch norms are folded into the convolutions, so it has no "
                           "statistics that photos could be compared with")  # fmt: skip
    fits = [_fit(weights, padding, pixels, photos) for padding in ("torch", "same") for pixels in PIXELS]
    return sorted(fits, key=lambda fit: fit.distance)


def is_clear(fits: list[Fit]) -> bool:
    """Return whether the best of `compare_conventions` is so by more than chance lets photos differ."""
    return fits[1].distance > CLEAR * fits[0].distance


def claimed_conventions(record: WeightsRecord) -> tuple[str, str]:
    """Return padding and pixels as the record has them; those of 8-bit networks count as -1 to 1, which they nearly
    are."""
    return record.padding, "mean/std" if record.mean == IMAGENET_MEAN else "-1 to 1"


def _fit(weights: Weights, padding: str, pixels: str, photos: np.ndarray) -> Fit:
    mean, std = PIXELS[pixels]
    record = replace(weights.record, padding=padding, mean=mean, std=std)
    model = build_pretrained(replace(weights, record=record)).eval()
    layers = []
    for norm, (batch_mean, variance) in read_statistics(model, to_input(photos, record)).items():
        ratio = (variance + norm.eps) / (norm.running_var + norm.eps)
        shift = (batch_mean - norm.running_mean) ** 2 / (norm.running_var + norm.eps)
        nats = (ratio - 1 - torch.log(ratio) + shift) / 2
        alive = norm.running_var > DEAD  # a channel that never changes has no scale to measure with
        layers.append(float(nats[alive].clamp(max=MOST_NATS).mean()))
    return Fit(padding, pixels, float(np.mean(layers)))
