"""An ONNX file -> Operators in order, with batch norms folded or not, and whose padding they have.

Weights may lie in a second file in the same folder, as torch's exporter puts them; no other folder is looked at.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from mnv2_sweep.base.errors import WeightsError
from mnv2_sweep.base.text import bytes_text
from mnv2_sweep.pretrained.graphs import Operator
from mnv2_sweep.pretrained.units import Norm

WITHOUT_NUMBERS = (
    "Identity", "Dropout", "GlobalAveragePool", "ReduceMean", "AveragePool", "Flatten", "Reshape", "Squeeze", "Softmax",
    "LogSoftmax", "Transpose", "Shape", "Gather", "Unsqueeze", "Concat", "Cast", "Slice", "Unsqueeze",
)  # fmt: skip
MOST_OBJECTS = 20_000


@dataclass
class Graph:
    """What was read; `dense` are matrix products, `epsilons` those of the batch norms, `resolution` 0 where open,
    `parts` other files with its numbers."""

    operators: list[Operator] = field(default_factory=list)
    dense: list[Operator] = field(default_factory=list)
    joins: int = 0
    resolution: int = 0
    epsilons: set[float] = field(default_factory=set)
    parts: list[Path] = field(default_factory=list)


def read_onnx(path: Path, limit_bytes: int) -> Graph:
    """Return the graph of the file. Raises WeightsError."""
    try:
        model = onnx.load(path, load_external_data=False)
        return _Reader(model.graph, path, limit_bytes).read()
    except (DecodeError, ValueError, TypeError, IndexError, KeyError, AttributeError, OSError, OverflowError) as error:
        why = str(error).partition("\n")[0]
        raise WeightsError(f"{path}: no whole ONNX file ({why}); fetch it anew, it may be cut") from error


class _Reader:
    """Walks the nodes of one graph in their order."""

    def __init__(self, graph: onnx.GraphProto, path: Path, limit_bytes: int):
        self.graph, self.path, self.limit_bytes, self.found = graph, path, limit_bytes, Graph()
        self.tensors = {tensor.name: tensor for tensor in graph.initializer}
        self.arrays: dict[str, np.ndarray] = {}
        self.makers: dict[str, Operator] = {}  # output -> the convolution that it comes from
        self.pads: dict[str, tuple[int, int]] = {}

    def read(self) -> Graph:
        if len(self.graph.node) > MOST_OBJECTS:
            raise WeightsError(f"{self.path}: more parts than a network has; no MobileNetV2")
        inputs = [one for one in self.graph.input if one.name not in self.tensors]
        if not inputs:
            raise WeightsError(f"{self.path}: it reads no image")
        sides = [one.dim_value for one in inputs[0].type.tensor_type.shape.dim]
        self.found.resolution = sides[2] if len(sides) == 4 and sides[1] == 3 else 0
        steps: dict[str, Callable] = {
            "Conv": self._convolution, "BatchNormalization": self._norm, "Clip": self._clip, "Relu": self._relu,
            "Add": self._add, "Gemm": self._dense, "MatMul": self._dense, "Pad": self._pad, "Constant": self._keep,
            "DequantizeLinear": self._dequantize,
        }  # fmt: skip
        for node in self.graph.node:
            if node.op_type in steps:
                steps[node.op_type](node, {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute})
            elif node.op_type.startswith("QLinear") or node.op_type == "ConvInteger":
                raise WeightsError(f"{self.path}: its layers compute in 8 bits ({node.op_type}); weights in float, or "
                                   "quantised with DequantizeLinear, are wanted")  # fmt: skip
            elif node.op_type not in WITHOUT_NUMBERS:
                raise WeightsError(f"{self.path}: operation {node.op_type} in it; no MobileNetV2 has one")
            elif node.op_type == "Identity" and node.input[0] in self.tensors:  # exporters share equal constants so
                self.tensors[node.output[0]] = self.tensors[node.input[0]]
        return self.found

    def _constant(self, name: str) -> np.ndarray:
        if name not in self.arrays:
            if name not in self.tensors:
                raise WeightsError(f"{self.path}: {name} is computed, not stored; constant weights are wanted")
            self.arrays[name] = self._read_tensor(self.tensors[name])
        return self.arrays[name]

    def _read_tensor(self, tensor: onnx.TensorProto) -> np.ndarray:
        count = int(np.prod([max(0, n) for n in tensor.dims], dtype=object))
        if count * 4 > self.limit_bytes:
            raise WeightsError(f"{self.path}: {tensor.name} has {count:,} numbers, too many for a MobileNetV2")
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            return numpy_helper.to_array(tensor)
        where = {entry.key: entry.value for entry in tensor.external_data}
        name = where.get("location", "")
        beside = self.path.with_name(name) if name and name == Path(name).name else None
        if beside is None or name in (".", ".."):
            raise WeightsError(
                f"{self.path}: its weights lie in {name!r}, no file of the same folder; it is not opened"
            )
        if not beside.is_file():
            raise WeightsError(f"{self.path}: its weights lie in {name}, which is not beside it; put it there")
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        offset = int(where.get("offset", 0))
        if offset < 0 or offset + count * dtype.itemsize > beside.stat().st_size:
            raise WeightsError(f"{beside}: {bytes_text(beside.stat().st_size)}, too short for {tensor.name}; it is cut")
        self.found.parts += [] if beside in self.found.parts else [beside]
        return np.fromfile(beside, dtype, count, offset=offset).reshape(tuple(tensor.dims))

    def _keep(self, node: onnx.NodeProto, options: dict) -> None:
        if "value" in options:
            self.arrays[node.output[0]] = self._read_tensor(options["value"])
        elif options:
            self.arrays[node.output[0]] = np.asarray(next(iter(options.values())))

    def _convolution(self, node: onnx.NodeProto, options: dict) -> None:
        kernel = self._constant(node.input[1])
        bias = self._constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        strides, before = options.get("strides", [1, 1]), self.pads.get(node.input[0], (0, 0))
        pads = options.get("pads", [0, 0, 0, 0])
        if pads[0] != pads[1] or pads[2] != pads[3] or strides[0] != strides[1]:
            raise WeightsError(f"{self.path}: {node.name or node.input[1]} treats rows and columns unlike each other")
        how = options.get("auto_pad", b"NOTSET").decode()
        if how == "SAME_LOWER":
            raise WeightsError(f"{self.path}: it pads SAME_LOWER; SAME_UPPER, as TensorFlow, or torch's allowed")
        total = "same" if how == "SAME_UPPER" else (before[0] + pads[0], before[1] + pads[2])
        made = Operator(node.input[1], kernel, bias, strides[0], total, options.get("group", 1))
        self.found.operators.append(made)
        self.makers[node.output[0]] = made

    def _norm(self, node: onnx.NodeProto, options: dict) -> None:
        made = self._maker(node)
        if made.norm is not None or made.bias is not None:
            raise WeightsError(f"{self.path}: {made.name} has a batch norm and another, or a bias; one norm is wanted")
        made.norm = Norm(*(self._constant(name) for name in node.input[1:5]))
        self.found.epsilons.add(round(float(options.get("epsilon", 1e-5)), 9))
        self.makers[node.output[0]] = made

    def _clip(self, node: onnx.NodeProto, options: dict) -> None:
        ends = [float(self._constant(name).reshape(-1)[0]) if name else None for name in node.input[1:3]]
        low, high = ends if len(ends) == 2 else (options.get("min"), options.get("max"))
        if low != 0 or high is None:
            raise WeightsError(f"{self.path}: it clips to {low} .. {high}; ReLU6 is 0 .. 6")
        self._maker(node).cap = float(high)

    def _relu(self, node: onnx.NodeProto, options: dict) -> None:
        if node.input[0] in self.makers:
            self.makers[node.input[0]].cap = float("inf")

    def _add(self, node: onnx.NodeProto, options: dict) -> None:
        constants = [name for name in node.input if name in self.tensors or name in self.arrays]
        if not constants:
            self.found.joins += 1
        elif self.found.dense:
            self.found.dense[-1].bias = self._constant(constants[0]).reshape(-1)
        else:
            raise WeightsError(f"{self.path}: it adds {constants[0]} to a map; no MobileNetV2 does")

    def _dense(self, node: onnx.NodeProto, options: dict) -> None:
        kernel = self._constant(node.input[1])
        kernel = kernel if options.get("transB") else kernel.T
        bias = self._constant(node.input[2]).reshape(-1) if len(node.input) > 2 else None
        self.found.dense.append(Operator(node.input[1], kernel[:, :, None, None], bias, 1, (0, 0)))

    def _pad(self, node: onnx.NodeProto, options: dict) -> None:
        pads = options["pads"] if "pads" in options else self._constant(node.input[1]).tolist()
        if len(pads) != 8 or any(pads[i] for i in (0, 1, 4, 5)) or pads[2] != pads[3] or pads[6] != pads[7]:
            raise WeightsError(f"{self.path}: it pads with {pads}; equal rows and columns allowed")
        self.pads[node.output[0]] = (int(pads[2]), int(pads[6]))

    def _dequantize(self, node: onnx.NodeProto, options: dict) -> None:
        name = node.input[0]
        if name not in self.tensors and name not in self.arrays:
            raise WeightsError(f"{self.path}: its activations are quantised; weights in float are wanted")
        scale = self._constant(node.input[1]).astype(np.float64)
        zero = self._constant(node.input[2]).astype(np.float64) if len(node.input) > 2 else np.zeros(1)
        array = self._constant(name)
        if scale.ndim:
            sizes = [-1 if i == options.get("axis", 1) else 1 for i in range(array.ndim)]
            scale, zero = scale.reshape(sizes), zero.reshape(sizes)
        self.arrays[node.output[0]] = ((array - zero) * scale).astype(np.float32)

    def _maker(self, node: onnx.NodeProto) -> Operator:
        if node.input[0] not in self.makers:
            raise WeightsError(f"{self.path}: {node.op_type} behind no convolution; no MobileNetV2 has one")
        return self.makers[node.input[0]]
