"""Hashes of photos held against each other, beside a slow search through all pairs."""

import numpy as np
import pytest

from mnv2_sweep.data import similar
from mnv2_sweep.data.similar import MOST_BITS, WORDS, describe_similar, find_pairs, hash_pixels, join_similar


def draw(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**63, (count, WORDS)).astype(np.uint64)


def flip(one: np.ndarray, bits: int) -> np.ndarray:
    """Return the hash with its first bits changed."""
    changed = np.unpackbits(one.view(np.uint8))
    changed[:bits] ^= 1
    return np.packbits(changed).view(np.uint64)


def all_pairs(*sides: np.ndarray) -> set[tuple[int, int]]:
    return {
        (a, b) for first, second in find_pairs(*sides) for a, b in zip(first.tolist(), second.tolist(), strict=True)
    }


@pytest.mark.parametrize("block", [1, 7, 1 << 16])
def test_pairs_are_those_of_at_most_so_many_bits(monkeypatch, block):
    monkeypatch.setattr(similar, "BLOCK", block)
    first = draw(9)
    second = np.stack([flip(first[3], MOST_BITS), flip(first[3], MOST_BITS + 1), first[8], *draw(4, 1)])
    assert all_pairs(first, second) == {(3, 0), (8, 2)}
    both = np.concatenate([first, second])
    assert all_pairs(both, both) == {(3, 9), (8, 11), (9, 10)}
    assert join_similar(both).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 3, 3, 8, 12, 13, 14, 15]


def test_of_too_many_pairs_only_equal_hashes_are_found(monkeypatch):
    monkeypatch.setattr(similar, "MOST_PAIRS", 1)
    first = draw(4)
    second = np.stack([flip(first[1], 3), first[2]])
    assert all_pairs(first, second) == {(2, 1)}
    both = np.concatenate([first, second])
    assert all_pairs(both, both) == {(2, 5)}


def test_counting_bits_without_numpy_2_is_the_same():
    words = draw(50)
    table = np.array([number.bit_count() for number in range(1 << 16)], np.uint8)
    slow = table[words.view(np.uint16).reshape(*words.shape, 4)].sum(-1, dtype=np.uint8)
    assert np.array_equal(slow, similar._count_bits(words))


def test_the_hash_is_of_neighbours_in_grey():
    rising = np.repeat(np.arange(34, dtype=np.uint8), 1)[np.newaxis, :, np.newaxis].repeat(32, 0).repeat(3, 2)
    assert np.unpackbits(hash_pixels(rising).view(np.uint8)).tolist() == [1] * 256
    assert np.unpackbits(hash_pixels(np.ascontiguousarray(rising[:, ::-1])).view(np.uint8)).tolist() == [0] * 256


def test_nothing_is_like_nothing():
    none = np.zeros((0, WORDS), np.uint64)
    assert all_pairs(none, draw(2)) == set() and join_similar(none).tolist() == []
    hashes = {"train": draw(3), "val": draw(2, 1)}
    names = {split: [str(at) for at in range(len(own))] for split, own in hashes.items()}
    labels = {split: np.zeros(len(own), int) for split, own in hashes.items()}
    assert describe_similar(names, labels, hashes) == []
