"""Plan -> peak inference memory by the paper's bound (section 5.1), with bottleneck blocks split or not; no torch.

Three figures are easily mixed up:
- The layer-by-layer peak, which `cost` counts: every convolution is an operation of its own. Here it is splits = 1.
- The paper's bound: the largest sum, over operations, of inputs and outputs, where a bottleneck block is one operation
  that throws its inner tensor away. The n expanded channels are computed in t groups, one after the other, and each
  group's share is added to the block's output. So a block holds its input, its output and, of one group of
  ceil(n / t) channels, what goes into the depthwise convolution and what comes out. With t = n only its input, its
  output and one channel are left. Here t is `splits` (in the rest of the package it is the expansion factor).
- Table 3's figures, which are single tensors (channels x size^2, 16 bits), not input plus output. They are not here.

Batch norm, activations and what is added to an output work in place; weights do not count; batch 1. What a split block
holds by its kind:
- A shortcut around the block costs nothing more: the block's input lives to the end of the block anyway.
- Without an expansion (its t is 1) the inner tensor is the input, so only the depthwise convolution's output is split.
- A block whose expanded tensor a shortcut between expansions leaves or enters, or a detector reads, is never split:
  that tensor must be whole. Nor is one with an ordinary convolution, which reads all of that tensor. Nor are the stem,
  the last convolution, heads, and the blocks of other families. What a head reads later is held beside a block.
- A block is split only if that takes less than running it layer by layer; so more splits never need more memory.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.text import align_lines, megabytes, percent
from mnv2_sweep.nets.arch import FAMILY_NAMES, ArchSpec
from mnv2_sweep.nets.plan import Block, Layer, Plan
from mnv2_sweep.nets.resolve import resolve
from mnv2_sweep.nets.steps import live_elements

BITS = (8, 16, 32)  # of one activation
SPLITS = (1, 2, 3, 4, 5)  # the paper recommends 2 to 5; n, one channel at a time, is added to them


class Operation(NamedTuple):
    """What runs at once: a layer, or all layers of a block that is split. `elements` are the activations alive then."""

    block: Block
    layers: tuple[Layer, ...]
    groups: int  # into which the hidden channels are split, as even as can be; 1 for a layer by itself
    elements: int

    @property
    def shape(self) -> str:
        """Say in words what it is, as in "features.2: 16 -> 96 -> 24, 112 px"."""
        first, last = self.layers[0], self.layers[-1]
        name, hidden = (first.name, "") if self.groups == 1 else (self.block.name, f"{self.block.hidden} -> ")
        return f"{name}: {first.c_in} -> {hidden}{last.c_out}, {first.size_in} px"


class PeakMemory(NamedTuple):
    """The operation that holds most when blocks are split `splits` ways."""

    splits: int
    operation: Operation

    def bytes(self, bits: int = 32) -> int:
        """Return the bytes it holds with activations of 8, 16 or 32 bits, for one image."""
        return self.operation.elements * bits // 8


def bound_operations(plan: Plan, splits: int) -> list[Operation]:
    """Return the plan's operations in order with the activation elements each holds; more splits than channels are
    n."""
    if splits < 1:
        raise SweepError(f"splits: {splits} given, a whole number from 1 allowed")
    operations, held = [], live_elements(plan.layers, plan.outputs)
    whole = _wide_shortcuts(plan) | _read_inside(plan)
    for i, block in enumerate(plan.blocks):
        own, held = held[: len(block.layers)], held[len(block.layers) :]
        groups = min(splits, block.hidden) if can_split(block) and i not in whole else 1
        first = block.layers[0]
        others = own[0] - first.input_elements - first.output_elements  # maps that a head reads later
        elements = split_elements(block, groups) + others if groups > 1 else 0
        if groups > 1 and elements < max(own):
            operations.append(Operation(block, block.layers, groups, elements))
        else:
            operations += [Operation(block, (layer,), 1, n) for layer, n in zip(block.layers, own, strict=True)]
    return operations


def can_split(block: Block) -> bool:
    """Return whether a block's hidden channels can be computed in groups."""
    plain = block.roles in (("expand", "depthwise", "project"), ("depthwise", "project"))
    return plain and block.find("depthwise").groups == block.hidden


def split_elements(block: Block, groups: int) -> int:
    """Count the elements of input, output and one group's inner tensors of a bottleneck block."""
    deep = block.find("depthwise")
    inner = (deep.size_in.area if block.expands else 0) + deep.size_out.area
    ends = block.layers[0].input_elements + block.layers[-1].output_elements
    return ends + math.ceil(block.hidden / groups) * inner


def find_peak(plan: Plan, splits: int) -> PeakMemory:
    """Return the first operation of those that hold most."""
    return PeakMemory(splits, max(bound_operations(plan, splits), key=lambda operation: operation.elements))


def most_splits(plan: Plan) -> int:
    """Return the paper's n: with so many, every split block runs one channel at a time. 1 without bottleneck blocks."""
    return max([block.hidden for block in plan.blocks if can_split(block)], default=1)


def count_memory(arch: ArchSpec) -> list[PeakMemory]:
    """Return the peak unsplit, for the paper's splits and for n; of a family without bottlenecks only unsplit."""
    plan = resolve(arch)
    n = most_splits(plan)
    return [find_peak(plan, splits) for splits in (*[t for t in SPLITS if t < n or t == 1], *([n] if n > 1 else []))]


def memory_records(arch: ArchSpec) -> list[dict]:
    """Return a record for each number of splits: bytes at each width of activations, and where the most is held."""
    return [
        {"splits": peak.splits, **{f"bytes_{bits}_bit": peak.bytes(bits) for bits in BITS}, "at": peak.operation.shape}
        for peak in count_memory(arch)
    ]


def memory_text(arch: ArchSpec) -> str:
    """Return a table for a person: bytes at 8, 16 and 32 bits for each split, and where the peak is."""
    peaks = count_memory(arch)
    rows = [["splits", *(f"{bits} bits" for bits in BITS), "of unsplit", "held most by"]]
    for peak in peaks:
        label = "n" if peak.splits > 1 and peak is peaks[-1] else str(peak.splits)
        share = f"{percent(peak.bytes() / peaks[0].bytes(), 0)} %"
        sizes = [megabytes(peak.bytes(bits), 3) for bits in BITS]
        rows.append([label, *sizes, share, peak.operation.shape])
    title = "peak activation memory for one image, bottleneck blocks split (paper, section 5.1)"
    return "\n".join([title, *align_lines(rows, left=[len(rows[0]) - 1]), *_notes(arch, peaks)])


def _notes(arch: ArchSpec, peaks: Sequence[PeakMemory]) -> list[str]:
    if len(peaks) == 1 and not arch.depthwise:
        return ["it runs layer by layer: an ordinary convolution reads all of its block's expanded tensor"]
    if len(peaks) == 1:
        return [f"{FAMILY_NAMES[arch.family]} runs layer by layer: only MobileNetV2's bottleneck blocks are split"]
    notes = [f"n: one channel at a time, {peaks[-1].splits} splits of the widest block; 1: layer by layer"]
    if arch.residual == "expansion":
        notes.append("blocks with a shortcut between expansions stay whole: their expanded tensors must be")
    return notes


def _wide_shortcuts(plan: Plan) -> set[int]:
    """Return the places of the blocks between whose expanded tensors a shortcut runs."""
    ends = [i for i, block in enumerate(plan.blocks) if block.kind == "bottleneck" and block.shortcut == "expansion"]
    return {*ends, *(i - 1 for i in ends)}


def _read_inside(plan: Plan) -> set[int]:
    """Return the places of the blocks of which a later one reads a tensor that is not their last."""
    places = [i for i, block in enumerate(plan.blocks) for _ in block.layers]  # of every layer
    inner = {at for at in range(len(places) - 1) if places[at] == places[at + 1]}  # layers whose output is not the last
    return {
        places[at + back]
        for at, layer in enumerate(plan.layers) for back in layer.reads
        if at + back in inner and places[at + back] != places[at]
    }  # fmt: skip
