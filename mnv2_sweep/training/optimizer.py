"""Recipe and network -> the optimizer, and TensorFlow's RMSProp, which torch does not have.

TensorFlow's rule (tensorflow/core/kernels/training_ops, ApplyRMSProp; python/training/rmsprop.py), for each number w
with gradient g, a rate r and decay, momentum and epsilon:

    s <- s + (1 - decay) (g^2 - s)                          s begins at 1
    m <- momentum m + r g / sqrt(s + epsilon)               m begins at 0
    w <- w - m

torch.optim.RMSprop differs in three places, and no choice of its settings undoes that: epsilon is added to the root,
so at epsilon 1.0 and a steady gradient of 0.1 to 1 its steps are 9 to 29 % shorter; s begins at 0; and the rate of now
scales all of the momentum, that of earlier steps too.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from mnv2_sweep.models.shared import SharedWeights
from mnv2_sweep.trials.recipe import Recipe


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the optimizer of the recipe, with weight decay on all weights, not on batch norm or biases, nor, where the
    recipe says so, on depthwise kernels."""
    spared = set() if recipe.decay_depthwise else {id(weight) for weight in depthwise_weights(model)}
    decayed = [p for p in model.parameters() if p.ndim > 1 and id(p) not in spared]
    others = [p for p in model.parameters() if p.ndim <= 1 or id(p) in spared]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    momentum, decay, epsilon = recipe.momentum, recipe.rmsprop_decay, recipe.rmsprop_epsilon
    if recipe.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, recipe.lr, alpha=decay, eps=epsilon, momentum=momentum)
    if recipe.optimizer == "rmsprop_tf":
        return TensorFlowRMSProp(groups, recipe.lr, decay=decay, epsilon=epsilon, momentum=momentum)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, recipe.lr, betas=(momentum, 0.999))
    return torch.optim.SGD(groups, recipe.lr, momentum=momentum, nesterov=momentum > 0)


def depthwise_weights(model: nn.Module) -> list[nn.Parameter]:
    """Return the kernels that work on one channel each, of any network that is trained here."""
    if isinstance(model, SharedWeights):
        return [getattr(model, name) for name in sorted(model.depthwise)]
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    return [
        one.weight
        for one in convolutions
        # Of seeds stacked to one network, 1x1 convolutions have groups, too.
        if one.groups == one.in_channels == one.out_channels and one.kernel_size != (1, 1)
    ]


class TensorFlowRMSProp(torch.optim.Optimizer):
    """RMSProp by TensorFlow's rule, see above; weight decay is added to the gradient, as its l2_regularizer does."""

    def __init__(
        self, params: Iterable, lr: float, decay: float = 0.9, epsilon: float = 1.0, momentum: float = 0.9,
        weight_decay: float = 0.0,
    ):  # fmt: skip
        settings = {"lr": lr, "decay": decay, "epsilon": epsilon, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(params, settings)

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> None:
        """Move every parameter that has a gradient by one step."""
        assert closure is None
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            for p in parameters:
                if not self.state[p]:
                    self.state[p] = {"square": torch.ones_like(p), "moment": torch.zeros_like(p)}
            if parameters:
                _step_group(group, parameters, [self.state[p] for p in parameters])


def _step_group(group: dict, parameters: list[Tensor], states: list[dict[str, Tensor]]) -> None:
    squares, moments = [state["square"] for state in states], [state["moment"] for state in states]
    gradients = [p.grad for p in parameters]
    if group["weight_decay"]:
        gradients = torch._foreach_add(gradients, parameters, alpha=group["weight_decay"])
    torch._foreach_mul_(squares, group["decay"])
    torch._foreach_addcmul_(squares, gradients, gradients, value=1 - group["decay"])
    roots = torch._foreach_add(squares, group["epsilon"])
    torch._foreach_sqrt_(roots)
    torch._foreach_mul_(moments, group["momentum"])
    torch._foreach_addcdiv_(moments, gradients, roots, value=group["lr"])
    torch._foreach_sub_(parameters, moments)
