"""What a task does in training and evaluation: outputs of a network and targets -> loss and scores.

A task is a module here with a `WORK`, and a line in `trials.tasks.TASKS`, which says what it is called.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from mnv2_sweep.base.size import Size
from mnv2_sweep.data.batches import draw_crops
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.trials.recipe import Recipe

Outputs = Tensor | Sequence[Tensor]  # [B, ...] of a network, or of each of its outputs


class Scorer(Protocol):
    """What counts up the scores of a split, batch by batch."""

    def add(self, outputs: Outputs, targets: Tensor) -> None:
        """Count a batch: the network's outputs, float32, and the targets of its images."""
        ...

    def scores(self) -> dict[str, float]:
        """Return the scores of all that was added (at least one image), by name; the loss is "loss"."""
        ...

    def terms(self) -> dict[str, Tensor]:
        """Return what each image added has made of a score, by its name: [images] in their order, whose mean is the
        score; bool where an image is right or wrong. Scores that are no means over images are left out.
        A classification adds `terms.MISTAKEN`, [wrong images]."""
        ...


class Work:
    """What a task does. `outputs` [B, ...] are a network's, `targets` [B, ...] those of its images."""

    def of(self, arch: ArchSpec) -> "Work":
        """Return what the task does with this network, at the size and with the head that is trained."""
        return self

    def read_targets(self, dataset: Dataset, split: str, size: Size, device: str) -> Tensor:
        """Return the targets of a split's images, an entry for each, on the device; those of "train" before they are
        moved, of the others as evaluation sees images of `size`. Raises SweepError where the data have none."""
        return self.targets(dataset.labels[split], device)

    def draw_moves(self, targets: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
        """Draw how each image of a batch is cropped and mirrored, [B, 2, 3], as `data.batches.draw_crops` says it."""
        return draw_crops(len(targets), recipe, generator)

    def move(self, targets: Tensor, moves: Tensor, size: Size) -> Tensor:
        """Return targets as their images are moved, into `size`."""
        return targets

    def targets(self, labels: np.ndarray, device: str) -> Tensor:
        """Return the targets of a split's labels, an entry for each image, on the device: class numbers, int64 [N]."""
        return torch.from_numpy(labels.astype(np.int64)).to(device)

    def loss(self, outputs: Outputs, targets: Tensor, recipe: Recipe, each: bool = False) -> Tensor:
        """Return the mean loss of the images, with `each` the loss of each, [B]. Targets may be mixtures (`mix`)."""
        raise NotImplementedError

    def soften(self, targets: Tensor, count: int, recipe: Recipe) -> Tensor:
        """Return targets of which means can be taken, as float32, for a network with so many outputs; those that are so
        already as they are."""
        return targets.float()

    def mix(self, targets: Tensor, outputs: Tensor, share: float, recipe: Recipe) -> Tensor:
        """Return targets of which a share, 0 to 1, is what another network says of the same images."""
        raise NotImplementedError

    def scorer(self) -> Scorer:
        """Return what counts up the scores of a split; the task's main score is among them."""
        raise NotImplementedError
