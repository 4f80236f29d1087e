"""Graph and the ranges of its tensors -> Quantized: its weights and tensors as 8-bit integers.

value = step * (integer - zero). Tensors: int8 with a zero point, one step each; zero is exact, so that borders are.
Weights: int8 around zero, a step for each output channel. Biases: int32 in steps of input step x weight step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mnv2_sweep.formats.graph import CLAMPS, MOVES, Graph, Node

LOW, HIGH = -128, 127  # of a tensor
MOST_WEIGHT = {8: 127, 7: 64}  # largest weight; with 64, two products of an x86 without VNNI fit in 16 bits
MOST_BIAS = 2**30
FIXED = {"sigmoid": (0.0, 1 - 2**-8)}  # what TFLite asks for: steps of 1 / 256


class Range(NamedTuple):
    """The smallest and the largest value of a tensor."""

    low: float
    high: float


class Scale(NamedTuple):
    """A tensor's step and the integer that stands for zero."""

    step: float
    zero: int


class Weights(NamedTuple):
    """A convolution's weight int8 [out, in / groups, k, k] and bias int32 [out], and the steps of both, float32 [out]."""

    weight: np.ndarray
    steps: np.ndarray
    bias: np.ndarray
    bias_steps: np.ndarray


@dataclass(frozen=True, eq=False)
class Quantized:
    """A scale for each tensor of a graph; for each node its weights, or None."""

    scales: tuple[Scale, ...]
    weights: tuple[Weights | None, ...]


def quantize_graph(graph: Graph, ranges: Sequence[Range], weight_bits: int = 8) -> Quantized:
    """Return weights and tensors as integers. `ranges` has one for each tensor, the image first, before it is limited
    by an activation or not."""
    scales, weights = [find_scale(ranges[0])], []
    for node, made in zip(graph.nodes, ranges[1:], strict=True):
        step = scales[node.reads[0]].step
        weights.append(None if node.weight is None else quantize_weights(node, step, MOST_WEIGHT[weight_bits]))
        scales.append(scales[node.reads[0]] if node.op in MOVES else find_scale(_limit(node, made)))
    return Quantized(tuple(scales), tuple(weights))


def _limit(node: Node, made: Range) -> Range:
    if node.op in FIXED:
        return Range(*FIXED[node.op])
    low, high = CLAMPS.get(node.act or node.op, (-np.inf, np.inf))
    return Range(max(low, made.low), min(high, made.high))


def find_scale(values: Range) -> Scale:
    """Return the scale of values in that range, which is made to hold zero."""
    low, high = min(values.low, 0.0), max(values.high, 0.0)
    step = float(np.float32((high - low) / (HIGH - LOW))) or 1.0
    return Scale(step, int(np.clip(round(LOW - low / step), LOW, HIGH)))


def quantize_weights(node: Node, step: float, most: int) -> Weights:
    """Return the weights of a convolution whose input has that step, none larger than `most`."""
    largest = np.abs(node.weight).max(axis=(1, 2, 3)).astype(np.float64)
    least = np.abs(node.bias).astype(np.float64) / (step * MOST_BIAS)  # so that the bias fits
    steps = np.maximum(largest / most, least)
    steps = np.where(steps > 0, steps, 1.0).astype(np.float32)
    weight = np.rint(node.weight / steps[:, None, None, None]).clip(-most, most).astype(np.int8)
    bias_steps = (steps * np.float32(step)).astype(np.float32)
    bias = np.rint(node.bias.astype(np.float64) / bias_steps).astype(np.int32)
    return Weights(weight, steps, bias, bias_steps)
