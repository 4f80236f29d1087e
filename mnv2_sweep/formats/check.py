"""A written file, images and what torch makes of them -> Check: what the file itself makes of them in its runtime."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mnv2_sweep.formats.runtimes import load_file

CERTAIN = 1.96  # standard errors: 95 %


class Batch(NamedTuple):
    """Images as the network takes them, float32 [N, channels, height, width], their labels [N], torch's logits
    [N, classes]."""

    images: np.ndarray
    labels: np.ndarray
    logits: np.ndarray


class Check(NamedTuple):
    """Images: how many, how many right by the file, how many with torch's answer, how many right in torch alone
    (`lost`) and in the file alone (`won`); the largest difference of a logit."""

    images: int
    right: int
    agree: int
    lost: int
    won: int
    difference: float

    @property
    def is_worse(self) -> bool:
        """Say whether the file gets fewer right than torch, by more than chance explains: the difference of the paired
        answers is beyond 95 % of what it would be by chance."""
        drop = self.lost - self.won
        return self.images > 0 and drop > CERTAIN * math.sqrt(self.lost + self.won - drop**2 / self.images)


def check_file(path: Path, batches: Iterable[Batch]) -> Check:
    """Run the file on all batches. Raises SweepError where its runtime is missing."""
    run, total, difference = load_file(path), np.zeros(5, int), 0.0
    for images, labels, logits in batches:
        made = run(images)
        file, torch = made.argmax(axis=1), logits.argmax(axis=1)
        right, before = file == labels, torch == labels
        parts = (np.ones_like(right), right, file == torch, before & ~right, right & ~before)
        total += [part.sum() for part in parts]
        difference = max(difference, float(np.abs(made - logits).max(initial=0.0)))
    return Check(*total.tolist(), difference)
