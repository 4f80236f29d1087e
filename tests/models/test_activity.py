"""Positive channels counted by hooks: against the blocks run by hand, on layers that are dead or clipped, and with the
model left as it was."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from mnv2_sweep.models.activity import BATCH, channel_activity, settle_norms
from mnv2_sweep.models.build import build_model
from mnv2_sweep.nets.arch import Stage
from mnv2_sweep.nets.resolve import resolve


@pytest.fixture
def built(tiny_arch):
    """A model with batch norms that are not the identity, its plan and 70 images, one batch and a bit."""
    torch.manual_seed(0)
    model, generator = build_model(tiny_arch), torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias, 0, 0.5, generator=generator)
    return model, resolve(tiny_arch), torch.randn(BATCH + 6, 3, 16, 16, generator=generator)


def check_layer(layer, out, needed):
    positive = (out > 0).sum(dim=1).double()
    assert (layer.channels, layer.needed) == (out.shape[1], needed)
    assert (layer.low, layer.high) == (positive.min(), positive.max())
    assert layer.mean == pytest.approx(positive.mean().item())
    assert layer.deviation == pytest.approx(positive.std(correction=0).item())
    assert layer.below == pytest.approx((positive < needed).double().mean().item())
    assert layer.clipped == pytest.approx((out == 6).double().mean().item())


def test_counts_are_those_of_the_blocks_run_by_hand(built):
    model, plan, images = built
    layers = channel_activity(model, plan, images)
    names = [(layer.name, layer.kind) for layer in layers]
    assert names == [  # the first block has t = 1 and no expansion
        *(("features.2.conv.0.0", "expansion"), ("features.2.conv.1.0", "depthwise")),
        *(("features.3.conv.0.0", "expansion"), ("features.3.conv.1.0", "depthwise")),
    ]
    with torch.inference_mode():
        x = model.features[1](model.features[0](images), None)[0]
        for at, number in ((0, 2), (2, 3)):
            block = model.features[number]
            expanded = block.conv[0](x)
            check_layer(layers[at], expanded, needed=x.shape[1])
            check_layer(layers[at + 1], block.conv[1](expanded), needed=x.shape[1])
            x = block(x, None)[0]
    assert layers[0].needed / layers[0].channels == 1 / 3
    assert len({layer.mean for layer in layers}) == 4 and layers[0].low < layers[0].high


def test_shortcuts_between_expansions_are_counted_after_the_addition(tiny_arch):
    torch.manual_seed(0)
    arch = replace(tiny_arch, residual="expansion", stages=(Stage(1, 8, 1, 1), Stage(3, 8, 3, 1)))
    model, images = build_model(arch).eval(), torch.randn(4, 3, 16, 16)
    layers = channel_activity(model, resolve(arch), images)
    with torch.inference_mode():
        x, wide = model.features[0](images), None
        for number in (1, 2, 3):
            before, (x, wide) = wide, model.features[number](x, wide)
    assert before is not None
    check_layer(layers[2], wide, needed=8)


@pytest.mark.parametrize(
    "bias, low, below, clipped", [(-50.0, 0, 1.0, 0.0), (50.0, 24, 0.0, 1.0)], ids=["dead", "clipped"]
)
def test_layers_that_let_nothing_pass(built, bias, low, below, clipped):
    model, plan, images = built
    nn.init.constant_(model.features[2].conv[0][1].bias, bias)
    layer = channel_activity(model, plan, images)[0]
    assert (layer.low, layer.high, layer.deviation, layer.below, layer.clipped) == (low, low, 0, below, clipped)


def test_a_plain_relu_has_no_upper_end(tiny_arch):
    arch = replace(tiny_arch, activation="relu")
    model = build_model(arch)
    nn.init.constant_(model.features[2].conv[0][1].bias, 50.0)
    assert channel_activity(model, resolve(arch), torch.randn(2, 3, 16, 16))[0].clipped == 0


def test_the_model_stays_as_it_was(built):
    model, plan, images = built
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first = channel_activity(model, plan, images)
    assert channel_activity(model.train(), plan, images) == first  # nothing hooked is left, nothing learnt
    assert all((tensor == before[name]).all() for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_hooks_go_when_the_forward_pass_fails(built):
    model, plan, _ = built
    with pytest.raises(RuntimeError):
        channel_activity(model, plan, torch.randn(2, 1, 16, 16))
    assert not any(module._forward_hooks for module in model.modules())


def test_a_settled_copy_has_the_statistics_of_the_images(tiny_arch):
    """About half of the channels are positive then, and no random number was drawn for it."""
    torch.manual_seed(0)
    model, images = build_model(tiny_arch), torch.randn(BATCH + 1, 3, 16, 16) * 3 + 5
    state = torch.get_rng_state()
    settled = settle_norms(model, images)
    assert (torch.get_rng_state() == state).all()
    assert not settled.training and model.training
    assert all(
        (module.running_mean == 0).all() and module.num_batches_tracked == 0
        for module in model.modules()
        if isinstance(module, nn.BatchNorm2d)
    )
    with torch.inference_mode():
        stem = settled.features[0][:2](images)
    assert torch.allclose(stem.mean(dim=(0, 2, 3)), torch.zeros(stem.shape[1]), atol=0.02)
    assert torch.allclose(stem.std(dim=(0, 2, 3)), torch.ones(stem.shape[1]), atol=0.02)
    for layer in channel_activity(settled, resolve(tiny_arch), images):
        assert 0.4 < layer.mean / layer.channels < 0.6
