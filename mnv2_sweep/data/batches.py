"""A Dataset -> batches of images as tensors on the device: gathered, moved, cropped and flipped, a batch at a time.

Data are kept in RGB; a network with one input channel gets their luma. Pixel values become x / 127.5 - 1, in [-1, 1],
as in TF-slim's preprocessing.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mnv2_sweep.base.size import Size
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.trials.recipe import Recipe

RESIDENT_FRACTION = 0.25  # of a GPU's free memory, at most, for the training images
CROP_MARGIN = 1.25  # training images are kept this much larger than a crop, so that crops are hardly magnified


def level_size(size: Size) -> Size:
    """Return the size of the training images from which crops of `size` are cut: of its aspect, up to rounding."""
    return Size(math.ceil(size.height * CROP_MARGIN), math.ceil(size.width * CROP_MARGIN))


def train_level(dataset: Dataset, size: Size) -> np.ndarray:
    """Return the training images from which crops of `size` are cut."""
    return dataset.pixels("train", level_size(size))


def prepare_pixels(dataset: Dataset, size: Size) -> None:
    """Make every image file that training and evaluation at `size` read, before workers ask for it."""
    train_level(dataset, size)
    for split in sorted(dataset.labels.keys() - {"train"}):
        dataset.pixels(split, size)


def keep_on_device(pixels: np.ndarray, device: str) -> np.ndarray | Tensor:
    """Put the images [N, h, w, 3] on the GPU, if there is one and they take no large part of its free memory."""
    if device == "cpu" or pixels.nbytes > RESIDENT_FRACTION * torch.cuda.mem_get_info()[0]:
        return pixels
    kept = torch.empty(pixels.shape, dtype=torch.uint8, device=device)
    for start in range(0, len(pixels), 1024):  # they may be a file, mapped: no need to have all of it twice
        kept[start : start + 1024] = torch.from_numpy(pixels[start : start + 1024].copy())
    return kept


def image_batch(pixels: np.ndarray | Tensor, chosen: Tensor, device: str, channels: int = 3) -> Tensor:
    """Make a batch, float32 [B, channels, h, w] in [-1, 1], channels last in memory, of images uint8 [N, h, w, 3], here
    or on the device, and indices [B]; one channel is their luma."""
    if isinstance(pixels, np.ndarray):
        return scale_pixels(torch.from_numpy(pixels[chosen.numpy()]).to(device, non_blocking=True), channels)
    return scale_pixels(pixels[chosen.to(device, non_blocking=True)], channels)


def scale_pixels(batch: Tensor, channels: int = 3) -> Tensor:
    """Turn uint8 [B, h, w, 3] into float32 [B, channels, h, w] in [-1, 1], channels last in memory."""
    if channels == 1:
        batch = pick_luma(batch)
    return batch.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def pick_luma(batch: Tensor) -> Tensor:
    """Turn RGB [B, h, w, 3] into luma [B, h, w, 1], whole numbers: ITU-R 601 as Pillow rounds it in its mode "L"."""
    red, green, blue = batch.int().unbind(-1)
    return ((19595 * red + 38470 * green + 7471 * blue + 2**15) >> 16).unsqueeze(-1)


def augment(
    images: Tensor, size: Size, recipe: Recipe | None = None, generator: torch.Generator | None = None
) -> Tensor:
    """Turn [B, C, h, w], of the aspect of `size`, into [B, C, *size]: random resized crop and flip, or the whole image
    without a recipe."""
    if recipe is not None:
        return apply_crops(images, size, draw_crops(len(images), recipe, generator))
    if images.shape[2:] == size:
        return images
    return functional.interpolate(images, size=size, mode="bilinear", antialias=images.shape[-1] > size.width)


def draw_crops(count: int, recipe: Recipe, generator: torch.Generator | None = None) -> Tensor:
    """Draw random resized crops and flips [count, 2, 3]: output coordinates in [-1, 1] -> input coordinates, at any
    size.

    A crop has part of the image's area, and an aspect from 3/4 to 4/3 of the image's. As images come in the aspect that
    the network reads, that is also the most by which anything is stretched, on rectangles as on squares.
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


def apply_crops(images: Tensor, size: Size, crops: Tensor) -> Tensor:
    """Cut crops [B, 2, 3] out of images [B, C, h, w], as [B, C, *size]."""
    grid = functional.affine_grid(crops.to(images.device), [*images.shape[:2], *size], align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
