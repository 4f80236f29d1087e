"""What the tests of files share."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from mnv2_sweep.nets.plan import Block, Layer, Plan, classifier_block


@pytest.fixture(scope="module")
def se_network():
    """A plan with squeeze-and-excite between a convolution and the classifier, its weights, and a judge of its logits
    that is written in torch's functions."""
    c, squeezed, size = 8, 4, 6
    layers = (
        Layer("stem", "conv", 3, c, 3, 2, 1, 12, size, "hswish", norm=False),
        Layer("se.pool", "global_pool", c, c, size, 1, 1, size, 1, norm=False),
        Layer("se.reduce", "conv", c, squeezed, 1, 1, 1, 1, 1, "relu", norm=False),
        Layer("se.expand", "conv", squeezed, c, 1, 1, 1, 1, 1, "sigmoid", norm=False),
        Layer("se.scale", "multiply", c, c, 1, 1, 1, size, size, norm=False, reads=(-4, -1)),
    )
    plan = Plan((Block("se", "conv", "0", layers), classifier_block(c, size, 5)), 12, 0.0)
    random = np.random.RandomState(0)
    state = {}
    for layer in plan.convs:
        shape = (layer.c_out, layer.c_in, layer.kernel, layer.kernel)
        state[f"{layer.name}.weight"] = random.normal(0, 0.5, shape[: 2 if layer.op == "linear" else 4])
        state[f"{layer.name}.bias"] = random.normal(0, 0.5, layer.c_out)

    def judged(images: np.ndarray) -> np.ndarray:
        read = {name: torch.from_numpy(value).float() for name, value in state.items()}

        def conv(name: str, x: torch.Tensor, **how) -> torch.Tensor:
            return functional.conv2d(x, read[f"{name}.weight"], read[f"{name}.bias"], **how)

        x = functional.hardswish(conv("stem", torch.from_numpy(images), stride=2, padding=1))
        squeezed = functional.relu(conv("se.reduce", x.mean((2, 3), keepdim=True)))
        x = x * torch.sigmoid(conv("se.expand", squeezed))
        return functional.linear(x.mean((2, 3)), read["classifier.1.weight"], read["classifier.1.bias"]).numpy()

    return plan, state, judged
