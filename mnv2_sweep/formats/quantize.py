"""Graph and the values of its tensors -> Quantized: weights and tensors as 8-bit integers, for both formats.

value = step * (integer - zero). Tensors: int8 with a zero point, one step each; zero is exact, so that borders are.
Weights: int8 around zero, a step for each output channel. Biases: int32 in steps of input step x weight step.

Rounding weights moves the mean of what a convolution makes, most where few weights add up, in depthwise kernels; its
bias takes that back, from the mean of its inputs (Nagel et al., arXiv 1906.04721, section 4.2).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mnv2_sweep.formats.graph import MOVES, Graph, Node

LOW, HIGH = -128, 127  # of a tensor
# The largest weight. An x86 without VNNI sums two products in 16 bits: 255 * 127 twice is cut off, 255 * 64 twice fits.
MOST_WEIGHT = {8: 127, 7: 64}
# Of the weights in a file: onnxruntime multiplies 8 bits exactly only where the processor has VNNI or is an ARM.
WEIGHT_BITS = {"onnx": 7, "tflite": 8}
MOST_BIAS = 2**30
MOST_RATIO = 128  # of a sum's step to its result's; XNNPACK refuses 256, and a finer result would say nothing more
FIXED = {"sigmoid": (0.0, 1 - 2**-8)}  # what TFLite's kernel asks for: steps of 1 / 256


class Values(NamedTuple):
    """What a tensor holds over some images: the smallest and the largest value, and the mean of each channel."""

    low: float
    high: float
    mean: np.ndarray


class Scale(NamedTuple):
    """A tensor's step and the integer that stands for zero."""

    step: float
    zero: int


class Weights(NamedTuple):
    """A convolution's weight int8 [out, in / groups, k, k] and bias int32 [out]; the steps of both, float32 [out]."""

    weight: np.ndarray
    steps: np.ndarray
    bias: np.ndarray
    bias_steps: np.ndarray


@dataclass(frozen=True, eq=False)
class Quantized:
    """A scale for each tensor of a graph; for each of its nodes the weights, or None."""

    scales: tuple[Scale, ...]
    weights: tuple[Weights | None, ...]


def quantize_graph(graph: Graph, values: Sequence[Values], weight_bits: int = 8) -> Quantized:
    """Return weights and tensors as integers, from the values of each tensor, those of the image first.

    `weight_bits` is one of MOST_WEIGHT: 8 where the kernels multiply exactly (TFLite's, and onnxruntime's on ARM and on
    an x86 with VNNI), 7 for onnxruntime anywhere.
    """
    scales, weights = [find_scale(values[0].low, values[0].high)], []
    for node, made in zip(graph.nodes, values[1:], strict=True):
        first, quantized = node.reads[0], None
        finest = max(scales[read].step for read in node.reads) / MOST_RATIO
        if node.weight is not None:
            quantized = quantize_weights(node, scales[first].step, values[first].mean, MOST_WEIGHT[weight_bits])
            finest = float(quantized.bias_steps.max()) / MOST_RATIO
        weights.append(quantized)
        ends = FIXED.get(node.op, (made.low, made.high))
        scale = scales[first] if node.op in MOVES else find_scale(*ends, finest)
        if node.op == "global_pool":
            scale = find_scale(*ends, whole_step(scales[first], scale.step))
        scales.append(scale)
    return Quantized(tuple(scales), tuple(weights))


def find_scale(low: float, high: float, finest: float = 0.0) -> Scale:
    """Return the scale of values in that range, which is made to hold zero, with no finer step."""
    low, high = min(low, 0.0), max(high, 0.0)
    step = float(np.float32(max((high - low) / (HIGH - LOW), finest)))
    if high == low:  # nothing but zeros; the range stays below every activation's limit
        step = max(step, 1 / (HIGH - LOW))
    return Scale(step, int(np.clip(round(LOW - low / step), LOW, HIGH)))


def whole_step(read: Scale, step: float) -> float:
    """Return a step for a mean, that one or hardly larger, in which what stands for zero in the map is a whole number.

    LiteRT's own kernel (not XNNPACK's) rounds that number, so that all channels would be off by the same part of a step
    (findings/litert-int8-mean.sh).
    """
    zeros = int(abs(read.zero) * read.step / step)
    return abs(read.zero) * read.step / zeros if zeros else step


def quantize_weights(node: Node, step: float, mean: np.ndarray, most: int) -> Weights:
    """Return the weights of a convolution whose input has that step and those means, none larger than `most`."""
    weight, bias = node.weight.astype(np.float64), node.bias.astype(np.float64)
    least = np.abs(bias) / (step * MOST_BIAS)  # so that the bias fits
    steps = np.maximum(np.abs(weight).max(axis=(1, 2, 3)) / most, least)
    steps = np.where(steps > 0, steps, 1.0).astype(np.float32)
    wide = steps[:, None, None, None]
    rounded = np.rint(weight / wide).clip(-most, most)
    lost = (weight - rounded * wide).sum(axis=(2, 3))  # [out, in / groups]
    bias += (lost.reshape(node.groups, -1, lost.shape[1]) * mean.reshape(node.groups, 1, -1)).sum(axis=2).ravel()
    bias_steps = steps * np.float32(step)
    return Weights(rounded.astype(np.int8), steps, np.rint(bias / bias_steps).astype(np.int32), bias_steps)
