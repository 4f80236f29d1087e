"""Images that were chosen -> a batch, for every way to train: what is drawn at random, once, then the images at a size.

All that a recipe does to images and targets happens here.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mnv2_sweep.base.size import Size
from mnv2_sweep.data.batches import apply_colours, apply_crops, draw_colours, image_batch
from mnv2_sweep.tasks.task import Outputs
from mnv2_sweep.trials.recipe import NO_BALANCE
from mnv2_sweep.trials.tasks import task_of, work_of
from mnv2_sweep.trials.trial import Trial


class Batch(NamedTuple):
    """A batch but for its pixels. Each of its images is a mixture of M, mostly one: which ones [B, M], the crops
    [B, M, 2, 3] of them, their shares [B, M]; the targets [B, ...] of the mixtures; how colours are distorted
    [B, M, 3], where they are; what the images count in the loss [B], where that is not the same for all."""

    chosen: Tensor
    crops: Tensor
    shares: Tensor
    targets: Tensor
    channels: int = 3
    colours: Tensor | None = None
    weights: Tensor | None = None

    def images(self, pixels: np.ndarray | Tensor, size: Size, device: str, rows: slice = slice(None)) -> Tensor:
        """Return the images, of `pixels` uint8 [N, s, s, 3], or some rows of them: float32 [B, channels, height,
        width]."""
        parts = zip(self.chosen[rows].unbind(1), self.crops[rows].unbind(1), strict=True)
        images = [
            apply_crops(image_batch(pixels, chosen, device, self.channels), size, crops) for chosen, crops in parts
        ]
        if self.colours is not None:
            images = list(map(apply_colours, images, self.colours[rows].unbind(1)))
        if len(images) == 1:
            return images[0]
        shares = self.shares[rows].to(device).unbind(1)
        return sum(share[:, None, None, None] * each for share, each in zip(shares, images, strict=True))


def draw_batch(
    targets: Tensor, chosen: Tensor, trial: Trial, generator: torch.Generator, weights: Tensor | None = None
) -> Batch:
    """Draw what is random in a batch of the images `chosen` [B], whose `targets` are those of all images [N, ...], as
    are `weights` [N], which say what each counts in the loss."""
    work, own = work_of(trial), targets[chosen]
    crops = work.draw_moves(own, trial.recipe, generator)
    colours = draw_colours(len(chosen), trial.recipe, generator)
    own = work.move(own, crops, trial.train_size)
    batch = Batch(chosen[:, None], crops[:, None], torch.ones(len(chosen), 1), own, trial.arch.in_channels)
    batch = batch if colours is None else batch._replace(colours=colours[:, None])
    batch = batch if weights is None else batch._replace(weights=weights[chosen])
    return mix_images(batch, trial, generator) if trial.recipe.mixup > 0 else batch


def mix_images(batch: Batch, trial: Trial, generator: torch.Generator) -> Batch:
    """Mix each image with the one before it, any other as their order is random, and their targets, all in the share
    that one draw gives, as in the code of Zhang et al.: see Recipe.mixup."""
    task, alpha = task_of(trial), trial.recipe.mixup
    # torch has no public draw from this distribution that takes a generator.
    draw = random.Random(torch.randint(2**62, (), generator=generator).item())
    share = draw.betavariate(alpha, alpha)
    targets = task.work.soften(batch.targets, task.outputs(trial.data.classes), trial.recipe)
    return batch._replace(
        chosen=torch.cat([batch.chosen, batch.chosen.roll(1, 0)], 1),
        crops=torch.cat([batch.crops, batch.crops.roll(1, 0)], 1),
        colours=None if batch.colours is None else torch.cat([batch.colours, batch.colours.roll(1, 0)], 1),
        shares=torch.tensor([share, 1 - share]).expand(len(targets), 2),
        targets=share * targets + (1 - share) * targets.roll(1, 0),
        weights=None if batch.weights is None else share * batch.weights + (1 - share) * batch.weights.roll(1, 0),
    )


def join_batches(batches: Sequence[Batch]) -> Batch:
    """Return the batches as one, in their order."""
    tensors = zip(*(batch[:4] for batch in batches), strict=True)
    colours, weights = (
        torch.cat([getattr(batch, name) for batch in batches]) if getattr(batches[0], name) is not None else None
        for name in ("colours", "weights")
    )
    return Batch(*map(torch.cat, tensors), batches[0].channels, colours, weights)


def find_loss(outputs: Outputs, batch: Batch, trial: Trial, rows: slice = slice(None), each: bool = False) -> Tensor:
    """Return the mean loss of a batch, or of some rows of it, with `each` that of every image [B]: what each counts is
    in it."""
    work, targets = work_of(trial), batch.targets[rows]
    if batch.weights is None:
        return work.loss(outputs, targets, trial.recipe, each)
    losses = work.loss(outputs, targets, trial.recipe, each=True)
    losses = losses * batch.weights[rows].to(losses.device)
    return losses if each else losses.mean()


def weigh_classes(labels: np.ndarray, classes: int) -> Tensor:
    """Return what an image of each class counts so that all classes count the same, float32 [classes]: on average over
    the images 1. A class without images counts nothing."""
    counts = np.bincount(labels, minlength=classes)
    weights = len(labels) / (max(1, np.count_nonzero(counts)) * np.maximum(counts, 1))
    return torch.from_numpy(np.where(counts > 0, weights, 0.0).astype(np.float32))


def weigh_images(trial: Trial, labels: np.ndarray, of: np.ndarray | None = None) -> Tensor | None:
    """Return what training images, or those with the labels `of`, count by Recipe.balance, [images]; None where all
    count the same."""
    if trial.recipe.balance == NO_BALANCE:
        return None
    of = labels if of is None else of
    return weigh_classes(labels, trial.data.classes)[torch.from_numpy(of.astype(np.int64))]
