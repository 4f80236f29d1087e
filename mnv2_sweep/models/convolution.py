"""Convolutions that train faster on a CPU where maps are small, as they are behind inputs of 24 to 64 px.

torch sums the weight gradient of a depthwise kernel slowly where it is larger than its map, and a pointwise convolution
on a small map takes longer than the matrix product that it is. `python benchmarks/small_maps.py` (one thread of an AMD
EPYC, torch 2.13.0, batch 64): forward and backward through such a depthwise layer 8 to 10 times faster, a pointwise one
1.2 to 2 times; whole networks 2.1 times at 24 and 32 px, 1.3 to 1.4 at 40 and 56 px, 1.0 at 96 px. It depends on the
processor: on an EPYC with AVX-512 a depthwise layer is 2 times faster, a pointwise one 1.7 times on 1x1 and 0.6 to 0.9
times on larger maps, whole networks 1.1 times at 24 and 32 px and 0.85 to 0.95 times from 40 px on.

Networks are built of plain nn.Conv2d, as counters, exporters and pickled files look a layer up by its exact class. A
training step runs its passes inside `fast_convolutions(model)`, which gives the convolutions the class FastConvolution
and takes it away again, whatever happens inside. The class adds no state, so weights, optimizer and checkpoints know
nothing of it, and what is copied or pickled inside comes out plain. On a GPU nothing changes. Two threads that run one
model share one such context, around both.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

POINTWISE_SIDE = 4  # maps up to this side are multiplied as matrices


@contextmanager
def fast_convolutions(*models: nn.Module) -> Iterator[None]:
    """Train the models' convolutions the fast way inside; values and gradients are the same but for rounding."""
    on_cpu = [model for model in models if next(model.parameters()).device.type == "cpu"]
    plain = [module for model in on_cpu for module in model.modules() if type(module) is nn.Conv2d]
    try:
        _set_class(plain, FastConvolution)
        yield
    finally:
        _set_class(plain, nn.Conv2d)


def _set_class(modules: list[nn.Conv2d], kind: type[nn.Conv2d]) -> None:
    for module in modules:
        object.__setattr__(module, "__class__", kind)  # nn.Module's own looks for parameters first, ten times as long


class FastConvolution(nn.Conv2d):
    """A convolution as nn.Conv2d, with the same parameters and, but for rounding, the same values and gradients."""

    def __reduce_ex__(self, protocol):
        """Copy and pickle it as what it is outside of `fast_convolutions`."""
        return object.__new__, (nn.Conv2d,), self.__getstate__()

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not (self.training and torch.is_grad_enabled() and x.device.type == "cpu" and x.dtype == weight.dtype):
            return super()._conv_forward(x, weight, bias)
        if max(x.shape[2:]) < self.kernel_size[0] and bias is None and self._is_depthwise:
            return SmallDepthwise.apply(x, weight, self.stride[0], self.padding[0])
        if max(x.shape[2:]) <= POINTWISE_SIDE and self._is_pointwise:
            return functional.linear(x.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)
        return super()._conv_forward(x, weight, bias)

    @property
    def _is_depthwise(self) -> bool:
        return self.groups == self.in_channels == self.out_channels and self.dilation == (1, 1)

    @property
    def _is_pointwise(self) -> bool:
        return self.kernel_size == (1, 1) and self.stride == (1, 1) and self.padding == (0, 0) and self.groups == 1


class SmallDepthwise(torch.autograd.Function):
    """A square depthwise convolution [N, C, h, w] -> [N, C, h', w'], its weight gradient summed tap by tap."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return functional.conv2d(x, weight, None, stride, padding, groups=len(weight))

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            sides = [ctx.stride] * 2, [ctx.padding] * 2, [1, 1]
            grad_x = torch.ops.aten.convolution_backward(
                grad, x, weight, None, *sides, False, [0, 0], len(weight), [True, False, False]
            )[0]
        if ctx.needs_input_grad[1]:
            grad_weight = depthwise_taps(x, grad, weight.shape[2], ctx.stride, ctx.padding)
        return grad_x, grad_weight, None, None


def depthwise_taps(x: Tensor, grad: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """Return the gradient [C, 1, k, k] of a depthwise kernel from its input and the gradient of its output.

    At each tap these are the products of that gradient with what the tap saw, summed over images and places.
    """
    height, width = (stride * (side - 1) + 1 for side in grad.shape[2:])
    seen = functional.pad(x, [padding] * 4)
    taps = [
        (seen[:, :, row : row + height : stride, column : column + width : stride] * grad).sum(dim=(0, 2, 3))
        for row in range(kernel)
        for column in range(kernel)
    ]
    return torch.stack(taps, dim=1).view(-1, 1, kernel, kernel)
