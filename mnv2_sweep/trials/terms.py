"""What a network made of each image -> bytes as records keep them, and back; no torch.

A term is one number an image, whose mean over the images is a score: for top-1 whether the network is right, for the
loss the image's own. Terms are in the order of the split's images, so those of two networks of one sweep are pairs.
Right or wrong takes a bit, any other number two bytes (half precision, 11 bits of it counted): 2.125 bytes an image of
a classification.
"""

import json
from collections.abc import Mapping

import numpy as np

BITS, HALVES = "bits", "halves"
LARGEST = float(np.finfo(np.float16).max)
HEADER_BYTES = 4096

Terms = Mapping[str, Mapping[str, np.ndarray]]  # by split and score: bool or float [images]


def pack_terms(terms: Terms) -> bytes:
    """Return the bytes of some terms: a line of JSON that says what follows, then the numbers. What half precision
    can't hold becomes its largest number."""
    heads, parts = [], []
    for split, of_split in terms.items():
        for name, values in of_split.items():
            is_bits = values.dtype == bool
            heads.append([split, name, BITS if is_bits else HALVES, len(values)])
            halves = None if is_bits else np.clip(values, -LARGEST, LARGEST).astype("<f2")
            parts.append(np.packbits(values).tobytes() if is_bits else halves.tobytes())
    return json.dumps(heads).encode() + b"\n" + b"".join(parts) if heads else b""


def unpack_terms(data: bytes) -> dict[str, dict[str, np.ndarray]]:
    """Return the terms that `pack_terms` packed, numbers as float32. Raises ValueError on any other bytes."""
    if not data:
        return {}
    head, end, _ = data[:HEADER_BYTES].partition(b"\n")
    terms: dict[str, dict[str, np.ndarray]] = {}
    if not end:
        raise ValueError("terms of images: no header")
    at = len(head) + 1
    try:
        for split, name, kind, count in json.loads(head):
            size = {BITS: -(-count // 8), HALVES: 2 * count}[kind]
            part = data[at : at + size]
            if count < 0 or len(part) != size:
                raise ValueError("terms of images: cut off")
            bits = np.unpackbits(np.frombuffer(part, np.uint8), count=count).astype(bool) if kind == BITS else None
            values = np.frombuffer(part, "<f2").astype(np.float32) if bits is None else bits
            terms.setdefault(split, {})[name] = values
            at += size
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"terms of images: {error}") from error
    if at != len(data):
        raise ValueError("terms of images: too long")
    return terms
