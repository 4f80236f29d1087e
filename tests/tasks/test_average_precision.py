"""mAP against pycocotools, and the cases that it and its like leave open, each with its decided value."""

import numpy as np
import pytest

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.tasks import average_precision
from mnv2_sweep.tasks.average_precision import FoundBoxes, TrueBoxes, score_boxes
from mnv2_sweep.trials.matches import read_matches
from mnv2_sweep.trials.terms import pack_terms, unpack_terms
from tests.box_samples import differences, draw_images, judge_boxes

BOX, FAR = [10.0, 10, 30, 30], [100.0, 100, 160, 160]  # 20 and 60 pixels wide


def true(*corners, classes=None, **more) -> TrueBoxes:
    labels = np.zeros(len(corners), int) if classes is None else np.array(classes)
    return TrueBoxes(np.array(corners, float).reshape(-1, 4), labels, **more)


def found(*corners, classes=None, scores=None) -> FoundBoxes:
    labels = np.zeros(len(corners), int) if classes is None else np.array(classes)
    scores = np.linspace(0.9, 0.5, len(corners)) if scores is None else np.array(scores, float)
    return FoundBoxes(np.array(corners, float).reshape(-1, 4), labels, scores)


NONE = found()


@pytest.mark.parametrize("seed", range(12))
def test_ordinary_cases_are_those_of_pycocotools(seed):
    classes = 1 + seed % 5
    truths, given = draw_images(seed, 6 + seed, classes, digits=2 + seed % 4)
    assert differences(truths, given, classes, score_boxes(truths, given, classes)) < 1e-12


@pytest.mark.heavy
def test_500_ordinary_cases_are_those_of_pycocotools():
    for seed in range(500):
        classes = 1 + seed % 5
        truths, given = draw_images(1000 + seed, 6 + seed % 10, classes, digits=2 + seed % 4)
        assert differences(truths, given, classes, score_boxes(truths, given, classes)) < 1e-12, seed


def test_a_crowd_and_given_areas_are_as_pycocotools_has_them():
    truths, given = draw_images(3, 8, 2)
    random = np.random.default_rng(0)
    truths = [
        one._replace(crowd=random.random(len(one.classes)) < 0.2, areas=random.uniform(10, 20_000, len(one.classes)))
        for one in truths
    ]
    assert differences(truths, given, 2, score_boxes(truths, given, 2)) < 1e-12


def test_precision_by_hand():
    """Two truths; found are one, nothing, the other: precision 1 up to recall 1/2, then 2/3."""
    scores = score_boxes([true(BOX, FAR)], [found(BOX, [200, 0, 240, 30], FAR)], 1)
    assert scores.map50 == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)
    assert scores.map == pytest.approx(scores.map50) and scores.map75 == pytest.approx(scores.map50)
    assert scores.by_class.tolist() == [pytest.approx(scores.map)]


def test_no_detection_is_0_and_no_truth_is_unknown():
    nothing = score_boxes([true(BOX)], [NONE], 1)
    assert (nothing.map, nothing.map50, nothing.by_class.tolist()) == (0, 0, [0])
    empty = score_boxes([true(), true()], [found(BOX), NONE], 1)
    assert np.isnan([empty.map, empty.map50, *empty.by_class, *empty.by_area.values()]).all()
    assert empty.without_truth == (0,)
    assert np.isnan(score_boxes([true()], [NONE], 1).map)


def test_an_image_without_truth_counts_what_is_found_in_it_as_false():
    with_it = score_boxes([true(BOX), true()], [found(BOX, scores=[0.5]), found(FAR, scores=[0.9])], 1)
    assert with_it.map50 == pytest.approx(1 / 2)


def test_a_class_without_truth_is_left_out_and_named():
    scores = score_boxes([true(BOX, classes=[1])], [found(BOX, FAR, classes=[1, 2])], 4)
    assert scores.map == 1 and scores.without_truth == (0, 2, 3)
    assert np.isnan(scores.by_class).tolist() == [True, False, True, True]


def test_an_area_is_the_boxs_unless_given_and_one_no_truth_has_is_unknown():
    scores = score_boxes([true(BOX)], [found(BOX)], 1)
    assert scores.by_area["small"] == 1 and np.isnan([scores.by_area["medium"], scores.by_area["large"]]).all()
    given = score_boxes([true(BOX, areas=np.array([5000.0]))], [found(BOX)], 1)
    assert given.by_area["medium"] == 1 and np.isnan(given.by_area["small"])


def test_a_crowd_is_no_truth_and_what_finds_it_counts_for_nothing():
    crowd = np.array([False, True])
    scores = score_boxes([true(BOX, FAR, crowd=crowd)], [found(FAR, FAR, BOX)], 1)
    assert scores.map == 1 and scores.matches.truths.tolist() == [[1]]
    assert score_boxes([true(BOX, FAR, crowd=crowd)], [NONE], 1).map == 0
    assert np.isnan(score_boxes([true(FAR, crowd=crowd[1:])], [found(FAR)], 1).map)


def test_a_difficult_truth_counts_for_nothing_once():
    difficult = np.array([False, True])
    truths = [true(BOX, FAR, difficult=difficult)]
    assert score_boxes(truths, [found(FAR, BOX)], 1).map == 1
    assert score_boxes(truths, [found(BOX)], 1).map == 1
    assert score_boxes(truths, [found(FAR, FAR, BOX)], 1).map50 == pytest.approx(1 / 2)


def test_truths_have_no_ids():
    """With annotation id 0 a perfect detector has AP 0 by pycocotools, as 0 there means that nothing was found."""
    truths, given = [true(BOX)], [found(BOX)]
    assert score_boxes(truths, given, 1).map == 1
    assert np.nanmean(judge_boxes(truths, given, 1, first_id=0)) == 0


def test_a_truth_is_found_once_and_equal_truths_are_two():
    twice = score_boxes([true(BOX, FAR)], [found(BOX, BOX, FAR)], 1)
    assert twice.map50 == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert score_boxes([true(BOX, BOX)], [found(BOX)], 1).map50 == pytest.approx(51 / 101)
    assert score_boxes([true(BOX, BOX)], [found(BOX, BOX)], 1).map50 == 1


def test_only_the_100_best_of_a_class_in_an_image_count():
    many = found(*[FAR] * 100, BOX)
    assert score_boxes([true(BOX)], [many], 1).map == 0
    assert score_boxes([true(BOX)], [found(*[FAR] * 99, BOX)], 1).map == pytest.approx(1 / 100)
    apart = found(*[FAR] * 100, BOX, classes=[1] * 100 + [0])
    assert score_boxes([true(BOX)], [apart], 2).map == 1


@pytest.mark.parametrize(
    ("truths", "given", "said"),
    [
        (true(BOX), found(BOX, scores=[np.nan]), "detections: box 0 of image 1 has score nan, finite numbers allowed"),
        (true(BOX), found(BOX, scores=[np.inf]), "score inf"),
        (true(BOX), found([0, 0, np.nan, 1]), "detections: box 0 of image 1 is [0.0, 0.0, nan, 1.0]; left, top"),
        (true(BOX, [30, 10, 10, 30]), NONE, "truths: box 1 of image 1 is [30.0, 10.0, 10.0, 30.0]"),
        (true(BOX, classes=[2]), NONE, "truths: box 0 of image 1 has class 2, 0 to 1 allowed"),
        (true(BOX), found(BOX, classes=[-1]), "detections: box 0 of image 1 has class -1"),
    ],
    ids=["nan score", "infinite score", "nan box", "turned box", "class too large", "class below 0"],
)
def test_what_can_be_no_box_is_said(truths, given, said):
    with pytest.raises(SweepError) as error:
        score_boxes([true(BOX), truths], [NONE, given], 2)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_box_without_area_finds_nothing():
    assert score_boxes([true(BOX)], [found([10, 10, 10, 30], BOX)], 1).map50 == pytest.approx(1 / 2)


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(average_precision, "LIBRARY", "no_such_library")
    with pytest.raises(SweepError, match=r"pip install 'mnv2-sweep\[detect\]'"):
        score_boxes([true(BOX)], [found(BOX)], 1)


def test_matches_are_kept_as_terms_and_come_back():
    truths, given = draw_images(5, 9, 3)
    matches = score_boxes(truths, given, 3).matches
    kept = unpack_terms(pack_terms({"val": matches.terms()}))["val"]
    again = read_matches(kept)
    assert again.precision().map == matches.precision().map
    assert (again.truths == matches.truths).all() and (again.hits == matches.hits).all()
    with pytest.raises(ValueError, match="don't go together"):
        read_matches(kept | {"ap_images": kept["ap_images"][1:]})
    with pytest.raises(KeyError):
        read_matches({})


@pytest.mark.parametrize("seed", range(4))
def test_weights_are_how_often_an_image_is_there(seed):
    truths, given = draw_images(seed, 8, 3, digits=9)  # no two scores are equal
    truths[1] = truths[1]._replace(crowd=np.ones(len(truths[1].classes), bool))
    weights = np.random.default_rng(seed).integers(4, size=8)
    weights[2] = 0
    weighed = score_boxes(truths, given, 3).matches.precision(np.stack([weights, np.ones(8)]))
    repeated = np.repeat(np.arange(8), weights)
    again = score_boxes([truths[i] for i in repeated], [given[i] for i in repeated], 3)
    assert weighed.map[0] == pytest.approx(again.map, abs=1e-12)
    assert weighed.map50[0] == pytest.approx(again.map50, abs=1e-12)
    assert weighed.map[1] == pytest.approx(score_boxes(truths, given, 3).map, abs=1e-12)


def test_a_draw_without_any_truth_is_unknown():
    matches = score_boxes([true(BOX), true()], [found(BOX), found(FAR)], 1).matches
    assert np.isnan(matches.precision(np.array([[0, 1]])).map).all()
