"""A slice of shared weights, trained on by itself for some epochs; its weights are kept beside the shared ones."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from mnv2_sweep.base.errors import StoreError
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.models.build import build_model
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.training.checkpoint import Course, read_packed, write_packed
from mnv2_sweep.training.control import Control
from mnv2_sweep.training.loop import begin_on, finish_course, open_course, resume_course
from mnv2_sweep.training.shared import Supernet, cut_network, load_shared, weights_header
from mnv2_sweep.training.ways.shared import Shared, supernet_of, weights_path
from mnv2_sweep.training.ways.way import Rates, Setup
from mnv2_sweep.trials.tasks import trained_arch
from mnv2_sweep.trials.trial import Result, Trial, trial_header, trial_id

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

    def headers(self, trial: Trial) -> tuple[dict, ...]:
        return weights_header(trial), trial_header(trial)

    def rebuild(self, trial: Trial, folder: Path, archs: Sequence[ArchSpec], dataset: Dataset) -> nn.Module:
        path = tuned_path(weights_path(folder, trial), trial)
        model = build_model(trained_arch(trial))
        try:
            model.load_state_dict(read_packed(path, trial_header(trial))[1])
        except Exception as error:  # torch.load and json raise many kinds at what they have not written
            raise StoreError(f"{path}: can't be used ({type(error).__name__}); --slice exports the slice") from error
        return model.eval().to(memory_format=torch.channels_last)


def run_finetuned_trial(trial: Trial, dataset: Dataset, device: str, control: Control, supernet: Supernet) -> Result:
    """Train the slice on by itself, as any network, at FINETUNE_RATE times the recipe's rate; its weights are kept.
    Raises as run_trial."""
    begin_on(device)
    shared = load_shared(trial, dataset, device, control, supernet)
    lr = FINETUNE_RATE * trial.recipe.lr
    tuned = replace(trial, recipe=replace(trial.recipe, images=None, epochs=trial.shared.finetune, lr=lr))

    def begin() -> Course:
        torch.manual_seed(trial.seed)  # for what is dropped out
        model = cut_network(trial, shared.weights, dataset, device, control)
        return open_course(model, tuned, dataset, device)

    def keep(model: nn.Module) -> None:
        write_packed(tuned_path(supernet.path, trial), trial_header(trial), model.state_dict())

    course = resume_course(begin, trial_id(tuned), control)
    return finish_course(course, tuned, dataset, control, keep)


def tuned_path(path: Path, trial: Trial) -> Path:
    """Return where the weights of a slice lie that was trained on, beside the shared ones' file."""
    return path.with_name(f"{trial_id(trial)}.pt")


WORK = FineTuned()
