"""What all drawings of fabrics have in common: the same pixels everywhere, in any chunks, and balanced classes."""

from dataclasses import fields

import numpy as np
import pytest

from mnv2_sweep.base.size import square
from mnv2_sweep.data.cloths import CLOTHS
from mnv2_sweep.data.quilts import QUILTS

ALL = slice(None)
of_each = pytest.mark.parametrize("drawing", [CLOTHS, QUILTS], ids=lambda drawing: drawing.name)


@of_each
def test_same_seed_same_pixels_and_numpy_s_own_random_numbers_change_nothing(drawing):
    np.random.seed(1)
    one = drawing.draw(12, 3)
    np.random.seed(2)
    two = drawing.draw(12, 3)
    for field in fields(one):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(two, field.name))
    np.testing.assert_array_equal(drawing.render(one, ALL, square(20)), drawing.render(two, ALL, square(20)))
    assert not np.array_equal(drawing.draw(12, 4).phase, one.phase)


@of_each
def test_they_render_alike_in_any_chunks(drawing):
    scenes = drawing.draw(11, 5)
    parts = [drawing.render(scenes, rows, square(18)) for rows in (slice(0, 4), slice(4, 5), slice(5, 11))]
    np.testing.assert_array_equal(np.concatenate(parts), drawing.render(scenes, ALL, square(18)))
    np.testing.assert_array_equal(np.concatenate(parts), next(drawing.render_chunks(scenes, square(18))))


@of_each
def test_classes_are_balanced_in_every_split(drawing):
    counts = {split: np.bincount(drawing.draw(count, 0).label) for split, count in drawing.counts.items()}
    assert all(len(count) == len(drawing.classes) and np.ptp(count) <= 1 for count in counts.values())
