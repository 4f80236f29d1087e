"""Images a second of training, and the wall time of a sweep of four trials: ours against a plain loop, in turns.

    python benchmarks/train.py [--data PATH] [--turns 3] [--quick]     about fifteen minutes on two cores; --quick: one

The peer is what a competent person writes with torch's defaults: the same network in float32 and NCHW, all threads,
torch.optim.SGD, and a DataLoader whose data set decodes, crops, resizes and flips each JPEG with Pillow every time it
is seen; on a GPU it has pinned memory and float32 too (with TF32 in convolutions, torch's default), where ours has
bfloat16. It is also measured without loader processes, and ratios are to the faster of the two. Ours trains in one
thread a process, as the workers of a sweep do: what a sweep gets is the sum of several processes at once.

Both sides train the same network on the same number of the same photos, in the same batches, without evaluation. Every
measurement has a fresh process and counts from the first step on; the loader starts once a trial, not once an epoch;
our cache is made before, and is counted in the sweep. A sweep of ours is `mnv2-sweep run` from start to end (pricing,
making the images, workers, table and plot included); the peer trains the four one after the other in one process. Both
evaluate on val at the end of each trial, ours also along the way. Trials here have a quarter of the images that
`short` has (--sweep-images: another number): what a sweep does once counts for more than in a real one.

Photos are the embedded scenes at 256 px as JPEGs, about as large and as slow to decode as photos of that side, or some
of those at --data (a folder or zip of class folders; copied out of it under names of our own).
"""

import argparse
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.size import square
from mnv2_sweep.data.asked import PhotoOptions
from mnv2_sweep.data.batches import prepare_pixels
from mnv2_sweep.data.decode import UnreadableImage
from mnv2_sweep.data.photos import PhotoData, open_photos
from mnv2_sweep.data.shapes import SHAPES
from mnv2_sweep.data.source import open_source
from mnv2_sweep.models.build import build_model
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.record.store import read_outcomes
from mnv2_sweep.sweeps.environment import describe_environment
from mnv2_sweep.training.loop import run_trial
from mnv2_sweep.trials.recipe import RECIPES, Recipe
from mnv2_sweep.trials.trial import DataRef, Result, Trial

WORKERS = 2  # of ours at once
SIDE = 256  # of the JPEGs that we make
NOISE = 0.5  # with it a JPEG of a scene is as large as one of a photo
SHORT = RECIPES["short"]
SWEEP_WIDTHS, SWEEP_SIZE, SWEEP_SEEDS = (0.35, 1.0), 96, 2
SPACE = """
axes: {{width: [{widths}], resolution: [{size}]}}
recipe: {{base: short, images: {images}, batch: {batch}, curve_images: {curve}, name: benchmark}}
seeds: {seeds}
data: photos
"""


@dataclass(frozen=True)
class Scale:
    """How much is measured: (width, resolution, images trained on), photos on disk, images of a sweep's trial."""

    networks: tuple[tuple[float, int, int], ...]
    photos: dict[str, int]
    sweep_images: int


FULL = Scale(((0.35, 96, 960), (1.0, 96, 384), (1.0, 224, 96)), {"train": 480, "val": 100}, 5120)
QUICK = Scale(((0.35, 96, 64),), {"train": 40, "val": 20}, 64)
CUDA_TIMES = 10  # as many images on a GPU


@dataclass(frozen=True)
class Job:
    """What one training is: both sides get the same."""

    photos: Path
    cache: Path
    arch: ArchSpec
    recipe: Recipe
    seed: int
    device: str

    @property
    def steps(self) -> int:
        return max(1, round(self.recipe.images / self.recipe.batch))

    def open_data(self) -> PhotoData:
        return open_photos(self.photos, self.cache)


# ---------------------------------------------------------------- photos


def make_photos(source: Path | None, folder: Path, cache: Path, counts: dict[str, int]) -> PhotoData:
    try:
        if source is None:
            write_scenes(folder, counts)
        else:
            copy_photos(source, folder, counts)
        return open_photos(folder, cache)
    except SweepError as error:
        sys.exit(f"error: {error}")


def write_scenes(folder: Path, counts: dict[str, int]) -> None:
    """The embedded data as JPEGs: folder/<split>/<class>/<number>.jpg."""
    for seed, (split, count) in enumerate(counts.items()):
        scenes = SHAPES.draw(count, seed)
        scenes = replace(scenes, noise=NOISE * scenes.noise)
        images = (image for chunk in SHAPES.render_chunks(scenes, square(SIDE)) for image in chunk)
        for number, (label, image) in enumerate(zip(scenes.label, images, strict=True)):
            file = folder / split / f"{label:03d}" / f"{number:05d}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(file, quality=90)


def copy_photos(path: Path, folder: Path, counts: dict[str, int]) -> None:
    """About so many photos of each split, of all classes in their proportion; no name in the data becomes a path here.

    Raises SweepError where `mnv2-sweep run --data` would.
    """
    source = open_source(path, PhotoOptions())
    photos = source.photos
    places = {label: place for place, label in enumerate(sorted({photo.label for photo in photos}))}
    groups = defaultdict(list)
    for photo in photos:
        groups[photo.split, photo.label].append(photo)
    totals = {split: sum(photo.split == split for photo in photos) for split in counts}
    for (split, label), group in groups.items():
        if split not in counts:
            continue
        count = min(len(group), max(1, round(len(group) * counts[split] / totals[split])))
        for number in range(count):
            photo = group[number * len(group) // count]
            file = folder / split / f"{places[label]:03d}" / f"{number:05d}{Path(photo.path).suffix.lower()}"
            file.parent.mkdir(parents=True, exist_ok=True)
            with suppress(UnreadableImage):
                file.write_bytes(source.read(photo))


# ---------------------------------------------------------------- the peer


class PhotoFiles(Dataset):
    """Image files, decoded whenever they are asked for -> float32 [3, size, size] in [-1, 1] and the label."""

    def __init__(self, data: PhotoData, folder: Path, split: str, size: int, min_area: float | None):
        self.files = [str(folder / name) for name in data.names[split]]
        self.labels = data.labels[split].tolist()
        self.size, self.min_area = size, min_area  # None: the middle of the photo

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        with Image.open(self.files[index]) as file:
            image = file.convert("RGB")
        shape = (self.size, self.size)
        if self.min_area is None:
            image = ImageOps.fit(image, shape, Image.Resampling.BILINEAR)
        else:
            image = image.crop(self._draw_box(*image.size)).resize(shape, Image.Resampling.BILINEAR)
            if random.random() < 0.5:
                image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
        return pixels.float().div(127.5).sub(1), self.labels[index]

    def _draw_box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """A random resized crop, as torchvision's: ten tries, then everything."""
        for _ in range(10):
            area = width * height * random.uniform(self.min_area, 1)
            aspect = (4 / 3) ** random.uniform(-1, 1)
            w, h = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
            if 0 < w <= width and 0 < h <= height:
                left, top = random.randint(0, width - w), random.randint(0, height - h)
                return left, top, left + w, top + h
        return 0, 0, width, height


def train_peer(job: Job, loaders: int) -> tuple[float, nn.Module]:
    """Images a second, and the trained network."""
    recipe, data = job.recipe, job.open_data()
    torch.manual_seed(job.seed)
    random.seed(job.seed)
    model = build_model(job.arch).to(job.device)
    optimizer = torch.optim.SGD(
        model.parameters(), recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay, nesterov=True
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, job.steps)
    criterion = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    files = PhotoFiles(data, job.photos, "train", job.arch.resolution, recipe.crop_min_area)
    sampler = RandomSampler(files, num_samples=job.steps * recipe.batch)
    gpu = job.device == "cuda"
    model.train()
    began = time.perf_counter()
    for images, labels in DataLoader(files, recipe.batch, sampler=sampler, num_workers=loaders, pin_memory=gpu):
        images, labels = images.to(job.device, non_blocking=True), labels.to(job.device, non_blocking=True)
        loss = criterion(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    loss.item()  # waits for a GPU
    return job.steps * recipe.batch / (time.perf_counter() - began), model


@torch.no_grad()
def evaluate_peer(model: nn.Module, job: Job, loaders: int) -> float:
    """Top-1 on val, a fraction."""
    model.eval()
    files = PhotoFiles(job.open_data(), job.photos, "val", job.arch.resolution, None)
    correct = 0
    for images, labels in DataLoader(files, job.recipe.batch, num_workers=loaders):
        logits = model(images.to(job.device))
        correct += (logits.argmax(1).cpu() == labels).sum().item()
    return correct / len(files)


def peer_speed(job: Job, loaders: int) -> float:
    _together()
    return train_peer(job, loaders)[0]


def peer_sweep(jobs: list[Job], loaders: int) -> list[float]:
    """Top-1 of each, trained one after the other."""
    return [evaluate_peer(train_peer(job, loaders)[1], job, loaders) for job in jobs]


# ---------------------------------------------------------------- ours


def our_speed(job: Job) -> float:
    """Images a second, as a sweep's worker records them."""
    torch.set_num_threads(1)
    data = job.open_data()
    trial = Trial(job.arch, job.recipe, DataRef(data.name, data.fingerprint, len(data.classes)), job.seed)
    _together()
    return run_trial(trial, data, job.device).images_per_second


def our_sweep(jobs: list[Job], folder: Path) -> list[Result]:
    """What the command line records, with an empty cache."""
    folder.mkdir()
    recipe, space = jobs[0].recipe, folder / "four.yaml"
    widths = ", ".join(f"{width:g}" for width in dict.fromkeys(job.arch.width for job in jobs))
    seeds = len({job.seed for job in jobs})
    values = {"images": recipe.images, "batch": recipe.batch, "curve": recipe.curve_images}
    space.write_text(SPACE.format(widths=widths, size=jobs[0].arch.resolution, seeds=seeds, **values))
    command = [sys.executable, "-m", "mnv2_sweep", "run", str(space), "--data", str(jobs[0].photos), "--name", "four"]
    command += ["--device", jobs[0].device, "--results", str(folder / "results"), "--plots", str(folder / "plots")]
    command += ["--workers", str(WORKERS)]
    environment = os.environ | {"MNV2_SWEEP_CACHE": str(folder / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"the sweep ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return [outcome.result for outcome in read_outcomes(folder / "results" / "four")]


# ---------------------------------------------------------------- measuring

_BARRIER = None  # of the processes that measure at the same time


def _join(barrier, method: str) -> None:
    """A spawned process would spawn its loader processes too, which takes seconds; a plain program has the default."""
    global _BARRIER
    _BARRIER = barrier
    multiprocessing.set_start_method(method, force=True)


def _together() -> None:
    """Begin when the others have started too."""
    _BARRIER.wait(timeout=300)


def in_processes(work: Callable, count: int = 1) -> list:
    """What the work returns in each of so many fresh processes at once."""
    context, default = multiprocessing.get_context("spawn"), multiprocessing.get_start_method()
    with ProcessPoolExecutor(count, context, initializer=_join, initargs=(context.Barrier(count), default)) as pool:
        return [future.result() for future in [pool.submit(work) for _ in range(count)]]


def machine_text(device: str) -> str:
    name = torch.cuda.get_device_name() if device == "cuda" else None
    found = describe_environment("", device, name)
    versions = f"Python {found['python']}, torch {found['torch']}, Pillow {found['pillow']}"
    where = f"{found['processor']}, {found['cores']} cores" + (f", {name}" if name else "")
    loads = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    return f"{where}; {versions}; commit {found['commit']}; on {device}; load {loads}"


def photos_text(data: PhotoData, folder: Path, source: Path | None) -> str:
    counts = ", ".join(f"{len(labels):,} {split}" for split, labels in data.labels.items())
    size = statistics.mean((folder / name).stat().st_size for name in data.names["train"])
    return f"photos: {source or 'scenes'}; {counts}; {data.side} px, {size / 1e3:.0f} kB each"


def measure_networks(scale: Scale, job: Job, loaders: int, turns: int) -> None:
    header = f"{'network':<13}{'side':<34}{'images':>8}{'images/s':>10}   {'lowest to highest':<19}"
    print(f"{header}{f's for {SHORT.images:,}':>13}{'ratio':>7}")
    for width, size, images in scale.networks:
        this = replace(
            job,
            arch=replace(job.arch, width=width, resolution=size),
            recipe=replace(job.recipe, images=images, curve_images=1),  # next to no evaluation
        )
        prepare_pixels(this.open_data(), square(size))
        sides = {
            "ours, 1 process": (partial(our_speed, this), 1),
            f"ours, {WORKERS} processes at once": (partial(our_speed, this), WORKERS),
            f"peer, {loaders} loader processes": (partial(peer_speed, this, loaders), 1),
            "peer, no loader processes": (partial(peer_speed, this, 0), 1),
        }
        speeds = defaultdict(list)
        for _ in range(turns):
            for name, (work, count) in sides.items():
                speeds[name].append(sum(in_processes(work, count)))
        peers = [values for name, values in speeds.items() if name.startswith("peer")]
        best = [max(turn) for turn in zip(*peers, strict=True)]
        for name, values in speeds.items():
            speed = statistics.median(values)
            ratio = statistics.median(value / peer for value, peer in zip(values, best, strict=True))
            spread = f"{min(values):,.1f} to {max(values):,.1f}"
            count = this.steps * this.recipe.batch * sides[name][1]
            print(f"{f'{width:g} at {size}':<13}{name:<34}{count:>8,}{speed:>10,.1f}   {spread:<19}", end="")
            print(f"{SHORT.images / speed:>13,.0f}{ratio:>7.2f}", flush=True)
    print("ratio: images/s over those of the faster peer of the same turn; so many images are a trial of `short`\n")


def measure_sweep(scale: Scale, job: Job, loaders: int, turns: int, folder: Path) -> None:
    images = scale.sweep_images
    curve = max(1, SHORT.curve_images * images // SHORT.images)  # the share of the time that the curve takes
    jobs = [
        replace(
            job,
            arch=replace(job.arch, width=width, resolution=SWEEP_SIZE),
            recipe=replace(job.recipe, images=images, curve_images=curve),
            seed=seed,
        )
        for width in SWEEP_WIDTHS
        for seed in range(SWEEP_SEEDS)
    ]
    seconds, top1, trials = {"ours": [], "peer": []}, {"ours": [], "peer": []}, []
    for turn in range(turns):
        began = time.perf_counter()
        results = our_sweep(jobs, folder / f"sweep-{turn}")
        seconds["ours"].append(time.perf_counter() - began)
        trials.append(sum(result.seconds for result in results) / WORKERS)
        top1["ours"] += [result.score("val", "top1") for result in results]
        began = time.perf_counter()
        top1["peer"] += in_processes(partial(peer_sweep, jobs, loaders))[0]
        seconds["peer"].append(time.perf_counter() - began)
    widths = " and ".join(f"{width:g}" for width in SWEEP_WIDTHS)
    print(f"a sweep of {len(jobs)} trials: {widths} at {SWEEP_SIZE}, {SWEEP_SEEDS} seeds, {images:,} images each")
    sides = (f"ours, run --workers {WORKERS}", f"peer, {loaders} loader processes")
    for name, side in zip(sides, seconds, strict=True):
        values = seconds[side]
        spread = f"{min(values):,.1f} to {max(values):,.1f} s in all"
        print(f"{name:<30}{statistics.median(values) / len(jobs):>8.1f} s a trial   {spread:<26}", end="")
        print(f"mean val top-1 {100 * statistics.mean(top1[side]):.1f} %")
    once = statistics.median(total - part for total, part in zip(seconds["ours"], trials, strict=True))
    ratio = statistics.median(b / a for a, b in zip(seconds["ours"], seconds["peer"], strict=True))
    alone = statistics.median(trials) / len(jobs)
    print(f"of ours, {once:.1f} s a sweep are not trials; the trials alone: {alone:.1f} s each")
    print(f"seconds a trial, peer / ours: {ratio:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, help="real photos: a folder or zip of class folders")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--sweep-turns", type=int, default=1)
    parser.add_argument("--sweep-images", type=int, help="of each trial of the sweep; `short` has 22,000")
    parser.add_argument("--batch", type=int, default=32, help="as in spaces/photos.yaml")
    parser.add_argument("--loaders", type=int, default=None, help="default 2; with a GPU one a core, at most 8")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="under a minute, to see that it works")
    options = parser.parse_args()
    scale, device = QUICK if options.quick else FULL, options.device
    turns, sweep_turns = (1, 1) if options.quick else (options.turns, options.sweep_turns)
    loaders = options.loaders
    if loaders is None:
        loaders = min(8, os.cpu_count() or 1) if device == "cuda" else 2
    if device == "cuda" and not options.quick:
        networks = tuple((width, size, CUDA_TIMES * images) for width, size, images in scale.networks)
        scale = replace(scale, networks=networks, sweep_images=CUDA_TIMES * scale.sweep_images)
    if options.sweep_images is not None:
        scale = replace(scale, sweep_images=options.sweep_images)
    recipe = replace(SHORT, batch=options.batch, name="benchmark")
    with tempfile.TemporaryDirectory(prefix="train-") as name:
        top = Path(name)
        data = make_photos(options.data, top / "photos", top / "cache", scale.photos)
        print(f"{machine_text(device)}\n{photos_text(data, top / 'photos', options.data)}")
        print(f"batch {options.batch}; threads of the peer: {torch.get_num_threads()}, of ours: 1 a process", end="; ")
        print(f"turns: {turns}, of the sweep {sweep_turns}\n", flush=True)
        job = Job(top / "photos", top / "cache", ArchSpec(classes=len(data.classes)), recipe, 0, device)
        measure_networks(scale, job, loaders, turns)
        measure_sweep(scale, job, loaders, sweep_turns, top)
    if options.quick:
        print("--quick: it works; so few images say nothing of speed")


if __name__ == "__main__":
    main()
