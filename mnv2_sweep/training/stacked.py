"""Trials that differ in nothing but their seed -> their Results, from one network that trains all of them at once.

What a seed decides it decides here as well: first weights, the order of its images, their crops, what is dropped out.
Losses add up and optimizers work on single numbers, so no seed feels another, and each trains as `loop.run_trial`
trains it alone, up to rounding. That is not the same number: the first steps of a deep network at a high rate make of
a rounding error another network (measured: of 1e-7 in the loss, 0.1 in ten steps), as another machine's rounding does.
A point of the curve and the Result are made from a plain network that takes one seed's weights after the other's.

In a sweep the first of the trials trains them all and leaves what came of each in a file, where the others find theirs.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.data.batches import keep_on_device, train_level
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.models.convolution import fast_convolutions
from mnv2_sweep.models.stacked import stack_models
from mnv2_sweep.nets.arch import arch_label
from mnv2_sweep.training.batch import draw_batch, find_loss, join_batches
from mnv2_sweep.training.checkpoint import Course, describe_error, is_whole, read_packed, write_packed
from mnv2_sweep.training.control import Control, Interrupted
from mnv2_sweep.training.loop import (
    UNCONTROLLED,
    add_point,
    begin_course,
    begin_on,
    count_steps,
    evaluate_model,
    keeping,
    measure_model,
    read_targets,
    resume_course,
    run_trial,
    say_result,
    train_course,
)
from mnv2_sweep.training.optimizer import make_optimizer
from mnv2_sweep.trials.tasks import task_of, trained_arch
from mnv2_sweep.trials.trial import Result, Trial, dump_result, load_result, read_point, trial_header, trial_id

MOST_SEEDS = 8  # of one network trained as one: enough to fill a GPU's launches, and few to lose
STACKED_FAMILY = "mobilenet_v2"


def group_seeds(trials: Sequence[Trial]) -> dict[Trial, tuple[Trial, ...]]:
    """Group those of the trials, each of which could be trained alone, that can be trained together with others -> all
    that are trained with them, MOST_SEEDS at most. Other families are trained alone."""
    alike: dict[Trial, list[Trial]] = {}
    for trial in trials:
        if trial.arch.family == STACKED_FAMILY:
            alike.setdefault(replace(trial, seed=0), []).append(trial)
    groups = {}
    for some in alike.values():
        some.sort(key=lambda trial: trial.seed)
        parts = -(-len(some) // MOST_SEEDS)
        for at in range(parts):  # of about one size
            group = tuple(some[at::parts])
            groups |= dict.fromkeys(group, group) if len(group) > 1 else {}
    return groups


def run_stacked_trial(
    trial: Trial, paths: Mapping[Trial, Path], dataset: Dataset, device: str, control: Control
) -> Result:
    """Return or raise what `run_trial` does for the trial, as its file has it.

    `paths` are of the files of all seeds that are trained with it, its own among them. Where it has none, those
    without one are trained together, and each then has its own. Where a GPU has no room for them, the trial is trained
    alone.
    """
    outcome = read_seed(paths[trial], trial, control.log)
    if outcome is None:
        wanted = [own for own, path in paths.items() if not has_seed(path, own)]
        control.count_time(False)  # it is not the trial's alone
        try:
            outcomes = dict(zip(wanted, train_stacked(wanted, dataset, device, control), strict=True))
        except torch.OutOfMemoryError:  # of a GPU
            control.log(f"no memory for {len(wanted)} seeds at once; this one is trained alone")
            torch.cuda.empty_cache()
            control.count_time(True)
            return _run_alone(trial, paths[trial], dataset, device, control)
        for own, result in outcomes.items():
            write_seed(paths[own], own, result)
        control.count_time(True)
        outcome = outcomes[trial]
    if isinstance(outcome, FloatingPointError):
        raise outcome
    control.log(f"{say_result(trial, outcome)}, trained as one with other seeds")
    return outcome


def _run_alone(trial: Trial, path: Path, dataset: Dataset, device: str, control: Control) -> Result:
    """Run the trial alone, and leave the seed's file as well: then it is known that nobody has to wait for it."""
    try:
        outcome = run_trial(trial, dataset, device, control)
    except FloatingPointError as error:
        write_seed(path, trial, error)
        raise
    write_seed(path, trial, outcome)
    return outcome


def has_seed(path: Path, trial: Trial) -> bool:
    """Return whether `read_seed` would find the trial's outcome there."""
    return is_whole(path, trial_header(trial))


def read_seed(path: Path, trial: Trial, log: Callable[[str], None]) -> Result | FloatingPointError | None:
    """Read the trial's outcome; None where there is none that could be used."""
    try:
        _, state = read_packed(path, trial_header(trial))
        if "result" not in state:
            return FloatingPointError(state["ended"])
        each = state["each"].numpy().tobytes() if "each" in state else b""  # earlier versions kept none
        return replace(load_result(state["result"]), each=each)
    except FileNotFoundError:
        return None
    except Exception as error:  # damaged, or written by other code
        log(f"the seed's result is not used: {describe_error(error)}")
        return None


def write_seed(path: Path, trial: Trial, outcome: Result | FloatingPointError) -> None:
    """Write what `read_seed` reads. Raises OSError."""
    if isinstance(outcome, Result):
        each = torch.from_numpy(np.frombuffer(outcome.each, np.uint8).copy())  # torch.load knows no bytes
        state = {"result": dump_result(outcome), "each": each}
    else:
        state = {"ended": str(outcome)}
    write_packed(path, trial_header(trial), state)


def train_stacked(
    trials: Sequence[Trial], dataset: Dataset, device: str = "cpu", control: Control = UNCONTROLLED
) -> list[Result | FloatingPointError]:
    """Train the seeds of one network together -> what `run_trial` would return or raise for each, in their order.

    A seed whose loss stops being a number ends with that FloatingPointError in its place; the others go on. Seconds are
    an equal part of the training and of the points of its curve, and the seed's own final evaluation: all seeds'
    together are the time it took. images_per_second is the seed's images over its part of the training's seconds, so it
    is the speed of all seeds together. peak_memory_bytes is that of all together. `control` is told the loss, speed and
    curve of all seeds together, means over those that still have a loss, and logs those of each. Raises Interrupted
    when asked to stop; a checkpoint is of all seeds together. Raises SweepError unless the trials are different seeds
    of one MobileNetV2, recipe and data set.
    """
    check_seeds(trials)
    begin_on(device)
    recipe, first, owner = trials[0].recipe, trials[0], _owner(trials)
    course = resume_course(lambda: begin_stack(trials, dataset, device).course, owner, control)
    stack = course.stack
    seeds = ", ".join(str(trial.seed) for trial in trials)
    steps = count_steps(recipe, course.order.count)[0]
    control.log(f"{arch_label(first.arch)}, seeds {seeds} as one: {steps} steps of {recipe.batch} each on {device}")
    with keeping(course, owner, control):
        with course.set_aside():
            pixels = keep_on_device(train_level(dataset, first.train_size), device)
            targets = read_targets(first, dataset, "train", device)
        try:
            train_course(
                course,
                first,
                owner,
                step=lambda: take_stacked_step(stack, pixels, targets),
                evaluate=lambda: {task_of(first).main.name: add_points(stack, dataset, control)},
                control=replace(control, report=partial(_report_all, control, len(trials))),
            )
        except FloatingPointError:  # of every seed that was left: each gets its own
            add_points(stack, dataset, control)
        course.settle()
        return measure_seeds(stack, dataset, control)


def _owner(trials: Sequence[Trial]) -> str:
    """Return the owner of checkpoints: these seeds, in this order."""
    return hashlib.sha256(" ".join(map(trial_id, trials)).encode()).hexdigest()[:16]


def check_seeds(trials: Sequence[Trial]) -> None:
    """Raise SweepError unless these are different seeds of one trial, which is trained alone."""
    kinds = {replace(trial, seed=0) for trial in trials}
    if len(kinds) != 1:
        given = f"{len(kinds)} kinds of trials" if kinds else "no trial"
        raise SweepError(f"stack: {given} given, one allowed; stack the seeds of one network, recipe and data set")
    if (way := kinds.pop().way) != "alone":
        raise SweepError(f"stack: {way} weights given; stack networks that are trained alone")
    seeds = [trial.seed for trial in trials]
    if len(set(seeds)) < len(seeds):
        raise SweepError(f"stack: seeds {', '.join(map(str, seeds))} given; give every seed once")


@dataclass
class StackedCourse(Course):
    """The course of all seeds, with what is each one's own in its state."""

    stack: "Stack" = None

    def state(self) -> dict:
        return super().state() | {"stack": self.stack.state()}

    def restore(self, state: dict) -> None:
        super().restore(state)
        self.stack.restore(state["stack"])


@dataclass(slots=True)
class Stack:
    """Where a stacked training stands: the `course` of all, and each seed's own.

    A seed's course holds its image order, curve and part of the time. Their `model` is one plain network for all, with
    the weights of whoever was evaluated last, and the optimizer is that of all. `losses` [S] are of the steps since the
    last point of the curve; `ended` has the seeds, by their place, whose loss is no number any more.
    """

    trials: Sequence[Trial]
    course: StackedCourse
    seeds: list[Course]
    losses: list[Tensor] = field(default_factory=list)
    ended: dict[int, FloatingPointError] = field(default_factory=dict)

    def state(self) -> dict:
        """Return the state of the seeds' own; their weights are in the course's."""
        return {
            "orders": [own.order.state() for own in self.seeds],
            "curves": [[astuple(point) for point in own.curve] for own in self.seeds],
            "losses": torch.stack(self.losses) if self.losses else torch.empty(0),
            "ended": {at: str(error) for at, error in self.ended.items()},
            "random": [state.clone() for state in self.course.model.random_states],
        }

    def restore(self, state: dict) -> None:
        """Take over a state. May raise anything, halfway, if it is not one of such a stack."""
        for own, order, curve in zip(self.seeds, state["orders"], state["curves"], strict=True):
            own.order.restore(order)
            own.curve = [read_point(values) for values in curve]
        self.losses = list(state["losses"].to(self.course.device))
        self.ended = {at: FloatingPointError(text) for at, text in state["ended"].items()}
        self.course.model.random_states[:] = state["random"]

    def in_turn(self) -> Iterator[tuple[int, Trial, Course]]:
        """Yield (place, trial, course) of each seed still training, its course as if it had trained alone in its part
        of the time; the plain network has its weights until the next one's turn."""
        seconds, aside = self.course.seconds / len(self.seeds), self.course.aside / len(self.seeds)
        for at, (trial, own) in enumerate(zip(self.trials, self.seeds, strict=True)):
            if at not in self.ended:
                own.model.load_state_dict(self.course.model.seed_state(at))
                own.step, own.aside = self.course.step, aside
                own.began += own.seconds - seconds
                yield at, trial, own


def begin_stack(trials: Sequence[Trial], dataset: Dataset, device: str) -> Stack:
    """Begin each seed as it begins alone, and the network of them all. Raises SweepError where there can be none."""
    seeds, random_states = [], []
    for trial in trials:
        seeds.append(begin_course(trial, dataset, device))
        random_states.append(torch.cuda.get_rng_state() if device == "cuda" else torch.get_rng_state())
    models = [own.model for own in seeds]
    network = stack_models(models, trained_arch(trials[0]), random_states).to(memory_format=torch.channels_last)
    optimizer, plain, last = make_optimizer(network, trials[0].recipe), seeds[0].model, seeds[-1]
    for own in seeds:
        own.model, own.optimizer = plain, optimizer
        own.begin_average(0.0)  # that is one of all
    # The loop asks nothing of this order but how many images there are.
    course = StackedCourse(network, optimizer, seeds[0].order, device, began=last.began, kept=last.kept)
    course.begin_average(trials[0].recipe.average)
    course.stack = Stack(trials, course, seeds)
    return course.stack


def take_stacked_step(stack: Stack, pixels: np.ndarray | Tensor, targets: Tensor) -> Tensor:
    """Train every seed on a batch of its own -> the mean of the losses that are numbers, still on the device."""
    course, trial, count = stack.course, stack.trials[0], len(stack.seeds)
    device, recipe, orders = course.device, trial.recipe, [own.order for own in stack.seeds]
    batch = join_batches(
        [draw_batch(targets, own.take(recipe.batch), trial, own.generator, own.weights) for own in orders]
    )
    images = batch.images(pixels, trial.train_size, device)
    with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"), fast_convolutions(course.model):
        outputs = course.model(images.unflatten(0, (count, -1)))
        each = find_loss(outputs.flatten(0, 1), batch, trial, each=True)
    losses = each.view(count, -1).mean(1)
    course.optimizer.zero_grad(set_to_none=True)
    losses.sum().backward()
    course.optimizer.step()
    stack.losses.append(losses.detach())
    return losses.detach().nan_to_num(math.nan, math.nan, math.nan).nanmean()


def add_points(stack: Stack, dataset: Dataset, control: Control) -> float:
    """Add a point to each seed's curve, or end it where its loss is no number -> mean score of those that go on."""
    means, found, ended = torch.stack(stack.losses).mean(0), [], {}
    before = [len(own.curve) for own in stack.seeds]
    try:
        with stack.course.averaged():
            for at, trial, own in stack.in_turn():
                own.losses = [means[at]]
                try:
                    _add_seed_point(trial, own, dataset, control)
                    found.extend(own.curve[-1].scores.values())
                except FloatingPointError as error:
                    ended[at] = error
                    _log_seed(control, trial, f"ended: {error}")
    except Interrupted:  # as `loop.add_point`: until it is over nothing has changed
        for own, points in zip(stack.seeds, before, strict=True):
            del own.curve[points:]
        raise
    stack.losses.clear()
    stack.ended |= ended
    return math.fsum(found) / len(found) if found else math.nan


def _add_seed_point(trial: Trial, own: Course, dataset: Dataset, control: Control) -> None:
    most, control_of_seed = trial.recipe.curve_images, Control(log=partial(_log_seed, control, trial))

    def evaluate() -> dict[str, float]:
        return evaluate_model(own.model, trial, dataset, "val", own.device, most, control)[0]

    add_point(own, trial.recipe, task_of(trial).main, evaluate, control_of_seed)


def measure_seeds(stack: Stack, dataset: Dataset, control: Control) -> list[Result | FloatingPointError]:
    """Evaluate each seed; in the place of those that ended is why."""
    outcomes = dict(stack.ended)
    for at, trial, own in stack.in_turn():
        outcomes[at] = result = measure_model(own, trial, dataset, control)
        _log_seed(control, trial, f"{say_result(trial, result)} in {result.seconds:.1f} s, its share")
    for at, trial, own in stack.in_turn():  # now that nobody's seconds count it
        control.keep(trial, own.model, outcomes[at])
    return [outcomes[at] for at in range(len(stack.seeds))]


def _report_all(control: Control, count: int, step: int, steps: int, loss: float, images_per_second: float) -> None:
    control.report(step, steps, loss, count * images_per_second)


def _log_seed(control: Control, trial: Trial, line: str) -> None:
    control.log(f"seed {trial.seed}: {line}")
