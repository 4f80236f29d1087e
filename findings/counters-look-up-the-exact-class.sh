#!/usr/bin/env bash
# thop and ptflops count a layer by its exact class, torchinfo by the class's name: a subclass of nn.Conv2d that changes
# nothing counts 0, or 1/256, without a word.
#
# Versions   thop 0.1.1.post2209072238, ptflops 0.7.5 (its default backend), torchinfo 1.8.0; fvcore
#            0.1.5.post20221221 as the peer; torch 2.13.0 (CPU).
# Expected   `class Mine(nn.Conv2d): pass` changes nothing, so it counts what nn.Conv2d counts, or a warning says that
#            it does not.
# Seen       thop and ptflops count 0 multiply-adds for it and print nothing (ptflops does with verbose=True).
#            torchinfo multiplies by the size of the output only if the class's name has "Conv" in it, so it counts the
#            weights once: 1/256 here, at 16x16. fvcore and ptflops with its aten backend count it as before.
#            One need not write a subclass to have one: torch.nn.utils.parametrizations.spectral_norm and weight_norm
#            change a layer's class to one made on the spot, ParametrizedConv2d. thop and ptflops then count 0 as well,
#            and so does torchinfo, as the weight now has another name.
# Hurt       A network with one such kind of layer looks nearly free beside the same without, and wins a comparison.
#
# Prints what it sees. Exit 0: as described; 1: it has changed.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install --quiet --disable-pip-version-check \
    torch==2.13.0 numpy==2.4.6 \
    thop==0.1.1.post2209072238 ptflops==0.7.5 fvcore==0.1.5.post20221221 torchinfo==1.8.0

"$here/venv/bin/python" -W ignore - <<'PYTHON'
import contextlib
import io
import logging
import sys

import torch
from fvcore.nn import FlopCountAnalysis
from ptflops import get_model_complexity_info
from thop import profile
from torch import nn
from torch.nn.utils import parametrizations
from torchinfo import summary

logging.disable(logging.CRITICAL)
IMAGES = torch.randn(1, 3, 16, 16)


class Mine(nn.Conv2d):
    pass


def ptflops(net, backend="pytorch"):
    return get_model_complexity_info(net, (3, 16, 16), as_strings=False, print_per_layer_stat=False, backend=backend)[0]


TOOLS = {
    "thop": lambda net: profile(net, (IMAGES,), verbose=False)[0],
    "ptflops": ptflops,
    "ptflops, aten backend": lambda net: ptflops(net, "aten"),
    "fvcore": lambda net: FlopCountAnalysis(net, IMAGES).total(),
    "torchinfo": lambda net: summary(net, input_data=IMAGES, verbose=0).total_mult_adds,
}


def conv(kind=nn.Conv2d):
    return kind(3, 8, 3, padding=1, bias=False)


NETS = {
    "nn.Conv2d": conv,
    "a subclass of it": lambda: conv(Mine),
    "with spectral norm": lambda: parametrizations.spectral_norm(conv()),
    "with weight norm": lambda: parametrizations.weight_norm(conv()),
}
TRUE = 8 * 16 * 16 * 3 * 3 * 3
DESCRIBED = {
    "thop": [TRUE, 0, 0, 0],
    "ptflops": [TRUE, 0, 0, 0],
    "ptflops, aten backend": [TRUE] * 4,
    "fvcore": [TRUE] * 4,
    "torchinfo": [TRUE, TRUE // 256, 0, 0],
}

print(f"torch {torch.__version__}; one 3x3 convolution, 3 to 8 channels, 16x16: {TRUE:,} multiply-adds")
print(f"{'':22}" + "".join(f"{name:>20}" for name in NETS))
seen, said = {}, {}
for tool, count in TOOLS.items():
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        seen[tool] = [int(count(nn.Sequential(make(), nn.Flatten()).eval())) for make in NETS.values()]
    said[tool] = out.getvalue()
    print(f"{tool:22}" + "".join(f"{value:20,}" for value in seen[tool]) + ("  printed something" if said[tool] else ""))
right = seen == DESCRIBED and not any(said.values())
print("as described" if right else "CHANGED: no longer as described")
sys.exit(0 if right else 1)
PYTHON
