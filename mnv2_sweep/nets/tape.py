"""Layers as they are appended, each of which reads maps by what they are, not by how far they lie back."""

from typing import Any, NamedTuple

from mnv2_sweep.base.size import Size
from mnv2_sweep.nets.plan import Block, Layer
from mnv2_sweep.nets.steps import State


class Map(NamedTuple):
    """A tensor of a step: its number (0 is what the step reads, i + 1 the output of its layer i; below 0 what lies
    before), channels and size."""

    number: int
    channels: int
    size: Size


class Tape:
    """The layers of a step, and the blocks that they are cut into."""

    def __init__(self, state: State):
        self.layers: list[Layer] = []
        self.blocks: list[Block] = []
        self.input = Map(0, state.channels, state.size)
        self.held = [Map(-each.back, each.channels, each.size) for each in state.held]
        self._cut = 0

    def add(
        self, name: str, op: str, *maps: Map, c_out: int | None = None, size: Size | None = None, kernel: int = 1,
        stride: int = 1, groups: int = 1, norm: bool = False, **more: Any,
    ) -> Map:  # fmt: skip
        """Append a layer that reads these maps; without c_out it keeps their channels, or has all of them in a concat;
        without a size the map's is shrunk by the stride."""
        x = maps[0]
        c_in = sum(each.channels for each in maps) if op == "concat" else x.channels
        c_out, size = c_out or c_in, size or x.size.shrink(stride)
        reads = tuple(each.number - len(self.layers) - 1 for each in maps)
        self.layers.append(
            Layer(name, op, c_in, c_out, kernel, stride, groups, x.size, size, norm=norm, reads=reads, **more)
        )
        return Map(len(self.layers), c_out, size)

    def conv(self, name: str, x: Map, c_out: int, kernel: int = 1, **more: Any) -> Map:
        """Append a convolution, with batch norm unless it is said otherwise."""
        return self.add(name, "conv", x, c_out=c_out, kernel=kernel, **{"norm": True, **more})

    def deep(self, name: str, x: Map, stride: int = 1, **more: Any) -> Map:
        """Append a depthwise 3x3 convolution with batch norm."""
        return self.conv(name, x, x.channels, 3, stride=stride, groups=x.channels, **more)

    def cut(self, name: str, kind: str, stage: str, shortcut: str | None = None, anchors: tuple = ()) -> None:
        """Make a block of the layers since the last one."""
        layers = tuple(self.layers[self._cut :])
        self.blocks.append(Block(name, kind, stage, layers, shortcut, anchors=anchors))
        self._cut = len(self.layers)
