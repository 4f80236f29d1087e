"""Trials that differ in nothing but their seed -> their Results, from one network that trains all of them at once.

What a seed decides it decides here as well: first weights, the order of its images, their crops, what is dropped out.
Losses add up and optimizers work on single numbers, so no seed feels another, and each trains as `train.run_trial`
trains it alone, up to rounding. That is not the same number: the first steps of a deep network at a high rate make of
a rounding error another network (measured: of 1e-7 in the loss, 0.1 in ten steps), as another machine's rounding does.
A point of the curve and the Result are made from a plain network that takes one seed's weights after the other's.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from mnv2_sweep.archs.arch import arch_label
from mnv2_sweep.data.batches import apply_crops, draw_crops, image_batch, keep_on_device, label_tensor, train_level
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.errors import SweepError
from mnv2_sweep.models.stacked import stack_models
from mnv2_sweep.training.checkpoint import Course
from mnv2_sweep.training.control import Control, Interrupted
from mnv2_sweep.training.train import (
    UNCONTROLLED,
    begin_course,
    begin_on,
    count_steps,
    evaluate_model,
    look,
    make_optimizer,
    measure_model,
    train_course,
)
from mnv2_sweep.training.trial import Result, Trial


def train_stacked(
    trials: Sequence[Trial], dataset: Dataset, device: str = "cpu", control: Control = UNCONTROLLED
) -> list[Result | FloatingPointError]:
    """Train the seeds of one network together -> what `run_trial` would return or raise for each, in their order.

    A seed whose loss stops being a number ends with that FloatingPointError in its place; the others go on. Seconds
    are an equal share of the training and its looks, and the seed's own final evaluation: all seeds' together are the
    time it took. images_per_second is the seed's images over its share of the training's seconds, so it is the speed
    of all seeds together. peak_memory_bytes is that of all together.
    `control` is told the loss, speed and curve of all seeds together, means over those that still have a loss, and
    logs those of each. There are no checkpoints: a stopped training raises Interrupted and starts again next time.
    Raises SweepError unless the trials are different seeds of one MobileNetV2, recipe and data set.
    """
    check_seeds(trials)
    begin_on(device)
    stack = begin_stack(trials, dataset, device)
    course, recipe, first = stack.course, trials[0].recipe, trials[0]
    seeds = ", ".join(str(trial.seed) for trial in trials)
    steps = count_steps(recipe, course.order.count)[0]
    control.log(f"{arch_label(first.arch)}, seeds {seeds} as one: {steps} steps of {recipe.batch} each on {device}")
    whole = Control(partial(_report_all, control, len(trials)), control.should_stop, control.point)
    try:
        with course.set_aside():
            pixels = keep_on_device(train_level(dataset, first.train_size), device)
            labels = label_tensor(dataset, "train", device)
        try:
            train_course(
                course,
                recipe,
                owner="",  # of checkpoints, which there are none of
                step=lambda: take_stacked_step(stack, pixels, labels),
                top1=lambda: look_at_seeds(stack, dataset, control),
                control=whole,
            )
        except FloatingPointError:  # of every seed that was left: each gets its own
            look_at_seeds(stack, dataset, control)
        return measure_seeds(stack, dataset, control)
    except Interrupted:
        control.log(f"stopped after step {course.step}, as asked; nothing is kept of it")
        raise


def check_seeds(trials: Sequence[Trial]) -> None:
    """Raise SweepError unless these are different seeds of one trial, which is trained alone."""
    kinds = {replace(trial, seed=0) for trial in trials}
    if len(kinds) != 1:
        given = f"{len(kinds)} kinds of trials" if kinds else "no trial"
        raise SweepError(f"stack: {given} given, one allowed; stack the seeds of one network, recipe and data set")
    if kinds.pop().shared is not None:
        raise SweepError("stack: slices of shared weights given; stack networks that are trained alone")
    seeds = [trial.seed for trial in trials]
    if len(set(seeds)) < len(seeds):
        raise SweepError(f"stack: seeds {', '.join(map(str, seeds))} given; give every seed once")


@dataclass(slots=True)
class Stack:
    """Where a stacked training stands: the `course` of all, and each seed's own.

    A seed's course holds its image order, curve and share of the time. Their `model` is one plain network for all,
    with the weights of whoever was looked at last, and the optimizer is that of all. `losses` [S] are of the steps
    since the last look; `ended` has the seeds, by their place, whose loss is no number any more.
    """

    trials: Sequence[Trial]
    course: Course
    seeds: list[Course]
    losses: list[Tensor] = field(default_factory=list)
    ended: dict[int, FloatingPointError] = field(default_factory=dict)

    def in_turn(self) -> Iterator[tuple[int, Trial, Course]]:
        """(place, trial, course) of each seed still training, its course as if it had trained alone in its share of the
        time; the plain network has its weights until the next one's turn."""
        seconds, aside = self.course.seconds / len(self.seeds), self.course.aside / len(self.seeds)
        for at, (trial, own) in enumerate(zip(self.trials, self.seeds, strict=True)):
            if at not in self.ended:
                own.model.load_state_dict(self.course.model.seed_state(at))
                own.step, own.aside = self.course.step, aside
                own.began += own.seconds - seconds
                yield at, trial, own


def begin_stack(trials: Sequence[Trial], dataset: Dataset, device: str) -> Stack:
    """Each seed as it begins alone, and the network of them all. Raises SweepError where there can be none."""
    seeds, random_states = [], []
    for trial in trials:
        seeds.append(begin_course(trial, dataset, device))
        random_states.append(torch.cuda.get_rng_state() if device == "cuda" else torch.get_rng_state())
    arch = replace(trials[0].arch, classes=trials[0].data.classes)
    network = stack_models([own.model for own in seeds], arch, random_states).to(memory_format=torch.channels_last)
    optimizer, plain, last = make_optimizer(network, trials[0].recipe), seeds[0].model, seeds[-1]
    for own in seeds:
        own.model, own.optimizer = plain, optimizer
    # Of this order the loop asks nothing but how many images there are.
    course = Course(network, optimizer, seeds[0].order, device, began=last.began, kept=last.kept)
    return Stack(trials, course, seeds)


def take_stacked_step(stack: Stack, pixels: np.ndarray | Tensor, labels: Tensor) -> Tensor:
    """Train every seed on a batch of its own -> the mean of the losses that are numbers, still on the device."""
    course, recipe, count = stack.course, stack.trials[0].recipe, len(stack.seeds)
    device, size = course.device, stack.trials[0].train_size
    chosen = torch.cat([own.order.take(recipe.batch) for own in stack.seeds])
    crops = torch.cat([draw_crops(recipe.batch, recipe, own.order.generator) for own in stack.seeds])
    images = apply_crops(image_batch(pixels, chosen, device), size, crops)
    with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
        logits = course.model(images.unflatten(0, (count, -1)))
        each = nn.functional.cross_entropy(
            logits.flatten(0, 1), labels[chosen], reduction="none", label_smoothing=recipe.label_smoothing
        )
    losses = each.view(count, -1).mean(1)
    course.optimizer.zero_grad(set_to_none=True)
    losses.sum().backward()
    course.optimizer.step()
    stack.losses.append(losses.detach())
    return losses.detach().nan_to_num(math.nan, math.nan, math.nan).nanmean()


def look_at_seeds(stack: Stack, dataset: Dataset, control: Control) -> float:
    """Add a point to each seed's curve, or end it where its loss is no number -> mean top-1 of those that go on."""
    means, found = torch.stack(stack.losses).mean(0), []
    stack.losses.clear()
    for at, trial, own in stack.in_turn():
        own.losses = [means[at]]
        try:
            _look_at_seed(trial, own, dataset, control)
            found.append(own.curve[-1].val_top1)
        except FloatingPointError as error:
            stack.ended[at] = error
            _log_seed(control, trial, f"ended: {error}")
    return math.fsum(found) / len(found) if found else math.nan


def _look_at_seed(trial: Trial, own: Course, dataset: Dataset, control: Control) -> None:
    most = trial.recipe.curve_images

    def top1() -> float:
        return evaluate_model(own.model, dataset, "val", trial.train_size, own.device, most, control)[0]

    look(own, trial.recipe, top1, Control(log=partial(_log_seed, control, trial)))


def measure_seeds(stack: Stack, dataset: Dataset, control: Control) -> list[Result | FloatingPointError]:
    """Evaluate each seed; in the place of those that ended is why."""
    outcomes = dict(stack.ended)
    for at, trial, own in stack.in_turn():
        outcomes[at] = result = measure_model(own, trial, dataset, control)
        _log_seed(control, trial, f"top-1 {100 * result.val_top1:.2f} % in {result.seconds:.1f} s, its share")
    return [outcomes[at] for at in range(len(stack.seeds))]


def _report_all(control: Control, count: int, step: int, steps: int, loss: float, images_per_second: float) -> None:
    control.report(step, steps, loss, count * images_per_second)


def _log_seed(control: Control, trial: Trial, line: str) -> None:
    control.log(f"seed {trial.seed}: {line}")
