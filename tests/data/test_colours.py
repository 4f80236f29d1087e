"""What the released training does to images: colours, crops drawn by their side, and the middle that is evaluated."""

import colorsys
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mnv2_sweep.base.size import Size, square
from mnv2_sweep.data.batches import (
    apply_colours,
    augment,
    draw_colours,
    draw_crops,
    image_batch,
    saturate,
    whole_batch,
    whole_pixels,
)
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.training.batch import draw_batch, join_batches
from mnv2_sweep.trials.pixels import whole_level
from mnv2_sweep.trials.recipe import RECIPES, Recipe

RECIPE = Recipe("r", images=1, crop_min_area=0.1, crop_draw="side", brightness=0.125, saturation=0.5)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pixel(*values: float) -> Tensor:
    """A pixel of values from 0 to 1 as an image in [-1, 1]: [1, C, 1, 1]."""
    return torch.tensor(values, dtype=torch.float64).view(1, -1, 1, 1) * 2 - 1


def values_of(images: Tensor) -> list[float]:
    return ((images + 1) / 2).flatten().tolist()


# ---------------------------------------------------------------- colours


@pytest.mark.parametrize(
    "factor, expected",
    [
        (0.5, [0.8, 0.6, 0.5]),  # saturation (0.8 - 0.2) / 0.8 = 0.75 becomes 0.375
        (1.5, [0.8, 0.8 - 0.4 / 0.75, 0.0]),  # 1.125 is cut to 1
        (1.0, [0.8, 0.4, 0.2]),
    ],
)
def test_saturation_by_hand(factor, expected):
    found = values_of(saturate(pixel(0.8, 0.4, 0.2), torch.tensor(factor, dtype=torch.float64)))
    assert found == pytest.approx(expected, abs=1e-9)


def test_saturation_is_that_of_python_s_colorsys():
    images, factors = torch.rand(200, 3, 1, 1, generator=generator()), 0.5 + torch.rand(200, generator=generator(1))
    images[:3] = torch.tensor([0.0, 1.0, 0.3]).view(3, 1, 1, 1)  # black, white, grey
    found = (saturate(images * 2 - 1, factors.view(-1, 1, 1, 1)) + 1) / 2
    for one, factor, ours in zip(images.flatten(1).tolist(), factors.tolist(), found.flatten(1), strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*one)
        expected = colorsys.hsv_to_rgb(hue, min(1.0, saturation * factor), value)
        assert ours.tolist() == pytest.approx(expected, abs=2e-6)


def test_lightness_comes_first_or_last_and_what_is_too_much_is_cut():
    """0.1 is added to (0.8, 0.4, 0.2) before or after its saturation is halved; then to what is white already."""
    colours = torch.tensor([[0.2, 0.5, 1.0], [0.2, 0.5, 0.0]], dtype=torch.float64)
    found = apply_colours(pixel(0.8, 0.4, 0.2).expand(2, 3, 1, 1), colours)
    assert values_of(found[:1]) == pytest.approx([0.9, 0.9 - 0.5 * 0.4, 0.9 - 0.5 * 0.6])
    assert values_of(found[1:]) == pytest.approx([0.9, 0.7, 0.6])
    assert values_of(apply_colours(pixel(0.95, 1.0, 0.9), colours[1:]))[:2] == [1.0, 1.0]
    assert values_of(apply_colours(pixel(0.4), colours[:1])) == pytest.approx([0.5])  # grey images have lightness alone


def test_draws_are_as_wide_as_the_recipe_says():
    lighter, factor, first = draw_colours(20_000, RECIPE, generator()).unbind(1)
    assert lighter.min() == pytest.approx(-0.25, abs=1e-3) and lighter.max() == pytest.approx(0.25, abs=1e-3)
    assert factor.min() == pytest.approx(0.5, abs=1e-3) and factor.max() == pytest.approx(1.5, abs=1e-3)
    assert lighter.mean().abs() < 0.005 and factor.mean() == pytest.approx(1, abs=0.01)
    assert {*first.tolist()} == {0.0, 1.0} and first.mean() == pytest.approx(0.25, abs=0.01)
    assert draw_colours(5, replace(RECIPE, brightness=0.0, saturation=0.0)) is None


def test_a_batch_has_its_colours_whole_in_parts_joined_and_mixed(make_trial, tiny_data):
    labels, chosen = torch.arange(60) % 3, torch.tensor([5, 0, 3, 7, 1])
    pixels = tiny_data.pixels("train", square(16))
    plain, trial = make_trial(), make_trial(brightness=0.2, saturation=0.5)
    usual, one = (draw_batch(labels, chosen, each, generator()) for each in (plain, trial))
    assert torch.equal(one.crops, usual.crops) and usual.colours is None
    images = one.images(pixels, square(8), "cpu")
    assert torch.equal(images, apply_colours(usual.images(pixels, square(8), "cpu"), one.colours[:, 0]))
    parts = [one.images(pixels, square(8), "cpu", rows) for rows in (slice(2), slice(2, 5))]
    assert torch.equal(torch.cat(parts), images)
    assert torch.equal(join_batches([one, one]).images(pixels, square(8), "cpu"), torch.cat([images, images]))
    mixed = draw_batch(labels, chosen, make_trial(brightness=0.2, saturation=0.5, mixup=0.4), generator())
    share = mixed.shares[0, 0]
    torch.testing.assert_close(
        mixed.images(pixels, square(8), "cpu"), share * images + (1 - share) * images.roll(1, 0), rtol=0, atol=1e-5
    )


# ---------------------------------------------------------------- crops by their side


def test_crops_by_side_are_drawn_as_tensorflow_draws_them():
    """The aspect evenly, then the height between those at which the area is the smallest and the crop fits; by hand: of
    an aspect of 1 from sqrt(0.1) to 1, so half of those have less than 0.658 of each side."""
    theta = draw_crops(50_000, replace(RECIPE, flip=False), generator())
    width, height = theta[:, 0, 0], theta[:, 1, 1]
    aspect, area = width / height, width * height
    assert aspect.min() == pytest.approx(0.75, abs=1e-3) and aspect.max() == pytest.approx(4 / 3, abs=1e-3)
    assert aspect.mean() == pytest.approx((3 / 4 + 4 / 3) / 2, abs=5e-3)
    assert area.min() == pytest.approx(0.1, abs=1e-3) and width.max() <= 1 + 1e-6 and height.max() <= 1 + 1e-6
    middle = height[(aspect - 1).abs() < 0.02]
    assert middle.median() == pytest.approx((0.1**0.5 + 1) / 2, abs=0.02)
    assert (theta[:, 0, 2].abs() + width <= 1 + 1e-5).all() and (theta[:, 1, 2].abs() + height <= 1 + 1e-5).all()


def test_a_smallest_area_of_one_keeps_the_largest_crop_of_each_aspect():
    theta = draw_crops(100, replace(RECIPE, crop_min_area=1.0, flip=False), generator())
    assert torch.allclose(torch.maximum(theta[:, 0, 0], theta[:, 1, 1]), torch.ones(100))


# ---------------------------------------------------------------- the middle that is evaluated


@pytest.mark.parametrize(
    "size, crop, level",
    [
        (square(224), 0.875, square(256)),
        (square(96), 0.875, square(110)),
        (Size(120, 160), 0.5, Size(240, 320)),
        (square(16), 1.0, square(16)),
        (square(7), 1.0, square(7)),
    ],
)
def test_images_are_kept_as_much_larger(size, crop, level):
    assert whole_level(size, crop) == level
    assert RECIPES["paper"].eval_crop == 0.875


def test_the_middle_is_cut_without_another_resampling(make_trial, tiny_data):
    """12 of 16 px: two on each side go."""
    trial = make_trial(arch=ArchSpec(resolution=12), eval_crop=0.75)
    pixels, chosen = whole_pixels(tiny_data, "val", trial), torch.tensor([3, 0])
    assert pixels.shape[1:3] == (16, 16)
    found = whole_batch(pixels, chosen, trial, "cpu")
    assert torch.equal(found, image_batch(pixels, chosen, "cpu")[:, :, 2:14, 2:14])
    assert torch.equal(
        whole_batch(pixels[:, ::2, ::2], chosen, trial, "cpu"),  # data that have no such size: made larger, then cut
        augment(image_batch(pixels[:, ::2, ::2], chosen, "cpu"), square(16))[:, :, 2:14, 2:14],
    )


def test_without_it_the_whole_image_is_evaluated(make_trial, tiny_data):
    trial = make_trial(arch=ArchSpec(resolution=12))
    pixels, chosen = whole_pixels(tiny_data, "val", trial), torch.arange(4)
    assert torch.equal(
        whole_batch(pixels, chosen, trial, "cpu"), augment(image_batch(pixels, chosen, "cpu"), square(12))
    )
