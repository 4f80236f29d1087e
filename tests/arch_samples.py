"""Specs drawn at random: from everything that is allowed, and from a corner where many of them are the same network."""

import random
from dataclasses import replace

from mnv2_sweep.base.size import Size
from mnv2_sweep.nets.arch import (
    ACTIVATIONS,
    CLASSIFIER,
    HEADS,
    MOBILENET_V2,
    RESIDUALS,
    SHUFFLENET_GROUPS,
    ArchSpec,
    Stage,
)


def draw_arch(seed: int) -> ArchSpec:
    """Any MobileNetV2 of the whole space, every field drawn."""
    draw = random.Random(seed)
    stages = tuple(
        Stage(draw.choice((1, 1, 2, 3, 6)), draw.randint(4, 60), draw.randint(1, 3), draw.choice((1, 1, 2)))
        for _ in range(draw.randint(1, 5))
    )
    own = random.Random(f"cells {seed}")  # of its own, so that the fields above stay as they were
    stages = tuple(
        stage._replace(kernel=own.choice((None, None, 3, 5)), se_ratio=own.choice((None, None, None, 0.25)))
        for stage in stages
    )
    return ArchSpec(
        in_channels=own.choice((3, 3, 1)),
        stem_channels=own.choice((32, 32, 16, 12)),
        divisor=own.choice((8, 8, 4, 1)),
        se_ratio=own.choice((0.0, 0.0, 0.0, 0.1)),
        stages=draw.choice((stages, MOBILENET_V2)),
        width=draw.choice((0.25, 0.35, 0.5, 0.75, 1.0, 1.4, draw.uniform(0.1, 1.5))),
        resolution=_draw_resolution(draw, own),
        kernel=draw.choice((1, 3, 3, 5, 7)),
        linear_bottleneck=draw.random() < 0.5,
        residual=draw.choice(RESIDUALS),
        last_channels=draw.randint(1, 400) * own.choice((1, 1, 1, 0)),
        classes=draw.randint(1, 40),
        dropout=draw.choice((0.0, 0.2)),
        activation=draw.choice(ACTIVATIONS),
        padding=own.choice(("torch", "torch", "same")),
        scale_last_conv=draw.random() < 0.3,
        depthwise=draw.random() < 0.7,
    )


def _draw_resolution(draw: random.Random, own: random.Random) -> int | Size:
    side, other = draw.randint(1, 64), own.randint(1, 64)
    return side if side == other or own.random() < 0.6 else Size(side, other)


def draw_twin(seed: int) -> ArchSpec:
    """From so few values that equal plans, rows that go on and shortcuts of every kind are common."""
    draw = random.Random(seed)
    stages = tuple(
        Stage(draw.choice((1, 2)), draw.choice((8, 16, 17)), draw.randint(1, 4), draw.choice((1, 1, 2)))
        for _ in range(draw.randint(1, 4))
    )
    plain = replace(draw_arch(seed), in_channels=3, stem_channels=32, divisor=8, se_ratio=0.0, padding="torch")
    arch = replace(plain, stages=stages, kernel=3, linear_bottleneck=True, last_channels=8, classes=1)
    arch = replace(arch, activation=draw.choice(("relu6", "relu6", "relu")), depthwise=draw.random() < 0.9)
    return replace(arch, width=draw.choice((1.0, 1.01, 0.3)), resolution=draw.choice((31, 32)), dropout=0.2)


def draw_other(seed: int) -> ArchSpec:
    """Of the families that MobileNetV2 is compared with."""
    draw = random.Random(seed)
    family = draw.choice(("mobilenet_v1", "shufflenet_v1", "nasnet_a"))
    arch = ArchSpec(family=family, width=draw.choice((0.25, 1.0, 1.001, 1.5)), resolution=draw.choice((1, 31, 32)))
    arch = replace(arch, classes=draw.choice((1, 10)))
    return replace(arch, groups=draw.choice(SHUFFLENET_GROUPS)) if family == "shufflenet_v1" else arch


def draw_head(seed: int) -> ArchSpec:
    """Of the heads of detectors and segmenters, on all families that they stand on, small."""
    draw = random.Random(f"head {seed}")
    head = draw.choice([head for head in HEADS if head != CLASSIFIER])
    family = draw.choice(HEADS[head])
    plain = draw_arch(seed) if family == "mobilenet_v2" else ArchSpec(family=family, width=draw.choice((0.1, 0.25)))
    if all(stage.s == 1 for stage in plain.stages):
        plain = replace(plain, stages=MOBILENET_V2)
    arch = replace(
        plain, head=head, classes=draw.randint(1, 5), dropout=0.2,
        resolution=draw.choice((1, 31, 64, 65, Size(33, 48), Size(64, 40))),
    )  # fmt: skip
    if head == "deeplabv3":
        return replace(arch, output_stride=draw.choice((16, 8)), aspp=draw.random() < 0.5)
    if head == "yolov2":
        return arch
    arch = replace(arch, scales=draw.randint(2, 7), anchors=draw.choice((6, 4, 2)))
    arch = replace(arch, extra_channels=draw.choice((512, 100, 1)))
    return arch if family == "vgg16" else replace(arch, anchor_scale=draw.choice((0.2, 0.1)))
