"""A data set's name -> Dataset: embedded (`DRAWINGS`), or photos at a path, read as the name says (`asked`).

Pixels are made once and kept as memory-mapped files in the cache folder, so that all workers share them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.files import open_whole
from mnv2_sweep.base.size import Size
from mnv2_sweep.data.asked import read_name
from mnv2_sweep.data.cache import open_or_make, seal
from mnv2_sweep.data.cloths import CLOTHS
from mnv2_sweep.data.drawing import Drawing
from mnv2_sweep.data.photos import open_photos
from mnv2_sweep.data.quilts import QUILTS
from mnv2_sweep.data.shapes import SHAPES
from mnv2_sweep.trials.terms import Truth
from mnv2_sweep.trials.trial import EMBEDDED

DRAWINGS = {drawing.name: drawing for drawing in (SHAPES, CLOTHS, QUILTS)}


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


def count_classes(dataset: Dataset, split: str) -> np.ndarray:
    """Return how many images of each class a split has."""
    return np.bincount(np.asarray(dataset.labels[split], dtype=np.int64), minlength=len(dataset.classes))


def find_truth(dataset: Dataset) -> Truth:
    """Return the classes of the data's validation and test images."""
    held_out = {split: np.asarray(labels, np.int64) for split, labels in dataset.labels.items() if split != "train"}
    return Truth(tuple(dataset.classes), held_out)


def open_dataset(
    name: str,
    cache: Path,
    report: Callable[[int, int], None] = lambda done, total: None,
    where: str = "--data",
    say: Callable[[str], None] = lambda line: None,
) -> Dataset:
    """Open embedded data by name, or photos at a path, decoded on first use; `report(done, total)` follows that, `say`
    hears what was damaged in the cache and is made anew.

    Raises DataError, which says `where` the name was given.
    """
    if name in EMBEDDED:
        return DrawnData(DRAWINGS[name], cache, say)
    path, options = read_name(name)
    if not is_there(name):
        *most, last = (f"'{drawing}'" for drawing in EMBEDDED)
        raise DataError(
            f"{where} {path}: no such folder or archive; give {', '.join(most)} or {last} (built in), or the path of a "
            "folder, zip or tar that holds one folder of images per class, or photos and --labels"
        )
    return open_photos(Path(path), cache, report, options, say)


def is_there(name: str) -> bool:
    """Return whether something lies at the path that a name says."""
    path, _ = read_name(name)
    try:
        return bool(path) and Path(path).exists()
    except (OSError, ValueError):  # a name too long or with a null character
        return False


class DrawnData:
    """An embedded data set: rendered at each size that is asked for, then read from the cache."""

    def __init__(self, drawing: Drawing, cache: Path, say: Callable[[str], None] = lambda line: None):
        self.drawing, self.name, self.classes, self.say = drawing, drawing.name, drawing.classes, say
        self.fingerprint = drawing.fingerprint
        self.folder = cache / f"{drawing.name}-{drawing.fingerprint[:12]}"
        self.scenes = {split: drawing.draw(count, seed) for seed, (split, count) in enumerate(drawing.counts.items())}
        self.labels = {split: scenes.label for split, scenes in self.scenes.items()}

    def pixels(self, split: str, size: Size) -> np.ndarray:
        """Return the images, uint8 [N, *size, 3], of any size. Raises DataError where the cache can't be used."""
        path = self.folder / f"{split}-{size}.npy"
        try:
            shape = (len(self.labels[split]), *size, 3)
            return open_or_make(path, shape, lambda: self._render(split, size, path), self.say)
        except OSError as error:
            raise DataError(f"{self.folder}: can't keep the images here ({error}); set MNV2_SWEEP_CACHE") from error

    def _render(self, split: str, size: Size, path: Path) -> None:
        """Write the file whole or not at all; two processes that race write the same bytes."""
        with open_whole(path) as file:
            shape = (len(self.labels[split]), *size, 3)
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for images in self.drawing.render_chunks(self.scenes[split], size):
                file.write(images.tobytes())
        seal(path)
