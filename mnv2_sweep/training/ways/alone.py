"""Trained alone, from first weights; where the run stacks seeds, together with the other seeds of the network."""

from collections.abc import Sequence
from pathlib import Path

from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.training.control import Control
from mnv2_sweep.training.loop import run_trial
from mnv2_sweep.training.stacked import group_seeds, has_seed, run_stacked_trial
from mnv2_sweep.training.ways.way import Setup, WayWork
from mnv2_sweep.trials.trial import Result, Trial, trial_id
from mnv2_sweep.trials.ways import STACKED_FOLDER, Need


class Alone(WayWork):
    """What came of a trial that was trained with others lies in the sweep's folder until it is recorded."""

    def join(self, trials: Sequence[Trial]) -> dict[Trial, tuple[Trial, ...]]:
        return group_seeds(trials)

    def need(self, trial: Trial, setup: Setup) -> Need | None:
        if trial not in setup.groups:
            return None
        group = setup.groups[trial]
        return Need(trial_id(group[0]), lambda: all(has_seed(stack_path(setup.folder, own), own) for own in group))

    def run(self, trial: Trial, dataset: Dataset, setup: Setup, control: Control) -> Result:
        if trial not in setup.groups:
            return run_trial(trial, dataset, setup.device, control, setup.cuda_graphs)
        paths = {own: stack_path(setup.folder, own) for own in setup.groups[trial]}
        return run_stacked_trial(trial, paths, dataset, setup.device, control)


def stack_path(folder: Path, trial: Trial) -> Path:
    """Return the file with what came of a trial that was trained as one with other seeds, until it is recorded."""
    return folder / STACKED_FOLDER / f"{trial_id(trial)}.pt"


WORK = Alone()
