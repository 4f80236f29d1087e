"""What segmentation comes to without a network, on a zip of images and masks: what a segmenter must be better than.

    python benchmarks/pixels.py [../shared/data/nuclei/nuclei.zip]

The zip has images/*.jpg, masks/*.png (the same names, palette index = class, 255 ignored), and train.txt, val.txt and
test.txt with the names. Printed: mIoU of the most frequent class everywhere, and of two thresholds, which are chosen on
the training images (`tasks.pixel_baselines`), with intervals over images.
"""

import io
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from mnv2_sweep.analysis.resample import bootstrap
from mnv2_sweep.tasks.pixel_baselines import (
    count_brightness,
    find_majority,
    find_ranges,
    majority_regions,
    range_regions,
)
from mnv2_sweep.trials.regions import Regions

NUCLEI = Path(__file__).parents[2] / "shared" / "data" / "nuclei" / "nuclei.zip"
SPLITS = ("train", "val", "test")


def read_brightness(archive: zipfile.ZipFile, split: str, classes: int, in_deviations: bool) -> np.ndarray:
    """Pixels of each image of a split by brightness and class [images, levels, classes]."""
    counts = []
    for name in archive.read(f"{split}.txt").decode().split():
        image, truth = (
            Image.open(io.BytesIO(archive.read(path))) for path in (f"images/{name}.jpg", f"masks/{name}.png")
        )
        counts.append(count_brightness(np.array(image.convert("RGB")), np.array(truth), classes, in_deviations))
    return np.stack(counts)


def report(name: str, brightness: dict[str, np.ndarray], find: Callable, apply: Callable) -> None:
    chosen = find(brightness["train"])
    for split in SPLITS[1:]:
        regions: Regions = apply(brightness[split], chosen)
        low, high = bootstrap(regions.mean_overlap, len(regions.true))
        each = ", ".join(f"{overlap:.3f}" for overlap in regions.overlaps()[0])
        print(
            f"{name}, {split}: mIoU {regions.mean_overlap()[0]:.3f} ({low:.3f} to {high:.3f}), by class {each}, "
            f"pixels right {regions.accuracy():.3f}"
        )
    print(f"  chosen on train: {chosen}")


if __name__ == "__main__":
    with zipfile.ZipFile(sys.argv[1] if len(sys.argv) > 1 else NUCLEI) as archive:
        classes = len(archive.read("classes.txt").decode().splitlines())
        own, moved = ({s: read_brightness(archive, s, classes, flag) for s in SPLITS} for flag in (False, True))
    report(
        "one class everywhere", own, lambda train: find_majority(train.sum(1)),
        lambda counts, label: majority_regions(counts.sum(1), label),
    )  # fmt: skip
    for name, brightness in (("two thresholds", own), ("two thresholds in deviations of each image", moved)):
        report(name, brightness, lambda train: find_ranges(train.sum(0)), range_regions)
