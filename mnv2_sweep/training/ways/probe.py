"""Frozen features of the weights that a network begins with, under a linear classifier that is fitted to them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.nets.arch import ArchSpec, arch_label
from mnv2_sweep.nets.resolve import resolve
from mnv2_sweep.spaces.space import Strategy
from mnv2_sweep.tasks.task import Scorer
from mnv2_sweep.training.batch import weigh_images
from mnv2_sweep.training.checkpoint import core_clock
from mnv2_sweep.training.control import Control
from mnv2_sweep.training.features import MIRRORED, find_features
from mnv2_sweep.training.linear import Examples, Linear, fit_linear
from mnv2_sweep.training.loop import Measured, begin_on, peak_memory_bytes, read_targets, say_result, sum_up
from mnv2_sweep.training.start import begin_network
from mnv2_sweep.training.ways.way import Rates, Setup, WayWork, count_final
from mnv2_sweep.trials.recipe import SCRATCH, Recipe
from mnv2_sweep.trials.tasks import task_of, trained_network
from mnv2_sweep.trials.trial import SPLITS, CurvePoint, How, Result, Trial


class Probe(WayWork):
    """Nothing is drawn at random: every seed has the same numbers. All that the recipe says of the training is without
    effect but for `flip` and `balance`, whose sampler is as its weights: there is nothing to draw."""

    name = "probe"

    def mark(self, strategy: Strategy, archs: Sequence[ArchSpec], recipe: Recipe, train_images: int) -> dict:
        if recipe.init == SCRATCH:
            raise SweepError(f"strategy {self.name}: it begins with published weights, recipe.init is {SCRATCH}; give "
                             "recipe: {init: imagenet}, or a file or name of weights")  # fmt: skip
        return {"how": How(self.name, strategy.settings)}

    def length_text(self, trial: Trial) -> str:
        return "a linear classifier on the features of weights that stay"

    def own_seconds(self, trial: Trial, work: float, rates: Rates) -> float:
        """Return the seconds of the features, as if none were kept, and of the classifier."""
        fitted = probed_images(trial, rates.data)
        channels, outputs = resolve(trained_network(trial)).convs[-1].c_in, task_of(trial).outputs(trial.data.classes)
        evaluated = fitted + count_final(rates.data)
        return rates.of_start(work) + evaluated * rates.of_evaluated(work) + rates.of_fit(fitted, channels, outputs)

    def run(self, trial: Trial, dataset: Dataset, setup: Setup, control: Control) -> Result:
        begin_on(setup.device)
        probed = probe_trial(trial, dataset, setup.device, control)
        main, images = task_of(trial).main.name, probed_images(trial, dataset)
        control.report(1, 1, probed.linear.train_loss, images / probed.seconds)
        point = CurvePoint(0.0, images, probed.linear.train_loss, 0.0, {main: probed.scores["val"][main]})
        result = Result(
            probed.scores, probed.measured.images, probed.linear.train_loss, images, (point,), probed.seconds,
            images / probed.seconds, peak_memory_bytes(setup.device), setup.device, probed.measured.each,
        )  # fmt: skip
        control.keep(trial, probed.model, result)
        control.log(f"{arch_label(trial.arch)}: {say_result(trial, result)} in {result.seconds:.1f} s")
        return result


@dataclass(frozen=True, eq=False)
class Probed:
    """The network that the trial begins with under its first classifier, what was measured of it, the seconds of a core
    that it took, and the classifier that was fitted; None where that of the weights is kept."""

    model: nn.Module
    measured: Measured
    seconds: float
    linear: Linear | None = None

    @property
    def scores(self) -> dict[str, dict[str, float]]:
        return self.measured.scores


def probed_images(trial: Trial, data: Dataset) -> int:
    """Count the training images that the classifier is fitted to, those seen in a mirror, too."""
    return len(data.labels["train"]) * (2 if trial.recipe.flip else 1)


def probe_trial(trial: Trial, dataset: Dataset, device: str, control: Control) -> Probed:
    """Fit the classifier and measure it. Raises FloatingPointError, Interrupted."""
    model = begin_network(trial, dataset, device)
    features, clock = find_features(model, trial, dataset, device, control), core_clock("cpu")
    began = clock()
    targets = {split: read_targets(trial, dataset, split, "cpu") for split in dataset.labels}
    counts = {split: weigh_images(trial, dataset.labels["train"], dataset.labels[split]) for split in ("train", "val")}
    train, val = (Examples(features.splits[split], targets[split], counts[split]) for split in ("train", "val"))
    if trial.recipe.flip:
        twice = (None if part is None else torch.cat([part, part]) for part in train[1:])
        train = Examples(torch.cat([train.features, features.splits[MIRRORED]]), *twice)
    linear = fit_linear(trial, train, val, control)
    if linear is None or not math.isfinite(linear.train_loss):
        raise FloatingPointError("the features of these weights are no numbers")
    splits = [split for split in SPLITS if split in dataset.labels]
    measured = sum_up(
        {split: _score(trial, linear.outputs(features.splits[split]), targets[split]) for split in splits}
    )
    linear.put_into(model)
    return Probed(model.eval(), measured, features.seconds + clock() - began, linear)


def _score(trial: Trial, outputs: Tensor, targets: Tensor) -> tuple[Scorer, int]:
    scorer = task_of(trial).work.scorer()
    scorer.add(outputs, targets)
    return scorer, len(targets)


WORK = Probe()
