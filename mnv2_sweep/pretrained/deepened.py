"""timm's wider and deeper MobileNetV2: mobilenetv2_110d and mobilenetv2_120d as block tables of ours."""

import math

from mnv2_sweep.nets.arch import MOBILENET_V2, ArchSpec, Stage
from mnv2_sweep.nets.plan import round_channels


def deepen(width: float, depth: float) -> ArchSpec:
    """Return table 2 wider and deeper at once with its stem and last convolution kept: repeats are rounded up, those of
    the first and last row kept."""
    ends = (MOBILENET_V2[0], MOBILENET_V2[-1])
    return ArchSpec(
        stages=tuple(
            Stage(s.t, round_channels(s.c * width), s.n if s in ends else math.ceil(s.n * depth), s.s)
            for s in MOBILENET_V2
        )
    )


DEEPENED = {"110d": deepen(1.1, 1.2), "120d": deepen(1.2, 1.4)}
