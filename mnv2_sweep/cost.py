"""Plan -> Cost: MAdds, params and peak activation memory, without torch and without building anything.

Counting convention, the paper's and TF-slim's:
- MAdds: one per multiply-add of convolutions and the linear layer, one image. No biases, batch norm (folded
  into the convolution at inference), activations, additions or pooling. MobileNetV2 1.0 at 224: 300,774,272.
- params: convolution and linear weights, the linear bias, batch norm's scale and shift (not its running
  statistics, which are no parameters). MobileNetV2 1.0 at 224: 3,504,872, torchvision's figure.
- peak activation memory: batch 1, 32-bit floats, operations run one by one in the plan's order, batch norm and
  ReLU6 in place. The largest sum, over operations, of input, output and every tensor a shortcut still needs.
"""

from dataclasses import dataclass

from mnv2_sweep.arch import ArchSpec, Plan, resolve

BYTES_PER_ACTIVATION = 4


@dataclass(frozen=True, slots=True)
class Cost:
    """What a network costs for one image."""

    madds: int
    params: int
    peak_activation_bytes: int


def count_cost(arch: ArchSpec) -> Cost:
    """Exact costs of the network at its nominal resolution and classes. Raises ArchError on an impossible spec."""
    return count_plan(resolve(arch))


def count_plan(plan: Plan) -> Cost:
    """Exact costs of a resolved network."""
    madds = params = 0
    for conv in plan.convs:
        madds += conv.madds
        params += conv.params
    return Cost(madds, params, BYTES_PER_ACTIVATION * max(live_elements(plan)))


def live_elements(plan: Plan) -> list[int]:
    """Activation elements alive during each operation, in order; a shortcut's addition is part of the operation
    that makes the other summand (alone, where a t=1 block has no expansion to be part of)."""
    sizes = [3 * plan.resolution**2]  # of every tensor, the image first
    steps: list[list[int]] = []  # which tensors step i reads; it writes tensor i + 1

    def step(reads: list[int], elements: int) -> int:
        steps.append(reads)
        sizes.append(elements)
        return len(steps)

    x = expanded = 0
    for block in plan.blocks:
        if block.kind == "bottleneck":
            block_input, wide = x, [expanded] if block.shortcut == "expansion" else []
            if block.expands or wide:
                x = step([x, *wide], block.convs[-2].input_elements)
            expanded = x
            x = step([x], block.convs[-2].output_elements)
            narrow = [block_input] if block.shortcut == "bottleneck" else []
            x = step([x, *narrow], block.convs[-1].output_elements)
        else:
            if block.kind == "classifier":
                x = step([x], block.convs[0].c_in)  # average pooling to 1x1
            for conv in block.convs:
                x = step([x], conv.output_elements)
    last_reader = {tensor: i for i, reads in enumerate(steps) for tensor in reads}
    return [
        sizes[i + 1] + sum(sizes[tensor] for tensor in range(i + 1) if last_reader.get(tensor, -1) >= i)
        for i in range(len(steps))
    ]
