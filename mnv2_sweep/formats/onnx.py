"""Graph -> an ONNX file; with 8 bits, as QuantizeLinear and DequantizeLinear around each operation.

Opset 14 with IR version 7, of 2021: the lowest that has every operation that is needed (HardSwish is of 14, scales for
each channel of 13), so that old runtimes and other compilers read the file too. Input "image", float32 [N, channels,
height, width]; output "logits", float32 [N, classes].
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from mnv2_sweep.base.files import write_whole
from mnv2_sweep.formats.graph import CLAMPS, Graph, Node
from mnv2_sweep.formats.quantize import Quantized

OPSET, IR_VERSION = 14, 7
IMAGE, LOGITS = "image", "logits"


def write_onnx(path: Path, graph: Graph, about: Mapping[str, Any], quantized: Quantized | None = None,
               batch: int | None = None) -> None:  # fmt: skip
    """Write the file, whole or not at all, for batches of that many images, or of any number. `about` becomes its
    metadata, each value as JSON. Raises OSError."""
    write_whole(path, make_onnx(graph, about, quantized, batch).SerializeToString())


def make_onnx(
    graph: Graph, about: Mapping[str, Any], quantized: Quantized | None = None, batch: int | None = None
) -> ModelProto:
    """Return the model; see `write_onnx`."""
    writer = _Writer(graph, quantized)
    writer.run()
    count, (channels, size) = batch or "N", graph.image
    model = helper.make_model(
        helper.make_graph(
            writer.nodes,
            "mnv2_sweep",
            [helper.make_tensor_value_info(IMAGE, TensorProto.FLOAT, [count, channels, *size])],
            [helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, [count, graph.outputs])],
            writer.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="mnv2-sweep",
    )
    helper.set_model_props(model, {name: json.dumps(value) for name, value in about.items()})
    return model


class _Writer:
    """The nodes and constants of the file so far. `names[i]` is what an operation reads that reads tensor i."""

    def __init__(self, graph: Graph, quantized: Quantized | None):
        self.graph, self.quantized = graph, quantized
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self.names: list[str] = []

    def run(self) -> None:
        """Write every node, and the flat logits."""
        self.finish(0, IMAGE, IMAGE)
        for i, node in enumerate(self.graph.nodes):
            made = EMIT.get(node.op, _activation)(self, i, node, [self.names[read] for read in node.reads])
            if node.act and self.quantized is None:  # with 8 bits, the smallest and the largest number are the limits
                made = _limit(self, f"{node.name}.{node.act}", node.act, made)
            self.finish(i + 1, node.name, made)
        self.nodes.append(helper.make_node("Flatten", [self.names[-1]], [LOGITS], "flatten", axis=1))

    def put(self, op: str, name: str, reads: list[str], **attributes: Any) -> str:
        """Write a node and return its output's name, which is its own."""
        self.nodes.append(helper.make_node(op, reads, [name], name, **attributes))
        return name

    def constant(self, name: str, value: np.ndarray) -> str:
        """Write a constant and return its name."""
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def finish(self, tensor: int, name: str, made: str) -> None:
        """Have the tensor read as it was made, or rounded to 8 bits and back, under its node's name."""
        if self.quantized is not None:
            scale = self.quantized.scales[tensor]
            parts = [self.constant(f"{name}.step", np.float32(scale.step))]
            parts.append(self.constant(f"{name}.zero", np.int8(scale.zero)))
            rounded = self.put("QuantizeLinear", f"{name}.q", [made, *parts])
            made = self.put("DequantizeLinear", f"{name}.dq", [rounded, *parts])
        self.names.append(made)

    def weights(self, i: int, node: Node) -> list[str]:
        """Return the names of weight and bias."""
        names = [f"{node.name}.weight", f"{node.name}.bias"]
        if self.quantized is None:
            return [self.constant(name, value) for name, value in zip(names, (node.weight, node.bias), strict=True)]
        one = self.quantized.weights[i]
        steps = (one.steps, one.bias_steps)
        read = []
        for name, value, step in zip(names, (one.weight, one.bias), steps, strict=True):
            parts = [self.constant(f"{name}.q", value), self.constant(f"{name}.scale", step)]
            if value.dtype == np.int8:
                parts.append(self.constant(f"{name}.zero", np.zeros(len(step), np.int8)))
            read.append(self.put("DequantizeLinear", name, parts, axis=0))
        return read


# ---------------------------------------------------------------- operations: (writer, number, node, names) -> name


def _conv(writer: _Writer, i: int, node: Node, reads: list[str]) -> str:
    return writer.put("Conv", node.name, [*reads, *writer.weights(i, node)], group=node.groups, **_window(node))


def _max_pool(writer: _Writer, i: int, node: Node, reads: list[str]) -> str:
    return writer.put("MaxPool", node.name, reads, **_window(node))


def _avg_pool(writer: _Writer, i: int, node: Node, reads: list[str]) -> str:
    return writer.put("AveragePool", node.name, reads, count_include_pad=0, **_window(node))


def _window(node: Node) -> dict[str, list[int]]:
    return {"kernel_shape": [node.kernel] * 2, "strides": [node.stride] * 2, "pads": list(node.pads)}


def _shuffle(writer: _Writer, i: int, node: Node, reads: list[str]) -> str:
    """Make channel g of group c of channel c of group g."""
    channels, size = node.makes
    split = writer.constant(f"{node.name}.split", np.array([0, node.groups, channels // node.groups, size.area]))
    whole = writer.constant(f"{node.name}.whole", np.array([0, channels, *size]))
    made = writer.put("Reshape", f"{node.name}.groups", [*reads, split])
    made = writer.put("Transpose", f"{node.name}.turned", [made], perm=[0, 2, 1, 3])
    return writer.put("Reshape", node.name, [made, whole])


def _shift(writer: _Writer, i: int, node: Node, reads: list[str]) -> str:
    """Move the map one pixel up and left; zeros come in from beyond the edge."""
    border = writer.constant(f"{node.name}.border", np.array([0, 0, 0, 0, 0, 0, 1, 1]))
    first, end, axes = (
        writer.constant(f"{node.name}.{name}", np.array(value))
        for name, value in (("first", [1, 1]), ("end", [size + 1 for size in node.makes.size]), ("axes", [2, 3]))
    )
    return writer.put("Slice", node.name, [writer.put("Pad", f"{node.name}.pad", [*reads, border]), first, end, axes])


def _activation(writer: _Writer, i: int, node: Node, reads: list[str]) -> str:
    if node.op in CLAMPS:
        return reads[0] if writer.quantized else _limit(writer, node.name, node.op, reads[0])
    return writer.put(ACTIVATIONS[node.op], node.name, reads)


def _limit(writer: _Writer, name: str, act: str, made: str) -> str:
    low, high = CLAMPS[act]
    if high == np.inf:
        return writer.put("Relu", name, [made])
    limits = [writer.constant(f"{name}.{word}", np.float32(value)) for word, value in (("low", low), ("high", high))]
    return writer.put("Clip", name, [made, *limits])


def _plain(op: str, **attributes: Any) -> Callable[[_Writer, int, Node, list[str]], str]:
    return lambda writer, i, node, reads: writer.put(op, node.name, reads, **attributes)


ACTIVATIONS = {"hswish": "HardSwish", "sigmoid": "Sigmoid"}
EMIT = {
    "conv": _conv,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "shuffle": _shuffle,
    "shift": _shift,
    "add": _plain("Add"),
    "multiply": _plain("Mul"),
    "concat": _plain("Concat", axis=1),
    "global_pool": _plain("GlobalAveragePool"),
}
