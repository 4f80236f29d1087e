"""Arrays by the names of other projects -> their Units in order: one function a project, which knows its names.

A layout is recognised by names that no other has. All but Keras's have torch's shapes and names inside a layer.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from mnv2_sweep.base.errors import WeightsError
from mnv2_sweep.pretrained.units import Norm, Unit
from mnv2_sweep.trials.weights import HALF, IMAGENET_MEAN, IMAGENET_STD

KERAS_PART = "model.weights.h5"  # of a .keras file, a zip: its weights
Arrays = Mapping[str, np.ndarray]
Places = Iterator[tuple[str, str | None]]  # a convolution and its batch norm; None for the classifier, which has a bias


@dataclass(frozen=True)
class Layout:
    """A project's names, and the conventions under which it trains."""

    kind: str
    mark: str  # a name that says it is this layout
    places: Callable[[set[str]], Places]
    epsilon: float
    padding: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


def read_layout(arrays: Arrays, where: str) -> tuple[Layout, list[Unit]]:
    """Return whose layout the arrays have, and their units. Raises WeightsError."""
    arrays = {_plain_name(name): array for name, array in arrays.items()}
    layout = next((layout for layout in LAYOUTS if layout.mark in arrays), None)
    if layout is None:
        shown = ", ".join(list(arrays)[:3]) or "nothing"
        kinds = ", ".join(layout.kind for layout in LAYOUTS)
        raise WeightsError(f"{where}: it holds {shown}, ...; no layout of a MobileNetV2 that is known here ({kinds})")
    modules = {name.rpartition(".")[0] for name in arrays}
    units = [_unit(arrays, place, norm, where) for place, norm in layout.places(modules) if place in modules]
    used = {unit.name for unit in units} | {norm for _, norm in layout.places(modules)}
    foreign = sorted(modules - used)
    if foreign:
        raise WeightsError(f"{where}: {foreign[0]} is no layer of a MobileNetV2 of {layout.kind}")
    return layout, units


def _plain_name(name: str) -> str:
    """Return the name without what nn.DataParallel and Lightning put before it."""
    return re.sub(r"^(module\.|model\.)+", "", name)


def _unit(arrays: Arrays, place: str, norm: str | None, where: str) -> Unit:
    kernel = _get(arrays, f"{place}.weight", where)
    kernel = kernel.reshape(*kernel.shape, 1, 1) if kernel.ndim == 2 else kernel
    if norm is None:
        return Unit(place, kernel, None, _get(arrays, f"{place}.bias", where))
    if f"{norm}.running_mean" not in arrays and f"{place}.bias" in arrays:
        return Unit(place, kernel, None, arrays[f"{place}.bias"])
    parts = ("weight", "bias", "running_mean", "running_var")
    return Unit(place, kernel, Norm(*(_get(arrays, f"{norm}.{part}", where) for part in parts)))


def _get(arrays: Arrays, name: str, where: str) -> np.ndarray:
    if name not in arrays:
        raise WeightsError(f"{where}: no {name} in it; the file is cut")
    return arrays[name]


# ---------------------------------------------------------------- places, in the order in which they run


def _torchvision(modules: set[str]) -> Places:
    yield "features.0.0", "features.0.1"
    for block in _numbers(r"features\.(\d+)\.conv\.\d+(?:\.\d+)?", modules):
        place = f"features.{block}.conv"
        nested = len(_numbers(rf"{re.escape(place)}\.(\d+)\.0", modules))  # expansion and depthwise, or depthwise
        for at in range(nested):
            yield f"{place}.{at}.0", f"{place}.{at}.1"
        yield f"{place}.{nested}", f"{place}.{nested + 1}"
    for last in _numbers(r"features\.(\d+)\.0", modules)[1:]:
        yield f"features.{last}.0", f"features.{last}.1"
    yield "classifier.1", None


def _d_li14(modules: set[str]) -> Places:
    yield "features.0.0", "features.0.1"
    for block in _numbers(r"features\.(\d+)\.conv\.\d+", modules):
        place = f"features.{block}.conv"
        expands = f"{place}.7" in modules  # convolution, norm, ReLU6; the same; convolution, norm
        for at in (0, 3, 6) if expands else (0, 3):
            yield f"{place}.{at}", f"{place}.{at + 1}"
    yield "conv.0", "conv.1"
    yield "classifier", None


def _timm(modules: set[str]) -> Places:
    yield "conv_stem", "bn1"
    for stage in _numbers(r"blocks\.(\d+)\.\d+\.conv_dw", modules):
        for block in _numbers(rf"blocks\.{stage}\.(\d+)\.conv_dw", modules):
            place = f"blocks.{stage}.{block}"
            expands = f"{place}.conv_pwl" in modules
            names = ("conv_pw", "conv_dw", "conv_pwl") if expands else ("conv_dw", "conv_pw")
            yield from ((f"{place}.{name}", f"{place}.bn{i}") for i, name in enumerate(names, 1))
    yield "conv_head", "bn2"
    yield "classifier", None


def _mmpretrain(modules: set[str]) -> Places:
    yield "backbone.conv1.conv", "backbone.conv1.bn"
    for stage in _numbers(r"backbone\.layer(\d+)\.\d+\.conv\.\d+\.conv", modules):
        for block in _numbers(rf"backbone\.layer{stage}\.(\d+)\.conv\.\d+\.conv", modules):
            place = f"backbone.layer{stage}.{block}.conv"
            for at in _numbers(rf"{re.escape(place)}\.(\d+)\.conv", modules):
                yield f"{place}.{at}.conv", f"{place}.{at}.bn"
    yield "backbone.conv2.conv", "backbone.conv2.bn"
    yield "head.fc", None


def _hugging_face(modules: set[str]) -> Places:
    parts = ("first_conv", "expand_1x1", "conv_3x3", "reduce_1x1")
    blocks = ["conv_stem", *(f"layer.{n}" for n in _numbers(r"mobilenet_v2\.layer\.(\d+)\.conv_3x3\.\w+", modules))]
    places = [f"mobilenet_v2.{block}.{part}" for block in blocks for part in parts] + ["mobilenet_v2.conv_1x1"]
    yield from ((f"{place}.convolution", f"{place}.normalization") for place in places)
    yield "classifier", None


def _numbers(pattern: str, modules: Iterable[str]) -> list[int]:
    """Return in order the numbers that the pattern's group has in the names that match it as a whole."""
    return sorted({int(match[1]) for name in modules if (match := re.fullmatch(pattern, name))})


TORCH = (1e-5, "torch", IMAGENET_MEAN, IMAGENET_STD)
TENSORFLOW = (1e-3, "same", HALF, HALF)
LAYOUTS = (
    Layout("torchvision", "features.1.conv.0.0.weight", _torchvision, *TORCH),
    Layout("d-li14", "features.1.conv.0.weight", _d_li14, *TORCH),
    Layout("timm", "blocks.0.0.conv_dw.weight", _timm, *TORCH),
    Layout("mmpretrain", "backbone.layer1.0.conv.0.conv.weight", _mmpretrain, *TORCH),
    Layout("hugging face", "mobilenet_v2.conv_stem.first_conv.convolution.weight", _hugging_face, *TENSORFLOW),
)  # fmt: skip
