import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image, ImageOps

from mnv2_sweep.base.size import Size
from mnv2_sweep.data.annotations import (
    Mark,
    Sheet,
    describe_care,
    join_boxes,
    make_boxes,
    place_boxes,
    settle,
    turn_corners,
)

CLASSES = {"cat": 0, "dog": 1}
UPRIGHT = Size(30, 40)


def settle_one(*corners: tuple[float, ...], said: Size | None = None, orientation: int = 1, shares: bool = False):
    care = Counter()
    sheet = Sheet("a.png", [Mark(one, "cat") for one in corners], said=said, shares=shares)
    return settle(sheet, UPRIGHT, orientation, CLASSES, care), care


def test_boxes_are_cut_at_the_edges_and_those_without_area_or_outside_go():
    inside, across, outside, flat, swapped = (1, 2, 3, 4), (-5, 10, 8, 45), (41, 1, 50, 5), (3, 3, 3, 9), (9, 9, 5, 12)
    boxes, care = settle_one(inside, across, outside, flat, swapped)
    assert boxes.corners.tolist() == [[0, 10, 8, 30], [1, 2, 3, 4]]
    assert care == {"cut": 1, "outside": 1, "flat": 2, "double": 0}
    assert describe_care(care) == [
        "1 box cut at the image's edge",
        "1 box left out: outside of the image",
        "2 boxes left out: without area",
    ]


def test_a_box_that_is_there_twice_counts_once_and_another_class_is_another_box():
    sheet = Sheet("a.png", [Mark((1, 1, 5, 5), "cat"), Mark((1, 1, 5.001, 5), "cat"), Mark((1, 1, 5, 5), "dog")])
    care = Counter()
    boxes = settle(sheet, UPRIGHT, 1, CLASSES, care)
    assert boxes.classes.tolist() == [0, 1] and care["double"] == 1


def test_rounding_of_shares_is_no_cut():
    boxes, care = settle_one((0, 0, 1.0000004, 1.0000004), shares=True)
    assert boxes.corners.tolist() == [[0, 0, 40, 30]] and care["cut"] == 0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_corners_turn_as_pixels_do(orientation):
    stored = np.zeros((30, 40, 3), np.uint8)
    stored[4:9, 25:37] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = io.BytesIO()
    Image.fromarray(stored).save(out, "PNG", exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(out)))[..., 0]
    rows, columns = np.nonzero(upright)
    turned = turn_corners(np.array([[25.0, 4, 37, 9]]), Size(30, 40), orientation)
    assert turned.tolist() == [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]]


def test_boxes_of_the_stored_image_turn_with_it_and_others_stay():
    stored, _ = settle_one((0, 0, 3, 10), said=Size(40, 30), orientation=6)  # 40 high as it is stored
    assert stored.corners.tolist() == [[30, 0, 40, 3]]
    for said in (UPRIGHT, None):
        assert settle_one((0, 0, 3, 10), said=said, orientation=6)[0].corners.tolist() == [[0, 0, 3, 10]]


def test_labels_give_each_image_its_boxes():
    first, none, last = make_boxes([(0, 0, 1, 1, 1, 0, 1)]), make_boxes([]), make_boxes([(0, 0, 2, 2, 0, 1, 0)] * 2)
    labels = join_boxes([first, none, last])
    assert len(labels) == 3 and labels.counts.tolist() == [1, 0, 2] and labels.images.tolist() == [0, 2, 2]
    assert [len(one) for one in labels] == [1, 0, 2]
    assert labels[0].difficult.tolist() == [True] and labels[2].crowd.tolist() == [True, True]
    assert len(join_boxes([])) == 0
    with pytest.raises(IndexError):
        labels[3]


def test_boxes_are_scaled_and_moved_image_by_image():
    labels = join_boxes([make_boxes([(1, 2, 3, 4, 0, 0, 0)]), make_boxes([]), make_boxes([(1, 2, 3, 4, 0, 0, 0)])])
    placed = place_boxes(labels, np.array([[2, 2], [9, 9], [0.5, 1]]), np.array([[0, 10], [9, 9], [0, 0]]))
    assert placed.corners.tolist() == [[2, 14, 6, 18], [0.5, 2, 1.5, 4]]
    assert placed.corners.dtype == np.float32
