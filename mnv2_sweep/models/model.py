"""ArchSpec -> nn.Module; MobileNetV2 written in the paper's order, every shape from the plan.

For the paper's architecture the state_dict has the names and shapes of torchvision's mobilenet_v2, so published
weights load directly. Shapes in comments: [batch, channels, size, size].
"""

import itertools

from torch import Tensor, nn

from mnv2_sweep.archs.arch import ArchSpec
from mnv2_sweep.archs.plan import Block, Layer, Plan
from mnv2_sweep.archs.resolve import resolve
from mnv2_sweep.models.convolution import Convolution
from mnv2_sweep.models.plan_network import PlanNetwork


def build_model(arch: ArchSpec) -> nn.Module:
    """The network: [N, 3, resolution, resolution] float32 -> logits [N, classes]. Raises ArchError.

    Initialised as torchvision does: He-normal (fan out) convolutions, unit batch norm, linear N(0, 0.01).
    """
    return build_layers(arch).apply(_initialise)


def build_layers(arch: ArchSpec) -> nn.Module:
    """The network before its own first values. Raises ArchError."""
    plan = resolve(arch)
    return MobileNetV2(plan) if arch.family == "mobilenet_v2" else PlanNetwork(plan)


ACTIVATIONS = {"relu6": nn.ReLU6, "relu": nn.ReLU, "hswish": nn.Hardswish}


class MobileNetV2(nn.Module):
    """Stem, inverted residuals, last convolution, classifier (paper, table 2)."""

    def __init__(self, plan: Plan):
        super().__init__()
        blocks = [
            InvertedResidual(block) if block.kind == "bottleneck" else conv_bn(block.convs[0])
            for block in plan.blocks[:-1]
        ]
        self.features = Features(*blocks)
        linear = plan.blocks[-1].convs[0]
        self.classifier = nn.Sequential(nn.Dropout(plan.dropout), nn.Linear(linear.c_in, linear.c_out))

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)  # [N, last_channels, size / 32, size / 32]
        return self.classifier(x.mean(dim=(2, 3)))

    def shortcut_norms(self) -> list[nn.BatchNorm2d]:
        """The batch norms right before the shortcuts' additions: the projection's, or the expansion's, which at t = 1
        is the projection of the block before."""
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
    """Paper, table 1 and figure 4d: 1x1 expansion + ReLU6, depthwise + ReLU6, linear 1x1 projection, shortcut."""

    def __init__(self, block: Block):
        super().__init__()
        *before, projection = block.convs
        layers = [conv_bn(conv) for conv in before] + list(conv_bn(projection))
        self.conv = nn.Sequential(*layers)
        self.expands, self.shortcut = block.expands, block.shortcut

    def forward(self, x: Tensor, wide: Tensor | None) -> tuple[Tensor, Tensor]:
        """Block input [N, c_in, s, s], the previous block's expanded tensor -> output, own expanded tensor."""
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


def conv_bn(conv: Layer) -> nn.Sequential:
    """Convolution, batch norm and, where the plan has it, ReLU6 or another activation."""
    layers: list[nn.Module] = [
        Convolution(
            conv.c_in, conv.c_out, conv.kernel, conv.stride, conv.kernel // 2, groups=conv.groups, bias=not conv.norm
        ),
        nn.BatchNorm2d(conv.c_out),
    ]
    return nn.Sequential(*layers, ACTIVATIONS[conv.act](inplace=True)) if conv.act else nn.Sequential(*layers)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0, 0.01)
        nn.init.zeros_(module.bias)
