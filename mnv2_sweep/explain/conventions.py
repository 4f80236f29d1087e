"""ArchSpec -> what other conventions of counting make of its MAdds and params.

They are computed from the plan, each by the rule of the tool it names, as that tool counts the network that
`build_model` makes. The tests run every tool on built networks of all families and activations: fvcore
0.1.5.post20221221, torch 2.13's FlopCounterMode, ptflops 0.7.5, thop 0.1.1.post2209072238 and torchinfo 1.8.0.
Published figures are shown only beside the very network they were published for.

ptflops counts a module and then the function that the module calls: so ReLU and pools twice, but ReLU6 once, which
calls hardtanh, a function that ptflops does not know, and Hardswish not at all. torch's FlopCounterMode holds for a
forward pass only: it does not divide the weight gradients of depthwise layers by their groups, so that a training step
of MobileNetV2 counts some 20 times as much.

Of networks with another head than a classifier only those conventions are shown that are no tool's.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mnv2_sweep.nets.arch import CLASSIFIER, DEEPLAB, ArchSpec
from mnv2_sweep.nets.plan import Layer, Plan
from mnv2_sweep.nets.resolve import resolve
from mnv2_sweep.paper.published import CHECKPOINTS, MOBILENET_V1_CHECKPOINTS
from mnv2_sweep.paper.tensorflow import graph_madds

MILLION = 1_000_000
KEPT = "table 1 to the letter; TF-slim and torchvision leave it out"
ADAPTIVE = "on networks with adaptive_avg_pool2d, as torchvision's"
PTFLOPS_ACTIVATIONS = {"relu6": 1, "relu": 2, "hswish": 0, "sigmoid": 0}  # per element
PTFLOPS_NOTES = {
    "relu6": "batch norm two per element, else one",
    "relu": "bias one per element, else two",
    "hswish": "batch norm two per element, Hardswish none",
}
PUBLISHED = (*CHECKPOINTS, *MOBILENET_V1_CHECKPOINTS)
# "Total params" of Keras' model.summary().
KERAS_PARAMS = {
    ArchSpec(): 3_538_984,
    ArchSpec("mobilenet_v1"): 4_253_864,
    ArchSpec("nasnet_a"): 5_326_716,
}


@dataclass(frozen=True, slots=True)
class Convention:
    """What somebody else calls the network's MAdds or params, and why."""

    name: str
    value: int
    explanation: str


def madds_conventions(arch: ArchSpec) -> list[Convention]:
    """Return what others print as the network's operations, from the smallest to the largest."""
    return sorted(_madds_conventions(arch, resolve(arch)), key=lambda convention: convention.value)


def params_conventions(arch: ArchSpec) -> list[Convention]:
    """Return what others print as the network's parameters, from the smallest to the largest."""
    return sorted(_params_conventions(arch, resolve(arch)), key=lambda convention: convention.value)


def _madds_conventions(arch: ArchSpec, plan: Plan) -> Iterator[Convention]:
    madds = sum(layer.madds for layer in plan.convs)
    yield Convention("convolution + linear", madds, "the table above; as the papers and TF-slim count")
    yield from _millions(arch, madds)
    if arch.head == CLASSIFIER:
        yield from _with_small_operations(plan, madds)
    else:
        yield from _of_heads(plan, madds)
    kept = sum(channels**2 * size.area for channels, size in _kept_expansions(plan))
    if kept:
        yield Convention("+ 1x1 expansion kept at t = 1", madds + kept, KEPT)
    yield Convention("two per multiply-add", 2 * madds, "multiplications and additions; torch's FlopCounterMode")


def _millions(arch: ArchSpec, madds: int) -> Iterator[Convention]:
    """Yield the MAdds as tables in millions print them, where there is a million."""
    cut, near = madds // MILLION, (madds + MILLION // 2) // MILLION
    if cut:
        yield Convention("cut to whole millions", cut * MILLION, _published_madds(arch, cut))
    if near > cut > 0:
        yield Convention("rounded to whole millions", near * MILLION, _published_madds(arch, near))


def _of_heads(plan: Plan, madds: int) -> Iterator[Convention]:
    """Yield the MAdds by those conventions that no tool's rules for a head's operations are a part of."""
    biases, normed = _outputs(x for x in plan.convs if _has_bias(x)), _outputs(x for x in plan.convs if x.norm)
    yield Convention("+ bias", madds + biases, "one per output with a bias")
    yield Convention("+ bias, batch norm folded into it", madds + biases + normed, "one per output; as deployed")
    if plan.head in DEEPLAB:
        words = "dilated convolutions by space-to-batch, the last resize one per output; table 7 of the paper"
        yield Convention("by TensorFlow's graph", graph_madds(plan), words)


def _with_small_operations(plan: Plan, madds: int) -> Iterator[Convention]:
    """Yield the MAdds with what the paper leaves out: biases, batch norm, activations, pooling."""
    biased = [layer for layer in plan.convs if _has_bias(layer)]
    biases, normed = _outputs(biased), _outputs(layer for layer in plan.convs if layer.norm)
    params = sum(layer.params - layer.weights for layer in plan.convs)
    activated = [layer for layer in plan.layers if layer.act]
    act = activated[0].act  # a network keeps to one, but for squeeze-and-excite's own
    own = "" if {layer.act for layer in activated} == {act} else "; squeeze-and-excite's ReLU two"
    pooled = sum(layer.input_elements for layer in plan.layers if layer.op in ("max_pool", "avg_pool"))
    averaged = _outputs(layer for layer in plan.layers if layer.op == "avg_pool")
    last = plan.blocks[-1].layers[0].input_elements
    eval_mode, train_mode = madds + 2 * normed, madds + 5 * normed
    activations = sum(PTFLOPS_ACTIVATIONS[layer.act] * layer.output_elements for layer in activated)
    ptflops = madds + biases + 2 * normed + activations + 2 * pooled
    summands = "+ bias, batch norm" + (", activations" if activations else "")
    pools = (", pools", ", all pools") if pooled else ("", ", global pool")
    thop = "+ batch norm, four per element" + (", average pools" if averaged else "")
    yield Convention("+ bias", madds + biases, "one per output with a bias; ptflops with its aten backend")
    yield Convention("+ bias and batch norm, per parameter", madds + params, "one per parameter; torchinfo")
    yield Convention("+ bias, batch norm folded into it", madds + biases + normed, "one per output; as deployed")
    yield Convention("+ batch norm in eval mode", eval_mode, "two per element; fvcore's total()")
    yield Convention("+ batch norm in eval mode, global pool", eval_mode + last, f"fvcore {ADAPTIVE}")
    yield Convention("+ batch norm in train mode", train_mode, "five per element; fvcore's total(), for one image")
    yield Convention("+ batch norm in train mode, global pool", train_mode + last, f"fvcore {ADAPTIVE}")
    yield Convention(thop, madds + 4 * normed + averaged, "average pools one per output; thop" if averaged else "thop")
    yield Convention(summands + pools[0], ptflops, f"{PTFLOPS_NOTES[act]}{own}; ptflops")
    yield Convention(summands + pools[1], ptflops + last, f"ptflops {ADAPTIVE}")


def _params_conventions(arch: ArchSpec, plan: Plan) -> Iterator[Convention]:
    weights = sum(layer.weights for layer in plan.convs)
    bare = weights + sum(layer.c_out for layer in plan.convs if _has_bias(layer))
    bare += sum(layer.params for layer in plan.layers if layer.op == "l2_norm")
    channels = sum(layer.c_out for layer in plan.convs if layer.norm)
    trained, moving = "the table above; all that is trained", "four values per channel of batch norm"
    trained += "; torchvision's figure" if arch == ArchSpec() else ""
    moving += "; Keras' total" if KERAS_PARAMS.get(arch) == bare + 4 * channels else ""
    yield Convention("weights, bias, batch norm", bare + 2 * channels, trained)
    without = _published_params(arch, bare) if arch.family == "mobilenet_v2" else ""
    plain = "convolution, linear and its bias alone" if arch.head == CLASSIFIER else "weights, biases and scales alone"
    yield Convention("without batch norm", bare, without or plain)
    yield Convention("batch norm folded into biases", bare + channels, "one bias per channel; as deployed")
    yield Convention("with batch norm's mean and variance", bare + 4 * channels, moving)
    if arch.family == "mobilenet_v1" and arch.head == CLASSIFIER:
        # Three values per channel and 1001 classes give all of TF-slim's 4.24, 2.59, 1.34 and 0.47 million; two or
        # four values, or 1000 classes, don't.
        slim = bare + 3 * channels + (plan.convs[-1].c_in + 1 if arch.classes == 1000 else 0)
        published = _published_params(arch, slim)
        note = "three values per channel, one class more" + (f"; {published}" if published else "")
        yield Convention("as TF-slim counts MobileNetV1", slim, note)
    kept = sum(c**2 + 2 * c for c, _ in _kept_expansions(plan))
    if kept:
        yield Convention("+ 1x1 expansion kept at t = 1", bare + 2 * channels + kept, KEPT)


def _outputs(layers: Iterable[Layer]) -> int:
    return sum(layer.output_elements for layer in layers)


def _has_bias(layer: Layer) -> bool:
    return layer.bias and not layer.norm


def _kept_expansions(plan: Plan) -> list[tuple[int, int]]:
    """Return (channels, size) of the expansions that t = 1 leaves out: 1x1 convolutions that keep the channels."""
    blocks = [block for block in plan.blocks if block.kind == "bottleneck" and not block.expands]
    return [(block.convs[0].c_in, block.convs[0].size_in) for block in blocks]


def _published_madds(arch: ArchSpec, millions: int) -> str:
    printed = any(checkpoint.arch == arch and checkpoint.madds_m == millions for checkpoint in PUBLISHED)
    return f"TF-slim prints {millions}" if printed else "of tables in millions"


def _published_params(arch: ArchSpec, params: int) -> str:
    """Say who printed these parameters for this very network, or ""."""
    printed = f"{params / MILLION:.2f}"
    known = any(checkpoint.arch == arch and f"{checkpoint.params_m:.2f}" == printed for checkpoint in PUBLISHED)
    return f"TF-slim prints {printed} million" if known else ""
