"""Broken, foreign and wrong files: one clear line each."""

import json
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from mnv2_sweep.base.errors import WeightsError
from mnv2_sweep.models.build import build_model
from mnv2_sweep.pretrained.add import add_weights
from mnv2_sweep.pretrained.published import find_published
from mnv2_sweep.pretrained.read import read_weights
from tests.weight_files import (
    ARCH,
    draw_arrays,
    keras_config,
    keras_layers,
    make_onnx,
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
OURS = rename(ARRAYS, "torchvision")


class Evil:
    """A pickle that would run code."""

    def __reduce__(self):
        return Path.touch, (Path("/tmp/mnv2-sweep-ran-a-pickle"),)


def cut(path: Path, part: float = 0.6) -> Path:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    return path


def text(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def changed(name: str, value: np.ndarray | None) -> dict:
    arrays = dict(OURS)
    arrays.pop(name) if value is None else arrays.update({name: value})
    return arrays


def evil(path: Path) -> Path:
    return text(path, pickle.dumps({"weights": Evil()}))


def paddle(path: Path) -> Path:
    return text(path, pickle.dumps({"conv1._conv.weight": np.zeros((16, 3, 3, 3), np.float32)}, protocol=4))


def other_channels(path: Path) -> Path:
    """As PaddleClas cuts at 0.75: 18 channels instead of 24."""
    arrays = dict(OURS)
    for name in ("features.2.conv.2.weight", "features.3.conv.0.0.weight"):
        old = arrays[name]
        shape = (18, *old.shape[1:]) if name.endswith("2.weight") else (old.shape[0], 18, 1, 1)
        arrays[name] = np.zeros(shape, np.float32)
    return save_safetensors(path, arrays)


def linked_h5(path: Path) -> Path:
    save_h5(path, keras_layers(ARRAYS))
    with h5py.File(path, "a") as file:
        file["more"] = h5py.ExternalLink("/etc/passwd", "/")
    return path


def outside_h5(path: Path) -> Path:
    text(path.with_name("numbers.bin"), bytes(64))
    with h5py.File(path, "w") as file:
        file.create_dataset("Conv1/Conv1/kernel:0", (4, 4), "f4", external=[("numbers.bin", 0, 64)])
    return path


def endless_h5(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        group = file.create_group("model_weights")
        group["again"] = group
    return path


def huge_h5(path: Path) -> Path:
    with h5py.File(path, "w") as file:  # 4 TB in a file of some kB
        file.create_dataset("Conv1/Conv1/kernel:0", (1 << 20, 1 << 20), "f4", chunks=(1 << 10, 1 << 10), compression=1)
    return path


def bomb_keras(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("config.json", "{}")
        with archive.open("model.weights.h5", "w", force_zip64=True) as part:
            for _ in range(520):
                part.write(bytes(1 << 20))
    return path


def relu_keras(path: Path) -> Path:
    config = keras_config()
    config["config"]["layers"][-1]["config"]["max_value"] = None
    return save_keras(path, keras_layers(ARRAYS), config)


def other_zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("keras_model.h5", b"")
        archive.writestr("labels.txt", "0 cat")
    return path


def relu_onnx(path: Path) -> Path:
    model = make_onnx(ARRAYS, 1e-5)
    for node in model.graph.node:
        if node.op_type == "Clip":
            node.op_type = "Relu"
            del node.input[1:]
    onnx.save(model, path)
    return path


def changed_onnx(path: Path, name: str, values: list[int]) -> Path:
    """The first layer, the stem of stride 2, has other strides or pads."""
    model = make_onnx(ARRAYS, 1e-5)
    for attribute in model.graph.node[0].attribute:
        if attribute.name == name:
            attribute.ints[:] = values
    onnx.save(model, path)
    return path


def escaping_onnx(path: Path) -> Path:
    model = make_onnx(ARRAYS, 1e-5)
    tensor = model.graph.initializer[2]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    onnx.save(model, path)
    return path


def other_onnx(path: Path) -> Path:
    weight = numpy_helper.from_array(np.zeros((4, 3), np.float32), "w")
    node = helper.make_node("Sin", ["x"], ["y"])
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 3])
    onnx.save(helper.make_model(helper.make_graph([node], "other", [x], [y], [weight] * 40)), path)
    return path


def lone_onnx(path: Path) -> Path:
    save_onnx(path, ARRAYS, 1e-5, outside=True)
    path.with_name(f"{path.name}.data").unlink()
    return path


def short_onnx(path: Path) -> Path:
    save_onnx(path, ARRAYS, 1e-5, outside=True)
    cut(path.with_name(f"{path.name}.data"))
    return path


def escaping_tfjs(path: Path) -> Path:
    save_tfjs(path, keras_layers(ARRAYS))
    model = json.loads(path.read_text())
    model["weightsManifest"][0]["paths"][0] = "/etc/passwd"
    return text(path, json.dumps(model))


def cut_tfjs(path: Path) -> Path:
    save_tfjs(path, keras_layers(ARRAYS))
    cut(path.with_name("group1-shard3of3.bin"))
    return path


def wide_tensor(path: Path) -> Path:
    """A tensor that says it is 16 TB and has one number behind it."""
    torch.save(
        {**{n: torch.tensor(a) for n, a in OURS.items()}, "features.0.0.weight": torch.zeros(1).expand(1 << 42)}, path
    )
    return path


def other_blocks(path: Path) -> Path:
    arch = replace(ARCH, stages=ARCH.stages[:4])
    return save_torch(path, {n: v.numpy() for n, v in build_model(arch).state_dict().items()})


CASES = {
    # name: (file name, what writes it, words of the one line)
    "not there": ("a.pth", lambda p: p, ("can't be read", "No such file")),
    "folder": ("a", lambda p: (p.mkdir(), p)[1], ("no file", "not a folder")),
    "empty": ("a.pth", lambda p: text(p, ""), ("an empty file",)),
    "web page": ("a.pth", lambda p: text(p, "<!DOCTYPE html><html>"), ("a web page",)),
    "Git LFS": ("a.onnx", lambda p: text(p, "version https://git-lfs.github.com/spec/v1\noid"), ("Git LFS",)),
    "gzip": ("a.tgz", lambda p: text(p, b"\x1f\x8b\x08" + bytes(60)), ("unpack it",)),
    "TF checkpoint": ("m.ckpt.data-00000-of-00001", lambda p: text(p, bytes(2000)), ("TensorFlow 1", "weights list")),
    "noise": ("a.bin", lambda p: text(p, b"\x17" * 5000), ("no kind of file",)),
    "evil pickle": ("a.pth", evil, ("pickle", "not read")),
    "PaddleClas": ("a.pdparams", paddle, ("pickle",)),
    "torch, cut": ("a.pth", lambda p: cut(save_torch(p, OURS)), ("cut",)),
    "safetensors, cut": ("a.safetensors", lambda p: cut(save_safetensors(p, OURS)), ("safetensors", "fetch it anew")),
    "keras, cut": ("a.keras", lambda p: cut(save_keras(p, keras_layers(ARRAYS))), ("cut",)),
    "h5, cut": ("a.h5", lambda p: cut(save_h5(p, keras_layers(ARRAYS))), ("cut",)),
    "tflite, cut": ("a.tflite", lambda p: cut(save_tflite(p, ARRAYS)), ("tflite",)),
    "onnx, cut": ("a.onnx", lambda p: cut(save_onnx(p, ARRAYS, 1e-5)), ("cut",)),
    "onnx, other file missing": ("a.onnx", lone_onnx, ("not beside it",)),
    "onnx, other file cut": ("a.onnx", short_onnx, ("too short", "cut")),
    "onnx, escaping": ("a.onnx", escaping_onnx, ("no file of the same folder", "not opened")),
    "onnx, another network": ("a.onnx", other_onnx, ("Sin", "no MobileNetV2")),
    "onnx, ReLU": ("a.onnx", relu_onnx, ("a ReLU", "a ReLU up to 6")),
    "onnx, other strides": ("a.onnx", lambda p: changed_onnx(p, "strides", [1, 1]), ("stride 1", "2 and 1")),
    "onnx, two paddings": ("a.onnx", lambda p: changed_onnx(p, "pads", [0, 0, 1, 1]), ("pad in 2 ways",)),
    "tfjs, escaping": ("model.json", escaping_tfjs, ("no file of the same folder",)),
    "tfjs, cut": ("model.json", cut_tfjs, ("cut",)),
    "json": ("a.json", lambda p: text(p, '{"a": 1}'), ("TensorFlow.js",)),
    "other channels": ("a.safetensors", other_channels, ("features.2.conv.2 has 18 channels", "multiples of 8")),
    "other blocks": ("a.pth", other_blocks, ("MobileNetV2",)),
    "other layout": ("a.pth", lambda p: save_torch(p, {"layer1.0.conv1.weight": np.zeros(3)}), ("no layout",)),
    "a layer too much": ("a.pth", lambda p: save_torch(p, changed("aux.0.weight", np.zeros(3))), ("aux.0", "no layer")),
    "a layer missing": ("a.pth", lambda p: save_torch(p, changed("features.5.conv.3.bias", None)), ("cut", "bias")),
    "a kernel missing": ("a.pth", lambda p: save_torch(p, changed("features.5.conv.1.0.weight", None)), ("layer",)),
    "not finite": (
        "a.pth", lambda p: save_torch(p, changed("features.0.1.bias", np.full(8, np.nan))), ("8 values not finite",)),
    "negative variance": (
        "a.pth", lambda p: save_torch(p, changed("features.0.1.running_var", np.full(8, -1.0))), ("negative",)),
    "a norm too short": (
        "a.pth", lambda p: save_torch(p, changed("features.0.1.bias", np.zeros(4))), ("(4,)", "(8,)")),
    "no state": ("a.pth", lambda p: (torch.save([1, 2], p), p)[1], ("no state_dict",)),
    "a whole model": ("a.pth", lambda p: (torch.save(build_model(ARCH), p), p)[1], ("pickle",)),
    "whole numbers": (
        "a.pth", lambda p: save_torch(p, {n: a.astype(np.int32) for n, a in OURS.items()}), ("int32", "floats")),
    "whole numbers, h5": (
        "a.h5", lambda p: save_h5(p, keras_layers({n: a.astype(np.int32) for n, a in ARRAYS.items()})),
        ("no arrays of floats",)),
    "all zeros": (
        "a.pth", lambda p: save_torch(p, {n: np.zeros_like(a) for n, a in OURS.items()}), ("all zeros",)),
    "zeros, onnx": (
        "a.onnx", lambda p: save_onnx(p, {n: np.zeros_like(a) for n, a in ARRAYS.items()}, 1e-5), ("all zeros",)),
    "another width": (
        "a.safetensors", lambda p: save_safetensors(p, OURS, {"width": "1.0"}), ("say width 1,", "of width 0.1;")),
    "other classes": (
        "a.safetensors", lambda p: save_safetensors(p, OURS, {"classes": "1000"}), ("1000 classes", "of 5;")),
    "classes of none": (
        "a.safetensors", lambda p: save_safetensors(p, rename(ARRAYS, "timm", head=False), {"classes": "1000"}),
        ("1000 classes", "no classifier")),
    "no width": ("a.safetensors", lambda p: save_safetensors(p, OURS, {"width": "wide"}), ("wide", "numbers")),
    "16 TB": ("a.pth", wide_tensor, ("too many",)),
    "h5, a link": ("a.h5", linked_h5, ("link", "not followed")),
    "h5, another file": ("a.h5", outside_h5, ("another file", "not opened")),
    "h5, endless": ("a.h5", endless_h5, ("more parts",)),
    "h5, 4 TB": ("a.h5", huge_h5, ("hold more than",)),
    "h5, another network": ("a.h5", lambda p: save_h5(p, {"dense": {"kernel": np.ones((3, 3))}}), ("not the layers",)),
    "keras, ReLU": ("a.keras", relu_keras, ("max_value", "ReLU6")),
    "zip with the file": ("a.zip", other_zip, ("keras_model.h5", "unpack it")),
    "metadata": ("a.safetensors", lambda p: save_safetensors(p, OURS, {"padding": "valid"}), ("valid", "tf or torch")),
}  # fmt: skip


@pytest.mark.parametrize("name, write, words", CASES.values(), ids=CASES)
def test_a_broken_file_is_one_clear_line(tmp_path, name, write, words):
    path = write(tmp_path / name)
    with pytest.raises(WeightsError) as caught:
        read_weights(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message and len(message) < 400 + len(str(path))
    assert [word for word in words if word not in message] == [], message
    assert not Path("/tmp/mnv2-sweep-ran-a-pickle").exists()


@pytest.mark.slow
def test_a_zip_that_unpacks_to_more_than_any_network_has(tmp_path):
    with pytest.raises(WeightsError, match="unpacks to more than"):
        read_weights(bomb_keras(tmp_path / "bomb.keras"))


WRONG = {
    "another digest": ("timm-1.0-224", "timm", "its sha256 begins with"),
    "another width": ("keras-1.0-96", "keras", "keras's MobileNetV2 0.1, and keras-1.0-96 is keras's 1.0"),
    "another project": ("d-li14-0.35-224", "keras", "keras's MobileNetV2 0.1, and d-li14-0.35-224 is d-li14's"),
}


@pytest.mark.parametrize("published, kind, words", WRONG.values(), ids=WRONG)
def test_a_file_that_is_not_what_it_is_added_as(tmp_path, published, kind, words):
    file = tmp_path / "file"
    save_h5(file, keras_layers(ARRAYS)) if kind == "keras" else save_torch(file, rename(ARRAYS, kind))
    with pytest.raises(WeightsError, match=words):
        add_weights(file, tmp_path / "weights", published=find_published(published))
    assert not (tmp_path / "weights").exists()


@pytest.mark.parametrize("ending", ["pth", "safetensors", "h5", "keras", "tflite", "onnx"])
@pytest.mark.slow
def test_a_file_damaged_anywhere_is_read_or_refused_in_one_line(tmp_path, ending):
    write = {
        "pth": lambda p: save_torch(p, OURS), "safetensors": lambda p: save_safetensors(p, OURS),
        "h5": lambda p: save_h5(p, keras_layers(ARRAYS)), "keras": lambda p: save_keras(p, keras_layers(ARRAYS)),
        "tflite": lambda p: save_tflite(p, ARRAYS), "onnx": lambda p: save_onnx(p, ARRAYS, 1e-5),
    }[ending]  # fmt: skip
    content = write(tmp_path / f"whole.{ending}").read_bytes()
    random, path = np.random.RandomState(0), tmp_path / f"damaged.{ending}"
    for _ in range(40):
        damaged = bytearray(content)
        heads = random.randint(0, min(4000, len(content)), 4)  # where structure is
        for place in [*heads, *random.randint(0, len(content), 4)]:
            damaged[place] = random.randint(256)
        path.write_bytes(damaged)
        try:
            read_weights(path)
        except WeightsError as error:
            assert "\n" not in str(error)
