"""A built MobileNetV2 -> the same network for inference, its blocks run t ways (paper, section 5.1), batch norm folded.

`nets.memory.bound_operations` says what runs at once and what it may hold; here each such operation is a module, and no
more than its tensors is alive while it runs. What that takes on a CPU, found by measuring:
- Maps are kept as [N, size, size, channels]. So a 1x1 convolution is one matrix product, a group's part is added to
  the output by the product itself (addmm_), and oneDNN's depthwise convolution reads and writes maps as they lie.
  Of [N, channels, size, size] it makes blocked copies, both of what it reads and of what it writes.
- oneDNN also copies a slice of channels, and unfolds a single channel into kernel^2 of them: there, `tap_by_tap`.
- Python frames hold what they are called with. So maps lie in a dictionary, which they leave after their last use.
More than the bound take only small maps: oneDNN reorders a depthwise convolution's weights each time, kernel^2 numbers
a channel; and torch unfolds a single image of up to 82 px, for the stem, into 27 numbers an output position.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_weights

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.models.build import ACTIVATIONS, MobileNetV2, join_maps
from mnv2_sweep.nets.arch import CLASSIFIER, FAMILY_NAMES, ArchSpec, arch_label
from mnv2_sweep.nets.memory import Operation, bound_operations
from mnv2_sweep.nets.plan import WEIGHTED, Layer, norm_name
from mnv2_sweep.nets.resolve import resolve


def split_model(model: nn.Module, arch: ArchSpec, splits: int) -> "SplitNetwork":
    """Return the network that `build_model(arch)` made, for inference with blocks split `splits` ways.

    1 runs layer by layer, and splits beyond a block's hidden channels mean one channel at a time. Which blocks are
    split, `nets.memory` says. The model stays as it is; the weights are those of this moment. Raises SweepError for
    families without bottlenecks, other heads, and for ordinary convolutions, which read every hidden channel at once.
    """
    if arch.head != CLASSIFIER:
        raise SweepError(f"split: {arch_label(arch)} given; only classifiers are run with blocks split")
    if not isinstance(model, MobileNetV2):
        raise SweepError(f"split: {FAMILY_NAMES[arch.family]} given; only MobileNetV2 has bottleneck blocks to split")
    if not arch.depthwise:
        raise SweepError(
            f"split: {arch_label(arch)} given; a group of channels needs depthwise convolutions (depthwise: true)"
        )
    return SplitNetwork(model, bound_operations(resolve(arch), splits))


class SplitNetwork(nn.Module):
    """A network for inference: images [N, 3, size, size] -> logits [N, classes], without gradients.

    An image lives as long as its caller holds it. Handed over in a list of one, which is emptied, it is freed after
    the stem. One in torch.channels_last is used as it lies; any other is copied first.
    """

    def __init__(self, model: MobileNetV2, operations: list[Operation]):
        super().__init__()
        self.operations, self.input = operations, model.input
        self.steps = nn.ModuleList(_make_step(operation, model) for operation in operations)
        self.reads = _list_reads(operations)

    def forward(self, images: Tensor | list[Tensor]) -> Tensor:
        maps = {0: images.pop() if isinstance(images, list) else images}
        if self.input is not None:
            maps[0] = self.input(maps[0])
        maps[0] = maps[0].permute(0, 2, 3, 1).contiguous()
        self.run_operations(maps, 0, len(self.steps))
        return maps.popitem()[1].flatten(1)

    @torch.inference_mode()
    def run_operations(self, maps: dict[int, Tensor], start: int, stop: int) -> None:
        """Run operations in a row on the maps, by their number in the plan: those last read leave, the output enters.

        Before operation 0 that is the image, {0: [N, size, size, 3]}.
        """
        for step, (reads, last, makes) in list(zip(self.steps, self.reads, strict=True))[start:stop]:
            maps[makes] = step(*[maps[number] for number in reads])
            for number in last:
                del maps[number]


class Dense(nn.Module):
    """The stem as one operation: [N, s, s, c_in] -> [N, s / stride, s / stride, c_out]."""

    def __init__(self, layer: Layer, weight: Tensor, bias: Tensor):
        super().__init__()
        self.layer = layer
        self.register_buffer("weight", weight.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        padding = self.layer.kernel // 2
        out = functional.conv2d(x.permute(0, 3, 1, 2), self.weight, self.bias, self.layer.stride, padding)
        return _finish(self.layer, out.permute(0, 2, 3, 1).contiguous())


class Pointwise(nn.Module):
    """A 1x1 convolution or linear layer: [N, s, s, c_in] -> [N, s, s, c_out]; further maps are added to the output."""

    def __init__(self, layer: Layer, weight: Tensor, bias: Tensor):
        super().__init__()
        self.layer = layer
        self.register_buffer("weight", weight.flatten(1).t().contiguous())  # [c_in, c_out]
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        return self.run(x, self.weight, self.bias, *others)

    def parts(self, groups: int) -> zip:
        """Return (weight, bias) of each group of output channels, as views."""
        return zip(self.weight.tensor_split(groups, dim=1), self.bias.tensor_split(groups), strict=True)

    def run(self, x: Tensor, weight: Tensor, bias: Tensor, *others: Tensor) -> Tensor:
        """Run it with a part of the weights."""
        out = torch.addmm(bias, x.flatten(0, 2), weight)
        return _finish(self.layer, out.unflatten(0, x.shape[:3]), *others)


class Depthwise(nn.Module):
    """A depthwise convolution: [N, s, s, c] -> [N, s / stride, s / stride, c], of all channels or a group of them."""

    def __init__(self, layer: Layer, weight: Tensor, bias: Tensor, taps: bool = False):
        super().__init__()
        self.layer = layer
        self.taps = taps or layer.kernel == layer.stride == 1 or not torch.backends.mkldnn.is_available()
        # [kernel^2, c] tap by tap, else as convolutions have it, [c, 1, kernel, kernel]
        self.register_buffer("weight", weight.flatten(1).t().contiguous() if self.taps else weight)
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x, self.weight, self.bias)

    def parts(self, groups: int) -> zip:
        """Return (weight, bias) of each group of channels, as views."""
        weights = self.weight.tensor_split(groups, dim=1 if self.taps else 0)
        return zip(weights, self.bias.tensor_split(groups), strict=True)

    def run(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Run it with a part of the weights, on as many channels."""
        kernel, stride = self.layer.kernel, self.layer.stride
        if self.taps:
            return _finish(self.layer, tap_by_tap(x, weight, bias, kernel, stride))
        out = functional.conv2d(x.permute(0, 3, 1, 2), weight, bias, stride, kernel // 2, groups=len(bias))
        return _finish(self.layer, out.permute(0, 2, 3, 1).contiguous())


class SplitBlock(nn.Module):
    """A bottleneck as one operation: [N, s, s, c_in] -> [N, s / stride, s / stride, c_out].

    Expansion, depthwise convolution and projection of one group of hidden channels after the other.
    """

    def __init__(self, operation: Operation, weights: list[tuple[Tensor, Tensor]]):
        super().__init__()
        self.groups, self.shortcut = operation.groups, operation.block.shortcut is not None
        *first, deep, last = operation.layers
        self.expand = Pointwise(first[0], *weights[0]) if first else None
        # Without an expansion a group is a slice of the input; and in the smallest groups is one channel.
        taps = self.expand is None or deep.c_in < 2 * self.groups
        self.deep = Depthwise(deep, *weights[-2], taps)
        self.project = Pointwise(last, *weights[-1])

    def forward(self, x: Tensor) -> Tensor:
        n, stride = len(x), self.deep.layer.stride
        size = [-(-side // stride) for side in x.shape[1:3]]
        out = _spread(self.project.bias, n, size)
        wide = self.expand.parts(self.groups) if self.expand else x.tensor_split(self.groups, dim=3)
        projects = self.project.weight.tensor_split(self.groups)
        for source, deep, project in zip(wide, self.deep.parts(self.groups), projects, strict=True):
            inner = self.expand.run(x, *source) if self.expand else source
            inner = self.deep.run(inner, *deep)
            out.flatten(0, 2).addmm_(inner.flatten(0, 2), project)
        return _finish(self.project.layer, out, *([x] if self.shortcut else []))


class Join(nn.Module):
    """An operation that is no module: the mean over each map, a sum or product of maps."""

    def __init__(self, layer: Layer):
        super().__init__()
        self.layer = layer

    def forward(self, *maps: Tensor) -> Tensor:
        return join_maps(self.layer, *(x.permute(0, 3, 1, 2) for x in maps)).permute(0, 2, 3, 1)


def tap_by_tap(x: Tensor, weight: Tensor, bias: Tensor, kernel: int, stride: int) -> Tensor:
    """Convolve depthwise without any memory but the output: the input, moved and weighted, kernel^2 times.

    x is [N, s, s, c] and may be a slice of channels; weight [kernel^2, c]. Takes about 1.5 times as long as oneDNN.
    """
    rows, columns = ([_tap_range(side, kernel, stride, at) for at in range(kernel)] for side in x.shape[1:3])
    size = [-(-side // stride) for side in x.shape[1:3]]
    out = _spread(bias, len(x), size)
    for i, (row_in, row_out) in enumerate(rows):
        for j, (column_in, column_out) in enumerate(columns):
            out[:, row_out, column_out].addcmul_(x[:, row_in, column_in], weight[i * kernel + j])
    return out


def _tap_range(side: int, kernel: int, stride: int, at: int) -> tuple[slice, slice]:
    """Return where one row of the kernel meets the input, and the outputs that this belongs to; around it lie zeros."""
    shift = at - kernel // 2  # output y reads input y * stride + shift
    first = max(0, -(shift // stride))
    stop = max(first, min(-(-side // stride), (side - 1 - shift) // stride + 1))
    start = first * stride + shift
    return slice(start, start + (stop - first) * stride, stride), slice(first, stop)


def _spread(bias: Tensor, n: int, size: list[int]) -> Tensor:
    """Return a map with the bias at every position; a copy also at 1x1, where a view would do and sums spoil it."""
    return bias.expand(n, *size, -1).clone(memory_format=torch.contiguous_format)


def _finish(layer: Layer, out: Tensor, *others: Tensor) -> Tensor:
    """Do activation and additions, in place, in the layer's order."""
    if layer.sum_last:
        _activate(layer.act, out)
    for other in others:
        out += other
    if not layer.sum_last:
        _activate(layer.act, out)
    return out


def _activate(act: str, out: Tensor) -> None:
    if act == "hswish":
        functional.hardswish(out, inplace=True)
    elif act in ("relu6", "relu"):
        out.clamp_(0, 6 if act == "relu6" else None)
    elif act:
        out.copy_(ACTIVATIONS[act]()(out))


def _make_step(operation: Operation, model: nn.Module) -> nn.Module:
    weights = [_fold_norm(layer, model) for layer in operation.layers if layer.op in WEIGHTED]
    if operation.groups > 1:
        return SplitBlock(operation, weights)
    (layer,) = operation.layers
    if layer.op not in WEIGHTED:
        return Join(layer)
    kind = Depthwise if layer.groups > 1 else Pointwise if layer.kernel == 1 else Dense
    return kind(layer, *weights[0])


def _fold_norm(layer: Layer, model: nn.Module) -> tuple[Tensor, Tensor]:
    """Return a convolution's weight and bias with the batch norm behind it taken in, as copies."""
    module = model.get_submodule(layer.name)
    if not layer.norm:
        return module.weight.detach().clone(), module.bias.detach().clone()
    norm = model.get_submodule(norm_name(layer.name))
    weight, bias = fuse_conv_bn_weights(
        module.weight, module.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    return weight.detach(), bias.detach()


def _list_reads(operations: list[Operation]) -> list[tuple[tuple[int, ...], tuple[int, ...], int]]:
    """Return for each operation the tensors it reads, those of them it is the last to read, and the one it makes."""
    reads, makes = [], []
    made = 0  # the number of the newest tensor; the image is 0, layer i makes i + 1
    for operation in operations:
        inner = [made + k + 1 + back for k, layer in enumerate(operation.layers) for back in layer.reads]
        reads.append(tuple(dict.fromkeys(number for number in inner if number <= made)))
        made += len(operation.layers)
        makes.append(made)
    later = [{number for others in reads[i + 1 :] for number in others} for i in range(len(reads))]
    last = [tuple(number for number in own if number not in after) for own, after in zip(reads, later, strict=True)]
    return list(zip(reads, last, makes, strict=True))
