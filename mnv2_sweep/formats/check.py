"""A written file, images and what torch makes of them -> Check: what the file itself makes of them in its runtime."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from mnv2_sweep.base.intervals import wilson_interval
from mnv2_sweep.formats.runtimes import Run

CERTAIN = 1.96  # standard errors: 95 %


class Batch(NamedTuple):
    """Images as the network takes them, float32 [N, channels, height, width], their labels [N], torch's logits
    [N, classes]."""

    images: np.ndarray
    labels: np.ndarray
    logits: np.ndarray


class Check(NamedTuple):
    """Images: how many, how many right by the file, how many with torch's answer, how many right in torch alone
    (`lost`) and in the file alone (`won`); the largest difference of a logit; what ran the file, and its version; how
    sure its answers may be said to be, as JSON has it (`analysis.confidence`)."""

    images: int
    right: int
    agree: int
    lost: int
    won: int
    difference: float
    runtime: str
    version: str
    confidence: Mapping[str, Any] = {}

    @classmethod
    def load(cls, record: Mapping[str, Any]) -> "Check":
        """Return what `record` made. Raises KeyError, TypeError or ValueError on anything else."""
        images = record["images"]
        right, agree = (round(record[name] * images) if images else 0 for name in ("top1", "agreement"))
        differing = record["right_in_torch_alone"], record["right_in_the_file_alone"]
        said = record["largest_difference"], record["runtime"], record["version"]
        return cls(images, right, agree, *differing, *said, record.get("confidence", {}))

    @property
    def top1(self) -> float:
        """Return the share of images that it gets right; NaN of none."""
        return self.right / self.images if self.images else math.nan

    @property
    def agreement(self) -> float:
        """Return the share of images that get torch's answer; NaN of none."""
        return self.agree / self.images if self.images else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Return Wilson's interval of `top1`."""
        return wilson_interval(self.top1, self.images)

    @property
    def is_worse(self) -> bool:
        """Say whether the file gets fewer right than torch, by more than chance explains: the difference of the paired
        answers is beyond 95 % of what it would be by chance."""
        drop = self.lost - self.won
        return self.images > 0 and drop > CERTAIN * math.sqrt(self.lost + self.won - drop**2 / self.images)

    def record(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "images": self.images,
            "top1": self.top1,
            "interval": [*self.interval],
            "agreement": self.agreement,
            "right_in_torch_alone": self.lost,
            "right_in_the_file_alone": self.won,
            "is_worse": self.is_worse,
            "largest_difference": self.difference,
            "runtime": self.runtime,
            "version": self.version,
            **({"confidence": self.confidence} if self.confidence else {}),
        }


def check_run(run: Run, batches: Iterable[Batch], runtime: str, version: str) -> Check:
    """Hold what a file gives for all batches against torch and the labels."""
    total, difference = np.zeros(5, int), 0.0
    for images, labels, logits in batches:
        made = run(images)
        file, torch = made.argmax(axis=1), logits.argmax(axis=1)
        right, before = file == labels, torch == labels
        parts = (np.ones_like(right), right, file == torch, before & ~right, right & ~before)
        total += [part.sum() for part in parts]
        difference = max(difference, float(np.abs(made - logits).max(initial=0.0)))
    return Check(*total.tolist(), difference, runtime, version)
