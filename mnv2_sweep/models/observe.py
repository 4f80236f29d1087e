"""Graph and images -> the Values of each of its tensors, from which `formats.quantize` takes its 8-bit steps.

The graph runs here in torch, node by node, so neither runtime needs to be there to write a file for it. The range is
from the smallest to the largest value: cutting off 0.001, 0.01 or 0.1 % on each side, or cutting for the least squared
error, was no better on photos (agreement with floats of MobileNetV2 0.35 and 1.0, within the noise or worse).
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn import functional

from mnv2_sweep.formats.graph import Graph, Node
from mnv2_sweep.formats.quantize import Values

IMAGES_AT_ONCE = 4  # all tensors of these are held


@torch.inference_mode()
def observe_values(graph: Graph, batches: Iterable[Tensor]) -> list[Values]:
    """Return what each tensor holds over batches of images [N, channels, height, width], the images first."""
    count, low, high, total = 0, None, None, None
    for images in (part for batch in batches for part in batch.split(IMAGES_AT_ONCE)):
        tensors = run_graph(graph, images)
        least, most = torch.stack([x.amin() for x in tensors]), torch.stack([x.amax() for x in tensors])
        means = [x.mean(dim=(2, 3)).sum(dim=0).double() for x in tensors]
        low = least if low is None else torch.minimum(low, least)
        high = most if high is None else torch.maximum(high, most)
        total = means if total is None else [a + b for a, b in zip(total, means, strict=True)]
        count += len(images)
    ends = zip(low.tolist(), high.tolist(), total, strict=True)
    return [Values(least, most, (sums / count).numpy()) for least, most, sums in ends]


def run_graph(graph: Graph, images: Tensor) -> list[Tensor]:
    """Return every tensor of the graph for images [N, channels, height, width], the images first."""
    tensors = [images]
    for node in graph.nodes:
        made = RUN.get(node.op, _activation)(node, *(tensors[read] for read in node.reads))
        tensors.append(ACTIVATIONS[node.act](made) if node.act else made)
    return tensors


def _conv(node: Node, x: Tensor) -> Tensor:
    weight, bias = torch.from_numpy(node.weight), torch.from_numpy(node.bias)
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
    return functional.pad(x, (left, right, top, bottom), value=value)


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
