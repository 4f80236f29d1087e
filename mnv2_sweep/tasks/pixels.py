"""What a segmenter says of pixels, and what they are -> its loss, and what was taken for what in each image.

Classes of pixels are numbers from 0 in uint8 or int64; IGNORED (255) is none, and such pixels count for nothing.
"""

import torch
from torch import Tensor
from torch.nn import functional

from mnv2_sweep.trials.regions import IGNORED


def pixel_losses(logits: Tensor, truth: Tensor) -> Tensor:
    """Return the loss of each image [B], of logits [B, classes, h, w] at the size of the truth [B, h, w]: cross-entropy
    summed over its pixels, times images / pixels of the batch that count (at least 1). The mean over the images is the
    mean over all those pixels (tensorflow/models, deeplab, utils/train_utils.py, with upsampled logits); an image whose
    pixels are all ignored has 0."""
    truth = truth.long()
    losses = functional.cross_entropy(logits, truth, ignore_index=IGNORED, reduction="none")  # 0 where ignored
    counted = (truth != IGNORED).sum().clamp(min=1)
    return losses.flatten(1).sum(1) * len(truth) / counted


def count_confusions(given: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Return how many pixels of each class were taken for which one, int64 [B, classes, classes]: row k has those of
    class k. `given` and `truth` are [B, h, w]; raises ValueError where one has a class that there is not."""
    given, truth = given.flatten(1).long(), truth.flatten(1).long()
    counted = truth != IGNORED
    for name, numbers in (("given", given), ("true", truth[counted])):
        if numbers.numel() and not (numbers.min() >= 0 and numbers.max() < classes):
            raise ValueError(f"a {name} class is none of 0 to {classes - 1}")
    images = torch.arange(len(truth), device=truth.device)[:, None]
    pairs = ((images * classes + truth) * classes + given)[counted]
    counts = torch.bincount(pairs, minlength=len(truth) * classes**2)
    return counts.reshape(len(truth), classes, classes)
