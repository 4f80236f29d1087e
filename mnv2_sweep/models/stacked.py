"""Seeds of one MobileNetV2 -> one network that runs them all at once, and back.

On a GPU a small network costs hardly more than the launching of its kernels; stacked, S seeds launch about as many as
one (counted, 0.35 wide: eight seeds 1,462 operations in a step of training, one alone 1,197).
Each layer has the channels of all seeds side by side, [B, S * C, size, size], and S times the groups, so that no seed
sees another's: a 1x1 convolution has a group a seed, the stem too, a depthwise convolution still one a channel. Batch
norm works on single channels anyway. Every tensor of a stacked state_dict is therefore the seeds' own ones, joined in
their first dimension (the count of batches apart, which they share), under the names they have in a network alone.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.models.build import MobileNetV2, set_norms
from mnv2_sweep.nets.arch import FAMILY_NAMES, ArchSpec
from mnv2_sweep.nets.plan import Plan
from mnv2_sweep.nets.resolve import resolve


def stack_models(models: Sequence[nn.Module], arch: ArchSpec, random_states: Sequence[Tensor]) -> "StackedNetwork":
    """Join the networks that `build_model(arch)` made to one; their weights are copied.

    `random_states` are what their dropout draws from, one for each: states of torch's generator for their device.
    Raises SweepError for another family and for models of another network.
    """
    if arch.family != "mobilenet_v2":
        given = FAMILY_NAMES[arch.family]
        raise SweepError(f"stack: {given} given, only MobileNetV2 allowed; train the seeds of {given} one by one")
    plan = resolve(arch)
    with torch.device("meta"):
        alone, network = MobileNetV2(plan), StackedNetwork(plan, random_states)
    for norm in (module for module in models[0].modules() if isinstance(module, nn.BatchNorm2d)):
        set_norms(alone, norm.eps, norm.momentum)
        set_norms(network, norm.eps, norm.momentum)
    expected = _layout(alone)
    for at, model in enumerate(models):
        if _layout(model) != expected:
            raise SweepError(f"stack: model {at} is another network than the spec's; build each with build_model(arch)")
    states = [model.state_dict() for model in models]
    joined = {name: torch.cat([state[name] for state in states]) for name in states[0] if states[0][name].ndim}
    counts = {name: value.clone() for name, value in states[0].items() if not value.ndim}
    network.load_state_dict(joined | counts, assign=True)
    return network


class StackedNetwork(nn.Module):
    """The network of all seeds: [S, B, 3, size, size] -> logits [S, B, classes]."""

    def __init__(self, plan: Plan, random_states: Sequence[Tensor]):
        super().__init__()
        self.seeds, linear = len(random_states), plan.blocks[-1].convs[0]
        network = MobileNetV2(widen_plan(plan, self.seeds))
        self.features, self.input = network.features, network.input
        self.classifier = nn.Sequential(
            SeedDropout(plan.dropout, random_states), SeedLinear(linear.c_in, linear.c_out, self.seeds)
        )

    def forward(self, images: Tensor) -> Tensor:
        x = images.transpose(0, 1).flatten(1, 2).contiguous(memory_format=torch.channels_last)  # [B, S * 3, size, size]
        x = x if self.input is None else self.input(x)
        x = self.features(x).mean(dim=(2, 3)).unflatten(1, (self.seeds, -1))
        return self.classifier(x.transpose(0, 1).contiguous())

    @property
    def random_states(self) -> list[Tensor]:
        """Return what each seed's dropout draws from next."""
        return self.classifier[0].states

    def seed_state(self, at: int) -> dict[str, Tensor]:
        """Return the state_dict of the seed at that place, as `build_model(arch)` loads it; views, not copies."""
        return {name: value.chunk(self.seeds)[at] if value.ndim else value for name, value in self.state_dict().items()}


class SeedDropout(nn.Module):
    """Dropout of [S, B, C] in which each seed draws the mask that it would draw alone.

    `states` are the seeds' own states of torch's generator, moved on by each draw; the generator's own stays.
    """

    def __init__(self, p: float, states: Sequence[Tensor]):
        super().__init__()
        self.p, self.states = p, list(states)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        random, dropped = torch.cuda if x.is_cuda else torch, []
        before = random.get_rng_state()
        for at, own in enumerate(x):
            random.set_rng_state(self.states[at])
            dropped.append(functional.dropout(own, self.p))
            self.states[at] = random.get_rng_state()
        random.set_rng_state(before)
        return torch.stack(dropped)


class SeedLinear(nn.Linear):
    """A linear layer for each seed, [S, B, C] -> [S, B, classes]; their weights are joined, [S * classes, C].

    The bias is joined as well, [S * classes]: in one dimension, as weight decay spares what has no more.
    """

    def __init__(self, c_in: int, c_out: int, seeds: int):
        super().__init__(c_in, seeds * c_out)
        self.seeds = seeds

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.unflatten(0, (self.seeds, -1))
        return torch.baddbmm(self.bias.view(self.seeds, 1, -1), x, weight.transpose(1, 2))


def widen_plan(plan: Plan, seeds: int) -> Plan:
    """Return the plan with every layer before the classifier that many times side by side."""

    def widen(layer):
        return layer._replace(c_in=layer.c_in * seeds, c_out=layer.c_out * seeds, groups=layer.groups * seeds)

    *blocks, classifier = plan.blocks
    wide = [block._replace(layers=tuple(map(widen, block.layers))) for block in blocks]
    return replace(plan, blocks=(*wide, classifier))


def _layout(model: nn.Module) -> tuple[str, list[str | None]]:
    """Return all that two networks need to have in common: modules with their settings, and shortcuts."""
    return str(model), [getattr(block, "shortcut", None) for block in getattr(model, "features", ())]
