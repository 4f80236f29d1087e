"""The drawn data: the same pixels everywhere, balanced classes, and sides that show the same scenes."""

from dataclasses import fields, replace

import numpy as np
import pytest

from mnv2_sweep.base.size import Size, square
from mnv2_sweep.data.drawing import CHUNK_PIXELS
from mnv2_sweep.data.shapes import (
    CLASSES,
    DISTRACTORS,
    FILLS,
    OUTLINES,
    SHAPES,
    Scenes,
    draw_scenes,
    render_scenes,
)

ALL = slice(None)


def draw_quiet(count: int, seed: int) -> Scenes:
    """Scenes without noise, which alone has no counterpart at another side."""
    return replace(draw_scenes(count, seed), noise=np.zeros(count))


def draw_plain(count: int, **changes) -> Scenes:
    """White objects on black and nothing else, all with radius 0.4 in the middle, unless `changes` says more."""
    scenes = draw_scenes(count, 0)
    zeros, spots = np.zeros((count, 4)), scenes.spots.copy()
    spots[:, :, 2] = -1  # a negative radius covers nothing
    plain = dict(centre=zeros[:, :2] + 0.5, radius=zeros[:, 0] + 0.4, stretch=zeros[:, 0] + 1, paper=zeros[:, :3])
    plain |= dict(fill_contrast=zeros[:, 0], ink=zeros[:, :3] + 1, shade=zeros[:, :2], weave=zeros, spots=spots)
    return replace(scenes, **{**plain, "noise": zeros[:, 0], **changes})


def shrink(images: np.ndarray, side: int) -> np.ndarray:
    """Box filter: each pixel is the mean of those it covers."""
    count, large, _, channels = images.shape
    return images.astype(float).reshape(count, side, large // side, side, large // side, channels).mean(axis=(2, 4))


# ---------------------------------------------------------------- the same everywhere


def test_pixels_stay():
    """Means, measured on one machine: a changed image needs a new SHAPES_VERSION, another machine's sine does not."""
    images = render_scenes(draw_scenes(20, 7), ALL, square(48))
    assert images.shape == (20, 48, 48, 3) and images.dtype == np.uint8
    assert images.mean() == pytest.approx(114.237, abs=0.05) and images.std() == pytest.approx(62.074, abs=0.05)
    colours = [[81.24, 157.05, 79.57], [169.94, 127.0, 115.47], [176.19, 61.53, 113.67]]
    np.testing.assert_allclose(images[:3].mean(axis=(1, 2)), colours, atol=0.1)
    quarters = images[3].reshape(2, 24, 2, 24, 3).mean(axis=(1, 3, 4))
    np.testing.assert_allclose(quarters, [[87.6, 86.52], [98.0, 95.64]], atol=0.1)


def test_same_seed_same_pixels():
    one, two = draw_scenes(12, 3), draw_scenes(12, 3)
    for field in fields(Scenes):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(two, field.name))
    np.testing.assert_array_equal(render_scenes(one, ALL, square(20)), render_scenes(two, ALL, square(20)))


def test_numpy_s_own_random_numbers_change_nothing():
    np.random.seed(1)
    before = render_scenes(draw_scenes(3, 3), ALL, square(12))
    np.random.seed(2)
    np.testing.assert_array_equal(before, render_scenes(draw_scenes(3, 3), ALL, square(12)))


def test_scenes_render_alike_in_any_chunks():
    scenes = draw_scenes(11, 5)
    parts = [render_scenes(scenes, rows, square(18)) for rows in (slice(0, 4), slice(4, 5), slice(5, 11))]
    np.testing.assert_array_equal(np.concatenate(parts), render_scenes(scenes, ALL, square(18)))


def test_chunks_are_all_scenes_in_order():
    scenes, side = draw_scenes(11, 5), 300
    *full, rest = SHAPES.render_chunks(scenes, square(side))
    assert {len(images) for images in full} == {CHUNK_PIXELS // side**2} and 0 < len(rest) <= len(full[0])
    np.testing.assert_array_equal(np.concatenate([*full, rest]), render_scenes(scenes, ALL, square(side)))


def test_rendering_leaves_the_scenes_alone():
    scenes, untouched = draw_scenes(6, 5), draw_scenes(6, 5)
    render_scenes(scenes, ALL, square(18))
    for field in fields(Scenes):
        np.testing.assert_array_equal(getattr(scenes, field.name), getattr(untouched, field.name))


def test_other_seeds_share_no_scene():
    images = np.concatenate([render_scenes(draw_scenes(30, seed), ALL, square(16)) for seed in (0, 1, 2)])
    assert len({image.tobytes() for image in images}) == 90
    apart = np.abs(images[:, None].astype(float) - images[None]).mean(axis=(2, 3, 4))
    assert apart[~np.eye(90, dtype=bool)].min() > 5  # not the same scene under another noise, either


# ---------------------------------------------------------------- classes


@pytest.mark.parametrize("count", [10, 200, 205])
def test_classes_are_balanced(count):
    classes = np.bincount(draw_scenes(count, 0).label)
    assert len(classes) == len(OUTLINES) * len(FILLS) == 10
    assert classes.max() - classes.min() == (0 if count % 10 == 0 else 1)


def test_classes_are_named_after_their_fill_and_outline():
    assert len(CLASSES) == 10 and CLASSES[:3] == ("plain disc", "striped disc", "plain square")


def test_every_factor_has_a_row_an_image():
    scenes = draw_scenes(13, 0)
    assert {len(getattr(scenes, field.name)) for field in fields(Scenes)} == {13}
    assert scenes.spots.shape == (13, DISTRACTORS, 6) and scenes.ink.shape == scenes.paper.shape == (13, 3)
    assert scenes.ink.min() >= 0 and scenes.ink.max() <= 1


def test_outlines_differ_in_form_and_hardly_in_area():
    images = render_scenes(draw_plain(10, angle=np.zeros(10)), ALL, square(64))[..., 0] / 255.0
    areas = images.mean(axis=(1, 2))
    assert np.abs(areas / areas.mean() - 1).max() < 0.2
    forms = images[::2]  # one of each outline
    for i in range(5):
        assert [np.abs(forms[i] - forms[j]).mean() > 0.02 for j in range(5)] == [j != i for j in range(5)]
    # Fills are not visible without contrast: classes 2i and 2i + 1 share their outline.
    np.testing.assert_array_equal(images[::2], images[1::2])


@pytest.mark.parametrize(
    "name, turn",
    [("square", np.pi / 2), ("triangle", 2 * np.pi / 3), ("cross", np.pi / 2), ("flower", 2 * np.pi / 5)],
)
def test_outlines_have_their_symmetry(name, turn):
    scenes = draw_plain(10, angle=np.zeros(10))
    row = 2 * OUTLINES.index(name)
    still, turned, half = (
        render_scenes(replace(scenes, angle=np.full(10, angle)), slice(row, row + 1), square(64)).astype(float)
        for angle in (0, turn, turn / 2)
    )
    assert np.abs(still - turned).mean() < 0.5
    assert np.abs(still - half).mean() > 3


def test_radius_and_centre_are_shares_of_the_image():
    centre = np.array([[0.3, 0.6]] * 10)
    image = (
        render_scenes(draw_plain(10, centre=centre, radius=np.full(10, 0.2)), slice(0, 1), square(100))[0, :, :, 0]
        / 255.0
    )
    y, x = np.mgrid[:100, :100] + 0.5
    assert (image * x).sum() / image.sum() == pytest.approx(30, abs=0.1)
    assert (image * y).sum() / image.sum() == pytest.approx(60, abs=0.1)
    assert image.sum() == pytest.approx(np.pi * (0.85 * 20) ** 2, rel=0.01)  # a disc


def test_stripes_are_one_wave_and_plain_objects_have_none():
    """A wave along x has the same pixels in every row."""
    changes = dict(radius=np.full(10, 3.0), fill_angle=np.zeros(10), fill_period=np.full(10, 1 / 8))
    changes |= dict(fill_contrast=np.full(10, 0.3), ink=np.full((10, 3), 0.5))
    images = render_scenes(draw_plain(10, **changes), ALL, square(64))[..., 0] / 255.0
    plain, striped = images[FILLS.index("plain") :: 2], images[FILLS.index("striped") :: 2]
    assert np.ptp(plain) == 0
    np.testing.assert_array_equal(striped, striped[:, :1].repeat(64, axis=1))
    strength = np.abs(np.fft.rfft(striped[:, 0] - striped[:, 0].mean()))
    assert (strength.argmax(axis=-1) == 8).all()  # eight periods
    assert np.ptp(striped, axis=(1, 2)) == pytest.approx(0.6, rel=0.1)  # from -0.3 to 0.3 about the ink


# ---------------------------------------------------------------- sides


@pytest.mark.parametrize("side", [16, 32])
def test_a_smaller_side_shows_the_same_scenes(side):
    """A box filter of the larger image is the smaller one, but for clipped and anti-aliased edges."""
    scenes = draw_quiet(20, 7)
    large, small = render_scenes(scenes, ALL, square(64)), render_scenes(scenes, ALL, square(side)).astype(float)
    assert np.abs(shrink(large, side) - small).mean(axis=(1, 2, 3)).max() < 2.5
    step = 64 // side
    assert np.abs(large[:, ::step, ::step] - small).mean() > 5  # what dropping pixels, without a filter, would give


def test_noise_grows_with_the_side():
    scenes = draw_plain(40, paper=np.full((40, 3), 0.5), radius=np.full(40, 0.01), noise=np.full(40, 0.02))
    deviations = [render_scenes(scenes, ALL, square(side)).std() for side in (32, 64, 128)]
    np.testing.assert_allclose(deviations, 255 * np.array([0.01, 0.02, 0.04]), rtol=0.1)


def test_stripes_fade_to_grey_below_two_pixels_a_period():
    """At one pixel a period nothing is left, at four most of it."""
    changes = dict(radius=np.full(10, 3.0), fill_period=np.full(10, 1 / 14), fill_contrast=np.full(10, 0.3))
    scenes = draw_plain(10, ink=np.full((10, 3), 0.5), fill_angle=np.zeros(10), **changes)
    striped = slice(FILLS.index("striped"), None, len(FILLS))
    small, large = (render_scenes(scenes, striped, square(side))[..., 0].std(axis=(1, 2)) / 255 for side in (14, 56))
    assert len(small) == 5 and small.max() < 0.005 and large.min() > 0.15


# ---------------------------------------------------------------- rectangles


@pytest.mark.parametrize("size", [Size(24, 40), Size(36, 24), Size(24, 96)], ids=str)
def test_the_middle_of_a_rectangle_is_the_square(size):
    """Nothing is stretched, moved or scaled: the pixels are the same but for the noise."""
    scenes = replace(draw_scenes(40, 7), noise=np.zeros(40))
    whole, inner = render_scenes(scenes, ALL, size), render_scenes(scenes, ALL, square(24))
    assert whole.shape == (40, *size, 3)
    top, left = (size.height - 24) // 2, (size.width - 24) // 2
    np.testing.assert_array_equal(whole[:, top : top + 24, left : left + 24], inner)


def test_around_the_square_the_background_goes_on():
    scenes = draw_plain(10, paper=np.full((10, 3), 0.5), shade=np.tile([0.1, 0.0], (10, 1)))
    row = render_scenes(scenes, ALL, Size(20, 60))[:, 0, :, 0].astype(int)
    assert (np.diff(row) >= 0).all() and (row[:, 0] < row[:, 20]).all() and (row[:, 39] < row[:, 59]).all()


def test_a_rectangle_has_the_noise_of_its_shorter_side():
    scenes = draw_plain(10, paper=np.full((10, 3), 0.5), radius=np.full(10, 0.01), noise=np.full(10, 0.04))
    deviations = [render_scenes(scenes, ALL, size)[..., 0].std() for size in (square(64), Size(64, 128))]
    assert deviations[0] == pytest.approx(deviations[1], rel=0.05)


def test_chunks_of_rectangles_are_all_scenes_in_order():
    scenes, size = draw_scenes(11, 5), Size(200, 450)
    *full, rest = SHAPES.render_chunks(scenes, size)
    assert {len(images) for images in full} == {CHUNK_PIXELS // size.area} and len(rest) <= len(full[0])
    np.testing.assert_array_equal(np.concatenate([*full, rest]), render_scenes(scenes, ALL, size))
