"""Toy images with boxes and masks: coloured squares on noise, of which both know where they are."""

from dataclasses import replace

import numpy as np

from mnv2_sweep.base.size import Size
from mnv2_sweep.data.annotations import BoxLabels, join_boxes, make_boxes
from mnv2_sweep.trials.tasks import MAP, MAP50, MIOU, PIXELS_RIGHT, Task

DETECT = Task("detect", MAP, "mnv2_sweep.tasks.detect", others=(MAP50,), heads=("ssdlite", "ssd", "yolov2"))
SEGMENT = Task("segment", MIOU, "mnv2_sweep.tasks.segment", others=(PIXELS_RIGHT,), heads=("deeplabv3",))
SIDE = 80


def make_labels(rows: list[list[list[float]]]) -> BoxLabels:
    """Of each image rows of left, top, right, bottom, class, crowd, difficult."""
    return join_boxes([make_boxes(own) for own in rows])


class ToySquares:
    """Red and green squares on grey noise; every third image has none."""

    name, fingerprint, classes = "squares", "0ddba11", ("red", "green")

    def __init__(self, **counts: int):
        random = np.random.RandomState(0)
        self.images, self.rows, self.truths, self.labels = {}, {}, {}, {}
        for split, count in counts.items():
            self.images[split] = random.randint(60, 120, (count, SIDE, SIDE, 3)).astype(np.uint8)
            self.truths[split], self.rows[split] = np.zeros((count, SIDE, SIDE), np.uint8), []
            self.labels[split] = np.zeros(count, np.int64)
            for image in range(count):
                self.rows[split].append([self._draw(split, image, random) for _ in range(image % 3)])

    def _draw(self, split: str, image: int, random: np.random.RandomState) -> list[float]:
        side, label = random.randint(20, 45), random.randint(2)
        left, top = random.randint(0, SIDE - side, 2)
        place = (image, slice(top, top + side), slice(left, left + side))
        self.images[split][place] = (230, 20, 20) if label == 0 else (20, 230, 20)
        self.truths[split][place] = 1 + label
        return [left, top, left + side, top + side, label, 0, 0]

    def pixels(self, split: str, size: Size) -> np.ndarray:
        return self._pick(self.images[split], size)

    def masks(self, split: str, size: Size) -> np.ndarray:
        return self._pick(self.truths[split], size)

    def boxes(self, split: str, size: Size) -> BoxLabels:
        labels = make_labels(self.rows[split])
        return replace(labels, corners=labels.corners * np.array([size.width, size.height] * 2) / SIDE)

    @staticmethod
    def _pick(images: np.ndarray, size: Size) -> np.ndarray:
        rows, columns = (np.arange(side) * SIDE // side for side in size)
        return np.ascontiguousarray(images[:, rows][:, :, columns])
