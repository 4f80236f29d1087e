"""Trial (what to train) and Result (what was measured), with their JSON and the id that names a trial.

ArchSpec + Recipe + DataRef + seed (+ Sharing) = Trial. A Result is always of one Trial; costs are never stored, they
are counted again when results are read. JSON leaves out fields that have their default value, so a later field with
a default orphans no record; in return, a default may not change once results exist.
"""

import hashlib
import json
from dataclasses import MISSING, asdict, dataclass, fields, replace

from mnv2_sweep.base.size import Size
from mnv2_sweep.nets.arch import ArchSpec, arch_record, input_size, load_arch
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.trials.recipe import Recipe

CODE_VERSION = 2  # raise it when a change makes the same trial give other numbers; old results then stay, unmatched
SHARED_VERSION = 4  # the same of trials that are slices of shared weights

EMBEDDED = "shapes"  # the name of the data set that ships


@dataclass(frozen=True, slots=True)
class DataRef:
    """Which data: a name for people, a fingerprint of every image and label, the number of classes."""

    name: str
    fingerprint: str
    classes: int


@dataclass(frozen=True, slots=True)
class Sharing:
    """What makes a network a slice of a supernet: of weights that many networks share and that are trained once.

    `family` names the supernet (`supernet_digest`; records keep the older word), `images` is how many training images
    it sees, repeats counted; the recipe's own length then only counts for networks trained alone. `finetune`: epochs
    for which the slice is then trained on by itself.
    """

    family: str
    images: int
    finetune: float | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """One network trained once, alone or, with `shared`, as a slice of shared weights.

    `arch.classes` is nominal (for costs); the trained head has `data.classes`.
    """

    arch: ArchSpec
    recipe: Recipe
    data: DataRef
    seed: int
    shared: Sharing | None = None

    @property
    def train_size(self) -> Size:
        """Return the size of the images it is trained and evaluated on."""
        return train_size(self.arch, self.recipe)


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Training so far: epochs and images seen, mean training loss since the point before, rate of the last step,
    and top-1 on `Recipe.curve_images` validation images."""

    epoch: float
    images: int
    train_loss: float
    lr: float
    val_top1: float | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What one trial measured. top-1 is a fraction; `test_*` is None where the data have no test split.

    `seconds` is training and evaluation, without loading the data, in one thread; of a slice of shared weights, its
    share of their training too, in seconds of one core. `peak_memory_bytes` is the process's peak resident memory on a
    CPU, the allocator's peak on a GPU.
    """

    val_top1: float
    val_loss: float
    val_images: int
    test_top1: float | None
    test_loss: float | None
    test_images: int
    train_loss: float
    train_images: int
    curve: tuple[CurvePoint, ...]
    seconds: float
    images_per_second: float
    peak_memory_bytes: int
    device: str


def train_size(arch: ArchSpec, recipe: Recipe) -> Size:
    """Return the size of the training images: the nominal one x input_scale, each side rounded, at least 1."""
    return input_size(arch).scale(recipe.input_scale)


def trained_network(trial: Trial) -> ArchSpec:
    """Return the network at the size and with the classes it is trained with."""
    return replace(trial.arch, resolution=trial.train_size.plain, classes=trial.data.classes)


def trial_id(trial: Trial) -> str:
    """Return 16 hex digits; the same for two trials exactly if they train the same network in the same way.

    Built from the resolved network (with its nominal resolution and classes, on which its costs depend), the
    recipe without its name, the data's fingerprint, the seed and CODE_VERSION; of a slice, also
    `shared` and SHARED_VERSION.
    """
    return _digest_trial(trial, arch_key(trial.arch), trial.shared)


def shared_id(trial: Trial) -> str:
    """Return 16 hex digits of the training whose weights the trial is a slice of, the same in all its supernet."""
    return _digest_trial(trial, "every network", replace(trial.shared, finetune=None))


def trial_header(trial: Trial) -> dict:
    """Return the header of a file (`training.checkpoint`) that keeps what one trial has come to."""
    return {"trial": trial_id(trial), "code_version": CODE_VERSION}


def _digest_trial(trial: Trial, network: str, shared: Sharing | None) -> str:
    """Return 16 hex digits of a training of `network` with the trial's recipe, data and seed."""
    recipe = _exact_json(replace(trial.recipe, name=""))
    key = [CODE_VERSION, network, recipe, trial.data.fingerprint, trial.data.classes, trial.seed]
    key += [SHARED_VERSION, _exact_json(shared)] if shared else []  # networks trained alone keep their ids
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]


def _exact_json(record) -> dict:
    """Return the record as a JSON object that is the same for 1 and 1.0, where a field takes fractions."""
    kinds = {field.name: field.type for field in fields(record)}
    values = record_json(record).items()
    return {name: float(value) if kinds[name] in (float, float | None) else value for name, value in values}


def record_json(record) -> dict:
    """Return a flat or nested frozen record as a JSON object, without the fields that have their default value."""
    values = asdict(record)
    return {
        f.name: values[f.name] for f in fields(record) if f.default is MISSING or getattr(record, f.name) != f.default
    }


def dump_trial(trial: Trial) -> str:
    """Return the trial as JSON, from which `load_trial` makes it again."""
    parts = {"arch": arch_record(trial.arch), "recipe": record_json(trial.recipe), "data": record_json(trial.data)}
    parts |= {"shared": record_json(trial.shared)} if trial.shared else {}
    return json.dumps({**parts, "seed": trial.seed}, sort_keys=True)


def load_trial(text: str) -> Trial:
    """Return the trial of a JSON text by `dump_trial`. Raises ValueError, KeyError or TypeError on any other text."""
    values = json.loads(text)
    shared = Sharing(**values["shared"]) if "shared" in values else None
    return Trial(
        load_arch(values["arch"]), Recipe(**values["recipe"]), DataRef(**values["data"]), values["seed"], shared
    )


def dump_result(result: Result) -> str:
    """Return the result as JSON, from which `load_result` makes it again."""
    return json.dumps(record_json(result), sort_keys=True)


def load_result(text: str) -> Result:
    """Return the result of a JSON text by `dump_result`. Raises ValueError, KeyError or TypeError on any other text."""
    values = json.loads(text)
    return Result(**{**values, "curve": tuple(CurvePoint(**point) for point in values["curve"])})


def find_differences(old: Trial, new: Trial) -> list[str]:
    """Say why two trials can't belong to one sweep; empty where they can."""
    before, now = record_json(replace(old.recipe, name="")), record_json(replace(new.recipe, name=""))
    changed = [
        f"{key} {getattr(old.recipe, key)} -> {getattr(new.recipe, key)}"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]
    if old.data.fingerprint != new.data.fingerprint:
        changed.append(
            f"data {old.data.name} ({old.data.fingerprint[:8]}) -> {new.data.name} ({new.data.fingerprint[:8]})"
        )
    changed += _sharing_differences(old.shared, new.shared)
    if old.arch.classes != new.arch.classes:
        changed.append(f"classes {old.arch.classes} -> {new.arch.classes}")
    return changed


def _sharing_differences(old: Sharing | None, new: Sharing | None) -> list[str]:
    if (old is None) != (new is None):
        return ["strategy shared -> separate" if new is None else "strategy separate -> shared"]
    if old is None or new is None:
        return []
    changed = [f"images of the shared training {old.images:,} -> {new.images:,}"] if old.images != new.images else []
    return changed + (["the networks that share weights"] if old.family != new.family else [])
