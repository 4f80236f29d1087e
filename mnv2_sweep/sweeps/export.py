"""A network of a sweep that keeps weights -> a file of its own; of one that was trained on, what became of it.

The file is what torch.save writes of a dictionary of plain types, for torch.load(weights_only=True): `state_dict`, with
torchvision's names for mobilenet_v2; `arch` (JSON, its padding too: "same" is TensorFlow's), `epsilon` of the batch
norms, `classes` (names), `size` (of the images in pixels: the side, or "160x120"), `pixels` (what becomes of their
values, with `mean` and `std`), `seed`, the main score, as "val_top1", `trained` (the way: "shared", "fine-tuned"), and
`checked`: whether the score was measured again, which it can't be where the data are gone.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mnv2_sweep.base.errors import StoreError, SweepError
from mnv2_sweep.base.files import open_whole, remove_abandoned
from mnv2_sweep.base.size import Size
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.data.decode import Decoding
from mnv2_sweep.data.photos import find_decoding, find_first_size
from mnv2_sweep.formats.card import NO_IMAGES
from mnv2_sweep.formats.folder import Preprocess
from mnv2_sweep.models.network_files import EPSILON
from mnv2_sweep.models.padding import upright_state
from mnv2_sweep.nets.arch import ArchSpec, arch_label, arch_record
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.record.folders import again_command
from mnv2_sweep.record.store import Outcome, read_outcomes, read_schedule
from mnv2_sweep.training.kept import is_same_score, read_header
from mnv2_sweep.training.loop import evaluate_model
from mnv2_sweep.training.ways.way import work_of
from mnv2_sweep.trials.pixels import pixels_of, whole_level
from mnv2_sweep.trials.tasks import task_of, trained_arch
from mnv2_sweep.trials.trial import EMBEDDED, Trial, trial_label
from mnv2_sweep.trials.ways import is_kept, is_slice, own_file, way_of

GONE = "The data it was trained on were gone when it was exported, so nothing was measured again."
NO_FIRST_SIZE = (
    "Its weights were kept by an earlier version, which did not note the size at which its photos were decoded first; "
    "photos go to the network's size at once, and probabilities may differ a little from those in training."
)


@dataclass(frozen=True)
class Exported:
    """A stand-alone network in eval mode, the trial it comes from, and its main score on the validation images now,
    None where they are gone; its classes, what a photo becomes before it, and what a reader should know."""

    model: nn.Module
    outcome: Outcome
    val_score: float | None
    classes: tuple[str, ...]
    preprocess: Preprocess
    notes: tuple[str, ...] = ()

    @property
    def score_said(self) -> str:
        """Say its main score, and whether it is measured again."""
        trial, result = self.outcome.trial, self.outcome.result
        main = task_of(trial).main
        recorded = result.score("val", main.name)
        if self.val_score is None:
            return f"unchecked, as its data are gone; {main.said(recorded, 2)} on {trial.train_size} px on record"
        record = "as recorded" if result.device == "cpu" else f"{main.amount(recorded, 2)} on record, from a GPU"
        return f"validation {main.said(self.val_score, 2)} on {trial.train_size} px, {record}"


def describe_training(trial: Trial) -> str:
    """Say how the network of a trial came about: its way and length, recipe, size of the images, seed."""
    length, recipe = work_of(trial).length_text(trial).removesuffix(" each"), trial.recipe
    middle = "" if recipe.eval_crop == 1 else f", evaluated on the middle {recipe.eval_crop:g} of each side"
    return (
        f"{trial.way} ({length}), recipe {recipe.name}, on images of {trial.train_size} px{middle}, seed {trial.seed}"
    )


def export_network(folder: Path, dataset: Dataset | None, network: str, seed: int, as_slice: bool) -> Exported:
    """Rebuild the network named as in tables ("0.5 at 160", or 0.5@160) from the weights that the sweep keeps, those
    that it was trained on to, where it was, unless the slice is wanted. Raises SweepError, also if it is not what was
    measured. Where the data are gone, None, it is not measured again."""
    outcome = find_outcome(folder, network, seed, as_slice)
    trial = outcome.trial
    if dataset is None:
        return _export_unchecked(folder, outcome)
    if dataset.fingerprint != trial.data.fingerprint:
        raise SweepError(f"--data: {dataset.name} is not what {folder} was trained on, {trial.data.name}; give that")
    torch.set_num_threads(1)  # as when it was measured
    torch.use_deterministic_algorithms(True)
    model, main = load_network(folder, trial, dataset), task_of(trial).main
    score = evaluate_model(model, trial, dataset, "val", "cpu")[0][main.name]
    recorded, images = outcome.result.score("val", main.name), outcome.result.images["val"]
    if outcome.result.device == "cpu" and not is_same_score(main, score, recorded, images):
        raise SweepError(
            f"{folder}: {arch_label(trial.arch)} has {main.said(score, 2)} here, {main.amount(recorded, 2)} on "
            "record: it was measured on another machine or with another torch; run the sweep here"
        )
    first = find_first_size(dataset, whole_level(trial.train_size, trial.recipe.eval_crop))
    preprocess = Preprocess(trial.train_size, pixels_of(trial), first, find_decoding(dataset))
    return Exported(model, outcome, score, dataset.classes, preprocess)


def _export_unchecked(folder: Path, outcome: Outcome) -> Exported:
    """Rebuild the network and read what is needed of its data from the file of its weights."""
    trial = outcome.trial
    model = load_network(folder, trial, None)
    try:
        header = read_header(folder / own_file(trial))
        classes, first = tuple(json.loads(header["classes"])), json.loads(header.get("first_size", "null"))
        decoding = Decoding(**json.loads(header.get("decoding", "{}")))
    except (StoreError, KeyError, ValueError, TypeError) as error:
        raise StoreError(
            f"{arch_label(trial.arch)}: its weights, which an earlier version kept, don't name its classes, and the "
            "data are gone; give their place with --data PATH"
        ) from error
    notes = [GONE]
    # Earlier versions noted that of the network's size, which of a rectangle's middle is another.
    if trial.recipe.eval_crop < 1 and not trial.train_size.is_square and "crop_from" not in header:
        header.pop("first_size", None)
        first = None
    if "first_size" not in header and trial.data.name not in EMBEDDED:
        notes.append(NO_FIRST_SIZE)
    preprocess = Preprocess(trial.train_size, pixels_of(trial), first and Size(first[1], first[0]), decoding)
    return Exported(model, outcome, None, classes, preprocess, tuple(notes))


def load_network(folder: Path, trial: Trial, dataset: Dataset | None) -> nn.Module:
    """Return the network of a recorded trial of the sweep, however its weights came about, on the CPU and in eval mode;
    the data are those that it was trained on, None where they are gone. Raises StoreError, SweepError where it needs
    them."""
    return work_of(trial).rebuild(trial, folder, archs_beside(folder, trial), dataset)


def find_outcome(folder: Path, network: str, seed: int, as_slice: bool) -> Outcome:
    """Return the recorded result that is meant. Raises SweepError with what there is."""
    outcomes = [outcome for outcome in read_outcomes(folder) if outcome.status == "done"]
    of_network = select_network(outcomes, network, folder)
    of_seed = [outcome for outcome in of_network if outcome.trial.seed == seed]
    if not of_seed:
        seeds = ", ".join(sorted({str(outcome.trial.seed) for outcome in of_network}))
        raise SweepError(f"--seed {seed}: {folder} has {network} with seed {seeds}")
    tuned = [outcome for outcome in of_seed if way_of(outcome.trial).goes_on]
    first = [outcome for outcome in of_seed if not way_of(outcome.trial).goes_on]
    if as_slice and not any(is_slice(outcome.trial) for outcome in first):
        how = way_of(of_seed[0].trial).exported
        raise SweepError(f"--slice: {network} of {folder} is no slice of shared weights ({how}); leave --slice out")
    found = first[-1] if as_slice or not tuned else tuned[-1]
    if not is_kept(folder, found.trial):
        raise StoreError(
            f"{network}: its weights are not kept in {folder}; this trains it again and keeps them: "
            f"{again_command(folder, network)}"
        )
    return found


def select_network(outcomes: Sequence[Outcome], network: str, folder: Path) -> list[Outcome]:
    """Return those of the results that are of the network, named as in tables. Raises SweepError with what there
    is."""
    label, _, init = network.replace("@", " at ").partition(", from ")
    kinds: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        kinds.setdefault(outcome.trial.recipe.init, []).append(outcome)
    of_network = [o for kind, some in kinds.items() if init in ("", kind) for o in _select_label(some, label)]
    if not of_network:
        trials = [outcome.trial for outcome in outcomes]
        names = list(dict.fromkeys(trial_label(outcome.trial, trials) for outcome in outcomes))
        shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        raise SweepError(f"{network}: {folder} has no such network with a result; there are: {shown or 'none'}")
    inits = list(dict.fromkeys(outcome.trial.recipe.init for outcome in of_network))
    if len(inits) > 1:
        raise SweepError(f"{network}: {folder} has it from {' and from '.join(inits)}; say which, as in "
                         f"'{network}, from {inits[0]}'")  # fmt: skip
    return of_network


def _select_label(outcomes: Sequence[Outcome], label: str) -> list[Outcome]:
    """Return the results of one kind of start that are of the network."""
    found = [o for o in outcomes if arch_label(o.trial.arch) in (label, _with_point(label))]
    if found:
        return found
    # The width and size alone, where they name one.
    alike = [o for o in outcomes if arch_label(o.trial.arch).startswith((f"{label},", f"{_with_point(label)},"))]
    return alike if len({arch_label(o.trial.arch) for o in alike}) == 1 else []


def recorded_label(folder: Path, trial: Trial) -> str:
    """Return the network of a recorded trial as tables of its sweep name it."""
    return trial_label(trial, [outcome.trial for outcome in read_outcomes(folder) if outcome.status == "done"])


def _with_point(label: str) -> str:
    """Return "1 at 224" as tables have it, "1.0 at 224"."""
    width, at, rest = label.partition(" at ")
    return f"{width}.0{at}{rest}" if width.isdecimal() else label


def archs_beside(folder: Path, trial: Trial) -> list[ArchSpec]:
    """Return the networks of the sweep that get their weights as the trial's network did at first."""
    strategy, schedule = way_of(trial).strategy, read_schedule(folder).values()
    first = [one.arch for one in schedule if way_of(one).strategy == strategy and not way_of(one).goes_on]
    return list({arch_key(arch): arch for arch in first}.values())


def describe_file(exported: Exported, path: Path) -> dict[str, Any]:
    """Return what is recorded of a file that `write_export` has written: its bytes, and the main score of the network
    in it, or why that was not measured again."""
    main = task_of(exported.outcome.trial).main.name
    checked = {"unchecked": NO_IMAGES} if exported.val_score is None else {main: exported.val_score}
    return {"bytes": path.stat().st_size, **checked}


def write_export(exported: Exported, path: Path) -> None:
    """Write the file, whole or not at all. Raises StoreError."""
    trial, main = exported.outcome.trial, task_of(exported.outcome.trial).main.name
    checked = exported.val_score is not None
    content = {
        "state_dict": upright_state(exported.model),
        **({name: getattr(trial.start, name) for name in ("mean", "std")} if trial.start else {}),
        **({} if trial.start is None and trial.epsilon == EPSILON else {"epsilon": trial.epsilon}),
        "arch": json.dumps(arch_record(trained_arch(trial))),
        "classes": list(exported.classes),
        "size": trial.train_size.cell,
        "pixels": pixels_of(trial).text,
        "seed": trial.seed,
        f"val_{main}": exported.val_score if checked else exported.outcome.result.score("val", main),
        "checked": checked,
        "trained": trial.way,
    }
    remove_abandoned(path.parent)
    try:
        with open_whole(path) as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:  # torch.save hides the disk's own error
        raise StoreError(f"{path}: can't be written ({error}); choose another --out") from error
