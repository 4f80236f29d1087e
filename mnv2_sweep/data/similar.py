"""Photos -> which of them look alike: saved again, scaled, taken a moment apart.

The hash of a photo says of 16 x 16 places of it, in grey, whether each is lighter than the one on its left: 256 bits, a
dHash (Krawetz 2013). Two photos look alike where at most MOST_BITS of them differ. Photos with hardly an edge, whose
bits are nearly all the same, are like no other.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

SIDE = 16  # places a row and a column
WORDS = SIDE * SIDE // 64
MOST_BITS = 20  # of 256
LEAST_EDGES = 24  # bits of a hash that are 1 of a photo that shows something
MOST_PAIRS = 2_000_000_000  # some ten seconds of a core; above, only photos of one hash are compared
BLOCK = 1 << 16  # pairs at once: what a core keeps near

_count_bits = getattr(np, "bitwise_count", None)
if _count_bits is None:  # before NumPy 2
    _BITS = np.array([number.bit_count() for number in range(1 << 16)], np.uint8)

    def _count_bits(words: np.ndarray) -> np.ndarray:
        return _BITS[words.view(np.uint16).reshape(*words.shape, 4)].sum(-1, dtype=np.uint8)


def hash_pixels(pixels: np.ndarray) -> np.ndarray:
    """Return the hash of an image, uint8 [h, w, 3], as uint64 [WORDS]."""
    grey = Image.fromarray(pixels).convert("L").resize((SIDE + 1, SIDE), Image.Resampling.BOX)
    values = np.asarray(grey).astype(np.int16)
    return np.packbits(values[:, 1:] > values[:, :-1]).view(np.uint64)


def shows_something(hashes: np.ndarray) -> np.ndarray:
    """Return of hashes [N, WORDS] whether they are of photos with edges, [N]."""
    return _count_bits(hashes).sum(1, dtype=int) >= LEAST_EDGES


def find_pairs(first: np.ndarray, second: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (rows of the first, rows of the second) of photos that look alike, a part of the pairs at a time, from
    hashes [N, WORDS] and [M, WORDS]; of one set with itself each pair once."""
    own, others = np.flatnonzero(shows_something(first)), np.flatnonzero(shows_something(second))
    if not len(own) or not len(others):
        return
    if len(own) * len(others) > MOST_PAIRS:
        yield from _find_equal(first, second, own, others)
        return
    step = max(1, BLOCK // len(others))
    for at in range(0, len(own), step):
        rows = own[at : at + step]
        columns = others[others > rows[0]] if first is second else others  # each pair of one set once
        bits = np.zeros((len(rows), len(columns)), np.uint16)
        for word in range(WORDS):
            bits += _count_bits(first[rows, word][:, np.newaxis] ^ second[columns, word])
        if (near := bits <= MOST_BITS).any():
            row, column = np.nonzero(near)
            is_other = rows[row] < columns[column] if first is second else np.full(len(row), True)
            yield rows[row][is_other], columns[column][is_other]


def _find_equal(
    first: np.ndarray, second: np.ndarray, own: np.ndarray, others: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    places: dict[bytes, list[int]] = {}
    for at in others:
        places.setdefault(second[at].tobytes(), []).append(at)
    for at in own:
        found = places.get(first[at].tobytes(), ())
        if found := [other for other in found if first is not second or other > at]:
            yield np.full(len(found), at), np.array(found)


def join_similar(hashes: np.ndarray) -> np.ndarray:
    """Return for each photo the first one of those that it looks like, directly or through others, [N]."""
    root = np.arange(len(hashes))

    def find(at: int) -> int:
        while root[at] != at:
            root[at] = root[root[at]]
            at = root[at]
        return at

    for first, second in find_pairs(hashes, hashes):
        for one, other in zip(first.tolist(), second.tolist(), strict=True):
            low, high = sorted((find(one), find(other)))
            root[high] = low
    return np.array([find(at) for at in range(len(hashes))], dtype=int)


def describe_similar(
    names: dict[str, Sequence[str]], labels: dict[str, np.ndarray], hashes: dict[str, np.ndarray]
) -> list[str]:
    """Say how many photos of the other splits look like one of training, and which photos look the same and have two
    classes; names, labels and hashes [N, WORDS] by split."""
    notes = []
    for split in ("val", "test"):
        alike: dict[int, int] = {}
        for first, second in find_pairs(hashes.get(split, np.zeros((0, WORDS), np.uint64)), hashes["train"]):
            for one, other in zip(first.tolist(), second.tolist(), strict=True):
                alike.setdefault(one, other)
        if alike:
            one, other = min(alike.items())
            example = f"{names[split][one]!r} like {names['train'][other]!r}"
            rest = f" and {len(alike) - 1:,} more" if len(alike) > 1 else ""
            notes.append(
                f"{len(alike):,} of {len(names[split]):,} {split} images look like training images: {example}{rest}"
            )
    return [*notes, *_find_two_classes(names, labels, hashes)]


def _find_two_classes(
    names: dict[str, Sequence[str]], labels: dict[str, np.ndarray], hashes: dict[str, np.ndarray]
) -> list[str]:
    every = [name for split in hashes for name in names[split]]
    label, found = np.concatenate([labels[split] for split in hashes]), []
    stacked = np.concatenate([*hashes.values()])
    for first, second in find_pairs(stacked, stacked):
        differ = label[first] != label[second]
        found += zip(first[differ].tolist(), second[differ].tolist(), strict=True)
    if not found:
        return []
    (one, other), rest = min(found), f" and {len(found) - 1:,} more" if len(found) > 1 else ""
    return [f"the same photo, or nearly, has two classes: {every[one]!r} and {every[other]!r}{rest}"]
