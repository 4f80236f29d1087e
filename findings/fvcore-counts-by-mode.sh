#!/usr/bin/env bash
# fvcore counts a network by the mode that it is in, and counting it in train mode changes it.
#
# Versions   fvcore 0.1.5.post20221221, torch 2.13.0 (CPU); thop 0.1.1.post2209072238 and torchinfo 1.8.0 as peers.
# Expected   "How many multiply-adds has this network?" has one answer, and asking leaves the network alone.
# Seen       FlopCountAnalysis(net, images).total() counts batch norm 2 for each element in eval mode and 5 in train
#            mode, and a new network is in train mode. For the depthwise-separable blocks below that is 11 % more in
#            eval mode than the convolutions and the linear layer, 26 % more in train mode. As it runs the network in
#            the mode that it finds, batch norm's running statistics move towards the images that it was counted with,
#            often noise, and dropout draws from torch's random numbers, so that a seeded training goes another way.
#            The peers count the same in both modes and change nothing.
# Hurt       Two tables made "with fvcore" are not comparable unless both say the mode. A trained network that is counted
#            without net.eval() and then saved has other statistics than it was trained to.
#
# Prints what it sees. Exit 0: as described; 1: it has changed.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 \
    fvcore==0.1.5.post20221221 thop==0.1.1.post2209072238 torchinfo==1.8.0

"$here/venv/bin/python" -W ignore - <<'PYTHON'
import copy
import logging
import sys

import torch
from fvcore.nn import FlopCountAnalysis
from thop import profile
from torch import nn
from torchinfo import summary

logging.disable(logging.CRITICAL)
IMAGES = torch.randn(1, 3, 32, 32)


def depthwise_separable(channels_in, channels, stride):
    depthwise = nn.Conv2d(channels_in, channels_in, 3, stride, 1, groups=channels_in, bias=False)
    pointwise = nn.Conv2d(channels_in, channels, 1, bias=False)
    return nn.Sequential(depthwise, nn.BatchNorm2d(channels_in), nn.ReLU(), pointwise, nn.BatchNorm2d(channels), nn.ReLU())


blocks = [depthwise_separable(*block) for block in ((8, 16, 1), (16, 32, 2), (32, 32, 1))]
new = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), *blocks, nn.Flatten(), nn.Dropout(), nn.Linear(32 * 64, 10))
elements = {"convolutions": 0, "batch norm": 0}


def add_up(layer, given, made):
    if isinstance(layer, nn.BatchNorm2d):
        elements["batch norm"] += made.numel()
    else:
        elements["convolutions"] += made.numel() * layer.weight[0].numel()


seen_by_hand = copy.deepcopy(new).eval()
for layer in seen_by_hand.modules():
    if isinstance(layer, (nn.Conv2d, nn.Linear, nn.BatchNorm2d)):
        layer.register_forward_hook(add_up)
seen_by_hand(IMAGES)
print(f"torch {torch.__version__}; by hand: {elements['convolutions']:,} multiply-adds, and {elements['batch norm']:,} elements of batch norm")

TOOLS = {
    "fvcore": lambda net: FlopCountAnalysis(net, IMAGES).total(),
    "thop": lambda net: profile(net, (IMAGES,), verbose=False)[0],
    "torchinfo": lambda net: summary(net, input_data=IMAGES, verbose=0).total_mult_adds,
}
seen = {}
for tool, count in TOOLS.items():
    counts = []
    for mode in ("eval", "train"):
        net = copy.deepcopy(new).train(mode == "train")
        before, numbers = copy.deepcopy(net.state_dict()), torch.get_rng_state()
        counts.append(int(count(net)))
        moved = any(not torch.equal(value, before[name]) for name, value in net.state_dict().items() if name in before)
        drawn = not torch.equal(numbers, torch.get_rng_state())
        seen[tool, mode] = (counts[-1], moved, drawn)
        words = ", statistics moved" * moved + ", random numbers drawn" * drawn
        over = counts[-1] / elements["convolutions"] - 1
        print(f"{tool:10} {mode:6} {counts[-1]:10,}  {over:+.0%}{words}")

convolutions, norm = elements["convolutions"], elements["batch norm"]
right = seen["fvcore", "eval"] == (convolutions + 2 * norm, False, False)
right &= seen["fvcore", "train"] == (convolutions + 5 * norm, True, True)
right &= all(seen[tool, "eval"] == seen[tool, "train"] and not any(seen[tool, "train"][1:]) for tool in ("thop", "torchinfo"))
print("as described" if right else "CHANGED: no longer as described")
sys.exit(0 if right else 1)
PYTHON
