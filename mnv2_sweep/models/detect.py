"""Outputs of a detector -> boxes with a score for each class, and of these the ones that are kept.

`BoxDecoder` is plain operations, fit to be exported behind its network. Which of the boxes are kept (`suppress`) is a
step of its own, as runtimes have one of theirs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mnv2_sweep.models.boxes import decode_boxes, decode_cells, find_overlaps, to_corners
from mnv2_sweep.nets.arch import SSDS, ArchSpec
from mnv2_sweep.nets.reach import place_anchors
from mnv2_sweep.nets.resolve import resolve

MOST_PAIRS = 2**24  # of candidates, held at once


class Suppression(NamedTuple):
    """Which boxes are kept: of those of a class with a score above `least`, the `candidates` with the highest, each of
    which removes those below it that overlap it by more than `overlap`; at most `each` of a class, `most` of an
    image."""

    overlap: float
    each: int
    most: int
    candidates: int = 400
    least: float = 1e-8


SUPPRESSIONS = {  # by head, and "vgg16"
    # tensorflow/models, ssdlite_mobilenet_v2_coco.config; torchvision has 0.55
    "ssdlite": Suppression(0.6, 100, 100),
    "ssd": Suppression(0.6, 100, 100),
    "vgg16": Suppression(0.45, 400, 200, least=0.01),  # weiliu89/caffe, ssd: top_k 400, keep_top_k 200
    "yolov2": Suppression(0.45, 400, 400, least=0.005),  # pjreddie/darknet: nms .45, and .005 where mAP is measured
}


class Detections(NamedTuple):
    """What was found, a row an image, the highest score first: boxes [B, most, 4] as corners, shares of the image;
    scores [B, most]; labels [B, most]; and how many there are [B], after which all is 0."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    counts: Tensor


def find_suppression(arch: ArchSpec) -> Suppression:
    """Return which boxes the source of a detector keeps."""
    return SUPPRESSIONS["vgg16" if arch.family == "vgg16" else arch.head]


def has_softmax(arch: ArchSpec) -> bool:
    """Say whether a detector's classes and the background exclude each other, as Caffe's SSD on VGG-16 has it; else
    each has a sigmoid of its own, as TensorFlow's have it. YOLOv2's classes exclude each other, too."""
    return arch.family == "vgg16" or arch.head == "yolov2"


def anchor_tensor(arch: ArchSpec) -> Tensor:
    """Return the anchors of a detector in the order of its outputs, float32 [A, 4] as centres. Raises ValueError where
    it has none, ArchError."""
    return torch.from_numpy(place_anchors(resolve(arch))).float()


class Raw(NamedTuple):
    """What a detector says of each anchor: its box in code [B, A, 4], a number for the background and each class
    [B, A, 1 + classes], both before sigmoid or softmax. YOLOv2 has in the place of the background whether there is an
    object at all."""

    boxes: Tensor
    scores: Tensor


def read_outputs(outputs: Tensor | Sequence[Tensor], classes: int) -> Raw:
    """Return what a detector's outputs, see `build_model`, say of each anchor, in the order of `anchor_tensor`."""
    if isinstance(outputs, Tensor):  # of YOLOv2: for each anchor box, object, classes
        rows = _rows(outputs, 5 + classes)
        return Raw(rows[..., :4], rows[..., 4:])
    boxes = torch.cat([_rows(output, 4) for output in outputs[::2]], 1)
    return Raw(boxes, torch.cat([_rows(output, 1 + classes) for output in outputs[1::2]], 1))


def _rows(output: Tensor, columns: int) -> Tensor:
    """Turn a map [B, anchors * columns, h, w] into [B, h * w * anchors, columns]."""
    return output.permute(0, 2, 3, 1).reshape(len(output), -1, columns)


class BoxDecoder(nn.Module):
    """Outputs of a detector -> boxes [B, A, 4] as corners, shares of the image and within it, and the score of each
    class, 0 to 1, [B, A, classes].

    Scores are the sigmoid of a class, of a softmax detector its part beside the background; of YOLOv2 the probability
    of an object times its class's.
    """

    def __init__(self, arch: ArchSpec):
        super().__init__()
        plan = resolve(arch)
        self.classes, self.has_cells, self.has_softmax = arch.classes, arch.head not in SSDS, has_softmax(arch)
        self.register_buffer("anchors", anchor_tensor(arch), persistent=False)
        size = plan.blocks[-1].layers[-1].size_out
        self.register_buffer("places", torch.tensor([1 / size.width, 1 / size.height]), persistent=False)

    def forward(self, outputs: Tensor | Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        raw = read_outputs(outputs, self.classes)
        if self.has_cells:
            scores = raw.scores[..., :1].sigmoid() * raw.scores[..., 1:].softmax(-1)
        else:
            scores = raw.scores.softmax(-1) if self.has_softmax else raw.scores.sigmoid()
            scores = scores[..., 1:]
        return to_corners(self.decode(raw.boxes)).clamp(0, 1), scores

    def decode(self, code: Tensor) -> Tensor:
        """Return the boxes [B, A, 4], centres, of what the network says of them."""
        return decode_cells(code, self.anchors, self.places) if self.has_cells else decode_boxes(code, self.anchors)


def suppress(boxes: Tensor, scores: Tensor, rule: Suppression) -> Detections:
    """Return which of the boxes [B, A, 4], corners, with scores [B, A, classes] are kept, class by class. Of equal
    scores the earlier anchor comes first, then the earlier class."""
    count = max(1, min(rule.candidates, scores.shape[1]))
    at_once = max(1, MOST_PAIRS // (scores.shape[2] * count**2))
    parts = zip(boxes.split(at_once), scores.split(at_once), strict=True)
    kept = [_suppress_part(part, of_part, rule) for part, of_part in parts]
    return Detections(*map(torch.cat, zip(*kept, strict=True)))


def _suppress_part(boxes: Tensor, scores: Tensor, rule: Suppression) -> Detections:
    images, _, classes = scores.shape
    order = scores.transpose(1, 2).sort(dim=-1, descending=True, stable=True)
    best, places = order.values[..., : rule.candidates], order.indices[..., : rule.candidates]  # [B, classes, count]
    found = boxes[torch.arange(images, device=boxes.device)[:, None, None], places]  # [B, classes, count, 4]
    removes = (find_overlaps(found, found) > rule.overlap).triu(1)  # [..., i, j]: i removes j, where i itself is kept
    kept = keep_greedily(best > rule.least, removes)
    kept &= kept.cumsum(-1) <= rule.each
    ranked = best.masked_fill(~kept, 0).flatten(1).sort(dim=-1, descending=True, stable=True)
    first, rows = ranked.values[:, : rule.most], ranked.indices[:, : rule.most]
    there = first > 0
    chosen = found.flatten(1, 2).gather(1, rows[..., None].expand(-1, -1, 4)) * there[..., None]
    labels = rows.div(best.shape[2], rounding_mode="floor") * there
    short = (0, rule.most - first.shape[1])
    pad = nn.functional.pad
    return Detections(pad(chosen, (0, 0, *short)), pad(first, short), pad(labels, short), there.sum(1))


def keep_greedily(there: Tensor, removes: Tensor) -> Tensor:
    """Return which of some candidates [..., n], the best first, are kept: those that are `there` and that none which is
    kept `removes` [..., n, n] (i, j: i removes j, for j after i).

    Whoever only kept ones could remove is decided in each round, so it ends when nothing changes: after as many rounds
    as the longest chain of removals has links, mostly three or four, and with what going through them one by one gives.
    """
    kept = there
    while True:
        after = there & ~(kept[..., :, None] & removes).any(-2)
        if torch.equal(after, kept):
            return kept
        kept = after
