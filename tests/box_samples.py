"""Truths and detections of made-up images, and what pycocotools says of them, the outside judge."""

import contextlib
import io
from collections.abc import Sequence

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mnv2_sweep.tasks.average_precision import FoundBoxes, TrueBoxes

AREA_NAMES = ("all", "small", "medium", "large")


def draw_boxes(random: np.random.Generator, count: int, side: float = 320, most: float = 150) -> np.ndarray:
    """Corners [count, 4] of many sizes."""
    sides = np.exp(random.uniform(np.log(6), np.log(most), (count, 2)))
    low = random.uniform(0, side - sides)
    return np.concatenate([low, low + sides], 1)


def draw_images(
    seed: int, images: int = 12, classes: int = 3, most: int = 12, wrong: int = 8, digits: int = 3
) -> tuple[list[TrueBoxes], list[FoundBoxes]]:
    """An ordinary split: truths found never, once or twice, more or less exactly, some as another class, and boxes
    where nothing is; some scores are equal."""
    random, truths, found = np.random.default_rng(seed), [], []
    for _ in range(images):
        count = int(random.integers(most + 1))
        corners, labels = draw_boxes(random, count), random.integers(classes, size=count)
        truths.append(TrueBoxes(corners, labels))
        times = random.integers(3, size=count)
        near = np.repeat(corners, times, 0)
        near = near + random.normal(size=near.shape) * random.uniform(0, 0.15) * (near[:, 2:3] - near[:, :1])
        given = np.concatenate([near, draw_boxes(random, int(random.integers(wrong + 1)))])
        given = np.concatenate([np.minimum(given[:, :2], given[:, 2:]), np.maximum(given[:, :2], given[:, 2:])], 1)
        named = random.integers(classes, size=len(given))
        named[: len(near)] = np.where(random.random(len(near)) < 0.9, np.repeat(labels, times), named[: len(near)])
        found.append(FoundBoxes(given, named, random.random(len(given)).round(digits)))
    return truths, found


def judge_boxes(
    truths: Sequence[TrueBoxes], found: Sequence[FoundBoxes], classes: int, first_id: int = 1
) -> np.ndarray:
    """Average precision by pycocotools [thresholds, classes, areas], NaN where there is no truth."""
    images, categories = [{"id": i} for i in range(len(truths))], [{"id": label} for label in range(classes)]
    rows = []
    for image, true in enumerate(truths):
        sides = true.corners[:, 2:] - true.corners[:, :2]
        areas = sides.prod(1) if true.areas is None else true.areas
        crowd = np.zeros(len(sides)) if true.crowd is None else true.crowd
        for box, size, label, area, is_crowd in zip(true.corners, sides, true.classes, areas, crowd, strict=True):
            rows.append(
                {"id": len(rows) + first_id, "image_id": image, "category_id": int(label), "area": float(area),
                 "bbox": [*box[:2].tolist(), *size.tolist()], "iscrowd": int(is_crowd)}
            )  # fmt: skip
    given = [
        {"image_id": image, "category_id": int(label), "score": float(score),
         "bbox": [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()]}
        for image, one in enumerate(found)
        for box, label, score in zip(one.corners, one.classes, one.scores, strict=True)
    ]  # fmt: skip
    known = COCO()
    known.dataset = {"images": images, "categories": categories, "annotations": rows}
    with contextlib.redirect_stdout(io.StringIO()):
        known.createIndex()
        judge = COCOeval(known, known.loadRes(given), "bbox")
        judge.params.maxDets = [100]
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][..., 0]  # [thresholds, recalls, classes, areas]
    return np.where(precision[:, 0] < 0, np.nan, precision.mean(1))


def differences(truths: Sequence[TrueBoxes], found: Sequence[FoundBoxes], classes: int, ours) -> float:
    """The largest difference of our scores from the judge's."""
    theirs = judge_boxes(truths, found, classes)
    means = [np.nanmean(of_area) if np.isfinite(of_area).any() else np.nan for of_area in np.moveaxis(theirs, 2, 0)]
    pairs = [
        (ours.by_class, theirs[..., 0].mean(0)), (ours.by_class50, theirs[0, :, 0]), (ours.map, means[0]),
        (ours.map50, np.nanmean(theirs[0, :, 0])), (ours.map75, np.nanmean(theirs[5, :, 0])),
        (list(ours.by_area.values()), means[1:]), (ours.matches.precision().map[0], means[0]),
        (ours.matches.precision().map50[0], np.nanmean(theirs[0, :, 0])),
    ]  # fmt: skip
    assert all((np.isnan(a) == np.isnan(b)).all() for a, b in pairs)
    return max(float(np.nanmax(np.abs(np.subtract(a, b)))) for a, b in pairs)
