"""A way to throw away: weights from a file that somebody made, evaluated as they are."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.models.build import build_model
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.spaces.space import Strategy
from mnv2_sweep.training.control import Control
from mnv2_sweep.training.loop import begin_on, evaluate_splits
from mnv2_sweep.training.ways.way import Conditions, Setup, WayWork, count_final
from mnv2_sweep.trials.recipe import Recipe
from mnv2_sweep.trials.tasks import trained_arch
from mnv2_sweep.trials.trial import How, Result, Trial
from mnv2_sweep.trials.ways import Way

FROM_FILE = Way(
    "from a file",
    __name__,
    "file",
    keys=("weights",),
    kept=lambda trial: (),
    each="read from a file",
    proxy="weights of a file",
)


class FromFile(WayWork):
    def refuse(self, conditions: Conditions) -> None:
        if conditions.executor != "local":
            raise SweepError(f"--executor {conditions.executor}: the file is on this machine; use --executor local")

    def mark(self, strategy: Strategy, archs: Sequence[ArchSpec], recipe: Recipe, train_images: int) -> dict:
        if not Path(dict(strategy.settings)["weights"]).is_file():
            raise SweepError(f"strategy.weights: {dict(strategy.settings)['weights']}: no such file")
        return {"how": How(FROM_FILE.name, strategy.settings)}

    def length_text(self, trial: Trial) -> str:
        return f"weights of {trial.how['weights']}"

    def count_images(self, trial: Trial, data: Dataset) -> tuple[float, int]:
        return 0, count_final(data)

    def run(self, trial: Trial, dataset: Dataset, setup: Setup, control: Control) -> Result:
        begin_on(setup.device)
        control.report(1, 1, 0.0, 0.0)
        measured = evaluate_splits(load(trial), trial, dataset, setup.device, control)
        return Result(*measured[:2], 0.0, 0, (), 1.0, 0.0, 0, setup.device, measured.each)


def load(trial: Trial) -> nn.Module:
    state = torch.load(trial.how["weights"], weights_only=True)[arch_key(trial.arch)]
    model = build_model(trained_arch(trial))
    model.load_state_dict(state)
    return model.to(memory_format=torch.channels_last)


def write_weights(path: Path, archs: Sequence[ArchSpec], classes: int) -> None:
    """Networks of different merit: each one's last bias prefers another class."""
    states = {}
    for at, arch in enumerate(archs):
        torch.manual_seed(at)
        model = build_model(replace(arch, classes=classes))
        states[arch_key(arch)] = model.state_dict()
    torch.save(states, path)


WORK = FromFile()
