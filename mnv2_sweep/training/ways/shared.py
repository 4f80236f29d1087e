"""A slice of weights that many networks share and that are trained once: evaluated as it is."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from mnv2_sweep.base.errors import ArchError, StoreError, SweepError
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.nets.arch import ArchSpec, arch_label
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.nets.supernet import check_supernet, supernet_digest
from mnv2_sweep.spaces.space import Strategy
from mnv2_sweep.training.control import Control
from mnv2_sweep.training.loop import count_steps
from mnv2_sweep.training.shared import (
    CALIBRATION_IMAGES,
    RANDOM,
    Supernet,
    TrainedSupernet,
    cut_network,
    has_weights,
    read_shared,
    run_shared_trial,
)
from mnv2_sweep.training.ways.way import Conditions, Rates, Setup, WayWork, count_final
from mnv2_sweep.trials.recipe import RECIPES, SCRATCH, Recipe
from mnv2_sweep.trials.trial import Result, Sharing, Trial, shared_id
from mnv2_sweep.trials.ways import shared_file

USUAL = RECIPES["short"]
REFIT_IMAGES = 4000  # to which each slice's classifier is fitted, where the space does not say
REFIT_SECONDS = 1.5  # of one core, for the fit itself with the usual 1,280 channels, whatever the images
MOST_ALONE = 24  # networks that the default length of a shared training makes up for
NO_BUDGET = "--budget: the networks share one training, which is done whole; give it fewer images, or add --separate"
NO_GRAPHS = "--cuda-graphs: networks that share weights are trained without them; leave it out, or add --separate"
ONE_MACHINE = "the networks share one training, which runs on one machine; use --executor local, or --separate"


class Shared(WayWork):
    """The first trial of a seed trains the weights, with the threads of all workers; all then evaluate their slice."""

    def refuse(self, conditions: Conditions) -> None:
        if conditions.budget:
            raise SweepError(NO_BUDGET)
        if conditions.cuda_graphs:
            raise SweepError(NO_GRAPHS)
        if conditions.executor != "local":
            raise SweepError(f"--executor {conditions.executor}: {ONE_MACHINE}")

    def mark(self, strategy: Strategy, archs: Sequence[ArchSpec], recipe: Recipe, train_images: int) -> dict:
        if recipe.init != SCRATCH:
            raise SweepError(f"recipe.init: {recipe.init} given, {SCRATCH} allowed for networks that share weights; "
                             "give strategy: tune or probe, or --separate")  # fmt: skip
        if recipe.norm_momentum != USUAL.norm_momentum:
            raise SweepError(
                f"recipe.norm_momentum: {recipe.norm_momentum:g} given, {USUAL.norm_momentum:g} allowed for networks "
                "that share weights: at the end each gets statistics of its own; write "
                f"recipe.norm_momentum={USUAL.norm_momentum:g}, or add --separate"
            )
        return {"shared": make_sharing(strategy, archs, recipe, train_images)}

    def mark_later(self, strategy: Strategy, marks: dict) -> dict | None:
        if strategy.finetune is None:
            return None
        return {"shared": replace(marks["shared"], finetune=strategy.finetune)}

    def more_text(self, strategy: Strategy) -> str:
        return f"{strategy.finetune:g} more epochs"

    def length_text(self, trial: Trial) -> str:
        return f"one training of {trial.shared.images:,} images for all networks, which share its weights"

    def own_seconds(self, trial: Trial, work: float, rates: Rates) -> float:
        train, refit = len(rates.data.labels["train"]), trial.shared.refit
        looked_at = count_final(rates.data) + min(train, CALIBRATION_IMAGES) + min(train, refit)
        return looked_at * rates.of_evaluated(work) + (REFIT_SECONDS if refit else 0)

    def preparation_seconds(self, trial: Trial, rates: Rates) -> float:
        *others, largest = sorted(rates.works.values())
        step = rates.of_image(largest)
        if others:  # a round of steps has each once
            step += sum(map(rates.of_image, others)) / math.ceil(len(others) / RANDOM)
        return trial.shared.images * step

    def preparation(self, trial: Trial) -> str | None:
        return shared_id(trial)

    def is_prepared(self, folder: Path, trial: Trial) -> bool:
        return has_weights(weights_path(folder, trial), trial)

    def run(self, trial: Trial, dataset: Dataset, setup: Setup, control: Control) -> Result:
        return run_shared_trial(trial, dataset, setup.device, control, supernet_of(trial, setup))

    def holds(self, path: Path, trial: Trial) -> bool:
        return has_weights(path, trial)

    def rebuild(self, trial: Trial, folder: Path, archs: Sequence[ArchSpec], dataset: Dataset | None) -> nn.Module:
        if dataset is None:
            raise SweepError(
                f"{arch_label(trial.arch)}: a slice of shared weights, whose batch norms are measured again on "
                "training images, and those are gone; give their place with --data PATH"
            )
        problems: list[str] = []
        supernet = Supernet(tuple(archs), weights_path(folder, trial))
        shared = read_shared(trial, supernet, problems.append)
        if not isinstance(shared, TrainedSupernet):
            why = str(shared or (problems[0] if problems else "the file is not there"))
            raise StoreError(f"{supernet.path}: {why}; run the space with another --results folder to train them again")
        return cut_network(trial, shared.weights, dataset, "cpu")


def weights_path(folder: Path, trial: Trial) -> Path:
    """Return the file with the weights that the trial's network is a slice of."""
    return folder / shared_file(trial)


def supernet_of(trial: Trial, setup: Setup) -> Supernet:
    """Return the supernet that the trial's network is a slice of."""
    return Supernet(setup.archs, weights_path(setup.folder, trial), setup.threads.get(shared_id(trial), 1))


def make_sharing(strategy: Strategy, archs: Sequence[ArchSpec], recipe: Recipe, train_images: int) -> Sharing:
    """Return what the slices of a shared training have in common. Raises ArchError where the networks can't share
    weights.

    Without a number of images, the networks of a step see as many in all as each network alone would have, together:
    at most four networks a step; more than MOST_ALONE networks count as so many.
    """
    try:
        check_supernet(archs)
    except ArchError as error:
        raise ArchError(f"strategy shared: {error}; or train each alone, with --separate") from error
    images = strategy.images
    if images is None:
        alone = count_steps(recipe, train_images)[0] * recipe.batch
        networks = len({arch_key(arch) for arch in archs})
        images = round(alone * max(1.0, min(networks, MOST_ALONE) / (1 + RANDOM)))
    return Sharing(supernet_digest(archs), images, refit=dict(strategy.settings).get("refit", REFIT_IMAGES))


WORK = Shared()
