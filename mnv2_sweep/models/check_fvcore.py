"""ArchSpec -> where fvcore, counting the built network, disagrees with our count: nowhere, unless one of us is wrong.

fvcore traces the network with one image and knows nothing of the plan. Compared are, layer by layer, the shapes that
it saw, multiply-adds, batch norms and parameters, and then the sums. It must meet no layer and no operator that the
plan has no place for. Its total() counts more than MAdds: `explain.conventions` has its lines.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mnv2_sweep.base.size import Size
from mnv2_sweep.base.text import count_noun
from mnv2_sweep.models.build import build_model
from mnv2_sweep.nets.arch import ArchSpec, arch_label, input_size
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.plan import Layer, norm_name
from mnv2_sweep.nets.resolve import resolve

with warnings.catch_warnings():  # fvcore 0.1.5 compiles a few functions at import, which new torch advises against
    warnings.filterwarnings("ignore", r"`torch\.jit\.script` is deprecated", DeprecationWarning)
    from fvcore.nn import FlopCountAnalysis, parameter_count
    from fvcore.nn.jit_handles import addmm_flop_jit, conv_flop_jit, get_shape, linear_flop_jit

# What fvcore has no rule for, and the paper's convention counts as nothing: activations, sums and products of maps,
# pools, L2 norm, moving and resizing of data.
UNCOUNTED = {
    *("aten::hardtanh", "aten::hardtanh_", "aten::relu6", "aten::add", "aten::add_"),
    *("aten::relu", "aten::relu_", "aten::hardswish", "aten::hardswish_"),
    *("aten::sigmoid", "aten::hardsigmoid", "aten::mul"),
    *("aten::mean", "aten::max_pool2d", "aten::avg_pool2d", "aten::pad", "aten::unflatten", "aten::flip"),
    *("aten::leaky_relu", "aten::leaky_relu_", "aten::pixel_unshuffle", "upsample_bilinear2d"),
    *("aten::linalg_vector_norm", "aten::clamp_min", "aten::expand_as", "aten::div"),  # L2 norm
}
BATCH_NORM = 2  # operations per element in eval mode, as fvcore counts it
SHAPE = ("c_in", "height_in", "width_in", "c_out", "height_out", "width_out")


@dataclass(frozen=True, slots=True)
class Difference:
    """A figure that fvcore has otherwise than we.

    what: "MAdds" | "params" | "batch norm" | "shape in" | "shape out"; "missing", of a layer that the network never
    runs; or the name of an operator that runs where the plan has none. Without a layer it is about the whole network.
    """

    network: str
    layer: str
    what: str
    ours: int | str
    theirs: int | str


def check_fvcore(arch: ArchSpec) -> list[Difference]:
    """Build the network, let fvcore count it, compare. Raises ArchError on an impossible spec."""
    plan, cost, network = resolve(arch), count_cost(arch), arch_label(arch)
    model = build_model(arch).eval()
    seen, params = count_operators(model, (arch.in_channels, input_size(arch))), parameter_count(model)
    figures = []  # (layer, what, ours, theirs)
    for layer in plan.convs:
        figures += _layer_figures(layer, seen, params)
    for layer in (layer for layer in plan.layers if layer.op == "l2_norm"):
        figures.append((layer.name, "params", layer.params, params.get(layer.name, 0)))
    planned = {layer.name for layer in plan.convs} | {norm_name(layer.name) for layer in plan.convs if layer.norm}
    for name, operators in seen.items():
        figures += [(name, operator, 0, operators[operator]) for operator in _surplus(operators, name in planned)]
    figures.append(("", "MAdds", cost.madds, sum(operators["MAdds"] for operators in seen.values())))
    figures.append(("", "params", cost.params, params[""]))
    return [Difference(network, *figure) for figure in figures if figure[2] != figure[3]]


def differences_text(archs: Sequence[ArchSpec], differences: Sequence[Difference]) -> str:
    """Return one line a difference, or one that says that there is none."""
    if not differences:
        layers = sum(len(resolve(arch).convs) for arch in archs)
        counted = f"{count_noun(len(archs), 'network')}, {count_noun(layers, 'layer')}"
        return f"fvcore agrees: {counted}, all MAdds and params equal"
    return "\n".join(map(_difference_line, differences))


def count_operators(model: nn.Module, image: tuple[int, Size]) -> dict[str, Counter[str]]:
    """Return module name -> what fvcore counts in it for one image (channels, size), without the modules inside; see
    `_counter` for the names.

    Operators that fvcore has no rule for are counted by how often they run, under their full name ("aten::add").
    """
    analysis = FlopCountAnalysis(model, torch.zeros(1, image[0], *image[1]))
    analysis.set_op_handle(
        **{"aten::_convolution": _counter(conv_flop_jit, 0), "aten::linear": _counter(linear_flop_jit, 0)},
        **{"aten::addmm": _counter(addmm_flop_jit, 1)},  # nn.Linear, in some versions of torch
    )
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    with torch.no_grad():
        counted = analysis.by_module_and_operator()
    whole = {name: operators + analysis.unsupported_ops(name) for name, operators in counted.items()}
    own = {name: Counter(operators) for name, operators in whole.items()}
    for name, operators in whole.items():
        if name:
            own[name.rpartition(".")[0]].subtract(operators)
    return {name: +operators for name, operators in own.items()}


def _counter(count: Callable, image: int) -> Callable[[list[Any], list[Any]], Counter[str]]:
    """Return fvcore's own rule, as "MAdds", and beside it the shapes; `image` is the map's place among the inputs."""

    def count_with_shapes(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
        counted = count(inputs, outputs)
        madds = sum(counted.values()) if isinstance(counted, Counter) else counted
        shapes = [[*get_shape(value)[1:], 1, 1][:3] for value in (inputs[image], outputs[0])]  # a linear layer's: 1x1
        return Counter(dict(zip(("MAdds", *SHAPE), (madds, *shapes[0], *shapes[1]), strict=True)))

    return count_with_shapes


def _layer_figures(layer: Layer, seen: dict[str, Counter[str]], params: dict[str, int]) -> list[tuple]:
    """Return (layer, what, ours, theirs) of a layer with weights and its batch norm."""
    theirs = seen.get(layer.name)
    if not theirs:  # not there, or there and never called
        return [(layer.name, "missing", layer.madds, 0)]
    norm = norm_name(layer.name) if layer.norm else ""
    normed = BATCH_NORM * layer.output_elements if norm else 0
    return [
        (layer.name, "shape in", layer.shape_in, "x".join(str(theirs[key]) for key in SHAPE[:3])),
        (layer.name, "shape out", layer.shape_out, "x".join(str(theirs[key]) for key in SHAPE[3:])),
        (layer.name, "MAdds", layer.madds, theirs["MAdds"]),
        (layer.name, "batch norm", normed, seen.get(norm, Counter())["batch_norm"] if norm else 0),
        (layer.name, "params", layer.params, params.get(layer.name, 0) + (params.get(norm, 0) if norm else 0)),
    ]


def _surplus(operators: Counter[str], planned: bool) -> list[str]:
    """Return the operators that the plan has no place for in this module."""
    allowed = UNCOUNTED | ({"MAdds", "batch_norm", *SHAPE} if planned else set(SHAPE))
    return sorted(set(operators) - allowed)


def _difference_line(difference: Difference) -> str:
    place = f"{difference.network}: {difference.layer or 'whole network'}: {difference.what}"
    ours, theirs = (f"{x:,}" if isinstance(x, int) else x for x in (difference.ours, difference.theirs))
    return f"{place} {ours} here, {theirs} in fvcore"
