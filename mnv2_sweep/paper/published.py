"""What the MobileNetV2 paper and TF-slim print of networks, as records, each tied to the ArchSpec it is about.

"Paper" is Sandler, Howard, Zhu, Zhmoginov, Chen, "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
arXiv 1801.04381 version 4: its tables 2 to 7 and figures 5 and 6. None: the paper prints nothing or a dash.
Everything stands here as printed and nothing is mended: what is known to be odd about a figure is said in `reasons`,
beside our own count of it.

All accuracies are top-1 or top-5 on the ImageNet validation images, in percent as printed; the look-ups say what they
give. MAdds and params are in millions as printed, and TF-slim's two lists count unlike each other: V2's cuts MAdds to
whole millions (71.7 is printed as 71) and leaves batch norm out of params, V1's rounds and counts three numbers per
channel of batch norm. So compare costs by `count_cost`; the command `paper` says row by row where and why the printed
ones differ.
"""

from dataclasses import dataclass, replace

from mnv2_sweep.nets.arch import ArchSpec, arch_label

# ---------------------------------------------------------------- records


@dataclass(frozen=True, slots=True)
class BlockRow:
    """One row of table 2: what the operator reads, expansion t, output channels c, repeats n, first stride s."""

    input_size: int
    input_channels: int
    operator: str
    t: int | str | None
    c: int | str | None  # "k": the number of classes
    n: int | None
    s: int | str | None


@dataclass(frozen=True, slots=True)
class Memory:
    """One column of table 3: (size, channels, kb) of the largest tensor of each size, kb of the largest of all."""

    name: str
    arch: ArchSpec
    tensors: tuple[tuple[int, int, int], ...]
    max_kb: int


@dataclass(frozen=True, slots=True)
class Network:
    """One row of table 4: top-1 on the ImageNet validation images, costs in millions, one large core of a Pixel 1."""

    name: str
    arch: ArchSpec
    top1_percent: float
    params_m: float
    madds_m: int
    cpu_ms: int | None


@dataclass(frozen=True, slots=True)
class Head:
    """One row of table 5: the head of a detector alone, without its backbone."""

    name: str
    arch: ArchSpec
    params_m: float
    madds_b: float


@dataclass(frozen=True, slots=True)
class Detector:
    """One row of table 6: mAP on COCO test-dev, one large core of a Pixel 1."""

    name: str
    arch: ArchSpec
    map_percent: float
    params_m: float
    madds_b: float
    cpu_ms: int | None


@dataclass(frozen=True, slots=True)
class Segmenter:
    """One row of table 7: mIOU on PASCAL VOC 2012, validation; `many`: of six scales, each with its mirror image."""

    name: str
    arch: ArchSpec
    many: bool
    miou_percent: float
    params_m: float
    madds_b: float


@dataclass(frozen=True, slots=True)
class Marker:
    """One marker of figure 5, read off the vector drawing: MAdds to 0.3 %, top-1 to 0.05 points."""

    arch: ArchSpec
    madds_m: float
    top1_percent: float


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One trained network as its authors published it."""

    arch: ArchSpec
    madds_m: int
    params_m: float
    top1_percent: float
    top5_percent: float


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a network took on a device, as somebody published it."""

    arch: ArchSpec
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Timings:
    """A published table of times on one device: what it is called here, the device and what ran there, in 8 bits or
    not, with how many threads, where it stands, and under which conditions, as far as they are said."""

    name: str
    device: str
    runtime: str
    int8: bool
    threads: int
    source: str
    conditions: str
    networks: tuple[Timing, ...]


@dataclass(frozen=True, slots=True)
class EndValue:
    """Where a curve of figure 6 ends: mean top-1 over 6.5 to 7.0 million steps."""

    arch: ArchSpec
    top1_percent: float


# ---------------------------------------------------------------- tables 2 to 7, and figure 5

_V1 = ArchSpec(family="mobilenet_v1")


def _shufflenet(scale: float, groups: int = 3) -> ArchSpec:
    return ArchSpec(family="shufflenet_v1", width=scale, groups=groups)


# Paper, table 2.
TABLE_2 = (
    BlockRow(224, 3, "conv2d 3x3", None, 32, 1, 2),
    BlockRow(112, 32, "bottleneck", 1, 16, 1, 1),
    BlockRow(112, 16, "bottleneck", 6, 24, 2, 2),
    BlockRow(56, 24, "bottleneck", 6, 32, 3, 2),
    BlockRow(28, 32, "bottleneck", 6, 64, 4, 2),
    BlockRow(14, 64, "bottleneck", 6, 96, 3, 1),
    BlockRow(14, 96, "bottleneck", 6, 160, 3, 2),
    BlockRow(7, 160, "bottleneck", 6, 320, 1, 1),
    BlockRow(7, 320, "conv2d 1x1", None, 1280, 1, 1),
    BlockRow(7, 1280, "avgpool 7x7", None, None, 1, None),
    BlockRow(1, 1280, "conv2d 1x1", None, "k", None, None),
)

# Paper, table 3: activations of 16 bits, kb of 1000 bytes.
TABLE_3 = (
    Memory(
        "MobileNetV1",
        _V1,
        ((112, 64, 1600), (56, 128, 800), (28, 256, 400), (14, 512, 200), (7, 1024, 199), (1, 1024, 2)),
        1600,
    ),
    Memory(
        "MobileNetV2",
        ArchSpec(),
        ((112, 16, 400), (56, 32, 200), (28, 64, 100), (14, 160, 62), (7, 320, 32), (1, 1280, 2)),
        400,
    ),
    Memory(
        "ShuffleNet 2x, g=3",
        _shufflenet(2.0),
        ((112, 32, 800), (56, 48, 300), (28, 400, 600), (14, 800, 310), (7, 1600, 156), (1, 1600, 3)),
        600,
    ),
)

# Paper, table 4. ShuffleNet's groups are those of the networks with these accuracies in ShuffleNet's paper, table 5.
TABLE_4 = (
    Network("MobileNetV1", _V1, 70.6, 4.2, 575, 113),
    Network("ShuffleNet (1.5)", _shufflenet(1.5), 71.5, 3.4, 292, None),
    Network("ShuffleNet (x2)", _shufflenet(2.0), 73.7, 5.4, 524, None),
    Network("NasNet-A", ArchSpec(family="nasnet_a"), 74.0, 5.3, 564, 183),
    Network("MobileNetV2", ArchSpec(), 72.0, 3.4, 300, 75),
    Network("MobileNetV2 (1.4)", ArchSpec(width=1.4), 74.7, 6.9, 585, 143),
)

# Paper, table 5, for 80 classes; at 320 px as in section 6.2.
_DETECTOR = ArchSpec(resolution=320, classes=80, head="ssdlite")
TABLE_5 = (
    Head("SSD", replace(_DETECTOR, head="ssd"), 14.8, 1.25),
    Head("SSDLite", _DETECTOR, 2.1, 0.35),
)

# Paper, table 6. Sizes of SSD are those of its names; of YOLOv2, which the paper names none of, 416, its own paper's.
_SSD = ArchSpec(family="vgg16", head="ssd", classes=80)
TABLE_6 = (
    Detector("SSD300", replace(_SSD, resolution=300), 23.2, 36.1, 35.2, None),
    Detector("SSD512", replace(_SSD, resolution=512, scales=7), 26.8, 36.1, 99.5, None),
    Detector("YOLOv2", ArchSpec(family="darknet19", head="yolov2", resolution=416, classes=80), 21.6, 50.7, 17.5, None),
    Detector("MNet V1 + SSDLite", replace(_DETECTOR, family="mobilenet_v1"), 22.2, 5.1, 1.3, 270),
    Detector("MNet V2 + SSDLite", _DETECTOR, 22.1, 4.3, 0.8, 200),
)

# Paper, table 7: images of 512 px, which the graph reads at 513. V2* has its head on the second last map.
_SEGMENTER = ArchSpec(resolution=513, classes=21, head="deeplabv3")
_S1, _S101 = (replace(_SEGMENTER, family=family) for family in ("mobilenet_v1", "resnet101"))
_S2 = replace(_SEGMENTER, last_channels=0)
TABLE_7 = (
    Segmenter("MNet V1, stride 16, ASPP", _S1, False, 75.29, 11.15, 14.25),
    Segmenter("MNet V1, stride 8, ASPP, MF", replace(_S1, output_stride=8), True, 78.56, 11.15, 941.9),
    Segmenter("MNet V2*, stride 16, ASPP", _S2, False, 75.70, 4.52, 5.8),
    Segmenter("MNet V2*, stride 8, ASPP, MF", replace(_S2, output_stride=8), True, 78.42, 4.52, 387),
    Segmenter("MNet V2*, stride 16", replace(_S2, aspp=False), False, 75.32, 2.11, 2.75),
    Segmenter("MNet V2*, stride 8, MF", replace(_S2, aspp=False, output_stride=8), True, 77.33, 2.11, 152.6),
    Segmenter("ResNet-101, stride 16, ASPP", _S101, False, 80.49, 58.16, 81.0),
    Segmenter("ResNet-101, stride 8, ASPP, MF", replace(_S101, output_stride=8), True, 82.70, 58.16, 4870.6),
)
SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)  # section 6.3, figure 8

# Paper, figure 5: (MAdds in millions, top-1) by resolution and width, the latter in the order of the markers.
_FIGURE_5_V2 = {
    96: {1.0: (56.3, 60.34), 0.75: (39.5, 58.84), 0.5: (18.9, 51.18), 0.35: (11.9, 45.52)},
    128: {1.0: (99.1, 65.26), 0.75: (69.2, 63.15), 0.5: (32.6, 57.66), 0.35: (20.2, 50.84)},
    160: {1.0: (154.1, 68.80), 0.75: (107.3, 66.36), 0.5: (50.2, 61.02), 0.35: (30.9, 55.66)},
    192: {1.0: (221.4, 70.70), 0.75: (154.0, 68.68), 0.5: (71.8, 63.91), 0.35: (43.9, 58.18)},
    224: {
        **{1.0: (300.9, 71.81), 1.4: (582.4, 74.97), 0.75: (209.2, 69.76)},
        **{0.5: (97.2, 65.43), 0.35: (59.4, 60.28)},
    },
}
_FIGURE_5_V1 = {
    224: {1.0: (568.9, 70.60), 0.75: (316.9, 68.40), 0.5: (149.5, 63.70), 0.25: (41.0, 50.60)},
    192: {1.0: (418.2, 69.10), 0.75: (233.1, 67.30), 0.5: (110.0, 62.50), 0.25: (34.1, 47.60)},
    160: {1.0: (290.7, 67.20), 0.75: (162.1, 64.70), 0.5: (76.5, 60.20), 0.25: (21.1, 45.30)},
    128: {1.0: (186.4, 64.40), 0.75: (104.0, 62.20), 0.5: (49.2, 55.80), 0.25: (13.6, 42.90)},
}
FIGURE_5 = (
    *(
        Marker(ArchSpec(family=family, width=width, resolution=resolution), *point)
        for family, curve in (("mobilenet_v2", _FIGURE_5_V2), ("mobilenet_v1", _FIGURE_5_V1))
        for resolution, points in curve.items()
        for width, point in points.items()
    ),
    Marker(ArchSpec(family="nasnet_a"), 565.1, 74.00),
    # The figure names no scale and no groups: these are the networks with its accuracies (ShuffleNet's paper, tables 2
    # and 5, which print errors: 26.3, 28.5, 32.4, 41.6 and 52.7).
    Marker(_shufflenet(2.0), 524.1, 73.70),
    Marker(_shufflenet(1.5), 292.0, 71.50),
    Marker(_shufflenet(1.0, groups=8), 140.0, 67.60),
    Marker(_shufflenet(0.5, groups=4), 38.0, 58.40),
    Marker(_shufflenet(0.25, groups=8), 13.0, 47.30),
)


# ---------------------------------------------------------------- checkpoints and figure 6

# tensorflow/models, research/slim/nets/mobilenet/README.md, the 22 MobileNetV2 checkpoints:
# width, resolution, MAdds (M), params (M), top-1, top-5.
_TF_SLIM = (
    (1.4, 224, 582, 6.06, 75.0, 92.5),
    (1.3, 224, 509, 5.34, 74.4, 92.1),
    (1.0, 224, 300, 3.47, 71.8, 91.0),
    (1.0, 192, 221, 3.47, 70.7, 90.1),
    (1.0, 160, 154, 3.47, 68.8, 89.0),
    (1.0, 128, 99, 3.47, 65.3, 86.9),
    (1.0, 96, 56, 3.47, 60.3, 83.2),
    (0.75, 224, 209, 2.61, 69.8, 89.6),
    (0.75, 192, 153, 2.61, 68.7, 88.9),
    (0.75, 160, 107, 2.61, 66.4, 87.3),
    (0.75, 128, 69, 2.61, 63.2, 85.3),
    (0.75, 96, 39, 2.61, 58.8, 81.6),
    (0.5, 224, 97, 1.95, 65.4, 86.4),
    (0.5, 192, 71, 1.95, 63.9, 85.4),
    (0.5, 160, 50, 1.95, 61.0, 83.2),
    (0.5, 128, 32, 1.95, 57.7, 80.8),
    (0.5, 96, 18, 1.95, 51.2, 75.8),
    (0.35, 224, 59, 1.66, 60.3, 82.9),
    (0.35, 192, 43, 1.66, 58.2, 81.2),
    (0.35, 160, 30, 1.66, 55.7, 79.1),
    (0.35, 128, 20, 1.66, 50.8, 75.0),
    (0.35, 96, 11, 1.66, 45.5, 70.4),
)
CHECKPOINTS = tuple(
    Checkpoint(ArchSpec(width=width, resolution=resolution), *figures) for width, resolution, *figures in _TF_SLIM
)

# tensorflow/models, research/slim/nets/mobilenet_v1.md, the 16 float MobileNetV1 checkpoints of 2018_02_22, same
# columns. Figure 5's V1 curve has other accuracies, those of the MobileNetV1 paper: FIGURE_5.
_TF_SLIM_V1 = (
    (1.0, 224, 569, 4.24, 70.9, 89.9),
    (1.0, 192, 418, 4.24, 70.0, 89.2),
    (1.0, 160, 291, 4.24, 68.0, 87.7),
    (1.0, 128, 186, 4.24, 65.2, 85.8),
    (0.75, 224, 317, 2.59, 68.4, 88.2),
    (0.75, 192, 233, 2.59, 67.2, 87.3),
    (0.75, 160, 162, 2.59, 65.3, 86.0),
    (0.75, 128, 104, 2.59, 62.1, 83.9),
    (0.5, 224, 150, 1.34, 63.3, 84.9),
    (0.5, 192, 110, 1.34, 61.7, 83.6),
    (0.5, 160, 77, 1.34, 59.1, 81.9),
    (0.5, 128, 49, 1.34, 56.3, 79.4),
    (0.25, 224, 41, 0.47, 49.8, 74.2),
    (0.25, 192, 34, 0.47, 47.7, 72.3),
    (0.25, 160, 21, 0.47, 45.5, 70.3),
    (0.25, 128, 14, 0.47, 41.5, 66.3),
)
MOBILENET_V1_CHECKPOINTS = tuple(
    Checkpoint(ArchSpec(family="mobilenet_v1", width=width, resolution=resolution), *figures)
    for width, resolution, *figures in _TF_SLIM_V1
)

# ---------------------------------------------------------------- times on devices

# tensorflow/models, research/slim/nets/mobilenet/README.md, column "Mobile CPU (ms) Pixel 1", in the order of _TF_SLIM.
_PIXEL_1 = (
    *(138.0, 123.0, 73.8, 55.1, 40.2, 27.6, 17.6, 55.8, 41.6, 30.4, 21.9, 14.2),
    *(28.7, 21.1, 14.9, 9.9, 6.4, 19.7, 14.6, 10.5, 6.9, 4.5),
)
# tensorflow/tensorflow, tensorflow/lite/g3doc/guide/hosted_models.md at 0406598, column "CPU, 4 threads": MobileNetV1
# by width, at 128, 160, 192 and 224 px, in floats and quantized; then MobileNetV2 1.0 at 224, in floats also NASNet-A.
_PIXEL_3 = {
    0.25: ((1.2, 1.7, 2.4, 3.3), (0.8, 1.3, 1.8, 2.3)),
    0.5: ((3.0, 4.4, 6.0, 7.9), (1.7, 2.6, 3.6, 4.7)),
    0.75: ((5.5, 8.2, 11.0, 14.6), (3.1, 4.7, 6.4, 8.5)),
    1.0: ((9.0, 13.4, 18.1, 24.0), (4.8, 7.3, 9.9, 13.0)),
}
_HOSTED = "tensorflow/tensorflow, tensorflow/lite/g3doc/guide/hosted_models.md at commit 0406598"
_ANDROID = "Android 10, 4 threads of the CPU; trained checkpoints of TensorFlow, converted"


def _pixel_3(int8: bool) -> tuple[Timing, ...]:
    return tuple(
        Timing(ArchSpec(family="mobilenet_v1", width=width, resolution=side), time)
        for width, columns in _PIXEL_3.items()
        for side, time in zip((128, 160, 192, 224), columns[int8], strict=True)
    )


TIMINGS = (
    Timings(
        "published-pixel1", "Pixel 1", "TF Lite", False, 1,
        "tensorflow/models, research/slim/nets/mobilenet/README.md, Mobile CPU (ms) Pixel 1",
        "one large core, as the paper says of its own times on this phone; no version is named",
        tuple(Timing(one.arch, time) for one, time in zip(CHECKPOINTS, _PIXEL_1, strict=True)),
    ),
    Timings(
        "published-pixel3", "Pixel 3", "TF Lite", False, 4, f"{_HOSTED}, floating point models, CPU", _ANDROID,
        (*_pixel_3(False), Timing(ArchSpec(), 17.5), Timing(ArchSpec(family="nasnet_a"), 56.0)),
    ),
    Timings(
        "published-pixel3-int8", "Pixel 3", "TF Lite", True, 4, f"{_HOSTED}, quantized models, CPU", _ANDROID,
        (*_pixel_3(True), Timing(ArchSpec(), 12.0)),
    ),
)  # fmt: skip

# Paper, figure 6, digitised from the vector drawing. Panel a: the first two (linear bottleneck, ReLU6 in the
# bottleneck); panel b: the first, the third (shortcut between expansions) and the fourth (no residual). The paper
# names no width or resolution there; 1.0 at 224, the paper's usual network, is our reading. The linear curve ends
# near 71.0, not at table 4's 72.0, and section 3.2 speaks of "several percent" where figure 6a shows 0.58 points.
FIGURE_6 = (
    EndValue(ArchSpec(), 71.00),
    EndValue(ArchSpec(linear_bottleneck=False), 70.42),
    EndValue(ArchSpec(residual="expansion"), 70.59),
    EndValue(ArchSpec(residual="none"), 69.59),
)


# ---------------------------------------------------------------- look-ups


def published_checkpoints() -> dict[str, Checkpoint]:
    """Return by `arch_label` the checkpoints of TF-slim's 22 MobileNetV2 and 16 MobileNetV1.

    The label holds all that differs from the paper's network but the classes, which every data set sets anew.
    """
    return {arch_label(checkpoint.arch): checkpoint for checkpoint in (*CHECKPOINTS, *MOBILENET_V1_CHECKPOINTS)}


def published_gap(arch: ArchSpec, changed: ArchSpec) -> float | None:
    """Return top-1 of `arch` minus top-1 of `changed` in percentage points, from figure 6.

    The two must differ in `linear_bottleneck` and `residual` only. Their width, resolution and expansion may be any:
    the figure stays the one the paper shows for its own network. None where figure 6 does not show the change.
    """
    if replace(arch, linear_bottleneck=changed.linear_bottleneck, residual=changed.residual) != changed:
        return None
    ends = {(e.arch.linear_bottleneck, e.arch.residual): e.top1_percent for e in FIGURE_6}
    a, b = (ends.get((spec.linear_bottleneck, spec.residual)) for spec in (arch, changed))
    return None if a is None or b is None else round(a - b, 2)
