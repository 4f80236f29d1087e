"""Classification: logits [B, classes] and class numbers -> cross-entropy, top-1 and what else is said of classes."""

import torch
from torch import Tensor, nn

from mnv2_sweep.tasks.task import Work
from mnv2_sweep.trials.recipe import Recipe
from mnv2_sweep.trials.tasks import BALANCED, LEAST_TOP5_CLASSES, MACRO_F1, TOP1, TOP5, UNPREDICTED
from mnv2_sweep.trials.terms import MISTAKEN


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

    def scorer(self) -> "Classes":
        return Classes()


class Classes:
    """Counts images whose largest logit is their class's, class by class, and adds up their cross-entropy.

    Balanced accuracy is the mean over the split's classes of the share of their images that is right; macro-F1 the mean
    of 2 x right / (images + predicted) over the classes that are in the split or were predicted, as scikit-learn has
    both. Top-5 is there with more than 10 classes."""

    def __init__(self):
        self.correct, self.loss, self.images, self.classes = 0, 0.0, 0, 0
        self.right: list[Tensor] = []
        self.losses: list[Tensor] = []
        self.predicted: list[Tensor] = []
        self.targets: list[Tensor] = []
        self.in_five: list[Tensor] = []

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        self.classes = outputs.shape[1]
        self.predicted.append(outputs.argmax(1))
        self.targets.append(targets)
        self.right.append(self.predicted[-1] == targets)
        if self.classes >= LEAST_TOP5_CLASSES:
            self.in_five.append((outputs.topk(5).indices == targets[:, None]).any(1))
        self.losses.append(nn.functional.cross_entropy(outputs, targets, reduction="none"))
        self.correct += self.right[-1].sum().item()
        # Not the sum of those losses: added up in another order it would be another number than earlier records have.
        self.loss += nn.functional.cross_entropy(outputs, targets, reduction="sum").item()
        self.images += len(targets)

    def scores(self) -> dict[str, float]:
        scores = {TOP1.name: self.correct / self.images, "loss": self.loss / self.images}
        right = torch.cat(self.right).cpu()
        targets, predicted = (torch.cat(numbers).cpu() for numbers in (self.targets, self.predicted))
        images, given, hits = (
            torch.bincount(numbers, minlength=self.classes).double() for numbers in (targets, predicted, targets[right])
        )
        own, met = images > 0, images + given > 0
        scores[BALANCED.name] = (hits[own] / images[own]).mean().item()
        scores[MACRO_F1.name] = (2 * hits[met] / (images + given)[met]).mean().item()
        if self.in_five:
            scores[TOP5.name] = torch.cat(self.in_five).double().mean().item()
        return scores | {UNPREDICTED: int((own & (given == 0)).sum())}

    def terms(self) -> dict[str, Tensor]:
        right, predicted = torch.cat(self.right), torch.cat(self.predicted)
        return {TOP1.name: right, "loss": torch.cat(self.losses), MISTAKEN: predicted[~right]}


WORK = Classification()
