"""All layers of a network that begins with weights, trained at a low rate, from the classifier of its probe.

Where the classifier of the weights is kept (`trials.ways.OWN_CLASSIFIER`), its probe is the network as it is.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace

import torch
from torch import nn

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.spaces.space import Strategy
from mnv2_sweep.training.checkpoint import Course, core_clock
from mnv2_sweep.training.control import Control
from mnv2_sweep.training.loop import begin_on, count_steps, evaluate_splits, finish_course, open_course, resume_course
from mnv2_sweep.training.optimizer import make_optimizer
from mnv2_sweep.training.start import begin_network
from mnv2_sweep.training.ways.probe import Probe, Probed, probe_trial
from mnv2_sweep.training.ways.way import Rates, Setup, WayWork, count_final
from mnv2_sweep.trials.recipe import Recipe, length_text
from mnv2_sweep.trials.tasks import Task, task_of
from mnv2_sweep.trials.trial import Result, Trial, trial_id
from mnv2_sweep.trials.ways import PROBED, keeps_classifier

BOTTOM_RATE = 0.1  # of the first layer, as a share of the classifier's
AVERAGED_STEPS = 0.1  # of all steps: how far back the average of the weights looks


class Tune(Probe):
    """Batch norms use each batch's statistics, as in any training: with those of the weights, frozen, 0.35 at 96 px
    diverged at rates of 0.002 and 0.01."""

    name = "tune"

    def mark(self, strategy: Strategy, archs: Sequence[ArchSpec], recipe: Recipe, train_images: int) -> dict:
        if recipe.average:
            raise SweepError(f"recipe.average: {recipe.average:g} given, 0 allowed for strategy {self.name}, which has "
                             f"an average of its own, over the last {AVERAGED_STEPS:.0%} of its steps")  # fmt: skip
        return super().mark(strategy, archs, recipe, train_images)

    def length_text(self, trial: Trial) -> str:
        first = "its own classifier" if keeps_classifier(trial) else "a linear classifier on the features"
        return f"{first}, then {length_text(trial.recipe)}"

    def own_seconds(self, trial: Trial, work: float, rates: Rates) -> float:
        training = WayWork.own_seconds(self, trial, work, rates)
        if keeps_classifier(trial):
            return training + count_final(rates.data) * rates.of_evaluated(work)
        return super().own_seconds(trial, work, rates) + training

    def run(self, trial: Trial, dataset: Dataset, setup: Setup, control: Control) -> Result:
        begin_on(setup.device)
        probe = measure_start if keeps_classifier(trial) else probe_trial
        probed = probe(trial, dataset, setup.device, control)
        course = resume_course(lambda: begin_tuning(trial, dataset, setup.device, probed), trial_id(trial), control)
        result = _with_probe(task_of(trial), finish_course(course, trial, dataset, control), probed)
        control.log(compare_probe(trial, result))
        return result


def measure_start(trial: Trial, dataset: Dataset, device: str, control: Control) -> Probed:
    """Measure the network with which the trial begins, under its own classifier. Raises Interrupted."""
    clock = core_clock(device)
    began, model = clock(), begin_network(trial, dataset, device).eval()
    measured = evaluate_splits(model, trial, dataset, device, control)
    return Probed(model, measured, clock() - began)


class TuneCourse(Course):
    """A course whose average of the weights looks back over as many steps from first to last."""

    def average_share(self, steps: int) -> float:
        return 1 - self.average_decay


def begin_tuning(trial: Trial, dataset: Dataset, device: str, probed: Probed) -> TuneCourse:
    """Begin with the weights under the probe's classifier, which stay as they are."""
    torch.manual_seed(trial.seed)  # for what is dropped out
    model = deepcopy(probed.model)
    plain = open_course(model, trial, dataset, device)
    course = TuneCourse(model, layer_rates(model, trial), plain.order, device, began=plain.began, kept=plain.kept)
    steps = count_steps(trial.recipe, plain.order.count)[0]
    course.begin_average(1 - min(1.0, 1 / (AVERAGED_STEPS * steps)))
    return course


def layer_rates(model: nn.Module, trial: Trial) -> torch.optim.Optimizer:
    """Return the optimizer of the recipe, with rates that rise from the first layer to the classifier."""
    optimizer = make_optimizer(model, trial.recipe)
    depths = {id(p): depth for depth, block in enumerate(model.features) for p in block.parameters()}
    groups = []
    for group in optimizer.param_groups:
        for depth in range(len(model.features) + 1):
            own = [p for p in group["params"] if depths.get(id(p), len(model.features)) == depth]
            scale = BOTTOM_RATE ** (1 - depth / len(model.features))
            groups.append({**group, "params": own, "scale": scale})
    optimizer.param_groups.clear()
    for group in groups:
        if group["params"]:
            optimizer.add_param_group(group)
    return optimizer


def _with_probe(task: Task, result: Result, probed: Probed) -> Result:
    """Return the result with the probe's scores, those that can rank, and seconds added."""
    ranks = {score.name for score in task.scores}
    scores = {
        split: own | {f"{PROBED}{name}": value for name, value in probed.scores[split].items() if name in ranks}
        for split, own in result.scores.items()
    }
    return replace(result, scores=scores, seconds=result.seconds + probed.seconds)


def compare_probe(trial: Trial, result: Result) -> str:
    """Say what the probe had, and where tuning made it worse."""
    main = task_of(trial).main
    before, after = (result.score("val", name) for name in (f"{PROBED}{main.name}", main.name))
    worse = "; tuning made it worse" if main.sign * (after - before) < 0 else ""
    return f"its probe {main.amount(before, 2)}{worse}"


WORK = Tune()
