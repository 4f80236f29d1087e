#!/usr/bin/env bash
# torch's FlopCounterMode counts the weight gradient of a grouped convolution as if it were not grouped.
#
# Versions   torch 2.13.0 (CPU). A fix was proposed in pytorch/pytorch pull request 183405.
# Expected   A training step costs three times the forward pass: the gradients of the input and of the weight cost as
#            much as the forward pass each. For a convolution with g groups both are divided by g, as the forward is.
# Seen       A layer with g groups counts g + 2 times its forward pass: 3 without groups, 98 for a depthwise layer of
#            96 channels. The pass forward is right, and so is the gradient of the input.
# Hurt       Utilisation (FLOP/s over what the machine can do), energy and budgets computed from a training step of a
#            MobileNet or EfficientNet are several times too high, and networks are ordered by how depthwise they are.
#
# Prints what it sees. Exit 0: as described; 1: it has changed.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0

"$here/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count(net, images, backward):
    with FlopCounterMode(display=False) as counter:
        loss = net(images).sum()
        if backward:
            loss.backward()
    return counter.get_total_flops()


def ratio(net, images):
    """Operations of forward and backward over those of forward."""
    return count(net, images, True) / count(net, images, False)


def depthwise_separable(channels_in, channels, stride):
    depthwise = nn.Conv2d(channels_in, channels_in, 3, stride, 1, groups=channels_in, bias=False)
    pointwise = nn.Conv2d(channels_in, channels, 1, bias=False)
    return nn.Sequential(depthwise, nn.BatchNorm2d(channels_in), nn.ReLU(), pointwise, nn.BatchNorm2d(channels), nn.ReLU())


print(f"torch {torch.__version__}")
right = True
for channels, groups in ((32, 1), (32, 4), (32, 32), (96, 96)):
    layer = nn.Conv2d(channels, channels, 3, padding=1, groups=groups, bias=False)
    seen = ratio(layer, torch.randn(1, channels, 14, 14, requires_grad=True))
    print(f"3x3 convolution, {channels} channels, {groups} groups: a training step counts {seen:g} times the forward pass")
    right &= seen == groups + 2

blocks = [depthwise_separable(*block) for block in ((32, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2))]
stem = nn.Conv2d(3, 32, 3, 2, 1, bias=False)
net = nn.Sequential(stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))
images = torch.randn(2, 3, 64, 64)
seen = ratio(net, images)

# By hand, for the same network: a weight gradient costs what the forward pass costs, and so does the gradient of an
# input; nobody asks for the gradient of the images.
flops = []
hooks = [
    layer.register_forward_hook(
        lambda layer, given, made: flops.append(2 * made.numel() * layer.weight[0].numel())
    )
    for layer in net.modules()
    if isinstance(layer, (nn.Conv2d, nn.Linear))
]
net(images)
true = (3 * sum(flops) - flops[0]) / sum(flops)
print(f"a network of four depthwise-separable blocks: {seen:.2f} times the forward pass; by hand {true:.2f}")
right &= sum(flops) == count(net, images, False) and true < 3 and 6.6 < seen < 6.8
print("as described" if right else "CHANGED: no longer as described")
sys.exit(0 if right else 1)
PYTHON
