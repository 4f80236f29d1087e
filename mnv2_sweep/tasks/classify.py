"""Classification: logits [B, classes] and class numbers -> cross-entropy, and top-1."""

import torch
from torch import Tensor, nn

from mnv2_sweep.tasks.task import Work
from mnv2_sweep.trials.recipe import Recipe


class Classification(Work):
    """Targets are class numbers [B], or probabilities [B, classes], which are smooth already."""

    def loss(self, outputs: Tensor, targets: Tensor, recipe: Recipe, each: bool = False) -> Tensor:
        smoothing = recipe.label_smoothing if targets.ndim == 1 else 0.0
        reduction = "none" if each else "mean"
        return nn.functional.cross_entropy(outputs, targets, reduction=reduction, label_smoothing=smoothing)

    def soften(self, targets: Tensor, count: int, recipe: Recipe) -> Tensor:
        if targets.ndim > 1:
            return targets
        smoothing = recipe.label_smoothing
        return nn.functional.one_hot(targets, count) * (1 - smoothing) + smoothing / count

    def mix(self, targets: Tensor, outputs: Tensor, share: float, recipe: Recipe) -> Tensor:
        return torch.lerp(self.soften(targets, outputs.shape[1], recipe), outputs.softmax(1), share)

    def scorer(self) -> "Top1":
        return Top1()


class Top1:
    """Counts images whose largest logit is their class's, and adds up their cross-entropy."""

    def __init__(self):
        self.correct, self.loss, self.images = 0, 0.0, 0
        self.right: list[Tensor] = []
        self.losses: list[Tensor] = []

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        self.right.append(outputs.argmax(1) == targets)
        self.losses.append(nn.functional.cross_entropy(outputs, targets, reduction="none"))
        self.correct += self.right[-1].sum().item()
        # Not the sum of those losses: added up in another order it would be another number than earlier records have.
        self.loss += nn.functional.cross_entropy(outputs, targets, reduction="sum").item()
        self.images += len(targets)

    def scores(self) -> dict[str, float]:
        return {"top1": self.correct / self.images, "loss": self.loss / self.images}

    def terms(self) -> dict[str, Tensor]:
        return {"top1": torch.cat(self.right), "loss": torch.cat(self.losses)}


WORK = Classification()
