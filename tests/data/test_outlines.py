import numpy as np
import pytest

from mnv2_sweep.base.size import Size
from mnv2_sweep.data.outlines import BrokenOutline, decode_runs, draw_outline, fill_polygon, unpack_counts

SMALL = np.zeros((9, 7), bool)
SMALL[2:6, 1:5] = True
SMALL[4, 3] = False
SMALL[8, 6] = True
LARGE = np.zeros((300, 200), bool)
LARGE[100:250, 20:150] = True
# What pycocotools 2.0 writes of these.
RUNS = {";4500NLO43?M": SMALL, "dn5f4f4" + "0" * 257 + "da>": LARGE}


@pytest.mark.parametrize("text", RUNS, ids=["small", "large"])
def test_runs_of_cocos_text_are_the_mask_that_was_packed(text):
    size = Size(*RUNS[text].shape)
    assert (decode_runs({"counts": text, "size": list(size)}, size) == RUNS[text]).all()


def test_runs_as_numbers_go_down_the_columns():
    mask = draw_outline({"counts": [1, 2, 3], "size": [2, 3]}, Size(2, 3))
    assert mask.tolist() == [[False, True, False], [True, False, False]]


def test_runs_are_those_of_an_outside_judge():
    judge = pytest.importorskip("pycocotools.mask", reason="the outside judge is not installed")
    random = np.random.default_rng(0)
    for _ in range(100):
        mask = random.random(random.integers(1, 60, 2)) < random.choice([0.02, 0.5, 0.97])
        packed = judge.encode(np.asfortranarray(mask.astype(np.uint8)))
        outline = {"counts": packed["counts"].decode(), "size": list(mask.shape)}
        assert (decode_runs(outline, Size(*mask.shape)) == mask).all()


def test_a_pixel_belongs_to_the_polygon_in_which_its_centre_lies():
    mask = fill_polygon([1.4, 0.6, 4.6, 0.6, 4.6, 2.4, 1.4, 2.4], Size(4, 6))
    assert np.argwhere(mask).tolist() == [[1, 1], [1, 2], [1, 3], [1, 4]]
    assert fill_polygon([0, 0, 6, 0, 6, 4, 0, 4], Size(4, 6)).all()
    assert fill_polygon([-9, -9, 20, -9, 20, 20, -9, 20], Size(4, 6)).all()
    assert not fill_polygon([7, 0, 9, 0, 9, 4], Size(4, 6)).any()


def test_triangles_that_share_an_edge_cover_each_pixel_once():
    size = Size(20, 30)
    first, second = fill_polygon([0, 0, 30, 0, 0, 20], size), fill_polygon([30, 0, 30, 20, 0, 20], size)
    assert not (first & second).any() and (first | second).all()


def test_several_polygons_are_one_object():
    mask = draw_outline([[0, 0, 2, 0, 2, 2, 0, 2], [4, 0, 6, 0, 6, 2, 4, 2]], Size(2, 6))
    assert mask.tolist() == [[True, True, False, False, True, True]] * 2


@pytest.mark.parametrize(
    "outline, said",
    [
        ([[1, 2, 3, 4]], "a polygon of 4 numbers"),
        ([[1, 2, 3, 4, 5, 6, 7]], "a polygon of 7 numbers"),
        ([[1, 2, 3, 4, 5, float("nan")]], "no numbers"),
        ([[1, 2, 3, 4, 5, "x"]], "no numbers"),
        ([1, 2, 3], "neither a list of polygons"),
        ({"counts": [6], "size": [3, 2]}, "runs of size [3, 2], of an image of [2, 3]"),
        ({"counts": [5], "size": [2, 3]}, "not as long together"),
        ({"counts": [10, -4], "size": [2, 3]}, "not as long together"),
        ({"counts": "\u00e9", "size": [2, 3]}, "is not COCO's text"),
        ({"counts": "o" * 40, "size": [2, 3]}, "is not COCO's text"),
    ],
    ids=range(10),
)
def test_a_broken_outline_says_why(outline, said):
    with pytest.raises(BrokenOutline) as caught:
        draw_outline(outline, Size(2, 3))
    assert said in str(caught.value)


def test_runs_that_are_cut_short_are_refused():
    with pytest.raises(BrokenOutline, match="cut short"):
        unpack_counts("dn5f4f40d")
