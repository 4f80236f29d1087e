"""Plan and weights -> Graph: the network as a device runs it, which `onnx` and `tflite` write.

Batch norms are folded into the convolutions before them, in float64; dropout is gone. The classifier is a 1x1
convolution on a 1x1 map, so that there is one kind of weights. Tensor 0 is the image, tensor i + 1 what node i makes;
weights are float32 [out, in / groups, kernel, kernel], biases [out]. Borders are as the plan has them: torch's, or
TensorFlow's SAME, with kernels the right way round (`models.padding.upright_state`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.size import Size
from mnv2_sweep.nets.arch import CLASSIFIER, SAME
from mnv2_sweep.nets.plan import WEIGHTED, Layer, Plan, norm_name

CLAMPS = {"relu": (0.0, np.inf), "relu6": (0.0, 6.0)}  # activations that only limit the values
CLAMPED = ("conv", "add")  # what such a limit becomes a part of
POOLS = ("max_pool", "avg_pool")
MOVES = (*POOLS, "shuffle", "shift")  # what they make has no value beyond those that they read
EPSILON = 1e-5  # torch's, in batch norm


class Pads(NamedTuple):
    """Rows and columns around a map, as many as the kernel reaches."""

    top: int = 0
    left: int = 0
    bottom: int = 0
    right: int = 0


class Map(NamedTuple):
    """The shape of a tensor, for one image."""

    channels: int
    size: Size


@dataclass(frozen=True, eq=False)
class Node:
    """One operation.

    `op`: "conv" | "add" | "multiply" | "concat" | "global_pool" | one of MOVES | an activation, where it is not `act`,
    the limit of what a "conv" or an "add" makes. "concat" joins channels; the second map of "multiply" may be 1x1.
    """

    name: str
    op: str
    reads: tuple[int, ...]
    makes: Map
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    pads: Pads = Pads()
    act: str = ""
    weight: np.ndarray | None = None
    bias: np.ndarray | None = None

    @property
    def is_depthwise(self) -> bool:
        """Say whether it is a convolution with a kernel of its own for each channel, and one output for each."""
        return self.weight is not None and self.weight.shape[1] == 1 and self.groups == self.makes.channels > 1


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in the order in which they run; the last one's output, a 1x1 map, is the network's."""

    image: Map
    nodes: tuple[Node, ...]

    @property
    def maps(self) -> list[Map]:
        """Return the shape of every tensor."""
        return [self.image, *(node.makes for node in self.nodes)]

    @property
    def outputs(self) -> int:
        """Return how many values the network gives for an image: one a class."""
        return self.nodes[-1].makes.channels


def fold_plan(plan: Plan, state: Mapping[str, Any], epsilon: float = EPSILON) -> Graph:
    """Make the graph of a plan from a state_dict by its names, of arrays or of torch's tensors on the CPU.

    `epsilon` is that of the batch norms. Raises KeyError where a name is missing, ValueError where a shape is another,
    SweepError where it does not end in a classifier.
    """
    return _lower(plan, lambda layer: fold_layer(layer, state, epsilon))


def lower_plan(plan: Plan) -> Graph:
    """Make the graph of a plan without weights: which operations run, on which tensors. Raises SweepError where it does
    not end in a classifier."""
    return _lower(plan, lambda layer: (None, None))


def _lower(plan: Plan, find_weights: Callable[[Layer], tuple]) -> Graph:
    if plan.head != CLASSIFIER:
        raise SweepError(f"head: {plan.head} given; only networks that end in a classifier are written to files")
    nodes: list[Node] = []
    places = [0]  # tensor of the plan -> tensor of the graph
    for i, layer in enumerate(plan.layers):
        reads = [places[i + back + 1] for back in layer.reads]
        weights = find_weights(layer) if layer.op in WEIGHTED else ()
        places.append(_append(nodes, layer, reads, weights))
    return Graph(Map(*plan.image), tuple(nodes))


def fold_layer(layer: Layer, state: Mapping[str, Any], epsilon: float = EPSILON) -> tuple[np.ndarray, np.ndarray]:
    """Return a convolution's weight and bias with the batch norm behind it folded in."""

    def read(name: str) -> np.ndarray:
        return np.asarray(state[name]).astype(np.float64)

    weight = read(f"{layer.name}.weight").reshape(layer.c_out, layer.c_in // layer.groups, layer.kernel, layer.kernel)
    if layer.norm:
        norm = norm_name(layer.name)
        scale = read(f"{norm}.weight") / np.sqrt(read(f"{norm}.running_var") + epsilon)
        weight = weight * scale[:, None, None, None]
        bias = read(f"{norm}.bias") - read(f"{norm}.running_mean") * scale
    else:
        bias = read(f"{layer.name}.bias") if layer.bias else np.zeros(layer.c_out)
    return weight.astype(np.float32), bias.astype(np.float32)


def _append(nodes: list[Node], layer: Layer, reads: list[int], weights: tuple) -> int:
    """Append a layer's operation, what is added to it, pair by pair, and its activation; return the last tensor."""
    makes, made = Map(layer.c_out, layer.size_out), reads[0]
    start = len(nodes)

    def append(op: str, others: list[int], **more: Any) -> int:
        more_names = f".{len(nodes) - start}" if len(nodes) > start else ""
        nodes.append(Node(f"{layer.name}{more_names}", op, (made, *others), makes, **more))
        return len(nodes)

    def activate() -> int:
        if layer.act in CLAMPS and len(nodes) > start and nodes[-1].op in CLAMPED:
            nodes[-1] = replace(nodes[-1], act=layer.act)
            return made
        return append(layer.act, []) if layer.act else made

    joined = layer.op in (*WEIGHTED, "add")  # what else it reads is added to it
    shape = {"kernel": layer.kernel, "stride": layer.stride, "groups": layer.groups, "pads": find_pads(layer)}
    if weights:
        made = append("conv", [], weight=weights[0], bias=weights[1], **shape)
    elif layer.op not in ("add", "relu"):
        made = append(layer.op, reads[1:], **(shape if layer.op in MOVES else {}))
    if layer.sum_last:
        made = activate()
    for other in reads[1:] if joined else []:
        made = append("add", [other])
    return made if layer.sum_last else activate()


def find_pads(layer: Layer) -> Pads:
    """Return the border that a layer's kernel reads."""
    if layer.padding == SAME:
        return same_pads(layer.size_in, layer.kernel, layer.stride)
    (top, bottom), (left, right) = (
        (before, max(0, (made - 1) * layer.stride + layer.kernel - read - before))
        for read, made in zip(layer.size_in, layer.size_out, strict=True)
        for before in [layer.kernel // 2 if layer.padding is None else layer.padding]
    )
    return Pads(top, left, bottom, right)


def same_pads(size: Size, kernel: int, stride: int) -> Pads:
    """Return what TensorFlow calls SAME: half of what is missing before, the other half and an odd one after."""
    missing = [
        max(0, (made - 1) * stride + kernel - read) for read, made in zip(size, size.shrink(stride), strict=True)
    ]
    return Pads(missing[0] // 2, missing[1] // 2, missing[0] - missing[0] // 2, missing[1] - missing[1] // 2)
