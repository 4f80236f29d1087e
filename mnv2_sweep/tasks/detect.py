"""Detection: boxes of a network's outputs and true ones -> SSD's or YOLOv2's loss, mAP and what each image has of it.

Targets are rows [B, G, 6], padded: left, top, right, bottom as shares of what the network sees of the image; the
class, from 0; the kind of row, see below. Crowds and difficult ones are not learnt. Average precision is found in
pixels of the images that the network sees.
"""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.size import Size
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.models.boxes import to_corners
from mnv2_sweep.models.detect import BoxDecoder, Raw, find_suppression, has_softmax, read_outputs, suppress
from mnv2_sweep.nets.arch import SSDS, ArchSpec, input_size
from mnv2_sweep.tasks.average_precision import BoxScores, FoundBoxes, TrueBoxes, score_boxes
from mnv2_sweep.tasks.matching import match_anchors, match_cells
from mnv2_sweep.tasks.moves import draw_frames, make_moves, move_boxes
from mnv2_sweep.tasks.multibox import Truths, multibox_losses, yolo_losses
from mnv2_sweep.tasks.task import Outputs, Work
from mnv2_sweep.trials.recipe import Recipe
from mnv2_sweep.trials.tasks import MAP, MAP50

NO_ROW, TRUTH, CROWD, DIFFICULT = range(4)  # kinds of rows
LEAST_PART = 0.25  # of a box that a crop must leave of it, or it is gone


class Detection(Work):
    def of(self, arch: ArchSpec) -> "NetworkDetection":
        return _of(arch)

    def read_targets(self, dataset: Dataset, split: str, size: Size, device: str) -> Tensor:
        if not hasattr(dataset, "boxes"):
            raise SweepError(f"task: detect given, but {dataset.name} has no boxes; give data with boxes")
        labels = dataset.boxes(split, size)
        rows = torch.zeros(len(labels), max(1, *labels.counts.tolist(), 0), 6)
        kinds = np.where(labels.crowd, CROWD, np.where(labels.difficult, DIFFICULT, TRUTH))
        shares = labels.corners / np.array([size.width, size.height] * 2)
        table = torch.from_numpy(np.concatenate([shares, labels.classes[:, None], kinds[:, None]], 1)).float()
        rows[labels.images, np.arange(len(table)) - labels.starts[labels.images]] = table
        return rows.to(device)

    def draw_moves(self, targets: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
        """Draw SSD's crops, no smaller than Recipe.crop_min_area, each of which holds a part of some box."""
        rows = targets.cpu()
        frames = draw_frames(rows[..., :4], rows[..., 5] == TRUTH, generator, recipe.crop_min_area)
        flip = torch.rand(len(rows), generator=generator) < 0.5
        return make_moves(frames, flip if recipe.flip else None)

    def move(self, targets: Tensor, moves: Tensor, size: Size) -> Tensor:
        boxes, kept = move_boxes(targets[..., :4], targets[..., 5] > NO_ROW, moves.to(targets.device), LEAST_PART)
        return torch.cat([boxes, targets[..., 4:] * kept[..., None]], -1)

    def soften(self, targets: Tensor, count: int, recipe: Recipe) -> Tensor:
        raise SweepError("recipe.mixup: given, but boxes of two images can't be mixed; leave it out for task detect")


class NetworkDetection(Detection):
    """The same with a network, whose anchors say what it learns."""

    def __init__(self, arch: ArchSpec):
        self.arch, self.decoder, self.rule = arch, BoxDecoder(arch), find_suppression(arch)
        self.softmax, self.is_ssd = has_softmax(arch), arch.head in SSDS

    def loss(self, outputs: Outputs, targets: Tensor, recipe: Recipe | None = None, each: bool = False) -> Tensor:
        raw = read_outputs(outputs, self.arch.classes)
        raw = Raw(raw.boxes.float(), raw.scores.float())
        targets, decoder = targets.to(raw.boxes.device), self.decoder.to(raw.boxes.device)
        truths = Truths(targets[..., :4], targets[..., 4].long(), targets[..., 5] == TRUTH)
        if self.is_ssd:
            matched = match_anchors(decoder.anchors, truths.boxes, truths.there)
            losses = multibox_losses(raw, decoder.anchors, matched, truths, self.softmax)
        else:
            matched = match_cells(decoder.anchors, decoder.places, truths.boxes, truths.there)
            boxes = to_corners(decoder.decode(raw.boxes))
            losses = yolo_losses(raw, decoder.anchors, decoder.places, matched, truths, boxes)
        return losses if each else losses.mean()

    def scorer(self) -> "FoundInImages":
        return FoundInImages(self)


@lru_cache(maxsize=64)
def _of(arch: ArchSpec) -> NetworkDetection:
    return NetworkDetection(arch)


class FoundInImages:
    """What a network found in each image, and what it should have; `tasks.average_precision` makes scores of it."""

    def __init__(self, work: NetworkDetection):
        self.work, self.classes = work, work.arch.classes
        size = input_size(work.arch)
        self.pixels = np.array([size.width, size.height] * 2, float)
        self.truths: list[TrueBoxes] = []
        self.found: list[FoundBoxes] = []
        self.losses: list[Tensor] = []
        self.scored: BoxScores | None = None  # of all that was added: scores and terms both need it

    def add(self, outputs: Outputs, targets: Tensor) -> None:
        self.scored = None
        self.losses.append(self.work.loss(outputs, targets, each=True).cpu())
        found = suppress(*self.work.decoder(outputs), self.work.rule)
        columns = (found.boxes.double().cpu().numpy(), found.labels.cpu().numpy(), found.scores.double().cpu().numpy())
        for boxes, labels, scores, count in zip(*columns, found.counts.tolist(), strict=True):
            self.found.append(FoundBoxes(boxes[:count] * self.pixels, labels[:count], scores[:count]))
        for rows in targets.double().cpu().numpy():
            own = rows[rows[:, 5] > NO_ROW]
            flags = (own[:, 5] == kind for kind in (CROWD, DIFFICULT))
            self.truths.append(TrueBoxes(own[:, :4] * self.pixels, own[:, 4].astype(int), *flags))

    def score(self) -> BoxScores:
        self.scored = self.scored or score_boxes(self.truths, self.found, self.classes)
        return self.scored

    def scores(self) -> dict[str, float]:
        found = self.score()
        return {MAP.name: found.map, MAP50.name: found.map50, "loss": torch.cat(self.losses).mean().item()}

    def terms(self) -> dict[str, Tensor]:
        matches = self.score().matches
        terms = {name: torch.from_numpy(values) for name, values in matches.terms().items()}
        return terms | {"loss": torch.cat(self.losses)}


WORK = Detection()
