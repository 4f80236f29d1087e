"""A MobileNetV2 and images -> how many channels are positive after each ReLU6 of its bottlenecks (paper, figure 7).

Lemma 2 of appendix A: an expansion from n to m channels, m = t n, can be undone at a position while at least n of its m
outputs are positive, a fraction of 1 / t. Not tested is that their n rows of weights are independent. Depthwise layers
are counted as in the paper's figure, against the same 1 / t, though the lemma is about 1x1 convolutions.
"""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from mnv2_sweep.nets.plan import Layer, Plan
from mnv2_sweep.paper.manifold import LayerActivity

BATCH = 64
CLIPPED = 6.0  # where ReLU6 ends


def channel_activity(model: nn.Module, plan: Plan, images: Tensor) -> list[LayerActivity]:
    """Count expansions and depthwise layers of the blocks that expand, in order, over all positions of the images.

    `images` are [N, 3, size, size]. The model is in evaluation mode afterwards, and unchanged but for that.
    """
    tallies = [
        _Tally(block.find(role), kind, block.find("expand").c_in)
        for block in plan.blocks
        if block.expands
        for role, kind in (("expand", "expansion"), ("depthwise", "depthwise"))
    ]
    hooks = [_activation(model, tally.layer).register_forward_hook(tally.count) for tally in tallies]
    try:
        model.eval()
        with torch.inference_mode():
            for batch in _batches(images):
                model(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return [tally.sum_up() for tally in tallies]


def settle_norms(model: nn.Module, images: Tensor) -> nn.Module:
    """Return a copy whose batch norms know mean and variance of these images.

    A new network's know nothing (mean 0, variance 1), while its first training step goes by those of its batch.
    """
    settled = copy.deepcopy(model).eval()  # dropout would draw from the numbers that training draws from
    for module in settled.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the plain mean over batches
            module.train()
    with torch.no_grad():
        for batch in _batches(images):
            settled(batch)
    return settled.eval()


class _Tally:
    """Counts over what comes out of one ReLU6, [N, channels, size, size] at a time."""

    def __init__(self, layer: Layer, kind: str, needed: int):
        self.layer, self.kind, self.needed = layer, kind, needed
        self.positions = self.total = self.squares = self.below = self.clipped = self.high = 0
        self.low = layer.c_out

    def count(self, module: nn.Module, args: tuple, out: Tensor) -> None:
        positive = (out > 0).sum(dim=1)  # [N, size, size], int64
        self.positions += positive.numel()
        self.total += positive.sum().item()
        self.squares += (positive**2).sum().item()
        self.below += (positive < self.needed).sum().item()
        self.clipped += (out >= CLIPPED).sum().item() if self.layer.act == "relu6" else 0
        self.low, self.high = min(self.low, positive.min().item()), max(self.high, positive.max().item())

    def sum_up(self) -> LayerActivity:
        n, channels = self.positions, self.layer.c_out
        mean = self.total / n
        return LayerActivity(
            name=self.layer.name,
            kind=self.kind,
            channels=channels,
            needed=self.needed,
            mean=mean,
            deviation=max(0.0, self.squares / n - mean**2) ** 0.5,
            low=self.low,
            high=self.high,
            below=self.below / n,
            clipped=self.clipped / (n * channels),
        )


def _activation(model: nn.Module, layer: Layer) -> nn.Module:
    """Return the ReLU6 after a convolution: two places on, behind its batch norm (see `build.conv_bn`)."""
    assert layer.act in ("relu6", "relu")  # what lemma 2 speaks of
    before, _, at = layer.name.rpartition(".")
    return model.get_submodule(f"{before}.{int(at) + 2}")


def _batches(images: Tensor) -> Iterable[Tensor]:
    """Yield whole batches but for the last; a last one of a single image would have no variance to train by."""
    batches = list(images.split(BATCH))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches
