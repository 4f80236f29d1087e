"""What each image came to, as bytes."""

import numpy as np
import pytest

from mnv2_sweep.trials.terms import LARGEST, pack_terms, unpack_terms

RIGHT = np.random.default_rng(0).random(5001) < 0.7
LOSSES = np.random.default_rng(1).exponential(size=5001).astype(np.float32)
TERMS = {"val": {"top1": RIGHT, "loss": LOSSES}, "test": {"top1": ~RIGHT[:7], "loss": LOSSES[:7]}}


def test_bits_come_back_and_other_numbers_in_half_precision():
    back = unpack_terms(pack_terms(TERMS))
    assert list(back) == ["val", "test"] and list(back["val"]) == ["top1", "loss"]
    for split in TERMS:
        assert back[split]["top1"].dtype == bool and np.array_equal(back[split]["top1"], TERMS[split]["top1"])
        assert np.allclose(back[split]["loss"], TERMS[split]["loss"], rtol=2**-11, atol=1e-7)


def test_a_classification_takes_at_most_2_2_bytes_an_image():
    assert len(pack_terms({"val": TERMS["val"], "test": TERMS["val"]})) < 2.2 * 2 * 5001


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
