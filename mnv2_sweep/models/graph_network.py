"""Graph -> the same network in torch, run node by node: what a file of it computes, without a runtime."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from mnv2_sweep.formats.graph import Graph, Node


class GraphNetwork(nn.Module):
    """The network of a graph: images as its files read them, [N, channels, height, width] -> logits [N, classes]."""

    def __init__(self, graph: Graph):
        super().__init__()
        self.graph = graph
        for node in (node for node in graph.nodes if node.weight is not None):
            for part in ("weight", "bias"):
                self.register_buffer(_buffer(node, part), torch.from_numpy(getattr(node, part)))

    def forward(self, images: Tensor) -> Tensor:
        return self.run(images)[-1].flatten(1)

    def run(self, images: Tensor) -> list[Tensor]:
        """Return every tensor of the graph, the images first."""
        tensors = [images]
        for node in self.graph.nodes:
            reads = [tensors[read] for read in node.reads]
            if node.weight is not None:
                reads += [getattr(self, _buffer(node, part)) for part in ("weight", "bias")]
            made = RUN.get(node.op, _activation)(node, *reads)
            tensors.append(ACTIVATIONS[node.act](made) if node.act else made)
        return tensors


def _buffer(node: Node, part: str) -> str:
    """Return the name of a node's weight or bias; torch's names of a module's own tensors have no dots."""
    return f"{node.name}.{part}".replace(".", "_")


def _conv(node: Node, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    top, left, bottom, right = node.pads
    if top >= bottom and left >= right:  # what a kernel does not reach may as well be there
        return functional.conv2d(x, weight, bias, node.stride, (top, left), groups=node.groups)
    return functional.conv2d(_pad(node, x, 0.0), weight, bias, node.stride, groups=node.groups)


def _max_pool(node: Node, x: Tensor) -> Tensor:
    return functional.max_pool2d(_pad(node, x, -torch.inf), node.kernel, node.stride)


def _avg_pool(node: Node, x: Tensor) -> Tensor:
    """Return the mean over what is in the map."""
    inside = _pad(node, torch.ones_like(x[:1, :1]), 0.0)
    total = functional.avg_pool2d(_pad(node, x, 0.0), node.kernel, node.stride)
    return total / functional.avg_pool2d(inside, node.kernel, node.stride)


def _pad(node: Node, x: Tensor, value: float) -> Tensor:
    top, left, bottom, right = node.pads
    return functional.pad(x, (left, right, top, bottom), value=value) if any(node.pads) else x


def _shuffle(node: Node, x: Tensor) -> Tensor:
    return x.unflatten(1, (node.groups, -1)).transpose(1, 2).flatten(1, 2)


def _activation(node: Node, x: Tensor) -> Tensor:
    return ACTIVATIONS[node.op](x)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu, "relu6": functional.relu6, "hswish": functional.hardswish, "sigmoid": torch.sigmoid
}  # fmt: skip
RUN: dict[str, Callable[..., Tensor]] = {
    "conv": _conv,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "shuffle": _shuffle,
    "shift": lambda node, x: functional.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:],
    "add": lambda node, x, other: x + other,
    "multiply": lambda node, x, other: x * other,
    "concat": lambda node, *maps: torch.cat(maps, 1),
    "global_pool": lambda node, x: x.mean(dim=(2, 3), keepdim=True),
}
