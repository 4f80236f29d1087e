"""ArchSpec -> blocks of the ResNet-101 that DeepLabv3 stands on (tensorflow/models, deeplab, core/resnet_v1_beta.py).

Unlike the usual one its stem is three 3x3 convolutions, and the stride of a stage is in its last unit.
"""

from mnv2_sweep.nets.arch import ArchSpec, input_size
from mnv2_sweep.nets.dilate import dilate_rows
from mnv2_sweep.nets.plan import cut_channels
from mnv2_sweep.nets.steps import After, State
from mnv2_sweep.nets.tape import Map, Tape

STEM = ((64, 2), (64, 1), (128, 1))  # channels, stride
STAGES = ((64, 3, 2), (128, 4, 2), (256, 23, 2), (512, 3, 1))  # channels within, units, stride of the last unit
MULTI_GRID = (1, 2, 4)  # dilations of the last stage's units, times the network's
GROWTH = 4  # channels of a unit's output for each within


def build_resnet101(state: State, at: int, row: int, arch: ArchSpec) -> tuple:
    """Make all before the head, a step (`nets.steps`)."""
    tape, x = Tape(state), Map(0, arch.in_channels, input_size(arch))
    for i, (channels, stride) in enumerate(STEM):
        x = tape.conv(f"stem.{2 * i}", x, cut_channels(channels, arch.width), 3, stride=stride, act="relu")
    tape.cut("stem", "conv", "stem")
    x = tape.add("pool", "max_pool", x, kernel=3, stride=2)
    tape.cut("pool", "pool", "stem")
    strides = [stride if i == units - 1 else 1 for _, units, stride in STAGES for i in range(units)]
    rows = iter(dilate_rows(4, [(stride, 1) for stride in strides], arch.output_stride))
    for stage, (channels, units, _) in enumerate(STAGES, 1):
        grid = MULTI_GRID if stage == len(STAGES) else (1,) * units
        for unit in range(units):
            stride, dilation, _ = next(rows)
            name = f"features.{stage}.{unit}"
            x = _add_unit(tape, name, x, cut_channels(channels, arch.width), stride, dilation * grid[unit])
            tape.cut(name, "residual", str(stage), "bottleneck")
    return tuple(tape.blocks), After(x.channels, x.size)


def _add_unit(tape: Tape, name: str, x: Map, channels: int, stride: int, dilation: int) -> Map:
    """Append 1x1, 3x3 and 1x1 convolutions; the unit's input is added before the last ReLU, by a 1x1 convolution where
    the channels differ, at every second place where the map is halved."""
    shortcut, c_out = x, GROWTH * channels
    if x.channels != c_out:
        shortcut = tape.conv(f"{name}.shortcut.0", x, c_out, stride=stride)
    elif stride > 1:
        shortcut = tape.add(f"{name}.shortcut", "max_pool", x, stride=stride, padding=0)
    y = tape.conv(f"{name}.conv.0", x, channels, act="relu")
    y = tape.conv(f"{name}.conv.2", y, channels, 3, stride=stride, dilation=dilation, act="relu")
    return tape.add(f"{name}.conv.4", "conv", y, shortcut, c_out=c_out, norm=True, act="relu")
