"""SynFlow against its own definition worked out another way: Euler's rule on chains, slopes by finite differences."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.size import square
from mnv2_sweep.models import synflow
from mnv2_sweep.models.build import build_model
from mnv2_sweep.models.synflow import synflow_score
from mnv2_sweep.nets.arch import ArchSpec, Stage
from mnv2_sweep.nets.resolve import resolve

torch.set_num_threads(1)

CHAIN = ArchSpec(stages=(Stage(1, 8, 1, 1), Stage(3, 8, 2, 2)), width=0.5, resolution=16, residual="none", classes=3)
SHORTCUTS = ArchSpec(stages=(Stage(1, 8, 2, 1), Stage(3, 8, 3, 2)), width=0.5, resolution=16, classes=3)


def build_bare(arch: ArchSpec, seed: int) -> nn.Module:
    """The network with the same first weights, absolute and in float64, and nothing else changed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_model(arch).double().eval()
    for parameter in model.parameters():
        parameter.data.abs_()
    return model


def chain_output(arch: ArchSpec, size: int, seed: int) -> float:
    """The sum of the logits of a network without shortcuts, its layers alone run one after the other."""
    x = torch.ones(1, 3, size, size, dtype=torch.float64)
    with torch.no_grad():
        for layer in build_bare(arch, seed).modules():
            if isinstance(layer, nn.Conv2d):
                x = layer(x)
            elif isinstance(layer, nn.Linear):
                x = layer(x.mean(dim=(2, 3)))
    return float(x.sum())


@pytest.mark.parametrize("size", [16, 5])
def test_a_chain_s_score_is_its_output_times_its_layers(size):
    # R is linear in each layer's weights, so each layer's sum of w dR/dw is R (Euler).
    layers = len(resolve(CHAIN).convs)
    expected = math.log10(layers * chain_output(CHAIN, size, 3))
    assert synflow_score(CHAIN, square(size), 3) == pytest.approx(expected, abs=1e-9)


def test_a_chain_of_plain_layers_too():
    arch = ArchSpec(family="mobilenet_v1", width=0.25, resolution=32, classes=10)
    expected = math.log10(len(resolve(arch).convs) * chain_output(arch, 32, 1))  # MobileNetV1 has no shortcut
    assert synflow_score(arch, square(32), 1) == pytest.approx(expected, abs=1e-9)


def scaled_output(model: nn.Module, scale: float, size: int) -> float:
    """R of an untouched network whose weights are scaled, by an image so dark that no activation comes near 6."""
    weights = [layer.weight for layer in model.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    with torch.no_grad():
        for weight in weights:
            weight *= scale
        output = float(model(torch.full((1, 3, size, size), 1e-40, dtype=torch.float64)).sum()) * 1e40
        for weight in weights:
            weight /= scale
    return output


@pytest.mark.slow
@pytest.mark.parametrize(
    "arch",
    [
        SHORTCUTS,
        replace(SHORTCUTS, residual="expansion"),
        replace(SHORTCUTS, linear_bottleneck=False),
        ArchSpec(family="mobilenet_v1", width=0.25, resolution=32, classes=10),
        ArchSpec(family="shufflenet_v1", width=0.25, resolution=32, classes=10),
        ArchSpec(family="nasnet_a", width=0.25, resolution=32, classes=10),
    ],
    ids=["bottleneck", "expansion", "non-linear", "v1", "shufflenet", "nasnet"],
)
def test_the_score_is_the_slope_of_the_untouched_network(arch):
    # sum of w dR/dw over all weights = how R changes when all are scaled; batch norm without its epsilon does nothing
    # at first, and R is linear in the image.
    model = build_bare(arch, 2)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = 0.0
    slope = (scaled_output(model, 1 + 1e-4, 16) - scaled_output(model, 1 - 1e-4, 16)) / 2e-4
    assert synflow_score(arch, square(16), 2) == pytest.approx(math.log10(slope), abs=1e-4)


def test_shortcuts_carry_flow():
    without = synflow_score(replace(SHORTCUTS, residual="none"), square(16), 0)
    assert (
        synflow_score(SHORTCUTS, square(16), 0)
        > without
        < synflow_score(replace(SHORTCUTS, residual="expansion"), square(16), 0)
    )


def test_same_seed_same_score_and_nobody_s_random_numbers_change():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = synflow_score(CHAIN, square(16), 0)
    assert torch.equal(torch.rand(3), expected)
    assert synflow_score(CHAIN, square(16), 0) == first != synflow_score(CHAIN, square(16), 1)


def test_wider_and_larger_networks_score_higher():
    scores = [synflow_score(ArchSpec(width=width, classes=10), square(24), 0) for width in (0.35, 0.5, 0.75, 1.0)]
    assert scores == sorted(scores) and 20 < scores[0] and scores[-1] < 40
    assert synflow_score(ArchSpec(width=0.35, classes=10), square(56), 0) > scores[0]


def test_beyond_float64_it_is_a_message(monkeypatch):
    def build_loud(arch: ArchSpec) -> nn.Module:
        model = build_model(arch)
        for weight in model.parameters():
            weight.data *= 1e32
        return model

    monkeypatch.setattr(synflow, "build_model", build_loud)
    with pytest.raises(SweepError, match="0.5 at 16, .* beyond float64"):
        synflow_score(CHAIN, square(16), 0)
