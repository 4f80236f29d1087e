"""A network that begins with weights -> the features that its classifier reads, computed once and kept.

    <cache>/features/<digest of weights, size, data, code>.pt        a packed file (`training.checkpoint`)

A file is there whole or not at all, and belongs to exactly what its name is the digest of; a damaged one counts as
none. The folder holds MOST_BYTES at most: what was used longest ago goes first.
"""

import hashlib
import json
import os
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from mnv2_sweep.base.files import remove_abandoned, remove_files
from mnv2_sweep.base.places import cache_folder
from mnv2_sweep.data.batches import whole_batch, whole_pixels
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.training.checkpoint import core_clock, describe_error, read_packed, write_packed
from mnv2_sweep.training.control import Control
from mnv2_sweep.training.loop import EVAL_BATCH, check_stop
from mnv2_sweep.trials.pixels import whole_level
from mnv2_sweep.trials.trial import CODE_VERSION, Trial

FEATURES_VERSION = 1  # raise it when a change makes the same weights and images give other features
MOST_BYTES = 2 << 30
MIRRORED = "train mirrored"


@dataclass(frozen=True, eq=False)
class Features:
    """What the classifier reads of each image, float32 [N, channels], by split; under MIRRORED that of the training
    images seen in a mirror. `seconds` of a core (of the GPU) were spent when they were computed."""

    splits: dict[str, Tensor]
    seconds: float


def find_features(model: nn.Module, trial: Trial, dataset: Dataset, device: str, control: Control) -> Features:
    """Return the features of all images by the network that the trial begins with, from the cache where it has them.
    Raises Interrupted before a batch when asked to stop."""
    path, header = features_path(trial, device)
    with suppress(OSError):
        try:
            _, state = read_packed(path, header)
            os.utime(path)  # used now
            return Features(state["splits"], state["seconds"])
        except FileNotFoundError:
            pass
        except Exception as error:  # json and torch.load raise many kinds at what they have not written
            control.log(f"kept features are not used: {describe_error(error)}")
    features = compute_features(model, trial, dataset, device, control)
    remove_abandoned(path.parent)
    try:
        write_packed(path, header, {"splits": features.splits, "seconds": features.seconds})
        forget_oldest(path.parent)
    except OSError as error:
        control.log(f"the features could not be kept: {error.strerror or error}")
    return features


def features_path(trial: Trial, device: str) -> tuple[Path, dict]:
    """Return the file of the trial's features, and what its header says: all that they depend on."""
    facts = [FEATURES_VERSION, CODE_VERSION, torch.__version__, device, trial.start.sha256, arch_key(trial.arch)]
    facts += [str(trial.train_size), trial.data.fingerprint]
    facts += [str(whole_level(trial.train_size, trial.recipe.eval_crop))] if trial.recipe.eval_crop < 1 else []
    name = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    return cache_folder() / "features" / f"{name}.pt", {"features": name}


@torch.inference_mode()
def compute_features(model: nn.Module, trial: Trial, dataset: Dataset, device: str, control: Control) -> Features:
    """Run every image through the network without its classifier."""
    clock = core_clock(device)
    began, splits = clock(), {}
    model = copy(model.eval())  # its own modules by name, the same tensors
    model._modules = {**model._modules, "classifier": nn.Identity()}
    for split in dataset.labels:
        pixels = whole_pixels(dataset, split, trial)
        kinds: dict[str, list[Tensor]] = {split: [], **({MIRRORED: []} if split == "train" else {})}
        for chosen in torch.arange(len(pixels)).split(EVAL_BATCH):
            check_stop(control)
            images = whole_batch(pixels, chosen, trial, device)
            for kind, parts in kinds.items():
                parts.append(model(images.flip(3) if kind == MIRRORED else images).float().cpu())
        splits |= {kind: torch.cat(parts) for kind, parts in kinds.items()}
    return Features(splits, clock() - began)


def forget_oldest(folder: Path, most_bytes: int = MOST_BYTES) -> None:
    """Remove the files that were used longest ago, until the folder holds no more than that."""
    found = []
    for path in folder.glob("*.pt"):
        with suppress(OSError):  # another process removes, too
            stat = path.stat()
            found.append((stat.st_mtime, stat.st_size, path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found)[:-1]:
        if total > most_bytes:
            remove_files([path])
            total -= size
