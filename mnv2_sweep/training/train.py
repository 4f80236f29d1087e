"""Trial -> Result: one network, trained and evaluated, the loop in plain view.

Deterministic on a CPU: on one machine the same trial gives the same numbers, however many workers run. (On a GPU it
trains in bfloat16 with kernels of which some are not repeatable.) Two streams of random
numbers keep comparisons paired: `seed` alone decides the order of the images and their crops and flips, so every
network of a sweep sees the same batches; weights and dropout draw from torch's own generator.
"""

import math
import resource
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from mnv2_sweep.data.batches import augment, image_batch, label_tensor, train_level
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.models.model import build_model
from mnv2_sweep.training.trial import CurvePoint, Recipe, Result, Trial

EVAL_BATCH = 64  # faster than 256 by 1.8 for 1.3 at 56 px on one core: the activations stay in the cache

Progress = Callable[[int, int, float, float], None]


def run_trial(trial: Trial, dataset: Dataset, device: str = "cpu", report: Progress = lambda *_: None) -> Result:
    """Train and evaluate one network; `report(step, steps, loss, images_per_second)` is called as it goes.

    Raises FloatingPointError when the training loss stops being a number.
    """
    torch.use_deterministic_algorithms(device == "cpu")
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.manual_seed(trial.seed)
    reset_peak_memory(device)
    recipe, size = trial.recipe, trial.train_size
    model = build_model(replace(trial.arch, classes=trial.data.classes))
    scale_shortcuts(model, recipe.shortcut_gain)
    model = model.to(device, memory_format=torch.channels_last)
    start = time.perf_counter()
    curve, train_loss, images, rate = train_model(model, dataset, recipe, size, trial.seed, device, report)
    val_top1, val_loss, val_images = evaluate_model(model, dataset, "val", size, device)
    test = evaluate_model(model, dataset, "test", size, device) if "test" in dataset.labels else (None, None, 0)
    return Result(
        val_top1, val_loss, val_images, *test, train_loss, images, curve,
        time.perf_counter() - start, rate, peak_memory_bytes(device), device,
    )  # fmt: skip


def train_model(
    model: nn.Module, dataset: Dataset, recipe: Recipe, size: int, seed: int, device: str, report: Progress
) -> tuple[tuple[CurvePoint, ...], float, int, float]:
    """Train in place -> curve, training loss of its last part, images seen, images per second.

    The curve has as many points as there are epochs and at least ten, evenly spaced, each with the top-1 of a few
    validation images; looking changes nothing, as evaluation draws no random numbers.
    """
    pixels, labels = train_level(dataset, size), label_tensor(dataset, "train", device)
    steps, steps_per_epoch = count_steps(recipe, len(pixels))
    points = min(steps, max(10, math.floor(steps / steps_per_epoch)))
    marks = {round(steps * point / points) for point in range(1, points + 1)}
    generator = torch.Generator().manual_seed(seed)
    optimizer = make_optimizer(model, recipe)
    model.train()
    curve, losses, start, looking = [], [], time.perf_counter(), 0.0
    for step, chosen in enumerate(batch_indices(len(pixels), recipe.batch, steps, generator)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, step, steps, len(pixels))
        images = augment(image_batch(pixels, chosen, device), size, recipe, generator)
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss = nn.functional.cross_entropy(model(images), labels[chosen], label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        done = step + 1
        if done in marks:
            mean = torch.stack(losses).mean().item()
            if not math.isfinite(mean):
                raise FloatingPointError(f"the training loss became {mean} by step {done} of {steps}; try a lower lr")
            pause = time.perf_counter()
            top1 = evaluate_model(model, dataset, "val", size, device, recipe.curve_images)[0]
            lr = optimizer.param_groups[0]["lr"]
            curve.append(CurvePoint(done / steps_per_epoch, done * recipe.batch, mean, lr, top1))
            losses.clear()
            model.train()
            looking += time.perf_counter() - pause
        if done % 10 == 0 or done == steps:
            report(done, steps, loss.item(), done * recipe.batch / (time.perf_counter() - start - looking))
    seconds = time.perf_counter() - start - looking
    return tuple(curve), curve[-1].train_loss, steps * recipe.batch, steps * recipe.batch / seconds


@torch.inference_mode()
def evaluate_model(
    model: nn.Module, dataset: Dataset, split: str, size: int, device: str, most: int | None = None
) -> tuple[float, float, int]:
    """Top-1 (a fraction), mean cross-entropy and number of images of a split, whole images at `size`.

    With `most`, of that many of its images, the same ones every time, drawn from all of it.
    """
    model.eval()
    pixels, labels = dataset.pixels(split, size), label_tensor(dataset, split, device)
    count = min(most or len(pixels), len(pixels))
    correct, loss = 0, 0.0
    drawn = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))[:count].sort().values
    for chosen in drawn.split(EVAL_BATCH):
        logits = model(augment(image_batch(pixels, chosen, device), size)).float()
        correct += (logits.argmax(1) == labels[chosen]).sum().item()
        loss += nn.functional.cross_entropy(logits, labels[chosen], reduction="sum").item()
    return correct / count, loss / count, count


def count_steps(recipe: Recipe, train_images: int) -> tuple[int, float]:
    """(optimizer steps of the whole schedule, steps per pass over the training images)."""
    per_epoch = train_images / recipe.batch
    wanted = recipe.images / recipe.batch if recipe.images is not None else recipe.epochs * per_epoch
    return max(1, round(wanted)), per_epoch


def batch_indices(count: int, batch: int, steps: int, generator: torch.Generator):
    """`steps` index tensors [batch]: shuffled passes over range(count), one after the other without a gap."""
    waiting = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        while len(waiting) < batch:
            waiting = torch.cat([waiting, torch.randperm(count, generator=generator)])
        yield waiting[:batch]
        waiting = waiting[batch:]


def learning_rate(recipe: Recipe, step: int, steps: int, train_images: int) -> float:
    """The rate of a step (from 0): see Recipe.schedule."""
    if recipe.schedule == "exponential":
        return recipe.lr * recipe.lr_decay ** (step * recipe.batch // train_images)
    warmup = recipe.warmup * steps
    if step < warmup:
        return recipe.lr * (step + 1) / (warmup + 1)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Weight decay on all weights, not on batch norm or biases (TF-slim spares depthwise kernels too).

    RMSProp has decay 0.9 (paper, section 6.1) and epsilon 1.0, TF-slim's, which the paper does not print; torch
    adds it outside the root.
    """
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if recipe.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, recipe.lr, alpha=0.9, eps=1.0, momentum=recipe.momentum)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, recipe.lr, betas=(recipe.momentum, 0.999))
    return torch.optim.SGD(groups, recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0)


def scale_shortcuts(model: nn.Module, gain: float) -> None:
    """Start the batch norm before each shortcut's addition at `gain`."""
    for norm in model.shortcut_norms():
        nn.init.constant_(norm.weight, gain)


def reset_peak_memory(device: str) -> None:
    """Forget the peak so far: a worker runs many trials, and each should report its own."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        with suppress(OSError):  # Linux only; elsewhere the peak is the process's
            Path("/proc/self/clear_refs").write_text("5")


def peak_memory_bytes(device: str) -> int:
    """Peak resident memory of this process since `reset_peak_memory`, or of the GPU's allocator."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    with suppress(OSError):  # Linux
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB
