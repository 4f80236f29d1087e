"""The layers against count_cost and the plan, its other conventions against published digits and the tools."""

import csv
import io
import json
import random
import re
import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d

from mnv2_sweep.explain.conventions import PUBLISHED, madds_conventions, params_conventions
from mnv2_sweep.explain.layers import explain_csv, explain_json, explain_text, layer_rows, stage_sums
from mnv2_sweep.models.build import build_model
from mnv2_sweep.models.check_fvcore import FlopCountAnalysis
from mnv2_sweep.nets.arch import FAMILIES, MOBILENET_V2, ArchSpec, Stage
from mnv2_sweep.nets.cost import count_cost, live_elements
from mnv2_sweep.nets.resolve import resolve

torch.set_num_threads(1)
DRAW_ARCH = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "judge.py"))["draw_arch"]

SPECS = {family: ArchSpec(family) for family in FAMILIES} | {
    f"{family} {seed}": DRAW_ARCH(random.Random(seed), family, (1, 17, 224)[seed])
    for family in FAMILIES
    for seed in range(3)
}
every_spec = pytest.mark.parametrize("arch", SPECS.values(), ids=SPECS)
SMALL = {
    "V2": ArchSpec(resolution=40),
    "V2 other": ArchSpec(
        stages=(Stage(1, 16, 2, 1), Stage(3, 16, 2, 2)), width=0.5, resolution=35, kernel=5, linear_bottleneck=False,
        residual="expansion", last_channels=64, classes=7,
    ),
    "V1": ArchSpec("mobilenet_v1", width=0.25, resolution=33),
    "ShuffleNet": ArchSpec("shufflenet_v1", width=0.5, resolution=64, groups=8),
    "NASNet-A": ArchSpec("nasnet_a", width=0.25, resolution=32, classes=5),
}  # fmt: skip


# MobileNetV1s whose published MAdds are neither ours cut nor rounded; `paper` says why.
OTHERWISE = {(0.75, 224), (0.75, 192), (0.75, 160), (0.75, 128), (0.5, 224), (0.25, 192)}


def madds_of(arch: ArchSpec) -> dict[str, int]:
    return {each.name: each.value for each in madds_conventions(arch)}


def params_of(arch: ArchSpec) -> dict[str, int]:
    return {each.name: each.value for each in params_conventions(arch)}


# ---------------------------------------------------------------- rows and sums


@every_spec
def test_rows_add_up_to_the_cost(arch):
    rows, cost, plan = layer_rows(arch), count_cost(arch), resolve(arch)
    assert [row.layer for row in rows] == [layer.name for layer in plan.layers]
    assert sum(row.madds for row in rows) == cost.madds
    assert sum(row.params for row in rows) == cost.params
    assert [row.live_bytes for row in rows] == [4 * elements for elements in live_elements(plan)]
    assert [row.live_bytes for row in rows if row.peak] == [cost.peak_activation_bytes] * sum(row.peak for row in rows)
    assert any(row.peak for row in rows)
    for row, layer in zip(rows, plan.layers, strict=True):
        assert row.output_bytes == 4 * layer.c_out * layer.size_out**2
        assert row.shape_out == f"{layer.c_out}x{layer.size_out}x{layer.size_out}"


@every_spec
def test_stages_add_up(arch):
    rows, cost, plan = layer_rows(arch), count_cost(arch), resolve(arch)
    sums = stage_sums(rows)
    assert len({stage.stage for stage in sums}) == len(sums)  # no stage comes back later
    assert sum(stage.madds for stage in sums) == cost.madds
    assert sum(stage.params for stage in sums) == cost.params
    assert max(stage.live_bytes for stage in sums) == cost.peak_activation_bytes
    assert sum(stage.blocks for stage in sums) == len(plan.blocks)
    assert sum(stage.layers for stage in sums) == len(plan.layers)
    assert [stage.stage for stage in sums][-1] == "classifier"


def test_stages_of_the_paper():
    assert [stage.stage for stage in stage_sums(layer_rows(ArchSpec()))] == ["stem", *"0123456", "last", "classifier"]
    stage_1 = stage_sums(layer_rows(ArchSpec()))[2]
    # By hand: 16-96-24 at 112 and 56, then 24-144-24 at 56.
    by_hand = 112**2 * 16 * 96 + 56**2 * (9 * 96 + 96 * 24) + 56**2 * (24 * 144 + 9 * 144 + 144 * 24)
    assert (stage_1.blocks, stage_1.layers, stage_1.madds) == (2, 6, by_hand)
    assert stage_1.live_bytes == count_cost(ArchSpec()).peak_activation_bytes == 4 * 96 * (112**2 + 56**2)


OPERATIONS = {
    ("mobilenet_v2", "features.0.0"): ("conv 3x3 /2", "bn, relu6"),
    ("mobilenet_v2", "features.2.conv.1.0"): ("depthwise 3x3 /2", "bn, relu6"),
    ("mobilenet_v2", "features.3.conv.2"): ("1x1", "bn, + shortcut"),
    ("mobilenet_v2", "pool"): ("global pool", ""),
    ("mobilenet_v2", "classifier.1"): ("linear", ""),
    ("mobilenet_v1", "features.1.1.0"): ("1x1", "bn, relu6"),
    ("shufflenet_v1", "features.1"): ("max pool 3x3 /2", ""),
    ("shufflenet_v1", "features.2.pool"): ("average pool 3x3 /2", ""),
    ("shufflenet_v1", "features.2.join"): ("concat 2", "relu"),
    ("shufflenet_v1", "features.3.shuffle"): ("shuffle 3 groups", ""),
    ("shufflenet_v1", "features.3.conv.4"): ("1x1 in 3 groups", "bn, + shortcut, relu"),
    ("nasnet_a", "features.1.right0.0"): ("depthwise 7x7 /2", ""),
    ("nasnet_a", "features.1.right0.4"): ("1x1", "bn, + branch"),
    ("nasnet_a", "features.1.now.relu"): ("relu", ""),
    ("nasnet_a", "features.1.sum3"): ("add 2", ""),
}


@pytest.mark.parametrize("place", OPERATIONS, ids=" ".join)
def test_operations_have_names(place):
    family, layer = place
    (row,) = [row for row in layer_rows(ArchSpec(family)) if row.layer == layer]
    assert (row.operation, row.then) == OPERATIONS[place]


def test_shortcuts_stand_where_they_are_added():
    def then(layer: str, **changes) -> str:
        return next(row.then for row in layer_rows(ArchSpec(**changes)) if row.layer == layer)

    assert then("features.3.conv.2", linear_bottleneck=False) == "bn, relu6, + shortcut"
    assert then("features.4.conv.0.0", residual="expansion") == "bn, + shortcut, relu6"
    assert then("features.3.conv.2", residual="none") == "bn"
    assert then("features.3.conv.1.0", activation="hswish") == "bn, hswish"
    rows = layer_rows(ArchSpec(stages=(Stage(1, 32, 2, 1),), residual="expansion"))
    assert [row.operation for row in rows if row.layer == "features.2.sum"] == ["add 2"]


# ---------------------------------------------------------------- text, JSON, CSV


@every_spec
def test_text_json_and_csv_hold_the_same_rows(arch):
    record = json.loads(explain_json(arch))
    assert record["memory"][0]["bytes_32_bit"] == count_cost(arch).peak_activation_bytes
    layers = record["layers"]
    table = list(csv.DictReader(io.StringIO(explain_csv(arch))))
    assert table == [{key: str(value) for key, value in layer.items()} for layer in layers]
    lines = explain_text(arch).split("\nbn:")[0].splitlines()[2:]
    shown = [re.split(r"\s{2,}", line.strip()) for line in lines if line.startswith("  ")]
    expected = []
    for layer in layers:
        words = [layer["layer"], ", ".join(filter(None, (layer["operation"], layer["then"])))]
        numbers = [f"{layer[key]:,}" for key in ("madds", "params", "output_bytes", "live_bytes")]
        expected.append([*words, layer["shape_in"], layer["shape_out"], *numbers] + ["peak"] * layer["peak"])
    assert shown == expected
    assert len(lines) == len(layers) + len(record["sums"]) + 1
    cost = count_cost(arch)
    assert lines[-1].split()[0] == "total" and lines[-1].split()[-3:-1] == [f"{cost.madds:,}", f"{cost.params:,}"]
    assert (record["madds"], record["params"]) == (cost.madds, cost.params)


@every_spec
def test_text_holds_every_convention(arch):
    text, record = explain_text(arch), json.loads(explain_json(arch))
    conventions = record["madds_conventions"] + record["params_conventions"]
    for each in conventions:
        assert re.search(rf"^ +{each['value']:,}  .*  {re.escape(each['name'])} ", text, re.MULTILINE)
    for key in ("madds_conventions", "params_conventions"):
        values = [each["value"] for each in record[key]]
        assert values == sorted(values) and len({each["name"] for each in record[key]}) == len(values)


@pytest.mark.parametrize("family", FAMILIES)
def test_fits_a_terminal(family):
    assert max(map(len, explain_text(ArchSpec(family)).splitlines())) <= 140


# ---------------------------------------------------------------- conventions


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


# ---------------------------------------------------------------- conventions against the tools


class PooledByModule(nn.Module):
    """MobileNetV2 that pools as torchvision's does."""

    def __init__(self, arch: ArchSpec):
        super().__init__()
        self.network = build_model(arch)

    def forward(self, x):
        return self.network.classifier(adaptive_avg_pool2d(self.network.features(x), 1).flatten(1))


def fvcore_total(model: nn.Module, resolution: int, train: bool) -> int:
    """For one image; in train mode two are needed, as a batch norm of one value would not do."""
    images = 2 if train else 1
    analysis = FlopCountAnalysis(model.train(train), torch.zeros(images, 3, resolution, resolution))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    with torch.no_grad():
        assert analysis.total() % images == 0
    return analysis.total() // images


@pytest.mark.parametrize("arch", SMALL.values(), ids=SMALL)
def test_fvcore_s_total_is_the_line_with_batch_norm(arch):
    ours, model = madds_of(arch), build_model(arch)
    assert fvcore_total(model, arch.resolution, train=False) == ours["+ batch norm in eval mode"]
    if arch.family != "nasnet_a":  # which takes a second each time
        assert fvcore_total(model, arch.resolution, train=True) == ours["+ batch norm in train mode"]


@pytest.mark.parametrize("name", ["V2", "V2 other"])
def test_fvcore_s_total_is_the_line_with_pooling(name):
    ours, model = madds_of(SMALL[name]), PooledByModule(SMALL[name])
    size = SMALL[name].resolution
    assert fvcore_total(model, size, train=False) == ours["+ batch norm in eval mode, global pool"]
    assert fvcore_total(model, size, train=True) == ours["+ batch norm in train mode, global pool"]


@pytest.mark.parametrize("arch", SMALL.values(), ids=SMALL)
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
