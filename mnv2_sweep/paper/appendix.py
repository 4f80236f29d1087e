"""Appendix A of the MobileNetV2 paper, which asks when ReLU(Bx) loses information: its condition and its formula.

x has n inputs, B is m x n: an expansion has n inputs and m = t n rows. At a point, lemma 2 says, nothing is lost
exactly if at least n outputs are positive whose rows of B are independent. Where fewer are, ReLU flattens the space
around the point: it collapses. Theorem 1: over random B the collapsed share of any body is 1 - N / 2^m on average,
with N the sum of binomial(m, k) over k = 0 to m - n. (The text below the theorem calls N / 2^m the collapsed fraction;
it is the other one.)

What it takes is that flipping the sign of a row makes no matrix less likely: at any x each output is then positive
with probability one half whatever the others are, so 1 - N / 2^m is the chance of fewer than n heads in m throws. That
no linear map reaches all 2^m orthants does not matter: over the matrices each is as likely as any other. It is exact
for every m, but it is a mean over matrices and says little of one of them.

Letters are those of the appendix; figure 1 calls the number of rows n, and has two inputs.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LayerActivity:
    """How many channels of one layer are positive after its ReLU, over images and positions (figure 7).

    `kind` is "expansion" or "depthwise"; `channels` are m, `needed` are lemma 2's n, the channels that come into the
    bottleneck, so `needed` / `channels` is 1 / t. `mean`, `deviation` (standard), `low` (least) and `high` (most) count
    channels; `below` is the share of positions with fewer positive channels than needed, `clipped` the mean share of
    channels at ReLU6's upper end, where, unlike in the lemma, a channel tells no more than below zero.
    """

    name: str
    kind: str
    channels: int
    needed: int
    mean: float
    deviation: float
    low: int
    high: int
    below: float
    clipped: float


@dataclass(frozen=True, slots=True)
class Activities:
    """The layers of one network in order, at the start and after training on `train_images` (repeats counted), both
    measured on the same `images` validation images; `top1` (a fraction) is the trained network's on all of them."""

    start: tuple[LayerActivity, ...]
    trained: tuple[LayerActivity, ...]
    images: int
    train_images: int
    top1: float


def activities_table(activities: Activities) -> list[list[str]]:
    """Rows of text, one a layer; channels in percent."""
    ends = ("mean %", "least to most %", "below 1/t %")
    rows = [
        ["layer", "kind", "channels", "1/t %", *(f"start {end}" for end in ends), *(f"trained {end}" for end in ends)]
    ]
    rows[0].append("clipped %")
    for start, trained in zip(activities.start, activities.trained, strict=True):
        row = [start.name, start.kind, str(start.channels), f"{100 * start.needed / start.channels:.1f}"]
        for layer in (start, trained):
            mean, low, high = (100 * count / layer.channels for count in (layer.mean, layer.low, layer.high))
            row += [f"{mean:.1f}", f"{low:.1f} to {high:.1f}", f"{100 * layer.below:.2g}"]
        rows.append([*row, f"{100 * trained.clipped:.2g}"])
    return rows


def collapsed_share(m: int, n: int) -> float:
    """Theorem 1: the mean share of a body of R^n that ReLU(Bx) collapses, over random m x n matrices B."""
    return sum(math.comb(m, k) for k in range(min(n, m + 1))) / 2**m


def collapsed_bound(m: int, n: int) -> float:
    """The paper's first bound on it, m^(n+1) / 2^m; from 1 on it says nothing."""
    return m ** (n + 1) / 2**m


def coarse_bound(m: int) -> float:
    """The paper's last bound on it, 2^(-m/2); it follows from the first only where (n + 1) log2(m) <= m / 2."""
    return 2 ** (-m / 2)


def coarse_bound_follows(m: int, n: int) -> bool:
    return (n + 1) * math.log2(m) <= m / 2
