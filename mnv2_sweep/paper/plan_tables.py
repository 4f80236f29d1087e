"""ArchSpec or Plan -> what the paper's tables print of a network, in their terms, and counts by other conventions."""

import math
from itertools import groupby

from mnv2_sweep.archs.arch import ArchSpec
from mnv2_sweep.archs.plan import WEIGHTED, Block, Layer, Plan
from mnv2_sweep.archs.resolve import resolve
from mnv2_sweep.paper.published import BlockRow


def block_rows(arch: ArchSpec) -> list[BlockRow]:
    """The rows of table 2 as the plan has them: the blocks of one stage are a row, other layers are one each."""
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
        first.size_in,
        first.c_in,
        "bottleneck",
        _only([block.hidden // block.layers[0].c_in for block in blocks]),
        _only([block.layers[-1].c_out for block in blocks]),
        len(blocks),
        strides[0] if set(strides[1:]) <= {1} else _only(strides),
    )


def _layer_row(layer: Layer, classes: int) -> BlockRow:
    pools = layer.op == "global_pool"
    operator = f"avgpool {layer.size_in}x{layer.size_in}" if pools else f"conv2d {layer.kernel}x{layer.kernel}"
    c = "k" if layer.op == "linear" and layer.c_out == classes else layer.c_out
    return BlockRow(layer.size_in, layer.c_in, operator, None, c, 1, layer.stride)


def _only(values: list[int]) -> int | str:
    """The value that all share, or else all of them."""
    return values[0] if len(set(values)) == 1 else ", ".join(map(str, values))


def stored_channels(plan: Plan) -> dict[int, int]:
    """Size -> channels of the widest tensor that must be whole in memory at that size (table 3).

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
        whole.append(joins or layer.size_out == 1 or (mixes and not whole[layer.reads[0]]))
        if whole[-1]:
            stored[layer.size_out] = max(stored.get(layer.size_out, 0), layer.c_out)
    return stored


def kilobytes(channels: int, size: int) -> float:
    """Table 3's unit: activations of 16 bits, kb of 1000 bytes."""
    return channels * size**2 * 2 / 1000


def count_params(arch: ArchSpec, per_norm_channel: int) -> float:
    """Millions of weights, biases, and so many numbers per channel of batch norm: 2 is `count_cost`'s convention."""
    layers = resolve(arch).convs
    biases = sum(layer.c_out for layer in layers if not layer.norm and layer.bias)
    norms = sum(layer.c_out for layer in layers if layer.norm)
    return (sum(layer.weights for layer in layers) + biases + per_norm_channel * norms) / 1e6


def pair_formula(arch: ArchSpec) -> float:
    """Millions of MAdds of a MobileNetV1 with section 3.1's h*w*d_in*(k^2 + d_out) for each pair."""
    blocks = resolve(arch).blocks
    pairs = [block.layers for block in blocks if block.kind == "separable"]
    madds = sum(deep.size_out**2 * deep.c_in * (deep.kernel**2 + point.c_out) for deep, point in pairs)
    return (blocks[0].layers[0].madds + madds + blocks[-1].layers[-1].madds) / 1e6
