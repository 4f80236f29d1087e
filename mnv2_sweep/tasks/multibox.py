"""What a detector says of its anchors, and what they should have learnt -> the loss of each image.

Losses are sums over an image's anchors, times images / matched anchors of the whole batch (at least 1): so their mean
is the sum over the batch by its matched anchors, as the sources have it. A batch without any box learns background.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from mnv2_sweep.models.boxes import encode_boxes, encode_cells, find_overlaps, to_centres
from mnv2_sweep.models.detect import Raw
from mnv2_sweep.tasks.matching import pick_truths

FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0  # Lin et al., arXiv 1708.02002, section 5.1


class Mining(NamedTuple):
    """How many of an image's anchors without a box count: those whose loss is highest, so many for each matched one,
    and at least so many (Liu et al., arXiv 1512.02325, "hard negative mining")."""

    ratio: float = 3.0
    least: int = 3


# ssdlite_mobilenet_v2_coco.config has min_negatives_per_image 3. Its miner also leaves out boxes that overlap another
# by more than 0.99, which is not done here.
TENSORFLOW, CAFFE = Mining(), Mining(least=0)


class Truths(NamedTuple):
    """The true boxes of some images, padded: boxes [B, G, 4] as corners, shares of the image; labels [B, G], classes
    from 0; whether each is one [B, G]."""

    boxes: Tensor
    labels: Tensor
    there: Tensor


def find_classes(labels: Tensor, matched: Tensor) -> Tensor:
    """Return what each anchor should say, [B, A]: 0 for the background, 1 + the class of its box; of labels [B, G]."""
    return torch.where(matched < 0, 0, 1 + pick_truths(labels, matched))


def class_losses(scores: Tensor, classes: Tensor, softmax: bool, focal: bool = False) -> Tensor:
    """Return the loss of what anchors say of classes [B, A]: `scores` [B, A, 1 + K] before sigmoid or softmax,
    `classes` [B, A] from 0, the background. Sigmoids have a loss for each column, the background's too, as
    TensorFlow's weighted_sigmoid has it. Focal loss weighs it by alpha (1 - p)^gamma, p being what was said of what is
    the case; alpha is FOCAL_ALPHA for a column's yes and 1 - FOCAL_ALPHA for its no. With a softmax there is one
    yes."""
    if softmax:
        losses = functional.cross_entropy(scores.flatten(0, 1), classes.flatten(), reduction="none")
        losses = losses.unflatten(0, classes.shape)
        if not focal:
            return losses
        alpha = torch.where(classes > 0, FOCAL_ALPHA, 1 - FOCAL_ALPHA)
        return alpha * (1 - (-losses).exp()) ** FOCAL_GAMMA * losses
    truth = functional.one_hot(classes, scores.shape[-1]).to(scores.dtype)
    losses = functional.binary_cross_entropy_with_logits(scores, truth, reduction="none")
    if focal:
        alpha = torch.where(truth > 0, FOCAL_ALPHA, 1 - FOCAL_ALPHA)
        losses = alpha * (1 - (-losses).exp()) ** FOCAL_GAMMA * losses
    return losses.sum(-1)


def mine_negatives(losses: Tensor, positive: Tensor, mining: Mining = TENSORFLOW) -> Tensor:
    """Return which anchors count as background [B, A]: those that are not `positive` with the highest `losses`, both
    [B, A]. Of equal losses the first."""
    wanted = (mining.ratio * positive.sum(1)).clamp(min=mining.least)
    ranks = losses.masked_fill(positive, -torch.inf).sort(dim=1, descending=True, stable=True).indices.argsort(1)
    return (ranks < wanted[:, None]) & ~positive


def multibox_losses(
    raw: Raw, anchors: Tensor, matched: Tensor, truths: Truths, softmax: bool = False, focal: bool = False
) -> Tensor:
    """Return the loss of each image [B] of an SSD with these anchors [A, 4], centres, and this matching [B, A]: smooth
    L1 of the box codes of matched anchors, and what they and the mined negatives say of classes; with focal loss, all
    anchors count. (Liu et al., arXiv 1512.02325, equation 1; alpha is 1.)"""
    positive = matched >= 0
    code = encode_boxes(to_centres(pick_truths(truths.boxes, matched)), anchors)
    places = functional.smooth_l1_loss(raw.boxes, code, reduction="none").sum(-1)
    places = torch.where(positive, places, 0).sum(1)
    losses = class_losses(raw.scores, find_classes(truths.labels, matched), softmax, focal)
    if not focal:
        counted = positive | mine_negatives(losses.detach(), positive, CAFFE if softmax else TENSORFLOW)
        losses = torch.where(counted, losses, 0)
    return (places + losses.sum(1)) * len(positive) / positive.sum().clamp(min=1)


# pjreddie/darknet, cfg/yolov2.cfg, the layer "region"
OBJECT_SCALE, NO_OBJECT_SCALE, YOLO_IGNORED = 5.0, 1.0, 0.6


def yolo_losses(raw: Raw, anchors: Tensor, places: Tensor, matched: Tensor, truths: Truths, boxes: Tensor) -> Tensor:
    """Return the loss of each image [B] of YOLOv2, whose outputs decode to `boxes` [B, A, 4], corners; `places` [2] are
    the width and height of a place of its map.

    Of matched anchors: half the squared error of the box code, which counts 2 - the box's area, so that small ones
    count more; that of the object, which should be how far the decoded box overlaps the true one; cross-entropy of the
    classes. Of the others: that of the object, which should be 0, but where the decoded box overlaps a true one by more
    than YOLO_IGNORED. (darknet's region_layer.c with yolov2.cfg; without its first 12,800 images, in which all boxes
    are also drawn to their anchors. Its sums are over the batch; here they are divided by its matched anchors.)
    """
    positive, true = matched >= 0, pick_truths(truths.boxes, matched)
    centres = to_centres(true)
    wanted = encode_cells(centres, anchors, places)
    said = torch.cat([raw.boxes[..., :2].sigmoid(), raw.boxes[..., 2:]], -1)
    weight = 2 - centres[..., 2] * centres[..., 3]
    losses = weight * (said - wanted).square().sum(-1) / 2
    found = boxes.detach()
    own = find_overlaps(found[..., None, :], true[..., None, :])[..., 0, 0]
    is_object = raw.scores[..., 0].sigmoid()
    losses = losses + OBJECT_SCALE * (is_object - own).square() / 2
    labels = pick_truths(truths.labels, matched)
    classes = functional.cross_entropy(raw.scores[..., 1:].flatten(0, 1), labels.flatten(), reduction="none")
    losses = torch.where(positive, losses + classes.unflatten(0, labels.shape), 0)
    overlaps = find_overlaps(found, truths.boxes).masked_fill(~truths.there[:, None], 0)  # [B, A, G]
    near = (overlaps > YOLO_IGNORED).any(-1)
    nothing = torch.where(positive | near, 0, NO_OBJECT_SCALE * is_object.square() / 2)
    return (losses + nothing).sum(1) * len(positive) / positive.sum().clamp(min=1)
