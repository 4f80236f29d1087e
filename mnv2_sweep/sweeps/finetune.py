"""A kept network of a sweep -> what a sweep of its own begins with: its weights, its recipe, its classes.

The weights go into the folder of weights with the conventions under which they were trained, so that all that reads
weights reads them. On the data that they were trained on the classifier stays; on others a probe gives a new one.
"""

import hashlib
import json
import math
import shlex
from dataclasses import replace
from pathlib import Path

from torch import nn

from mnv2_sweep.base.errors import StoreError, SweepError
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.models.padding import upright_state
from mnv2_sweep.nets.arch import FAMILY_NAMES, ArchSpec, arch_label, arch_record, stage_record
from mnv2_sweep.pretrained.folder import list_added, weights_folder, write_weights
from mnv2_sweep.pretrained.published import network_key
from mnv2_sweep.pretrained.weights import Weights
from mnv2_sweep.record.folders import FINETUNE
from mnv2_sweep.record.store import Outcome
from mnv2_sweep.spaces.space import Strategy
from mnv2_sweep.sweeps.export import export_network, find_outcome, load_network, recorded_label
from mnv2_sweep.trials.pixels import pixels_of
from mnv2_sweep.trials.recipe import RECIPES, Recipe
from mnv2_sweep.trials.tasks import task_of, trained_arch
from mnv2_sweep.trials.trial import Trial
from mnv2_sweep.trials.ways import OWN_CLASSIFIER, own_file
from mnv2_sweep.trials.weights import WeightsRecord


def find_base(folder: Path, network: str, seed: int) -> Outcome:
    """Return the recorded result that is meant, whose weights are kept. Raises SweepError with what there is."""
    found = find_outcome(folder, network, seed, as_slice=False)
    if found.trial.arch.family != "mobilenet_v2":
        raise SweepError(f"{network}: {FAMILY_NAMES[found.trial.arch.family]}s are trained from scratch only; give a "
                         "MobileNetV2")  # fmt: skip
    return found


def choose_recipe(base: Trial, epochs: float | None, images: int | None) -> Recipe:
    """Return the recipe of tuning, of that length, which shows the network images as it knows them. Raises
    SweepError."""
    if epochs is not None and images is not None:
        raise SweepError("--epochs --images: one of them")
    of_base = {name: getattr(base.recipe, name) for name in ("input_scale", "eval_crop", "flip", "curve_images")}
    recipe = replace(RECIPES["tune"], **of_base)
    return recipe if epochs is images is None else replace(recipe, epochs=epochs, images=images)


def choose_arch(base: Trial, dataset: Dataset) -> ArchSpec:
    """Return the base's network with room for the classes of the data."""
    classes = task_of(base).outputs(len(dataset.classes))
    if base.arch.classes == task_of(base).outputs(base.data.classes):  # the space left them to the data
        return replace(base.arch, classes=classes)
    return replace(base.arch, classes=max(base.arch.classes, classes))


def choose_classifier(base: Trial, dataset: Dataset) -> Strategy:
    """Return how the network is trained: from its own classifier where the data are the base's, else from a new one."""
    same = dataset.fingerprint == base.data.fingerprint and len(dataset.classes) == base.data.classes
    return Strategy("tune", settings=(OWN_CLASSIFIER,) if same else ())


def add_base(folder: Path, base: Outcome, dataset: Dataset | None) -> WeightsRecord:
    """Put the network's weights into the folder of weights -> their record; see `make_weights`."""
    weights = make_weights(folder, base, dataset)
    write_weights(weights, weights_folder())
    return weights.record


def make_weights(folder: Path, base: Outcome, dataset: Dataset | None) -> Weights:
    """Return the network as weights, by the name that the folder of weights has for them. The data are those that it
    was trained on, None where they are gone or not wanted; only slices of shared weights need them. Raises
    SweepError."""
    trial, path = base.trial, folder / own_file(base.trial)
    model = _rebuild(folder, base, dataset)
    arrays = {name: tensor.numpy() for name, tensor in upright_state(model).items() if tensor.ndim}
    digest = hashlib.sha256()
    if path.is_file():
        digest.update(path.read_bytes())
    else:
        for name, array in sorted(arrays.items()):
            digest.update(f"{name} {array.shape}\n".encode() + array.tobytes())
    record = describe_base(trial, digest.hexdigest(), folder.name)
    known = [one.name for one in list_added(weights_folder()) if one.sha256 == record.sha256]
    record = replace(record, name=known[0]) if known else record  # somebody may have added the file
    return Weights(record, arrays)


def _rebuild(folder: Path, base: Outcome, dataset: Dataset | None) -> nn.Module:
    """Return the network, held against its record where it has no file of its own."""
    if (folder / own_file(base.trial)).is_file() or dataset is None:
        return load_network(folder, base.trial, dataset)
    return export_network(folder, dataset, recorded_label(folder, base.trial), base.trial.seed, as_slice=False).model


def describe_base(trial: Trial, digest: str, sweep: str) -> WeightsRecord:
    """Return the record of a sweep's network as weights: its conventions, and where it comes from."""
    arch, pixels, side = trained_arch(trial), pixels_of(trial), round(math.sqrt(trial.train_size.area))
    place = f"{sweep} {arch_label(trial.arch)}, seed {trial.seed}"
    source = f"sweep {sweep}: {arch_label(trial.arch)}, seed {trial.seed}"
    source += f", which began with {trial.start.name}" if trial.start else ""
    record = WeightsRecord(
        f"{place} ({digest[:8]})", digest, "mnv2-sweep", arch.width, side, arch.stages, arch.last_channels,
        epsilon=trial.epsilon, padding=arch.padding, mean=pixels.mean, std=pixels.std, classes=arch.classes,
        order="own", licence=trial.start.licence if trial.start else "", source=source,
    )  # fmt: skip
    return record if network_key(record.arch) == network_key(arch) else replace(record, network=arch)


def has_start(trial: Trial) -> bool:
    """Return whether the weights with which the trial begins are in the folder of weights."""
    return any(one.sha256 == trial.start.sha256 for one in list_added(weights_folder()))


def read_base(folder: Path) -> tuple[str, str, int]:
    """Read from the space.yaml of a sweep which network it began with, of which sweep, and the seed. Raises
    StoreError."""
    path = folder / "space.yaml"
    try:
        first, _, _ = path.read_text(encoding="utf-8").partition("\n")
        network, _, sweep, _, seed = shlex.split(first.removeprefix(FINETUNE))
        return network, sweep, int(seed)
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: its first line names no network that was trained on ({error}); mend it") from error


def describe_sweep(arch: ArchSpec, command: str) -> str:
    """Return the text of the sweep's space.yaml: the command that made it, and its network."""
    point = arch_record(arch)
    point.pop("stages", None)
    rows, point = [stage_record(stage) for stage in arch.stages], {"width": arch.width, **point}
    return f"{FINETUNE} {command}\nstages: {json.dumps(rows)}\npoints: [{json.dumps(point)}]\n"
