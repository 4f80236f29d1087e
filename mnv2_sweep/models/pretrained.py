"""Weights -> the network that computes what they were trained to compute, and batch norms unfolded for training."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from mnv2_sweep.models.build import build_model
from mnv2_sweep.models.padding import ImageInput
from mnv2_sweep.nets.arch import SAME
from mnv2_sweep.pretrained.weights import Weights, turn_kernels
from mnv2_sweep.trials.weights import HALF, WeightsRecord

Statistics = dict[nn.BatchNorm2d, tuple[Tensor, Tensor]]  # mean and variance of what a batch norm reads, [channels]


def build_pretrained(weights: Weights, classes: int | None = None) -> nn.Module:
    """Return the network with its weights and their epsilon and padding; its images are made by `to_input`.

    With `classes`, or where the weights have no classifier, the classifier is as new.
    """
    record = weights.record
    keeps_head = classes in (None, record.classes)
    model = build_model(record.arch if classes is None else replace(record.arch, classes=classes))
    load_arrays(model, weights, keeps_head)
    set_conventions(model, replace(record, mean=HALF, std=HALF))
    return model


def load_arrays(model: nn.Module, weights: Weights, keeps_head: bool = False) -> None:
    """Give a network of `record.arch`, at any size and with any classes, the weights; `keeps_head`: the classifier's,
    too."""
    arrays = turn_kernels(weights.arrays) if weights.record.padding == SAME else weights.arrays
    state = {name: torch.from_numpy(a) for name, a in arrays.items() if keeps_head or not name.startswith("classifier")}
    model.load_state_dict(model.state_dict() | state)


def set_conventions(model: nn.Module, record: WeightsRecord) -> None:
    """Give a network of `record.arch` the epsilon of the weights, and have it scale images in [-1, 1] as they were in
    their training."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = record.epsilon
    model.input = ImageInput(record.padding == SAME, record.mean, record.std)


def to_input(pixels: np.ndarray, record: WeightsRecord) -> Tensor:
    """Return images, uint8 [N, side, side, 3], as the network of the weights reads them: float32 [N, 3, side, side]."""
    mean, std = torch.tensor(record.mean).view(3, 1, 1), torch.tensor(record.std).view(3, 1, 1)
    return (torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2).float() / 255 - mean) / std


def unfold_norms(model: nn.Module, images: Tensor) -> None:
    """Give each batch norm the mean and variance of the images (as `to_input` makes them), and scale and shift that
    undo them: outputs in evaluation stay, and training starts from the same function."""
    with torch.no_grad():
        for norm, (mean, variance) in read_statistics(model, images).items():
            slope = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            shift = norm.bias - norm.running_mean * slope
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)
            norm.weight.copy_(slope * torch.sqrt(variance + norm.eps))
            norm.bias.copy_(shift + mean * slope)


def read_statistics(model: nn.Module, images: Tensor) -> Statistics:
    """Return mean and variance over the images and positions of what each batch norm reads in evaluation, in order."""
    found: Statistics = {}
    was_training = model.training
    with _watch(model, found), torch.no_grad():
        model.eval()(images)
    model.train(was_training)
    return found


@contextmanager
def _watch(model: nn.Module, found: Statistics) -> Iterator[None]:
    def keep(norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
        variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3))
        found[norm] = (mean, variance)

    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    handles = [norm.register_forward_pre_hook(keep) for norm in norms]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
