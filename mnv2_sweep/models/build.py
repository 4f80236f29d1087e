"""ArchSpec -> the network as an nn.Module, every shape from the plan.

MobileNetV2 is written in the paper's order, with the names that torchvision's mobilenet_v2 has in its state_dict, so
published weights load directly. The families that it is compared with, and networks with the head of a detector or
segmenter, are built by PlanNetwork, which runs the layers of any plan one after the other; the tests hold the two equal
on MobileNetV2's plans.

All that computes is a plain module of torch's, of exactly that class (nn.Conv2d, nn.BatchNorm2d, nn.Linear, nn.ReLU6,
nn.MaxPool2d, ...), so tools that look layers up by their class find them; but for L2 norm, which torch has none of.
Sums, joins, shuffles, resizing and the mean over the last map are operations between them. Shapes in comments: [batch,
channels, size, size].
"""

import itertools
import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from mnv2_sweep.models.padding import ImageInput
from mnv2_sweep.nets.arch import CLASSIFIER, DEEPLAB, SAME, ArchSpec
from mnv2_sweep.nets.plan import WEIGHTED, Block, Layer, Plan, norm_name
from mnv2_sweep.nets.resolve import resolve

ACTIVATIONS = {
    "relu6": nn.ReLU6, "relu": nn.ReLU, "hswish": nn.Hardswish, "sigmoid": nn.Sigmoid,
    "leaky": partial(nn.LeakyReLU, 0.1),
}  # fmt: skip
FIRST_SCALE = 20.0  # of an L2 norm (weiliu89/caffe, ssd)
PREDICTORS = ("boxes", "scores", "segmenter")  # blocks with outputs
# ssdlite_mobilenet_v2_coco.config and deeplab's model.py; YOLOv2's is that of its inputs, as darknet has it.
PREDICTOR_STDDEVS = {"ssdlite": 0.03, "ssd": 0.03, "deeplabv3": 0.01}


def build_model(arch: ArchSpec, stddev: float = 0.0) -> nn.Module:
    """Return the network: [N, in_channels, height, width] float32 -> logits [N, classes]. Raises ArchError.

    With another head it returns maps, which `nets.heads` describes, a tuple where there are several: of an SSD for each
    map in order boxes [N, 4 * anchors, h, w] and scores [N, (1 + classes) * anchors, h, w]; of YOLOv2 [N, anchors *
    (5 + classes), h, w]; of DeepLabv3 [N, classes, height, width].
    Initialised as torchvision does: He-normal (fan out) convolutions, unit batch norm, linear N(0, 0.01); what predicts
    of another head as its source does (PREDICTOR_STDDEVS), as its few outputs would begin far from 0 otherwise.
    With `stddev` as TF-slim's MobileNetV2: all weights of that deviation, see `draw_weights`.
    """
    model = build_layers(arch).apply(partial(_initialise, stddev=stddev))
    if arch.head != CLASSIFIER and not stddev:
        _draw_predictors(model, arch)
    return model


def build_layers(arch: ArchSpec) -> nn.Module:
    """Return the network before its own first values. Raises ArchError."""
    plan = resolve(arch)
    is_ours = arch.family == "mobilenet_v2" and arch.head == CLASSIFIER
    return MobileNetV2(plan) if is_ours else PlanNetwork(plan)


def _initialise(module: nn.Module, stddev: float) -> None:
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        draw_weights(module.weight, stddev)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)


def _draw_predictors(model: nn.Module, arch: ArchSpec) -> None:
    """Draw the first values of the convolutions that end in outputs: normal ones, without a bias."""
    for block in resolve(arch).blocks:
        for layer in block.convs if block.kind in PREDICTORS else ():
            if not layer.norm:
                predictor = model.get_submodule(layer.name)
                nn.init.normal_(predictor.weight, 0, PREDICTOR_STDDEVS.get(arch.head, math.sqrt(2 / layer.c_in)))
                nn.init.zeros_(predictor.bias)


def draw_weights(weight: Tensor, stddev: float = 0.0) -> None:
    """Draw first values of a convolution's kernels [out, in, k, k] or a linear layer's weights [out, in]: those of
    torchvision, or normal ones of that deviation, none beyond twice that (TensorFlow's truncated_normal_initializer).
    """
    if stddev:
        nn.init.trunc_normal_(weight, std=stddev, a=-2 * stddev, b=2 * stddev)
    elif weight.ndim == 4:
        nn.init.kaiming_normal_(weight, mode="fan_out")
    else:
        nn.init.normal_(weight, 0, 0.01)


def set_norms(model: nn.Module, epsilon: float, momentum: float) -> None:
    """Give all batch norms of a network that epsilon, and that share of a batch in their running statistics."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps, module.momentum = epsilon, momentum


# ---------------------------------------------------------------- MobileNetV2


class MobileNetV2(nn.Module):
    """A MobileNetV2: stem, inverted residuals, last convolution, classifier (paper, table 2)."""

    def __init__(self, plan: Plan):
        super().__init__()
        blocks = [
            InvertedResidual(block) if block.kind == "bottleneck" else conv_bn(block.convs[0])
            for block in plan.blocks[:-1]
        ]
        self.features = Features(*blocks)
        self.input = ImageInput(turned=True) if plan.pads_same else None
        linear = plan.blocks[-1].convs[0]
        self.classifier = nn.Sequential(nn.Dropout(plan.dropout), nn.Linear(linear.c_in, linear.c_out))

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x if self.input is None else self.input(x))  # [N, last_channels, size / 32, size / 32]
        return self.classifier(x.mean(dim=(2, 3)))

    def shortcut_norms(self) -> list[nn.BatchNorm2d]:
        """Return the batch norms right before the shortcuts' additions.

        That is the projection's, or the expansion's, which at t = 1 is the projection of the block before.
        """
        norms = []
        for before, block in itertools.pairwise(self.features):
            shortcut = getattr(block, "shortcut", None)
            if shortcut is not None:
                wide = shortcut == "expansion"
                layers = block.conv[0] if wide and block.expands else before.conv if wide else block.conv
                norms.append([layer for layer in layers if isinstance(layer, nn.BatchNorm2d)][-1])
        return norms


class Features(nn.Sequential):
    """The blocks in order; hands each block's expanded tensor to the next, for shortcuts between expansions."""

    def forward(self, x: Tensor) -> Tensor:
        expanded = None
        for block in self:
            if isinstance(block, InvertedResidual):
                x, expanded = block(x, expanded)
            else:
                x = block(x)
        return x


class InvertedResidual(nn.Module):
    """A bottleneck block (paper, table 1 and figure 4d): 1x1 expansion + ReLU6, depthwise + ReLU6, linear 1x1
    projection, shortcut."""

    def __init__(self, block: Block):
        super().__init__()
        layers: list[nn.Module] = []
        for role, layer in zip(block.roles, block.layers, strict=True):
            if role in ("expand", "depthwise"):
                layers.append(conv_bn(layer))
            elif role == "squeeze":
                layers.append(SqueezeExcite(block.find("reduce"), block.find("restore")))
        self.conv = nn.Sequential(*layers, *conv_bn(block.find("project")))
        self.expands, self.shortcut = block.expands, block.shortcut

    def forward(self, x: Tensor, wide: Tensor | None) -> tuple[Tensor, Tensor]:
        """Run it: block input [N, c_in, s, s], the previous block's expanded tensor -> output, own expanded tensor."""
        if self.shortcut != "expansion":
            expanded = self.conv[0](x) if self.expands else x
        elif self.expands:
            convolution, norm, activation = self.conv[0]
            expanded = activation(norm(convolution(x)) + wide)
        else:
            expanded = x + wide
        out = expanded
        for layer in self.conv[1:] if self.expands else self.conv:
            out = layer(out)
        return (x + out if self.shortcut == "bottleneck" else out), expanded


class SqueezeExcite(nn.Module):
    """Weights for the channels of a map, from its own means: [N, c, s, s] -> the same (arXiv 1709.01507)."""

    def __init__(self, reduce: Layer, restore: Layer):
        super().__init__()
        self.fc1, self.fc2 = _convolution(reduce), _convolution(restore)
        self.relu, self.sigmoid = nn.ReLU(), nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean(dim=(2, 3), keepdim=True)  # [N, c, 1, 1]
        return x * self.sigmoid(self.fc2(self.relu(self.fc1(means))))


def conv_bn(conv: Layer) -> nn.Sequential:
    """Return convolution, batch norm and, where the plan has it, ReLU6 or another activation."""
    layers: list[nn.Module] = [_convolution(conv), nn.BatchNorm2d(conv.c_out)]
    return nn.Sequential(*layers, ACTIVATIONS[conv.act](inplace=True)) if conv.act else nn.Sequential(*layers)


def _convolution(conv: Layer) -> nn.Conv2d:
    around = conv.dilation * (conv.kernel // 2)
    padding = around if conv.padding in (None, SAME) else conv.padding  # SAME: see models.padding
    more = {"dilation": conv.dilation, "groups": conv.groups, "bias": conv.bias and not conv.norm}
    return nn.Conv2d(conv.c_in, conv.c_out, conv.kernel, conv.stride, padding, **more)


# ---------------------------------------------------------------- any plan


class PlanNetwork(nn.Module):
    """A network of any plan: [N, channels, height, width] -> logits [N, classes], or what its head has in their place,
    see `build_model`; convolutions, batch norms and pools have the plan's names.

    A layer's activation is at the layer's own name with "_act" behind it, as the next place may be another layer's.
    """

    def __init__(self, plan: Plan):
        super().__init__()
        self.outputs = plan.outputs
        self.steps = [(layer, _last_reads(plan.layers, i) - {*plan.outputs}) for i, layer in enumerate(plan.layers)]
        drops = plan.head == CLASSIFIER or plan.head in DEEPLAB
        self.dropped = plan.convs[-1].name if drops else ""
        self.gains = [  # batch norms right before a shortcut's addition
            norm_name(layer.name)
            for block in plan.blocks
            for layer in block.convs
            if block.shortcut and len(layer.reads) > 1
        ]
        for layer in plan.layers:
            if layer.op in MODULES:
                _place(self, layer.name, MODULES[layer.op](layer))
            if layer.op in WEIGHTED and layer.norm:
                _place(self, norm_name(layer.name), nn.BatchNorm2d(layer.c_out))
            if layer.act:
                _place(self, f"{layer.name}_act", ACTIVATIONS[layer.act]())
        self.dropout = nn.Dropout(plan.dropout)
        self.input = ImageInput(turned=True) if plan.pads_same else None

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        tensors: dict[int, Tensor] = {0: x if self.input is None else self.input(x)}
        for i, (layer, last) in enumerate(self.steps):
            reads = [tensors[i + back + 1] for back in layer.reads]
            for tensor in last:  # read for the last time
                del tensors[tensor]
            tensors[i + 1] = self.run_layer(layer, reads)
        if not self.outputs:
            return tensors[len(self.steps)].flatten(1)
        made = [tensors[tensor] for tensor in self.outputs]
        if self.input is not None and self.input.turned:
            made = [output.flip(2, 3) for output in made]
        return made[0] if len(made) == 1 else tuple(made)

    def run_layer(self, layer: Layer, reads: list[Tensor]) -> Tensor:
        """Return the layer's output, after its batch norm, additions and activation.

        Maps are [N, c_in, size_in, size_in] -> [N, c_out, size_out, size_out].
        """
        if layer.op not in WEIGHTED:
            run = self.get_submodule(layer.name) if layer.op in MODULES else partial(join_maps, layer)
            return self._activate(layer, run(*reads))
        x = reads[0].flatten(1) if layer.op == "linear" else reads[0]
        x = self.dropout(x) if layer.name == self.dropped else x
        x = self.get_submodule(layer.name)(x)
        if layer.norm:
            x = self.get_submodule(norm_name(layer.name))(x)
        if layer.sum_last:
            x = self._activate(layer, x)
        for other in reads[1:]:
            x = x + other
        return x if layer.sum_last else self._activate(layer, x)

    def shortcut_norms(self) -> list[nn.BatchNorm2d]:
        """Return the batch norms right before the shortcuts' additions."""
        return [self.get_submodule(name) for name in self.gains]

    def _activate(self, layer: Layer, x: Tensor) -> Tensor:
        return self.get_submodule(f"{layer.name}_act")(x) if layer.act else x


def _max_pool(layer: Layer) -> nn.MaxPool2d:
    if layer.padding == 0:
        return nn.MaxPool2d(layer.kernel, layer.stride, ceil_mode=True)
    return nn.MaxPool2d(layer.kernel, layer.stride, layer.kernel // 2)


def _avg_pool(layer: Layer) -> nn.AvgPool2d:
    """Return the mean over what is in the image: the border counts for nothing, as in TensorFlow."""
    return nn.AvgPool2d(layer.kernel, layer.stride, layer.kernel // 2, count_include_pad=False)


def _linear(layer: Layer) -> nn.Linear:
    return nn.Linear(layer.c_in, layer.c_out)


class L2Norm(nn.Module):
    """Length 1 over the channels at every place, times a learnt scale for each: [N, c, h, w] -> the same."""

    def __init__(self, layer: Layer):
        super().__init__()
        self.scale = nn.Parameter(torch.full((layer.c_out, 1, 1), FIRST_SCALE))

    def forward(self, x: Tensor) -> Tensor:
        return functional.normalize(x) * self.scale


MODULES = {
    "conv": _convolution, "linear": _linear, "max_pool": _max_pool, "avg_pool": _avg_pool, "l2_norm": L2Norm
}  # fmt: skip


def join_maps(layer: Layer, x: Tensor, *others: Tensor) -> Tensor:
    """Do what a layer does that is no module, on maps [N, channels, height, width]."""
    if layer.op == "global_pool":
        return x.mean(dim=(2, 3), keepdim=True)
    if layer.op == "shuffle":  # channel c of group g becomes channel g of group c (ShuffleNet paper, figure 1)
        return x.unflatten(1, (layer.groups, -1)).transpose(1, 2).flatten(1, 2)
    if layer.op == "shift":  # one pixel up and left, zeros from beyond the edge
        return functional.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
    if layer.op == "add":
        return sum(others, x)
    if layer.op == "concat":
        return torch.cat([x, *others], 1)
    if layer.op == "multiply":
        return math.prod(others, start=x)
    if layer.op == "resize":  # corners on corners, as DeepLab has it
        return functional.interpolate(x, size=tuple(layer.size_out), mode="bilinear", align_corners=True)
    if layer.op == "space_to_depth":
        (height, width), side = layer.size_in, layer.stride
        return functional.pixel_unshuffle(functional.pad(x, (0, -width % side, 0, -height % side)), side)
    return x  # "relu": its activation says all


def _last_reads(layers: tuple[Layer, ...], i: int) -> set[int]:
    """Return the tensors that layer i is the last to read."""
    later = {j + back + 1 for j in range(i + 1, len(layers)) for back in layers[j].reads}
    return {i + back + 1 for back in layers[i].reads} - later


def _place(root: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module at a dotted place, making the modules on the way."""
    *path, last = name.split(".")
    for part in path:
        if not hasattr(root, part):
            root.add_module(part, nn.Module())
        root = getattr(root, part)
    root.add_module(last, module)
