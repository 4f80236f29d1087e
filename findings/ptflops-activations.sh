#!/usr/bin/env bash
# ptflops counts nn.ReLU 2 operations an element, nn.ReLU6 1 and nn.Hardswish 0, so an activation reorders networks.
#
# Versions   ptflops 0.7.5 (its default backend), torch 2.13.0 (CPU).
# Expected   An activation costs the same for every tool user: nothing, or one operation an element for each of them;
#            if any is dearer, then the one that takes more arithmetic (Hardswish: x * relu6(x + 3) / 6).
# Seen       nn.ReLU, nn.ELU and nn.GELU count 2 an element, nn.ReLU6, nn.LeakyReLU and nn.SiLU 1, nn.Hardswish,
#            nn.Sigmoid and nn.Hardsigmoid 0. The 2 is a count made twice: a hook counts the module, and the function
#            that the module calls (torch.nn.functional.relu) is counted as well; called by itself it counts 1. The
#            same happens to nn.MaxPool2d, nn.AvgPool2d and nn.AdaptiveAvgPool2d. What is not in its tables counts 0.
#            A depthwise-separable block with Hardswish and 17 channels, which has 11 % more multiply-adds, counts less
#            than one with ReLU and 16 channels.
# Hurt       Whoever picks networks under a budget of "MACs" from ptflops picks the one whose activation is not in
#            the tool's tables, and the same network changes its rank with the activation's name.
#
# Prints what it sees. Exit 0: as described; 1: it has changed.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 ptflops==0.7.5

"$here/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import torch
import torch.nn.functional as F
from ptflops import get_model_complexity_info
from torch import nn

CHANNELS, SIDE = 8, 16


def count(net, channels=CHANNELS, side=SIDE):
    return get_model_complexity_info(net, (channels, side, side), as_strings=False, print_per_layer_stat=False)[0]


class Call(nn.Module):
    """Calls a function of torch.nn.functional, as a forward method would."""

    def __init__(self, name):
        super().__init__()
        self.name = name

    def forward(self, x):
        return getattr(F, self.name)(x)


DESCRIBED = {
    nn.ReLU(): 2, nn.ELU(): 2, nn.GELU(): 2, nn.ReLU6(): 1, nn.LeakyReLU(): 1, nn.SiLU(): 1,
    nn.Hardswish(): 0, nn.Sigmoid(): 0, nn.Hardsigmoid(): 0,
    nn.MaxPool2d(2): 2, nn.AvgPool2d(2): 2, nn.AdaptiveAvgPool2d(1): 2,
    Call("relu"): 1, Call("relu6"): 1, Call("hardswish"): 0,
}  # fmt: skip

print(f"torch {torch.__version__}, ptflops 0.7.5: operations for each element that goes in")
convolution = CHANNELS * CHANNELS * SIDE * SIDE
right = True
for layer, described in DESCRIBED.items():
    net = nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 1, bias=False), layer)
    seen = (count(net) - convolution) / (CHANNELS * SIDE * SIDE)
    name = f"F.{layer.name}" if isinstance(layer, Call) else f"nn.{type(layer).__name__}"
    print(f"  {name:24} {seen:g}")
    right &= seen == described


def block(channels, activation):
    """A depthwise-separable block without batch norm: 3x3 depthwise, 1x1, an activation after each."""
    depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
    return nn.Sequential(depthwise, activation(), nn.Conv2d(channels, channels, 1, bias=False), activation())


narrow, wide = count(block(16, nn.ReLU), 16), count(block(17, nn.Hardswish), 17)
true = [(9 + channels) * channels * SIDE * SIDE for channels in (16, 17)]
print(f"block of 16 channels with ReLU      {narrow:,}; multiply-adds of its convolutions: {true[0]:,}")
print(f"block of 17 channels with Hardswish {wide:,}; multiply-adds of its convolutions: {true[1]:,}")
right &= wide < narrow and true[1] > true[0]
print("as described" if right else "CHANGED: no longer as described")
sys.exit(0 if right else 1)
PYTHON
