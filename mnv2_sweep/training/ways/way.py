"""What a way to get weights does, from the schedule of a sweep to the export of its networks.

A way is a module here with a `WORK`, and an entry in `trials.ways.WAYS`, which says what it is called and which files
it leaves. What most ways have in common is done here: each trial for itself, from nothing that others make.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from torch import nn

from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.spaces.space import Strategy
from mnv2_sweep.training.control import Control
from mnv2_sweep.training.kept import fill_network, has_kept, read_kept
from mnv2_sweep.training.loop import count_steps, curve_marks
from mnv2_sweep.training.start import build_network
from mnv2_sweep.trials.recipe import Recipe, length_text
from mnv2_sweep.trials.tasks import trained_network
from mnv2_sweep.trials.trial import Result, Trial
from mnv2_sweep.trials.ways import Need, own_file, way_of


@dataclass(frozen=True)
class Setup:
    """What the trials of a run have in common, for worker processes too: the device, the sweep's folder, its networks
    where something is prepared for many of them and how many threads each preparation may take (one where its name is
    not there), the trials of which several are trained as one with all that are trained with them, whether trials run
    as CUDA graphs; whether weights are kept in the folder, and whether somebody asked for these by their names
    (`sweeps.keep` then lets them stay); whether results say what the network made of each image."""

    device: str = "cpu"
    folder: Path | None = None
    archs: tuple[ArchSpec, ...] = ()
    groups: Mapping[Trial, tuple[Trial, ...]] = field(default_factory=dict)
    threads: Mapping[str, int] = field(default_factory=dict)
    cuda_graphs: bool = False
    keeps: bool = False
    asked: bool = False
    each: bool = True


class Conditions(NamedTuple):
    """What is asked of a run that a way may have to refuse: a budget of time, CUDA graphs, an executor."""

    budget: bool = False
    cuda_graphs: bool = False
    executor: str = "local"


@dataclass(frozen=True)
class Rates:
    """The seconds that training takes on a core of this machine, as functions of a network's work (`count_work`): of an
    image, of an evaluated one, of a trial's start. `works` are those of the networks that are estimated. `of_fit`:
    those of fitting a linear classifier to features, by the numbers of images, channels and outputs."""

    data: Dataset
    works: Mapping[ArchSpec, float]
    of_image: Callable[[float], float]
    of_evaluated: Callable[[float], float]
    of_start: Callable[[float], float]
    of_fit: Callable[[int, int, int], float] = lambda images, channels, outputs: 0.0

    def seconds(self, work: float, shown: float, evaluated: int) -> float:
        """Return the seconds of a trial of that work that trains on `shown` images and evaluates others."""
        return self.of_start(work) + shown * self.of_image(work) + evaluated * self.of_evaluated(work)


def count_final(data: Dataset) -> int:
    """Count the images that are evaluated at the end of a trial."""
    return sum(len(labels) for split, labels in data.labels.items() if split != "train")


class WayWork:
    """What a way does. Ways have no state: what a trial needs to know stands in it and in the Setup."""

    # ------------------------------------------------------------ before a run

    def refuse(self, conditions: Conditions) -> None:
        """Raise SweepError where trials can't be run so."""

    def mark(self, strategy: Strategy, archs: Sequence[ArchSpec], recipe: Recipe, train_images: int) -> dict:
        """Return the fields of Trial that make one of this way, for all networks of a sweep. Raises SweepError where
        they can't be trained so."""
        return {}

    def mark_later(self, strategy: Strategy, marks: dict) -> dict | None:
        """Return the same of what is trained once the front is known, on the networks of the front; None for nothing.
        `marks` are those of the trials before."""
        return None

    def more_text(self, strategy: Strategy) -> str:
        """Say what that is, before a sweep, as in "2 more epochs"."""
        return "more training"

    def before(self, trial: Trial) -> Trial | None:
        """Return the trial whose network this one goes on from, where it does."""
        return None

    def length_text(self, trial: Trial) -> str:
        """Say how long is trained, for a plan."""
        return length_text(trial.recipe)

    # ------------------------------------------------------------ what it takes

    def own_seconds(self, trial: Trial, work: float, rates: Rates) -> float:
        """Return the seconds of the trial itself on one core."""
        return rates.seconds(work, *self.count_images(trial, rates.data))

    def count_images(self, trial: Trial, data: Dataset) -> tuple[float, int]:
        """Count the images that a trial trains on, and those that it evaluates: for its curve, and at its end."""
        recipe, labels = trial.recipe, data.labels
        steps, per_epoch = count_steps(recipe, len(labels["train"]))
        for_curve = len(curve_marks(steps, per_epoch)) * min(recipe.curve_images, len(labels["val"]))
        return steps * recipe.batch, for_curve + count_final(data)

    def preparation_seconds(self, trial: Trial, rates: Rates) -> float:
        """Return the seconds of the trial's preparation on one core."""
        return 0.0

    # ------------------------------------------------------------ what it needs

    def preparation(self, trial: Trial) -> str | None:
        """Name what is made once for many trials, by the first of them with the threads of all workers."""
        return None

    def is_prepared(self, folder: Path, trial: Trial) -> bool:
        """Return whether the trial's preparation is in the sweep's folder, whole."""
        return True

    def join(self, trials: Sequence[Trial]) -> dict[Trial, tuple[Trial, ...]]:
        """Group those trials that can be trained as one -> all that are trained with each."""
        return {}

    def need(self, trial: Trial, setup: Setup) -> Need | None:
        """Return what the trial can't run without."""
        name = self.preparation(trial)
        return None if name is None else Need(name, partial(self.is_prepared, setup.folder, trial))

    # ------------------------------------------------------------ the run, and after it

    def run(self, trial: Trial, dataset: Dataset, setup: Setup, control: Control) -> Result:
        """Get the weights and measure the network, going on from a checkpoint where there is one. Raises
        FloatingPointError when training diverges, Interrupted when asked to stop.

        Where the network is in no file yet, `control.keep` gets it when it has been measured."""
        raise NotImplementedError

    def holds(self, path: Path, trial: Trial) -> bool:
        """Return whether a file, one of those that `Way.kept` names, is there, whole and of the trial."""
        return has_kept(path, trial)

    def build(self, trial: Trial) -> nn.Module:
        """Return the trial's network before it has its weights."""
        return build_network(trial)

    def rebuild(self, trial: Trial, folder: Path, archs: Sequence[ArchSpec], dataset: Dataset | None) -> nn.Module:
        """Return the network of a recorded trial from what is kept, on the CPU and in eval mode; `archs` are those of
        its sweep, and the data None where they are gone. Raises StoreError, SweepError where it needs them."""
        return fill_network(self.build(trial), read_kept(folder / own_file(trial), trial))


def work_of(trial: Trial) -> WayWork:
    """Return what the trial's way does."""
    return way_of(trial).work


def join_trials(trials: Iterable[Trial]) -> dict[Trial, tuple[Trial, ...]]:
    """Return the trials of which several can be trained as one -> all that are trained with each."""
    by_way: dict[str, list[Trial]] = {}
    for trial in trials:
        by_way.setdefault(trial.way, []).append(trial)
    return {trial: group for some in by_way.values() for trial, group in work_of(some[0]).join(some).items()}


def spread_seconds(
    trials: Iterable[Trial], rates: Rates, there: Iterable[str], fraction: float = 1.0
) -> dict[Trial, float]:
    """Return the wall seconds of every trial on a worker that gets a fraction of a core. The first that needs a
    preparation has its seconds too, in one thread; `there` names the preparations that are made."""
    seconds, begun = {}, {*there}
    for trial in trials:
        work = work_of(trial)
        seconds[trial] = work.own_seconds(trial, rates.works[trained_network(trial)], rates) / fraction
        name = work.preparation(trial)
        if name is not None and name not in begun:
            begun.add(name)
            seconds[trial] += work.preparation_seconds(trial, rates) / fraction
    return seconds
