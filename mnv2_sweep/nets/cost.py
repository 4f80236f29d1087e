"""Plan -> Cost: MAdds, params, peak activation memory and depth, without torch and without building anything.

Counting convention, the paper's and TF-slim's:
- MAdds: one per multiply-add of convolutions and the linear layer, one image. No biases, batch norm (folded
  into the convolution at inference), activations, additions, pooling, resizing or L2 norm; a dilated convolution as one
  that is not. MobileNetV2 1.0 at 224: 300,774,272.
- params: convolution and linear weights, biases, batch norm's scale and shift (not its running statistics, which
  are no parameters), an L2 norm's scales. MobileNetV2 1.0 at 224: 3,504,872, torchvision's figure.
- peak activation memory: batch 1, 32-bit floats, operations run one by one in the plan's order, batch norm and
  activations in place. The largest sum, over operations, of input, output and every tensor a later one still needs;
  a network's outputs stay to its end.
- depth: layers with weights, one after the other, on the longest way from image to an output. MobileNetV2: 53.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from mnv2_sweep.nets.arch import CLASSIFIER, ArchSpec
from mnv2_sweep.nets.plan import Plan
from mnv2_sweep.nets.resolve import network_parts
from mnv2_sweep.nets.steps import Part, count_layers

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
    return count_parts(network_parts(arch))


def count_parts(parts: Iterable[Part]) -> Cost:
    """Count what the network of these parts costs."""
    madds = params = peak = depth = 0
    for part in parts:
        madds += part.madds
        params += part.params
        depth += part.depth
        if part.peak_elements > peak:
            peak = part.peak_elements
    return Cost(madds, params, BYTES_PER_ACTIVATION * peak, depth)


def body_madds(arch: ArchSpec, madds: int) -> int:
    """Return the MAdds of the network, which are so many, with one class instead of its own."""
    if arch.head != CLASSIFIER:
        return count_cost(replace(arch, classes=1)).madds
    return madds - (arch.classes - 1) * network_parts(arch)[-1].before.channels


def count_plan(plan: Plan) -> Cost:
    """Count what a resolved network costs, layer by layer."""
    madds, params, peak, depth = count_layers(plan.layers, outputs=plan.outputs)
    return Cost(madds, params, BYTES_PER_ACTIVATION * peak, depth)
