"""The fast convolutions against torch's, and that they are there in a training step and nowhere else."""

import copy
import itertools
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional

from mnv2_sweep.base.size import square
from mnv2_sweep.models.build import build_model
from mnv2_sweep.models.convolution import FastConvolution, depthwise_taps, fast_convolutions
from mnv2_sweep.models.shared import SharedWeights, cut_slice
from mnv2_sweep.models.stacked import stack_models
from mnv2_sweep.nets.arch import FAMILIES, ArchSpec
from mnv2_sweep.training import loop, stacked
from mnv2_sweep.training.control import Control
from mnv2_sweep.training.shared import Sandwich, Supernet, run_shared_trial
from tests.supernet_samples import SUPERNET, share

DEPTHWISE = [(side, kernel, stride) for side, kernel, stride in itertools.product((1, 2, 3, 5), (3, 5, 7), (1, 2))]


SMALL = ArchSpec(width=0.35, resolution=32, classes=3)
PLAIN = {nn.Conv2d}


def layer_kinds(model: nn.Module) -> set[type]:
    """The classes of its convolutions."""
    return {type(module) for module in model.modules() if isinstance(module, nn.Conv2d)}


def gradients(module, images):
    images = images.clone().requires_grad_()
    module.zero_grad()
    out = module(images)
    (out * torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view_as(out)).sum().backward()
    return [out.detach(), images.grad, *(parameter.grad for parameter in module.parameters())]


def assert_equal_training(images, *settings, **named):
    """Of a convolution in float64, run both ways."""
    torch.manual_seed(0)
    module = nn.Conv2d(*settings, **named).double()
    expected = gradients(module, images)
    with fast_convolutions(module):
        assert type(module) is FastConvolution
        found = gradients(module, images)
    for own, other in zip(found, expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-10, atol=1e-10)


# ---------------------------------------------------------------- values and gradients


@pytest.mark.parametrize(("side", "kernel", "stride"), DEPTHWISE)
def test_depthwise_gradients_are_those_of_torch(side, kernel, stride):
    images = torch.randn(3, 6, side, side, dtype=torch.double).to(memory_format=torch.channels_last)
    assert_equal_training(images, 6, 6, kernel, stride, kernel // 2, groups=6, bias=False)


def test_dilated_depthwise_convolutions_are_torchs():
    images = torch.randn(2, 6, 2, 2, dtype=torch.double)
    assert_equal_training(images, 6, 6, 3, 1, 2, dilation=2, groups=6, bias=False)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("side", [1, 2, 4, 5])
def test_pointwise_gradients_are_those_of_torch(side, bias):
    assert_equal_training(torch.randn(3, 6, side, side, dtype=torch.double), 6, 10, 1, bias=bias)


@pytest.mark.parametrize(
    "settings", [{"groups": 2}, {"groups": 6, "stride": 2}, {"stride": 2}, {"padding": 1}, {"groups": 3}]
)
def test_other_convolutions_are_torchs(settings):
    kernel = 1 if settings != {"groups": 6, "stride": 2} else 3
    assert_equal_training(torch.randn(2, 6, 4, 4, dtype=torch.double), 6, 6, kernel, **settings)


def test_a_map_that_is_not_square():
    assert_equal_training(torch.randn(2, 4, 1, 2, dtype=torch.double), 4, 4, 3, 1, 1, groups=4, bias=False)


def test_second_argument_of_the_taps_may_be_strided():
    seen, grad = torch.randn(2, 4, 2, 2), torch.randn(2, 4, 2, 2).to(memory_format=torch.channels_last)
    torch.testing.assert_close(depthwise_taps(seen, grad, 3, 1, 1), depthwise_taps(seen, grad.contiguous(), 3, 1, 1))


def test_outputs_in_channels_last_stay_so():
    images = torch.randn(2, 6, 2, 2).to(memory_format=torch.channels_last)
    for module in (nn.Conv2d(6, 8, 1, bias=False), nn.Conv2d(6, 6, 3, 1, 1, groups=6, bias=False)):
        module = module.to(memory_format=torch.channels_last).train()
        with fast_convolutions(module):
            assert module(images).is_contiguous(memory_format=torch.channels_last)


def test_evaluation_is_torchs_own_inside_too(monkeypatch):
    model = build_model(SMALL).eval()
    monkeypatch.setattr(functional, "linear", pytest.fail)
    model.classifier = nn.Identity()
    with torch.no_grad(), fast_convolutions(model):
        assert model(torch.randn(2, 3, 32, 32)).shape == (2, 1280)


def watch_taps(monkeypatch) -> list[int]:
    """The sides of the maps whose depthwise weight gradients are summed by our own rule from now on."""
    calls = []
    monkeypatch.setattr(
        "mnv2_sweep.models.convolution.depthwise_taps",
        lambda *given: calls.append(given[0].shape[-1]) or depthwise_taps(*given),
    )
    return calls


TAPS = [1] * 3 + [2] * 7  # maps of 1: three blocks; of 2: the stride to 1, three of stage 5, three of 4


def test_a_network_trains_on_small_maps_without_torchs_slow_kernel(monkeypatch):
    """Each depthwise weight gradient on a map smaller than its kernel is ours."""
    calls, model = watch_taps(monkeypatch), build_model(SMALL).train()
    with fast_convolutions(model):
        logits = model(torch.randn(2, 3, 32, 32))
    logits.sum().backward()
    assert calls == TAPS
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    assert calls == TAPS  # outside torch sums


# ---------------------------------------------------------------- nothing but the training step sees them


def test_the_class_is_put_back_after_an_exception_and_by_the_outer_of_two():
    model = build_model(SMALL)
    with pytest.raises(KeyError), fast_convolutions(model):
        assert layer_kinds(model) == {FastConvolution}
        raise KeyError
    assert layer_kinds(model) == PLAIN
    with fast_convolutions(model):
        with fast_convolutions(model, nn.Sequential(model)):
            pass
        assert layer_kinds(model) == {FastConvolution}
    assert layer_kinds(model) == PLAIN


def test_other_classes_stay_what_they_are():
    class Own(nn.Conv2d):
        pass

    model = nn.Sequential(Own(3, 3, 1), nn.Conv2d(3, 3, 1))
    with fast_convolutions(model):
        assert list(map(type, model)) == [Own, FastConvolution]
    assert list(map(type, model)) == [Own, nn.Conv2d]


@pytest.mark.parametrize("make", [copy.deepcopy, copy.copy, lambda model: pickle.loads(pickle.dumps(model))])
def test_what_is_copied_inside_is_plain(make):
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1, bias=False), nn.Conv2d(4, 4, 1)).eval()
    images = torch.randn(2, 3, 4, 4)
    with fast_convolutions(model):
        whole, layer = copy.deepcopy(model) if make is copy.copy else make(model), make(model[0])
    assert layer_kinds(whole) == layer_kinds(layer) == PLAIN
    assert torch.equal(whole(images), model(images)) and torch.equal(layer(images), model[0](images))
    assert str(whole) == str(model)


def test_state_and_parameters_are_the_same_objects_inside():
    model = build_model(SMALL)
    before, state = list(model.named_parameters()), list(model.state_dict())
    with fast_convolutions(model):
        inside = list(model.named_parameters())
        assert list(model.state_dict()) == state
    assert all(a is b and x == y for (x, a), (y, b) in zip(before, inside, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_trial_trains_fast_and_leaves_plain_modules(make_trial, tiny_data, monkeypatch, family):
    """Alone: fast in the step, plain wherever the network is evaluated."""
    calls, evaluated = watch_taps(monkeypatch), []
    evaluate_model = loop.evaluate_model

    def evaluate(model, *given, **named):
        evaluated.append(layer_kinds(model))
        return evaluate_model(model, *given, **named)

    monkeypatch.setattr(loop, "evaluate_model", evaluate)
    trial = make_trial(arch=ArchSpec(family, width=0.1, resolution=16), images=40)
    course = loop.begin_course(trial, tiny_data, "cpu")
    assert layer_kinds(course.model) == PLAIN
    loop.train_model(course, trial, tiny_data, Control())
    assert calls and evaluated == [PLAIN] * 2 and layer_kinds(course.model) == PLAIN


def test_seeds_as_one_train_fast_and_leave_plain_modules(make_trial, tiny_data, monkeypatch):
    calls, arch = watch_taps(monkeypatch), ArchSpec(width=0.1, resolution=16)
    trials = [make_trial(seed, arch=arch, images=40) for seed in (0, 1)]
    stack = stacked.begin_stack(trials, tiny_data, "cpu")
    stacked.take_stacked_step(stack, tiny_data.pixels("train", square(18)), torch.zeros(60, dtype=torch.long))
    assert calls and layer_kinds(stack.course.model) == PLAIN


def test_slices_train_fast_and_are_cut_plain(make_trial, tiny_data, tmp_path, monkeypatch):
    calls, trial = watch_taps(monkeypatch), share(make_trial(arch=SUPERNET[0], images=40))
    kinds, train_one = [], Sandwich.train_one

    def train(self, network, *given):
        kinds.append(layer_kinds(network.model))
        return train_one(self, network, *given)

    monkeypatch.setattr(Sandwich, "train_one", train)
    run_shared_trial(trial, tiny_data, "cpu", Control(), Supernet(SUPERNET, tmp_path / "weights.pt", threads=2))
    assert calls and set(map(frozenset, kinds)) == {frozenset({FastConvolution})}
    assert layer_kinds(cut_slice(SharedWeights(SUPERNET), SUPERNET[0])) == PLAIN


def test_stacked_networks_are_built_plain():
    models = [build_model(SMALL), build_model(SMALL)]
    assert layer_kinds(stack_models(models, SMALL, [torch.get_rng_state()] * 2)) == PLAIN
