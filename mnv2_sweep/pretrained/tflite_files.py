"""A .tflite file, in float or 8 bits -> Operators in order, and what the graph says of the pixels.

Constants in 8 bits become (q - zero point) x scale, one scale a tensor or a channel, exactly; that the graph rounds its
activations to 8 bits too is left out. Kernels are [out, height, width, in], depthwise [1, height, width, channels].
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tflite

from mnv2_sweep.base.errors import WeightsError
from mnv2_sweep.pretrained.graphs import Operator

MOST_OBJECTS = 20_000
TYPES = {
    tflite.TensorType.FLOAT32: np.float32, tflite.TensorType.FLOAT16: np.float16, tflite.TensorType.INT8: np.int8,
    tflite.TensorType.UINT8: np.uint8, tflite.TensorType.INT32: np.int32, tflite.TensorType.INT64: np.int64,
}  # fmt: skip
CAPS = {
    tflite.ActivationFunctionType.NONE: None, tflite.ActivationFunctionType.RELU6: 6.0,
    tflite.ActivationFunctionType.RELU: float("inf"),
}  # fmt: skip
CODES = {code: name for name, code in vars(tflite.BuiltinOperator).items() if isinstance(code, int)}
WITHOUT_NUMBERS = (
    "QUANTIZE", "RESHAPE", "SQUEEZE", "SOFTMAX", "AVERAGE_POOL_2D", "MEAN", "SHAPE", "STRIDED_SLICE", "PACK",
    "TRANSPOSE",
)  # fmt: skip


@dataclass
class Graph:
    """What was read: `dense` are fully connected layers; the network reads pixel x `scale` + `offset`."""

    operators: list[Operator] = field(default_factory=list)
    dense: list[Operator] = field(default_factory=list)
    joins: int = 0
    resolution: int = 0
    scale: float | None = None
    offset: float = 0.0


def read_tflite(path: Path) -> Graph:
    """Return the graph of the file. Raises WeightsError."""
    content = path.read_bytes()
    try:
        model = tflite.Model.GetRootAsModel(content, 0)
        if model.SubgraphsLength() != 1:
            raise WeightsError(f"{path}: {model.SubgraphsLength()} graphs in it, 1 allowed")
        return _Reader(model, path).read()
    except (struct.error, IndexError, ValueError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        why = str(error).partition("\n")[0]
        raise WeightsError(f"{path}: no whole .tflite file ({why}); fetch it anew, it may be cut") from error


class _Reader:
    """Walks the operators of one graph in their order."""

    def __init__(self, model: tflite.Model, path: Path):
        self.model, self.path, self.found = model, path, Graph()
        self.graph = model.Subgraphs(0)
        self.pads: dict[int, tuple[int, int]] = {}  # tensor -> what a PAD before it added
        self.sources: dict[int, int] = {}  # tensor -> the constant that a DEQUANTIZE makes it of

    def read(self) -> Graph:
        if max(self.graph.OperatorsLength(), self.graph.TensorsLength()) > MOST_OBJECTS:
            raise WeightsError(f"{self.path}: more parts than a network has; no MobileNetV2")
        self._read_input()
        steps: dict[str, Callable] = {
            "CONV_2D": self._convolution, "DEPTHWISE_CONV_2D": self._convolution, "FULLY_CONNECTED": self._dense,
            "PAD": self._pad, "ADD": self._add, "DEQUANTIZE": self._dequantize, "MUL": self._scale, "SUB": self._scale,
            "RELU6": self._relu6,
        }  # fmt: skip
        for i in range(self.graph.OperatorsLength()):
            operator = self.graph.Operators(i)
            name = self._operation(operator)
            if name in steps:
                steps[name](operator, name)
            elif name not in WITHOUT_NUMBERS:
                raise WeightsError(f"{self.path}: operation {name} in it; no MobileNetV2 has one")
        return self.found

    def _operation(self, operator: tflite.Operator) -> str:
        code = self.model.OperatorCodes(operator.OpcodeIndex())
        return CODES.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "unknown")

    def _read_input(self) -> None:
        tensor = self.graph.Tensors(self.graph.Inputs(0))
        shape = np.asarray(tensor.ShapeAsNumpy()).tolist()
        if len(shape) != 4 or 3 not in (shape[1], shape[3]):  # the first where it was made of torch's
            raise WeightsError(f"{self.path}: it reads {shape}, [1, side, side, 3] or [1, 3, side, side] allowed")
        self.found.resolution = shape[2]
        if tensor.Type() in (tflite.TensorType.UINT8, tflite.TensorType.INT8):
            scale, zero = tensor.Quantization().Scale(0), tensor.Quantization().ZeroPoint(0)
            zero += 128 if tensor.Type() == tflite.TensorType.INT8 else 0  # int8 files are given the pixel - 128
            self.found.scale, self.found.offset = float(scale), -float(zero) * float(scale)

    def _constant(self, at: int) -> np.ndarray:
        """Return a tensor that the file holds, as float32 where it is in 8 bits."""
        tensor = self.graph.Tensors(self.sources.get(at, at))
        if tensor.Type() not in TYPES:
            raise WeightsError(f"{self.path}: numbers of type {tensor.Type()}; float, 8 bits and 32 bits are read")
        data = self.model.Buffers(tensor.Buffer()).DataAsNumpy()
        if isinstance(data, int):  # how flatbuffers says that there is none
            raise WeightsError(f"{self.path}: {_name(tensor)} is computed, not stored; constant weights are wanted")
        array = np.frombuffer(data.tobytes(), TYPES[tensor.Type()]).reshape(tensor.ShapeAsNumpy())
        quantization = tensor.Quantization()
        if quantization is None or not quantization.ScaleLength():
            return array
        axis = quantization.QuantizedDimension()
        sizes = [-1 if i == axis else 1 for i in range(array.ndim)]
        scale = np.asarray(quantization.ScaleAsNumpy(), np.float64)
        zero = (
            np.asarray(quantization.ZeroPointAsNumpy(), np.float64) if quantization.ZeroPointLength() else np.zeros(1)
        )
        if len(scale) > 1:
            scale, zero = scale.reshape(sizes), (zero.reshape(sizes) if len(zero) > 1 else zero)
        return ((array - zero) * scale).astype(np.float32)

    def _convolution(self, operator: tflite.Operator, name: str) -> None:
        deep = name == "DEPTHWISE_CONV_2D"
        options = tflite.DepthwiseConv2DOptions() if deep else tflite.Conv2DOptions()
        options.Init(operator.BuiltinOptions().Bytes, operator.BuiltinOptions().Pos)
        kernel = self._constant(operator.Inputs(1))
        kernel = kernel.transpose(3, 0, 1, 2) if deep else kernel.transpose(0, 3, 1, 2)
        before = self.pads.get(operator.Inputs(0), (0, 0))
        if options.Padding() == tflite.Padding.SAME and before != (0, 0):
            raise WeightsError(f"{self.path}: a convolution that pads twice")
        self.found.operators.append(Operator(
            _name(self.graph.Tensors(operator.Outputs(0))), kernel, self._bias(operator), options.StrideH(),
            "same" if options.Padding() == tflite.Padding.SAME else before, len(kernel) if deep else 1,
            cap=CAPS.get(options.FusedActivationFunction(), -1.0),
        ))  # fmt: skip

    def _bias(self, operator: tflite.Operator) -> np.ndarray | None:
        given = operator.InputsLength() > 2 and operator.Inputs(2) >= 0
        return self._constant(operator.Inputs(2)).reshape(-1) if given else None

    def _dense(self, operator: tflite.Operator, name: str) -> None:
        kernel = self._constant(operator.Inputs(1))[:, :, None, None]
        place = _name(self.graph.Tensors(operator.Outputs(0)))
        self.found.dense.append(Operator(place, kernel, self._bias(operator), 1, (0, 0)))

    def _pad(self, operator: tflite.Operator, name: str) -> None:
        pads = self._constant(operator.Inputs(1)).tolist()
        if pads[1] != pads[2]:
            raise WeightsError(f"{self.path}: it pads rows and columns unlike each other, {pads}")
        self.pads[operator.Outputs(0)] = tuple(pads[1])

    def _add(self, operator: tflite.Operator, name: str) -> None:
        if self.found.operators:
            self.found.joins += 1
        else:
            self._scale(operator, name)

    def _dequantize(self, operator: tflite.Operator, name: str) -> None:
        self.sources[operator.Outputs(0)] = operator.Inputs(0)

    def _relu6(self, operator: tflite.Operator, name: str) -> None:
        self.found.operators[-1].cap = 6.0

    def _scale(self, operator: tflite.Operator, name: str) -> None:
        """Read what is done to the pixels before the first convolution."""
        if self.found.operators:
            raise WeightsError(f"{self.path}: operation {name} between convolutions; no MobileNetV2 has one")
        number = self._constant(operator.Inputs(1)).reshape(-1)
        if len(number) != 1:
            raise WeightsError(f"{self.path}: its pixels are scaled channel by channel, {number}; one scale is read")
        scale, offset = (1.0 if self.found.scale is None else self.found.scale), self.found.offset
        factor = float(number[0]) if name == "MUL" else 1.0
        shift = {"MUL": 0.0, "ADD": float(number[0]), "SUB": -float(number[0])}[name]
        self.found.scale, self.found.offset = scale * factor, offset * factor + shift


def _name(tensor: tflite.Tensor) -> str:
    return (tensor.Name() or b"a layer").decode("utf-8", "replace")
