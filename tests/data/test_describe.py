"""Lines on photos for a person."""

from copy import copy

import numpy as np
import pytest

from mnv2_sweep.data.asked import PhotoOptions
from mnv2_sweep.data.describe import describe_classes, describe_photos
from mnv2_sweep.data.photos import open_photos
from mnv2_sweep.trials.tasks import MACRO_F1, TOP1
from tests.photo_samples import class_files, write_folder


def test_the_first_classes_and_the_fewest_and_most_images(tmp_path):
    counts = {f"kind {letter}": 4 for letter in "abcdefg"} | {"kind h": 2, "kind i": 6}
    data = open_photos(write_folder(tmp_path / "d", class_files(counts)), tmp_path / "cache")
    shown, span = ", ".join(f"kind {letter}" for letter in "abcdef"), "1 (kind h) to 5 (kind i)"
    first = f"classes   {shown} and 3 more; {span} for training each"
    loss = "fit       crop: the centre square leaves out 20 % of the pixels; --fit pad keeps them"
    assert describe_photos(data) == [first, loss]


@pytest.mark.parametrize("fit, words", [("pad", "with grey beside it"), ("squash", "stretched")])
def test_what_is_done_to_photos(tmp_path, fit, words):
    path = write_folder(tmp_path / "d", class_files({"a": 4, "b": 4}))
    data = open_photos(path, tmp_path / "cache", options=PhotoOptions(fit=fit))
    assert describe_photos(data) == [
        "classes   a, b; 3 for training each",
        f"fit       {fit}: all of each photo, {words}",
    ]


def test_drawn_images_need_no_such_line(tiny_data):
    assert describe_photos(tiny_data) == []


@pytest.mark.parametrize(("counts", "is_said"), [((51, 49), True), ((50, 50), False), ((30, 70), True)])
def test_a_class_with_most_of_the_images_is_warned_of_where_top_1_ranks(tiny_data, counts, is_said):
    data = copy(tiny_data)
    data.labels = {**data.labels, "val": np.repeat([0, 1], counts)}
    lines = describe_classes(data, TOP1)
    assert bool(lines) == is_said and describe_classes(data, MACRO_F1) == []
    if is_said:
        assert lines[0].startswith(f"warning   {max(counts)} % of the validation images are ")
        assert "score: balanced_accuracy in the recipe" in lines[0]
