"""ArchSpec -> blocks of a MobileNetV1 (Howard et al., arXiv 1704.04861, table 1, as TF-slim builds it)."""

from mnv2_sweep.base.size import Size
from mnv2_sweep.nets.arch import ArchSpec, input_size
from mnv2_sweep.nets.plan import Block, Layer, classifier_block
from mnv2_sweep.nets.steps import State

STEM_CHANNELS = 32
# Output channels and stride of the thirteen depthwise separable convolutions.
ROWS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))


def scale_channels(channels: int, width: float) -> int:
    """Scale by TF-slim's rule for V1: cut, not rounded to 8, and at least 8."""
    return max(8, int(channels * width))


def build_mobilenet_v1(state: State, at: int, row: int, arch: ArchSpec) -> tuple[tuple[Block, ...], tuple]:
    """Make stem, thirteen pairs of a 3x3 depthwise and a 1x1 convolution (ReLU6 after each), classifier: the whole
    network, a step (`nets.steps`)."""
    channels, image = scale_channels(STEM_CHANNELS, arch.width), input_size(arch)
    size = image.shrink(2)
    stem = Layer("features.0.0", "conv", arch.in_channels, channels, 3, 2, 1, image, size, "relu6")
    blocks = [Block("features.0", "conv", "stem", (stem,))]
    for row, (c, stride) in enumerate(ROWS):
        c_out, size_out, name = scale_channels(c, arch.width), size.shrink(stride), f"features.{row + 1}"
        deep = Layer(f"{name}.0.0", "conv", channels, channels, 3, stride, channels, size, size_out, "relu6")
        point = Layer(f"{name}.1.0", "conv", channels, c_out, 1, 1, 1, size_out, size_out, "relu6")
        blocks.append(Block(name, "separable", str(row), (deep, point)))
        channels, size = c_out, size_out
    blocks.append(classifier_block(channels, size, arch.classes))
    return tuple(blocks), (arch.classes, Size(1, 1), None)
