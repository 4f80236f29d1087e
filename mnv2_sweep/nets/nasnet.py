"""ArchSpec -> blocks of a NASNet-A mobile, 4 @ 1056 (Zoph et al., arXiv 1707.07012, figure 4, as TF-slim builds it).

The auxiliary head is left out, as it is there in training only. A cell reads the outputs of the two cells before it,
here called now (the last) and before; it brings both to its own channels, makes five sums of two branches each, and
joins what none of its own sums has used. A ReLU comes before every convolution. Whatever reads a cell's output begins
with one, so the plan has it at the output's end; inside a cell, pools and sums read the tensor as it is, so there it
is a layer of its own.
"""

from typing import NamedTuple

from mnv2_sweep.base.size import Size
from mnv2_sweep.nets.arch import SSDS, ArchSpec, input_size
from mnv2_sweep.nets.plan import Block, Layer
from mnv2_sweep.nets.steps import After, State

# The stem does not grow with the width: the 1056 of "4 @ 1056" is 24 times the cells' filters, which is what the width
# scales, and TF-slim's stem has a multiplier of its own beside it (1 for "mobile", 3 for "large").
STEM_CHANNELS = 32
FILTERS = 44  # of the first normal cells; doubled by each reduction cell
# Cells in order: stage, whether it halves the map, its filters in units of FILTERS.
CELLS = (
    ("stem", True, 1 / 4),
    ("stem", True, 1 / 2),
    *[("1", False, 1)] * 4,
    ("reduction 1", True, 2),
    *[("2", False, 2)] * 4,
    ("reduction 2", True, 4),
    *[("3", False, 4)] * 4,
)


class Map(NamedTuple):
    """A tensor of the network: its number in the Plan, channels and size."""

    number: int
    channels: int
    size: Size


def scale_filters(width: float) -> int:
    """Return the nearest multiple of 4, at least 4: the second stem cell has half of them, and makes two equal halves
    of these."""
    return max(1, int(FILTERS * width / 4 + 0.5)) * 4


def build_nasnet(state: State, at: int, row: int, arch: ArchSpec) -> tuple[tuple[Block, ...], tuple]:
    """Make stem and sixteen cells, all before the head: a step (`nets.steps`). A detector reads what goes into the last
    reduction cell, and the last map."""
    # The stem has no padding in TF-slim. Images of one or two pixels get it, as nothing would be left of them.
    image = input_size(arch)
    bare = min(image) >= 3
    size = Size(*((side - 1) // 2 for side in image)) if bare else image.shrink(2)
    padding = 0 if bare else None
    layers = [
        Layer("features.0.0", "conv", arch.in_channels, STEM_CHANNELS, 3, 2, 1, image, size, "relu", padding=padding)
    ]
    blocks = [Block("features.0", "conv", "stem", tuple(layers))]
    before, now, before_is_larger = None, Map(1, STEM_CHANNELS, size), False
    reduced = now
    for stage, halves, scale in CELLS:
        name, start = f"features.{len(blocks)}", len(layers)
        reduced = now if halves else reduced
        filters, make = int(scale_filters(arch.width) * scale), _reduction_cell if halves else _normal_cell
        # The first cell has nothing before its input: TF-slim takes this twice, the second time as it is.
        second = now
        if before is not None:
            # In a reduction cell, all that reads the second input begins with a ReLU.
            second = _fit_before(layers, name, before, filters, before_is_larger, "relu" if halves else "")
        first = _add_conv(layers, f"{name}.now.0", now, filters)
        before, now, before_is_larger = now, make(layers, name, first, second), halves
        blocks.append(Block(name, "cell", stage, tuple(layers[start:])))
    return tuple(blocks), After(now.channels, now.size, taps=(reduced.number,) if arch.head in SSDS else ())


def _fit_before(layers: list[Layer], name: str, before: Map, filters: int, larger: bool, act: str) -> Map:
    """Return the cell's second input: `before`, brought to the cell's channels and to the size of its first input.

    Whether it is larger follows from the cells and not, as in TF-slim, from the sizes: of a small image both may be
    one pixel, and the network shall have the same convolutions at every resolution.
    """
    if not larger:
        return _add_conv(layers, f"{name}.before.0", before, filters, act)
    # Half the map without losing every second pixel: half of the channels see the pixels at even places, the others
    # those at odd ones. TF-slim has one batch norm over both, which is the same as one for each.
    even = _add_conv(layers, f"{name}.before.0", before, filters // 2, act, 2)
    shifted = _add(layers, f"{name}.before.shift", "shift", before)
    odd = _add_conv(layers, f"{name}.before.2", shifted, filters // 2, act, 2)
    return _add(layers, f"{name}.before.join", "concat", even, odd)


def _normal_cell(layers: list[Layer], name: str, now: Map, before: Map) -> Map:
    """Add a cell that turns its two inputs into its output, with six times their channels."""
    filters = now.channels
    relu_now = _add(layers, f"{name}.now.relu", "relu", now)
    relu_before = _add(layers, f"{name}.before.relu", "relu", before)
    left = _add_separable(layers, f"{name}.left0", relu_now, filters, 5)
    sum0 = _add_separable(layers, f"{name}.right0", relu_before, filters, 3, plus=left)
    left = _add_separable(layers, f"{name}.left1", relu_before, filters, 5)
    sum1 = _add_separable(layers, f"{name}.right1", relu_before, filters, 3, plus=left)
    left = _add(layers, f"{name}.left2", "avg_pool", now, kernel=3)
    sum2 = _add(layers, f"{name}.sum2", "add", left, before)
    both = _add(layers, f"{name}.left3", "avg_pool", before, kernel=3)  # left and right branch are the same
    sum3 = _add(layers, f"{name}.sum3", "add", both, both)
    sum4 = _add_separable(layers, f"{name}.left4", relu_now, filters, 3, plus=now)
    return _add(layers, f"{name}.join", "concat", before, sum0, sum1, sum2, sum3, sum4, act="relu")


def _reduction_cell(layers: list[Layer], name: str, now: Map, before: Map) -> Map:
    """Add a cell that turns its two inputs, the second after its ReLU, into its output, half as large, with four times
    the channels."""
    filters = now.channels
    relu_now = _add(layers, f"{name}.now.relu", "relu", now)
    left = _add_separable(layers, f"{name}.left0", relu_now, filters, 5, 2)
    sum0 = _add_separable(layers, f"{name}.right0", before, filters, 7, 2, plus=left)
    largest = _add(layers, f"{name}.left1", "max_pool", now, kernel=3, stride=2)  # and the last sum's right branch
    sum1 = _add_separable(layers, f"{name}.right1", before, filters, 7, 2, plus=largest)
    left = _add(layers, f"{name}.left2", "avg_pool", now, kernel=3, stride=2)
    sum2 = _add_separable(layers, f"{name}.right2", before, filters, 5, 2, plus=left)
    right = _add(layers, f"{name}.right3", "avg_pool", sum0, kernel=3)
    sum3 = _add(layers, f"{name}.sum3", "add", sum1, right)
    relu_sum0 = _add(layers, f"{name}.left4.relu", "relu", sum0)
    sum4 = _add_separable(layers, f"{name}.left4", relu_sum0, filters, 3, plus=largest)
    return _add(layers, f"{name}.join", "concat", sum1, sum2, sum3, sum4, act="relu")


def _add_separable(
    layers: list[Layer], name: str, x: Map, c_out: int, kernel: int, stride: int = 1, plus: Map | None = None
) -> Map:
    """Append a depthwise and a 1x1 convolution, nothing in between, twice; the first depthwise one has the stride."""
    for at, deep_stride in ((0, stride), (3, 1)):
        deep = f"{name}.{at}"
        x = _add(layers, deep, "conv", x, kernel=kernel, stride=deep_stride, groups=x.channels, bias=False)
        last = at == 3
        x = _add_conv(layers, f"{name}.{at + 1}", x, c_out, "" if last else "relu", plus=plus if last else None)
    return x


def _add_conv(
    layers: list[Layer], name: str, x: Map, c_out: int, act: str = "", stride: int = 1, plus: Map | None = None
) -> Map:
    """Append a 1x1 convolution with batch norm."""
    maps = (x,) if plus is None else (x, plus)
    return _add(layers, name, "conv", *maps, c_out=c_out, stride=stride, act=act, norm=True)


def _add(
    layers: list[Layer],
    name: str,
    op: str,
    *maps: Map,
    c_out: int | None = None,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    act: str = "",
    norm: bool = False,
    bias: bool = True,
) -> Map:
    """Append a layer that reads these maps; without c_out it keeps their channels, or has all of them in a concat."""
    x = maps[0]
    c_in = sum(each.channels for each in maps) if op == "concat" else x.channels
    c_out, size_out = c_out or c_in, x.size.shrink(stride)
    reads = tuple(each.number - len(layers) - 1 for each in maps)
    act = "relu" if op == "relu" else act
    layers.append(Layer(name, op, c_in, c_out, kernel, stride, groups, x.size, size_out, act, norm, reads, bias=bias))
    return Map(len(layers), c_out, size_out)
