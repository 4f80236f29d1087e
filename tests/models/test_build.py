"""Built networks against torchvision's layout, against their plan, against fvcore and against a second forward pass."""

import warnings
from collections import Counter
from dataclasses import fields

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mnv2_sweep.base.errors import ArchError
from mnv2_sweep.base.size import Size, square
from mnv2_sweep.models.build import build_model
from mnv2_sweep.nets.arch import (
    ACTIVATIONS,
    FAMILIES,
    MOBILENET_V2,
    RESIDUALS,
    ArchSpec,
    Stage,
    input_size,
    set_expansion,
)
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.resolve import resolve
from tests.arch_samples import draw_arch

with warnings.catch_warnings():  # fvcore 0.1.5 compiles a few functions at import, which new torch advises against
    warnings.filterwarnings("ignore", r"`torch\.jit\.script` is deprecated", DeprecationWarning)
    from fvcore.nn import FlopCountAnalysis

torch.set_num_threads(1)


# ---------------------------------------------------------------- torchvision's names


def torchvision_state() -> dict[str, tuple[int, ...]]:
    """Names and shapes of torchvision.models.mobilenet_v2().state_dict(), from its source: Conv2dNormActivation is
    (0: convolution, 1: batch norm), a block's `conv` ends with a bare convolution and a bare batch norm."""
    state: dict[str, tuple[int, ...]] = {}

    def add(convolution: str, norm: str, c_out: int, c_in: int, kernel: int) -> None:
        state[f"{convolution}.weight"] = (c_out, c_in, kernel, kernel)
        state.update({f"{norm}.{name}": (c_out,) for name in ("weight", "bias", "running_mean", "running_var")})
        state[f"{norm}.num_batches_tracked"] = ()

    add("features.0.0", "features.0.1", 32, 3, 3)
    at, c_in = 1, 32
    for t, c, n in [(1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1)]:
        for _ in range(n):
            place, hidden, layer = f"features.{at}.conv", c_in * t, 0
            if t != 1:
                add(f"{place}.0.0", f"{place}.0.1", hidden, c_in, 1)
                layer = 1
            add(f"{place}.{layer}.0", f"{place}.{layer}.1", hidden, 1, 3)
            add(f"{place}.{layer + 1}", f"{place}.{layer + 2}", c, hidden, 1)
            at, c_in = at + 1, c
    add("features.18.0", "features.18.1", 1280, 320, 1)
    state["classifier.1.weight"], state["classifier.1.bias"] = (1000, 1280), (1000,)
    return state


def test_state_dict_is_torchvision_s():
    expected = torchvision_state()
    state = build_model(ArchSpec()).state_dict()
    assert len(expected) == 52 * 6 + 2 == 314
    assert [(name, tuple(value.shape)) for name, value in state.items()] == list(expected.items())
    # A few entries as torchvision prints them, so that the generator above is no second guess.
    assert expected["features.0.0.weight"] == (32, 3, 3, 3)
    assert expected["features.1.conv.0.0.weight"] == (32, 1, 3, 3)
    assert expected["features.1.conv.1.weight"] == (16, 32, 1, 1) and expected["features.1.conv.2.bias"] == (16,)
    assert expected["features.2.conv.1.0.weight"] == (96, 1, 3, 3)
    assert expected["features.17.conv.2.weight"] == (320, 960, 1, 1)
    assert expected["features.17.conv.3.running_var"] == (320,)
    assert expected["features.18.0.weight"] == (1280, 320, 1, 1)
    assert expected["classifier.1.weight"] == (1000, 1280)


def test_weights_with_torchvision_s_names_load():
    state = {name: torch.full(shape, float(i)) for i, (name, shape) in enumerate(torchvision_state().items())}
    model = build_model(ArchSpec())
    model.load_state_dict(state, strict=True)
    loaded = model.state_dict()
    assert all(torch.equal(loaded[name].float(), state[name]) for name in state)


# ---------------------------------------------------------------- the plan, and fvcore

UNUSUAL = {
    "paper": ArchSpec(),
    "t=1 everywhere": ArchSpec(stages=set_expansion(MOBILENET_V2, 1), resolution=64),
    "t=1, expansion": ArchSpec(stages=set_expansion(MOBILENET_V2, 1), resolution=32, residual="expansion"),
    "kernel 5": ArchSpec(kernel=5, resolution=48),
    "kernel 1": ArchSpec(kernel=1, resolution=31),
    "no residual": ArchSpec(residual="none", resolution=32),
    "width 1.4 at 97": ArchSpec(width=1.4, resolution=97),
    "residual expansion": ArchSpec(residual="expansion", resolution=40),
    "non-linear": ArchSpec(linear_bottleneck=False, resolution=40),
    "one pixel": ArchSpec(width=0.35, resolution=1, kernel=7),
    "stride 3": ArchSpec(stages=(Stage(2, 16, 2, 3), Stage(4, 8, 2, 5)), resolution=50),
    "relu": ArchSpec(activation="relu", resolution=40, residual="expansion", linear_bottleneck=False),
    "hswish": ArchSpec(activation="hswish", resolution=40, width=0.5, scale_last_conv=True),
    "ordinary convolutions": ArchSpec(depthwise=False, width=0.25, resolution=40),
    "all at once": ArchSpec(
        stages=set_expansion(MOBILENET_V2, 3), width=0.5, resolution=33, kernel=5, linear_bottleneck=False,
        residual="expansion", last_channels=100, classes=7, dropout=0.0,
    ),
}  # fmt: skip


SPECS = UNUSUAL | {f"drawn {seed}": draw_arch(seed) for seed in range(30)}
every_spec = pytest.mark.parametrize("arch", SPECS.values(), ids=SPECS)


def test_drawn_specs_reach_every_corner():
    drawn = [draw_arch(seed) for seed in range(30)]
    assert {arch.residual for arch in drawn} == set(RESIDUALS)
    assert {arch.kernel for arch in drawn} == {1, 3, 5, 7}
    for field in ("linear_bottleneck", "scale_last_conv", "depthwise"):
        assert {getattr(arch, field) for arch in drawn} == {True, False}
    assert {arch.activation for arch in drawn} == set(ACTIVATIONS)
    varied = {field.name for field in fields(ArchSpec) if len({getattr(arch, field.name) for arch in drawn}) > 1}
    assert varied == set(FAMILIES["mobilenet_v2"])  # a field that comes later is drawn too
    assert {block.shortcut for arch in drawn for block in resolve(arch).blocks} == {None, "bottleneck", "expansion"}
    assert any(block.shortcut == "expansion" and not block.expands for arch in drawn for block in resolve(arch).blocks)


def build_shapes(arch: ArchSpec) -> nn.Module:
    """The network on torch's meta device: every module and shape, and no number, which takes no time."""
    with torch.device("meta"):
        return build_model(arch).eval()


@pytest.mark.slow
@every_spec
def test_fvcore_counts_the_same(arch):
    model = build_shapes(arch).to_empty(device="cpu")  # fvcore traces numbers, whatever they are
    analysis = FlopCountAnalysis(model, torch.zeros(1, arch.in_channels, *input_size(arch)))
    analysis.unsupported_ops_warnings(False)
    counted, skipped = analysis.by_operator(), set(analysis.unsupported_ops())
    assert counted["conv"] + counted["linear"] == count_cost(arch).madds
    assert set(counted) == {"conv", "linear", "batch_norm"}
    # What it can't count, and we don't: ReLU6, the shortcuts' additions, the average pool, gates of squeeze-and-excite.
    activation = {"relu6": "aten::hardtanh_", "relu": "aten::relu_", "hswish": "aten::hardswish_"}[arch.activation]
    squeezes = any("squeeze" in block.roles for block in resolve(arch).blocks)
    gates = {"aten::sigmoid", "aten::mul"} if squeezes else set()
    taken_for_nothing = {"aten::relu_"}
    turned = {"aten::flip"} if arch.padding == "same" else set()
    assert skipped - {"aten::add"} == {activation, "aten::mean"} - taken_for_nothing | gates | turned
    assert ("aten::add" in skipped) == any(block.shortcut for block in resolve(arch).blocks)
    assert sum(parameter.numel() for parameter in model.parameters()) == count_cost(arch).params


@pytest.mark.slow
@every_spec
def test_every_convolution_is_the_plan_s(arch):
    model = build_shapes(arch)
    seen, names = [], {module: name for name, module in model.named_modules()}
    planned_norms = {conv.name: conv.norm for conv in resolve(arch).convs}

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Linear):
            assert module.bias is not None
            seen.append(
                (names[module], module.in_features, module.out_features, 1, 1, 1, square(1), square(1), "linear")
            )
            return
        (x,) = inputs
        assert (module.bias is None) == planned_norms[names[module]]
        assert (x.shape[1], output.shape[1]) == (module.in_channels, module.out_channels)
        (kernel, _), (stride, _) = module.kernel_size, module.stride
        assert module.kernel_size == (kernel, kernel) and module.stride == (stride, stride)
        shape = (module.in_channels, module.out_channels, kernel, stride, module.groups)
        shape += (Size(*x.shape[2:]), Size(*output.shape[2:]))
        seen.append((names[module], *shape, "conv"))

    for module in names:
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(note)
    with torch.inference_mode():
        logits = model(torch.zeros(2, arch.in_channels, *input_size(arch), device="meta"))
    assert logits.shape == (2, arch.classes)
    planned = [
        (c.name, c.c_in, c.c_out, c.kernel, c.stride, c.groups, c.size_in, c.size_out, c.op)
        for c in resolve(arch).convs
    ]
    assert seen == planned


EVERY_KIND = [ArchSpec(activation=activation) for activation in ACTIVATIONS]
EVERY_KIND += [ArchSpec(family) for family in FAMILIES if family != "mobilenet_v2"]


@pytest.mark.parametrize("arch", EVERY_KIND, ids=lambda arch: f"{arch.family} {arch.activation}")
def test_all_that_computes_is_a_plain_module_of_torch_s(arch):
    """Of exactly that class, by which tools look layers up; and one for every layer that torch has a module for."""
    plan = resolve(arch)
    found = Counter(type(module) for module in build_model(arch).modules() if not list(module.children()))
    acts = Counter({"relu6": nn.ReLU6, "relu": nn.ReLU, "hswish": nn.Hardswish}[x.act] for x in plan.layers if x.act)
    kinds = {"conv": nn.Conv2d, "linear": nn.Linear, "max_pool": nn.MaxPool2d, "avg_pool": nn.AvgPool2d}
    layers = Counter(kinds[layer.op] for layer in plan.layers if layer.op in kinds)
    norms = sum(layer.norm for layer in plan.convs)
    assert found == acts + layers + Counter({nn.BatchNorm2d: norms, nn.Dropout: 1})
    assert acts and all(kind.__module__.startswith("torch.nn.modules.") for kind in found)


@pytest.mark.parametrize("name", ["paper", "t=1 everywhere", "non-linear", "all at once"])
def test_batch_norm_and_relu6_follow_where_planned(name):
    """Both come right after the convolution, in the order in which modules are registered."""
    model = build_model(SPECS[name])
    leaves = [(n, module) for n, module in model.named_modules() if not list(module.children())]
    places = {n: i for i, (n, _) in enumerate(leaves)}
    relu6 = 0
    for conv in resolve(SPECS[name]).convs[:-1]:
        at = places[conv.name]
        assert isinstance(leaves[at + 1][1], nn.BatchNorm2d) and leaves[at + 1][1].num_features == conv.c_out
        assert isinstance(leaves[at + 2][1], nn.ReLU6) == (conv.act == "relu6")
        relu6 += conv.act == "relu6"
    assert sum(isinstance(module, nn.ReLU6) for _, module in leaves) == relu6


@pytest.mark.parametrize("name", ["relu", "hswish"])
def test_other_activations_follow_where_planned(name):
    model, kind = build_model(SPECS[name]), {"relu": nn.ReLU, "hswish": nn.Hardswish}[name]
    planned = [conv for conv in resolve(SPECS[name]).convs if conv.act]
    assert {conv.act for conv in planned} == {name} and not [m for m in model.modules() if isinstance(m, nn.ReLU6)]
    assert sum(type(module) is kind for module in model.modules()) == len(planned)


def test_impossible_spec_is_not_built():
    with pytest.raises(ArchError, match="resolution: 0 given"):
        build_model(ArchSpec(resolution=0))


# ---------------------------------------------------------------- forward pass

MIXED = (Stage(1, 8, 2, 1), Stage(3, 8, 3, 1), Stage(1, 16, 2, 2), Stage(2, 16, 2, 1))


def mixed_arch(**changes) -> ArchSpec:
    return ArchSpec(**{"stages": MIXED, "resolution": 18, "last_channels": 24, "classes": 5, **changes})


def build_lively(arch: ArchSpec, seed: int = 0) -> nn.Module:
    """The network in eval mode with weights and statistics that let no layer look like another."""
    torch.manual_seed(seed)
    model = build_model(arch).eval()
    for name, value in model.state_dict().items():
        if name.endswith("running_var") or (value.ndim == 1 and name.endswith("weight")):
            value.uniform_(0.5, 1.5)
        elif name.endswith(("running_mean", "bias")):
            value.normal_(0, 0.5)
    return model


def forward_by_hand(arch: ArchSpec, state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The docstring of ArchSpec, step by step; channels come from the state, so that no rounding is done again."""

    def convolve(x: Tensor, convolution: str, norm: str, stride: int = 1, groups: int = 1) -> Tensor:
        weight = state[f"{convolution}.weight"]
        x = functional.conv2d(x, weight, None, stride, weight.shape[-1] // 2, 1, groups)
        mean, var = state[f"{norm}.running_mean"], state[f"{norm}.running_var"]
        scale, shift = state[f"{norm}.weight"], state[f"{norm}.bias"]
        shape = (1, -1, 1, 1)
        return (x - mean.view(shape)) / (var.view(shape) + 1e-5).sqrt() * scale.view(shape) + shift.view(shape)

    def relu6(x: Tensor) -> Tensor:
        """Or what stands in its place."""
        if arch.activation == "hswish":
            return x * (x + 3).clamp(0, 6) / 6
        return x.clamp(0, 6) if arch.activation == "relu6" else x.clamp(0)

    x = relu6(convolve(x, "features.0.0", "features.0.1", 2))
    at, before = 1, None  # before: (expanded tensor, stride) of the block before
    for stage in arch.stages:
        for repeat in range(stage.n):
            place, stride, block_input = f"features.{at}.conv", stage.s if repeat == 0 else 1, x
            layer = 0 if stage.t == 1 else 1
            if layer:
                x = convolve(x, f"{place}.0.0", f"{place}.0.1")
            if arch.residual == "expansion" and before and before[1] == 1 and before[0].shape[1] == x.shape[1]:
                x = x + before[0]
            if layer:
                x = relu6(x)
            before = x, stride
            groups = x.shape[1] if arch.depthwise else 1
            x = relu6(convolve(x, f"{place}.{layer}.0", f"{place}.{layer}.1", stride, groups))
            x = convolve(x, f"{place}.{layer + 1}", f"{place}.{layer + 2}")
            if not arch.linear_bottleneck:
                x = relu6(x)
            if arch.residual == "bottleneck" and stride == 1 and block_input.shape[1] == x.shape[1]:
                x = x + block_input
            at += 1
    x = relu6(convolve(x, f"features.{at}.0", f"features.{at}.1"))
    return x.mean(dim=(2, 3)) @ state["classifier.1.weight"].T + state["classifier.1.bias"]


VARIANTS = [(residual, linear) for residual in RESIDUALS for linear in (True, False)]


@pytest.mark.parametrize("residual, linear", VARIANTS)
def test_forward_is_what_the_docstring_says(residual, linear):
    arch = mixed_arch(residual=residual, linear_bottleneck=linear)
    model, images = build_lively(arch), torch.randn(4, 3, 18, 18, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        logits, by_hand = model(images), forward_by_hand(arch, model.state_dict(), images)
    assert logits.std() > 0.001  # else anything is close
    torch.testing.assert_close(logits, by_hand, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"activation": "relu", "residual": "expansion"},
        {"activation": "hswish", "linear_bottleneck": False},
        {"activation": "hswish", "residual": "expansion"},
        {"depthwise": False},
        {"depthwise": False, "residual": "expansion", "kernel": 5},
    ],
    ids=lambda changes: "-".join(str(value) for value in changes.values()),
)
def test_forward_with_other_activations_and_convolutions(changes):
    arch = mixed_arch(**changes)
    model, images = build_lively(arch), torch.randn(4, 3, 18, 18, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        logits, by_hand = model(images), forward_by_hand(arch, model.state_dict(), images)
    assert logits.std() > 0.001
    torch.testing.assert_close(logits, by_hand, rtol=1e-3, atol=1e-4)
    model.train()
    functional.cross_entropy(model(images), torch.arange(4)).backward()
    assert all(parameter.grad.isfinite().all() and parameter.grad.any() for parameter in model.parameters())


def test_variants_differ_with_the_same_weights():
    images, logits = torch.randn(4, 3, 18, 18, generator=torch.Generator().manual_seed(1)), []
    state = build_lively(mixed_arch()).state_dict()
    for residual, linear in VARIANTS:
        arch = mixed_arch(residual=residual, linear_bottleneck=linear)
        logits.append(forward_by_hand(arch, state, images))
    for i, a in enumerate(logits):
        for b in logits[:i]:
            assert (a - b).abs().max() > 0.01


@pytest.mark.parametrize("linear", [True, False])
def test_projections_stay_within_relu6_only_when_not_linear(linear):
    arch = mixed_arch(residual="none", linear_bottleneck=linear)
    model, outputs = build_lively(arch), []
    for block in model.features[1:-1]:
        block.register_forward_hook(lambda module, inputs, output: outputs.append(output[0]))
    with torch.inference_mode():
        model(3 * torch.randn(4, 3, 18, 18, generator=torch.Generator().manual_seed(1)))
    assert len(outputs) == 9
    low, high = min(output.min() for output in outputs), max(output.max() for output in outputs)
    assert (low < -0.5) if linear else (low == 0 and 0.5 < high <= 6)


@pytest.mark.parametrize("residual, linear", VARIANTS)
def test_every_parameter_learns(residual, linear):
    """In-place ReLU6 must overwrite nothing that the backward pass or a shortcut still needs."""
    torch.manual_seed(0)
    model = build_model(mixed_arch(residual=residual, linear_bottleneck=linear))
    loss = functional.cross_entropy(model(torch.randn(6, 3, 18, 18)), torch.arange(6) % 5)
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.abs().sum() > 0, name


@pytest.mark.slow
@pytest.mark.parametrize("residual", ["bottleneck", "expansion"])
def test_gradient_is_the_slope(residual):
    """Against finite differences in float64: a tensor overwritten in place would show here."""
    arch = mixed_arch(residual=residual, stages=(Stage(1, 8, 2, 1), Stage(2, 8, 2, 1)), resolution=6)
    model = build_lively(arch).double()
    images = torch.randn(2, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    images.requires_grad_()
    assert torch.autograd.gradcheck(model, (images,), eps=1e-6, atol=1e-4)


# ---------------------------------------------------------------- initialisation


def test_initialised_as_torchvision():
    torch.manual_seed(0)
    model = build_model(ArchSpec())
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 3000:
            c_out, _, kernel, _ = module.weight.shape
            assert module.weight.std().item() == pytest.approx((2 / (c_out * kernel**2)) ** 0.5, rel=0.1), name
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all() and (module.bias == 0).all()
    linear = model.classifier[1]
    assert linear.weight.std().item() == pytest.approx(0.01, rel=0.01) and (linear.bias == 0).all()
    assert model.classifier[0].p == 0.2


def test_the_seed_decides_the_weights():
    def weights(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return build_model(mixed_arch()).features[0][0].weight

    assert torch.equal(weights(1), weights(1)) and not torch.equal(weights(1), weights(2))


@pytest.mark.slow
@every_spec
def test_every_planned_name_is_a_weight(arch):
    matrices = [name for name, parameter in build_shapes(arch).named_parameters() if parameter.ndim > 1]
    assert matrices == [f"{conv.name}.weight" for conv in resolve(arch).convs]
