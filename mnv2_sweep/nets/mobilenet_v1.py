"""ArchSpec -> blocks of a MobileNetV1 (Howard et al., arXiv 1704.04861, table 1, as TF-slim builds it)."""

from mnv2_sweep.nets.arch import DEEPLAB, SSDS, ArchSpec, input_size
from mnv2_sweep.nets.dilate import dilate_rows
from mnv2_sweep.nets.plan import Block, Layer, cut_channels
from mnv2_sweep.nets.steps import After, State

STEM_CHANNELS = 32
# Output channels and stride of the thirteen depthwise separable convolutions.
ROWS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
LAST_STRIDED = max(row for row, (_, stride) in enumerate(ROWS) if stride > 1)


def build_mobilenet_v1(state: State, at: int, row: int, arch: ArchSpec) -> tuple[tuple[Block, ...], tuple]:
    """Make stem and thirteen pairs of a 3x3 depthwise and a 1x1 convolution (ReLU6 after each), all before the head: a
    step (`nets.steps`). A detector reads the map before the last strided pair (`Conv2d_11`) and the last."""
    channels, image = cut_channels(STEM_CHANNELS, arch.width), input_size(arch)
    size = image.shrink(2)
    stem = Layer("features.0.0", "conv", arch.in_channels, channels, 3, 2, 1, image, size, "relu6")
    blocks = [Block("features.0", "conv", "stem", (stem,))]
    strides = dilate_rows(2, [(stride, 1) for _, stride in ROWS], arch.output_stride if arch.head in DEEPLAB else 32)
    for row, (c, _) in enumerate(ROWS):
        stride, dilation, _ = strides[row]
        c_out, size_out, name = cut_channels(c, arch.width), size.shrink(stride), f"features.{row + 1}"
        deep = Layer(
            f"{name}.0.0", "conv", channels, channels, 3, stride, channels, size, size_out, "relu6", dilation=dilation
        )
        point = Layer(f"{name}.1.0", "conv", channels, c_out, 1, 1, 1, size_out, size_out, "relu6")
        blocks.append(Block(name, "separable", str(row), (deep, point)))
        channels, size = c_out, size_out
    return tuple(blocks), After(channels, size, taps=(1 + 2 * LAST_STRIDED,) if arch.head in SSDS else ())
