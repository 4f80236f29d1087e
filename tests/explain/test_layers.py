"""The layers against count_cost and the plan, its other conventions against published digits and the tools."""

import csv
import io
import json
import random
import re
import runpy
from pathlib import Path

import pytest
import torch

from mnv2_sweep.explain.layers import explain_csv, explain_json, explain_text, layer_rows, stage_sums
from mnv2_sweep.nets.arch import FAMILIES, ArchSpec, Stage, arch_label
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.resolve import resolve
from mnv2_sweep.nets.steps import live_elements

torch.set_num_threads(1)
DRAW_ARCH = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "check_fvcore.py"))["draw_arch"]

SPECS = {family: ArchSpec(family) for family in FAMILIES} | {
    f"{family} {seed}": DRAW_ARCH(random.Random(seed), family, (1, 17, 224)[seed])
    for family in FAMILIES
    for seed in range(3)
}
every_spec = pytest.mark.parametrize("arch", SPECS.values(), ids=SPECS)


# ---------------------------------------------------------------- rows and sums


@every_spec
def test_rows_add_up_to_the_cost(arch):
    rows, cost, plan = layer_rows(arch), count_cost(arch), resolve(arch)
    assert [row.layer for row in rows] == [layer.name for layer in plan.layers]
    assert sum(row.madds for row in rows) == cost.madds
    assert sum(row.params for row in rows) == cost.params
    assert [row.live_bytes for row in rows] == [4 * elements for elements in live_elements(plan.layers)]
    assert [row.live_bytes for row in rows if row.peak] == [cost.peak_activation_bytes] * sum(row.peak for row in rows)
    assert any(row.peak for row in rows)
    for row, layer in zip(rows, plan.layers, strict=True):
        assert row.output_bytes == 4 * layer.output_elements
        assert row.shape_out == layer.shape_out


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


HEADS = {
    ("vgg16", "ssd", "pool.1"): ("max pool 2x2 /2", ""),
    ("vgg16", "ssd", "features.6.0"): ("conv 3x3 dilated 6", "relu"),
    ("vgg16", "ssd", "head.scale"): ("l2 norm", ""),
    ("darknet19", "yolov2", "head.reorg"): ("space to depth 2", ""),
    ("darknet19", "yolov2", "head.6"): ("conv 3x3", "bn, leaky"),
    ("resnet101", "deeplabv3", "features.4.1.conv.2"): ("conv 3x3 dilated 4", "bn, relu"),
    ("resnet101", "deeplabv3", "features.4.1.conv.4"): ("1x1", "bn, + shortcut, relu"),
    ("mobilenet_v2", "deeplabv3", "features.15.conv.1.0"): ("depthwise 3x3 dilated 2", "bn, relu6"),
    ("mobilenet_v2", "deeplabv3", "head.resize"): ("resize", ""),
    ("mobilenet_v2", "ssdlite", "head.boxes.0.2"): ("1x1", ""),
}


@pytest.mark.parametrize("place", HEADS, ids=" ".join)
def test_operations_of_heads_have_names(place):
    family, head, layer = place
    arch = ArchSpec(family, head=head, resolution=64)
    (row,) = [row for row in layer_rows(arch) if row.layer == layer]
    assert (row.operation, row.then) == HEADS[place]
    assert explain_text(arch).splitlines()[0] == f"{arch_label(arch)}, layer by layer"


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
