"""Trial -> Result: one network, trained and evaluated, the loop in plain view.

Deterministic on a CPU: on one machine the same trial gives the same numbers, however many workers run. (On a GPU it
trains in bfloat16 with kernels of which some are not repeatable.) Two streams of random numbers keep comparisons
paired: `seed` alone decides the order of the images and their crops and flips, so every network of a sweep sees the
same batches; weights and dropout draw from torch's own generator.
"""

import math
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mnv2_sweep.data.batches import keep_on_device, train_level, whole_batch, whole_pixels
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.models.convolution import fast_convolutions
from mnv2_sweep.nets.arch import arch_label
from mnv2_sweep.tasks.task import Scorer
from mnv2_sweep.training.batch import draw_batch, find_loss, weigh_images
from mnv2_sweep.training.checkpoint import (
    BatchOrder,
    Course,
    describe_error,
    read_checkpoint,
    remove_checkpoint,
    write_checkpoint,
)
from mnv2_sweep.training.control import Control, Interrupted
from mnv2_sweep.training.cuda_graphs import forget_graphs, graph_passes
from mnv2_sweep.training.optimizer import make_optimizer
from mnv2_sweep.training.start import begin_network
from mnv2_sweep.trials.recipe import Recipe
from mnv2_sweep.trials.tasks import Score, task_of, work_of
from mnv2_sweep.trials.terms import pack_terms
from mnv2_sweep.trials.trial import SPLITS, CurvePoint, Result, Trial, trial_id

EVAL_BATCH = 64  # faster than 256 by 1.8 for 1.3 at 56 px on one core: the activations stay in the cache
LOSS_STEPS = 10  # on a GPU the loss is fetched once in so many steps, as that waits for it

UNCONTROLLED = Control()


def run_trial(
    trial: Trial, dataset: Dataset, device: str = "cpu", control: Control = UNCONTROLLED, graphs: bool = False
) -> Result:
    """Train and evaluate one network, going on from its checkpoint where it has one; its checkpoint ends with it. With
    `graphs`, on a GPU, as CUDA graphs where they are faster.

    Raises FloatingPointError when the training loss stops being a number, Interrupted when asked to stop.
    """
    begin_on(device)
    course = resume_course(lambda: begin_course(trial, dataset, device), trial_id(trial), control)
    if not graphs or device != "cuda":
        return finish_course(course, trial, dataset, control)
    with course.set_aside():
        images = torch.zeros(trial.recipe.batch, trial.arch.in_channels, *trial.train_size, device=device)
        graph_passes(course.model.train(), images, control.log)
    try:
        return finish_course(course, trial, dataset, control)
    finally:
        forget_graphs(course.model)


def finish_course(course: Course, trial: Trial, dataset: Dataset, control: Control) -> Result:
    """Train to the end, evaluate and keep; the checkpoint ends with it. Raises as run_trial."""
    steps = count_steps(trial.recipe, course.order.count)[0]
    control.log(
        f"{arch_label(trial.arch)}, seed {trial.seed}: {steps} steps of {trial.recipe.batch} on {course.device}"
    )
    with keeping(course, trial_id(trial), control):
        train_model(course, trial, dataset, control)
        course.settle()
        result = measure_model(course, trial, dataset, control)
        control.keep(trial, course.model, result)
    control.log(f"{say_result(trial, result)} in {result.seconds:.1f} s")
    return result


def say_result(trial: Trial, result: Result) -> str:
    """Say the main score on the validation images, as in "top-1 93.42 %"."""
    main = task_of(trial).main
    return main.said(result.score("val", main.name), 2)


@contextmanager
def keeping(course: Course, owner: str, control: Control) -> Iterator[None]:
    """Keep the checkpoint where the course is interrupted, and remove it when the course has ended or diverged."""
    try:
        yield
    except Interrupted:
        keep_course(course, owner, control)
        control.log(f"stopped after step {course.step}, as asked")
        raise
    except FloatingPointError:  # going on would only get there again
        forget_course(control)
        raise
    forget_course(control)


def begin_on(device: str) -> None:
    """Make this process repeatable, and count its peak memory from here."""
    make_repeatable(device)
    reset_peak_memory(device)


def make_repeatable(device: str) -> None:
    """Make the same numbers come out again: all of them on a CPU, what cuDNN has to offer on a GPU."""
    torch.use_deterministic_algorithms(device == "cpu")
    torch.utils.deterministic.fill_uninitialized_memory = False  # with numbers nobody reads: it costs time
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def begin_course(trial: Trial, dataset: Dataset, device: str) -> Course:
    """Begin with a network's first weights, and the random numbers of the trial's seed."""
    torch.manual_seed(trial.seed)
    model = begin_network(trial, dataset, device)
    return open_course(model, trial, dataset, device)


def open_course(model: nn.Module, trial: Trial, dataset: Dataset, device: str) -> Course:
    """Return the course of the model before the first step of the trial's recipe."""
    labels, generator = dataset.labels["train"], torch.Generator().manual_seed(trial.seed)
    order = BatchOrder(len(labels), generator, weigh_images(trial, labels), trial.recipe.balance == "sampler")
    now = time.perf_counter()
    course = Course(model, make_optimizer(model, trial.recipe), order, device, began=now, kept=now)
    course.begin_average(trial.recipe.average)
    return course


def resume_course(begin: Callable[[], Course], owner: str, control: Control) -> Course:
    """Return the course as its checkpoint has it, or from the beginning."""
    course = begin()
    state = control.checkpoint and read_checkpoint(control.checkpoint, owner, course.device, control.log)
    if not state:
        return course
    try:
        course.restore(state)
    except Exception as error:  # written by other code under the same version; nothing is lost but time
        control.log(f"the checkpoint is not used: {describe_error(error)}")
        return begin()
    control.log(f"resumed after step {course.step}")
    return course


def keep_course(course: Course, owner: str, control: Control) -> None:
    """Write the checkpoint, if one is wanted."""
    if control.checkpoint is None:
        return
    course.peak_bytes = max(course.peak_bytes, peak_memory_bytes(course.device))
    with course.set_aside():
        write_checkpoint(control.checkpoint, owner, course, control.log)
    course.kept = time.perf_counter()


def forget_course(control: Control) -> None:
    if control.checkpoint is not None:
        remove_checkpoint(control.checkpoint)


def train_model(course: Course, trial: Trial, dataset: Dataset, control: Control) -> None:
    """Train the network to the end, from wherever the course stands."""
    with course.set_aside():
        pixels = keep_on_device(train_level(dataset, trial.train_size), course.device)
        targets = read_targets(trial, dataset, "train", course.device)
    most = trial.recipe.curve_images

    def evaluate() -> dict[str, float]:
        with course.averaged():
            return evaluate_model(course.model, trial, dataset, "val", course.device, most, control)[0]

    train_course(course, trial, trial_id(trial), lambda: take_step(course, trial, pixels, targets), evaluate, control)


def read_targets(trial: Trial, dataset: Dataset, split: str, device: str) -> Tensor:
    """Return the targets of a split's images, on the device."""
    return work_of(trial).read_targets(dataset, split, trial.train_size, device)


def train_course(
    course: Course,
    trial: Trial,
    owner: str,
    step: Callable[[], Tensor],
    evaluate: Callable[[], dict[str, float]],
    control: Control,
) -> None:
    """Train to the end of the trial's recipe, from wherever the course stands: `step` trains on one batch and returns
    its loss, still on the device; `evaluate` returns scores for a point of the curve; `owner` names the checkpoints."""
    recipe, images, device = trial.recipe, course.order.count, course.device
    steps, steps_per_epoch = count_steps(recipe, images)
    shown = math.nan
    for mark in curve_marks(steps, steps_per_epoch)[len(course.curve) :]:
        course.model.train()
        while course.step < mark:
            for group in course.optimizer.param_groups:
                group["lr"] = group.get("scale", 1.0) * learning_rate(recipe, course.step, steps, images)
            loss = step()
            course.after_step()
            course.losses.append(loss)
            course.step += 1
            if device == "cpu" or math.isnan(shown) or course.step % LOSS_STEPS == 0 or course.step == steps:
                shown = loss.item()  # waits for a GPU
            control.report(course.step, steps, shown, course.images_per_second(recipe.batch))
            check_stop(control)
            if time.perf_counter() - course.kept >= control.checkpoint_seconds:
                keep_course(course, owner, control)
        add_point(course, recipe, task_of(trial).main, evaluate, control)
        if course.step == steps:  # what follows can take minutes
            keep_course(course, owner, control)


def curve_marks(steps: int, steps_per_epoch: float) -> list[int]:
    """Return the steps after which the curve has a point: as many as there are epochs and at least ten, evenly
    spaced."""
    points = min(steps, max(10, math.floor(steps / steps_per_epoch)))
    return [round(steps * point / points) for point in range(1, points + 1)]


def take_step(course: Course, trial: Trial, pixels: np.ndarray | Tensor, targets: Tensor) -> Tensor:
    """Train on one batch -> its loss, still on the device."""
    device, optimizer, order = course.device, course.optimizer, course.order
    batch = draw_batch(targets, order.take(trial.recipe.batch), trial, order.generator, order.weights)
    images = batch.images(pixels, trial.train_size, device)
    with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"), fast_convolutions(course.model):
        loss = find_loss(course.model(images), batch, trial)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.detach()


def add_point(
    course: Course, recipe: Recipe, main: Score, evaluate: Callable[[], dict[str, float]], control: Control
) -> None:
    """Add a point to the curve, with the main score on a few validation images.

    It changes nothing else, as evaluation draws no random numbers, and until it is over the course stands where it
    stood before: stopped here, a trial goes on with the whole evaluation.
    """
    steps, steps_per_epoch = count_steps(recipe, course.order.count)
    mean = torch.stack(course.losses).mean().item()
    if not math.isfinite(mean):
        raise FloatingPointError(f"the training loss became {mean} by step {course.step} of {steps}; try a lower lr")
    with course.set_aside():
        scores = {main.name: evaluate()[main.name]}
    lr = course.optimizer.param_groups[0]["lr"]
    point = CurvePoint(course.step / steps_per_epoch, course.step * recipe.batch, mean, lr, scores)
    course.curve.append(point)
    course.losses.clear()
    control.point(point)
    speed = course.images_per_second(recipe.batch)
    control.log(f"step {course.step}: loss {mean:.4f}, {main.said(scores[main.name])}, {speed:,.0f} images/s")


def measure_model(course: Course, trial: Trial, dataset: Dataset, control: Control) -> Result:
    """Evaluate the trained network."""
    with course.set_aside():
        measured = evaluate_splits(course.model, trial, dataset, course.device, control)
    batch, device = trial.recipe.batch, course.device
    peak_bytes = max(course.peak_bytes, peak_memory_bytes(device))
    return Result(
        *measured[:2], course.curve[-1].train_loss, course.step * batch, tuple(course.curve),
        course.seconds, course.images_per_second(batch), peak_bytes, device, measured.each,
    )  # fmt: skip


class Measured(NamedTuple):
    """Scores by split and name, how many images each split has, and what the network made of each of them."""

    scores: dict[str, dict[str, float]]
    images: dict[str, int]
    each: bytes


def evaluate_splits(model: nn.Module, trial: Trial, dataset: Dataset, device: str, control: Control) -> Measured:
    """Measure the network on the validation and test images; on splits that the data have."""
    splits = [split for split in SPLITS if split in dataset.labels]
    return sum_up({split: run_split(model, trial, dataset, split, device, control=control) for split in splits})


def sum_up(scored: Mapping[str, tuple[Scorer, int]]) -> Measured:
    """Return what the scorers of some splits, each with its number of images, have come to."""
    terms = {
        split: {name: values.cpu().numpy() for name, values in scorer.terms().items()}
        for split, (scorer, _) in scored.items()
    }
    scores = {split: scorer.scores() for split, (scorer, _) in scored.items()}
    return Measured(scores, {split: count for split, (_, count) in scored.items()}, pack_terms(terms))


def check_stop(control: Control) -> None:
    if control.should_stop():
        raise Interrupted("asked to stop")


def evaluate_model(
    model: nn.Module, trial: Trial, dataset: Dataset, split: str, device: str, most: int | None = None,
    control: Control = UNCONTROLLED,
) -> tuple[dict[str, float], int]:  # fmt: skip
    """Return the scores of the trial's task on a split, and on how many images; see `run_split`."""
    scorer, count = run_split(model, trial, dataset, split, device, most, control)
    return scorer.scores(), count


@torch.inference_mode()
def run_split(
    model: nn.Module, trial: Trial, dataset: Dataset, split: str, device: str, most: int | None = None,
    control: Control = UNCONTROLLED,
) -> tuple[Scorer, int]:  # fmt: skip
    """Return the scorer of the trial's task with a split's images, whole ones at the trained size (their middle, with
    Recipe.eval_crop), and how many these are.

    With `most`, that many of its images are used, the same ones every time, drawn from all of it. Raises Interrupted
    before a batch when asked to stop.
    """
    model.eval()
    scorer = work_of(trial).scorer()
    pixels, targets = whole_pixels(dataset, split, trial), read_targets(trial, dataset, split, device)
    count = min(most or len(pixels), len(pixels))
    drawn = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))[:count].sort().values
    for chosen in drawn.split(EVAL_BATCH):
        check_stop(control)
        images = whole_batch(pixels, chosen, trial, device)
        outputs = model(images)
        outputs = outputs.float() if isinstance(outputs, Tensor) else [one.float() for one in outputs]
        scorer.add(outputs, targets[chosen])
    return scorer, count


def count_steps(recipe: Recipe, train_images: int) -> tuple[int, float]:
    """Return (optimizer steps of the whole schedule, steps per pass over the training images)."""
    per_epoch = train_images / recipe.batch
    wanted = recipe.images / recipe.batch if recipe.images is not None else recipe.epochs * per_epoch
    return max(1, round(wanted)), per_epoch


def learning_rate(recipe: Recipe, step: int, steps: int, train_images: int) -> float:
    """Return the rate of a step (from 0): see Recipe.schedule."""
    if recipe.schedule == "exponential":
        return recipe.lr * recipe.lr_decay ** (step * recipe.batch // (train_images * recipe.decay_epochs))
    warmup = recipe.warmup * steps
    if step < warmup:
        return recipe.lr * (step + 1) / (warmup + 1)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def reset_peak_memory(device: str) -> None:
    """Forget the peak so far: a worker runs many trials, and each should report its own."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        with suppress(OSError):  # Linux only; elsewhere the peak is the process's
            Path("/proc/self/clear_refs").write_text("5")


def peak_memory_bytes(device: str) -> int:
    """Return the peak resident memory of this process since `reset_peak_memory`, or of the GPU's allocator."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    with suppress(OSError):  # Linux
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB
