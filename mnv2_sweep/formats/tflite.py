"""Graph -> a TFLite file (LiteRT); with 8 bits inside, floats or bytes at its two ends.

Maps are [1, height, width, channels]; a runtime may resize the 1 to any number of images. TFLite knows two borders,
none and SAME; where torch's is neither, a PAD stands before a convolution, and a pool runs at every pixel and then
loses what its stride skips. The schema is that of the package `tflite`, which FlatBuffers' compiler made.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tflite import ActivationFunctionType, Padding

from mnv2_sweep.base.files import write_whole
from mnv2_sweep.formats.flatbuffer import NO_STEPS, Operator, Tensor, pack_model
from mnv2_sweep.formats.graph import Graph, Map, Node, Pads, same_pads
from mnv2_sweep.formats.quantize import Quantized, Scale

IMAGE, LOGITS, METADATA = "image", "logits", "mnv2_sweep"
FLOAT, BYTE, UNSIGNED = np.dtype(np.float32), np.dtype(np.int8), np.dtype(np.uint8)
# Operations: their options, and the version that a runtime must know, for floats and for 8 bits.
OPERATORS = {
    "ADD": ("AddOptions", 1, 2),
    "AVERAGE_POOL_2D": ("Pool2DOptions", 1, 2),
    "CONCATENATION": ("ConcatenationOptions", 1, 2),
    "CONV_2D": ("Conv2DOptions", 1, 3),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", 1, 3),
    "DEQUANTIZE": ("DequantizeOptions", 2, 2),
    "HARD_SWISH": ("HardSwishOptions", 1, 1),
    "LOGISTIC": ("", 1, 2),
    "MAX_POOL_2D": ("Pool2DOptions", 1, 2),
    "MEAN": ("ReducerOptions", 1, 2),
    "MUL": ("MulOptions", 1, 2),
    "PAD": ("PadOptions", 1, 2),
    "QUANTIZE": ("QuantizeOptions", 1, 1),
    "RELU": ("", 1, 2),
    "RELU6": ("", 1, 2),
    "RESHAPE": ("ReshapeOptions", 1, 1),
    "STRIDED_SLICE": ("StridedSliceOptions", 1, 2),
    "TRANSPOSE": ("TransposeOptions", 1, 2),
}
GROUPED_VERSION = 6  # of CONV_2D with groups
FUSED = {
    "": ActivationFunctionType.NONE,
    "relu": ActivationFunctionType.RELU,
    "relu6": ActivationFunctionType.RELU6,
}
ACTIVATIONS = {"relu": "RELU", "relu6": "RELU6", "hswish": "HARD_SWISH", "sigmoid": "LOGISTIC"}


def write_tflite(path: Path, graph: Graph, about: Mapping[str, Any], quantized: Quantized | None = None,
                 ends: str = "float") -> None:  # fmt: skip
    """Write the file, whole or not at all. `about` becomes its metadata "mnv2_sweep", as JSON. With 8 bits, its two
    ends are "float", "uint8" or "int8". Raises OSError."""
    write_whole(path, make_tflite(graph, about, quantized, ends))


def make_tflite(
    graph: Graph, about: Mapping[str, Any], quantized: Quantized | None = None, ends: str = "float"
) -> bytes:
    """Return the content of the file; see `write_tflite`."""
    writer = _Writer(graph, quantized)
    ends_at = writer.run("float" if quantized is None else ends)
    return pack_model(writer.tensors, writer.operators, ends_at, {METADATA: json.dumps(dict(about)).encode()})


class _Writer:
    """Tensors and operations of the file so far. `places[i]` is the number, in the file, of the graph's tensor i."""

    def __init__(self, graph: Graph, quantized: Quantized | None):
        self.graph, self.quantized = graph, quantized
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.places: list[int] = []

    def run(self, ends: str) -> tuple[int, int]:
        """Write every node; return the numbers of the network's input and output."""
        first = self.begin(ends)
        for i, node in enumerate(self.graph.nodes):
            EMIT.get(node.op, _activation)(self, i, node, [self.places[read] for read in node.reads])
            self.places.append(len(self.tensors) - 1)
        return first, self.end(ends)

    def begin(self, ends: str) -> int:
        """Write the image, and its way to 8 bits if need be."""
        shape = _nhwc(self.graph.image)
        if self.quantized is None or ends == "int8":
            self.places.append(self.tensor(IMAGE, shape, 0))
            return 0
        self.tensors.append(self.outer(IMAGE, shape, self.quantized.scales[0], ends))
        self.places.append(self.put("QUANTIZE", [0], self.tensor(f"{IMAGE}.q", shape, 0)))
        return 0

    def end(self, ends: str) -> int:
        """Write the flat logits, as the user wants them."""
        last, shape = len(self.graph.nodes), (1, self.graph.outputs)
        read = [self.places[-1], self.constant("shape", np.array([-1, self.graph.outputs], np.int32))]
        is_last = self.quantized is None or ends == "int8"
        made = self.put("RESHAPE", read, self.tensor(LOGITS if is_last else f"{LOGITS}.q", shape, last))
        if is_last:
            return made
        self.tensors.append(self.outer(LOGITS, shape, self.quantized.scales[last], ends))
        return self.put("QUANTIZE" if ends == "uint8" else "DEQUANTIZE", [made], len(self.tensors) - 1)

    def outer(self, name: str, shape: tuple[int, ...], scale: Scale, ends: str) -> Tensor:
        """Return an end of the network as floats or, shifted by half of their range, as bytes."""
        if ends == "float":
            return Tensor(name, shape, FLOAT)
        return Tensor(name, shape, UNSIGNED, None, np.array([scale.step]), scale.zero + 128)

    def tensor(self, name: str, shape: tuple[int, ...], of: int) -> int:
        """Add a tensor with the type and scale of the graph's tensor `of`; return its number."""
        if self.quantized is None:
            self.tensors.append(Tensor(name, shape, FLOAT))
        else:
            scale = self.quantized.scales[of]
            self.tensors.append(Tensor(name, shape, BYTE, None, np.array([scale.step]), scale.zero))
        return len(self.tensors) - 1

    def constant(self, name: str, content: np.ndarray, steps: np.ndarray = NO_STEPS, axis: int = 0) -> int:
        """Add a constant; return its number."""
        self.tensors.append(Tensor(name, content.shape, content.dtype, content, steps, 0, axis))
        return len(self.tensors) - 1

    def put(self, name: str, reads: list[int], makes: int, version: int | None = None, **options: Any) -> int:
        """Add an operation; return what it makes."""
        kind, *versions = OPERATORS[name]
        version = version or versions[self.quantized is not None]
        self.operators.append(Operator(name, version, reads, makes, kind, options))
        return makes

    def weights(self, i: int, node: Node) -> list[int]:
        """Add a convolution's weight and bias, with channels last."""
        order, axis = ((1, 2, 3, 0), 3) if node.is_depthwise else ((0, 2, 3, 1), 0)
        if self.quantized is None:
            values = ((node.weight, NO_STEPS), (node.bias, NO_STEPS))
        else:
            one = self.quantized.weights[i]
            values = ((one.weight, one.steps), (one.bias, one.bias_steps))
        (weight, steps), (bias, bias_steps) = values
        return [
            self.constant(f"{node.name}.weight", weight.transpose(order), steps, axis),
            self.constant(f"{node.name}.bias", bias, bias_steps),
        ]


def _nhwc(makes: Map) -> tuple[int, ...]:
    return (1, *makes.size, makes.channels)


# ---------------------------------------------------------------- operations: (writer, number, node, tensors)


def _conv(writer: _Writer, i: int, node: Node, reads: list[int]) -> None:
    same = _is_same(writer.graph, node)
    if not same and any(node.pads):
        reads = [_pad(writer, node, node.reads[0], reads[0], node.pads)]
    reads = [*reads, *writer.weights(i, node)]
    made = writer.tensor(node.name, _nhwc(node.makes), i + 1)
    padding = Padding.SAME if same else Padding.VALID
    shape = {"Padding": padding, "StrideW": node.stride, "StrideH": node.stride, **_limit(node)}
    if node.is_depthwise:
        writer.put("DEPTHWISE_CONV_2D", reads, made, DepthMultiplier=1, **shape)
    else:
        writer.put("CONV_2D", reads, made, GROUPED_VERSION if node.groups > 1 else None, **shape)


def _is_same(graph: Graph, node: Node) -> bool:
    return node.pads == same_pads(graph.maps[node.reads[0]].size, node.kernel, node.stride)


def _limit(node: Node) -> dict[str, int]:
    return {"FusedActivationFunction": FUSED[node.act]}


def _pad(writer: _Writer, node: Node, of: int, read: int, pads: Pads) -> int:
    """Put zeros around a map."""
    channels, size = writer.graph.maps[of]
    border = np.array([[0, 0], [pads.top, pads.bottom], [pads.left, pads.right], [0, 0]], np.int32)
    constant = writer.constant(f"{node.name}.border", border)
    shape = (1, size.height + pads.top + pads.bottom, size.width + pads.left + pads.right, channels)
    return writer.put("PAD", [read, constant], writer.tensor(f"{node.name}.pad", shape, of))


def _pool(op: str) -> Callable[[_Writer, int, Node, list[int]], None]:
    def emit(writer: _Writer, i: int, node: Node, reads: list[int]) -> None:
        same = _is_same(writer.graph, node)
        stride = node.stride if same else 1
        makes = node.makes if same else writer.graph.maps[node.reads[0]]
        shape = {"StrideW": stride, "StrideH": stride, "FilterWidth": node.kernel, "FilterHeight": node.kernel}
        name = node.name if same else f"{node.name}.all"
        made = writer.put(op, reads, writer.tensor(name, _nhwc(makes), i + 1), Padding=Padding.SAME, **shape)
        if not same:
            _slice(writer, i, node, made, 0, node.stride)

    return emit


def _slice(writer: _Writer, i: int, node: Node, read: int, first: int, stride: int) -> None:
    """Take every stride-th row and column, from the first on."""
    ends = {"first": [0, first, first, 0], "end": [0, 0, 0, 0], "strides": [1, stride, stride, 1]}
    reads = [writer.constant(f"{node.name}.{name}", np.array(value, np.int32)) for name, value in ends.items()]
    made = writer.tensor(node.name, _nhwc(node.makes), i + 1)
    writer.put("STRIDED_SLICE", [read, *reads], made, BeginMask=0b1001, EndMask=0b1111)  # of every image, every channel


def _shift(writer: _Writer, i: int, node: Node, reads: list[int]) -> None:
    """Move the map one pixel up and left; zeros come in from beyond the edge."""
    _slice(writer, i, node, _pad(writer, node, node.reads[0], reads[0], Pads(0, 0, 1, 1)), 1, 1)


def _shuffle(writer: _Writer, i: int, node: Node, reads: list[int]) -> None:
    """Make channel g of group c of channel c of group g."""
    (channels, size), groups = node.makes, node.groups

    def reshape(name: str, shape: tuple[int, ...], read: int) -> int:
        constant = writer.constant(f"{name}.shape", np.array((-1, *shape[1:]), np.int32))
        return writer.put("RESHAPE", [read, constant], writer.tensor(name, shape, i + 1))

    made = reshape(f"{node.name}.groups", (1, size.area, groups, channels // groups), reads[0])
    turn = writer.constant(f"{node.name}.turn", np.array([0, 1, 3, 2], np.int32))
    turned = writer.tensor(f"{node.name}.turned", (1, size.area, channels // groups, groups), i + 1)
    reshape(node.name, (1, *size, channels), writer.put("TRANSPOSE", [made, turn], turned))


def _join(op: str) -> Callable[[_Writer, int, Node, list[int]], None]:
    def emit(writer: _Writer, i: int, node: Node, reads: list[int]) -> None:
        made = writer.tensor(node.name, _nhwc(node.makes), i + 1)
        writer.put(op, reads, made, **_limit(node))

    return emit


def _concat(writer: _Writer, i: int, node: Node, reads: list[int]) -> None:
    """Join channels; the kernel asks for one scale."""
    if writer.quantized is not None:
        reads = [_requantize(writer, i, node, of, read) for of, read in zip(node.reads, reads, strict=True)]
    made = writer.tensor(node.name, _nhwc(node.makes), i + 1)
    writer.put("CONCATENATION", reads, made, Axis=3)


def _requantize(writer: _Writer, i: int, node: Node, of: int, read: int) -> int:
    if writer.quantized.scales[of] == writer.quantized.scales[i + 1]:
        return read
    made = writer.tensor(f"{node.name}.{len(writer.tensors)}", _nhwc(writer.graph.maps[of]), i + 1)
    return writer.put("QUANTIZE", [read], made)


def _global_pool(writer: _Writer, i: int, node: Node, reads: list[int]) -> None:
    axes = writer.constant(f"{node.name}.axes", np.array([1, 2], np.int32))
    writer.put("MEAN", [*reads, axes], writer.tensor(node.name, _nhwc(node.makes), i + 1), KeepDims=True)


def _activation(writer: _Writer, i: int, node: Node, reads: list[int]) -> None:
    writer.put(ACTIVATIONS[node.op], reads, writer.tensor(node.name, _nhwc(node.makes), i + 1))


EMIT = {
    "conv": _conv,
    "max_pool": _pool("MAX_POOL_2D"),
    "avg_pool": _pool("AVERAGE_POOL_2D"),
    "shuffle": _shuffle,
    "shift": _shift,
    "add": _join("ADD"),
    "multiply": _join("MUL"),
    "concat": _concat,
    "global_pool": _global_pool,
}
