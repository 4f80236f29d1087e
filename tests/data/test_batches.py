"""Batches from arrays: value range and layout, and what random crops and flips keep."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from mnv2_sweep.base.size import Size, as_size, square
from mnv2_sweep.data.batches import augment, image_batch, keep_on_device, level_size, train_level
from mnv2_sweep.trials.recipe import Recipe

torch.set_num_threads(1)

RECIPE = Recipe("crops", images=100, crop_min_area=0.35)


def draw(images: Tensor, size: int | Size, recipe: Recipe = RECIPE, seed: int = 0) -> Tensor:
    return augment(images, as_size(size), recipe, torch.Generator().manual_seed(seed))


def coordinate_images(count: int, side: int = 32) -> Tensor:
    """Channel 0 holds each pixel's x, channel 1 its y, both from -1 to 1: they tell where a crop was cut."""
    axis = (torch.arange(side) + 0.5) / side * 2 - 1
    image = torch.stack([axis.expand(side, side), axis[:, None].expand(side, side), torch.ones(side, side)])
    return image.repeat(count, 1, 1, 1)


def measure_crops(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of crops of coordinate images: width (negative when flipped) and height as shares, centre x."""
    side = images.shape[-1]
    middle, a, b = side // 2, side // 4, 3 * side // 4
    width = (images[:, 0, middle, b] - images[:, 0, middle, a]) * side / (b - a) / 2
    height = (images[:, 1, b, middle] - images[:, 1, a, middle]) * side / (b - a) / 2
    return width, height, images[:, 0].mean(dim=(1, 2))


# ---------------------------------------------------------------- arrays to tensors


def test_pixels_become_minus_one_to_one():
    pixels = np.zeros((3, 2, 2, 3), dtype=np.uint8)
    pixels[1], pixels[2, 0, 1] = 255, (51, 102, 204)
    batch = image_batch(pixels, torch.tensor([2, 0, 1]), "cpu")
    assert batch.shape == (3, 3, 2, 2) and batch.dtype == torch.float32
    torch.testing.assert_close(batch[0, :, 0, 1], torch.tensor([-0.6, -0.2, 0.6]))
    assert (batch[0, :, 1] == -1).all() and (batch[1] == -1).all() and (batch[2] == 1).all()


def test_batches_are_channels_last_and_leave_the_array_alone(tiny_data):
    pixels = tiny_data.pixels("train", square(16))
    assert not pixels.flags.writeable
    before = pixels.copy()
    batch = image_batch(pixels, torch.arange(4), "cpu")
    assert batch.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize("size, asked", [(16, 20), (24, 30), (56, 70), (25, 32), (1, 2)])
def test_training_images_are_a_quarter_larger_than_crops(size, asked):
    class Asked:
        def pixels(self, split, size):
            return split, size

    assert train_level(Asked(), square(size)) == ("train", square(asked))


# ---------------------------------------------------------------- whole images


def test_whole_images_of_the_right_size_are_untouched():
    images = torch.rand(2, 3, 9, 9)
    assert augment(images, square(9)) is images


@pytest.mark.parametrize("side, size", [(12, 6), (12, 8), (6, 12)])
def test_whole_images_are_resized(side, size):
    images = torch.rand(2, 3, side, side)
    resized = augment(images, square(size))
    expected = functional.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
    assert resized.shape == (2, 3, size, size)
    torch.testing.assert_close(resized, expected)
    torch.testing.assert_close(
        augment(coordinate_images(1, side), square(size)).mean(dim=(0, 2, 3)), torch.tensor([0.0, 0, 1])
    )


def test_fine_checks_fade_when_made_smaller():
    checks = (torch.arange(16)[:, None] + torch.arange(16)).fmod(2).expand(1, 3, 16, 16) * 2.0 - 1
    assert augment(checks, square(4))[..., 1:-1, 1:-1].abs().max() < 0.1


# ---------------------------------------------------------------- random crops


@pytest.mark.parametrize("side, size", [(20, 16), (16, 16), (16, 24)])
def test_crops_have_the_wanted_size(side, size):
    crops = draw(torch.rand(5, 3, side, side), size)
    assert crops.shape == (5, 3, size, size) and crops.dtype == torch.float32


def test_a_constant_image_stays_constant():
    colours = torch.rand(40, 3, 1, 1) * 2 - 1
    crops = draw(colours.expand(40, 3, 20, 20), 16)
    torch.testing.assert_close(crops, colours.expand(40, 3, 16, 16))


def test_crops_make_up_no_values():
    images = torch.rand(50, 3, 20, 20)
    crops = draw(images, 16, replace(RECIPE, crop_min_area=0.05))
    assert (crops >= images.amin(dim=(2, 3), keepdim=True) - 1e-5).all()
    assert (crops <= images.amax(dim=(2, 3), keepdim=True) + 1e-5).all()


@pytest.mark.parametrize("smallest", [0.05, 0.35, 0.7])
def test_crops_keep_their_share_of_the_area(smallest):
    width, height, centre = measure_crops(draw(coordinate_images(3000), 32, replace(RECIPE, crop_min_area=smallest)))
    area, aspect = width.abs() * height, width.abs() / height
    assert area.min() > smallest - 0.002 and area.max() <= 1.001
    assert area.min() < smallest + 0.05 and area.max() > 0.9
    assert width.abs().max() <= 1.001 and height.max() <= 1.001 and height.min() > 0
    # 3/4 to 4/3, where neither side is limited by the image's own
    free = (width.abs() < 0.999) & (height < 0.999)
    assert aspect[free].min() > 0.749 and aspect[free].max() < 1.334 and aspect.log().mean().abs() < 0.02
    assert (centre.abs() + width.abs() < 1.01).all()  # inside the image
    assert centre.mean().abs() < 0.02 and centre.std() > 0.02


def test_a_smallest_area_of_one_keeps_nearly_the_whole_image():
    """Only what a drawn aspect lets reach over the edge is cut."""
    width, height, _ = measure_crops(draw(coordinate_images(200), 32, replace(RECIPE, crop_min_area=1.0, flip=False)))
    assert (torch.maximum(width, height) > 0.999).all()
    assert (width * height).min() > (3 / 4) ** 0.5 - 0.01


def test_half_of_the_crops_are_flipped_and_only_sideways():
    width, height, _ = measure_crops(draw(coordinate_images(2000), 32))
    assert 0.45 < (width < 0).float().mean() < 0.55
    assert (height > 0).all()


def test_flips_are_the_same_crops_mirrored():
    """`flip` draws nothing more, so two recipes that differ in it see the same crops."""
    images = torch.rand(30, 3, 20, 20)
    with_flips, without = draw(images, 16), draw(images, 16, replace(RECIPE, flip=False))
    flipped = (with_flips - without).abs().amax(dim=(1, 2, 3)) > 1e-4
    assert 5 < flipped.sum() < 25
    expected = torch.where(flipped[:, None, None, None], without.flip(3), without)
    torch.testing.assert_close(with_flips, expected, rtol=0, atol=1e-4)


def test_crops_depend_on_the_generator_alone():
    images = torch.rand(8, 3, 20, 20)
    torch.manual_seed(1)
    first = draw(images, 16)
    torch.manual_seed(2)
    assert torch.equal(first, draw(images, 16))
    assert not torch.equal(first, draw(images, 16, seed=1))


def test_every_size_gets_the_same_crops():
    """Networks of other resolutions see the same parts of the same images."""
    small, large = (measure_crops(draw(coordinate_images(20), size)) for size in (16, 32))
    for a, b in zip(small, large, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0.02)


def test_crops_are_magnified_where_they_were():
    """Left of the image stays left of the crop: nothing is turned or swapped."""
    crops = draw(coordinate_images(20), 16, replace(RECIPE, flip=False))
    assert (crops[:, 0].diff(dim=2) > 0).all() and (crops[:, 1].diff(dim=1) > 0).all()


def test_images_on_a_device_become_the_same_batches(tiny_data):
    pixels, chosen = tiny_data.pixels("train", square(16)), torch.tensor([5, 0, 5, 59])
    from_device = image_batch(torch.from_numpy(pixels.copy()), chosen, "cpu")
    assert torch.equal(from_device, image_batch(pixels, chosen, "cpu"))


def test_images_stay_where_they_are_without_a_gpu(tiny_data):
    pixels = tiny_data.pixels("train", square(16))
    assert keep_on_device(pixels, "cpu") is pixels


def test_images_that_would_fill_a_gpu_are_not_kept_there(tiny_data, monkeypatch):
    pixels = tiny_data.pixels("train", square(16))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (3 * pixels.nbytes, 8 * pixels.nbytes))
    assert keep_on_device(pixels, "cuda") is pixels


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_images_are_kept_on_a_gpu(tiny_data):
    pixels = keep_on_device(tiny_data.pixels("train", square(16)), "cuda")
    assert pixels.is_cuda and np.array_equal(pixels.cpu().numpy(), tiny_data.pixels("train", square(16)))


# ---------------------------------------------------------------- rectangles


def wide_coordinates(count: int, size: Size) -> Tensor:
    """Pixels' x, y in pixels from the middle, and ones."""
    x, y = torch.arange(size.width) - (size.width - 1) / 2, torch.arange(size.height) - (size.height - 1) / 2
    image = torch.stack([x.expand(*size), y[:, None].expand(*size), torch.ones(*size)])
    return image.repeat(count, 1, 1, 1)


def measure_steps(crops: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels of the image from one pixel of the crop to the next, across and down, around the middle."""
    high, wide = crops.shape[2] // 2, crops.shape[3] // 2
    across = (crops[:, 0, high, wide + 2] - crops[:, 0, high, wide - 2]).abs() / 4
    return across, (crops[:, 1, high + 2, wide] - crops[:, 1, high - 2, wide]) / 4


@pytest.mark.parametrize("size", [Size(24, 40), Size(40, 16)], ids=str)
def test_crops_of_rectangles_stretch_no_more_than_those_of_squares(size):
    level = level_size(size)
    crops = draw(wide_coordinates(2000, level), size)
    assert crops.shape == (2000, 3, *size)
    across, down = measure_steps(crops)
    stretch = across / down
    inside = (stretch > 0.99 * 3 / 4) & (stretch < 1.01 * 4 / 3)
    assert inside.float().mean() > 0.999 and stretch.log().mean().abs() < 0.02
    area = across * down * size.area / level.area
    assert area.min() > 0.3 and area.max() < 1.05 and area.mean() == pytest.approx((1 + 0.35) / 2, abs=0.03)


def test_training_images_of_rectangles_are_a_quarter_larger_on_each_side():
    assert level_size(Size(120, 160)) == Size(150, 200) and level_size(Size(30, 41)) == Size(38, 52)


@pytest.mark.parametrize("images, size", [(Size(12, 20), Size(6, 10)), (Size(6, 10), Size(12, 20))], ids=str)
def test_whole_rectangles_are_resized(images, size):
    resized = augment(wide_coordinates(1, images), size)
    assert resized.shape == (1, 3, *size)
    torch.testing.assert_close(resized.mean(dim=(0, 2, 3)), torch.tensor([0.0, 0, 1]))
    assert augment(resized, size) is resized


# ---------------------------------------------------------------- one channel


@pytest.mark.parametrize("on_device", [False, True], ids=["array", "tensor"])
def test_one_channel_is_the_luma_that_pillow_has(on_device):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 9, 13, 3), np.uint8)
    chosen = torch.tensor([3, 0, 3])
    batch = image_batch(torch.from_numpy(pixels) if on_device else pixels, chosen, "cpu", channels=1)
    luma = np.stack([np.asarray(Image.fromarray(pixels[i]).convert("L")) for i in chosen])
    assert batch.shape == (3, 1, 9, 13) and batch.dtype == torch.float32
    assert batch.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(batch[:, 0].numpy(), (luma.astype(np.float32) / np.float32(127.5)) - 1)


def test_one_channel_is_cropped_where_three_are():
    images = torch.rand(6, 3, 20, 24)
    one, three = draw(images[:, :1], Size(10, 12)), draw(images, Size(10, 12))
    assert one.shape == (6, 1, 10, 12) and torch.equal(one, three[:, :1])
