"""A file of weights -> Weights: its arrays by our names, and the record of their conventions.

    file --what its first bytes are--> arrays, or a graph --layout, or order--> Units --fit_units--> ArchSpec, arrays

What a file says of itself (epsilon, padding, resolution, pixels) counts; what it does not say is as its project has it.
"""

import hashlib
import json
import math
import zipfile
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from mnv2_sweep.base.errors import WeightsError
from mnv2_sweep.base.text import bytes_text
from mnv2_sweep.nets.arch import SAME, ArchSpec, load_arch
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.pretrained.graphs import check_graph
from mnv2_sweep.pretrained.layouts import KERAS_PART, read_layout
from mnv2_sweep.pretrained.units import Unit, fit_units
from mnv2_sweep.pretrained.weights import Weights, turn_kernels
from mnv2_sweep.trials.weights import HALF, IMAGENET_MEAN, IMAGENET_STD, WeightsRecord

LONGEST = 600  # characters of a message
MAX_BYTES = 1 << 29  # of a file, and of all its numbers; a MobileNetV2 2.0 has 45 MB
HDF5_MAGIC, ZIP_MAGIC, PICKLE_MAGIC = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"\x80"
TFLITE_MAGIC = b"TFL3"  # bytes 4 to 8


class Found(NamedTuple):
    """What a reader found: `said` are fields of the record that the file gives, `named` its network if it has that."""

    kind: str
    units: list[Unit]
    said: dict[str, Any]
    notes: list[str]
    named: ArchSpec | None = None
    parts: tuple[Path, ...] = ()  # other files that hold its numbers
    claims: dict[str, float] | None = None  # what it says of its width and classes, which its kernels tell


def read_weights(path: Path) -> Weights:
    """Read a file of weights, of whatever kind. Raises WeightsError in one line."""
    try:
        return _fit(path, _read(path, _read_start(path)))
    except WeightsError as error:  # a damaged file's names can hold anything
        raise WeightsError(_one_line(str(error))) from error


def _fit(path: Path, found: Found) -> Weights:
    """Return the weights of what a reader found. Raises WeightsError where that is no MobileNetV2."""
    arch, arrays, folded = fit_units(found.units, str(path), found.said.get("epsilon", 1e-5), found.named)
    classes = arrays["classifier.1.bias"].size if "classifier.1.bias" in arrays else 0
    _check_claims(found.claims or {}, arch, classes, path)
    record = WeightsRecord(
        path.name, _digest(path, *found.parts), found.kind, width=arch.width, stages=arch.stages,
        last_channels=arch.last_channels, classes=classes, order=_guess_order(classes), folded=folded,
    )  # fmt: skip
    notes = found.notes
    if "resolution" not in found.said:
        notes = [*notes, f"the file does not say at which resolution it was trained; {record.resolution} is assumed"]
    return Weights(replace(record, **found.said), arrays, tuple(notes))


def _check_claims(claims: dict[str, float], arch: ArchSpec, classes: int, path: Path) -> None:
    """Raise WeightsError where the metadata say another network than the kernels are of."""
    width = claims.get("width", arch.width)
    if width != arch.width and (width <= 0 or arch_key(replace(arch, width=width)) != arch_key(arch)):
        raise WeightsError(f"{path}: its metadata say width {width:g}, its kernels are of width {arch.width:g}; one of "
                           "them is of another file")  # fmt: skip
    if claims.get("classes", classes) != classes:
        has = f"a classifier of {classes}" if classes else "no classifier"
        raise WeightsError(f"{path}: its metadata say {claims['classes']:g} classes, it has {has}; it is cut, or of "
                           "another file")  # fmt: skip


def _read_start(path: Path) -> bytes:
    """Return the first bytes of a file of a size that can be. Raises WeightsError."""
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise WeightsError(f"{path}: no file; give a file of weights, not a folder or a device")
        if size > MAX_BYTES:
            raise WeightsError(f"{path}: {bytes_text(size)}; a MobileNetV2 has less than {bytes_text(MAX_BYTES)}")
        with path.open("rb") as file:
            return file.read(64)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise WeightsError(f"{path}: can't be read ({reason}); give the path of a file of weights") from error


def _one_line(message: str) -> str:
    """Return the message without what does not print, shortened in the middle."""
    plain = "".join(sign if sign.isprintable() else "?" for sign in message)
    return plain if len(plain) <= LONGEST else f"{plain[: LONGEST // 2]} ... {plain[-LONGEST // 2 :]}"


def _digest(path: Path, *parts: Path) -> str:
    """Return the sha256 of a file; of several, that of their digests one after the other."""
    digests = []
    for one in (path, *parts):
        with one.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return digests[0] if not parts else hashlib.sha256("".join(digests).encode()).hexdigest()


def _guess_order(classes: int) -> str:
    return {0: "", 1000: "imagenet", 1001: "imagenet after background"}.get(classes, "own")


def _read(path: Path, start: bytes) -> Found:
    if start[4:8] == TFLITE_MAGIC:
        return _from_tflite(path)
    if start.startswith(HDF5_MAGIC):
        return _from_keras(path)
    if start.startswith(ZIP_MAGIC):
        return _from_zip(path)
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size:
        return _from_safetensors(path)
    if start.lstrip().startswith(b"{"):
        return _from_tfjs(path)
    if start.startswith(PICKLE_MAGIC):
        return _from_torch(path)
    if start.startswith(b"\x08") and path.stat().st_size > 1000:  # ONNX: field 1, the version of the format
        return _from_onnx(path)
    raise WeightsError(f"{path}: {_unknown_words(path, start)}")


# ---------------------------------------------------------------- one function a kind of file


def _reader(kind: str) -> ModuleType:
    """Return the module that reads files of a kind, imported when the first is read: a run that reads no weights does
    not wait for h5py, onnx and tflite."""
    return import_module(f"mnv2_sweep.pretrained.{kind}_files")


def _from_safetensors(path: Path) -> Found:
    arrays, beside = _reader("torch").read_safetensors(path, MAX_BYTES)
    if "trial" in beside and isinstance(beside.get("arch"), str):  # kept by a sweep
        return _from_kept(path, arrays, beside)
    return _from_arrays(path, arrays, beside)


def _from_kept(path: Path, arrays: dict[str, np.ndarray], beside: dict[str, Any]) -> Found:
    """A network that a sweep kept: kernels as they are in memory, turned for SAME padding."""
    named = _read_arch(beside, path)
    if "mean" not in beside and named.padding == SAME:
        raise WeightsError(f"{path}: kept by an earlier version, without the epsilon and pixels of the weights that "
                           "its network began with; give what 'mnv2-sweep export' makes of it")  # fmt: skip
    if named.padding == SAME:
        arrays = turn_kernels(arrays)
    found = _from_arrays(path, arrays, beside)
    size = str(beside.get("size", ""))
    return found._replace(said=found.said | ({"resolution": int(size)} if size.isdecimal() else {}))


def _from_torch(path: Path) -> Found:
    return _from_arrays(path, *_reader("torch").read_torch(path, MAX_BYTES))


def _from_arrays(path: Path, arrays: dict[str, np.ndarray], beside: dict[str, Any]) -> Found:
    layout, units = read_layout(arrays, str(path))
    said = {"epsilon": layout.epsilon, "padding": layout.padding, "mean": layout.mean, "std": layout.std}
    notes: list[str] = []
    if isinstance(beside.get("arch"), str):  # written by `mnv2-sweep export`
        named, size = _read_arch(beside, path), beside.get("size")
        said |= {"mean": HALF, "std": HALF, "resolution": size if isinstance(size, int) else named.resolution}
        said |= {"padding": named.padding}
        own = {name: ",".join(map(str, v)) if isinstance(v := beside[name], tuple) else str(v)
               for name in ("epsilon", "mean", "std") if name in beside}  # fmt: skip
        said |= _read_metadata({"eps" if name == "epsilon" else name: value for name, value in own.items()}, path)
        return Found("mnv2-sweep", units, said, notes, named)
    given = _read_metadata(beside, path)
    claims = _read_claims(beside, path)
    if not given and layout.kind == "torchvision":  # others give files these names too, with conventions of their own
        notes.append(f"epsilon, padding and pixels as {layout.kind} has them: the file does not say; "
                     "'weights check' tells from photos")  # fmt: skip
    return Found(layout.kind, units, said | given, notes, claims=claims)


def _read_claims(metadata: dict[str, Any], path: Path) -> dict[str, float]:
    """Return what the metadata say of width and classes. Raises WeightsError where that is no number."""
    given = {name: metadata[name] for name in ("width", "classes") if isinstance(metadata.get(name), str | int | float)}
    try:
        claims = {name: float(value) for name, value in given.items()}
        if all(map(math.isfinite, claims.values())):
            return claims
    except ValueError:
        pass
    raise WeightsError(f"{path}: its metadata say {given}; numbers allowed")


def _read_metadata(metadata: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return what the metadata of a safetensors file say of conventions. Raises WeightsError on what they can't be."""
    known: dict[str, Any] = {}
    try:
        if "eps" in metadata:
            known["epsilon"] = float(metadata["eps"])
        if "padding" in metadata:
            known["padding"] = {"tf": "same", "same": "same", "torch": "torch"}[metadata["padding"]]
        for name in ("mean", "std"):
            if name in metadata:
                values = tuple(float(word) for word in str(metadata[name]).split(","))
                known[name] = values * 3 if len(values) == 1 else values
        if "resolution" in metadata:
            known["resolution"] = int(metadata["resolution"])
        std, epsilon = known.get("std", HALF), known.get("epsilon", 1e-3)
        if min(std) <= 0 or len(std) != 3 or len(known.get("mean", HALF)) != 3 or not 0 < epsilon < 1:
            raise ValueError
        if not 1 <= known.get("resolution", 224) <= 4096:
            raise ValueError
    except (KeyError, ValueError, TypeError):
        shown = {name: metadata[name] for name in ("eps", "padding", "mean", "std", "resolution") if name in metadata}
        raise WeightsError(f"{path}: its metadata say {shown}; eps above 0, padding tf or torch, mean and std of 1 or "
                           "3 numbers and a resolution from 1 to 4096 allowed") from None  # fmt: skip
    return known


def _read_arch(beside: dict[str, Any], path: Path) -> ArchSpec:
    try:
        return load_arch(json.loads(beside["arch"]))
    except (ValueError, TypeError, KeyError) as error:
        raise WeightsError(f"{path}: its network can't be read ({error}); it was written by another version") from error


def _from_zip(path: Path) -> Found:
    """A .keras file, or one of torch; what else is a zip is said."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, RuntimeError) as error:  # at damaged ones
        raise WeightsError(f"{path}: no whole zip ({error}); fetch it anew, it is cut") from error
    if KERAS_PART in names:
        return _from_keras(path)
    if any(name.endswith("data.pkl") for name in names):
        return _from_torch(path)
    inside = next((name for name in names if name.endswith((".h5", ".tflite", ".keras", "model.json", ".onnx"))), "")
    raise WeightsError(
        f"{path}: a zip with {inside or ', '.join(names[:3]) or 'nothing'}; "
        + ("unpack it and give that file" if inside else "no .keras file and none of torch")
    )


def _from_tfjs(path: Path) -> Found:
    arrays, topology, parts = _reader("tfjs").read_tfjs(path, MAX_BYTES)
    layers: dict[str, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        *_, layer, part = ("", *name.split("/"))
        layers.setdefault(layer, {})[part] = array
    return _of_keras("tensorflow.js", *_reader("keras").keras_units(layers, topology, path))._replace(parts=parts)


def _from_keras(path: Path) -> Found:
    return _of_keras("keras", *_reader("keras").read_keras(path, MAX_BYTES))


def _of_keras(kind: str, units: list[Unit], said: dict[str, Any]) -> Found:
    head = said.pop("head", False)
    notes = ["the layers behind the last map are somebody's own and were left out"] if head else []
    said = {"epsilon": 1e-3, **said, "padding": "same", "mean": HALF, "std": HALF}
    return Found(kind, units, said, notes)


def _from_tflite(path: Path) -> Found:
    graph = _reader("tflite").read_tflite(path)
    said: dict[str, Any] = {} if graph.scale is None else _pixels(graph.scale, graph.offset)
    return _from_graph("tflite", path, graph, said, 1e-3)


def _from_onnx(path: Path) -> Found:
    graph = _reader("onnx").read_onnx(path, MAX_BYTES)
    if len(graph.epsilons) > 1:
        raise WeightsError(f"{path}: batch norms of {len(graph.epsilons)} epsilons; one is wanted")
    found = _from_graph("onnx", path, graph, {}, graph.epsilons.pop() if graph.epsilons else 1e-5)
    return found._replace(parts=tuple(graph.parts))


def _from_graph(kind: str, path: Path, graph: Any, said: dict[str, Any], epsilon: float) -> Found:
    """Join what the two readers of graphs found: which padding, and pixels as those who pad so have them."""
    notes: list[str] = []
    operators = [*graph.operators, *(graph.dense if len(graph.dense) == 1 else [])]
    if len(graph.dense) > 1:
        notes.append("the layers behind the last map are somebody's own and were left out")
    units = [one.unit for one in operators]
    arch, _, _ = fit_units(units, str(path), epsilon)
    arch = replace(arch, resolution=graph.resolution or arch.resolution)
    padding = check_graph(graph.operators, graph.joins, arch, str(path))
    if not said:
        pixels = "-1 to 1" if padding == "same" else "ImageNet's mean and std"
        notes.append(f"the file does not say what it does to pixels; {pixels} is assumed, as its padding is {padding}")
        said = {"mean": HALF, "std": HALF} if padding == "same" else {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    said |= {"epsilon": epsilon, "padding": padding} | ({"resolution": graph.resolution} if graph.resolution else {})
    return Found(kind, units, said, notes)


def _pixels(scale: float, offset: float) -> dict[str, Any]:
    """Return mean and std for which (value / 255 - mean) / std = value x scale + offset."""
    std = 1 / (255 * scale)
    return {"mean": (-offset * std,) * 3, "std": (std,) * 3}


# ---------------------------------------------------------------- what is none of these


def _unknown_words(path: Path, start: bytes) -> str:
    """Say what the file is, where its first bytes tell, and what to do."""
    if not start:
        return "an empty file; fetch it anew"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page, not the file itself; fetch what its download link leads to"
    if start.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, not the file itself; fetch it with 'git lfs pull', or by its download link"
    if start.startswith(b"\x1f\x8b"):
        return "packed with gzip; unpack it first"
    if "ckpt" in path.name:
        return ("a checkpoint of TensorFlow 1; the same numbers are in the files of Keras and of Hugging Face "
                "('mnv2-sweep weights list')")  # fmt: skip
    return ("no kind of file that is read here: .safetensors, .pth and .bin of torch, .h5 and .keras, .tflite, .onnx, "
            "model.json of TensorFlow.js")  # fmt: skip
