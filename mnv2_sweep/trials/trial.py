"""Trial (what to train) and Result (what was measured), with their JSON and the id that names a trial.

ArchSpec + Recipe + DataRef + seed (+ task, + Sharing or How) = Trial. A Result is always of one Trial; costs are never
stored, they are counted again when results are read. JSON leaves out fields that have their default value, so a later
field with a default orphans no record; in return, a default may not change once results exist.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from functools import lru_cache
from types import NoneType

from mnv2_sweep.base.size import Size
from mnv2_sweep.nets.arch import ArchSpec, arch_label, arch_record, input_size, load_arch
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.trials.recipe import SCRATCH, USUAL_SCORE, Recipe
from mnv2_sweep.trials.weights import WeightsRecord, dump_weights, load_weights

CODE_VERSION = 2  # raise it when a change makes the same trial give other numbers; old results then stay, unmatched
SHARED_VERSION = 4  # the same of trials that are slices of shared weights

EMBEDDED = ("shapes", "cloths", "quilts")  # the data sets that ship; the first is meant where none is named
CLASSIFY = "classify"  # the task of every trial that names none
ALONE = "alone"  # the way of every trial that says nothing of its weights
SPLITS = ("val", "test")  # of which a result has scores
SEED = '"seed": '  # in the JSON of a trial, in which a text would have a backslash before its second quotation mark


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
    for which the slice is then trained on by itself. `refit`: training images to which each slice's classifier is
    fitted afterwards; 0, as all earlier trials have it: it stays the one that they share.
    """

    family: str
    images: int
    finetune: float | None = None
    refit: int = 0


@dataclass(frozen=True, slots=True)
class How:
    """A way to get weights that is none of the first three, by its name, and what it needs to know: (key, value)."""

    way: str
    settings: tuple[tuple[str, str | int | float | bool], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", tuple(sorted(self.settings)))  # as they come back from JSON

    def __getitem__(self, key: str) -> str | int | float | bool:
        return dict(self.settings)[key]


@dataclass(frozen=True, slots=True)
class Trial:
    """One network trained once: alone, with `shared` as a slice of shared weights, or as `how` says.

    `arch.classes` is nominal (for costs); the trained head is the task's (`tasks.trained_arch`). `start` are the
    weights with which it begins, None from scratch: what `recipe.init` came to.
    """

    arch: ArchSpec
    recipe: Recipe
    data: DataRef
    seed: int
    shared: Sharing | None = None
    how: How | None = None
    task: str = CLASSIFY
    start: WeightsRecord | None = None

    @property
    def way(self) -> str:
        """Return the name of the way in which its weights come about, see `ways`."""
        if self.how is not None:
            return self.how.way
        if self.shared is None:
            return ALONE
        return "shared" if self.shared.finetune is None else "fine-tuned"

    @property
    def train_size(self) -> Size:
        """Return the size of the images it is trained and evaluated on."""
        return train_size(self.arch, self.recipe)

    @property
    def epsilon(self) -> float:
        """Return that of its batch norms: of the weights with which it begins, else the recipe's."""
        return self.recipe.norm_epsilon if self.start is None else self.start.epsilon


def trial_label(trial: Trial, beside: Iterable[Trial]) -> str:
    """Return a trial's network as tables name it beside these trials, which may be of several kinds of start."""
    several = len({trial.recipe.init, *(one.recipe.init for one in beside)}) > 1
    return f"{arch_label(trial.arch)}, from {trial.recipe.init}" if several else arch_label(trial.arch)


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Training so far: epochs and images seen, mean training loss since the point before, rate of the last step,
    and the main score, by its name, on `Recipe.curve_images` validation images; None where it is another network's."""

    epoch: float
    images: int
    train_loss: float
    lr: float
    scores: Mapping[str, float | None] = field(default_factory=dict)

    def flat(self) -> dict[str, float | None]:
        """Return all of it by name, scores as "val_top1"."""
        values = {name: getattr(self, name) for name in POINT_FACTS}
        return values | {f"val_{name}": value for name, value in self.scores.items()}


POINT_FACTS = ("epoch", "images", "train_loss", "lr")


def read_point(values: Sequence) -> CurvePoint:
    """Return the point of the values of its fields, in order; earlier versions kept top-1 alone of its scores."""
    *facts, scores = values
    if not isinstance(scores, dict):
        scores = {"top1": scores}
    return CurvePoint(*facts, scores)


@dataclass(frozen=True, slots=True)
class Result:
    """What one trial measured: `scores` of each split by name (a fraction where it is a share of images), the loss
    among them, and how many `images` the split has; no "test" where the data have no test split.

    `seconds` is training and evaluation, without loading the data, in one thread; of a slice of shared weights, its
    share of their training too, in seconds of one core. `peak_memory_bytes` is the process's peak resident memory on a
    CPU, the allocator's peak on a GPU. `each` is what it made of each image, as `terms.pack_terms` packs it: no part of
    its JSON, but of a record of its own; empty where it was left out or has not been read.
    """

    scores: Mapping[str, Mapping[str, float]]
    images: Mapping[str, int]
    train_loss: float
    train_images: int
    curve: tuple[CurvePoint, ...]
    seconds: float
    images_per_second: float
    peak_memory_bytes: int
    device: str
    each: bytes = field(default=b"", compare=False, repr=False)

    def score(self, split: str, name: str) -> float | None:
        """Return a score of a split; None where it was not measured."""
        return self.scores.get(split, {}).get(name)

    def flat(self) -> dict:
        """Return all but the curve by name, scores as "val_top1" and numbers of images as "val_images", as records and
        tables have them; None and 0 where there is no test split."""
        values = {}
        for split in SPLITS:
            values |= {f"{split}_{name}": self.score(split, name) for name in self.scores["val"]}
            values[f"{split}_images"] = self.images.get(split, 0)
        return values | {name: getattr(self, name) for name in RESULT_FACTS}


NUMBERS = (float, int, NoneType)  # types of what is measured
RESULT_FACTS = ("train_loss", "train_images", "seconds", "images_per_second", "peak_memory_bytes", "device")


def train_size(arch: ArchSpec, recipe: Recipe) -> Size:
    """Return the size of the training images: the nominal one x input_scale, each side rounded, at least 1."""
    return input_size(arch).scale(recipe.input_scale)


def trial_id(trial: Trial) -> str:
    """Return 16 hex digits; the same for two trials exactly if they train the same network in the same way.

    Built from the resolved network (with its nominal resolution and classes, on which its costs depend), the
    recipe without its name and the score that ranks, the data's fingerprint, the seed and CODE_VERSION; of a slice,
    also `shared` and SHARED_VERSION; `how` and the task where it is not the usual one; the digest of the weights with
    which it begins, whatever they are called.
    """
    return _digest_trial(trial, arch_key(trial.arch), trial.shared)


def shared_id(trial: Trial) -> str:
    """Return 16 hex digits of the training whose weights the trial is a slice of, the same in all its supernet."""
    return _digest_trial(trial, "every network", replace(trial.shared, finetune=None, refit=0))


def trial_header(trial: Trial) -> dict:
    """Return the header of a file (`training.checkpoint`) that keeps what one trial has come to."""
    return {"trial": trial_id(trial), "code_version": CODE_VERSION}


def _digest_trial(trial: Trial, network: str, shared: Sharing | None) -> str:
    """Return 16 hex digits of a training of `network` with the trial's recipe, data and seed."""
    recipe = _exact_json(replace(trial.recipe, name="", init=SCRATCH, score=USUAL_SCORE))
    key = [CODE_VERSION, network, recipe, trial.data.fingerprint, trial.data.classes, trial.seed]
    # What is as ever leaves the ids of earlier trials as they are.
    key += [SHARED_VERSION, _exact_json(shared)] if shared else []
    key += ["how", _how_json(trial.how)] if trial.how else []
    key += ["task", trial.task] if trial.task != CLASSIFY else []
    key += ["start", trial.start.sha256] if trial.start else []
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]


def check_types(record) -> None:
    """Raise TypeError where a value of the frozen record is not of its field's type; whole numbers may be fractions."""
    for one in fields(record):
        value, kind = getattr(record, one.name), one.type
        if kind in (float, float | None) and type(value) is int:
            value = float(value)
        if not isinstance(value, kind) or (type(value) is bool and kind is not bool):
            raise TypeError(f"{one.name} is {value!r}")


def _check_numbers(values: Mapping) -> None:
    for name, value in values.items():
        if type(value) not in NUMBERS and (name != "device" or type(value) is not str):
            raise TypeError(f"{name} is {value!r}")


def _how_json(how: How) -> dict:
    return {"way": how.way, "settings": dict(how.settings)}


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
    parts |= {"how": _how_json(trial.how)} if trial.how else {}
    parts |= {"task": trial.task} if trial.task != CLASSIFY else {}
    parts |= {"start": json.loads(dump_weights(trial.start))} if trial.start else {}
    return json.dumps({**parts, "seed": trial.seed}, sort_keys=True)


def load_trial(text: str) -> Trial:
    """Return the trial of a JSON text by `dump_trial`. Raises ValueError, KeyError or TypeError on any other text."""
    first, seed = split_trial(text)
    return with_seed(load_first(first), seed)


def split_trial(text: str) -> tuple[str, int | None]:
    """Return the JSON text of the same trial with seed 0, as most of a sweep's trials differ in their seeds only, and
    its seed; the text as it is and None where no seed is found."""
    before, key, rest = text.rpartition(SEED)
    after = rest.lstrip("0123456789")
    return (f"{before}{key}0{after}", int(rest[: len(rest) - len(after)])) if len(after) < len(rest) else (text, None)


def with_seed(trial: Trial, seed: int | None) -> Trial:
    """Return the trial with another seed, with its own for None."""
    if seed in (None, trial.seed):
        return trial
    return Trial(trial.arch, trial.recipe, trial.data, seed, trial.shared, trial.how, trial.task, trial.start)


@lru_cache(maxsize=20_000)
def load_first(text: str) -> Trial:
    """Return the trial of a JSON text of `split_trial`. Raises as `load_trial`."""
    values = json.loads(text)
    shared = Sharing(**values["shared"]) if "shared" in values else None
    how = How(values["how"]["way"], tuple(values["how"]["settings"].items())) if "how" in values else None
    arch, recipe, data = load_arch(values["arch"]), _find_recipe(**values["recipe"]), _find_data(**values["data"])
    start = load_weights(json.dumps(values["start"])) if "start" in values else None
    if type(values["seed"]) is not int:
        raise TypeError(f"the seed is {values['seed']!r}")
    return Trial(arch, recipe, data, values["seed"], shared, how, values.get("task", CLASSIFY), start)


@lru_cache(maxsize=1000, typed=True)
def _find_recipe(**values) -> Recipe:
    """Return the one recipe of these values, as most trials of a sweep share theirs."""
    recipe = Recipe(**values)
    check_types(recipe)
    return recipe


@lru_cache(maxsize=1000, typed=True)
def _find_data(**values) -> DataRef:
    data = DataRef(**values)
    check_types(data)
    return data


def dump_result(result: Result) -> str:
    """Return the result as JSON, from which `load_result` makes it again: of a classification as earlier versions
    wrote it."""
    curve = [point.flat() for point in result.curve]
    return json.dumps(result.flat() | {"curve": curve}, sort_keys=True)


def load_result(text: str) -> Result:
    """Return the result of a JSON text by `dump_result`. Raises ValueError, KeyError or TypeError on any other text."""
    values = dict(json.loads(text))
    curve = tuple(_load_point(dict(point)) for point in values.pop("curve"))
    _check_numbers(values)
    facts, scores = {name: values.pop(name) for name in RESULT_FACTS}, {split: {} for split in SPLITS}
    for key, value in values.items():
        split, _, name = key.partition("_")
        scores[split][name] = value
    images = {split: of_split.pop("images") for split, of_split in scores.items()}
    measured = [split for split in SPLITS if images[split]]
    return Result(
        {split: scores[split] for split in measured},
        {split: images[split] for split in measured},
        curve=curve,
        **facts,
    )


def load_flat(texts: Sequence[str]) -> list[dict]:
    """Return what `Result.flat` says of the results of JSON texts by `dump_result`. Raises as `load_result`."""
    texts = [_without_points(text) for text in texts]
    try:
        found = json.loads(f"[{', '.join(texts)}]")  # one reading of many costs half of many readings
    except ValueError:
        found = ()
    if len(found) != len(texts):  # some text is no whole object: which one is said
        found = [json.loads(text) for text in texts]
    for values in found:
        del values["curve"]
        _check_numbers(values)
    return found


def _without_points(text: str) -> str:
    """Return the text of a result without the points of its curve, which are most of it and its first key."""
    begin, end = '{"curve": [', text.find("], ")
    return begin + text[end:] if text.startswith(begin) and end > 0 else text


def _load_point(values: dict) -> CurvePoint:
    facts = {name: values.pop(name) for name in POINT_FACTS}
    return CurvePoint(**facts, scores={key.removeprefix("val_"): value for key, value in values.items()})
