"""Anchors as boxes, by hand and from the sources' counts, and which boxes they can match."""

from dataclasses import replace

import numpy as np
import pytest

from mnv2_sweep.base.size import Size
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.reach import MATCHED, best_overlaps, describe_reach, find_reach, place_anchors, reach_by
from mnv2_sweep.nets.resolve import resolve

SSDLITE = ArchSpec(width=0.35, resolution=320, classes=3, head="ssdlite")
SSD300 = ArchSpec(family="vgg16", head="ssd", resolution=300, classes=3)
YOLO = ArchSpec(family="darknet19", head="yolov2", resolution=416, classes=3)


@pytest.mark.parametrize(
    ("arch", "count"),
    [(SSDLITE, 2034), (SSD300, 8732), (replace(SSD300, resolution=512, scales=7), 24564), (YOLO, 13 * 13 * 5)],
    ids=["ssdlite", "ssd300", "ssd512", "yolov2"],
)
def test_there_are_as_many_anchors_as_the_sources_have(arch, count):
    anchors = place_anchors(resolve(arch))
    assert anchors.shape == (count, 4) and (anchors > 0).all() and (anchors[:, :2] < 1).all()


def test_anchors_by_hand():
    anchors = place_anchors(resolve(SSDLITE))
    assert anchors[0] == pytest.approx([0.5 / 20, 0.5 / 20, 0.1, 0.1])  # the square one of half the scale
    assert anchors[1] == pytest.approx([0.5 / 20, 0.5 / 20, 0.2 * 2**0.5, 0.2 / 2**0.5])
    assert anchors[3] == pytest.approx([1.5 / 20, 0.5 / 20, 0.1, 0.1])  # three a place, then the next to the right
    assert anchors[60] == pytest.approx([0.5 / 20, 1.5 / 20, 0.1, 0.1])
    assert anchors[1200] == pytest.approx([0.05, 0.05, 0.35, 0.35])  # the second map, 10 x 10
    assert anchors[-1] == pytest.approx([0.5, 0.5, 0.95**0.5, 0.95**0.5])
    assert place_anchors(resolve(YOLO))[0] == pytest.approx([0.5 / 13, 0.5 / 13, 0.57273 / 13, 0.677385 / 13])


def test_a_rectangle_has_places_of_its_own_along_each_side():
    anchors = place_anchors(resolve(replace(YOLO, resolution=Size(160, 320))))
    assert anchors[5][:2] == pytest.approx([1.5 / 10, 0.5 / 5])


def test_a_network_without_anchors_is_refused():
    with pytest.raises(ValueError, match="head classifier has no anchors"):
        place_anchors(resolve(ArchSpec()))


def test_overlaps_by_hand():
    anchors = np.array([[0.5, 0.5, 0.2, 0.2], [0.1, 0.1, 0.2, 0.2]])
    boxes = np.array([[0.4, 0.4, 0.6, 0.6], [0.4, 0.4, 0.5, 0.6], [0.8, 0.8, 0.9, 0.9], [0.5, 0.5, 0.7, 0.7]])
    assert best_overlaps(boxes, anchors) == pytest.approx([1, 0.5, 0, 1 / 7])


def test_small_boxes_are_missed_and_finer_anchors_would_match_them():
    """12 of 192 px, the paper's smallest anchor being a tenth of the side: it overlaps (12 / 19.2)^2 = 0.39 at most."""
    arch = replace(SSDLITE, resolution=192)
    middle = np.array([0.5 / 12 + 3 / 12, 0.5 / 12 + 5 / 12])
    small = np.concatenate([middle - 6 / 192, middle + 6 / 192])
    large = np.array([0.3, 0.3, 0.65, 0.65])
    boxes = np.stack([small, large])
    assert best_overlaps(boxes, place_anchors(resolve(arch)))[0] == pytest.approx((12 / 19.2) ** 2)
    assert find_reach(resolve(arch), boxes) == (2, 1, 1)
    finer = reach_by(arch, boxes, "anchor_scale", [0.2, 0.1])
    assert [reach.missed for reach in finer.values()] == [1, 0]
    lines = describe_reach(arch, boxes)
    assert lines[0].startswith("1 of 2 boxes (50.0 %) overlap no anchor by 0.5")
    assert lines[1:] == [
        "with anchor_scale 0.15 it would be 0", "1 of them has the shape of no anchor at all, wherever it lies",
    ]  # fmt: skip


def test_a_box_between_anchors_is_matched_at_a_higher_resolution():
    anchors = place_anchors(resolve(replace(SSDLITE, resolution=96)))  # places of 1/6
    side = 0.1
    corner = np.array([1 / 6, 1 / 6])  # where four places meet, as far from their middles as can be
    box = np.concatenate([corner - side / 2, corner + side / 2])[None]
    assert best_overlaps(box, anchors)[0] < MATCHED
    reaches = reach_by(replace(SSDLITE, resolution=96), box, "resolution", [96, 320])
    assert [reach.missed for reach in reaches.values()] == [1, 0] and reaches[96].misshapen == 0
    assert any(line.startswith("at ") and "it would be 0" in line for line in describe_reach(
        replace(SSDLITE, resolution=96), box
    ))  # fmt: skip


def test_nothing_is_said_where_all_can_be_matched():
    anchors = place_anchors(resolve(SSDLITE))[1210:1212]
    boxes = np.concatenate([anchors[:, :2] - anchors[:, 2:] / 2, anchors[:, :2] + anchors[:, 2:] / 2], 1)
    assert describe_reach(SSDLITE, boxes) == [] and describe_reach(SSDLITE, boxes[:0]) == []
