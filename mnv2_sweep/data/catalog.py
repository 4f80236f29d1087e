"""A data set's name or path -> Dataset: the embedded `shapes`, or a folder or zip of photos.

Pixels are made once and kept as memory-mapped files in the cache folder, so that all workers share them.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.files import open_whole
from mnv2_sweep.base.size import Size
from mnv2_sweep.data.photos import open_photos
from mnv2_sweep.data.shapes import CLASSES, COUNTS, SHAPES_FINGERPRINT, draw_scenes, render_chunks
from mnv2_sweep.trials.trial import EMBEDDED


class Dataset(Protocol):
    """Images and labels of the splits "train", "val" and perhaps "test"."""

    name: str
    fingerprint: str  # of every image and label
    classes: tuple[str, ...]
    labels: dict[str, np.ndarray]  # split -> int64 [N]

    def pixels(self, split: str, size: Size) -> np.ndarray:
        """Return the images, uint8 [N, h, w, 3], read-only, of that size, or smaller in its aspect where the data have
        no such detail."""
        ...


def cache_folder() -> Path:
    """Return $MNV2_SWEEP_CACHE, or mnv2-sweep in the user's cache folder ($XDG_CACHE_HOME, ~/.cache)."""
    chosen = os.environ.get("MNV2_SWEEP_CACHE")
    if chosen:
        return Path(chosen)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mnv2-sweep"
    except RuntimeError:
        raise DataError("no home folder is known, so there is no place for images; set MNV2_SWEEP_CACHE") from None


def open_dataset(
    name: str, cache: Path, report: Callable[[int, int], None] = lambda done, total: None, where: str = "--data"
) -> Dataset:
    """Open `shapes`, or photos at a path, decoded on first use; `report(done, total)` follows that.

    Raises DataError, which says `where` the name was given.
    """
    if name == EMBEDDED:
        return ShapesData(cache)
    try:
        found = bool(name) and Path(name).exists()
    except (OSError, ValueError):  # a name too long or with a null character
        found = False
    if not found:
        raise DataError(
            f"{where} {name}: no such folder or zip; give '{EMBEDDED}' (built in), or the path of a folder or zip "
            "that holds one folder of images per class"
        )
    return open_photos(Path(name), cache, report)


class ShapesData:
    """The embedded data set: rendered at each size that is asked for, then read from the cache."""

    name = EMBEDDED
    fingerprint = SHAPES_FINGERPRINT
    classes = CLASSES

    def __init__(self, cache: Path):
        self.folder = cache / f"{EMBEDDED}-{SHAPES_FINGERPRINT[:12]}"
        self.scenes = {split: draw_scenes(count, seed) for seed, (split, count) in enumerate(COUNTS.items())}
        self.labels = {split: scenes.label for split, scenes in self.scenes.items()}

    def pixels(self, split: str, size: Size) -> np.ndarray:
        """Return the images, uint8 [N, *size, 3], of any size. Raises DataError where the cache can't be used."""
        path = self.folder / f"{split}-{size}.npy"
        try:
            shape = (COUNTS[split], *size, 3)
            try:
                pixels = np.load(path, mmap_mode="r")
            except (FileNotFoundError, ValueError, EOFError):
                pixels = None
            if pixels is None or pixels.shape != shape:  # not made yet, or damaged
                self._render(split, size, path)
                pixels = np.load(path, mmap_mode="r")
            return pixels
        except OSError as error:
            raise DataError(f"{self.folder}: can't keep the images here ({error}); set MNV2_SWEEP_CACHE") from error

    def _render(self, split: str, size: Size, path: Path) -> None:
        """Write the file whole or not at all; two processes that race write the same bytes."""
        with open_whole(path) as file:
            shape = (COUNTS[split], *size, 3)
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for images in render_chunks(self.scenes[split], size):
                file.write(images.tobytes())
