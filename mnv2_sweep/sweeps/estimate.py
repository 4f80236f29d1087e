"""Trials -> TimeEstimate: what they will take on this machine, from a few steps of three of their networks.

Three timings, of the cheapest, the dearest and a middle network, give the machine's speed. What lies between follows
`count_work`, a rough model of training time whose figures were measured once: 74 networks of four families, in batches
of 16 and 64 on one core, lie within 22 % of it up to 56 px (MAdds alone are off by up to a factor of 10: small networks
wait for memory, and for the start of each operation). Times are interpolated between the timings against it, both as
logarithms, so only its shape has to be right.

The time of making images is added, of those sizes that are not in the cache yet, which `sweeps.request` makes before
the first trial: embedded data are rendered, photos are shrunk from the squares into which they were decoded when the
data were opened, and decoded anew for rectangles.
"""

import math
import os
import time
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import psutil
import torch
from PIL import Image

from mnv2_sweep.base.places import cache_folder
from mnv2_sweep.base.size import Size
from mnv2_sweep.base.text import bytes_text, duration, percent
from mnv2_sweep.data.batches import level_size
from mnv2_sweep.data.catalog import Dataset, DrawnData
from mnv2_sweep.data.decode import RESAMPLING
from mnv2_sweep.data.drawing import CHUNK_PIXELS
from mnv2_sweep.data.photos import PhotoData
from mnv2_sweep.data.source import decode_one
from mnv2_sweep.nets.arch import ArchSpec, arch_label
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.resolve import resolve
from mnv2_sweep.sweeps.budget import TimeEstimate
from mnv2_sweep.sweeps.timing import DoesNotFit, Timing, shared_bytes, time_here, time_team
from mnv2_sweep.training.linear import time_fit
from mnv2_sweep.training.loop import count_steps, curve_marks
from mnv2_sweep.training.ways.way import Rates, spread_seconds
from mnv2_sweep.trials.pixels import whole_level
from mnv2_sweep.trials.tasks import trained_network
from mnv2_sweep.trials.trial import Trial

# Work in multiply-adds: of an activation element; of a layer and of a parameter, each step.
ELEMENT_WORK, LAYER_WORK, PARAM_WORK = 130, 7.2e6, 140
# Around the workers: the command's own start, and pandas, matplotlib and the plot at its end, together about two starts
# of a worker; and its own rough estimate of the time.
COMMAND_STARTS, ESTIMATE_SECONDS = 2.0, 3.0
MOST_START_SECONDS = 10.0
QUIET_FRACTION = 0.85  # of a core: less is other programs' doing, and is said
TRIAL_BYTES, POINT_BYTES, SWEEP_BYTES = 8_000, 300, 500_000  # of a row, its log and events; of plots and the rest
OPTIMIZER_FLOATS = {"sgd": 1, "rmsprop": 2, "adamw": 2, "rmsprop_tf": 2}  # kept for each parameter
TIMED_PHOTOS = 32


def estimate_sweep(
    trials: Sequence[Trial],
    dataset: Dataset,
    data_name: str,
    device: str,
    workers: int,
    alone: bool = False,
    trained: Collection[str] = (),
) -> TimeEstimate:
    """Estimate what training the trials takes; `trained` names the preparations (`WayWork.preparation`)
    that have been made.

    Takes about 10 s: processes that import torch, then 2 s for each of three networks. `alone` measures two of them in
    this process, without the contention of the others: about 3 s, and rougher.
    """
    workers = max(1, min(workers, len(trials)))
    if not trials:
        return TimeEstimate({}, workers, device, {})
    kinds = {(trial.arch, trial.recipe): trial for trial in trials}.values()
    works = {trained_network(trial): count_work(trial) for trial in kinds}
    chosen = choose_timed(trials, works)[: 2 if alone else 3]
    try:
        if alone:
            start_seconds = min(time.process_time(), MOST_START_SECONDS)  # this process has started just now itself
            timings = time_here(chosen, device)
        else:
            timings, start_seconds = time_team(chosen, data_name, cache_folder(), device, workers)
    except (DoesNotFit, TimeoutError) as error:
        why = "does not fit into memory" if isinstance(error, DoesNotFit) else "did not end a few steps within minutes"
        return TimeEstimate(
            {}, workers, device, {}, unknown=f"the dearest network, {arch_label(chosen[0].arch)}, {why}"
        )
    points = {works[trained_network(trial)]: timing for trial, timing in zip(chosen, timings, strict=True)}
    estimate = add_up(trials, works, points, start_seconds, dataset, workers, device, trained)
    return replace(estimate, probed=tuple(chosen), notes=tuple(estimate_notes(estimate)))


def add_up(
    trials: Sequence[Trial], works: Mapping[ArchSpec, float], points: Mapping[float, Timing], start_seconds: float,
    dataset: Dataset, workers: int, device: str, trained: Collection[str] = (),
) -> TimeEstimate:  # fmt: skip
    """Return the estimate, from the timings at some works and the seconds of computing with which a worker starts."""
    timings = tuple(points.values())
    fraction = max(0.01, float(np.mean([timing.cpu_fraction for timing in timings])))
    files = image_files(dataset, {trial.train_size for trial in trials}, trials[0].recipe.eval_crop)
    cache_bytes = sum(file.bytes for file in {file for made in files.values() for file in made} if not file.cached)
    return TimeEstimate(
        trial_seconds=spread_timings(trials, works, points, fraction, dataset, trained),
        workers=workers,
        device=device,
        size_seconds={size: seconds / fraction for size, seconds in make_seconds(dataset, files).items()},
        start_seconds=start_seconds / fraction,
        command_seconds=(COMMAND_STARTS * start_seconds + ESTIMATE_SECONDS) / fraction,
        memory_bytes=count_memory(timings, files, workers),
        gpu_bytes=workers * max(timing.gpu_bytes for timing in timings),
        disk_bytes=cache_bytes + count_disk(trials, dataset, workers),
        cache_bytes=cache_bytes,
        cpu_fraction=fraction,
    )


def count_work(trial: Trial) -> float:
    """Return what training an image takes, in a unit of the model's own: see the module."""
    layers = resolve(trained_network(trial)).layers
    params = sum(layer.params for layer in layers)
    each_image = sum(layer.madds + ELEMENT_WORK * layer.output_elements for layer in layers)
    return each_image + (LAYER_WORK * len(layers) + PARAM_WORK * params) / trial.recipe.batch


def choose_timed(trials: Sequence[Trial], works: Mapping[ArchSpec, float]) -> list[Trial]:
    """Choose the dearest, the cheapest and the one nearest to their geometric mean; fewer where they are the same.

    The dearest comes first: what does not fit is known at once.
    """
    by_work = {works[trained_network(trial)]: trial for trial in reversed(trials)}
    low, high = min(by_work), max(by_work)
    middle = min(by_work, key=lambda work: abs(np.log(work * work / (low * high))))
    return [by_work[work] for work in dict.fromkeys((high, low, middle))]


# ---------------------------------------------------------------- seconds of the trials


def spread_timings(
    trials: Sequence[Trial],
    works: Mapping[ArchSpec, float],
    points: Mapping[float, Timing],
    fraction: float,
    data: Dataset,
    trained: Collection[str] = (),
) -> dict[Trial, float]:
    """Return the wall seconds of every trial on a worker that gets this fraction of a core, from the timings at some
    works.

    The trials have one recipe, as those of a sweep.
    """
    of_image, of_evaluated, of_start = (
        interpolate({work: getattr(timing, name) for work, timing in points.items()})
        for name in ("image_seconds", "eval_seconds", "start_seconds")
    )
    return spread_seconds(trials, Rates(data, works, of_image, of_evaluated, of_start, time_fit), trained, fraction)


def interpolate(points: Mapping[float, float]) -> Callable[[float], float]:
    """Return straight lines between the points, both coordinates as logarithms; beyond the ends the value there."""
    works, values = zip(*sorted((work, max(value, 1e-9)) for work, value in points.items()), strict=True)

    def interpolated(work: float) -> float:
        right = bisect_right(works, work)
        left = right - 1
        if right in (0, len(works)):
            return values[max(0, left)]
        # Ratios are taken, as the logarithms of two nearly equal works may be the same number.
        fraction = math.log(work / works[left]) / math.log(works[right] / works[left])
        return values[left] * (values[right] / values[left]) ** fraction

    return interpolated


# ---------------------------------------------------------------- seconds of making the images


class ImageFile(NamedTuple):
    """The images of a split at a size, and whether the cache has them."""

    split: str
    size: Size
    images: int
    cached: bool

    @property
    def bytes(self) -> int:
        return self.images * 3 * self.size.area


def image_files(dataset: Dataset, sizes: Iterable[Size], eval_crop: float = 1.0) -> dict[Size, list[ImageFile]]:
    """Return the files that each training size reads (see data.batches). Data that keep no files have none."""
    folder = getattr(dataset, "folder", None)
    if folder is None:
        return {size: [] for size in sizes}
    stored_size = getattr(dataset, "stored_size", lambda size: size)
    files = {}
    for size in sorted(sizes):
        whole = whole_level(size, eval_crop)
        kept = {split: stored_size(level_size(size) if split == "train" else whole) for split in dataset.labels}
        files[size] = [
            ImageFile(split, stored, len(dataset.labels[split]), (folder / f"{split}-{stored}.npy").exists())
            for split, stored in kept.items()
        ]
    return files


def make_seconds(dataset: Dataset, files: dict[Size, list[ImageFile]]) -> dict[Size, float]:
    """Return the seconds of computing until the files of each training size are there.

    Seconds an image are a line over its pixels (measured of squares between 30 and 224 px: within 5 %), through the
    smallest and the largest size; rectangles have a line of their own, as photos are decoded anew for them.
    """
    wanted = {file.size for made in files.values() for file in made if not file.cached}
    lines = {}
    for squares in (True, False):
        sizes = sorted((size for size in wanted if size.is_square == squares), key=lambda size: size.area)
        lines[squares] = {size.area: image_seconds(dataset, size) for size in dict.fromkeys(sizes[:1] + sizes[-1:])}

    def seconds(file: ImageFile) -> float:
        line = lines[file.size.is_square]
        return 0.0 if file.cached else file.images * float(np.interp(file.size.area, list(line), list(line.values())))

    return {size: sum(map(seconds, made)) for size, made in files.items()}


def image_seconds(dataset: Dataset, size: Size) -> float:
    """Return the seconds of computing for one image, from a chunk of them. (Shrinking in threads gains little,
    measured.)"""
    if isinstance(dataset, DrawnData):
        count = max(1, CHUNK_PIXELS // size.area // 4)

        def make() -> None:
            dataset.drawing.render(dataset.scenes["val"], slice(0, count), size)
    elif isinstance(dataset, PhotoData) and not size.is_square:
        source, photos = dataset.list_photos("val")
        photos = photos[:TIMED_PHOTOS]
        count = len(photos)

        def make() -> None:
            for photo in photos:
                decode_one(source, size, photo, dataset.decoding)
    else:
        count, native = TIMED_PHOTOS, getattr(dataset, "side", size.width)
        photo = Image.fromarray(np.random.RandomState(0).randint(0, 256, (native, native, 3), np.uint8))

        def make() -> None:
            for _ in range(count):
                np.asarray(photo.resize((size.width, size.height), RESAMPLING))

    make()
    start = time.process_time()
    make()
    return (time.process_time() - start) / count


# ---------------------------------------------------------------- memory, disk, notes


def count_memory(timings: Sequence[Timing], files: Mapping[int, Sequence[ImageFile]], workers: int) -> int:
    """Return the resident bytes at the peak: of the workers and of the command, whose own timing leaves it as large as
    they are; of the libraries and the images of the largest size, which all share."""
    images = max((sum(file.bytes for file in made) for made in files.values()), default=0)
    return shared_bytes() + (workers + 1) * max(timing.peak_bytes for timing in timings) + images


def count_disk(trials: Sequence[Trial], dataset: Dataset, workers: int) -> int:
    """Return the bytes of results, logs and plots, and of a checkpoint of the largest network in each worker."""
    recipe = trials[0].recipe
    params = max(count_cost(arch).params for arch in {trained_network(trial) for trial in trials})
    kept = workers * 4 * params * (1 + OPTIMIZER_FLOATS[recipe.optimizer] + (recipe.average > 0))
    points = len(curve_marks(*count_steps(recipe, len(dataset.labels["train"]))))
    return SWEEP_BYTES + kept + len(trials) * (TRIAL_BYTES + POINT_BYTES * points)


def estimate_notes(estimate: TimeEstimate) -> list[str]:
    """Return what a person should know about the estimate."""
    notes, cores = [], len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    fair = min(1.0, cores / estimate.workers)
    if estimate.cpu_fraction < QUIET_FRACTION * fair:
        fraction, quiet = (
            f"{percent(estimate.cpu_fraction, 0)} %",
            duration(estimate.wall_seconds * estimate.cpu_fraction / fair),
        )
        notes.append(f"other programs are running: a worker gets {fraction} of a core; without them about {quiet}")
    free = psutil.virtual_memory().available
    if estimate.memory_bytes > free:
        notes.append(f"{bytes_text(free)} of memory are free: take fewer --workers, or a smaller batch")
    return notes


def has_device(device: str) -> bool:
    """Return whether this machine has the device."""
    return device == "cpu" or torch.cuda.is_available()


def device_name(device: str) -> str | None:
    """Return the GPU's name, where this machine has it."""
    return torch.cuda.get_device_name() if device == "cuda" and has_device(device) else None
