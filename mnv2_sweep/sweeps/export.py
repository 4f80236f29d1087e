"""A network of a sweep with a shared training -> a file of its own: the slice, or what it was trained on to.

The file is what torch.save writes of a dictionary of plain types, for torch.load(weights_only=True): `state_dict`, with
torchvision's names for mobilenet_v2; `arch` (JSON), `classes` (names), `size` (of the images in pixels: the side, or
"160x120"), `pixels` (what becomes of their values), `seed`, `val_top1`, `trained` ("shared" or "fine-tuned").
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from mnv2_sweep.base.errors import StoreError, SweepError
from mnv2_sweep.base.files import open_whole
from mnv2_sweep.base.size import Size
from mnv2_sweep.base.text import percent
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.models.build import build_model, input_channels
from mnv2_sweep.nets.arch import ArchSpec, arch_label, arch_record
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.record.folders import weights_path
from mnv2_sweep.record.store import Outcome, read_outcomes, read_schedule
from mnv2_sweep.training.checkpoint import read_packed
from mnv2_sweep.training.loop import evaluate_model
from mnv2_sweep.training.shared import Supernet, TrainedSupernet, cut_network, read_shared, tuned_path
from mnv2_sweep.trials.trial import Trial, trial_header

COLOURS = {3: "RGB", 1: "luma (ITU-R 601)"}
SQUARE = "the whole image scaled to size"
RECTANGLE = "the largest part of that aspect from the middle of the image, scaled to size"


@dataclass(frozen=True)
class Exported:
    """A stand-alone network in eval mode, the trial it comes from, and its top-1 on the validation images now."""

    model: nn.Module
    outcome: Outcome
    val_top1: float


def export_network(folder: Path, dataset: Dataset, network: str, seed: int, as_slice: bool) -> Exported:
    """Rebuild the network named as in tables ("0.5 at 160", or 0.5@160) from the sweep's shared weights, or what it was
    trained on to, where it was, unless the slice is wanted. Raises SweepError, also if it is not what was measured."""
    outcome = find_outcome(folder, network, seed, as_slice)
    trial = outcome.trial
    if dataset.fingerprint != trial.data.fingerprint:
        raise SweepError(f"--data: {dataset.name} is not what {folder} was trained on, {trial.data.name}; give that")
    torch.set_num_threads(1)  # as when it was measured
    torch.use_deterministic_algorithms(True)
    model = _read_tuned(folder, trial) if trial.shared.finetune is not None else _cut(folder, trial, dataset)
    top1 = evaluate_model(model, dataset, "val", trial.train_size, "cpu")[0]
    recorded, images = outcome.result.val_top1, outcome.result.val_images
    if outcome.result.device == "cpu" and round(top1 * images) != round(recorded * images):
        raise SweepError(
            f"{folder}: {arch_label(trial.arch)} has top-1 {percent(top1, 2)} % here, {percent(recorded, 2)} % on "
            "record: it was measured on another machine or with another torch; run the sweep here"
        )
    return Exported(model, outcome, top1)


def find_outcome(folder: Path, network: str, seed: int, as_slice: bool) -> Outcome:
    """Return the recorded result that is meant. Raises SweepError with what there is."""
    outcomes = [outcome for outcome in read_outcomes(folder) if outcome.status == "done"]
    shared = [outcome for outcome in outcomes if outcome.trial.shared]
    if not shared:
        raise SweepError(
            f"{folder}: no shared training; weights of networks that are trained alone are not kept: "
            "'mnv2-sweep run SPACE --shared' keeps them"
        )
    label = network.replace("@", " at ")
    of_network = [o for o in shared if arch_label(o.trial.arch) in (label, _with_point(label))]
    if not of_network:
        names = list(dict.fromkeys(arch_label(outcome.trial.arch) for outcome in shared))
        shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        raise SweepError(f"{network}: {folder} has no such network with a result; there are: {shown}")
    of_seed = [outcome for outcome in of_network if outcome.trial.seed == seed]
    if not of_seed:
        seeds = ", ".join(sorted({str(outcome.trial.seed) for outcome in of_network}))
        raise SweepError(f"--seed {seed}: {folder} has {network} with seed {seeds}")
    tuned = [outcome for outcome in of_seed if outcome.trial.shared.finetune is not None]
    slices = [outcome for outcome in of_seed if outcome.trial.shared.finetune is None]
    return slices[-1] if as_slice or not tuned else tuned[-1]


def _with_point(label: str) -> str:
    """Return "1 at 224" as tables have it, "1.0 at 224"."""
    width, at, rest = label.partition(" at ")
    return f"{width}.0{at}{rest}" if width.isdecimal() else label


def _cut(folder: Path, trial: Trial, dataset: Dataset) -> nn.Module:
    schedule = read_schedule(folder).values()
    archs: dict[str, ArchSpec] = {arch_key(t.arch): t.arch for t in schedule if t.shared and t.shared.finetune is None}
    problems: list[str] = []
    supernet = Supernet(tuple(archs.values()), weights_path(folder, trial))
    shared = read_shared(trial, supernet, problems.append)
    if not isinstance(shared, TrainedSupernet):
        why = str(shared or (problems[0] if problems else "the file is not there"))
        raise StoreError(f"{supernet.path}: {why}; run the space with another --results folder to train them again")
    return cut_network(trial, shared.weights, dataset, "cpu")


def _read_tuned(folder: Path, trial: Trial) -> nn.Module:
    path = tuned_path(weights_path(folder, trial), trial)
    model = build_model(replace(trial.arch, classes=trial.data.classes))
    try:
        model.load_state_dict(read_packed(path, trial_header(trial))[1])
    except Exception as error:  # torch.load and json raise many kinds at what they have not written
        raise StoreError(f"{path}: can't be used ({type(error).__name__}); --slice exports the slice") from error
    return model.eval().to(memory_format=torch.channels_last)


def describe_pixels(model: nn.Module, size: Size) -> str:
    """Say what becomes of an image before the network reads it."""
    return f"value / 127.5 - 1, {COLOURS[input_channels(model)]}, {SQUARE if size.is_square else RECTANGLE}"


def write_export(exported: Exported, dataset: Dataset, path: Path) -> None:
    """Write the file, whole or not at all. Raises StoreError."""
    trial = exported.outcome.trial
    content = {
        "state_dict": {name: tensor.contiguous() for name, tensor in exported.model.state_dict().items()},
        "arch": json.dumps(arch_record(replace(trial.arch, classes=trial.data.classes))),
        "classes": list(dataset.classes),
        "size": trial.train_size.cell,
        "pixels": describe_pixels(exported.model, trial.train_size),
        "seed": trial.seed,
        "val_top1": exported.val_top1,
        "trained": "shared" if trial.shared.finetune is None else "fine-tuned",
    }
    try:
        with open_whole(path) as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:  # torch.save hides the disk's own error
        raise StoreError(f"{path}: can't be written ({error}); choose another --out") from error
