"""Patchwork: the same pixels everywhere, balanced classes that are mixtures of fabrics, sides that show the same."""

import colorsys
from dataclasses import replace

import numpy as np
import pytest

from mnv2_sweep.base.size import Size, square
from mnv2_sweep.data import quilts as module
from mnv2_sweep.data.quilts import (
    CLASSES,
    FABRICS,
    HUES,
    MIXTURES,
    PATCH,
    PATCHES,
    PERIODS,
    Quilts,
    draw_mixtures,
    draw_quilts,
    render_quilts,
)

ALL, P = slice(None), PATCHES**2


@pytest.fixture
def quiet(monkeypatch):
    """No noise, which alone has no counterpart at another side."""
    monkeypatch.setattr(module, "NOISE", 0.0)


def draw_plain(count: int, **changes) -> Quilts:
    """Grey quilts without stripes or shade, whose patches begin with the image, unless `changes` says more."""
    quilts = draw_quilts(count, 0)
    plain = dict(colour=np.full((count, P, 3), 0.5), start=quilts.start * 0, ink=quilts.ink * 0, shade=quilts.shade * 0)
    return replace(quilts, **plain | changes)


def shrink(images: np.ndarray, side: int) -> np.ndarray:
    """Box filter: each pixel is the mean of those it covers."""
    count, large, _, channels = images.shape
    return images.astype(float).reshape(count, side, large // side, side, large // side, channels).mean(axis=(2, 4))


def test_a_class_is_its_mixture_of_fabrics():
    """Each fabric is as frequent as the class says, within what chance allows; and classes differ."""
    quilts, mixtures = draw_quilts(8000, 0), draw_mixtures()
    assert len(set(CLASSES)) == MIXTURES and mixtures.shape == (MIXTURES, len(FABRICS))
    for label in range(MIXTURES):
        seen = np.bincount(quilts.fabric[quilts.label == label].ravel(), minlength=len(FABRICS)) / (200 * P)
        assert np.abs(seen - mixtures[label]).max() < 5 * np.sqrt(0.25 / (200 * P))
        named = [FABRICS.index(name) for name in CLASSES[label].split(", ")]
        assert sorted(mixtures[label], reverse=True)[:3] == [mixtures[label][fabric] for fabric in named]
    apart = np.abs(mixtures[:, None] - mixtures).sum(axis=2)[~np.eye(MIXTURES, dtype=bool)]
    assert apart.min() > 0.5  # at most three quarters of two quilts can be alike


def test_a_fabric_has_the_hue_and_the_stripes_of_its_name(monkeypatch):
    monkeypatch.setattr(module, "HUE_SPREAD", 0.0)
    monkeypatch.setattr(module, "PERIOD_SPREAD", 0.0)
    quilts = draw_quilts(40, 0)
    for fabric, name in enumerate(FABRICS):
        kind, hue = name.split(" ")
        here = quilts.fabric == fabric
        assert here.any()
        seen = np.array([colorsys.rgb_to_hsv(*colour)[0] for colour in quilts.colour[here]])
        assert (np.abs((seen - HUES.index(hue) / len(HUES) + 0.5) % 1 - 0.5) < 0.05).all()
        assert ((quilts.ink[here] > 0) == (kind != "plain")).all()
        if kind != "plain":
            np.testing.assert_allclose(1 / np.hypot(*quilts.frequency[here].T), PERIODS[kind])


def test_patches_lie_where_they_begin(quiet):
    """The first is cut by its start; five and a part fit a side, and each pixel has one patch's colour."""
    colour = np.arange(P)[None, :, None].repeat(3, axis=2) / P
    for start, first in ((0.0, 20), (0.5, 10)):
        image = render_quilts(draw_plain(1, colour=colour, start=np.full((1, 2), start)), ALL, square(100))[0, ..., 0]
        edges = np.flatnonzero(np.diff(image[0].astype(int))) + 1
        assert edges.tolist() == list(range(first, 100, round(100 * PATCH)))
        down = np.flatnonzero(np.diff(image[:, 0].astype(int))) + 1
        assert down.tolist() == edges.tolist()
        assert len(np.unique(image)) == (len(edges) + 1) ** 2


def test_stripes_have_their_period(quiet):
    frequency, ink = np.zeros((2, P, 2)), np.full((2, P), 0.2)
    frequency[0, :, 0], frequency[1, :, 1] = 6.0, 12.0
    phase = np.zeros((2, P))
    images = render_quilts(draw_plain(2, frequency=frequency, ink=ink, phase=phase), ALL, square(84))[..., 0] / 255.0
    assert np.ptp(images[0], axis=0).max() == np.ptp(images[1], axis=1).max() == 0
    strength = [np.abs(np.fft.rfft(line - line.mean())).argmax() for line in (images[0, 0], images[1, :, 0])]
    assert strength == [6, 12] and np.ptp(images) == pytest.approx(0.4, rel=0.05)


@pytest.mark.parametrize("side", [20, 40])
def test_a_smaller_side_shows_the_same_quilts(quiet, side):
    """A box filter of the larger image is the smaller one, but for what is clipped, where patches begin with pixels."""
    quilts = draw_quilts(20, 7)
    quilts = replace(quilts, start=quilts.start * 0)
    large, small = render_quilts(quilts, ALL, square(80)), render_quilts(quilts, ALL, square(side)).astype(float)
    assert np.abs(shrink(large, side) - small).mean() < 1.5
    step = 80 // side
    assert np.abs(large[:, ::step, ::step] - small).mean() > 3  # what dropping pixels, without a filter, would give


def test_fine_stripes_fade_where_they_cannot_be_seen(quiet):
    """At one pixel a period nothing is left, at four most of it."""
    quilts = draw_plain(1, frequency=np.full((1, P, 2), [14.0, 0.0]), ink=np.full((1, P), 0.3))
    small, large = (render_quilts(quilts, ALL, square(side)).std() / 255 for side in (14, 56))
    assert small < 0.005 and large > 0.15


def test_noise_grows_with_the_side():
    deviations = [render_quilts(draw_plain(20), ALL, square(side)).std() for side in (32, 64, 128)]
    np.testing.assert_allclose(deviations, 255 * module.NOISE * np.array([0.5, 1, 2]), rtol=0.05)


@pytest.mark.parametrize("size", [Size(24, 40), Size(36, 24)], ids=str)
def test_the_middle_of_a_rectangle_is_the_square(quiet, size):
    quilts = draw_quilts(20, 7)
    whole, inner = render_quilts(quilts, ALL, size), render_quilts(quilts, ALL, square(24))
    top, left = (size.height - 24) // 2, (size.width - 24) // 2
    middle = whole[:, top : top + 24, left : left + 24].astype(int)
    assert whole.shape == (20, *size, 3) and np.abs(middle - inner).max() <= 1
