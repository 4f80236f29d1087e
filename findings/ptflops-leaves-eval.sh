#!/usr/bin/env bash
# ptflops leaves the network that it counted in eval mode: a training that follows runs without dropout, and batch norm
# never sees the data.
#
# Versions   ptflops 0.7.5 (both backends), torch 2.13.0 (CPU); thop 0.1.1.post2209072238 as the peer.
# Expected   A counter looks at a network and leaves it as it was: in train mode, without hooks. thop does.
# Seen       After get_model_complexity_info every module is in eval mode. With backend="aten" its hooks stay as well,
#            two for each direct child. A training loop that never calls net.train(), since a new network is in train
#            mode, then trains another network than it would have: running_mean stays 0, running_var stays 1.
# Hurt       "Print the complexity, then train", the usual order in a script, silently changes the result. Nothing
#            fails: the loss falls, the accuracy is just another one.
#
# Prints what it sees. Exit 0: as described; 1: it has changed.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install --quiet --disable-pip-version-check \
    torch==2.13.0 numpy==2.4.6 ptflops==0.7.5 thop==0.1.1.post2209072238

"$here/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import torch
from ptflops import get_model_complexity_info
from thop import profile
from torch import nn


def make():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)]
    return nn.Sequential(*layers)


def train(net):
    """Twenty steps on images whose mean is 5; no net.train(), as a new network is in train mode."""
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(20):
        images = 5 + torch.randn(16, 3, 8, 8, generator=generator)
        labels = torch.randint(2, (16,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(images), labels).backward()
        optimizer.step()
    return net[1].running_mean.abs().sum().item()


def ptflops(net, backend):
    get_model_complexity_info(net, (3, 8, 8), as_strings=False, print_per_layer_stat=False, backend=backend)


COUNTERS = {
    "nothing": lambda net: None,
    "thop": lambda net: profile(net, (torch.randn(1, 3, 8, 8),), verbose=False),
    "ptflops": lambda net: ptflops(net, "pytorch"),
    "ptflops, aten": lambda net: ptflops(net, "aten"),
}
seen = {}
print(f"torch {torch.__version__}\n{'counted before with':22}{'in train mode':>14}{'hooks left':>12}{'sum of |running mean|':>24}")
for name, counter in COUNTERS.items():
    net = make()
    counter(net)
    hooks = sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in net.modules())
    mode = all(module.training for module in net.modules())
    seen[name] = (mode, hooks, train(net))
    print(f"{name:22}{'yes' if mode else 'no':>14}{hooks:12}{seen[name][2]:24.3f}")
right = seen["thop"] == seen["nothing"] == (True, 0, seen["nothing"][2]) and seen["nothing"][2] > 1
right &= seen["ptflops"] == (False, 0, 0.0) and seen["ptflops, aten"] == (False, 12, 0.0)
print("as described" if right else "CHANGED: no longer as described")
sys.exit(0 if right else 1)
PYTHON
