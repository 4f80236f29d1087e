"""ArchSpec -> its SynFlow score: what the first weights alone say of a network, without data and without training.

Tanaka, Kunin, Yamins, Ganguli, "Pruning neural networks without any data by iteratively conserving synaptic flow",
as a score of networks in Abdelfattah, Mehrotra, Dudziak, Lane, "Zero-cost proxies for lightweight NAS": every weight
becomes its absolute value, the input is an image of ones, R is the sum of the logits, and the score is the sum over all
weights of convolutions and the linear layer of |w dR/dw|.

As there, batch norm is taken out. So are the upper bounds of ReLU6: without batch norm nearly all activations would lie
above 6, where no gradient passes. What is left of ReLU6 and ReLU is the identity, as nothing is negative. R grows with
every layer, to 10^30 for the paper's network, so all is float64, and the score is given as its logarithm to base 10.

The network ends with a mean over positions, and inside an image of ones all positions are alike: of a resolution the
score sees only how much of the maps is border, beside which there are zeros. So it says more of widths and depths.
"""

import math

import torch
from torch import nn

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.size import Size
from mnv2_sweep.models.build import build_model
from mnv2_sweep.nets.arch import ArchSpec, arch_label


def synflow_score(arch: ArchSpec, size: Size, seed: int) -> float:
    """Return log10 of the score of the built network on an image of `size`; the same for the same seed.

    Raises ArchError, and SweepError where a network is so deep that its score leaves float64 (above 10^308).
    """
    with torch.random.fork_rng(devices=[]):  # whoever asks keeps his random numbers
        torch.manual_seed(seed)
        model = build_model(arch)
    model = _linearise(model).double()
    model(torch.ones(1, arch.in_channels, *size, dtype=torch.float64)).sum().backward()
    layers = [module for module in model.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    score = sum(float((layer.weight.detach() * layer.weight.grad).abs().sum()) for layer in layers)
    if not 0 < score < math.inf:
        raise SweepError(f"{arch_label(arch)}: its SynFlow score is beyond float64 (10^308); leave such networks out")
    return math.log10(score)


def _linearise(model: nn.Module) -> nn.Module:
    """Return the network with absolute weights, without batch norm, dropout and the upper bounds of its activations."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, (nn.BatchNorm2d, nn.ReLU6, nn.ReLU)):
                setattr(module, name, nn.Identity())
    with torch.no_grad():
        for weight in model.parameters():
            weight.abs_()
    return model.eval()
