"""ArchSpec -> blocks of a VGG-16 as SSD stands on it (weiliu89/caffe, ssd), fc6 and fc7 as convolutions.

It has biases and ReLU, no batch norm. SSD reads conv4_3, before its pool, and fc7, the last map.
"""

from mnv2_sweep.nets.arch import ArchSpec, input_size
from mnv2_sweep.nets.plan import cut_channels
from mnv2_sweep.nets.steps import After, State
from mnv2_sweep.nets.tape import Map, Tape

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels, convolutions
FC_CHANNELS, FC_DILATION = 1024, 6


def build_vgg16(state: State, at: int, row: int, arch: ArchSpec) -> tuple:
    """Make all before the head, a step (`nets.steps`)."""
    tape, style = Tape(state), {"act": "relu", "norm": False}
    x, fine = Map(0, arch.in_channels, input_size(arch)), 0
    for stage, (channels, convs) in enumerate(STAGES, 1):
        for i in range(convs):
            x = tape.conv(f"features.{stage}.{i}", x, cut_channels(channels, arch.width), 3, **style)
        tape.cut(f"features.{stage}", "conv", str(stage))
        fine = x.number if stage == 4 else fine
        pool = {"kernel": 2, "stride": 2, "padding": 0} if stage < 5 else {"kernel": 3}
        x = tape.add(f"pool.{stage}", "max_pool", x, **pool)
        tape.cut(f"pool.{stage}", "pool", str(stage))
    channels = cut_channels(FC_CHANNELS, arch.width)
    x = tape.conv("features.6.0", x, channels, 3, dilation=FC_DILATION, **style)
    x = tape.conv("features.7.0", x, channels, **style)
    tape.cut("features.6", "conv", "last")
    return tuple(tape.blocks), After(x.channels, x.size, taps=(fine,))
