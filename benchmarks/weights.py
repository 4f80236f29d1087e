"""Every kind of weight file against a judge that is not ours: the project's own library writes a file with random
weights and runs it; we read the file and run ours.

    python benchmarks/weights.py [KIND ...]       kinds: torchvision keras hugging-face timm mmpretrain onnx tflite

Run it in a throw-away environment that has the libraries beside ours: keras, transformers, timm, mmpretrain with
mmcv-lite, onnxruntime with onnxscript, ai-edge-litert with litert-torch. A judge that is not installed is said and left
out. torchvision's compiled part does not fit a CPU build of torch, which stops its import; the one operator that is
missed is declared here. Printed, each as a part of the largest output: the largest difference between judge and us,
our own rounding (float32 against float64), and what the other padding and the other epsilon would change.
"""

import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from mnv2_sweep.models.build import build_model
from mnv2_sweep.models.pretrained import build_pretrained
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.pretrained.read import read_weights
from mnv2_sweep.pretrained.weights import Weights

MOST = 10  # times our own rounding
SHARED = Path(os.environ.get("MNV2_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "weights"
Case = tuple[str, Path, np.ndarray, np.ndarray]  # what it is, its file, images [N, 3, s, s], the judge's outputs


def open_torchvision() -> None:
    """Make torchvision importable where its compiled part does not fit torch's build: no network here needs that."""
    for name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{name}", "(Tensor boxes, Tensor scores, float threshold) -> Tensor")


def draw_images(side: int) -> np.ndarray:
    return np.random.RandomState(side).uniform(-1, 1, (2, 3, side, side)).astype(np.float32)


def randomise(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Give every norm numbers of its own near what images make of it, so that epsilon, order and padding show in the
    outputs and rounding does not grow from layer to layer."""
    torch.manual_seed(seed)
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.3, 0.3)
            norm.momentum = 1.0
        for linear in (module for module in model.modules() if isinstance(module, torch.nn.Linear)):
            linear.weight.uniform_(-0.1, 0.1)
        model.train()
        model(torch.from_numpy(draw_images(64)))
        for norm in norms:
            norm.running_mean += norm.running_var.sqrt() * torch.empty_like(norm.running_mean).uniform_(-0.3, 0.3)
            norm.running_var *= torch.empty_like(norm.running_var).uniform_(0.7, 1.3)
    model.eval()  # mmpretrain's returns nothing
    return model


# ---------------------------------------------------------------- judges


def torchvision_cases(folder: Path) -> Iterator[Case]:
    from torchvision.models import mobilenet_v2

    for width in (0.35, 1.0):
        yield from torch_case(
            f"torchvision {width}", randomise(mobilenet_v2(width_mult=width)), folder / f"tv{width}.pth"
        )
    real = os.environ.get("MNV2_TORCHVISION_FILE")  # mobilenet_v2-b0353104.pth
    if real:
        model = mobilenet_v2()
        model.load_state_dict(torch.load(real, weights_only=True))
        yield from torch_case("torchvision 1.0, its own weights", model.eval(), folder / "real.pth")


def keras_cases(folder: Path) -> Iterator[Case]:
    import keras

    keras.utils.set_random_seed(0)
    applications = keras.applications.MobileNetV2

    def fill(model) -> None:
        random = np.random.RandomState(0)
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                n = layer.gamma.shape[0]
                layer.set_weights(
                    [random.uniform(*ends, n) for ends in ((0.5, 1.5), (-0.3, 0.3), (-0.3, 0.3), (0.05, 1.0))]
                )

    def run(model, images: np.ndarray) -> np.ndarray:
        outputs = model.predict(images.transpose(0, 2, 3, 1), verbose=0)
        return outputs.transpose(0, 3, 1, 2) if outputs.ndim == 4 else outputs

    for width, side in ((0.35, 96), (0.5, 97), (0.75, 128), (1.0, 161), (1.3, 64), (1.4, 224)):
        model = applications(alpha=width, input_shape=(side, side, 3), weights=None, classifier_activation=None)
        fill(model)
        images = draw_images(side)
        outputs = run(model, images)
        for ending in ("h5", "weights.h5", "keras"):
            path = folder / f"{width}.{ending}"
            model.save_weights(path) if ending == "weights.h5" else model.save(path)
            yield f"keras {ending} {width} at {side}", path, images, outputs
    base = applications(alpha=0.35, input_shape=(96, 96, 3), weights=None, include_top=False)
    fill(base)
    layers = keras.layers
    inner = keras.Sequential([base, layers.GlobalAveragePooling2D()])
    machine = keras.Sequential([inner, keras.Sequential([layers.Dense(100, "relu"), layers.Dense(3, "softmax")])])
    machine.build((None, 96, 96, 3))
    image = keras.Input((96, 96, 3))
    nested = layers.Dense(5)(layers.GlobalAveragePooling2D()(base(layers.Rescaling(1 / 127.5, -1)(image))))
    images = draw_images(96)
    maps = run(base, images)
    for name, model in (("no top", base), ("as Teachable Machine", machine), ("nested", keras.Model(image, nested))):
        for ending in ("h5", "keras"):
            path = folder / f"{name.replace(' ', '_')}.{ending}"
            model.save(path)
            yield f"keras {ending} {name}", path, images, maps


def hugging_face_cases(folder: Path) -> Iterator[Case]:
    from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

    for width, side in ((0.35, 96), (0.75, 161), (1.4, 224)):
        config = MobileNetV2Config(depth_multiplier=width, num_labels=1001)
        model = randomise(MobileNetV2ForImageClassification(config))
        images = draw_images(side)
        with torch.no_grad():
            outputs = model(torch.from_numpy(images)).logits.numpy()
        model.save_pretrained(folder / f"hf{width}")
        yield (
            f"transformers safetensors {width} at {side}",
            folder / f"hf{width}" / "model.safetensors",
            images,
            outputs,
        )
        torch.save(model.state_dict(), folder / f"hf{width}.bin")
        yield f"transformers .bin {width} at {side}", folder / f"hf{width}.bin", images, outputs


def timm_cases(folder: Path) -> Iterator[Case]:
    import timm

    for name in ("050", "100", "140", "110d", "120d"):
        model = randomise(timm.create_model(f"mobilenetv2_{name}"))
        yield from torch_case(f"timm mobilenetv2_{name}", model, folder / f"timm{name}.pth")


def mmpretrain_cases(folder: Path) -> Iterator[Case]:
    from mmpretrain.models.backbones.mobilenet_v2 import MobileNetV2

    for width in (0.35, 1.0):
        net = randomise(MobileNetV2(widen_factor=width))
        images = draw_images(128)
        with torch.no_grad():
            maps = net(torch.from_numpy(images))[-1].numpy()
        path = folder / f"mm{width}.pth"
        torch.save(
            {"meta": {"epoch": 300}, "state_dict": {f"backbone.{k}": v for k, v in net.state_dict().items()}}, path
        )
        yield f"mmpretrain {width} at 128", path, images, maps


def torch_case(name: str, model: torch.nn.Module, path: Path) -> Iterator[Case]:
    images = draw_images(128)
    with torch.no_grad():
        outputs = model(torch.from_numpy(images)).numpy()
    torch.save(model.state_dict(), path)
    yield name, path, images, outputs


def onnx_cases(folder: Path) -> Iterator[Case]:
    import onnxruntime

    for width, side in ((0.35, 96), (1.0, 160)):
        model = randomise(build_model(ArchSpec(width=width, resolution=side)))
        for how, options in {
            "dynamo": {"dynamo": True}, "dynamo, one file": {"dynamo": True, "external_data": False},
            "torchscript": {"dynamo": False}, "torchscript, norms kept":
            {"dynamo": False, "training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False},
        }.items():  # fmt: skip
            path = folder / f"{how.replace(', ', '_').replace(' ', '_')}{width}.onnx"
            images = draw_images(side)
            try:
                torch.onnx.export(model, (torch.from_numpy(images),), path, verbose=False, **options)
            except Exception as error:
                print(f"  torch.onnx ({how}) does not write here: {type(error).__name__} {str(error)[:80]}")
                continue
            session = onnxruntime.InferenceSession(path)
            outputs = session.run(None, {session.get_inputs()[0].name: images})[0]
            yield f"onnxruntime, torch's {how}, {width} at {side}", path, images, outputs


def tflite_cases(folder: Path) -> Iterator[Case]:
    """Files of litert-torch, and Google's 8-bit file with its constants turned to float and its rounding taken away,
    run by LiteRT."""
    import litert_torch

    for width, side in ((0.35, 96), (0.5, 97)):
        model, images = randomise(build_model(ArchSpec(width=width, resolution=side))), draw_images(side)
        path = folder / f"{width}.tflite"
        litert_torch.convert(model, (torch.from_numpy(images[:1]),)).export(str(path))
        yield f"LiteRT, litert-torch {width} at {side}", path, images, run_tflite(path, images)
    from ai_edge_litert import schema_py_generated as schema
    from flatbuffers import Builder

    source = SHARED / "mobilenet_v2_1.0_224_quant" / "mobilenet_v2_1.0_224_quant.tflite"
    if not source.exists():
        print(f"  {source} is not here")
        return
    model = schema.ModelT.InitFromPackedBuf(source.read_bytes(), 0)
    for tensor in model.subgraphs[0].tensors:
        data, packed = model.buffers[tensor.buffer].data, tensor.quantization
        kind = {schema.TensorType.UINT8: np.uint8, schema.TensorType.INT32: np.int32}.get(tensor.type)
        if packed is None or packed.scale is None or kind is None:
            continue
        if data is not None and len(data):
            numbers = (np.frombuffer(bytes(data), kind).astype(np.float64) - packed.zeroPoint[0]) * packed.scale[0]
            model.buffers[tensor.buffer].data = np.frombuffer(numbers.astype(np.float32).tobytes(), np.uint8)
        tensor.type, tensor.quantization = schema.TensorType.FLOAT32, None
    graph, codes = model.subgraphs[0], model.operatorCodes
    if codes[graph.operators[-1].opcodeIndex].deprecatedBuiltinCode == schema.BuiltinOperator.SOFTMAX:
        graph.outputs = [graph.operators.pop().inputs[0]]  # logits are compared
    builder = Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    path = folder / "float.tflite"
    path.write_bytes(bytes(builder.Output()))
    images = draw_images(224)
    yield "LiteRT, Google's, 1.0 at 224", path, images, run_tflite(path, images)


def run_tflite(path: Path, images: np.ndarray) -> np.ndarray:
    from ai_edge_litert.interpreter import Interpreter

    interpreter, outputs = Interpreter(str(path)), []
    interpreter.allocate_tensors()
    reads, writes = interpreter.get_input_details()[0], interpreter.get_output_details()[0]["index"]
    for image in images:
        image = image if reads["shape"][1] == 3 else image.transpose(1, 2, 0)
        interpreter.set_tensor(reads["index"], np.ascontiguousarray(image[None]))
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(writes)[0])
    return np.stack(outputs)


JUDGES = {
    "torchvision": (torchvision_cases, ("torchvision",)),
    "keras": (keras_cases, ("keras",)), "hugging-face": (hugging_face_cases, ("transformers",)),
    "timm": (timm_cases, ("timm",)), "mmpretrain": (mmpretrain_cases, ("mmpretrain", "mmcv-lite")),
    "onnx": (onnx_cases, ("onnxruntime", "onnx")), "tflite": (tflite_cases, ("ai-edge-litert", "litert-torch")),
}  # fmt: skip


# ---------------------------------------------------------------- ours


def run_ours(weights: Weights, images: np.ndarray, maps: bool, dtype: torch.dtype = torch.float32) -> np.ndarray:
    """Return our outputs, or the last map."""
    model, x = build_pretrained(weights).eval().to(dtype), torch.from_numpy(images).to(dtype)
    turned = weights.record.padding == "same"
    with torch.no_grad():
        if not maps:
            return model(x).numpy()
        return model.network.features(x.flip(2, 3)).flip(2, 3).numpy() if turned else model.features(x).numpy()


def compare(title: str, path: Path, images: np.ndarray, outputs: np.ndarray) -> bool:
    """Print a line; return whether judge and we are apart by more than rounding."""
    weights, maps = read_weights(path), outputs.ndim == 4
    ours, record, largest = run_ours(weights, images, maps), weights.record, np.abs(outputs).max()
    others = (
        replace(record, padding="torch" if record.padding == "same" else "same"),
        replace(record, epsilon=1e-5 if record.epsilon == 1e-3 else 1e-3),
    )
    figures = [np.abs(ours - outputs).max(), np.abs(ours - run_ours(weights, images, maps, torch.float64)).max()]
    figures += [np.abs(run_ours(replace(weights, record=other), images, maps) - ours).max() for other in others]
    apart, rounding, padding, epsilon = (float(figure / largest) for figure in figures)
    wrong = not apart <= MOST * rounding
    print(f"  {title:48} {apart:.1e} {rounding:.1e} {padding:.1e} {epsilon:.1e}" + ("  WRONG" if wrong else ""))
    return wrong


def main(wanted: list[str]) -> int:
    os.environ["KERAS_BACKEND"] = "torch"
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    open_torchvision()
    wrong = 0
    for name in wanted or JUDGES:
        cases, packages = JUDGES[name]
        try:
            print(f"{name}: " + ", ".join(f"{package} {version(package)}" for package in packages))
            print(f"  {'':48} {'judge':7} {'round':7} {'padding':7} epsilon")
            with tempfile.TemporaryDirectory() as folder:
                for title, path, images, outputs in cases(Path(folder)):
                    wrong += compare(title, path, images, outputs)
        except ImportError as error:
            print(f"{name}: left out, {error}")
    print(f"torch {torch.__version__}, numpy {np.__version__}; {wrong} wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
