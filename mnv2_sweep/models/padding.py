"""TensorFlow's SAME padding with plain convolutions: the network upside down.

At stride 2 and an even side SAME pads nothing before a map and one row and column after it (kernel 3); torch, and we
too, one on each side, of which the last is read by no kernel. So SAME is torch's padding seen upside down, and at an
odd side both are the same. A network whose kernels are all turned by 180 degrees, and that turns its images, computes
what the network with SAME padding computes, at every size and for every odd kernel, but for rounding; the mean over the
last map does not see the turn. Its layers stay plain nn.Conv2d with the shapes of the plan, which an explicit padding,
a wider kernel or a cropped output do not have, and which cost more (`benchmarks/same_padding.py`).

So kernels are turned in memory (`pretrained.weights.turn_kernels`): where published weights come in, and again where a
network goes out.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mnv2_sweep.pretrained.weights import turn_kernels


def upright_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the network's state_dict on the CPU as it goes out into files, its kernels the right way round."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    image_input = getattr(model, "input", None)
    return turn_state(state) if image_input is not None and image_input.turned else state


def turn_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what `turn_kernels` does of tensors on the CPU."""
    arrays = turn_kernels({name: tensor.numpy() for name, tensor in state.items()})
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


class ImageInput(nn.Module):
    """What becomes of images before the first layer, [N, c, height, width] with values in [-1, 1] -> the same shape:
    `turned` for kernels that are, and scaled to (value / 255 - mean) / std, a number for each channel."""

    def __init__(self, turned: bool = False, mean: Sequence[float] = (0.5,), std: Sequence[float] = (0.5,)):
        super().__init__()
        self.turned = turned
        middle, width = torch.tensor(mean).view(-1, 1, 1), torch.tensor(std).view(-1, 1, 1)
        self.is_scaled = any(value != 0.5 for value in (*mean, *std))
        self.register_buffer("scale", 0.5 / width, persistent=False)
        self.register_buffer("shift", (0.5 - middle) / width, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.is_scaled:
            x = x * self.scale + self.shift
        return x.flip(2, 3) if self.turned else x
