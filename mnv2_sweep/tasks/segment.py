"""Segmentation: logits at the size of the image and the classes of its pixels -> cross-entropy, mIoU and counts of each
image.

Targets are classes of pixels, uint8 [B, h, w], IGNORED (255) where nobody says what they are.
"""

import torch
from torch import Tensor

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.size import Size
from mnv2_sweep.data.batches import level_size
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.tasks.moves import move_classes
from mnv2_sweep.tasks.pixels import count_confusions, pixel_losses
from mnv2_sweep.tasks.task import Work
from mnv2_sweep.trials.recipe import Recipe
from mnv2_sweep.trials.regions import Regions, count_regions
from mnv2_sweep.trials.tasks import MIOU, PIXELS_RIGHT


class Segmentation(Work):
    def read_targets(self, dataset: Dataset, split: str, size: Size, device: str) -> Tensor:
        if not hasattr(dataset, "masks"):
            raise SweepError(f"task: segment given, but {dataset.name} has no masks; give data with masks")
        masks = dataset.masks(split, level_size(size) if split == "train" else size)
        return torch.tensor(masks, device=device)

    def move(self, targets: Tensor, moves: Tensor, size: Size) -> Tensor:
        return move_classes(targets, moves, size)

    def loss(self, outputs: Tensor, targets: Tensor, recipe: Recipe | None = None, each: bool = False) -> Tensor:
        losses = pixel_losses(outputs.float(), targets.to(outputs.device))
        return losses if each else losses.mean()

    def soften(self, targets: Tensor, count: int, recipe: Recipe) -> Tensor:
        raise SweepError("recipe.mixup: given, but masks can't be mixed; leave it out for task segment")

    def scorer(self) -> "PixelsOfImages":
        return PixelsOfImages()


class PixelsOfImages:
    """What the pixels of each image were taken for. Classes of which no image has a pixel are left out of mIoU."""

    def __init__(self):
        self.confusions: list[Tensor] = []
        self.losses: list[Tensor] = []

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        self.confusions.append(count_confusions(outputs.argmax(1), targets.to(outputs.device), outputs.shape[1]).cpu())
        self.losses.append(WORK.loss(outputs, targets, each=True).cpu())

    def scores(self) -> dict[str, float]:
        regions = self._regions()
        scores = {MIOU.name: float(regions.mean_overlap()[0]), PIXELS_RIGHT.name: regions.accuracy()}
        return scores | {"loss": torch.cat(self.losses).mean().item()}

    def terms(self) -> dict[str, Tensor]:
        terms = {name: torch.from_numpy(values) for name, values in self._regions().terms().items()}
        return terms | {"loss": torch.cat(self.losses)}

    def _regions(self) -> Regions:
        return count_regions(torch.cat(self.confusions).numpy())


WORK = Segmentation()
