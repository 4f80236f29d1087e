"""ArchSpec -> Plan of a MobileNetV2 (paper, section 3, tables 1 and 2)."""

from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.plan import Block, Layer, Plan, classifier_block, round_channels

# By whether a block has a layer before its depthwise one, and whether that is an expansion.
ROLES = {
    (True, True): ("expand", "depthwise", "project"), (True, False): ("sum", "depthwise", "project"),
    (False, False): ("depthwise", "project"),
}  # fmt: skip
STEM_CHANNELS = 32  # paper, table 2, first row; scaled by the width multiplier like every block


def resolve_mobilenet_v2(arch: ArchSpec) -> Plan:
    """Make a plan of stem, bottlenecks, last convolution, classifier; names are torchvision's."""
    channels, size = round_channels(STEM_CHANNELS * arch.width), -(-arch.resolution // 2)
    stem = Layer("features.0.0", "conv", 3, channels, 3, 2, 1, arch.resolution, size, arch.activation)
    blocks = [Block("features.0", "conv", "stem", (stem,))]
    for row, stage in enumerate(arch.stages):
        c_out = round_channels(stage.c * arch.width)
        for repeat in range(stage.n):
            stride = stage.s if repeat == 0 else 1
            blocks.append(_bottleneck(arch, str(row), channels, c_out, stage.t, stride, size, blocks))
            channels, size = c_out, -(-size // stride)
    # Below width 1 the last convolution keeps its channels (paper, section 4).
    last = round_channels(arch.last_channels * (arch.width if arch.scale_last_conv else max(1.0, arch.width)))
    name = f"features.{len(blocks)}"
    conv = Layer(f"{name}.0", "conv", channels, last, 1, 1, 1, size, size, arch.activation)
    blocks.append(Block(name, "conv", "last", (conv,)))
    blocks.append(classifier_block(last, size, arch.classes))
    return Plan(tuple(blocks), arch.resolution, arch.dropout)


def _bottleneck(
    arch: ArchSpec, row: str, c_in: int, c_out: int, t: int, stride: int, size: int, blocks: list[Block]
) -> Block:
    """Make a block as in the paper's table 1: 1x1 expansion + ReLU6 (left out at t = 1), depthwise + ReLU6, linear 1x1
    projection."""
    act = arch.activation
    hidden, size_out, before = c_in * t, -(-size // stride), blocks[-1]
    name = f"features.{len(blocks)}"
    narrow = arch.residual == "bottleneck" and stride == 1 and c_in == c_out
    wide = arch.residual == "expansion" and before.kind == "bottleneck"
    wide = wide and before.find("depthwise").stride == 1 and before.hidden == hidden
    layers = []
    # Behind the block's input, which is -1, lie the block before's projection and then its expanded tensor.
    if t > 1:
        reads = (-1, -3) if wide else (-1,)
        layers.append(Layer(f"{name}.conv.0.0", "conv", c_in, hidden, 1, 1, 1, size, size, act, True, reads))
    elif wide:
        layers.append(Layer(f"{name}.sum", "add", c_in, c_in, 1, 1, 1, size, size, norm=False, reads=(-1, -3)))
    at = int(t > 1)
    groups = hidden if arch.depthwise else 1
    deep = Layer(f"{name}.conv.{at}.0", "conv", hidden, hidden, arch.kernel, stride, groups, size, size_out, act)
    reads = (-1, -2 - len(layers)) if narrow else (-1,)
    act = "" if arch.linear_bottleneck else act
    project = Layer(
        f"{name}.conv.{at + 1}", "conv", hidden, c_out, 1, 1, 1, size_out, size_out, act, True, reads, None, narrow
    )
    shortcut = "bottleneck" if narrow else "expansion" if wide else None
    return Block(name, "bottleneck", row, (*layers, deep, project), shortcut, ROLES[bool(layers), t > 1])
