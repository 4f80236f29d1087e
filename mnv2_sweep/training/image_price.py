"""Training sizes -> image files that are not in the cache yet, and the seconds that making them takes.

`sweeps.session` has them made before the first trial: `shapes` are rendered, photos are shrunk from the squares into
which they were decoded when the data were opened.
"""

import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from mnv2_sweep.data.batches import CROP_MARGIN
from mnv2_sweep.data.catalog import Dataset, ShapesData
from mnv2_sweep.data.decode import RESAMPLING
from mnv2_sweep.data.shapes import CHUNK_PIXELS, render_scenes

TIMED_PHOTOS = 32


class ImageFile(NamedTuple):
    """The images of a split at a side, and whether the cache has them."""

    split: str
    side: int
    images: int
    cached: bool

    @property
    def bytes(self) -> int:
        return self.images * 3 * self.side**2


def image_files(dataset: Dataset, sizes: Iterable[int]) -> dict[int, list[ImageFile]]:
    """Training size -> the files it reads (see data.batches). Data that keep no files have none."""
    folder, largest = getattr(dataset, "folder", None), getattr(dataset, "side", math.inf)
    files = {}
    for size in sorted(sizes):
        sides = {split: math.ceil(size * CROP_MARGIN) if split == "train" else size for split in dataset.labels}
        files[size] = [
            ImageFile(split, min(side, largest), len(dataset.labels[split]), _exists(folder, split, min(side, largest)))
            for split, side in sides.items()
            if folder is not None
        ]
    return files


def _exists(folder: Path, split: str, side: int) -> bool:
    return (folder / f"{split}-{side}.npy").exists()


def make_seconds(dataset: Dataset, files: dict[int, list[ImageFile]]) -> dict[int, float]:
    """Training size -> seconds of computing until its files are there.

    Seconds an image are a line over its pixels (measured between 30 and 224 px: within 5 %), through the smallest and
    the largest side.
    """
    sides = sorted({file.side for made in files.values() for file in made if not file.cached})
    if not sides:
        return dict.fromkeys(files, 0.0)
    ends = {side: image_seconds(dataset, side) for side in (sides[0], sides[-1])}
    pixels = [side**2 for side in ends]

    def seconds(file: ImageFile) -> float:
        return 0.0 if file.cached else file.images * float(np.interp(file.side**2, pixels, list(ends.values())))

    return {size: sum(map(seconds, made)) for size, made in files.items()}


def image_seconds(dataset: Dataset, side: int) -> float:
    """Seconds of computing for one image, from a chunk of them. (Shrinking in threads gains little, measured.)"""
    if isinstance(dataset, ShapesData):
        count = max(1, CHUNK_PIXELS // side**2 // 4)

        def make() -> None:
            render_scenes(dataset.scenes["val"], slice(0, count), side)
    else:
        count, native = TIMED_PHOTOS, getattr(dataset, "side", side)
        photo = Image.fromarray(np.random.RandomState(0).randint(0, 256, (native, native, 3), np.uint8))

        def make() -> None:
            for _ in range(count):
                np.asarray(photo.resize((side, side), RESAMPLING))

    make()
    start = time.process_time()
    make()
    return (time.process_time() - start) / count
