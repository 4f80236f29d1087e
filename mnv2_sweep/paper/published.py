"""Tables 2, 3 and 4 and figure 5 of the paper, written out as printed, each row tied to the ArchSpec it is about.

"Paper" as in `reference`: arXiv 1801.04381 version 4. What is known to be odd about a figure stands in
`paper_reasons`, beside our own count of it; here nothing is mended. None: the paper prints nothing or a dash.
"""

from dataclasses import dataclass

from mnv2_sweep.archs.arch import ArchSpec

_V1 = ArchSpec(family="mobilenet_v1")


def _shufflenet(scale: float, groups: int = 3) -> ArchSpec:
    return ArchSpec(family="shufflenet_v1", width=scale, groups=groups)


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
class Marker:
    """One marker of figure 5, read off the vector drawing: MAdds to 0.3 %, top-1 to 0.05 points."""

    arch: ArchSpec
    madds_m: float
    top1_percent: float


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
