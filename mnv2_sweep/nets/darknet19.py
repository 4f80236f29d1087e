"""ArchSpec -> blocks of a Darknet-19 as YOLOv2 stands on it (pjreddie/darknet, cfg/yolov2.cfg).

Batch norm and leaky ReLU after each convolution. YOLOv2 reads the map before the last pool, and the last map.
"""

from mnv2_sweep.nets.arch import ArchSpec, input_size
from mnv2_sweep.nets.plan import cut_channels
from mnv2_sweep.nets.steps import After, State
from mnv2_sweep.nets.tape import Map, Tape

# Channels of the convolutions of each stage, in turns 3x3 and 1x1; a pool comes before every stage but the first.
STAGES = ((32,), (64,), (128, 64, 128), (256, 128, 256), (512, 256, 512, 256, 512), (1024, 512, 1024, 512, 1024))


def build_darknet19(state: State, at: int, row: int, arch: ArchSpec) -> tuple:
    """Make all before the head, a step (`nets.steps`)."""
    tape, x = Tape(state), Map(0, arch.in_channels, input_size(arch))
    fine = 0
    for stage, convs in enumerate(STAGES):
        if stage > 0:
            fine = x.number
            x = tape.add(f"pool.{stage}", "max_pool", x, kernel=2, stride=2, padding=0)
            tape.cut(f"pool.{stage}", "pool", str(stage))
        for i, channels in enumerate(convs):
            kernel = 3 if i % 2 == 0 else 1
            x = tape.conv(f"features.{stage}.{2 * i}", x, cut_channels(channels, arch.width), kernel, act="leaky")
        tape.cut(f"features.{stage}", "conv", str(stage))
    return tuple(tape.blocks), After(x.channels, x.size, taps=(fine,))
