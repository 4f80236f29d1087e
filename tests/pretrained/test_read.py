"""Files of every kind, written as their projects write them, against the arrays they were made of."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mnv2_sweep.models.build import build_model
from mnv2_sweep.models.pretrained import build_pretrained
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.resolve import resolve
from mnv2_sweep.pretrained.deepened import DEEPENED
from mnv2_sweep.pretrained.read import read_weights
from mnv2_sweep.pretrained.weights import Weights, drop_background
from mnv2_sweep.trials.weights import HALF, IMAGENET_MEAN, IMAGENET_STD, WeightsRecord
from tests.weight_files import (
    convolutions,
    draw_arrays,
    keras_config,
    keras_layers,
    rename,
    save_h5,
    save_keras,
    save_onnx,
    save_safetensors,
    save_tfjs,
    save_tflite,
    save_torch,
)

ARRAYS = draw_arrays()
TORCH = (1e-5, "torch", IMAGENET_MEAN, IMAGENET_STD)
GOOGLE = (1e-3, "same", HALF, HALF)
SHARED = Path(__file__).resolve().parents[3] / "shared" / "weights"
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/weights beside the checkout")

NAMED = {
    "torchvision": TORCH, "d-li14": TORCH, "timm": TORCH, "mmpretrain": TORCH, "hugging face": GOOGLE,
}  # fmt: skip
WRITTEN = {
    "h5, weights alone": ("keras", GOOGLE, lambda path: save_h5(path / "a.h5", keras_layers(ARRAYS))),
    "h5, whole": ("keras", GOOGLE, lambda path: save_h5(path / "a.h5", keras_layers(ARRAYS), keras_config())),
    "h5, in a model": (
        "keras",
        GOOGLE,
        lambda path: save_h5(path / "a.h5", keras_layers(ARRAYS), keras_config(), "model_1"),
    ),
    "keras": ("keras", GOOGLE, lambda path: save_keras(path / "a.keras", keras_layers(ARRAYS))),
    "tensorflow.js": ("tensorflow.js", GOOGLE, lambda path: save_tfjs(path / "model.json", keras_layers(ARRAYS))),
    "onnx": ("onnx", TORCH, lambda path: save_onnx(path / "a.onnx", ARRAYS, 1e-5)),
    "onnx, Google's": ("onnx", GOOGLE, lambda path: save_onnx(path / "a.onnx", ARRAYS, 1e-3, "same")),
    "onnx, two files": ("onnx", TORCH, lambda path: save_onnx(path / "a.onnx", ARRAYS, 1e-5, outside=True)),
}
FOLDED = {
    "onnx": ("onnx", TORCH, lambda path: save_onnx(path / "a.onnx", ARRAYS, None)),
    "tflite": ("tflite", GOOGLE, lambda path: save_tflite(path / "a.tflite", ARRAYS)),
    "tflite, PAD": ("tflite", GOOGLE, lambda path: save_tflite(path / "a.tflite", ARRAYS, "pad")),
    "tflite, torch's": ("tflite", (1e-3, *TORCH[1:]), lambda path: save_tflite(path / "a.tflite", ARRAYS, "torch")),
}


def conventions(record) -> tuple:
    return record.epsilon, record.padding, record.mean, record.std


def assert_same(arrays: dict, expected: dict) -> None:
    assert arrays.keys() == expected.keys()
    assert [name for name in expected if not np.array_equal(arrays[name], expected[name])] == []


# ---------------------------------------------------------------- arrays and conventions


@pytest.mark.parametrize("kind, said", NAMED.items(), ids=NAMED)
@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_names_of_other_projects(tmp_path, kind, said, ending):
    save = save_torch if ending == "pth" else save_safetensors
    weights = read_weights(save(tmp_path / f"weights.{ending}", rename(ARRAYS, kind)))
    assert_same(weights.arrays, ARRAYS)
    record = weights.record
    assert (record.kind, record.width, record.classes, record.order) == (kind, 0.1, 5, "own")
    assert conventions(record) == said and not record.folded


@pytest.mark.parametrize("kind, said, write", WRITTEN.values(), ids=WRITTEN)
def test_files_of_other_kinds(tmp_path, kind, said, write):
    weights = read_weights(write(tmp_path))
    assert_same(weights.arrays, ARRAYS)
    assert (weights.record.kind, weights.record.classes) == (kind, 5)
    assert conventions(weights.record) == said and not weights.record.folded


@pytest.mark.parametrize("kind, said, write", FOLDED.values(), ids=FOLDED)
def test_folded_files_compute_the_same(tmp_path, kind, said, write):
    weights = read_weights(write(tmp_path))
    assert (weights.record.kind, weights.record.folded, weights.record.resolution) == (kind, True, 32)
    assert conventions(weights.record) == said
    whole = replace(weights, record=replace(weights.record, folded=False), arrays=ARRAYS)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        folded, unfolded = build_pretrained(weights).eval()(images), build_pretrained(whole).eval()(images)
    assert torch.allclose(folded, unfolded, atol=2e-5 * float(unfolded.abs().max()))
    assert float(unfolded.abs().max()) > 0.1


@pytest.mark.parametrize("kind", NAMED)
def test_files_without_a_classifier(tmp_path, kind):
    weights = read_weights(save_safetensors(tmp_path / "a.safetensors", rename(ARRAYS, kind, head=False)))
    assert (weights.record.classes, weights.record.order) == (0, "")
    assert_same(weights.arrays, {name: array for name, array in ARRAYS.items() if "classifier" not in name})


def test_8_bits_are_read_as_they_are_rounded(tmp_path):
    weights = read_weights(save_tflite(tmp_path / "a.tflite", ARRAYS, bits=8))
    plain = read_weights(save_tflite(tmp_path / "b.tflite", ARRAYS))
    for layer in convolutions():
        name = f"{layer.name}.weight"
        step = np.abs(plain.arrays[name]).max(axis=(1, 2, 3), keepdims=True) / 127  # a scale a channel
        apart = np.abs(weights.arrays[name] - plain.arrays[name])
        assert (apart <= 0.501 * step).all() and apart.max() > 0


DEEP = {name: replace(arch, classes=1000) for name, arch in DEEPENED.items()}


@pytest.mark.parametrize("arch", [ArchSpec(width=1.4), *DEEP.values()], ids=["140", *DEEP])
@pytest.mark.slow
def test_the_network_is_found_by_its_shapes(tmp_path, arch):
    arrays = {name: value.numpy() for name, value in build_model(arch).state_dict().items()}
    weights = read_weights(save_torch(tmp_path / "a.pth", rename(arrays, "timm", arch)))
    assert resolve(weights.record.arch) == resolve(arch)
    assert weights.record.order == "imagenet"


def test_timm_s_deeper_networks_have_its_channels_and_repeats():
    rows = {name: [(s.c, s.n) for s in arch.stages] for name, arch in DEEPENED.items()}
    assert rows["110d"] == [(16, 1), (24, 3), (32, 4), (72, 5), (104, 4), (176, 4), (352, 1)]
    assert rows["120d"] == [(24, 1), (32, 3), (40, 5), (80, 6), (112, 5), (192, 5), (384, 1)]


# ---------------------------------------------------------------- what a file says of itself


def test_metadata_of_a_safetensors_file_count(tmp_path):
    said = {"eps": "0.001", "padding": "tf", "mean": "0.5", "std": "0.25,0.5,0.75", "resolution": "96"}
    weights = read_weights(save_safetensors(tmp_path / "a.safetensors", rename(ARRAYS, "torchvision"), said))
    record = weights.record
    assert conventions(record) == (1e-3, "same", HALF, (0.25, 0.5, 0.75)) and record.resolution == 96
    assert weights.notes == ()


def test_what_is_assumed_is_said(tmp_path):
    weights = read_weights(save_torch(tmp_path / "a.pth", rename(ARRAYS, "torchvision")))
    assert any("weights check" in note for note in weights.notes)
    assert any("224 is assumed" in note for note in weights.notes)


def test_a_config_of_keras_says_epsilon_and_resolution(tmp_path):
    record = read_weights(save_h5(tmp_path / "a.h5", keras_layers(ARRAYS), keras_config(64, 2e-3))).record
    assert (record.epsilon, record.resolution) == (2e-3, 64)


def test_a_head_of_somebody_s_own_is_left_out_and_said(tmp_path):
    layers = keras_layers(ARRAYS, head=False) | {"dense": {"kernel": np.ones((1280, 3), np.float32)}}
    config = keras_config()
    config["config"]["layers"].append({"class_name": "Dense", "config": {"name": "dense"}})
    weights = read_weights(save_h5(tmp_path / "a.h5", layers, config))
    assert weights.record.classes == 0 and any("left out" in note for note in weights.notes)


@pytest.mark.parametrize("nest", ["state_dict", "model"])
def test_weights_of_a_trainer_s_checkpoint(tmp_path, nest):
    arrays = {f"module.{name}": array for name, array in rename(ARRAYS, "mmpretrain").items()}
    weights = read_weights(save_torch(tmp_path / "a.pth", arrays, nest, meta={"epoch": 300}, optimizer={"lr": 0.1}))
    assert_same(weights.arrays, ARRAYS)


def test_our_own_exports_say_their_network_and_pixels(tmp_path):
    arch = json.dumps({"width": 0.1, "resolution": 32, "classes": 5})
    path = save_torch(
        tmp_path / "a.pt",
        rename(ARRAYS, "torchvision"),
        "state_dict",
        arch=arch,
        size=24,
        pixels="value / 127.5 - 1",
    )
    record = read_weights(path).record
    assert (record.kind, record.resolution) == ("mnv2-sweep", 24)
    assert conventions(record) == (1e-5, "torch", HALF, HALF)


def test_the_digest_is_the_file_s_and_of_two_files_both_count(tmp_path):
    first = save_onnx(tmp_path / "a.onnx", ARRAYS, 1e-5, outside=True)
    before = read_weights(first).record.sha256
    outside = tmp_path / "a.onnx.data"
    changed = bytearray(outside.read_bytes())
    changed[len(changed) // 2] ^= 1
    outside.write_bytes(changed)
    assert read_weights(first).record.sha256 != before


def test_the_background_is_dropped():
    record = WeightsRecord("a", "0" * 64, "keras", classes=1001, order="imagenet after background")
    arrays = {"classifier.1.weight": np.arange(2002.0).reshape(1001, 2), "classifier.1.bias": np.arange(1001.0)}
    cut = drop_background(Weights(record, arrays))
    assert (cut.record.classes, cut.record.order, cut.arrays["classifier.1.bias"][0]) == (1000, "imagenet", 1.0)
    assert cut.arrays["classifier.1.weight"].shape == (1000, 2) and drop_background(cut) is cut


# ---------------------------------------------------------------- real files


@needs_shared
def test_google_s_8_bit_file_is_what_was_made_of_it():
    folder = SHARED / "mobilenet_v2_1.0_224_quant"
    quantised = read_weights(folder / "mobilenet_v2_1.0_224_quant.tflite")
    made = read_weights(folder / "mobilenet_v2_1.0_224_from_quant.safetensors")
    assert quantised.record.order == made.record.order == "imagenet after background"
    assert quantised.record.mean == pytest.approx([128 / 255] * 3) == quantised.record.std
    kernels = [name for name, array in made.arrays.items() if array.ndim > 1]
    assert len(kernels) == 53
    assert_same({n: quantised.arrays[n] for n in kernels}, {n: made.arrays[n] for n in kernels})


@needs_shared
def test_the_shared_0_35_has_google_s_conventions_and_no_classifier():
    path = SHARED / "mobilenet_v2_0.35_224_no_top" / "mobilenet_v2_0.35_224_no_top.safetensors"
    record = read_weights(path).record
    assert conventions(record) == GOOGLE and (record.width, record.classes) == (0.35, 0)
