"""A task to throw away: the number of an image's class, as a number; less error is better."""

import numpy as np
import torch
from torch import Tensor, nn

from mnv2_sweep.tasks.task import Work
from mnv2_sweep.trials.recipe import Recipe
from mnv2_sweep.trials.tasks import Score, Task

ERROR = Score("mae", "mean error", scale=1.0, unit="classes", larger_is_better=False, fraction=False)
REGRESS = Task("regress", ERROR, __name__, outputs=lambda classes: 1)


class Regression(Work):
    def targets(self, labels: np.ndarray, device: str) -> Tensor:
        return super().targets(labels, device)[:, None].float()

    def loss(self, outputs: Tensor, targets: Tensor, recipe: Recipe, each: bool = False) -> Tensor:
        losses = nn.functional.mse_loss(outputs, targets, reduction="none").flatten(1).mean(1)
        return losses if each else losses.mean()

    def mix(self, targets: Tensor, outputs: Tensor, share: float, recipe: Recipe) -> Tensor:
        return torch.lerp(targets, outputs, share)

    def scorer(self) -> "Errors":
        return Errors()


class Errors:
    def __init__(self):
        self.errors: list[Tensor] = []

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        self.errors.append((outputs - targets).flatten())

    def scores(self) -> dict[str, float]:
        errors = torch.cat(self.errors)
        return {"mae": errors.abs().mean().item(), "loss": errors.square().mean().item()}

    def terms(self) -> dict[str, Tensor]:
        errors = torch.cat(self.errors)
        return {"mae": errors.abs(), "loss": errors.square()}


WORK = Regression()
