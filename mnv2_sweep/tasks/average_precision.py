"""Detections and true boxes of a split -> mAP, by class and by area, as COCO has it, and what each image has of it.

Overlaps, matching and precision are faster-coco-eval's, which is pycocotools' rule in C++; pycocotools itself is the
judge in the tests. What the two leave open, or answer in ways that surprise, is decided here:

- An image counts with its 100 best detections of each class; what follows is left out, as in COCO.
- A truth is found once: a second detection of it is a false one. Two truths that are the same are two.
- A crowd is no truth to be found, and what finds one counts for nothing, neither right nor wrong.
- A difficult truth (VOC) counts for nothing either, found or not; a second detection of it is a false one.
- A class without truth has no AP and is left out of every mean; `without_truth` names it, however much was found of it.
- A truth has the area that is given, such as its outline's, and else its box's. An area no truth has is NaN (not -1).
- No detection at all is AP 0 where there are truths; no truth at all is NaN.
- Truths have no ids here. (With annotation id 0 both libraries take that truth for never found.)
- A score or a box that is no number is an error: a sort puts NaN anywhere, and any AP can come out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.trials.matches import RECALLS, THRESHOLDS, Matches

LIBRARY = "faster_coco_eval"
MOST_DETECTIONS = 100  # of a class in an image
AREAS = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1e10)}  # square pixels, both ends within
EVERY_AREA, OF_NO_SIZE = (0, 1e10), 1e11
AT_75 = 5  # the place of 0.75 among THRESHOLDS


class TrueBoxes(NamedTuple):
    """The truths of an image: corners [N, 4] in pixels, left, top, right, bottom; classes [N] from 0; of each whether
    it is a crowd, or difficult [N] (None for none), and its area [N] in square pixels (None for that of its box)."""

    corners: np.ndarray
    classes: np.ndarray
    crowd: np.ndarray | None = None
    difficult: np.ndarray | None = None
    areas: np.ndarray | None = None


class FoundBoxes(NamedTuple):
    """What was found in an image: corners [N, 4] in pixels, classes [N] from 0, scores [N]."""

    corners: np.ndarray
    classes: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True, eq=False)
class BoxScores:
    """How well boxes were found; fractions, NaN for what no truth says anything of.

    map over THRESHOLDS, map50 and map75 at one; by_class: AP over THRESHOLDS of each class [classes], by_class50 at
    0.5; by_area: mAP of small, medium and large truths; without_truth: classes that are left out; matches: what each
    image has of it."""

    map: float
    map50: float
    map75: float
    by_class: np.ndarray
    by_class50: np.ndarray
    by_area: Mapping[str, float]
    without_truth: tuple[int, ...]
    matches: Matches = field(repr=False)


def score_boxes(truths: Sequence[TrueBoxes], found: Sequence[FoundBoxes], classes: int) -> BoxScores:
    """Return how well the boxes of a split were found: of each image its truths and what was found, in the same order.
    Raises SweepError where a box, a label or a score can't be one, or the library is not there."""
    if len(truths) != len(found):
        raise ValueError(f"truths of {len(truths)} images, detections of {len(found)}")
    for image, (true, given) in enumerate(zip(truths, found, strict=True)):
        _check("truths", image, true.corners, true.classes, classes)
        _check("detections", image, given.corners, given.classes, classes, given.scores)
    precision, evaluations = _evaluate(truths, found, classes)
    matches = _read_matches(evaluations, len(truths), classes)
    there = matches.truths.sum(0) > 0
    # [thresholds, recalls, classes, areas]; -1 where there is no truth
    by_class = np.where(precision[:, 0] < 0, np.nan, precision.mean(1))  # [thresholds, classes, areas]
    means = [_mean(by_class[..., area]) for area in range(1 + len(AREAS))]
    return BoxScores(
        means[0], _mean(by_class[0, :, 0]), _mean(by_class[AT_75, :, 0]), by_class[..., 0].mean(0),
        by_class[0, :, 0], dict(zip(AREAS, means[1:], strict=True)),
        tuple(int(label) for label in np.flatnonzero(~there)), matches,
    )  # fmt: skip


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _check(
    what: str, image: int, corners: np.ndarray, labels: np.ndarray, classes: int, scores: np.ndarray | None = None
) -> None:
    """Raise SweepError where an image has a box, a class or a score that can't be one."""
    is_box = np.isfinite(corners).all(1) & (corners[:, :2] <= corners[:, 2:]).all(1)
    if not is_box.all():
        at = int(is_box.argmin())
        raise SweepError(
            f"{what}: box {at} of image {image} is {corners[at].tolist()}; left, top, right and bottom are finite "
            "numbers, right and bottom not below the others"
        )
    is_class = (labels >= 0) & (labels < classes)
    if not is_class.all():
        at = int(is_class.argmin())
        raise SweepError(f"{what}: box {at} of image {image} has class {labels[at]}, 0 to {classes - 1} allowed")
    if scores is not None and not np.isfinite(scores).all():
        at = int(np.isfinite(scores).argmin())
        raise SweepError(
            f"{what}: box {at} of image {image} has score {scores[at]}, finite numbers allowed; has the network "
            "diverged?"
        )


def _evaluate(truths: Sequence[TrueBoxes], found: Sequence[FoundBoxes], classes: int) -> tuple[np.ndarray, list]:
    """Return the library's precision [thresholds, recalls, classes, areas], all areas first, and what it made of each
    class, area and image, in that order."""
    if find_spec(LIBRARY) is None:
        raise SweepError("average precision needs faster-coco-eval: pip install 'mnv2-sweep[detect]'")
    library = import_module(LIBRARY)
    images = [{"id": image} for image in range(len(truths))]
    categories = [{"id": label} for label in range(classes)]
    known = library.COCO({"images": images, "categories": categories, "annotations": _true_rows(truths)})
    given = library.COCO({"images": images, "categories": categories, "annotations": _found_rows(found)})
    judge = library.COCOeval_faster(known, given, "bbox", separate_eval=True)
    judge.params.maxDets = [MOST_DETECTIONS]
    judge.params.iouThrs, judge.params.recThrs = THRESHOLDS, RECALLS
    judge.params.areaRng = [list(EVERY_AREA), *map(list, AREAS.values())]
    judge.params.areaRngLbl = ["all", *AREAS]
    judge.evaluate()
    judge.accumulate()
    return judge.eval["precision"][..., 0], judge._evalImgs_cpp


def _true_rows(truths: Sequence[TrueBoxes]) -> list[dict]:
    rows = []
    for image, true in enumerate(truths):
        sides = true.corners[:, 2:] - true.corners[:, :2]
        areas = sides.prod(1) if true.areas is None else true.areas
        if true.difficult is not None:
            areas = np.where(true.difficult, OF_NO_SIZE, areas)  # which all ranges leave out
        crowd = np.zeros(len(sides), int) if true.crowd is None else true.crowd.astype(int)
        boxes = np.concatenate([true.corners[:, :2], sides], 1)
        columns = (boxes.tolist(), true.classes.tolist(), areas.tolist(), crowd.tolist())
        for box, label, area, is_crowd in zip(*columns, strict=True):
            rows.append(
                {"id": len(rows) + 1, "image_id": image, "category_id": label, "bbox": box, "area": area,
                 "iscrowd": is_crowd}
            )  # fmt: skip
    return rows


def _found_rows(found: Sequence[FoundBoxes]) -> list[dict]:
    rows = []
    for image, given in enumerate(found):
        sides = given.corners[:, 2:] - given.corners[:, :2]
        boxes = np.concatenate([given.corners[:, :2], sides], 1)
        columns = (boxes.tolist(), given.classes.tolist(), given.scores.tolist(), sides.prod(1).tolist())
        for box, label, score, area in zip(*columns, strict=True):
            rows.append(
                {"id": len(rows) + 1, "image_id": image, "category_id": label, "bbox": box, "area": area,
                 "score": score, "iscrowd": 0}
            )  # fmt: skip
    return rows


def _read_matches(evaluations: list, images: int, classes: int) -> Matches:
    """Return what the library made of detections, by class, area and image, as matches; of all areas together."""
    bits = 1 << np.arange(len(THRESHOLDS))
    truths, parts, counts = np.zeros((images, classes), np.int64), [], []
    for label in range(classes):
        begin = label * (1 + len(AREAS)) * images
        rows: list[tuple[np.ndarray, ...]] = []
        for image, evaluation in enumerate(evaluations[begin : begin + images]):
            # The way to what it holds is that of pickling it: matches, of truths, scores, truths and detections ignored
            found, _, scores, ignored, left_out, *_ = evaluation.__getstate__()
            truths[image, label] = len(ignored) - sum(ignored)
            if scores:
                hit, out = (np.array(one, bool).reshape(len(bits), -1) for one in (found, left_out))
                rows.append((np.full(len(scores), image), bits @ (hit & ~out), bits @ out, np.array(scores)))
        columns = [np.concatenate(column) for column in zip(*rows, strict=True)] or [np.zeros(0)] * 4
        order = np.argsort(-columns[3], kind="stable")
        parts.append([column[order] for column in columns[:3]])
        counts.append(len(order))
    found_in, hits, left_out = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Matches(
        found_in.astype(np.int64), hits.astype(np.uint16), left_out.astype(np.uint16), np.array(counts), truths
    )
