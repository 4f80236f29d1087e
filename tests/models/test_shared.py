"""Slices of shared weights: the same networks as those built alone, and gradients that come back where they belong."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call

from mnv2_sweep.base.errors import ArchError
from mnv2_sweep.models.build import build_model
from mnv2_sweep.models.shared import SharedWeights, Slice, calibrate_norms, cut_slice
from mnv2_sweep.nets.arch import ArchSpec
from tests.supernet_samples import (
    DEEP,
    LARGEST,
    SMALLEST,
    SUPERNET,
    WIDE,
    draw_supernet,
    first_values,
    named_parameters,
)

torch.set_num_threads(1)


def with_residual(kind: str) -> tuple[ArchSpec, ...]:
    return tuple(replace(arch, residual=kind) for arch in SUPERNET)


def make_weights(archs=SUPERNET, seed: int = 0) -> SharedWeights:
    """Every value drawn, scales and shifts too."""
    torch.manual_seed(seed)
    weights = SharedWeights(archs)
    for parameter in weights.parameters():
        nn.init.normal_(parameter, 0.3, 0.3)
    return weights


def draw_images(arch: ArchSpec, count: int = 4, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, arch.resolution, arch.resolution, generator=generator) * 2 - 1


# ---------------------------------------------------------------- the weights


def test_each_layer_is_as_large_as_its_largest():
    shapes = {name: tuple(value.shape) for name, value in SharedWeights(SUPERNET).named_parameters()}
    assert shapes["stem_0_conv_weight"] == (32, 3, 3, 3)
    assert shapes["0_0_depthwise_weight"] == (32, 1, 3, 3) and shapes["0_1_depthwise_weight"] == (8, 1, 3, 3)
    assert shapes["1_0_expand_weight"] == (96, 16, 1, 1)  # of the largest, which expands by 6
    assert shapes["1_0_depthwise_weight"] == (96, 1, 3, 3) and shapes["1_0_project_weight"] == (32, 96, 1, 1)
    assert shapes["1_2_depthwise_weight"] == (16, 1, 3, 3)  # only the deep one has a third block, of half the width
    assert "1_2_expand_weight" not in shapes and "0_0_expand_weight" not in shapes
    assert shapes["last_0_conv_weight"] == (32, 32, 1, 1)  # the wide one's are the most, the largest has 24
    assert shapes["classifier_0_conv_weight"] == (3, 32) and shapes["classifier_0_conv_bias"] == (3,)
    assert shapes["1_0_expand_scale"] == shapes["1_0_expand_shift"] == (96,)


def test_the_first_values_are_drawn_as_for_a_network_alone():
    torch.manual_seed(0)
    arch = ArchSpec(classes=200)
    weights, model = SharedWeights([arch, replace(arch, width=0.5)]), build_model(arch)
    named = named_parameters(arch, model)
    assert named.keys() == dict(weights.named_parameters()).keys()
    for name, own in named.items():
        value = getattr(weights, name)
        assert value.shape == own.shape
        if value.ndim > 1:
            assert value.mean().item() == pytest.approx(0, abs=5 * own.std().item() / own.numel() ** 0.5)
            assert value.std().item() == pytest.approx(own.std().item(), rel=8 / own.numel() ** 0.5)
        else:
            assert torch.equal(value, own)


def test_the_first_values_depend_on_the_networks_and_the_random_numbers_alone():
    first, second, other = [], [], []
    for archs, seed, values in ((SUPERNET, 0, first), (SUPERNET[::-1], 0, second), (SUPERNET, 1, other)):
        torch.manual_seed(seed)
        values += [value.detach().clone() for value in SharedWeights(archs).parameters()]
    assert all(map(torch.equal, first, second)) and not all(map(torch.equal, first, other))


def test_networks_that_cannot_share_are_refused():
    with pytest.raises(ArchError, match="^kernel: 3, 5 given, one value allowed"):
        SharedWeights([LARGEST, replace(SMALLEST, kernel=5)])


@pytest.mark.parametrize(
    "residual, scales",
    [
        ("bottleneck", {"0_1_project_scale", "1_1_project_scale", "1_2_project_scale"}),
        # At t = 1, in the deep network alone, the projection of the block before makes the expanded tensor.
        ("expansion", {"1_2_expand_scale", "0_1_project_scale", "1_1_project_scale"}),
        ("none", set()),
    ],
)
def test_the_scales_before_additions_start_small(residual, scales):
    first, second = LARGEST.stages
    deep = replace(LARGEST, stages=(first, second._replace(n=3)), residual=residual)
    weights = SharedWeights((*with_residual(residual), deep))
    weights.scale_shortcuts(0.2)
    for name, value in weights.named_parameters():
        if name.endswith("_scale"):
            assert value.unique().tolist() == pytest.approx([0.2] if name in scales else [1.0]), name


# ---------------------------------------------------------------- slices


@pytest.mark.parametrize("residual", ["bottleneck", "expansion", "none"])
@pytest.mark.parametrize("number", range(len(SUPERNET)), ids=["wide", "smallest", "largest", "deep"])
def test_a_slice_gives_what_the_network_alone_gives(residual, number):
    """Width, t = 1 beside 3 and 6, depth, last channels: all of it, bit for bit, training and evaluating."""
    archs = with_residual(residual)
    arch, weights = archs[number], make_weights(archs)
    model = cut_slice(weights, arch)
    alone = build_model(arch).to(memory_format=torch.channels_last)
    with torch.no_grad():
        for name, own in named_parameters(arch, alone).items():
            own.copy_(first_values(getattr(weights, name), own))
        images = draw_images(arch)
        calibrate_norms(model, [images])
        alone.load_state_dict(model.state_dict())
        assert torch.equal(alone.eval()(images), model.eval()(images))
        for network in (alone, model):
            network.classifier[0].p = 0.0
        assert torch.equal(alone.train()(images), model.train()(images))


@given(st.integers(0, 2**32))
@settings(max_examples=15)
def test_every_slice_of_any_supernet_has_the_names_shapes_and_first_values_of_its_network(seed):
    archs = draw_supernet(seed)
    weights = make_weights(archs, seed)
    for arch in archs:
        model, built = cut_slice(weights, arch), build_model(arch)
        assert {name: value.shape for name, value in model.state_dict().items()} == {
            name: value.shape for name, value in built.state_dict().items()
        }
        named = named_parameters(arch, model)
        assert len(named) == len(list(model.parameters()))
        for name, own in named.items():
            assert torch.equal(own, first_values(getattr(weights, name), own)), name
        with torch.no_grad():
            assert model.eval()(draw_images(arch, 2)).shape == (2, arch.classes)


def test_nothing_is_larger_than_some_network_asks_for():
    for archs in (SUPERNET, draw_supernet(5)):
        asked: dict[str, list[torch.Size]] = {}
        for arch in archs:
            for name, own in named_parameters(arch, build_model(arch)).items():
                asked.setdefault(name, []).append(own.shape)
        largest = {name: tuple(map(max, zip(*shapes, strict=True))) for name, shapes in asked.items()}
        assert {name: tuple(value.shape) for name, value in SharedWeights(archs).named_parameters()} == largest


def test_a_slice_is_a_copy_and_loads_what_the_weights_have_become():
    weights = make_weights()
    network = Slice(weights, WIDE)
    model = network.load()
    before = model.classifier[1].weight.clone()
    with torch.no_grad():
        model.features[0][0].weight.zero_()
        weights.classifier_0_conv_weight.add_(1)
    assert weights.stem_0_conv_weight.count_nonzero() > 0 and torch.equal(model.classifier[1].weight, before)
    assert network.load() is model
    assert torch.equal(model.classifier[1].weight, before + 1) and model.features[0][0].weight.count_nonzero() > 0


# ---------------------------------------------------------------- gradients


def reference_gradients(weights: SharedWeights, arch: ArchSpec, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """By autograd, through the cut itself."""
    model, copy = build_model(arch).train(), make_weights()
    copy.load_state_dict(weights.state_dict())
    model.classifier[0].p = 0.0
    own_names = {id(value): name for name, value in model.named_parameters()}
    cut = {
        own_names[id(own)]: first_values(getattr(copy, name), own)
        for name, own in named_parameters(arch, model).items()
    }
    functional_call(model, cut, (images,)).square().sum().backward()
    return {name: value.grad for name, value in copy.named_parameters()}


@pytest.mark.parametrize("arch", SUPERNET, ids=["wide", "smallest", "largest", "deep"])
def test_gradients_land_in_the_slice_and_nowhere_else(arch):
    weights, images = make_weights(), draw_images(arch)
    network = Slice(weights, arch)
    model = network.load().train()
    model.classifier[0].p = 0.0
    for value in weights.parameters():
        value.grad = torch.zeros_like(value)
    model(images).square().sum().backward()
    own = {name: value.grad.clone() for name, value in named_parameters(arch, model).items()}
    network.add_gradients()
    expected = reference_gradients(weights, arch, images)
    for name, value in weights.named_parameters():
        outside = torch.ones_like(value, dtype=torch.bool)
        if name in own:
            outside[tuple(map(slice, own[name].shape))] = False
            assert torch.equal(first_values(value.grad, own[name]), own[name]), name
            torch.testing.assert_close(value.grad, expected[name], rtol=1e-3, atol=1e-4)
        else:
            assert expected[name] is None
        assert value.grad[outside].count_nonzero() == 0, name
    assert all(value.grad is None for value in model.parameters())


def test_gradients_of_several_slices_add_up():
    weights = make_weights()
    for value in weights.parameters():
        value.grad = torch.zeros_like(value)
    total = {name: torch.zeros_like(value) for name, value in weights.named_parameters()}
    for arch in (SMALLEST, DEEP, SMALLEST):
        network = Slice(weights, arch)
        model = network.load().train()
        model.classifier[0].p = 0.0
        model(draw_images(arch)).square().sum().backward()
        for name, own in named_parameters(arch, model).items():
            first_values(total[name], own).add_(own.grad)
        network.add_gradients()
    assert all(torch.equal(value.grad, total[name]) for name, value in weights.named_parameters())
    assert total["0_1_project_weight"].count_nonzero() > 0 and total["1_0_expand_weight"].count_nonzero() == 0


# ---------------------------------------------------------------- batch norm


def test_calibrated_statistics_are_the_mean_over_the_batches():
    model = cut_slice(make_weights(), SMALLEST)
    batches = [draw_images(SMALLEST, count, seed) for seed, count in enumerate((6, 6, 3))]
    calibrate_norms(model, iter(batches))
    maps = [model.features[0][0](batch) for batch in batches]
    norm = model.features[0][1]
    torch.testing.assert_close(norm.running_mean, sum(x.mean((0, 2, 3)) for x in maps) / 3)
    torch.testing.assert_close(norm.running_var, sum(x.var((0, 2, 3)) for x in maps) / 3)
    assert not model.training and norm.momentum == 0.1
    before = {name: value.clone() for name, value in model.state_dict().items()}
    calibrate_norms(model, batches)  # forgets what it was calibrated on before
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(value.grad is None for value in model.parameters())
