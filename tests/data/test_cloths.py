"""Striped cloth: the same pixels everywhere, balanced classes named after what is seen, sides that show the same."""

import colorsys
from dataclasses import replace

import numpy as np
import pytest

from mnv2_sweep.base.size import Size, square
from mnv2_sweep.data import cloths as module
from mnv2_sweep.data.cloths import CLASSES, HUES, PERIODS, STRIPES, Cloths, draw_cloths, render_cloths

ALL = slice(None)


@pytest.fixture
def quiet(monkeypatch):
    """No noise, which alone has no counterpart at another side."""
    monkeypatch.setattr(module, "NOISE", 0.0)


def draw_plain(count: int, **changes) -> Cloths:
    """Grey cloths without stripes or shade, unless `changes` says more."""
    cloths = draw_cloths(count, 0)
    plain = dict(ground=np.full((count, 3), 0.5), ink=cloths.ink * 0, shade=cloths.shade * 0)
    return replace(cloths, **plain | changes)


def shrink(images: np.ndarray, side: int) -> np.ndarray:
    """Box filter: each pixel is the mean of those it covers."""
    count, large, _, channels = images.shape
    return images.astype(float).reshape(count, side, large // side, side, large // side, channels).mean(axis=(2, 4))


def test_classes_are_named_after_what_is_seen(monkeypatch):
    """The name's hue is the ground's, and each wave goes between the name's two colours."""
    for spread in ("HUE_SPREAD", "COLOUR_SPREAD"):
        monkeypatch.setattr(module, spread, 0.0)
    cloths = draw_cloths(len(CLASSES), 0)
    for label, name in enumerate(CLASSES):
        hue, broad, fine = name.split(", ")
        seen = colorsys.rgb_to_hsv(*cloths.ground[label])[0]
        assert abs((seen - HUES.index(hue) / len(HUES) + 0.5) % 1 - 0.5) < 0.05
        for ink, wave, words in zip(cloths.ink[label], PERIODS, (broad, fine), strict=True):
            kind, stripes = words.split(" ")
            assert kind == wave
            np.testing.assert_allclose(ink / np.abs(ink).max(), STRIPES[stripes], atol=1e-6)


def test_stripes_have_their_period(quiet):
    frequency, ink = np.tile([[[6.0, 0.0], [0.0, 12.0]]], (2, 1, 1)), np.zeros((2, 2, 3))
    ink[0, 0] = ink[1, 1] = 0.2
    images = render_cloths(draw_plain(2, frequency=frequency, ink=ink), ALL, square(84))[..., 0] / 255.0
    assert np.ptp(images[0], axis=0).max() == np.ptp(images[1], axis=1).max() == 0
    strength = [np.abs(np.fft.rfft(line - line.mean())).argmax() for line in (images[0, 0], images[1, :, 0])]
    assert strength == [6, 12] and np.ptp(images) == pytest.approx(0.4, rel=0.05)


@pytest.mark.parametrize("side", [16, 32])
def test_a_smaller_side_shows_the_same_cloths(quiet, side):
    """A box filter of the larger image is the smaller one, but for what is clipped."""
    cloths = draw_cloths(20, 7)
    large, small = render_cloths(cloths, ALL, square(64)), render_cloths(cloths, ALL, square(side)).astype(float)
    assert np.abs(shrink(large, side) - small).mean() < 1.5
    step = 64 // side
    assert np.abs(large[:, ::step, ::step] - small).mean() > 3  # what dropping pixels, without a filter, would give


def test_fine_stripes_fade_where_they_cannot_be_seen(quiet):
    """At one pixel a period nothing is left, at four most of it."""
    cloths = draw_plain(1, frequency=np.full((1, 2, 2), [14.0, 0.0]), ink=np.array([[[0.0] * 3, [0.3] * 3]]))
    small, large = (render_cloths(cloths, ALL, square(side)).std() / 255 for side in (14, 56))
    assert small < 0.005 and large > 0.15


def test_noise_grows_with_the_side():
    deviations = [render_cloths(draw_plain(20), ALL, square(side)).std() for side in (32, 64, 128)]
    np.testing.assert_allclose(deviations, 255 * module.NOISE * np.array([0.5, 1, 2]), rtol=0.05)


@pytest.mark.parametrize("size", [Size(24, 40), Size(36, 24)], ids=str)
def test_the_middle_of_a_rectangle_is_the_square(quiet, size):
    cloths = draw_cloths(20, 7)
    whole, inner = render_cloths(cloths, ALL, size), render_cloths(cloths, ALL, square(24))
    top, left = (size.height - 24) // 2, (size.width - 24) // 2
    middle = whole[:, top : top + 24, left : left + 24].astype(int)
    assert whole.shape == (20, *size, 3) and np.abs(middle - inner).max() <= 1
