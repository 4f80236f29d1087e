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
from mnv2_sweep.data.cache import let_go
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.trials.pixels import whole_level
from mnv2_sweep.trials.recipe import Recipe
from mnv2_sweep.trials.trial import Trial

RESIDENT_FRACTION = 0.25  # of a GPU's free memory, at most, for the training images
CROP_MARGIN = 1.25  # training images are kept this much larger than a crop, so that crops are hardly magnified


def level_size(size: Size) -> Size:
    """Return the size of the training images from which crops of `size` are cut: of its aspect, up to rounding."""
    return Size(math.ceil(size.height * CROP_MARGIN), math.ceil(size.width * CROP_MARGIN))


def train_level(dataset: Dataset, size: Size) -> np.ndarray:
    """Return the training images from which crops of `size` are cut."""
    return dataset.pixels("train", level_size(size))


def whole_pixels(dataset: Dataset, split: str, trial: Trial) -> np.ndarray:
    """Return a split's images for `whole_batch`."""
    return dataset.pixels(split, whole_level(trial.train_size, trial.recipe.eval_crop))


def prepare_pixels(dataset: Dataset, size: Size, eval_crop: float = 1.0) -> None:
    """Make every image file that training and evaluation at `size` read, before workers ask for it."""
    train_level(dataset, size)
    for split in sorted(dataset.labels.keys() - {"train"}):
        dataset.pixels(split, whole_level(size, eval_crop))


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
        images = torch.from_numpy(pixels[chosen.numpy()])
        let_go(pixels)
        return scale_pixels(images.to(device, non_blocking=True), channels)
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


def whole_batch(pixels: np.ndarray | Tensor, chosen: Tensor, trial: Trial, device: str) -> Tensor:
    """Make a batch as evaluation reads it, float32 [B, channels, height, width]: whole images, or of each the middle
    that the recipe says."""
    images = image_batch(pixels, chosen, device, trial.arch.in_channels)
    return cut_middle(images, trial.train_size, trial.recipe.eval_crop)


def cut_middle(images: Tensor, size: Size, crop: float) -> Tensor:
    """Turn whole images [B, C, h, w] into those that evaluation reads, [B, C, *size]: see Recipe.eval_crop."""
    images = augment(images, whole_level(size, crop))
    top, left = (images.shape[2] - size.height) // 2, (images.shape[3] - size.width) // 2
    return images if crop == 1 else images[:, :, top : top + size.height, left : left + size.width]


def draw_crops(count: int, recipe: Recipe, generator: torch.Generator | None = None) -> Tensor:
    """Draw random resized crops and flips [count, 2, 3]: output coordinates in [-1, 1] -> input coordinates, at any
    size.

    A crop has part of the image's area, and an aspect from 3/4 to 4/3 of the image's. As images come in the aspect that
    the network reads, that is also the most by which anything is stretched, on rectangles as on squares.
    Random numbers are drawn on the CPU in a fixed number an image, so the device changes nothing.
    """
    draws = torch.rand(5, count, generator=generator)
    half_width, half_height = (_sides_by_side if recipe.crop_draw == "side" else _sides_by_area)(draws, recipe)
    flip = torch.where(draws[4] < 0.5, -1.0, 1.0) if recipe.flip else torch.ones(count)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 0, 2] = half_width * flip, (1 - half_width) * (2 * draws[2] - 1)
    theta[:, 1, 1], theta[:, 1, 2] = half_height, (1 - half_height) * (2 * draws[3] - 1)
    return theta


def _sides_by_area(draws: Tensor, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Return the width and height of crops, as shares of the image's: see Recipe.crop_draw."""
    area = recipe.crop_min_area + (1 - recipe.crop_min_area) * draws[0]
    aspect = torch.exp((2 * draws[1] - 1) * math.log(4 / 3))
    return (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)


def _sides_by_side(draws: Tensor, recipe: Recipe) -> tuple[Tensor, Tensor]:
    aspect = 3 / 4 + (4 / 3 - 3 / 4) * draws[1]
    most = (1 / aspect).clamp(max=1)  # of the height; then the width fits, too
    least = torch.minimum((recipe.crop_min_area / aspect).sqrt(), most)
    height = least + (most - least) * draws[0]
    return height * aspect, height


def apply_crops(images: Tensor, size: Size, crops: Tensor) -> Tensor:
    """Cut crops [B, 2, 3] out of images [B, C, h, w], as [B, C, *size]."""
    grid = functional.affine_grid(crops.to(images.device), [*images.shape[:2], *size], align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def draw_colours(count: int, recipe: Recipe, generator: torch.Generator | None = None) -> Tensor | None:
    """Draw how colours are distorted, [count, 3]: what is added to pixels in [-1, 1], by how much saturation is
    multiplied, and 1 where the first comes first. None where the recipe distorts none.

    That is TF-slim's distort_color in its fast mode, with the order that its four cases come to: lightness first in a
    quarter of the images.
    """
    if recipe.brightness == 0 and recipe.saturation == 0:
        return None
    draws = torch.rand(3, count, generator=generator)
    lighter = 2 * recipe.brightness * (2 * draws[0] - 1)
    return torch.stack([lighter, 1 + recipe.saturation * (2 * draws[1] - 1), (draws[2] < 0.25).float()], 1)


def apply_colours(images: Tensor, colours: Tensor) -> Tensor:
    """Distort colours of images [B, C, h, w] in [-1, 1] by what was drawn [B, 3] -> the same, cut to [-1, 1]. Grey ones
    have no saturation."""
    lighter, factor, first = colours.to(images.device).reshape(len(images), 3, 1, 1, 1).unbind(1)
    images = images + first * lighter
    if images.shape[1] == 3:
        images = saturate(images, factor)
    return (images + (1 - first) * lighter).clamp(-1, 1)


def saturate(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply the saturation of images [B, 3, h, w] in [-1, 1], (highest - lowest) / highest of values from 0, by
    [B, 1, 1, 1], up to 1; hue and the highest value of a pixel stay, as in TensorFlow's adjust_saturation."""
    highest, lowest = images.amax(1, keepdim=True), images.amin(1, keepdim=True)
    up_to = (highest + 1) / (highest - lowest).clamp(min=1e-12)  # makes saturation 1
    return highest - (highest - images) * torch.minimum(factor, up_to).clamp(min=0)
