"""Layers -> what a device has to do for them, as numbers: the features of the latency model.

All are sums over layers, so those of a network are the sums of its parts' (`nets.steps`), for whole spaces as for one.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.plan import WEIGHTED, Layer
from mnv2_sweep.nets.resolve import find_steps
from mnv2_sweep.nets.steps import START, Part, find_parts

KERNELS = (3, 5, 7)  # of depthwise convolutions, each with a feature of its own
CURVED = ("hswish", "sigmoid")  # activations that are operations of their own on devices; limits are part of a layer
JOINS = ("add", "multiply", "concat")


class Feature(NamedTuple):
    """What a feature counts, in words, its unit, and how one of it is called."""

    words: str
    unit: str = "MAdds"
    each: str = "per MAdd"


ACTIVATIONS = "activations", "per activation"
FEATURES = {
    "pointwise": Feature("1x1 convolutions"),
    **{f"depthwise{k}": Feature(f"depthwise {k}x{k}") for k in KERNELS},
    "stem": Feature("the first convolution"),
    "other": Feature("all other convolutions"),
    "weights": Feature("weights", "numbers", "per number"),
    "elements": Feature("what layers with weights make", *ACTIVATIONS),
    "joined": Feature("shortcuts and other joins", *ACTIVATIONS),
    "curved": Feature("h-swish and sigmoid", *ACTIVATIONS),
    "moved": Feature("pools, shuffles and the like", *ACTIVATIONS),
    "layers": Feature("operations", "of them", "each"),
    "constant": Feature("each run", "of it", ""),
}
PLACES = {name: place for place, name in enumerate(FEATURES)}


def layer_features(layers: Iterable[Layer], is_start: bool) -> np.ndarray:
    """Count the features [F] of layers in a row; with `is_start` the first of them reads the image."""
    counts = dict.fromkeys(FEATURES, 0)
    counts["constant"] = int(is_start)
    for at, layer in enumerate(layers):
        made = layer.output_elements
        counts["layers"] += 1
        if layer.op in WEIGHTED:
            counts["stem" if is_start and at == 0 else _kind(layer)] += layer.madds
            counts["weights"] += layer.weights
            counts["elements"] += made
            counts["joined"] += made * (len(layer.reads) - 1)
            counts["layers"] += len(layer.reads) - 1
        elif layer.op in JOINS:
            counts["joined"] += made * (1 if layer.op == "concat" else len(layer.reads) - 1)
        else:
            counts["moved"] += layer.input_elements
        if layer.act in CURVED:
            counts["curved"] += made
            counts["layers"] += 1
    return np.array([*counts.values()], float)


def _kind(layer: Layer) -> str:
    if layer.is_depthwise and layer.kernel in KERNELS:
        return f"depthwise{layer.kernel}"
    return "pointwise" if layer.kernel == layer.groups == 1 else "other"


def part_features(part: Part) -> np.ndarray:
    """Count the features [F] of a part of networks."""
    return layer_features(part.layers(), part.before is START)


def arch_features(archs: Sequence[ArchSpec]) -> np.ndarray:
    """Count the features of every network [N, F], one by one. Raises ArchError on an impossible spec."""
    rows = [sum(map(part_features, find_parts(find_steps(arch)))) for arch in archs]
    return np.array(rows).reshape(-1, len(FEATURES))
