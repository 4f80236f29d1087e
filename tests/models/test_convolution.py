import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

from mnv2_sweep.models.build import build_model
from mnv2_sweep.models.convolution import Convolution, depthwise_taps
from mnv2_sweep.nets.arch import ArchSpec

DEPTHWISE = [(side, kernel, stride) for side, kernel, stride in itertools.product((1, 2, 3, 5), (3, 5, 7), (1, 2))]


def twins(*settings, **named):
    """A Convolution and a plain nn.Conv2d with its weights, in float64."""
    torch.manual_seed(0)
    ours = Convolution(*settings, **named).double()
    plain = nn.Conv2d(*settings, **named).double()
    plain.load_state_dict(ours.state_dict())
    return ours, plain


def gradients(module, images):
    images = images.clone().requires_grad_()
    out = module(images)
    (out * torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view_as(out)).sum().backward()
    return [out.detach(), images.grad, *(parameter.grad for parameter in module.parameters())]


def assert_equal_training(ours, plain, images):
    for own, expected in zip(gradients(ours, images), gradients(plain, images), strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("side", "kernel", "stride"), DEPTHWISE)
def test_depthwise_gradients_are_those_of_torch(side, kernel, stride):
    ours, plain = twins(6, 6, kernel, stride, kernel // 2, groups=6, bias=False)
    images = torch.randn(3, 6, side, side, dtype=torch.double).to(memory_format=torch.channels_last)
    assert_equal_training(ours, plain, images)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("side", [1, 2, 4, 5])
def test_pointwise_gradients_are_those_of_torch(side, bias):
    ours, plain = twins(6, 10, 1, bias=bias)
    assert_equal_training(ours, plain, torch.randn(3, 6, side, side, dtype=torch.double))


@pytest.mark.parametrize(
    "settings", [{"groups": 2}, {"groups": 6, "stride": 2}, {"stride": 2}, {"padding": 1}, {"groups": 3}]
)
def test_other_convolutions_are_torchs(settings):
    kernel = 1 if settings != {"groups": 6, "stride": 2} else 3
    ours, plain = twins(6, 6, kernel, **settings)
    assert_equal_training(ours, plain, torch.randn(2, 6, 4, 4, dtype=torch.double))


def test_a_map_that_is_not_square():
    ours, plain = twins(4, 4, 3, 1, 1, groups=4, bias=False)
    assert_equal_training(ours, plain, torch.randn(2, 4, 1, 2, dtype=torch.double))


def test_second_argument_of_the_taps_may_be_strided():
    seen, grad = torch.randn(2, 4, 2, 2), torch.randn(2, 4, 2, 2).to(memory_format=torch.channels_last)
    torch.testing.assert_close(depthwise_taps(seen, grad, 3, 1, 1), depthwise_taps(seen, grad.contiguous(), 3, 1, 1))


def test_outputs_in_channels_last_stay_so():
    images = torch.randn(2, 6, 2, 2).to(memory_format=torch.channels_last)
    for module in (Convolution(6, 8, 1, bias=False), Convolution(6, 6, 3, 1, 1, groups=6, bias=False)):
        out = module.to(memory_format=torch.channels_last).train()(images)
        assert out.is_contiguous(memory_format=torch.channels_last)


def test_evaluation_is_torchs_own(monkeypatch):
    model = build_model(ArchSpec(width=0.35, resolution=32, classes=3)).eval()
    monkeypatch.setattr(functional, "linear", pytest.fail)
    model.classifier = nn.Identity()
    with torch.no_grad():
        assert model(torch.randn(2, 3, 32, 32)).shape == (2, 1280)


def test_a_network_trains_on_small_maps_without_torchs_slow_kernel(monkeypatch):
    """Each depthwise weight gradient on a map smaller than its kernel is ours."""
    calls = []
    monkeypatch.setattr(
        "mnv2_sweep.models.convolution.depthwise_taps",
        lambda *given: calls.append(given[0].shape[-1]) or depthwise_taps(*given),
    )
    model = build_model(ArchSpec(width=0.35, resolution=32, classes=3)).train()
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    assert calls == [1] * 3 + [2] * 7  # maps of 1: three blocks; of 2: the stride to 1, three of stage 5, three of 4
