"""Tensors and operators -> the bytes of a .tflite file, by the schema of the package `tflite`.

A flatbuffer is written from its end: what a table points to first, then the table. Constants begin at multiples of 16
bytes, as kernels expect them.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import flatbuffers
import numpy as np
import tflite

VERSION, IDENTIFIER, ALIGNMENT = 3, b"TFL3", 16
SIGNATURE = "serving_default"  # the name of the one way to call it
TYPES = {
    np.dtype(np.float32): tflite.TensorType.FLOAT32,
    np.dtype(np.int8): tflite.TensorType.INT8,
    np.dtype(np.uint8): tflite.TensorType.UINT8,
    np.dtype(np.int32): tflite.TensorType.INT32,
}
NO_STEPS = np.zeros(0, np.float32)


class Tensor(NamedTuple):
    """A tensor of the file: `content` where it is a constant; `steps` and `zero` of its integers, a step for each place
    along `axis` or one for all."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    content: np.ndarray | None = None
    steps: np.ndarray = NO_STEPS
    zero: int = 0
    axis: int = 0


class Operator(NamedTuple):
    """An operation of the file: its name and the version that a runtime must know, the tensors that it reads and makes,
    the table of its options and their values."""

    name: str
    version: int
    reads: list[int]
    makes: int
    kind: str
    options: dict[str, Any]


def pack_model(tensors: Sequence[Tensor], operators: Sequence[Operator], ends: tuple[int, int],
               metadata: dict[str, bytes]) -> bytes:  # fmt: skip
    """Return the file of a network from tensor ends[0] to tensor ends[1]."""
    contents = [tensor.content for tensor in tensors if tensor.content is not None]
    builder = flatbuffers.Builder(sum(content.nbytes for content in contents) + 500 * len(tensors) + 4096)
    codes = list(dict.fromkeys((operator.name, operator.version) for operator in operators))
    buffers = [_table(builder, "Buffer")]  # the first is empty, and that of every tensor that is no constant
    places = []
    for tensor in tensors:
        places.append(0 if tensor.content is None else len(buffers))
        if tensor.content is not None:
            buffers.append(_table(builder, "Buffer", Data=_aligned(builder, tensor.content.tobytes())))
    notes = []
    for name, content in metadata.items():
        notes.append(_table(builder, "Metadata", Name=builder.CreateString(name), Buffer=len(buffers)))
        buffers.append(_table(builder, "Buffer", Data=_aligned(builder, content)))
    graph = _table(
        builder,
        "SubGraph",
        Tensors=_offsets(builder, [_tensor(builder, *pair) for pair in zip(tensors, places, strict=True)]),
        Operators=_offsets(builder, [_operator(builder, operator, codes) for operator in operators]),
        Inputs=_ints(builder, [ends[0]]),
        Outputs=_ints(builder, [ends[1]]),
        Name=builder.CreateString("main"),
    )
    model = _table(
        builder,
        "Model",
        Version=VERSION,
        OperatorCodes=_offsets(builder, [_code(builder, *code) for code in codes]),
        Subgraphs=_offsets(builder, [graph]),
        Description=builder.CreateString("mnv2-sweep"),
        Buffers=_offsets(builder, buffers),
        Metadata=_offsets(builder, notes),
        SignatureDefs=_offsets(builder, [_signature(builder, tensors, ends)]),
    )
    builder.Finish(model, IDENTIFIER)
    return bytes(builder.Output())


def _tensor(builder: flatbuffers.Builder, tensor: Tensor, place: int) -> int:
    fields = {"Type": TYPES[tensor.dtype], "Buffer": place, "HasRank": True}
    if len(tensor.steps):
        fields["Quantization"] = _table(
            builder,
            "QuantizationParameters",
            Scale=builder.CreateNumpyVector(np.asarray(tensor.steps, np.float32)),
            ZeroPoint=builder.CreateNumpyVector(np.full(len(tensor.steps), tensor.zero, np.int64)),
            QuantizedDimension=tensor.axis,
        )
    return _table(
        builder, "Tensor", Shape=_ints(builder, tensor.shape), Name=builder.CreateString(tensor.name), **fields
    )


def _operator(builder: flatbuffers.Builder, operator: Operator, codes: list[tuple[str, int]]) -> int:
    fields = {"OpcodeIndex": codes.index((operator.name, operator.version))}
    if operator.kind:
        fields["BuiltinOptionsType"] = getattr(tflite.BuiltinOptions, operator.kind)
        fields["BuiltinOptions"] = _table(builder, operator.kind, **operator.options)
    inputs, outputs = _ints(builder, operator.reads), _ints(builder, [operator.makes])
    return _table(builder, "Operator", Inputs=inputs, Outputs=outputs, **fields)


def _code(builder: flatbuffers.Builder, name: str, version: int) -> int:
    number = getattr(tflite.BuiltinOperator, name)
    return _table(builder, "OperatorCode", DeprecatedBuiltinCode=number, BuiltinCode=number, Version=version)


def _signature(builder: flatbuffers.Builder, tensors: Sequence[Tensor], ends: tuple[int, int]) -> int:
    maps = [_table(builder, "TensorMap", Name=builder.CreateString(tensors[end].name), TensorIndex=end) for end in ends]
    inputs, outputs = (_offsets(builder, [one]) for one in maps)
    return _table(builder, "SignatureDef", Inputs=inputs, Outputs=outputs, SignatureKey=builder.CreateString(SIGNATURE))


def _table(builder: flatbuffers.Builder, kind: str, **fields: Any) -> int:
    """Write a table of the schema; return its place."""
    getattr(tflite, f"{kind}Start")(builder)
    for name, value in fields.items():
        getattr(tflite, f"{kind}Add{name}")(builder, value)
    return getattr(tflite, f"{kind}End")(builder)


def _offsets(builder: flatbuffers.Builder, places: Sequence[int]) -> int:
    builder.StartVector(4, len(places), 4)
    for place in reversed(places):
        builder.PrependUOffsetTRelative(place)
    return builder.EndVector()


def _ints(builder: flatbuffers.Builder, values: Iterable[int]) -> int:
    return builder.CreateNumpyVector(np.array(list(values), np.int32))


def _aligned(builder: flatbuffers.Builder, content: bytes) -> int:
    """Write bytes as builder.CreateByteVector does, which does not align them."""
    builder.StartVector(1, len(content), ALIGNMENT)
    builder.head = builder.Head() - len(content)
    builder.Bytes[builder.Head() : builder.Head() + len(content)] = content
    return builder.EndVector()
