"""All layers of a network that begins with weights, trained at a low rate, from the classifier of its probe."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.data.batches import keep_on_device, train_level
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.nets.arch import ArchSpec, arch_label
from mnv2_sweep.spaces.space import Strategy
from mnv2_sweep.training.checkpoint import Course
from mnv2_sweep.training.control import Control
from mnv2_sweep.training.loop import (
    begin_on,
    count_steps,
    evaluate_model,
    keeping,
    measure_model,
    open_course,
    read_targets,
    resume_course,
    say_result,
    take_step,
    train_course,
)
from mnv2_sweep.training.optimizer import make_optimizer
from mnv2_sweep.training.ways.probe import Probe, Probed, probe_trial, probed_network
from mnv2_sweep.training.ways.way import Rates, Setup, WayWork
from mnv2_sweep.trials.recipe import Recipe, length_text
from mnv2_sweep.trials.tasks import task_of
from mnv2_sweep.trials.trial import Result, Trial, trial_id
from mnv2_sweep.trials.ways import PROBED

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
        return f"a linear classifier on the features, then {length_text(trial.recipe)}"

    def own_seconds(self, trial: Trial, work: float, rates: Rates) -> float:
        return super().own_seconds(trial, work, rates) + WayWork.own_seconds(self, trial, work, rates)

    def run(self, trial: Trial, dataset: Dataset, setup: Setup, control: Control) -> Result:
        begin_on(setup.device)
        probed = probe_trial(trial, dataset, setup.device, control)
        course = resume_course(lambda: begin_tuning(trial, dataset, setup.device, probed), trial_id(trial), control)
        with keeping(course, trial_id(trial), control):
            tune_model(course, trial, dataset, control)
            course.take_average()
            measured = measure_model(course, trial, dataset, control)
            control.keep(trial, course.model, measured)
        result = _with_probe(measured, probed)
        said = f"{say_result(trial, result)} in {result.seconds:.1f} s, {compare_probe(trial, result)}"
        control.log(f"{arch_label(trial.arch)}: {said}")
        return result


@dataclass(slots=True)
class TuneCourse(Course):
    """A course with the average of the weights over the last steps, [tensors], which the trained network gets."""

    average: list[Tensor] = field(default_factory=list)

    def add_to_average(self, share: float) -> None:
        """Move the average towards the weights of now."""
        torch._foreach_lerp_(self.average, self._weights(), share)

    @torch.no_grad()
    def take_average(self) -> None:
        """Give the network the average of its weights."""
        torch._foreach_copy_(self._weights(), self.average)

    def _weights(self) -> list[Tensor]:
        return [tensor.detach() for tensor in self.model.state_dict().values() if tensor.is_floating_point()]

    def state(self) -> dict:
        return Course.state(self) | {"average": self.average}

    def restore(self, state: dict) -> None:
        Course.restore(self, state)
        torch._foreach_copy_(self.average, [tensor.to(self.device) for tensor in state["average"]])


def begin_tuning(trial: Trial, dataset: Dataset, device: str, probed: Probed) -> TuneCourse:
    """Begin with the weights under the probe's classifier."""
    torch.manual_seed(trial.seed)
    model = probed_network(trial, dataset, device, probed.linear)
    plain = open_course(model, trial, dataset, device)
    course = TuneCourse(model, layer_rates(model, trial), plain.order, device, began=plain.began, kept=plain.kept)
    course.average = [tensor.clone() for tensor in course._weights()]
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


def tune_model(course: TuneCourse, trial: Trial, dataset: Dataset, control: Control) -> None:
    """Train to the end of the trial's recipe, from wherever the course stands."""
    with course.set_aside():
        pixels = keep_on_device(train_level(dataset, trial.train_size), course.device)
        targets = read_targets(trial, dataset, "train", course.device)
    steps = count_steps(trial.recipe, course.order.count)[0]
    share, most = min(1.0, 1 / (AVERAGED_STEPS * steps)), trial.recipe.curve_images

    def step() -> Tensor:
        loss = take_step(course, trial, pixels, targets)
        course.add_to_average(share)
        return loss

    def evaluate() -> dict[str, float]:
        return evaluate_model(course.model, trial, dataset, "val", course.device, most, control)[0]

    train_course(course, trial, trial_id(trial), step, evaluate, control)


def _with_probe(result: Result, probed: Probed) -> Result:
    """Return the result with the probe's scores and seconds added."""
    scores = {
        split: own | {f"{PROBED}{name}": value for name, value in probed.scores[split].items() if name != "loss"}
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
