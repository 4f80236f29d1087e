"""What a network made of each image -> bytes as records keep them, and back; no torch.

A term is one number an image, whose mean over the images is a score: for top-1 whether the network is right, for the
loss the image's own. Terms are in the order of the split's images, so those of two networks of one sweep are pairs.
Right or wrong takes a bit, any other number two bytes (half precision, of which KEPT_BITS are kept: 0.2 % off at most),
which zlib makes 1.6. A classification also has MISTAKEN, the class that each wrong image was taken for, in their order:
10,000 images of which half are wrong take 3 kB for it with 10 classes, 7 kB with 1,000. With the images' own classes
(`Truth`) that says which class each image was given.
"""

import json
import zlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

BITS, HALVES, ZIPPED, WHOLE = "bits", "halves", "zipped", "whole"  # halves as they are: of earlier versions
WHOLE_TYPES = ("<u1", "<u2", "<u4")
MISTAKEN = "mistaken"
KEPT_BITS, HALF_BITS = 9, 11  # of the numbers in half precision, the first, unwritten one counted
LARGEST = float(np.finfo(np.float16).max)
HEADER_BYTES = 4096

Terms = Mapping[str, Mapping[str, np.ndarray]]  # by split and score: bool or float [images], whole numbers from 0


class Truth(NamedTuple):
    """The names of the classes of a data set, and by split, training left out, the class of each image, [images]."""

    classes: tuple[str, ...]
    labels: Mapping[str, np.ndarray]

    def counts(self, split: str) -> np.ndarray:
        """Return how many images of each class a split has, [classes]; zeros of one that is not there."""
        return np.bincount(self.labels.get(split, np.zeros(0, np.int64)), minlength=len(self.classes))


def find_predicted(terms: Mapping[str, np.ndarray], labels: np.ndarray) -> np.ndarray:
    """Return the class that each image of a split was given, from the split's terms and the images' own classes. Raises
    KeyError or ValueError where that is not on record, or of other images."""
    right, mistaken, predicted = terms["top1"], terms[MISTAKEN], labels.copy()
    if len(right) != len(labels):
        raise ValueError(f"{len(right)} images, {len(labels)} classes of images")
    predicted[~right] = mistaken
    return predicted


def pack_terms(terms: Terms) -> bytes:
    """Return the bytes of some terms: a line of JSON that says what follows, then the numbers. What half precision
    can't hold becomes its largest number."""
    heads, parts = [], []
    for split, of_split in terms.items():
        for name, values in of_split.items():
            kind = {"b": BITS, "i": WHOLE, "u": WHOLE}.get(values.dtype.kind, ZIPPED)
            parts.append(_PACK[kind](values))
            heads.append([split, name, kind, len(values), *([] if kind == BITS else [len(parts[-1])])])
    return json.dumps(heads).encode() + b"\n" + b"".join(parts) if heads else b""


def _zip_numbers(values: np.ndarray) -> bytes:
    """Return the numbers by zlib: first the first bytes of all, then their second ones, which makes them shorter."""
    return zlib.compress(values.view(np.uint8).reshape(len(values), values.itemsize).T.tobytes())


def _unzip_numbers(part: bytes, count: int, kind: str) -> np.ndarray:
    size, opened = np.dtype(kind).itemsize, zlib.decompressobj()
    data = opened.decompress(part, size * count + 1)
    if len(data) != size * count or not opened.eof:
        raise ValueError("terms of images: other numbers of them")
    return np.frombuffer(data, np.uint8).reshape(size, count).T.copy().view(kind).reshape(count)


def _round_halves(values: np.ndarray) -> np.ndarray:
    """Return the nearest numbers of KEPT_BITS; the largest stays what it is, as nothing is above it but infinity."""
    step = 1 << (HALF_BITS - KEPT_BITS)
    bits = values.view("<u2").astype(np.int64)
    rounded = (bits + step // 2) // step * step
    infinite = (rounded & 0x7C00) == 0x7C00
    return np.where(infinite, bits, rounded).astype("<u2").view("<f2")


def _pack_whole(values: np.ndarray) -> bytes:
    """Return a digit, how many bytes a number has, and the numbers."""
    most = int(values.max(initial=0))
    kind = next(kind for kind in WHOLE_TYPES if most <= np.iinfo(kind).max)
    return kind[-1].encode() + _zip_numbers(values.astype(kind))


_PACK = {
    BITS: lambda values: np.packbits(values).tobytes(),
    ZIPPED: lambda values: _zip_numbers(_round_halves(np.clip(values, -LARGEST, LARGEST).astype("<f2"))),
    WHOLE: _pack_whole,
}
_UNPACK = {
    BITS: lambda part, count: np.unpackbits(np.frombuffer(part, np.uint8), count=count).astype(bool),
    HALVES: lambda part, count: np.frombuffer(part, "<f2").astype(np.float32),
    ZIPPED: lambda part, count: _unzip_numbers(part, count, "<f2").astype(np.float32),
    WHOLE: lambda part, count: _unzip_numbers(part[1:], count, f"<u{part[:1].decode()}").astype(np.int64),
}


def unpack_terms(data: bytes) -> dict[str, dict[str, np.ndarray]]:
    """Return the terms that `pack_terms` packed, numbers as float32, whole ones as int64. Raises ValueError on any
    other bytes."""
    if not data:
        return {}
    head, end, _ = data[:HEADER_BYTES].partition(b"\n")
    terms: dict[str, dict[str, np.ndarray]] = {}
    if not end:
        raise ValueError("terms of images: no header")
    at = len(head) + 1
    try:
        for split, name, kind, count, *bytes_ in json.loads(head):
            size = bytes_[0] if bytes_ else {BITS: -(-count // 8), HALVES: 2 * count}[kind]
            part = data[at : at + size]
            if min(count, size) < 0 or len(part) != size:
                raise ValueError("terms of images: cut off")
            terms.setdefault(split, {})[name] = _UNPACK[kind](part, count)
            at += size
    except (TypeError, KeyError, AttributeError, IndexError, OverflowError, zlib.error) as error:
        raise ValueError(f"terms of images: {error}") from error
    if at != len(data):
        raise ValueError("terms of images: too long")
    return terms
