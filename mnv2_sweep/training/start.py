"""Trial -> its network before the first step: with first weights of its own, or with those that it begins with."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from mnv2_sweep.data.batches import whole_batch, whole_pixels
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.models.build import build_model, set_norms
from mnv2_sweep.models.pretrained import load_arrays, set_conventions, unfold_norms
from mnv2_sweep.models.shared import calibrate_norms
from mnv2_sweep.models.slicing import slice_network
from mnv2_sweep.pretrained.folder import find_weights, weights_folder
from mnv2_sweep.trials.tasks import trained_arch
from mnv2_sweep.trials.trial import Trial
from mnv2_sweep.trials.ways import keeps_classifier

UNFOLD_IMAGES = 256  # training images that give folded batch norms, and those of a slice, their statistics
SLICE_BATCH = 64


def build_network(trial: Trial) -> nn.Module:
    """Return the trial's network with the conventions of the weights that it begins with, before it has them, else with
    those of its recipe."""
    model, recipe = build_model(trained_arch(trial), trial.recipe.init_stddev), trial.recipe
    set_norms(model, recipe.norm_epsilon, recipe.norm_momentum)
    if trial.start is not None:
        set_conventions(model, trial.start)
    return model


def begin_network(trial: Trial, dataset: Dataset, device: str) -> nn.Module:
    """Return the trial's network before its first step, on the device; its classifier is as new, unless that of
    its weights is kept. Raises WeightsError where the weights that it begins with are not there any more."""
    model = build_network(trial)
    if trial.start is not None and trial.start.sliced:
        return _begin_slice(model.to(device, memory_format=torch.channels_last), trial, dataset, device)
    if trial.start is None:
        scale_shortcuts(model, trial.recipe.shortcut_gain)
        return model.to(device, memory_format=torch.channels_last)
    load_arrays(model, find_weights(trial.start.sha256, weights_folder()), keeps_classifier(trial))
    model = model.to(device, memory_format=torch.channels_last)
    if trial.start.folded:
        unfold_norms(model, _some_images(trial, dataset, device))
    return model


def _begin_slice(model: nn.Module, trial: Trial, dataset: Dataset, device: str) -> nn.Module:
    """Return the network with its part of the weights of a wider one, and statistics of some training images."""
    source = replace(trial.start.arch, in_channels=trial.arch.in_channels)
    wide, images = build_model(source), _some_images(trial, dataset, device)
    set_conventions(wide, trial.start)
    load_arrays(wide, find_weights(trial.start.sha256, weights_folder()))
    wide = wide.to(device, memory_format=torch.channels_last)
    if trial.start.folded:
        unfold_norms(wide, images)
    slice_network(wide, source, model, trial.arch)
    with torch.no_grad():
        calibrate_norms(model, images.split(SLICE_BATCH))
    return model


def scale_shortcuts(model: nn.Module, gain: float) -> None:
    """Start the batch norm before each shortcut's addition at `gain`."""
    for norm in model.shortcut_norms():
        nn.init.constant_(norm.weight, gain)


def _some_images(trial: Trial, dataset: Dataset, device: str) -> Tensor:
    """Return training images from all of the data, [N, channels, height, width]."""
    pixels = whole_pixels(dataset, "train", trial)
    chosen = torch.from_numpy(np.linspace(0, len(pixels) - 1, min(UNFOLD_IMAGES, len(pixels))).astype(np.int64))
    return whole_batch(pixels, chosen, trial, device)
