"""Keras's .h5, .weights.h5 and .keras -> Units: by layer names, which are the same in all of them.

A file has them in one of three places: as the last folder of an array's path (.h5 of Keras 2 and 3), as the attribute
"name" of the folder that holds a layer's arrays (.keras and .weights.h5 of Keras 3), and in the config, which also says
epsilon and padding; files of weights alone have no config. Nothing outside the file is ever opened: links to other
files and arrays kept in them are refused. Arrays are as TensorFlow has them: [height, width, in, out], depthwise
[height, width, channels, 1], linear [in, out].
"""

import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from mnv2_sweep.base.errors import WeightsError
from mnv2_sweep.base.text import bytes_text
from mnv2_sweep.pretrained.layouts import KERAS_PART
from mnv2_sweep.pretrained.units import Norm, Unit

MOST_OBJECTS = 20_000  # groups and arrays; a MobileNetV2 has some 700, with an optimizer's state three times as many
DEEPEST = 16
NORM_PARTS = ("gamma", "beta", "moving_mean", "moving_variance")  # in this order too where they have numbers only
CONFIG_PART = "config.json"
Layers = dict[str, dict[str, np.ndarray]]


def read_keras(path: Path, limit_bytes: int) -> tuple[list[Unit], dict[str, Any]]:
    """Return the units and what the config says of the network: epsilon, resolution, head. Raises
    WeightsError."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                config = json.loads(_read_part(archive, CONFIG_PART, path, limit_bytes))
                weights = io.BytesIO(_read_part(archive, KERAS_PART, path, limit_bytes))
                layers = _read_h5(weights, path, limit_bytes)[0]
        else:
            layers, config = _read_h5(path, path, limit_bytes)
    except (
        OSError,
        RuntimeError,
        LookupError,
        TypeError,
        ValueError,
        EOFError,
        zlib.error,
        zipfile.BadZipFile,
    ) as error:
        why = str(error).partition("\n")[0]
        raise WeightsError(f"{path}: no whole file of Keras ({why}); fetch it anew, it may be cut") from error
    return keras_units(layers, config, path)


def keras_units(layers: Layers, config: Any, path: Path) -> tuple[list[Unit], dict[str, Any]]:
    """Return what `read_keras` does of arrays by layer and name. Raises WeightsError."""
    return _units(layers, path), _read_config(config, path) if config else {}


def _read_part(archive: zipfile.ZipFile, name: str, path: Path, limit_bytes: int) -> bytes:
    """Return a part of the zip by its name; no part is ever written to the disk."""
    try:
        with archive.open(name) as part:
            content = part.read(limit_bytes + 1)  # what the zip says of its size may be untrue
    except KeyError:
        raise WeightsError(f"{path}: a zip without {name}; no .keras file") from None
    if len(content) > limit_bytes:
        raise WeightsError(f"{path}: {name} unpacks to more than {bytes_text(limit_bytes)}")
    return content


# ---------------------------------------------------------------- HDF5


def _read_h5(source: Path | BinaryIO, path: Path, limit_bytes: int) -> tuple[Layers, dict | None]:
    """Return arrays by layer and name, and the config of the model where there is one."""
    layers: Layers = {}
    with h5py.File(source, "r") as file:
        left = limit_bytes
        top = file["model_weights"] if "model_weights" in file else file
        for layer, part, array in _walk_arrays(top, path):
            left -= 4 * array.size
            if left < 0:
                raise WeightsError(f"{path}: its arrays hold more than {bytes_text(limit_bytes)}")
            if part in layers.setdefault(layer, {}):
                raise WeightsError(f"{path}: two layers are named {layer}; one MobileNetV2 a file is wanted")
            layers[layer][part] = array[()]
        text = file.attrs.get("model_config")
        return layers, json.loads(text) if text else None


def _walk_arrays(top: h5py.Group, path: Path) -> Iterator[tuple[str, str, h5py.Dataset]]:
    """Yield (layer, name, array) of every array below; an optimizer's are left out."""
    groups, seen = [(top, 0)], 0
    while groups:
        group, depth = groups.pop()
        for name in group:
            seen += 1
            if seen > MOST_OBJECTS or depth > DEEPEST:
                raise WeightsError(f"{path}: more parts than a network has; no file of one MobileNetV2")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise WeightsError(f"{path}: {name} is a link, perhaps into another file; it is not followed")
            found = group[name]
            if isinstance(found, h5py.Group) and not name.startswith("optimizer"):
                groups.append((found, depth + 1))
            elif isinstance(found, h5py.Dataset):
                if found.external or found.is_virtual:
                    raise WeightsError(f"{path}: the numbers of {name} lie in another file; it is not opened")
                if found.dtype.kind == "f":
                    yield _layer_name(group), name.partition(":")[0], found


def _layer_name(group: h5py.Group) -> str:
    name = group.attrs.get("name") or group.name.rpartition("/")[2]
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)


# ---------------------------------------------------------------- layers


def _units(layers: Layers, path: Path) -> list[Unit]:
    names = [name for name in layers if re.fullmatch(r"block_\d+_project", name)]
    blocks = ["expanded_conv", *(f"block_{n}" for n in sorted(int(name.split("_")[1]) for name in names))]
    places = [
        (f"{block}_{part}", f"{block}_{part}_BN") for block in blocks for part in ("expand", "depthwise", "project")
    ]
    places = [("Conv1", "bn_Conv1"), *places, ("Conv_1", "Conv_1_bn")]
    if "Conv1" not in layers:
        shown = ", ".join(list(layers)[:3]) or "no arrays of floats"
        raise WeightsError(
            f"{path}: it holds {shown}, ...; not the layers of Keras's MobileNetV2 (Conv1, bn_Conv1, ...)"
        )
    units = [_unit(layers, place, norm, path) for place, norm in places if place in layers]
    head = next((name for name in ("predictions", "Logits") if name in layers), None)
    return [*units, _classifier(layers[head], head, path)] if head else units


def _unit(layers: Layers, place: str, norm: str, path: Path) -> Unit:
    arrays, wanted = layers[place], layers.get(norm, {})
    kernel = next((arrays[name] for name in ("kernel", "depthwise_kernel", "0") if name in arrays), None)
    if kernel is None or kernel.ndim != 4:
        raise WeightsError(f"{path}: {place} has no kernel; the file is cut")
    depthwise = place.endswith("_depthwise")
    kernel = kernel.transpose(2, 3, 0, 1) if depthwise else kernel.transpose(3, 2, 0, 1)
    parts = [wanted.get(part, wanted.get(str(i))) for i, part in enumerate(NORM_PARTS)]
    if any(part is None for part in parts):
        raise WeightsError(f"{path}: {norm} lacks arrays of a batch norm ({', '.join(NORM_PARTS)}); the file is cut")
    return Unit(place, kernel, Norm(*parts))


def _classifier(arrays: Mapping[str, np.ndarray], name: str, path: Path) -> Unit:
    kernel, bias = (arrays.get(part, arrays.get(number)) for part, number in (("kernel", "0"), ("bias", "1")))
    if kernel is None or kernel.ndim not in (2, 4):
        raise WeightsError(f"{path}: {name} has no kernel; the file is cut")
    return Unit(name, kernel.reshape(kernel.shape[-2:]).T[:, :, None, None], None, bias)


# ---------------------------------------------------------------- the config


def _read_config(config: Any, path: Path) -> dict[str, Any]:
    """Return epsilon and resolution as the config has them, and `head`: whether layers of somebody's own follow where
    the classifier was."""
    layers = [layer for layer in _walk_config(config) if isinstance(layer.get("config"), Mapping)]
    of_kind = {kind: [x["config"] for x in layers if x.get("class_name") == kind] for kind in (
        "BatchNormalization", "Conv2D", "DepthwiseConv2D", "ZeroPadding2D", "InputLayer", "Dense", "ReLU")}  # fmt: skip
    norms = {float(one.get("epsilon", 1e-3)) for one in of_kind["BatchNormalization"]}
    if len(norms) > 1:
        raise WeightsError(f"{path}: batch norms of {len(norms)} epsilons ({norms}); one is wanted")
    caps = {one.get("max_value") for one in of_kind["ReLU"]}
    if caps - {6}:
        raise WeightsError(
            f"{path}: ReLU with max_value {sorted(caps, key=str)} given, 6 allowed: MobileNetV2 has ReLU6"
        )
    known: dict[str, Any] = {"epsilon": norms.pop()} if norms else {}
    for one in of_kind["ZeroPadding2D"]:
        if one.get("padding") not in ([[0, 1], [0, 1]], [[1, 1], [1, 1]]):  # the second at odd sizes
            raise WeightsError(f"{path}: padding {one.get('padding')} before a convolution; SAME, (0, 1), is known")
    sides = [
        shape[1] for one in of_kind["InputLayer"] if (shape := one.get("batch_shape", one.get("batch_input_shape")))
    ]
    known |= {"resolution": int(sides[-1])} if sides and sides[-1] else {}
    named = {one.get("name") for one in of_kind["Dense"]}
    return known | ({"head": True} if named - {"predictions", "Logits"} else {})


def _walk_config(value: Any) -> Iterator[Mapping]:
    """Yield every object in a JSON value."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
