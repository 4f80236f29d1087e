"""What each image came to, as bytes."""

import numpy as np
import pytest

from mnv2_sweep.trials.terms import LARGEST, MISTAKEN, find_predicted, pack_terms, unpack_terms

RIGHT = np.random.default_rng(0).random(5001) < 0.7
LOSSES = np.random.default_rng(1).exponential(size=5001).astype(np.float32)
TERMS = {"val": {"top1": RIGHT, "loss": LOSSES}, "test": {"top1": ~RIGHT[:7], "loss": LOSSES[:7]}}


def test_bits_come_back_and_other_numbers_in_9_bits():
    back = unpack_terms(pack_terms(TERMS))
    assert list(back) == ["val", "test"] and list(back["val"]) == ["top1", "loss"]
    for split in TERMS:
        assert back[split]["top1"].dtype == bool and np.array_equal(back[split]["top1"], TERMS[split]["top1"])
        assert np.allclose(back[split]["loss"], TERMS[split]["loss"], rtol=2**-8, atol=1e-6)


def test_a_classification_takes_at_most_1_75_bytes_an_image():
    assert len(pack_terms({"val": TERMS["val"], "test": TERMS["val"]})) < 1.75 * 2 * 5001


def test_what_half_precision_cannot_hold_becomes_its_largest_number():
    back = unpack_terms(pack_terms({"val": {"loss": np.array([1e9, -1e9, np.inf])}}))
    assert back["val"]["loss"].tolist() == [LARGEST, -LARGEST, LARGEST]


def test_nothing_is_no_bytes():
    assert pack_terms({}) == pack_terms({"val": {}}) == b"" and unpack_terms(b"") == {}


PACKED = pack_terms(TERMS)


@pytest.mark.parametrize(
    "data",
    [
        *(PACKED[:-1], PACKED + b"x", PACKED.replace(b"bits", b"bats", 1), PACKED.replace(b"5001", b"-001", 1)),
        *(b"x", b"\n", b"{}x\n", b'[["val", "top1", "bits", "9"]]\n', b'[["val", "loss", "halves", 1e99]]\n'),
        *(b'[["val", "loss", "halves", 999999999999]]\n\x00', b"[1]\n", b'[[["val"], "loss", "halves", 0]]\n'),
    ],
)
def test_other_bytes_are_refused(data):
    with pytest.raises(ValueError):
        unpack_terms(data)


WRONG = np.random.default_rng(2).integers(0, 300, int((~RIGHT).sum()))


def test_what_images_were_taken_for_comes_back_whole():
    back = unpack_terms(pack_terms({"val": {**TERMS["val"], MISTAKEN: WRONG}, "test": {MISTAKEN: WRONG[:0]}}))
    assert back["val"][MISTAKEN].dtype == np.int64 and np.array_equal(back["val"][MISTAKEN], WRONG)
    assert len(back["test"][MISTAKEN]) == 0


@pytest.mark.parametrize(("wrong", "most"), [([70_000, 0], 70_000), ([255], 255), ([256, 65_535], 65_535)])
def test_large_class_numbers_take_as_many_bytes_as_they_need(wrong, most):
    back = unpack_terms(pack_terms({"val": {MISTAKEN: np.array(wrong)}}))["val"][MISTAKEN]
    assert back.tolist() == wrong and back.max() == most


def test_terms_of_an_earlier_version_are_read():
    halves = np.array([0.5, 2.0], "<f2")
    old = b'[["val", "top1", "bits", 2], ["val", "loss", "halves", 2]]\n' + b"\x80" + halves.tobytes()
    assert unpack_terms(old)["val"]["loss"].tolist() == [0.5, 2.0]
    assert unpack_terms(old)["val"]["top1"].tolist() == [True, False]


def test_the_class_that_each_image_was_given_follows_from_its_own():
    labels = np.array([0, 1, 2, 0])
    terms = {"top1": np.array([True, False, True, False]), MISTAKEN: np.array([2, 1])}
    assert find_predicted(terms, labels).tolist() == [0, 2, 2, 1] and labels.tolist() == [0, 1, 2, 0]
    for wrong in (labels[:3], {}):
        with pytest.raises((ValueError, KeyError)):
            find_predicted(terms if len(wrong) else {"top1": terms["top1"]}, wrong if len(wrong) else labels)


@pytest.mark.parametrize("kind", ["zipped", "whole"])
@pytest.mark.parametrize("count", [4, 6])
def test_zipped_numbers_of_another_count_are_refused(kind, count):
    values = np.arange(5) / (2 if kind == "zipped" else 1)
    packed = pack_terms({"val": {"x": values if kind == "zipped" else np.arange(5)}})
    with pytest.raises(ValueError):
        unpack_terms(packed.replace(f'"{kind}", 5'.encode(), f'"{kind}", {count}'.encode()))
