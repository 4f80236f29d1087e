"""fvcore against our count: no difference on honest networks, and each kind of planted difference is found."""

import random
import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from mnv2_sweep.base.size import square
from mnv2_sweep.models import check_fvcore as judge
from mnv2_sweep.models.build import build_model
from mnv2_sweep.models.check_fvcore import Difference, check_fvcore, differences_text
from mnv2_sweep.nets.arch import FAMILIES, ArchSpec, Stage, input_size
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.resolve import resolve

torch.set_num_threads(1)
BENCHMARK = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "check_fvcore.py"))
ARCH = ArchSpec(stages=(Stage(1, 8, 1, 1), Stage(3, 8, 2, 1)), width=0.5, resolution=16, last_channels=24, classes=5)

SPECS = {"paper": ArchSpec(), "kernel larger than the image": ArchSpec(resolution=1, kernel=7)}
for family in FAMILIES:
    for number in range(1 if family == "nasnet_a" else 3):
        draw = random.Random(number)
        SPECS[f"{family} {number}"] = BENCHMARK["draw_arch"](draw, family, draw.randint(1, 40))


@pytest.mark.slow
@pytest.mark.parametrize("arch", SPECS.values(), ids=SPECS)
def test_fvcore_agrees(arch, capfd, caplog):
    assert check_fvcore(arch) == []
    assert capfd.readouterr() == ("", "") and caplog.messages == []


def test_benchmark_draws_every_field():
    archs = BENCHMARK["draw_networks"](200, 0)
    assert archs == BENCHMARK["draw_networks"](200, 0) != BENCHMARK["draw_networks"](200, 1)
    for family, fields in FAMILIES.items():
        own = [arch for arch in archs if arch.family == family]
        assert len(own) == 50 and min(min(input_size(arch)) for arch in own) < 4 and square(224) in map(input_size, own)
        assert all(len({getattr(arch, field) for arch in own}) > 1 for field in fields)


@pytest.mark.slow
def test_benchmark_ends_well(capsys):
    assert BENCHMARK["main"](["--networks", "3", "--seed", "5"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("fvcore agrees: 3 networks, ")


def test_benchmark_fails_on_a_difference(capsys, monkeypatch):
    found = Difference("1.0 at 9", "features.0.0", "MAdds", 1000, 900)
    monkeypatch.setitem(BENCHMARK["main"].__globals__, "check_fvcore", lambda arch: [found])
    assert BENCHMARK["main"](["--networks", "1"]) == 1
    assert capsys.readouterr().out.endswith("1.0 at 9: features.0.0: MAdds 1,000 here, 900 in fvcore\n")


def test_text():
    assert differences_text([ARCH], []) == "fvcore agrees: 1 network, 11 layers, all MAdds and params equal"
    assert differences_text([ARCH, ARCH], []).startswith("fvcore agrees: 2 networks, 22 layers,")
    found = [
        Difference("a", "features.1", "shape out", "8x4x4", "8x2x2"),
        Difference("a", "", "params", 1234, 1230),
    ]
    assert differences_text([ARCH], found).splitlines() == [
        "a: features.1: shape out 8x4x4 here, 8x2x2 in fvcore",
        "a: whole network: params 1,234 here, 1,230 in fvcore",
    ]


# ---------------------------------------------------------------- planted differences


@pytest.fixture
def plant(monkeypatch):
    """plant(change) -> {(layer, what): (ours, theirs)} after `change` has been done to the built network."""

    def check(change) -> dict[tuple[str, str], tuple]:
        def build_changed(arch: ArchSpec) -> nn.Module:
            model = build_model(arch)
            change(model)
            return model

        monkeypatch.setattr(judge, "build_model", build_changed)
        differences = check_fvcore(ARCH)
        assert len({(d.layer, d.what) for d in differences}) == len(differences)
        assert all(d.network == differences[0].network for d in differences)
        return {(d.layer, d.what): (d.ours, d.theirs) for d in differences}

    return check


def test_nothing_planted(plant):
    assert plant(lambda model: None) == {}


def test_other_stride(plant):
    def change(model: nn.Module) -> None:
        model.features[-1][0].stride = (2, 2)

    last = next(layer for layer in resolve(ARCH).convs if layer.name == "features.4.0")
    found = plant(change)
    assert found.pop(("features.4.0", "shape out")) == ("24x8x8", "24x4x4")
    assert found.pop(("features.4.0", "MAdds")) == (last.madds, last.madds // 4)
    assert found.pop(("features.4.0", "batch norm")) == (2 * 24 * 64, 2 * 24 * 16)
    madds = count_cost(ARCH).madds
    assert found == {("", "MAdds"): (madds, madds - last.madds * 3 // 4)}


def test_other_image(plant, monkeypatch):
    """The whole network at another size: shapes in and out of every convolution, no parameter."""
    monkeypatch.setattr(judge, "resolve", lambda arch: resolve(replace(arch, resolution=18)))
    whats = {what for _, what in plant(lambda model: None)}
    assert whats == {"shape in", "shape out", "MAdds", "batch norm"}


def test_other_channels(plant, monkeypatch):
    monkeypatch.setattr(judge, "resolve", lambda arch: resolve(replace(arch, last_channels=32)))
    found = plant(lambda model: None)
    assert found[("features.4.0", "shape out")] == ("32x8x8", "24x8x8")
    assert found[("features.4.0", "params")] == (8 * 32 + 64, 8 * 24 + 48)
    assert found[("classifier.1", "shape in")] == ("32x1x1", "24x1x1")
    assert {layer for layer, _ in found} == {"features.4.0", "classifier.1"}


def test_no_bias(plant):
    def change(model: nn.Module) -> None:
        model.classifier[1].bias = None

    params = count_cost(ARCH).params
    assert plant(change) == {("classifier.1", "params"): (24 * 5 + 5, 24 * 5), ("", "params"): (params, params - 5)}


def test_layer_that_is_not_there(plant):
    def change(model: nn.Module) -> None:
        model.features[1].conv[0][0] = nn.Identity()

    found = plant(change)
    assert found.pop(("features.1.conv.0.0", "missing")) == (9 * 16 * 64, 0)
    assert set(found) == {("", "MAdds"), ("", "params")}


def test_layer_too_many(plant):
    def change(model: nn.Module) -> None:
        model.features[0].append(nn.Conv2d(16, 16, 1, bias=False))
        model.features[0].append(nn.BatchNorm2d(16))

    found = plant(change)
    assert found.pop(("features.0.3", "MAdds")) == (0, 16 * 16 * 64)
    assert found.pop(("features.0.4", "batch_norm")) == (0, 2 * 16 * 64)
    madds, params = count_cost(ARCH).madds, count_cost(ARCH).params
    assert found == {("", "MAdds"): (madds, madds + 16 * 16 * 64), ("", "params"): (params, params + 16 * 16 + 32)}


def test_batch_norm_that_is_not_there(plant):
    def change(model: nn.Module) -> None:
        model.features[0][1] = nn.Identity()

    found = plant(change)
    assert found.pop(("features.0.0", "batch norm")) == (2 * 16 * 64, 0)
    assert set(found) == {("features.0.0", "params"), ("", "params")}


def test_parameters_that_nothing_reads(plant):
    def change(model: nn.Module) -> None:
        model.spare = nn.Linear(3, 2)

    params = count_cost(ARCH).params
    assert plant(change) == {("", "params"): (params, params + 8)}


def test_unknown_operator(plant):
    def change(model: nn.Module) -> None:
        model.features[0][2] = nn.Softplus()

    assert plant(change) == {("features.0.2", "aten::softplus"): (0, 1)}


def test_counted_operator_without_a_place(plant):
    def change(model: nn.Module) -> None:
        model.features[4].append(nn.AdaptiveAvgPool2d(1))

    assert plant(change) == {("features.4.3", "adaptive_avg_pool2d"): (0, 24 * 64)}


def test_sums_are_compared_too(plant, monkeypatch):
    cost = count_cost(ARCH)
    monkeypatch.setattr(judge, "count_cost", lambda arch: replace(cost, madds=cost.madds + 1, params=cost.params - 1))
    assert plant(lambda model: None) == {
        ("", "MAdds"): (cost.madds + 1, cost.madds), ("", "params"): (cost.params - 1, cost.params)
    }  # fmt: skip
