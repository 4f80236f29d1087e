"""How the weights of networks come about: the ways, what they are called, and which files they leave; no torch.

What a way does stands in its module in `training/ways/`, which is imported when it is first asked.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.trials.tasks import load_work
from mnv2_sweep.trials.trial import ALONE, Trial, shared_id, trial_id

WEIGHTS = "shared"  # the folder of weights that networks are cut from
KEPT = "kept"  # the folder of the weights of single networks
PROBED = "probe_"  # before the names of scores that a tuned network had as a probe
OWN_CLASSIFIER = ("classifier", "kept")  # a setting of tune: the classifier that comes with the weights stays
STACKED_FOLDER = "stacked"  # results of seeds that were trained as one, until each one's trial has taken its own


def own_file(trial: Trial) -> str:
    """Return the file with the weights of one trial's network, in its sweep's folder."""
    return f"{KEPT}/{trial_id(trial)}.safetensors"


def shared_file(trial: Trial) -> str:
    """Return the file with the weights that the trial's network is or was a slice of, in its sweep's folder."""
    return f"{WEIGHTS}/{shared_id(trial)}.pt"


class Need(NamedTuple):
    """What a trial can't run without, and one of those that need it has to make: its name, whether it is there."""

    name: str
    is_there: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Way:
    """A way to get weights, and all that is said of it.

    `name` is that of `Trial.way`, `strategy` what a space file asks for; `keys` may stand beside it there. One that
    `goes_on` trains on the networks of its strategy that are on the front, and takes no part in their order. `module`
    holds its `WORK` (a `training.ways.way.WayWork`).

    `kept` names the files in a sweep's folder of which any one holds the weights of a trial, the one that is written
    today first. `passing` is a folder of the sweep with a file <trial id>.pt for each trial that is not recorded yet.

    Words: `proxy`, the order by its networks in a calibration, and `proxy_note` on what was done for it, with {images}
    of the training and {networks}, where it is not each network's own; `each`, behind "every network is", with
    {images}; `caption`, behind these images in a figure; `exported`, what a network in a file of its own was.
    """

    name: str
    module: str
    strategy: str
    keys: tuple[str, ...] = ()
    goes_on: bool = False
    kept: Callable[[Trial], tuple[str, ...]] = lambda trial: (own_file(trial),)
    passing: str = ""
    proxy: str = "short schedule"
    proxy_note: str = ""
    each: str = ""
    caption: str = ""
    exported: str = ""

    @property
    def work(self):
        """Return what the way does: prepares, runs, costs, finds again, refuses."""
        return load_work(self.module)


WAYS = {
    way.name: way
    for way in (
        Way(
            ALONE,
            "mnv2_sweep.training.ways.alone",
            "separate",
            passing=STACKED_FOLDER,
            exported="trained alone",
        ),
        Way(
            "shared",
            "mnv2_sweep.training.ways.shared",
            "shared",
            keys=("images", "refit"),
            kept=lambda trial: (shared_file(trial),),
            proxy="shared weights",
            proxy_note="one training of {images:,} images for all {networks} of the space",
            each="a slice of one training of {images:,} images",
            caption=", in one training of which every network is a slice",
            exported="slice of the shared weights",
        ),
        Way(
            "fine-tuned",
            "mnv2_sweep.training.ways.finetuned",
            "shared",
            goes_on=True,
            kept=lambda trial: (own_file(trial), f"{WEIGHTS}/{trial_id(trial)}.pt"),  # earlier versions: the second
            proxy="shared weights",
            proxy_note="one training of {images:,} images for all {networks} of the space",
            exported="trained on by itself",
        ),
        Way(
            "probe",
            "mnv2_sweep.training.ways.probe",
            "probe",
            proxy="probe of pretrained weights",
            proxy_note="a linear classifier on frozen features",
            each="a linear classifier on the features of pretrained weights",
            caption=", to which a linear classifier on frozen features was fitted",
            exported="a linear classifier on pretrained features",
        ),
        Way(
            "tune",
            "mnv2_sweep.training.ways.tune",
            "tune",
            proxy="pretrained weights, tuned",
            each="trained from pretrained weights, on {images:,} images",
            exported="trained from pretrained weights",
        ),
    )
}


def find_way(name: str) -> Way:
    """Return the way of that name. Raises SweepError where this version has no such way."""
    if name not in WAYS:
        raise SweepError(f"way: '{name}' given, {' | '.join(WAYS)} allowed; it was made by another version")
    return WAYS[name]


def way_of(trial: Trial) -> Way:
    """Return how the weights of the trial's network come about. Raises SweepError as `find_way`."""
    return find_way(trial.way)


def kept_paths(folder: Path, trial: Trial) -> tuple[Path, ...]:
    """Return the files of which any one holds the weights of the trial's network, in the sweep's folder."""
    return tuple(folder / name for name in way_of(trial).kept(trial))


def keeps_classifier(trial: Trial) -> bool:
    """Return whether the trial begins with the classifier of its weights, too."""
    return trial.how is not None and OWN_CLASSIFIER in trial.how.settings


def is_kept(folder: Path, trial: Trial) -> bool:
    """Return whether there is a file with the weights of the trial's network."""
    return any(path.is_file() for path in kept_paths(folder, trial))


def is_slice(trial: Trial) -> bool:
    """Return whether the trial's network is a slice of shared weights, without a file of its own."""
    return own_file(trial) not in way_of(trial).kept(trial)


def strategy_names() -> tuple[str, ...]:
    """Return what a space file may ask for."""
    return tuple(way.strategy for way in WAYS.values() if not way.goes_on)


def find_strategy(name: str) -> Way:
    """Return the way that a space file asks for by that name."""
    return next(way for way in WAYS.values() if way.strategy == name and not way.goes_on)


def goes_on(name: str) -> bool:
    """Return whether trials of that way train on the networks of others, whose order stands."""
    return name in WAYS and WAYS[name].goes_on
