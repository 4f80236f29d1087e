"""Weights and a few photos -> for which padding, pixels and epsilon they were trained, without a label.

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
EPSILONS = (1e-5, 1e-3)  # torch's and Google's
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
    softened = weights.record.epsilon
    if weights.record.folded:
        raise WeightsError(f"{weights.record.name}: its batch norms are folded into the convolutions, so it has no "
                           "statistics that photos could be compared with")  # fmt: skip
    fits = [
        Fit(padding, pixels, _distance(weights, _as_made_for(weights.record, padding, pixels), photos, softened))
        for padding in ("torch", "same") for pixels in PIXELS
    ]  # fmt: skip
    return sorted(fits, key=lambda fit: fit.distance)


def is_clear(fits: list[Fit]) -> bool:
    """Return whether the best of `compare_conventions` is so by more than chance lets photos differ."""
    return fits[1].distance > CLEAR * fits[0].distance


def claimed_conventions(record: WeightsRecord) -> tuple[str, str]:
    """Return padding and pixels as the record has them; those of 8-bit networks count as -1 to 1, which they nearly
    are."""
    return record.padding, "mean/std" if record.mean == IMAGENET_MEAN else "-1 to 1"


def compare_epsilons(weights: Weights, padding: str, pixels: str, photos: np.ndarray) -> list[tuple[float, float]]:
    """Return (epsilon, nats) for that of the record and the two that projects have, the one that fits best first.

    A wrong one shows where variances are about as small: torchvision's 1.0 then has five times the distance. Where they
    are far larger, as in Google's weights, it changes next to nothing, and photos do not tell it."""
    record = _as_made_for(weights.record, padding, pixels)
    candidates = dict.fromkeys((record.epsilon, *EPSILONS))
    found = [(one, _distance(weights, replace(record, epsilon=one), photos, min(EPSILONS))) for one in candidates]
    return sorted(found, key=lambda pair: pair[1])


def _as_made_for(record: WeightsRecord, padding: str, pixels: str) -> WeightsRecord:
    mean, std = PIXELS[pixels]
    return replace(record, padding=padding, mean=mean, std=std)


def _distance(weights: Weights, record: WeightsRecord, photos: np.ndarray, softened: float) -> float:
    """Return how far the photos' statistics lie from the weights', in nats, under a record's conventions; variances are
    compared with `softened` added to them. Raises WeightsError where there is nothing to compare."""
    model = build_pretrained(replace(weights, record=record)).eval()
    layers = []
    for norm, (batch_mean, variance) in read_statistics(model, to_input(photos, record)).items():
        ratio = (variance + softened) / (norm.running_var + softened)
        shift = (batch_mean - norm.running_mean) ** 2 / (norm.running_var + softened)
        nats = (ratio - 1 - torch.log(ratio) + shift) / 2
        alive = norm.running_var > DEAD  # a channel that never changes has no scale to measure with
        if alive.any():
            layers.append(float(nats[alive].clamp(max=MOST_NATS).mean()))
    if not layers or not np.isfinite(layers).all():
        raise WeightsError(f"{weights.record.name}: its batch norms have no channel whose statistics photos could be "
                           "compared with; nothing is known of its conventions")  # fmt: skip
    return float(np.mean(layers))
