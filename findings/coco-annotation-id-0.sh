#!/usr/bin/env bash
# An annotation whose id is 0 counts as never found: a detector that finds every box exactly has a mAP below 1.
#
# Versions   pycocotools 2.0.11, faster-coco-eval 1.8.0, numpy 2.4.6, Python 3.11.
# Expected   COCO's format asks for ids that are unique integers, and 0 is one: tools that number annotations from 0 write
#            it. Which id a box has changes no score.
# Seen       Four images with one box each, found exactly, all with a score of 0.9. With ids from 1, mAP is 1. With ids
#            from 0, pycocotools says 0.5644: the box with id 0 is missed, and what found it is wrong and comes first. With
#            one image it says 0. Both libraries keep the id of the truth that a detection was matched to, and take 0 for
#            "matched to none"; faster-coco-eval, which follows pycocotools, warns of it and gives the same numbers.
# Hurt       A class with few boxes is scored far too low, a set of one box at 0; in a large set it is one box, so that a
#            perfect detector has a little less than 1 and nobody sees why. Two exports of one data set, one numbered from
#            0 and one from 1, give two scores of one detector. pycocotools says nothing.
#
# Prints what it sees. Exit 0: as described; 1: it has changed.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install --quiet --disable-pip-version-check pycocotools==2.0.11 faster-coco-eval==1.8.0 \
    numpy==2.4.6

"$here/venv/bin/python" - <<'PYTHON'
import contextlib
import io
import sys
import warnings

from faster_coco_eval import COCO as FastTruth
from faster_coco_eval import COCOeval_faster
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

BOX = [10.0, 20.0, 30.0, 40.0]


def truths(images: int, first_id: int) -> dict:
    return {
        "info": {},
        "images": [{"id": image + 1, "width": 100, "height": 100} for image in range(images)],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [
            {"id": first_id + image, "image_id": image + 1, "category_id": 1, "bbox": BOX, "area": 1200.0, "iscrowd": 0}
            for image in range(images)
        ],
    }


def mean_precision(truth_class, eval_class, images: int, first_id: int) -> tuple[float, bool]:
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        truth = truth_class()
        truth.dataset = truths(images, first_id)
        truth.createIndex()
        found = [{"image_id": image + 1, "category_id": 1, "bbox": BOX, "score": 0.9} for image in range(images)]
        judge = eval_class(truth, truth.loadRes(found), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return round(float(judge.stats[0]), 4), any("annotation id 0" in str(one.message) for one in warned)


changed = False
for name, classes in {"pycocotools": (COCO, COCOeval), "faster-coco-eval": (FastTruth, COCOeval_faster)}.items():
    for images, first_id, expected in ((4, 1, 1.0), (4, 0, 0.5644), (1, 1, 1.0), (1, 0, 0.0)):
        seen, warned = mean_precision(*classes, images, first_id)
        same = seen == expected and warned == (first_id == 0 and name != "pycocotools")
        note = "" if same else f"  changed: it was {expected}, and only faster-coco-eval warned"
        print(f"{name:17} {images} images, ids from {first_id}: mAP {seen}{', warns' if warned else ''}{note}")
        changed |= bool(note)
sys.exit(int(changed))
PYTHON
