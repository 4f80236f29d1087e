"""Images that were chosen -> a batch, for every way to train: what is drawn at random, once, then the images at a size.

All that a recipe does to images and targets happens here.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mnv2_sweep.data.batches import apply_crops, draw_crops, image_batch
from mnv2_sweep.trials.trial import Trial


class Batch(NamedTuple):
    """A batch but for its pixels: which images [B], the crops [B, 2, 3] of them, their targets [B, ...]."""

    chosen: Tensor
    crops: Tensor
    targets: Tensor

    def images(self, pixels: np.ndarray | Tensor, size: int, device: str, rows: slice = slice(None)) -> Tensor:
        """Return the images, of `pixels` uint8 [N, s, s, 3], or some rows of them: float32 [B, 3, size, size]."""
        return apply_crops(image_batch(pixels, self.chosen[rows], device), size, self.crops[rows])


def draw_batch(targets: Tensor, chosen: Tensor, trial: Trial, generator: torch.Generator) -> Batch:
    """Draw what is random in a batch of the images `chosen` [B], whose `targets` are those of all images [N, ...]."""
    return Batch(chosen, draw_crops(len(chosen), trial.recipe, generator), targets[chosen])


def join_batches(batches: Sequence[Batch]) -> Batch:
    """Return the batches as one, in their order."""
    return Batch(*map(torch.cat, zip(*batches, strict=True)))
