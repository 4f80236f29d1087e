"""A Dataset -> batches of images as tensors on the device: gathered, moved, cropped and flipped, a batch at a time.

Pixel values become x / 127.5 - 1, in [-1, 1], as in TF-slim's preprocessing.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.trials.recipe import Recipe

RESIDENT_FRACTION = 0.25  # of a GPU's free memory, at most, for the training images
CROP_MARGIN = 1.25  # training images are kept this much larger than a crop, so that crops are hardly magnified


def train_level(dataset: Dataset, size: int) -> np.ndarray:
    """Return the training images from which crops of `size` are cut."""
    return dataset.pixels("train", math.ceil(size * CROP_MARGIN))


def prepare_pixels(dataset: Dataset, size: int) -> None:
    """Make every image file that training and evaluation at `size` read, before workers ask for it."""
    train_level(dataset, size)
    for split in sorted(dataset.labels.keys() - {"train"}):
        dataset.pixels(split, size)


def keep_on_device(pixels: np.ndarray, device: str) -> np.ndarray | Tensor:
    """Put the images [N, s, s, 3] on the GPU, if there is one and they take no large part of its free memory."""
    if device == "cpu" or pixels.nbytes > RESIDENT_FRACTION * torch.cuda.mem_get_info()[0]:
        return pixels
    kept = torch.empty(pixels.shape, dtype=torch.uint8, device=device)
    for start in range(0, len(pixels), 1024):  # they may be a file, mapped: no need to have all of it twice
        kept[start : start + 1024] = torch.from_numpy(pixels[start : start + 1024].copy())
    return kept


def image_batch(pixels: np.ndarray | Tensor, chosen: Tensor, device: str) -> Tensor:
    """Make a batch, float32 [B, 3, s, s] in [-1, 1], channels last in memory, of images uint8 [N, s, s, 3], here or on
    the device, and indices [B]."""
    if isinstance(pixels, np.ndarray):
        return scale_pixels(torch.from_numpy(pixels[chosen.numpy()]).to(device, non_blocking=True))
    return scale_pixels(pixels[chosen.to(device, non_blocking=True)])


def scale_pixels(batch: Tensor) -> Tensor:
    """Turn uint8 [B, s, s, 3] into float32 [B, 3, s, s] in [-1, 1], channels last in memory."""
    return batch.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def augment(
    images: Tensor, size: int, recipe: Recipe | None = None, generator: torch.Generator | None = None
) -> Tensor:
    """Turn [B, 3, s, s] into [B, 3, size, size]: random resized crop and flip, or the whole image without a recipe."""
    if recipe is not None:
        return apply_crops(images, size, draw_crops(len(images), recipe, generator))
    if images.shape[-1] == size:
        return images
    return functional.interpolate(images, size=(size, size), mode="bilinear", antialias=images.shape[-1] > size)


def draw_crops(count: int, recipe: Recipe, generator: torch.Generator | None = None) -> Tensor:
    """Draw random resized crops and flips [count, 2, 3]: output coordinates in [-1, 1] -> input coordinates, at any
    size.

    Random numbers are drawn on the CPU in a fixed number an image, so the device changes nothing.
    """
    draws = torch.rand(5, count, generator=generator)
    area = recipe.crop_min_area + (1 - recipe.crop_min_area) * draws[0]
    aspect = torch.exp((2 * draws[1] - 1) * math.log(4 / 3))
    half_width, half_height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    flip = torch.where(draws[4] < 0.5, -1.0, 1.0) if recipe.flip else torch.ones(count)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 0, 2] = half_width * flip, (1 - half_width) * (2 * draws[2] - 1)
    theta[:, 1, 1], theta[:, 1, 2] = half_height, (1 - half_height) * (2 * draws[3] - 1)
    return theta


def apply_crops(images: Tensor, size: int, crops: Tensor) -> Tensor:
    """Cut crops [B, 2, 3] out of images [B, 3, s, s], as [B, 3, size, size]."""
    grid = functional.affine_grid(crops.to(images.device), [len(images), 3, size, size], align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
