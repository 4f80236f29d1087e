"""ArchSpec -> blocks of a ShuffleNet v1 (Zhang et al., arXiv 1707.01083, table 1 and figure 2)."""

import math

from mnv2_sweep.base.size import Size
from mnv2_sweep.nets.arch import SSDS, ArchSpec, input_size
from mnv2_sweep.nets.plan import Block, Layer
from mnv2_sweep.nets.steps import After, State

STEM_CHANNELS = 24
STAGE_2_CHANNELS = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}  # by groups; doubled from stage to stage
UNITS = (4, 8, 4)  # of stages 2, 3 and 4; the first of each halves the map


def scale_channels(channels: int, scale: float, divisor: int) -> int:
    """Return the nearest multiple of `divisor`, which the groups divide evenly; published scales are such multiples."""
    return max(1, int(channels * scale / divisor + 0.5)) * divisor


def stem_scale(scale: float) -> float:
    """Return the stem's scale, which grows in whole steps above 1x: the authors' code (megvii-model/ShuffleNet-Series)
    has 12 channels at 0.5x, 24 at 1x and at 1.5x, 48 at 2x, and only so do the published 292 million MAdds of 1.5x come
    out."""
    return scale if scale < 1 else math.floor(scale)


def build_shufflenet(state: State, at: int, row: int, arch: ArchSpec) -> tuple[tuple[Block, ...], tuple]:
    """Make stem, max pooling and stages 2 to 4, all before the head: a step (`nets.steps`). `arch.width` is the paper's
    scale factor s. A detector reads the maps that stages 3 and 4 leave."""
    groups, image = arch.groups, input_size(arch)
    size = image.shrink(2)
    channels = scale_channels(STEM_CHANNELS, stem_scale(arch.width), groups)
    stem = Layer("features.0.0", "conv", arch.in_channels, channels, 3, 2, 1, image, size, "relu")
    pooled = size.shrink(2)
    pool = Layer("features.1", "max_pool", channels, channels, 3, 2, 1, size, pooled, norm=False)
    blocks = [Block("features.0", "conv", "stem", (stem,)), Block("features.1", "pool", "stem", (pool,))]
    size = pooled
    for stage, units in enumerate(UNITS):
        third = sum(len(block.layers) for block in blocks)  # at the end what stage 3 leaves
        c_out = scale_channels(STAGE_2_CHANNELS[groups] * 2**stage, arch.width, 4 * groups)
        for unit in range(units):
            # The first pointwise layer is not grouped: its input has too few channels (section 3.3).
            first = 1 if stage == unit == 0 else groups
            blocks.append(_unit(f"features.{len(blocks)}", str(stage + 2), channels, c_out, first, groups, unit, size))
            channels, size = c_out, blocks[-1].layers[-1].size_out
    return tuple(blocks), After(channels, size, taps=(third,) if arch.head in SSDS else ())


def _unit(name: str, stage: str, c_in: int, c_out: int, first: int, groups: int, unit: int, size: Size) -> Block:
    """Make a unit as in figure 2b, and 2c for the first unit of a stage: 1x1 group convolution, shuffle, 3x3 depthwise,
    1x1 group convolution. The bottleneck has a quarter of the unit's output channels."""
    stride = 2 if unit == 0 else 1
    hidden, size_out = c_out // 4, size.shrink(stride)
    layers = [Layer(f"{name}.conv.0", "conv", c_in, hidden, 1, 1, first, size, size, "relu")]
    if first > 1:
        layers.append(Layer(f"{name}.shuffle", "shuffle", hidden, hidden, 1, 1, groups, size, size, norm=False))
    layers.append(Layer(f"{name}.conv.2", "conv", hidden, hidden, 3, stride, hidden, size, size_out))
    if stride == 1:
        back = -len(layers) - 1
        layers.append(
            Layer(f"{name}.conv.4", "conv", hidden, c_out, 1, 1, groups, size_out, size_out, "relu", reads=(-1, back))
        )
    else:
        layers.append(Layer(f"{name}.conv.4", "conv", hidden, c_out - c_in, 1, 1, groups, size_out, size_out))
        back = -len(layers) - 1
        pool = Layer(f"{name}.pool", "avg_pool", c_in, c_in, 3, 2, 1, size, size_out, norm=False, reads=(back,))
        join = Layer(f"{name}.join", "concat", c_out, c_out, 1, 1, 1, size_out, size_out, "relu", False, (-1, -2))
        layers += [pool, join]
    return Block(name, "unit", stage, tuple(layers), "bottleneck")
