"""Scores of detections beside pycocotools: equal on 500 made-up splits, and how much faster; what the interval takes.

    python benchmarks/boxes.py [--cases 500]

Both begin with the same arrays and end with the same numbers. Printed: the largest difference over all cases; for a few
sizes of splits, milliseconds of processor time of each, medians of runs in turns in one thread, and their ratio;
milliseconds of an interval over images of 1,000 draws.
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).parents[1]))

from mnv2_sweep.analysis.resample import Interval, bootstrap
from mnv2_sweep.tasks.average_precision import BoxScores, score_boxes
from tests.box_samples import differences, draw_images, judge_boxes

SPLITS = {  # images, classes, most truths an image, most boxes where nothing is
    "bccd's validation, few boxes": (87, 3, 26, 20),
    "bccd's validation, 100 boxes an image": (87, 3, 26, 160),
    "COCO-like, 500 images": (500, 80, 14, 160),
}
EQUAL = 1e-9
WANTED = 3  # times as fast
RUNS = 5


def compare_cases(cases: int) -> bool:
    worst = 0.0
    for seed in range(cases):
        classes = 1 + seed % 5
        truths, found = draw_images(seed, 6 + seed % 10, classes, digits=2 + seed % 4)
        worst = max(worst, differences(truths, found, classes, score_boxes(truths, found, classes)))
    print(f"{cases} cases: the largest difference of any score is {worst:.1e}")
    return worst < EQUAL


def cpu_ms(work, *values) -> float:
    began = time.process_time()
    work(*values)
    return 1000 * (time.process_time() - began)


def find_interval(scores: BoxScores, images: int) -> Interval:
    return bootstrap(lambda weights: scores.matches.precision(weights).map, images)


def compare_speed() -> bool:
    enough = True
    for name, (images, classes, most, wrong) in SPLITS.items():
        truths, found = draw_images(0, images, classes, most, wrong)
        spent = [[cpu_ms(work, truths, found, classes) for work in (score_boxes, judge_boxes)] for _ in range(RUNS)]
        ours, theirs = (statistics.median(times) for times in zip(*spent, strict=True))
        ratios = [b / a for a, b in spent]
        took = cpu_ms(find_interval, score_boxes(truths, found, classes), images)
        boxes = sum(len(one.classes) for one in found)
        print(
            f"{name}: {images} images, {boxes:,} boxes found: {ours:.0f} ms, pycocotools {theirs:.0f} ms, "
            f"{min(ratios):.1f} to {max(ratios):.1f} times; the interval of mAP {took:.0f} ms"
        )
        enough &= theirs / ours >= WANTED
    return enough


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=500)
    equal = compare_cases(parser.parse_args().cases)
    sys.exit(0 if compare_speed() and equal else 1)
