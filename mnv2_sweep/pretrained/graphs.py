"""What a graph (TF-Lite, ONNX) says of each convolution beside its numbers -> whether it is ours, and its padding."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mnv2_sweep.base.errors import WeightsError
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.plan import Layer
from mnv2_sweep.nets.resolve import resolve
from mnv2_sweep.pretrained.units import Norm, Unit

PADDINGS = {"same": (0, 1), "torch": (1, 1)}  # pixels before and after a 3x3 kernel of stride 2 on a map of even size


@dataclass(eq=False)
class Operator:
    """A convolution of a graph while it is read; `pads` are the pixels before and after, "same" for TensorFlow's."""

    name: str
    kernel: np.ndarray
    bias: np.ndarray | None
    stride: int
    pads: tuple[int, int] | str
    groups: int = 1
    norm: Norm | None = None
    cap: float | None = None  # 6 where a ReLU6 follows

    @property
    def unit(self) -> Unit:
        """Return its arrays alone."""
        return Unit(self.name, self.kernel, self.norm, self.bias)


def check_graph(operators: Sequence[Operator], joins: int, arch: ArchSpec, where: str) -> str:
    """Return the padding of the graph's layers of stride 2, "same" or "torch", if all else is as in our network.

    `joins` is the number of additions of two maps. Raises WeightsError.
    """
    blocks = resolve(arch).blocks
    wanted = sum(block.shortcut is not None for block in blocks)
    if joins != wanted:
        raise WeightsError(f"{where}: it adds maps {joins} times, a MobileNetV2 {wanted} times")
    paddings: dict[bool, set[str]] = {True: set(), False: set()}  # by whether the map's side is even
    layers = [layer for block in blocks for layer in block.convs if layer.op == "conv"]
    for layer, one in zip(layers, operators, strict=False):
        if (one.stride, one.groups) != (layer.stride, layer.groups):
            raise WeightsError(f"{where}: {one.name} has stride {one.stride} and {one.groups} groups, in a MobileNetV2 "
                               f"{layer.stride} and {layer.groups}")  # fmt: skip
        if (one.cap or 0) != (6 if layer.act else 0):
            raise WeightsError(f"{where}: {one.name} is followed by {_cap_words(one.cap)}, in a MobileNetV2 by "
                               f"{_cap_words(6 if layer.act else None)}")  # fmt: skip
        paddings[layer.size_in.height % 2 == 0] |= {_padding(one, layer, where)} - {""}
    found = paddings[True] or paddings[False]  # at an odd side both are one pixel on each side
    if len(found) != 1:
        raise WeightsError(f"{where}: its layers of stride 2 pad in {len(found)} ways ({', '.join(sorted(found))})")
    return found.pop()


def _padding(one: Operator, layer: Layer, where: str) -> str:
    """Return how a layer of stride 2 pads, "" for others. Raises WeightsError where it pads as no MobileNetV2 does."""
    if layer.stride == 1:
        if one.pads not in ("same", (layer.kernel // 2,) * 2):
            raise WeightsError(f"{where}: {one.name} pads with {one.pads}, {(layer.kernel // 2,) * 2} or SAME allowed")
        return ""
    if one.pads == "same":
        return "same"
    found = [name for name, pads in PADDINGS.items() if pads == one.pads]
    if not found:
        raise WeightsError(f"{where}: {one.name} pads with {one.pads}; (1, 1) as torch or (0, 1) as TensorFlow allowed")
    return found[0]


def _cap_words(cap: float | None) -> str:
    return "no activation" if not cap else "a ReLU" if cap == float("inf") else f"a ReLU up to {cap:g}"
