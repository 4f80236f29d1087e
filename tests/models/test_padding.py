"""SAME padding by turning: against TensorFlow's rule written out, at every parity, kernel and depth."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from mnv2_sweep.models.build import build_model
from mnv2_sweep.nets.arch import ArchSpec, Stage
from mnv2_sweep.pretrained.weights import turn_kernels
from tests.weight_files import draw_arrays


class TensorFlowConvolution(nn.Conv2d):
    """SAME as TensorFlow documents it: ceil(size / stride) outputs, the smaller half of the zeros before."""

    def forward(self, x):
        size, kernel, stride = x.shape[-1], self.kernel_size[0], self.stride[0]
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        before, after = total // 2, total - total // 2
        x = functional.pad(x, (before, after, before, after))
        return functional.conv2d(x, self.weight, self.bias, self.stride, 0, 1, self.groups)


def build_both(arch: ArchSpec) -> tuple[nn.Module, nn.Module]:
    arrays = draw_arrays(arch)
    plain, turned = build_model(arch).eval(), build_model(replace(arch, padding="same")).eval()
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    plain.load_state_dict(state, strict=False)
    for module in plain.modules():
        if isinstance(module, nn.Conv2d):
            module.__class__ = TensorFlowConvolution
    turned.load_state_dict({n: torch.from_numpy(a) for n, a in turn_kernels(arrays).items()}, strict=False)
    return plain, turned


@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("side", [*range(31, 37), 50, 64])
def test_a_turned_network_computes_as_with_same_padding(side, kernel):
    stages = (Stage(1, 8, 1, 1), Stage(6, 8, 2, 2), Stage(6, 16, 2, 2))
    plain, turned = build_both(ArchSpec(stages=stages, resolution=side, kernel=kernel, last_channels=32, classes=4))
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(side))
    with torch.no_grad():
        wanted, got = plain(images), turned(images)
        turned.input = None
        other = turned(images)
    assert torch.allclose(got, wanted, rtol=0, atol=2e-6 * float(wanted.abs().max()) + 1e-7)
    assert not torch.allclose(other, wanted, atol=1e-4 * float(wanted.abs().max()))


def test_gradients_are_turned_too():
    plain, turned = build_both(ArchSpec(stages=(Stage(1, 8, 1, 1), Stage(6, 8, 1, 2)), resolution=32, last_channels=16))
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for network in (plain, turned):
        network(images).square().sum().backward()
    wanted = {name: p.grad for name, p in plain.named_parameters()}
    for name, parameter in turned.named_parameters():
        grad = parameter.grad.flip(2, 3) if parameter.dim() == 4 else parameter.grad
        assert torch.allclose(grad, wanted[name], rtol=1e-3, atol=1e-5 * float(wanted[name].abs().max()))


def test_turning_twice_is_nothing_and_1x1_kernels_stay():
    arrays = draw_arrays()
    once = turn_kernels(arrays)
    twice = turn_kernels(once)
    assert all((twice[name] == arrays[name]).all() for name in arrays)
    changed = {name for name in arrays if not (once[name] == arrays[name]).all()}
    assert changed == {name for name, array in arrays.items() if array.ndim == 4 and array.shape[2] == 3}
