"""The anchors of detectors: for each map, the boxes at every place of it, as shares of the image's width and height.

Centres are the middles of a map's places. An anchor of scale s and ratio r is s * sqrt(r) wide and s / sqrt(r) high.
"""

import math
from collections.abc import Sequence

from mnv2_sweep.base.size import Size
from mnv2_sweep.nets.arch import LARGEST_ANCHOR

Shares = tuple[tuple[float, float], ...]

RATIOS = (1.0, 2.0, 0.5, 3.0, 0.3333)  # ssdlite_mobilenet_v2_coco.config
LOWEST = (2.0, 0.5)  # on the first map, beside a square one of half the scale (reduce_boxes_in_lowest_layer)
# weiliu89/caffe (ssd), for COCO: pixels of 300, and shares of 512; the last is the one after the last map's.
VGG_300 = tuple(size / 300 for size in (21, 45, 99, 153, 207, 261, 315))
VGG_512 = (0.04, 0.10, 0.26, 0.42, 0.58, 0.74, 0.90, 1.06)
VGG_RATIOS = (1.0, 2.0, 0.5, 3.0, 1 / 3)
YOLO = (  # pjreddie/darknet, cfg/yolov2.cfg, for COCO: width and height in places of the map
    (0.57273, 0.677385), (1.87446, 2.06253), (3.33843, 5.47434), (7.88282, 3.52778), (9.77052, 9.16828)
)  # fmt: skip


def ssd_anchors(maps: int, each: int, scale: float) -> tuple[Shares, ...]:
    """Return the anchors of an SSD on so many maps, `each` at a place of all but the first: scales go evenly from
    `scale` to LARGEST_ANCHOR (TensorFlow's multiple_grid_anchor_generator)."""
    scales = [scale + (LARGEST_ANCHOR - scale) * i / (maps - 1) for i in range(maps)] + [1.0]
    first = ((scale / 2, scale / 2), *(_shape(scale, ratio) for ratio in LOWEST))
    return (first, *(_at_scale(*scales[i : i + 2], RATIOS[: each - 1]) for i in range(1, maps)))


def vgg_anchors(maps: int, each: int) -> tuple[Shares, ...]:
    """Return the anchors of SSD300, or SSD512 with 7 maps: at most 4 at a place of the first and the last two."""
    sizes = VGG_512 if maps == 7 else VGG_300
    counts = [min(4, each) if i in (0, maps - 2, maps - 1) else each for i in range(maps)]
    return tuple(_at_scale(*sizes[i : i + 2], VGG_RATIOS[: count - 1]) for i, count in enumerate(counts))


def yolo_anchors(size: Size) -> Shares:
    """Return YOLOv2's five on a map of that size."""
    return tuple((width / size.width, height / size.height) for width, height in YOLO)


def _at_scale(scale: float, following: float, ratios: Sequence[float]) -> Shares:
    """Return one for each ratio, and a square one between this scale and the following."""
    between = math.sqrt(scale * following)
    return (*(_shape(scale, ratio) for ratio in ratios), (between, between))


def _shape(scale: float, ratio: float) -> tuple[float, float]:
    return scale * math.sqrt(ratio), scale / math.sqrt(ratio)
