"""Other conventions of counting, against published digits and against the tools themselves, run on built networks."""

import re
import warnings
from dataclasses import replace

import pytest
import torch
import torchinfo
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from mnv2_sweep.base.size import Size
from mnv2_sweep.explain.conventions import PUBLISHED, madds_conventions, params_conventions
from mnv2_sweep.explain.layers import explain_text
from mnv2_sweep.models.build import MobileNetV2, PlanNetwork, build_model
from mnv2_sweep.models.check_fvcore import FlopCountAnalysis
from mnv2_sweep.nets.arch import ACTIVATIONS, FAMILIES, MOBILENET_V2, SHUFFLENET_GROUPS, ArchSpec, Stage, input_size
from mnv2_sweep.nets.resolve import resolve

with warnings.catch_warnings():  # thop compares versions of torch by a module that Python has dropped
    warnings.simplefilter("ignore", DeprecationWarning)
    import ptflops
    import thop

torch.set_num_threads(1)

# MobileNetV1s whose published MAdds are neither ours cut nor rounded; `paper` says why.
OTHERWISE = {(0.75, 224), (0.75, 192), (0.75, 160), (0.75, 128), (0.5, 224), (0.25, 192)}


def madds_of(arch: ArchSpec) -> dict[str, int]:
    return {each.name: each.value for each in madds_conventions(arch)}


def params_of(arch: ArchSpec) -> dict[str, int]:
    return {each.name: each.value for each in params_conventions(arch)}


# ---------------------------------------------------------------- heads

DETECTOR = ArchSpec("vgg16", head="ssd", width=0.1, resolution=64, classes=3)
SEGMENTER = ArchSpec(head="deeplabv3", width=0.35, resolution=33, classes=3)


def test_of_heads_only_conventions_are_shown_that_are_no_tool_s():
    names = ["convolution + linear", "+ bias", "+ bias, batch norm folded into it", "two per multiply-add"]
    assert [name for name in madds_of(DETECTOR) if "millions" not in name] == names
    shown = set(madds_of(SEGMENTER)) - {"cut to whole millions", "rounded to whole millions"}
    assert shown == {*names, "by TensorFlow's graph", "+ 1x1 expansion kept at t = 1"}
    assert not any("TF-slim prints" in each.explanation for each in params_conventions(replace(SEGMENTER, width=1.0)))


@pytest.mark.parametrize("arch", [DETECTOR, SEGMENTER], ids=["detector", "segmenter"])
def test_torch_counts_twice_the_madds_of_heads_too(arch):
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        build_model(arch).eval()(torch.zeros(1, 3, *input_size(arch)))
    assert counter.get_total_flops() == madds_of(arch)["two per multiply-add"]
    built = sum(parameter.numel() for parameter in build_model(arch).parameters())
    assert params_of(arch)["weights, bias, batch norm"] == built


# ---------------------------------------------------------------- published figures


def test_every_number_of_mobilenet_v2():
    assert madds_of(ArchSpec()) == {
        "cut to whole millions": 300_000_000,
        "convolution + linear": 300_774_272,
        "+ bias": 300_775_272,
        "+ bias and batch norm, per parameter": 300_809_384,
        "rounded to whole millions": 301_000_000,
        "+ bias, batch norm folded into it": 307_453_384,
        "+ 1x1 expansion kept at t = 1": 313_619_328,
        "+ batch norm in eval mode": 314_130_496,
        "+ batch norm in eval mode, global pool": 314_193_216,
        "+ bias, batch norm, activations": 320_237_288,
        "+ bias, batch norm, activations, global pool": 320_300_008,
        "+ batch norm, four per element": 327_486_720,
        "+ batch norm in train mode": 334_164_832,
        "+ batch norm in train mode, global pool": 334_227_552,
        "two per multiply-add": 601_548_544,
    }
    assert params_of(ArchSpec()) == {
        "without batch norm": 3_470_760,
        "batch norm folded into biases": 3_487_816,
        "weights, bias, batch norm": 3_504_872,
        "+ 1x1 expansion kept at t = 1": 3_505_960,
        "with batch norm's mean and variance": 3_538_984,
    }


def test_a_published_figure_stands_beside_its_own_network_only():
    famous = ("TF-slim prints", "torchvision's figure", "Keras' total")
    assert all(words in explain_text(ArchSpec()) for words in famous)
    for change in (dict(resolution=223), dict(classes=10), dict(kernel=5), dict(residual="none"), dict(dropout=0.0)):
        assert not any(words in explain_text(ArchSpec(**change)) for words in famous)
    for family in ("mobilenet_v1", "nasnet_a"):
        assert "Keras' total" in explain_text(ArchSpec(family))
        assert "Keras' total" not in explain_text(ArchSpec(family, width=0.5))
    assert not any(words in explain_text(ArchSpec("shufflenet_v1")) for words in famous)


@pytest.mark.parametrize("point", PUBLISHED, ids=lambda p: f"{p.arch.family} {p.arch.width} {p.arch.resolution}")
def test_tf_slim_s_figures_are_found(point):
    explained = {each.explanation: each.value for each in madds_conventions(point.arch)}
    if point.arch.family == "mobilenet_v1" and (point.arch.width, point.arch.resolution) in OTHERWISE:
        assert f"TF-slim prints {point.madds_m}" not in explained
    else:
        assert explained[f"TF-slim prints {point.madds_m}"] == point.madds_m * 1_000_000
    assert f"TF-slim prints {point.params_m:.2f} million" in explain_text(point.arch)


def test_totals_of_keras():
    def total(family: str) -> int:
        return params_of(ArchSpec(family))["with batch norm's mean and variance"]

    assert [total(f) for f in ("mobilenet_v2", "mobilenet_v1", "nasnet_a")] == [3_538_984, 4_253_864, 5_326_716]


def test_expansion_kept_is_that_of_blocks_with_t_1():
    t_1 = replace(ArchSpec(), stages=(Stage(1, 16, 2, 1), *MOBILENET_V2[1:]), resolution=32)
    kept, name = madds_of(t_1), "+ 1x1 expansion kept at t = 1"
    assert kept[name] - kept["convolution + linear"] == 16**2 * (32**2 + 16**2)
    params = params_of(t_1)
    assert params[name] - params["weights, bias, batch norm"] == 32**2 + 2 * 32 + 16**2 + 2 * 16
    assert name not in madds_of(replace(t_1, stages=MOBILENET_V2[1:]))
    assert not any(name in madds_of(ArchSpec(family)) for family in FAMILIES if family != "mobilenet_v2")


def test_tiny_networks_have_no_millions():
    tiny = madds_of(ArchSpec(stages=(Stage(1, 8, 1, 1),), width=0.1, resolution=1, last_channels=8, classes=2))
    assert tiny["convolution + linear"] < 1000
    assert not any("millions" in name for name in tiny)


# ---------------------------------------------------------------- the tools

OTHER = ArchSpec(
    stages=(Stage(1, 16, 2, 1), Stage(3, 16, 2, 2)), width=0.5, resolution=35, kernel=5, linear_bottleneck=False,
    residual="expansion", last_channels=64, classes=7,
)  # fmt: skip
BUILT = {f"V2 {activation}": ArchSpec(resolution=40, activation=activation) for activation in ACTIVATIONS}
BUILT |= {
    "V2 other": OTHER,
    "V2 squeeze": ArchSpec(resolution=40, se_ratio=0.25),
    "V2 grey": ArchSpec(resolution=Size(40, 56), in_channels=1, last_channels=0, divisor=4, width=0.35),
    "V2 other hswish": replace(OTHER, activation="hswish", depthwise=False, residual="bottleneck"),
    "V2 other relu": replace(OTHER, activation="relu", resolution=1),
    "V1": ArchSpec("mobilenet_v1", width=0.25, resolution=33),
    **{
        f"ShuffleNet {groups}": ArchSpec("shufflenet_v1", width=0.5, resolution=33, groups=groups)
        for groups in SHUFFLENET_GROUPS
    },
    "NASNet-A": ArchSpec("nasnet_a", width=0.25, resolution=32, classes=5),
}
every_network = pytest.mark.parametrize("arch", BUILT.values(), ids=BUILT)


class PooledByFunction(nn.Module):
    """A built network that pools as torchvision's does, by a function of torch's own."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        if isinstance(network, PlanNetwork):
            self.run_layer, network.run_layer = network.run_layer, self.run_pooled

    def run_pooled(self, layer, reads):
        if layer.op == "global_pool":
            return functional.adaptive_avg_pool2d(reads[0], 1)
        return self.run_layer(layer, reads)

    def forward(self, x):
        if not isinstance(self.network, MobileNetV2):
            return self.network(x)
        x = functional.adaptive_avg_pool2d(self.network.features(x), 1)
        return self.network.classifier(x.flatten(1))


def count_fvcore(model: nn.Module, shape: tuple, line: str) -> int:
    """For one image; in train mode two are needed, as a batch norm of one value would not do."""
    train = "train mode" in line
    images = 2 if train else 1
    analysis = FlopCountAnalysis(model.train(train), torch.zeros(images, *shape))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    with torch.no_grad():
        assert analysis.total() % images == 0
    return analysis.total() // images


def count_torch(model: nn.Module, shape: tuple, line: str) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, *shape))
    return counter.get_total_flops()


def count_ptflops(model: nn.Module, shape: tuple, line: str, backend: str = "pytorch") -> int | None:
    settings = {"as_strings": False, "print_per_layer_stat": False, "backend": backend}
    return ptflops.get_model_complexity_info(model, shape, **settings)[0]


def count_ptflops_aten(model: nn.Module, shape: tuple, line: str) -> int | None:
    return count_ptflops(model, shape, line, "aten")


def count_thop(model: nn.Module, shape: tuple, line: str) -> float:
    return thop.profile(model, (torch.zeros(1, *shape),), verbose=False)[0]


def count_torchinfo(model: nn.Module, shape: tuple, line: str) -> int:
    return torchinfo.summary(model, (1, *shape), verbose=0).total_mult_adds


POOLED = "on networks with adaptive_avg_pool2d, as torchvision's"
TOOLS = {  # what an explanation ends with
    "fvcore's total()": count_fvcore,
    "fvcore's total(), for one image": count_fvcore,
    f"fvcore {POOLED}": count_fvcore,
    "torch's FlopCounterMode": count_torch,
    "ptflops": count_ptflops,
    "ptflops with its aten backend": count_ptflops_aten,
    f"ptflops {POOLED}": count_ptflops,
    "thop": count_thop,
    "torchinfo": count_torchinfo,
}


def told_by(arch: ArchSpec, end: str) -> dict[str, int]:
    """Name and value of the lines whose explanation ends so."""
    lines = madds_conventions(arch)
    return {each.name: each.value for each in lines if each.explanation.rpartition("; ")[2] == end}


@pytest.mark.slow
@pytest.mark.parametrize("end", TOOLS)
@every_network
def test_the_tool_counts_what_the_table_says(arch, end):
    lines = told_by(arch, end)
    assert len(lines) == (2 if end == f"fvcore {POOLED}" else 1)
    for name, value in lines.items():
        model = build_model(arch).eval()
        model = PooledByFunction(model) if end.endswith(POOLED) else model
        assert TOOLS[end](model, (arch.in_channels, *input_size(arch)), name) == value, name


@every_network
def test_every_tool_that_is_named_is_run(arch):
    ends = {each.explanation.rpartition("; ")[2] for each in madds_conventions(arch)}
    assert ends >= set(TOOLS)
    assert not [end for end in ends - set(TOOLS) if re.search("fvcore|torch's|ptflops|thop|torchinfo", end)]


def test_built_networks_are_of_all_families_and_activations():
    assert {arch.family for arch in BUILT.values()} == set(FAMILIES)
    assert {layer.act for arch in BUILT.values() for layer in resolve(arch).layers} == {"", "sigmoid", *ACTIVATIONS}


def test_flop_counter_mode_holds_for_a_forward_pass_only():
    """A training step is three times a forward pass, or somewhat less; this is what torch makes of it."""
    model, images = build_model(ArchSpec(resolution=64)).train(), torch.zeros(2, 3, 64, 64)
    with FlopCounterMode(display=False) as counter:
        model(images).sum().backward()
    (forward,) = told_by(ArchSpec(resolution=64), "torch's FlopCounterMode").values()
    assert 15 < counter.get_total_flops() / (2 * forward) < 25


@every_network
def test_params_are_those_of_the_built_network(arch):
    model, ours = build_model(arch), params_of(arch)
    trained = sum(parameter.numel() for parameter in model.parameters())
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    in_norms = sum(norm.weight.numel() + norm.bias.numel() for norm in norms)
    moving = sum(norm.running_mean.numel() + norm.running_var.numel() for norm in norms)
    assert ours["weights, bias, batch norm"] == trained
    assert ours["without batch norm"] == trained - in_norms
    assert ours["batch norm folded into biases"] == trained - in_norms // 2
    assert ours["with batch norm's mean and variance"] == trained + moving
