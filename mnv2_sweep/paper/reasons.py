"""A published figure that differs from ours -> why, in words: one function for each place where some do.

A reason counts what can be counted: what the network has in the terms of the paper's tables, and what other
conventions make of it. "" where no reason is known: tests see to it that no difference is left with that. Where it is
not known how a figure came about, the reason says so, and what the architecture and other prints give.

Other papers named here: MobileNetV1 is arXiv 1704.04861, ShuffleNet 1707.01083.
"""

import math
from dataclasses import replace
from itertools import groupby

from mnv2_sweep.nets.arch import SHUFFLENET_GROUPS, ArchSpec
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.plan import WEIGHTED, Block, Layer, Plan
from mnv2_sweep.nets.resolve import resolve
from mnv2_sweep.paper.published import (
    CHECKPOINTS,
    FIGURE_5,
    MOBILENET_V1_CHECKPOINTS,
    BlockRow,
    Checkpoint,
    Memory,
    Network,
)

# ---------------------------------------------------------------- networks in the terms of the tables


def block_rows(arch: ArchSpec) -> list[BlockRow]:
    """Return the rows of table 2 as the plan has them: the blocks of one stage are a row, other layers are one each."""
    rows = []
    for _, stage in groupby(resolve(arch).blocks, key=lambda block: block.stage):
        blocks = list(stage)
        if blocks[0].kind == "bottleneck":
            rows.append(_bottleneck_row(blocks))
        else:
            rows += [_layer_row(layer, arch.classes) for block in blocks for layer in block.layers]
    return rows


def _bottleneck_row(blocks: list[Block]) -> BlockRow:
    first = blocks[0].layers[0]
    strides = [math.prod(layer.stride for layer in block.layers) for block in blocks]
    return BlockRow(
        first.size_in.width,
        first.c_in,
        "bottleneck",
        _only([block.hidden // block.layers[0].c_in for block in blocks]),
        _only([block.layers[-1].c_out for block in blocks]),
        len(blocks),
        strides[0] if set(strides[1:]) <= {1} else _only(strides),
    )


def _layer_row(layer: Layer, classes: int) -> BlockRow:
    pools = layer.op == "global_pool"
    operator = (
        f"avgpool {layer.size_in.width}x{layer.size_in.height}" if pools else f"conv2d {layer.kernel}x{layer.kernel}"
    )
    c = "k" if layer.op == "linear" and layer.c_out == classes else layer.c_out
    return BlockRow(layer.size_in.width, layer.c_in, operator, None, c, 1, layer.stride)


def _only(values: list[int]) -> int | str:
    """Return the value that all have, or else all of them."""
    return values[0] if len(set(values)) == 1 else ", ".join(map(str, values))


def stored_channels(plan: Plan) -> dict[int, int]:
    """Return by size the channels of the widest tensor that must be whole in memory at that size (table 3).

    Section 5.1: a convolution that mixes channels, what follows channel by channel, and the mixing convolution that
    ends it can run as one operation, in which one inner channel lives at a time. So a tensor is whole where a second
    mixing convolution sums it up, where more than one layer reads it, where tensors are joined, and at 1x1. The table
    assumes this for the first layers, too; `memory` bounds a run in which only bottleneck blocks are split.
    """
    readers = [0] * (len(plan.layers) + 1)
    for i, layer in enumerate(plan.layers):
        for back in layer.reads:
            readers[i + 1 + back] += 1
    stored: dict[int, int] = {}
    whole = [True]  # of every tensor, the image first
    for i, layer in enumerate(plan.layers):
        mixes = layer.op in WEIGHTED and layer.groups < layer.c_in
        joins = len(layer.reads) > 1 or readers[i + 1] > 1
        whole.append(joins or layer.size_out.area == 1 or (mixes and not whole[layer.reads[0]]))
        if whole[-1]:
            side = layer.size_out.width
            stored[side] = max(stored.get(side, 0), layer.c_out)
    return stored


def kilobytes(channels: int, size: int) -> float:
    """Return the memory in table 3's unit: activations of 16 bits, kb of 1000 bytes."""
    return channels * size**2 * 2 / 1000


def count_params(arch: ArchSpec, per_norm_channel: int) -> float:
    """Count millions of weights, biases, and so many numbers per channel of batch norm; `count_cost` has 2."""
    layers = resolve(arch).convs
    biases = sum(layer.c_out for layer in layers if not layer.norm and layer.bias)
    norms = sum(layer.c_out for layer in layers if layer.norm)
    return (sum(layer.weights for layer in layers) + biases + per_norm_channel * norms) / 1e6


def pair_formula(arch: ArchSpec) -> float:
    """Count millions of MAdds of a MobileNetV1 with section 3.1's h*w*d_in*(k^2 + d_out) for each pair."""
    blocks = resolve(arch).blocks
    pairs = [block.layers for block in blocks if block.kind == "separable"]
    madds = sum(deep.size_out.area * deep.c_in * (deep.kernel**2 + point.c_out) for deep, point in pairs)
    return (blocks[0].layers[0].madds + madds + blocks[-1].layers[-1].madds) / 1e6


# ---------------------------------------------------------------- reasons

LISTED = {checkpoint.arch: checkpoint for checkpoint in (*CHECKPOINTS, *MOBILENET_V1_CHECKPOINTS)}
V1_PAPER_MADDS = {1.0: 569, 0.75: 325, 0.5: 149, 0.25: 41}  # MobileNetV1 paper, table 6: width -> MAdds (M) at 224


def is_cut(published: float, ours: float, step: float) -> bool:
    """Whether `published` is `ours` cut to a multiple of `step`."""
    return round(published / step) == math.floor(ours / step + 1e-9)


def is_rounded(published: float, ours: float, step: float) -> bool:
    """Whether `published` is `ours` rounded to a multiple of `step`, halves up."""
    return round(published / step) == math.floor(ours / step + 0.5)


def channels_reason(memory: Memory, size: int, printed: int) -> str:
    """Explain table 3, a cell whose channels are not those of the plan."""
    plan = resolve(memory.arch)
    ours = stored_channels(plan).get(size, 0)
    if memory.arch.family == "shufflenet_v1":
        if _two_groups(memory).get(size) == printed:
            return f"{printed} channels are those of ShuffleNet 2x with two groups; with three it has {ours}"
        stem = plan.layers[0]
        return (
            f"no tensor of the network has {printed} channels at this size: the stem makes {stem.c_out} "
            f"({kilobytes(stem.c_out, size):.1f} kb), and by the split trick these never stand whole, because max "
            f"pooling takes them one by one. The printed maximum, {memory.max_kb}, leaves this cell out as well, and "
            "an earlier version of the paper prints 1 / O(1) in it"
        )
    halving = next(x.layers for x in plan.blocks if x.layers[0].size_in.width == size > x.layers[-1].size_out.width)
    if halving[-1].c_out != printed:
        return ""
    to = halving[-1].size_out.width
    return f"{printed} channels are those of the next stage, at {to}x{to}; at {size}x{size} table 2, too, has {ours}"


def kb_reason(size: int, channels: int, printed: int) -> str:
    """Explain table 3, a cell whose memory is not that of its own channels."""
    exact = kilobytes(channels, size)
    formula = f"{channels} x {size} x {size} x 2 bytes are {exact:.2f} kb"
    if abs(printed / exact - 2) < 0.02:
        return f"{formula}; the print has about twice that"
    return f"{formula}, which neither cut nor rounded is {printed}"


def max_reason(memory: Memory) -> str:
    """Explain table 3, the last row."""
    if memory.arch.family != "shufflenet_v1":
        return ""
    size, channels = next((size, channels) for size, channels, kb in memory.tensors if kb == memory.max_kb)
    if _two_groups(memory).get(size) != channels:
        return ""
    return (
        f"{channels} channels at {size}x{size} ({kilobytes(channels, size):.1f} kb) are those of ShuffleNet 2x with "
        f"two groups; with three it has {stored_channels(resolve(memory.arch))[size]}"
    )


def _two_groups(memory: Memory) -> dict[int, int]:
    return stored_channels(resolve(replace(memory.arch, groups=2)))


def network_params_reason(network: Network) -> str:
    """Explain table 4, params: of networks that TF-slim lists too."""
    arch, printed = network.arch, network.params_m
    if arch not in LISTED:
        return ""
    plain, listed = count_params(arch, 0), LISTED[arch].params_m
    if is_cut(printed, plain, 0.1):
        return (
            f"weights and the classifier's bias without batch norm are {plain:.3f}, which TF-slim prints as {listed} "
            f"and this table cuts to {printed}; ours has batch norm's scale and shift as well"
        )
    most = count_params(replace(arch, classes=1001), 4)
    return (
        f"width {arch.width} cannot reach {printed}: it has {plain:.3f} without batch norm, as TF-slim's {listed}, and "
        f"no more than {most:.3f} with all four numbers per channel of batch norm and 1001 classes"
    )


def network_madds_reason(network: Network) -> str:
    """Explain table 4, MAdds: of networks that TF-slim lists too."""
    arch = network.arch
    if arch not in LISTED:
        return ""
    marker = next(marker for marker in FIGURE_5 if marker.arch == arch)
    others = f"TF-slim prints {LISTED[arch].madds_m} for this network"
    if arch.family == "mobilenet_v1":
        others += f", the MobileNetV1 paper's table 6 has {V1_PAPER_MADDS[arch.width]}"
    return (
        f"{others}, and figure 5 of the MobileNetV2 paper shows {marker.madds_m}, as ours; where {network.madds_m} "
        "comes from is not said, and the architecture does not give it"
    )


def checkpoint_params_reason(arch: ArchSpec) -> str:
    """Explain TF-slim's lists, params: each has its own convention."""
    v1 = arch.family == "mobilenet_v1"
    printed, printed_1001 = (count_params(replace(arch, classes=k), 3 if v1 else 0) for k in (1000, 1001))
    norm = "and three numbers per channel of batch norm" if v1 else "without batch norm"
    return (
        f"printed: weights and the classifier's bias {norm}, {printed:.3f} ({printed_1001:.3f} with TF-slim's 1001 "
        "classes); ours: with batch norm's scale and shift"
    )


def checkpoint_madds_reason(checkpoint: Checkpoint) -> str:
    """Explain TF-slim's list of MobileNetV1, MAdds: those that do not follow from the architecture."""
    arch, printed = checkpoint.arch, checkpoint.madds_m
    if arch.family != "mobilenet_v1":
        return ""
    madds, at_224 = pair_formula(arch), pair_formula(replace(arch, resolution=224))
    paper = f"the MobileNetV1 paper's table 6 has {V1_PAPER_MADDS[arch.width]}"
    if is_rounded(printed, round(madds, 1), 1):
        return (
            f"{madds:.3f} rounds to {math.floor(madds + 0.5)}, and {paper}; {printed} is what rounding twice gives, by "
            f"way of {madds:.1f}, which figure 5 shows"
        )
    text = "does not follow from the architecture: stem, h*w*d_in*(9 + d_out) of the 13 pairs and classifier make "
    text += f"{madds:.2f}" if arch.resolution == 224 else f"{madds:.2f}, and {at_224:.2f} at 224"
    without = madds - resolve(arch).layers[0].madds / 1e6
    if is_rounded(printed, without, 1):
        return (
            f"{text}, where {paper}. Without the stem it would be {without:.2f}, which rounds to {printed}, but no "
            "other width is printed so. Figure 5 repeats TF-slim"
        )
    leaves, square = 100 * madds / at_224, 100 * (arch.resolution / 224) ** 2
    return (
        f"{text}. Going to {arch.resolution} px leaves {leaves:.0f} % of that (the square of the sizes is {square:.0f} "
        f"%); {printed} would be {100 * printed / at_224:.0f} %. Figure 5 repeats TF-slim"
    )


def budget_reason(arch: ArchSpec, marker: float) -> str:
    """Explain figure 5, ShuffleNet's markers."""
    if arch.family != "shufflenet_v1":
        return ""
    counts = [count_cost(replace(arch, groups=groups)).madds / 1e6 for groups in SHUFFLENET_GROUPS]
    return (
        f"{marker:.0f} is what ShuffleNet's paper, table 2, states for scale {arch.width:g} with any number of groups; "
        f"counted, {', '.join(map(str, SHUFFLENET_GROUPS))} groups have {', '.join(f'{count:.1f}' for count in counts)}"
    )
