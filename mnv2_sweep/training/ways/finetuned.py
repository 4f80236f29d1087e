"""A slice of shared weights, trained on by itself for some epochs."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from mnv2_sweep.base.errors import StoreError
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.training.checkpoint import Course, is_whole, read_packed
from mnv2_sweep.training.control import Control
from mnv2_sweep.training.kept import fill_network, has_kept
from mnv2_sweep.training.loop import begin_on, finish_course, open_course, resume_course
from mnv2_sweep.training.shared import Supernet, cut_network, load_shared
from mnv2_sweep.training.ways.shared import Shared, supernet_of
from mnv2_sweep.training.ways.way import Rates, Setup, WayWork
from mnv2_sweep.trials.trial import Result, Trial, trial_header, trial_id
from mnv2_sweep.trials.ways import KEPT, kept_paths

FINETUNE_RATE = 0.2  # of the recipe's rate


class FineTuned(Shared):
    """It needs the shared weights as the slice itself does."""

    def before(self, trial: Trial) -> Trial | None:
        return replace(trial, shared=replace(trial.shared, finetune=None))

    def length_text(self, trial: Trial) -> str:
        return f"{trial.shared.finetune:g} epoch{'' if trial.shared.finetune == 1 else 's'} each"

    def own_seconds(self, trial: Trial, work: float, rates: Rates) -> float:
        trained = trial.shared.finetune * len(rates.data.labels["train"]) * rates.of_image(work)
        return super().own_seconds(trial, work, rates) + trained

    def run(self, trial: Trial, dataset: Dataset, setup: Setup, control: Control) -> Result:
        return run_finetuned_trial(trial, dataset, setup.device, control, supernet_of(trial, setup))

    def holds(self, path: Path, trial: Trial) -> bool:
        return has_kept(path, trial) if path.parent.name == KEPT else is_whole(path, trial_header(trial))

    def rebuild(self, trial: Trial, folder: Path, archs: Sequence[ArchSpec], dataset: Dataset | None) -> nn.Module:
        path, packed = kept_paths(folder, trial)
        try:
            if path.is_file() or not packed.is_file():
                return WayWork.rebuild(self, trial, folder, archs, dataset)
            return fill_network(self.build(trial), read_packed(packed, trial_header(trial))[1])
        except Exception as error:  # torch.load and json raise many kinds at what they have not written
            why = error if isinstance(error, StoreError) else f"{packed}: can't be used ({type(error).__name__})"
            raise StoreError(f"{why}; --slice exports the slice") from error


def run_finetuned_trial(trial: Trial, dataset: Dataset, device: str, control: Control, supernet: Supernet) -> Result:
    """Train the slice on by itself, as any network, at FINETUNE_RATE times the recipe's rate. Raises as
    run_trial."""
    begin_on(device)
    shared = load_shared(trial, dataset, device, control, supernet)
    lr = FINETUNE_RATE * trial.recipe.lr
    tuned = replace(trial, recipe=replace(trial.recipe, images=None, epochs=trial.shared.finetune, lr=lr))

    def begin() -> Course:
        torch.manual_seed(trial.seed)  # for what is dropped out
        model = cut_network(trial, shared.weights, dataset, device, control)
        return open_course(model, tuned, dataset, device)

    def keep(tuned: Trial, model: nn.Module, result: Result) -> None:
        control.keep(trial, model, result)  # under its own name

    course = resume_course(begin, trial_id(tuned), control)
    return finish_course(course, tuned, dataset, replace(control, keep=keep))


WORK = FineTuned()
