"""Slices of a wider network: which channels are kept, and what can't be a slice."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from mnv2_sweep.base.errors import ArchError
from mnv2_sweep.models.build import build_model, norm_name
from mnv2_sweep.models.slicing import slice_network
from mnv2_sweep.nets.arch import ArchSpec, Stage
from mnv2_sweep.nets.supernet import find_convolutions

STAGES = (Stage(1, 16, 1, 1), Stage(6, 24, 3, 2), Stage(6, 48, 2, 2))
WIDE = ArchSpec(stages=STAGES, width=1.0, resolution=32, last_channels=64, classes=3, dropout=0.0)


def draw_model(arch: ArchSpec, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = build_model(arch).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 1.5)
            for tensor in (module.bias.data, module.running_mean):
                tensor.uniform_(-0.3, 0.3)
    model.classifier = nn.Identity()
    return model


def silence(model: nn.Module, wide: ArchSpec, arch: ArchSpec) -> None:
    """Make all but some channels of every choice zero, as many as the narrower network does not have."""
    theirs, random, dead = find_convolutions(wide), torch.Generator().manual_seed(1), {}
    before = ""
    for place, layer in find_convolutions(arch).items():
        stage, role = place.split("_")[0], place.rpartition("_")[2]
        name = before if role == "depthwise" else f"{stage}_project" if role == "project" else place
        wider = theirs[place]
        quiet = torch.randperm(wider.c_out, generator=random)[: wider.c_out - layer.c_out]
        before, quiet = name, dead.setdefault(name, quiet)
        for part in ("weight", "bias"):
            getattr(model.get_submodule(norm_name(wider.name)), part).data[quiet] = 0


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 1.0},
        {"width": 0.5},
        {"width": 0.7},
        {"stages": (STAGES[0], STAGES[1]._replace(t=3), STAGES[2])},
    ],
    ids=["whole", "half", "0.7", "expansion"],
)
def test_a_slice_computes_what_the_wider_network_does_whose_other_channels_are_silent(changes):
    arch = replace(WIDE, **changes)
    model, sliced = draw_model(WIDE), draw_model(arch, seed=5)
    silence(model, WIDE, arch)
    slice_network(model, WIDE, sliced, arch)
    images = torch.rand(4, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        wanted, got = model(images), sliced(images)
    assert wanted.std() > 0.01 and torch.allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_fewer_blocks_are_the_first_of_each_row():
    arch = replace(WIDE, stages=(STAGES[0], STAGES[1]._replace(n=2), STAGES[2]))
    model, sliced = draw_model(WIDE), draw_model(arch, seed=5)
    slice_network(model, WIDE, sliced, arch)
    kept, wide = sliced.state_dict(), model.state_dict()
    assert torch.equal(kept["features.3.conv.0.0.weight"], wide["features.3.conv.0.0.weight"])
    assert torch.equal(kept["features.4.conv.0.0.weight"], wide["features.5.conv.0.0.weight"])


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"width": 1.4}, "channels, there"),
        ({"kernel": 5}, "kernel"),
        ({"stages": (STAGES[0], STAGES[1]._replace(n=4), STAGES[2])}, "stages.1: no expand layer in its block 3 there"),
        ({"stages": STAGES[:2]}, "stages"),
        ({"family": "mobilenet_v1"}, "family"),
    ],
    ids=["wider", "kernel", "deeper", "rows", "family"],
)
def test_what_is_no_slice_is_refused_with_the_reason(changes, words):
    arch = replace(WIDE, **changes)
    with pytest.raises(ArchError, match=".") as refused:
        slice_network(draw_model(WIDE), WIDE, nn.Identity(), arch)
    assert words in str(refused.value)
