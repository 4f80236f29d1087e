"""Trials -> seconds each will take here, from a few timed steps of the cheapest and the dearest network.

Time an image is taken as a constant plus a rate times the MAdds at the trained size, through the two probes;
an evaluated image as a third of a trained one (measured: forward is about a third of forward and backward).
"""

import time
from collections.abc import Sequence
from dataclasses import replace

import torch

from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.models.model import build_model
from mnv2_sweep.sweeps.sweep import trained_madds
from mnv2_sweep.training.train import count_steps, make_optimizer
from mnv2_sweep.training.trial import Trial

WARM_STEPS, TIMED_STEPS = 2, 4
EVAL_SHARE = 1 / 3
PROBE_PIXELS = 64 * 224**2  # in a batch, at most: the probe runs beside whatever else this machine does


def estimate_seconds(trials: Sequence[Trial], dataset: Dataset, device: str) -> dict[Trial, float]:
    """Seconds of each trial on one worker, or 0 for all where the dearest network does not fit into memory.

    Takes a few seconds itself; runs single-threaded like a worker.
    """
    if not trials:
        return {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        madds = {trial: trained_madds(trial) for trial in trials}
        low, high = min(trials, key=madds.get), max(trials, key=madds.get)
        low_seconds, high_seconds = image_seconds(low, device), image_seconds(high, device)
    except (MemoryError, RuntimeError) as error:  # torch says out of memory with either
        if isinstance(error, MemoryError) or "memory" in str(error):
            return dict.fromkeys(trials, 0.0)  # the trial itself will say it again
        raise
    finally:
        torch.set_num_threads(threads)
        if device == "cuda":
            torch.cuda.empty_cache()  # the workers need it
    span = madds[high] - madds[low]
    rate = max(0.0, high_seconds - low_seconds) / span if span else 0.0
    evaluated = sum(len(labels) for split, labels in dataset.labels.items() if split != "train")

    def seconds(trial: Trial) -> float:
        steps, per_epoch = count_steps(trial.recipe, len(dataset.labels["train"]))
        looks = min(steps, max(10, steps // per_epoch)) * min(trial.recipe.curve_images, len(dataset.labels["val"]))
        images = steps * trial.recipe.batch + EVAL_SHARE * (evaluated + looks)
        return images * (low_seconds + rate * (madds[trial] - madds[low]))

    return {trial: seconds(trial) for trial in trials}


def image_seconds(trial: Trial, device: str) -> float:
    """Median seconds a training image, over a few steps on random images (no augmentation)."""
    torch.manual_seed(0)
    recipe, size = trial.recipe, trial.train_size
    batch = min(recipe.batch, max(2, PROBE_PIXELS // size**2))
    model = build_model(replace(trial.arch, classes=trial.data.classes)).to(device, memory_format=torch.channels_last)
    optimizer = make_optimizer(model, recipe)
    images = torch.randn(batch, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(batch, device=device) % trial.data.classes
    times = []
    for _ in range(WARM_STEPS + TIMED_STEPS):
        start = time.perf_counter()
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()  # waits for the device
        times.append(time.perf_counter() - start)
    return sorted(times[WARM_STEPS:])[TIMED_STEPS // 2] / batch


def device_name(device: str) -> str | None:
    """The GPU's name."""
    return torch.cuda.get_device_name() if device == "cuda" else None


def wall_seconds(seconds: Sequence[float], workers: int) -> float:
    """Wall time of trials on `workers`, longest first, each next one on the worker that is free first."""
    free = [0.0] * max(1, workers)
    for duration in sorted(seconds, reverse=True):
        at = free.index(min(free))
        free[at] += duration
    return max(free)
