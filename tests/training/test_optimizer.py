"""The recipe's optimizer, and RMSProp by TensorFlow's rule, with steps computed by hand."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn

from mnv2_sweep.models.build import build_model
from mnv2_sweep.models.shared import SharedWeights
from mnv2_sweep.models.stacked import stack_models
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.training.optimizer import TensorFlowRMSProp, depthwise_weights, make_optimizer
from mnv2_sweep.trials.recipe import RECIPES, Recipe
from tests.supernet_samples import SUPERNET


def take_steps(optimizer: torch.optim.Optimizer, w: nn.Parameter, *steps: tuple[float, float]) -> list[float]:
    """Take a step for each (rate, gradient) -> the values after them."""
    values = []
    for rate, gradient in steps:
        optimizer.param_groups[0]["lr"] = rate
        w.grad = torch.full_like(w, gradient)
        optimizer.step()
        values.append(w.item())
    return values


def test_steps_are_tensorflows():
    """By the rule of tensorflow/python/training/rmsprop.py (mean square and momentum from 1 and 0), computed by hand:

    gradient 0.5, rate 0.1:   s = 1      + 0.1 (0.25 - 1)      = 0.925    m = 0.1 x 0.5 / sqrt(1.925)  = 0.0360375
    gradient -0.2, rate 0.1:  s = 0.925  + 0.1 (0.04 - 0.925)  = 0.8365   m = 0.9 m - 0.02 / sqrt(1.8365) = 0.0176755
    gradient 1, rate 0.05:    s = 0.8365 + 0.1 (1 - 0.8365)    = 0.85285  m = 0.9 m + 0.05 / sqrt(1.85285) = 0.0526404
    """
    w = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
    optimizer = TensorFlowRMSProp([w], 0.1, decay=0.9, epsilon=1.0, momentum=0.9)
    values = take_steps(optimizer, w, (0.1, 0.5), (0.1, -0.2), (0.05, 1.0))
    assert values == pytest.approx([0.963962501492177, 0.946286991500182, 0.893646584426812], abs=1e-14)
    assert optimizer.state[w]["square"].item() == pytest.approx(0.85285, abs=1e-15)
    assert optimizer.state[w]["moment"].item() == pytest.approx(0.0526404070733700, abs=1e-15)


def test_weight_decay_is_part_of_the_gradient():
    """0.25 x 2 + 0.5 = 1, so s stays 1 and m = 0.1 / sqrt(2); then 0.25 x 1.9292893 - 0.2 = 0.2823223."""
    w = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
    optimizer = TensorFlowRMSProp([w], 0.1, momentum=0.9, weight_decay=0.25)
    values = take_steps(optimizer, w, (0.1, 0.5), (0.1, -0.2))
    assert values == pytest.approx([1.929289321881345, 1.845210723404526], abs=1e-14)


@pytest.mark.parametrize("gradient, shorter", [(0.1, 0.0864), (1.0, 0.2929)])
def test_torch_s_steps_are_shorter(gradient, shorter):
    """After many steps of one gradient g: g / (1 + g) against g / sqrt(1 + g^2)."""
    lengths = []
    for kind, settings in ((TensorFlowRMSProp, {"epsilon": 1.0}), (torch.optim.RMSprop, {"eps": 1.0, "alpha": 0.9})):
        w = nn.Parameter(torch.tensor(0.0, dtype=torch.float64))
        before, after = take_steps(kind([w], 0.1, momentum=0.9, **settings), w, *[(0.1, gradient)] * 400)[-2:]
        lengths.append(before - after)
    assert 1 - lengths[1] / lengths[0] == pytest.approx(shorter, abs=1e-4)


def test_its_state_survives_and_what_has_no_gradient_stays():
    def begin() -> tuple[list[nn.Parameter], torch.optim.Optimizer]:
        own = [nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(4))]
        return own, TensorFlowRMSProp([{"params": own[:1], "weight_decay": 0.1}, {"params": own[1:]}], 0.1)

    own, optimizer = begin()
    own[0].grad = torch.rand(2, 3)
    optimizer.step()
    assert (own[1] == 1).all() and not (own[0] == 1).any()
    again, other = begin()
    again[0].data.copy_(own[0].data)
    other.load_state_dict(deepcopy(optimizer.state_dict()))
    for parameters, each in ((own, optimizer), (again, other)):
        parameters[0].grad = torch.full((2, 3), 0.25)
        each.step()
    assert torch.equal(own[0], again[0])


# ---------------------------------------------------------------- of a recipe


def test_paper_recipe_spares_norms_biases_and_depthwise_kernels(tiny_arch):
    model = build_model(tiny_arch)
    optimizer = make_optimizer(model, RECIPES["paper"])
    assert type(optimizer) is TensorFlowRMSProp
    decayed, others = optimizer.param_groups
    for group in (decayed, others):
        settings = [group[name] for name in ("decay", "momentum", "epsilon", "lr")]
        assert settings == [0.9, 0.9, 1.0, 0.045]
    assert (decayed["weight_decay"], others["weight_decay"]) == (4e-5, 0.0)
    kernels = {name for name, value in model.named_parameters() if value.ndim == 4}
    depthwise = {name for name in kernels if model.get_parameter(name).shape[1:] == (1, 3, 3)}
    assert 0 < len(depthwise) < len(kernels)
    names = {parameter: name for name, parameter in model.named_parameters()}
    assert {names[p] for p in decayed["params"]} == kernels - depthwise | {"classifier.1.weight"}
    assert {names[p] for p in others["params"]} == {*names.values()} - (kernels - depthwise) - {"classifier.1.weight"}


def test_without_sparing_them_depthwise_kernels_decay_as_ever(tiny_arch):
    model = build_model(tiny_arch)
    decayed, others = make_optimizer(model, Recipe("r", images=1)).param_groups
    assert {p.ndim for p in decayed["params"]} == {2, 4} and {p.ndim for p in others["params"]} == {1}


@pytest.mark.parametrize("channels", [3, 1])
def test_depthwise_kernels_are_the_same_ones_alone_stacked_and_shared(tiny_arch, channels):
    arch = replace(tiny_arch, in_channels=channels)
    model = build_model(arch)
    stacked = stack_models([model, build_model(arch)], arch, [torch.get_rng_state()] * 2)
    found = [{id(weight) for weight in depthwise_weights(one)} for one in (model, stacked)]
    names = [
        [name for name, p in one.named_parameters() if id(p) in ids]
        for one, ids in zip((model, stacked), found, strict=True)
    ]
    assert names[0] == names[1] and len(names[0]) == 3 and all(".conv." in name for name in names[0])
    weights = SharedWeights([replace(one, in_channels=channels) for one in SUPERNET])
    assert len(depthwise_weights(weights)) == sum(
        "depthwise_weight" in name for name in dict(weights.named_parameters())
    )


def test_other_networks_have_depthwise_kernels_too():
    model = build_model(ArchSpec(family="mobilenet_v1", width=0.25, resolution=16))
    assert len(depthwise_weights(model)) == 13


@pytest.mark.parametrize(
    "changes, kind, settings",
    [
        ({}, torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
        ({"momentum": 0.0}, torch.optim.SGD, {"momentum": 0.0, "nesterov": False}),
        ({"optimizer": "adamw", "momentum": 0.8}, torch.optim.AdamW, {"betas": (0.8, 0.999)}),
        ({"optimizer": "rmsprop", "momentum": 0.5}, torch.optim.RMSprop, {"momentum": 0.5, "alpha": 0.9, "eps": 1.0}),
        (
            {"optimizer": "rmsprop", "rmsprop_decay": 0.5, "rmsprop_epsilon": 0.01},
            torch.optim.RMSprop,
            {"momentum": 0.9, "alpha": 0.5, "eps": 0.01},
        ),
        (
            {"optimizer": "rmsprop_tf", "rmsprop_decay": 0.5, "rmsprop_epsilon": 0.01},
            TensorFlowRMSProp,
            {"momentum": 0.9, "decay": 0.5, "epsilon": 0.01},
        ),
    ],
    ids=["sgd", "plain sgd", "adamw", "rmsprop", "rmsprop with settings", "rmsprop_tf"],
)
def test_optimizers(tiny_arch, changes, kind, settings):
    optimizer = make_optimizer(build_model(tiny_arch), Recipe("r", images=1, lr=0.3, weight_decay=0.01, **changes))
    assert type(optimizer) is kind
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.0]
    for group in optimizer.param_groups:
        assert {name: group[name] for name in settings} == settings and group["lr"] == 0.3
