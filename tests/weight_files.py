"""Files of weights as other projects write them, made of one small network with random numbers."""

import io
import json
import zipfile
from pathlib import Path

import flatbuffers
import h5py
import numpy as np
import onnx
import safetensors.numpy
import tflite
import torch
from onnx import TensorProto, helper, numpy_helper

from mnv2_sweep.models.build import build_model, norm_name
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.plan import Layer
from mnv2_sweep.nets.resolve import resolve

ARCH = ArchSpec(width=0.1, resolution=32, classes=5, dropout=0.0)
NORM = ("weight", "bias", "running_mean", "running_var")
KERAS_NORM = ("gamma", "beta", "moving_mean", "moving_variance")
Arrays = dict[str, np.ndarray]


def draw_arrays(arch: ArchSpec = ARCH) -> Arrays:
    """The network's arrays by our names, batch norms unlike each other, values of which outputs of some size come."""
    torch.manual_seed(3)
    arrays = {}
    for name, value in build_model(arch).state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        if value.dim() == 1 and "classifier" not in name:
            low = 0.5 if name.endswith(("weight", "running_var")) else -0.3
            value = torch.empty_like(value).uniform_(low, 1.5 if low > 0 else 0.3)
        elif name == "classifier.1.weight":
            value = torch.empty_like(value).uniform_(-0.5, 0.5)
        arrays[name] = value.numpy().copy()
    return arrays


def fold(arrays: Arrays, epsilon: float, arch: ArchSpec = ARCH) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Kernel and bias of each convolution by our names, with its batch norm folded in."""
    folded = {}
    for layer in convolutions(arch):
        scale, shift, mean, variance = (arrays[f"{norm_name(layer.name)}.{part}"].astype(np.float64) for part in NORM)
        slope = scale / np.sqrt(variance + epsilon)
        kernel = (arrays[f"{layer.name}.weight"] * slope[:, None, None, None]).astype(np.float32)
        folded[layer.name] = kernel, (shift - mean * slope).astype(np.float32)
    return folded


def convolutions(arch: ArchSpec = ARCH) -> list[Layer]:
    return [layer for layer in resolve(arch).convs if layer.op == "conv"]


# ---------------------------------------------------------------- by names


def rename(arrays: Arrays, kind: str, arch: ArchSpec = ARCH, head: bool = True) -> Arrays:
    """The same arrays by the names of "torchvision", "d-li14", "timm", "mmpretrain" or "hugging face"."""
    renamed: Arrays = {}
    for layer, place, norm in zip(convolutions(arch), *places(kind, arch), strict=True):
        renamed[f"{place}.weight"] = arrays[f"{layer.name}.weight"]
        renamed |= {f"{norm}.{part}": arrays[f"{norm_name(layer.name)}.{part}"] for part in NORM}
        renamed[f"{norm}.num_batches_tracked"] = np.array(7)
    classifier = {"torchvision": "classifier.1", "mmpretrain": "head.fc"}.get(kind, "classifier")
    if head:
        renamed |= {f"{classifier}.{part}": arrays[f"classifier.1.{part}"] for part in ("weight", "bias")}
    return renamed


def places(kind: str, arch: ArchSpec = ARCH) -> tuple[list[str], list[str]]:
    """Names of the convolutions and of their batch norms, written down block by block from the projects' own code."""
    if kind == "torchvision":
        names = [layer.name for layer in convolutions(arch)]
        return names, [norm_name(name) for name in names]
    stem = {"d-li14": ("features.0.0", "features.0.1"), "timm": ("conv_stem", "bn1"),
            "mmpretrain": ("backbone.conv1.conv", "backbone.conv1.bn"),
            "hugging face": ("mobilenet_v2.conv_stem.first_conv.convolution",
                             "mobilenet_v2.conv_stem.first_conv.normalization")}[kind]  # fmt: skip
    last = {"d-li14": ("conv.0", "conv.1"), "timm": ("conv_head", "bn2"),
            "mmpretrain": ("backbone.conv2.conv", "backbone.conv2.bn"),
            "hugging face": ("mobilenet_v2.conv_1x1.convolution",
                             "mobilenet_v2.conv_1x1.normalization")}[kind]  # fmt: skip
    pairs, number = [stem], 0
    for row, stage in enumerate(arch.stages):
        for block in range(stage.n):
            pairs += block_places(kind, row, block, number, stage.t > 1)
            number += 1
    names, norms = zip(*pairs, last, strict=True)
    return list(names), list(norms)


def block_places(kind: str, row: int, block: int, number: int, expands: bool) -> list[tuple[str, str]]:
    if kind == "d-li14":
        return [(f"features.{number + 1}.conv.{i}", f"features.{number + 1}.conv.{i + 1}")
                for i in ((0, 3, 6) if expands else (0, 3))]  # fmt: skip
    if kind == "timm":
        names = ("conv_pw", "conv_dw", "conv_pwl") if expands else ("conv_dw", "conv_pw")
        return [(f"blocks.{row}.{block}.{name}", f"blocks.{row}.{block}.bn{i}") for i, name in enumerate(names, 1)]
    if kind == "mmpretrain":
        place = f"backbone.layer{row + 1}.{block}.conv"
        return [(f"{place}.{i}.conv", f"{place}.{i}.bn") for i in range(3 if expands else 2)]
    place = f"mobilenet_v2.layer.{number - 1}" if number else "mobilenet_v2.conv_stem"
    parts = ("expand_1x1", "conv_3x3", "reduce_1x1") if expands else ("conv_3x3", "reduce_1x1")
    return [(f"{place}.{part}.convolution", f"{place}.{part}.normalization") for part in parts]


def save_torch(path: Path, arrays: Arrays, nest: str = "", **beside) -> Path:
    state = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    torch.save({nest: state, **beside} if nest else state, path)
    return path


def save_safetensors(path: Path, arrays: Arrays, metadata: dict[str, str] | None = None) -> Path:
    path.write_bytes(safetensors.numpy.save(arrays, metadata))
    return path


# ---------------------------------------------------------------- Keras


def keras_layers(arrays: Arrays, arch: ArchSpec = ARCH, head: bool = True) -> dict[str, Arrays]:
    """The arrays by Keras's layers and names, in its shapes."""
    names, number = ["Conv1"], 0
    for stage in arch.stages:
        for _ in range(stage.n):
            block = f"block_{number}" if number else "expanded_conv"
            names += [f"{block}_{part}" for part in ("expand", "depthwise", "project")[stage.t == 1 :]]
            number += 1
    layers: dict[str, Arrays] = {}
    for layer, name in zip(convolutions(arch), [*names, "Conv_1"], strict=True):
        kernel = arrays[f"{layer.name}.weight"]
        deep = layer.groups > 1
        layers[name] = {"kernel": kernel.transpose(2, 3, 0, 1) if deep else kernel.transpose(2, 3, 1, 0)}
        norm = {"Conv1": "bn_Conv1", "Conv_1": "Conv_1_bn"}.get(name, f"{name}_BN")
        layers[norm] = {
            theirs: arrays[f"{norm_name(layer.name)}.{ours}"] for ours, theirs in zip(NORM, KERAS_NORM, strict=True)
        }
    if head:
        layers["predictions"] = {"kernel": arrays["classifier.1.weight"].T, "bias": arrays["classifier.1.bias"]}
    return layers


def keras_config(side: int = 32, epsilon: float = 1e-3) -> dict:
    layers = [
        {"class_name": "InputLayer", "config": {"name": "input_1", "batch_input_shape": [None, side, side, 3]}},
        {"class_name": "BatchNormalization", "config": {"name": "bn_Conv1", "epsilon": epsilon}},
        {"class_name": "ReLU", "config": {"name": "Conv1_relu", "max_value": 6.0}},
    ]
    return {"class_name": "Functional", "config": {"name": "mobilenetv2", "layers": layers}}


def save_h5(path: Path, layers: dict[str, Arrays], config: dict | None = None, top: str = "") -> Path:
    """As Keras 2 writes: layer/layer/part:0, whole models below model_weights; `top` as for models in models."""
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if config else file
        for layer, parts in layers.items():
            for part, array in parts.items():
                name = "depthwise_kernel" if layer.endswith("_depthwise") else part
                root[f"{top or layer}/{layer}/{name}:0"] = array
        if config:
            file.attrs["model_config"] = json.dumps(config)
    return path


def save_keras(path: Path, layers: dict[str, Arrays], config: dict | None = None) -> Path:
    """As Keras 3 writes: a zip, arrays by number below a folder whose attribute has the layer's name."""
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        for number, (layer, parts) in enumerate(layers.items()):
            group = file.create_group(f"layers/functional/layers/layer_{number}/vars")
            group.attrs["name"] = layer
            for at, array in enumerate(parts.values()):
                group[str(at)] = array
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", json.dumps(config or keras_config()))
        archive.writestr("model.weights.h5", weights.getvalue())
    return path


def save_tfjs(path: Path, layers: dict[str, Arrays], shards: int = 3) -> Path:
    weights, content = [], b""
    for layer, parts in layers.items():
        for part, array in parts.items():
            weights.append({"name": f"{layer}/{part}", "shape": list(array.shape), "dtype": "float32"})
            content += np.ascontiguousarray(array, np.float32).tobytes()
    size = -(-len(content) // shards)
    names = [f"group1-shard{i + 1}of{shards}.bin" for i in range(shards)]
    for i, name in enumerate(names):
        path.with_name(name).write_bytes(content[i * size : (i + 1) * size])
    model = {"modelTopology": keras_config(), "weightsManifest": [{"paths": names, "weights": weights}]}
    path.write_text(json.dumps(model))
    return path


# ---------------------------------------------------------------- graphs


def make_onnx(arrays: Arrays, epsilon: float | None, pads: str = "torch", arch: ArchSpec = ARCH) -> onnx.ModelProto:
    """Batch norms as nodes with `epsilon`, or folded where it is None (of 1e-5)."""
    nodes, constants, at = [], [], "image"
    folded = fold(arrays, 1e-5, arch)

    def keep(name: str, array: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(np.array(array), name))
        return name

    six, zero = keep("six", np.float32(6)), keep("zero", np.float32(0))
    for block in resolve(arch).blocks[:-1]:
        start = at
        for layer in block.convs:
            name, norm = layer.name, norm_name(layer.name)
            border = [layer.kernel // 2] * 4
            if layer.stride == 2 and pads == "same":
                border = [0, 0, 1, 1]
            kernel, bias = (arrays[f"{name}.weight"], None) if epsilon else folded[name]
            reads = [at, keep(f"{name}.weight", kernel), *([keep(f"{name}.bias", bias)] if bias is not None else [])]
            nodes.append(helper.make_node("Conv", reads, [f"{name}.out"], kernel_shape=[layer.kernel] * 2, pads=border,
                                          strides=[layer.stride] * 2, group=layer.groups))  # fmt: skip
            at = f"{name}.out"
            if epsilon:
                reads = [at, *(keep(f"{norm}.{part}", arrays[f"{norm}.{part}"]) for part in NORM)]
                nodes.append(helper.make_node("BatchNormalization", reads, [f"{norm}.out"], epsilon=epsilon))
                at = f"{norm}.out"
            if layer.act:
                nodes.append(helper.make_node("Clip", [at, zero, six], [f"{name}.act"]))
                at = f"{name}.act"
        if block.shortcut:
            nodes.append(helper.make_node("Add", [start, at], [f"{block.name}.sum"]))
            at = f"{block.name}.sum"
    nodes.append(helper.make_node("GlobalAveragePool", [at], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
    head = [keep(f"classifier.1.{part}", arrays[f"classifier.1.{part}"]) for part in ("weight", "bias")]
    nodes.append(helper.make_node("Gemm", ["flat", *head], ["logits"], transB=1))
    side = arch.resolution
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, side, side])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, arch.classes])
    graph = helper.make_graph(nodes, "mobilenet", [image], [logits], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def save_onnx(path: Path, arrays: Arrays, epsilon: float | None, pads: str = "torch", outside: bool = False) -> Path:
    onnx.save(make_onnx(arrays, epsilon, pads), path, save_as_external_data=outside, location=f"{path.name}.data",
              size_threshold=0)  # fmt: skip
    return path


class TfliteFile:
    """A graph in the order in which it runs; constants in float, or in 8 bits with a scale a channel."""

    def __init__(self, arch: ArchSpec, bits: int):
        self.builder, self.bits, self.arch = flatbuffers.Builder(1 << 16), bits, arch
        self.buffers = [self.vector(b"")]
        self.tensors, self.operators, self.codes = [], [], []

    def vector(self, data: bytes) -> int:
        return self.builder.CreateNumpyVector(np.frombuffer(data, np.uint8))

    def offsets(self, start, offsets: list[int]) -> int:
        start(self.builder, len(offsets))
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return self.builder.EndVector()

    def tensor(self, name: str, shape: list[int], array: np.ndarray | None = None, axis: int = 0) -> int:
        """Return its number; without an array it is computed."""
        buffer, kind, packed = 0, tflite.TensorType.FLOAT32, None
        if array is not None:
            if self.bits == 8 and array.ndim > 1:
                scale = np.abs(array).max(tuple(i for i in range(array.ndim) if i != axis), keepdims=True) / 127
                array, kind = np.round(array / scale).astype(np.int8), tflite.TensorType.INT8
                scales = self.builder.CreateNumpyVector(scale.reshape(-1).astype(np.float32))
                zeros = self.builder.CreateNumpyVector(np.zeros(scale.size, np.int64))
                tflite.QuantizationParametersStart(self.builder)
                tflite.QuantizationParametersAddScale(self.builder, scales)
                tflite.QuantizationParametersAddZeroPoint(self.builder, zeros)
                tflite.QuantizationParametersAddQuantizedDimension(self.builder, axis)
                packed = tflite.QuantizationParametersEnd(self.builder)
            kind = {"int32": tflite.TensorType.INT32}.get(str(array.dtype), kind)
            self.buffers.append(self.vector(np.ascontiguousarray(array).tobytes()))
            buffer = len(self.buffers) - 1
        text = self.builder.CreateString(name)
        dims = self.builder.CreateNumpyVector(np.array(shape, np.int32))
        tflite.TensorStart(self.builder)
        tflite.TensorAddShape(self.builder, dims)
        tflite.TensorAddType(self.builder, kind)
        tflite.TensorAddBuffer(self.builder, buffer)
        tflite.TensorAddName(self.builder, text)
        if packed is not None:
            tflite.TensorAddQuantization(self.builder, packed)
        self.tensors.append(tflite.TensorEnd(self.builder))
        return len(self.tensors) - 1

    def operator(self, code: int, inputs: list[int], output: int, options: int = 0, kind: int = 0) -> None:
        if code not in self.codes:
            self.codes.append(code)
        reads = self.builder.CreateNumpyVector(np.array(inputs, np.int32))
        writes = self.builder.CreateNumpyVector(np.array([output], np.int32))
        tflite.OperatorStart(self.builder)
        tflite.OperatorAddOpcodeIndex(self.builder, self.codes.index(code))
        tflite.OperatorAddInputs(self.builder, reads)
        tflite.OperatorAddOutputs(self.builder, writes)
        if kind:
            tflite.OperatorAddBuiltinOptionsType(self.builder, kind)
            tflite.OperatorAddBuiltinOptions(self.builder, options)
        self.operators.append(tflite.OperatorEnd(self.builder))

    def convolution(self, layer: Layer, kernel: np.ndarray, bias: np.ndarray, at: int, padding: int) -> int:
        deep, side = layer.groups > 1, layer.size_out.width
        weight = kernel.transpose(1, 2, 3, 0) if deep else kernel.transpose(0, 2, 3, 1)
        inputs = [at, self.tensor(f"{layer.name}.weight", list(weight.shape), weight, 3 if deep else 0),
                  self.tensor(f"{layer.name}.bias", [layer.c_out], bias)]  # fmt: skip
        output = self.tensor(layer.name, [1, side, side, layer.c_out])
        cap = tflite.ActivationFunctionType.RELU6 if layer.act else tflite.ActivationFunctionType.NONE
        name = "DepthwiseConv2DOptions" if deep else "Conv2DOptions"
        getattr(tflite, f"{name}Start")(self.builder)
        for part, value in (("Padding", padding), ("StrideW", layer.stride), ("StrideH", layer.stride),
                            ("FusedActivationFunction", cap), *([("DepthMultiplier", 1)] if deep else [])):  # fmt: skip
            getattr(tflite, f"{name}Add{part}")(self.builder, value)
        options = getattr(tflite, f"{name}End")(self.builder)
        code = tflite.BuiltinOperator.DEPTHWISE_CONV_2D if deep else tflite.BuiltinOperator.CONV_2D
        self.operator(code, inputs, output, options, getattr(tflite.BuiltinOptions, name))
        return output

    def finish(self, output: int) -> bytes:
        builder = self.builder
        tensors = self.offsets(tflite.SubGraphStartTensorsVector, self.tensors)
        operators = self.offsets(tflite.SubGraphStartOperatorsVector, self.operators)
        ends = [builder.CreateNumpyVector(np.array([end], np.int32)) for end in (0, output)]
        tflite.SubGraphStart(builder)
        tflite.SubGraphAddTensors(builder, tensors)
        tflite.SubGraphAddInputs(builder, ends[0])
        tflite.SubGraphAddOutputs(builder, ends[1])
        tflite.SubGraphAddOperators(builder, operators)
        graph = tflite.SubGraphEnd(builder)
        graphs = self.offsets(tflite.ModelStartSubgraphsVector, [graph])
        codes, buffers = [], []
        for code in self.codes:
            tflite.OperatorCodeStart(builder)
            tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, code)
            tflite.OperatorCodeAddBuiltinCode(builder, code)
            codes.append(tflite.OperatorCodeEnd(builder))
        codes = self.offsets(tflite.ModelStartOperatorCodesVector, codes)
        for data in self.buffers:
            tflite.BufferStart(builder)
            tflite.BufferAddData(builder, data)
            buffers.append(tflite.BufferEnd(builder))
        buffers = self.offsets(tflite.ModelStartBuffersVector, buffers)
        tflite.ModelStart(builder)
        tflite.ModelAddVersion(builder, 3)
        tflite.ModelAddOperatorCodes(builder, codes)
        tflite.ModelAddSubgraphs(builder, graphs)
        tflite.ModelAddBuffers(builder, buffers)
        builder.Finish(tflite.ModelEnd(builder), b"TFL3")
        return bytes(builder.Output())


def save_tflite(path: Path, arrays: Arrays, pads: str = "same", bits: int = 32, arch: ArchSpec = ARCH) -> Path:
    """Norms folded (of 1e-3); "same": SAME; "pad": (0, 1) by PAD, as Keras writes it; "torch": (1, 1) by PAD."""
    file, folded = TfliteFile(arch, bits), fold(arrays, 1e-3, arch)
    at = file.tensor("image", [1, arch.resolution, arch.resolution, 3])
    for block in resolve(arch).blocks[:-1]:
        start = at
        for layer in block.convs:
            padding = tflite.Padding.SAME
            if layer.stride == 2 and pads != "same":
                border = [[0, 0], *[[0, 1] if pads == "pad" else [1, 1]] * 2, [0, 0]]
                by = file.tensor(f"{layer.name}.pads", [4, 2], np.array(border, np.int32))
                wide = layer.size_in.width + sum(border[1])
                padded = file.tensor(f"{layer.name}.padded", [1, wide, wide, layer.c_in])
                file.operator(tflite.BuiltinOperator.PAD, [at, by], padded)
                at, padding = padded, tflite.Padding.VALID
            at = file.convolution(layer, *folded[layer.name], at, padding)
        if block.shortcut:
            last = block.convs[-1]
            total = file.tensor(f"{block.name}.sum", [1, *last.size_out, last.c_out])
            file.operator(tflite.BuiltinOperator.ADD, [start, at], total)
            at = total
    pooled = file.tensor("pooled", [1, resolve(arch).convs[-1].c_in])
    axes = file.tensor("axes", [2], np.array([1, 2], np.int32))
    file.operator(tflite.BuiltinOperator.MEAN, [at, axes], pooled)
    weight, bias = arrays["classifier.1.weight"], arrays["classifier.1.bias"]
    inputs = [pooled, file.tensor("head", list(weight.shape), weight), file.tensor("head.bias", [len(bias)], bias)]
    logits = file.tensor("logits", [1, len(bias)])
    file.operator(tflite.BuiltinOperator.FULLY_CONNECTED, inputs, logits)
    path.write_bytes(file.finish(logits))
    return path
