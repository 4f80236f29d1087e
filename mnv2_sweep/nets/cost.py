"""Plan -> Cost: MAdds, params, peak activation memory and depth, without torch and without building anything.

Counting convention, the paper's and TF-slim's:
- MAdds: one per multiply-add of convolutions and the linear layer, one image. No biases, batch norm (folded
  into the convolution at inference), activations, additions or pooling. MobileNetV2 1.0 at 224: 300,774,272.
- params: convolution and linear weights, the linear bias, batch norm's scale and shift (not its running
  statistics, which are no parameters). MobileNetV2 1.0 at 224: 3,504,872, torchvision's figure.
- peak activation memory: batch 1, 32-bit floats, operations run one by one in the plan's order, batch norm and
  activations in place. The largest sum, over operations, of input, output and every tensor a later one still needs.
- depth: layers with weights, one after the other, on the longest way from image to logits. MobileNetV2: 53.
"""

from dataclasses import dataclass

from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.plan import WEIGHTED, Layer, Plan
from mnv2_sweep.nets.resolve import resolve

BYTES_PER_ACTIVATION = 4


@dataclass(frozen=True, slots=True)
class Cost:
    """What a network costs for one image."""

    madds: int
    params: int
    peak_activation_bytes: int
    depth: int


def count_cost(arch: ArchSpec) -> Cost:
    """Count what the network costs at its nominal resolution and classes. Raises ArchError on an impossible spec."""
    return count_plan(resolve(arch))


def count_plan(plan: Plan) -> Cost:
    """Count what a resolved network costs."""
    madds = params = 0
    layers = plan.layers
    for layer in layers:
        if layer.op in WEIGHTED:
            weights = layer.weights
            madds += layer.size_out**2 * weights
            params += weights + (2 if layer.norm else layer.bias) * layer.c_out
    return Cost(madds, params, BYTES_PER_ACTIVATION * max(live_elements(plan)), count_depth(layers))


def live_elements(plan: Plan) -> list[int]:
    """Return the activation elements alive during each layer, in order; sums are made in place of a layer's output."""
    layers = plan.layers
    sizes = [3 * plan.resolution**2]  # of every tensor, the image first
    last_reader = [0] * (len(layers) + 1)
    for i, layer in enumerate(layers):
        sizes.append(layer.c_out * layer.size_out**2)
        for back in layer.reads:
            last_reader[i + 1 + back] = i
    done_after: list[list[int]] = [[] for _ in layers]
    for tensor, i in enumerate(last_reader[:-1]):
        done_after[i].append(tensor)
    alive, held = sizes[0], []
    for i in range(len(layers)):
        alive += sizes[i + 1]
        held.append(alive)
        for tensor in done_after[i]:
            alive -= sizes[tensor]
    return held


def count_depth(layers: tuple[Layer, ...]) -> int:
    """Count the layers with weights on the longest way through the network."""
    depths = [0]
    for layer in layers:
        through = depths[layer.reads[0]] + (layer.op in WEIGHTED)
        # What is added to its output does not go through it.
        depths.append(through if len(layer.reads) == 1 else max([through, *[depths[b] for b in layer.reads[1:]]]))
    return depths[-1]
