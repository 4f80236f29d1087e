"""Photo folders and zips made of noise, and what is checked of all of them."""

import io
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.data.photos import open_photos

BOTH = {"cat": 20, "dog": 8}


def image_bytes(seed: int, side: int = 12, form: str = "PNG") -> bytes:
    out = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (side, side + 3, 3), np.uint8)
    Image.fromarray(noise).save(out, form)
    return out.getvalue()


def class_files(classes: dict[str, int], under: str = "", side: int = 12) -> dict[str, bytes]:
    """{"cat": 2} -> {"cat/0.png": ..., "cat/1.png": ...}, no two images alike."""
    return {
        f"{under}{label}/{number}.png": image_bytes(hash_of(f"{under}{label}{number}"), side)
        for label, count in classes.items()
        for number in range(count)
    }


def hash_of(text: str) -> int:
    return sum(ord(letter) * 131**place for place, letter in enumerate(text)) % 2**32


def split_files(**splits: dict[str, int]) -> dict[str, bytes]:
    return {name: data for split, classes in splits.items() for name, data in class_files(classes, f"{split}/").items()}


def write_folder(root: Path, files: dict[str, bytes | None]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).mkdir() if data is None else (root / name).write_bytes(data)
    return root


def write_zip(file: Path, files: dict[str, bytes], **options) -> Path:
    with zipfile.ZipFile(file, "w", **options) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file


def counts(data) -> dict[str, dict[str, int]]:
    return {split: {data.classes[i]: n for i, n in Counter(at.tolist()).items()} for split, at in data.labels.items()}


def must_not_decode(done, total):
    raise AssertionError("decoded again")


def check_refused(path: Path, cache: Path, message: str) -> None:
    with pytest.raises(DataError) as caught:
        open_photos(path, cache)
    text = str(caught.value)
    assert message in text and text.startswith(str(path)) and "\n" not in text and not cache.exists()


OK = class_files(BOTH)
