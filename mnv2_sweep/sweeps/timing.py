"""A few real steps of some networks on this machine -> Timings: seconds and bytes as a worker of a sweep will see them.

`time_team` measures in as many fresh processes as there will be workers, all with the same network at the same time:
cores share caches, memory bandwidth and often their clock, which makes each slower than it is alone. Their start,
mostly the import of torch, takes seconds and is measured as well. `time_here` measures in this process, alone: rougher
and sooner.

Everything is bounded: a phase stops by the clock, and a batch that would hold too many activations is cut (time and
memory are then scaled). Images are noise of the right size, so nothing needs to be in the cache; they are gathered,
augmented, trained on and evaluated by the functions of `training.loop`.
"""

import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import psutil
import torch

from mnv2_sweep.base.processes import SERVER_GONE, ChildProcess, begin_process, start_seconds
from mnv2_sweep.base.size import Size
from mnv2_sweep.data.batches import level_size
from mnv2_sweep.data.catalog import open_dataset
from mnv2_sweep.nets.resolve import resolve
from mnv2_sweep.pretrained.folder import is_added, weights_folder
from mnv2_sweep.sweeps.pool import IMPORTED
from mnv2_sweep.training.loop import (
    EVAL_BATCH,
    Course,
    begin_course,
    evaluate_model,
    make_repeatable,
    open_course,
    peak_memory_bytes,
    read_targets,
    reset_peak_memory,
    take_step,
)
from mnv2_sweep.training.start import build_network
from mnv2_sweep.trials.tasks import trained_network
from mnv2_sweep.trials.trial import Trial

WARM_STEPS = 2
LONG, SHORT = (1.5, 0.4, 3), (0.3, 0.1, 1)  # of training and evaluating each network: seconds and calls, at least
MOST_ELEMENTS = 2**27  # outputs of all layers, for a batch: half a GiB, held two to three times while training
LIMIT_SECONDS = 180.0  # for a process to answer


class DoesNotFit(Exception):
    """Memory ran out."""


@dataclass(frozen=True, slots=True)
class Timing:
    """What one network takes on one worker, means over the time-boxed steps.

    On a CPU the seconds are those the process computed, which other programs hardly change, and `cpu_fraction` is the
    part of a core that they left it: wall time is the quotient. (Measured on a busy machine: the fraction of 1.5 s
    jumps between 0.4 and 0.9, so it is better taken over all timings.) On a GPU they are wall time, and the fraction is
    1.
    """

    start_seconds: float  # of a trial, beyond its steps: building, the slow first ones
    image_seconds: float  # one training image
    eval_seconds: float  # one evaluated image
    peak_bytes: int  # resident, without the files (libraries) that all processes share
    gpu_bytes: int
    cpu_fraction: float


class TimingData:
    """A data set with noise in the place of its images."""

    name, fingerprint = "noise", ""

    def __init__(self, classes: int, count: int):
        self.classes = tuple(map(str, range(classes)))
        self.labels = {split: np.arange(count) % classes for split in ("train", "val")}

    def pixels(self, split: str, size: Size) -> np.ndarray:
        return np.random.RandomState(0).randint(0, 256, (len(self.labels[split]), *size, 3), np.uint8)


def time_here(trials: Sequence[Trial], device: str) -> list[Timing]:
    """Time each trial's network in this process, on one thread. Raises DoesNotFit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [time_network(trial, device, SHORT) for trial in trials]
    finally:
        torch.set_num_threads(threads)
        if device == "cuda":
            torch.cuda.empty_cache()  # the workers need it


def time_team(
    trials: Sequence[Trial],
    data_name: str,
    cache: Path,
    device: str,
    workers: int,
    boxes: tuple[float, float, int] = LONG,
) -> tuple[list[Timing], float]:
    """Time each trial's network in `workers` processes at once; also returns the seconds that a process computed to get
    ready.

    Raises DoesNotFit, also when a process is killed, and TimeoutError.
    """
    team = []
    try:
        for _ in range(workers):
            team.append(_start(data_name, cache, device))
        start_seconds = float(np.median([receive_timing(member) for member in team]))
        timings = []
        for trial in trials:
            for _, pipe in team:
                with suppress(OSError):  # it died: receive_timing will say so
                    pipe.send((trial, device, boxes))
            timings.append(take_middle([receive_timing(member) for member in team]))
        return timings, start_seconds
    finally:
        for process, pipe in team:
            pipe.close()
            process.kill()
        for process, _ in team:
            process.join()


def time_network(trial: Trial, device: str, boxes: tuple[float, float, int] = LONG) -> Timing:
    """Build a network, train it and evaluate it until the time boxes are over. Raises DoesNotFit."""
    try:
        return _time_network(trial, device, *boxes)
    except (MemoryError, RuntimeError) as error:  # torch says out of memory with either
        if isinstance(error, MemoryError) or "memory" in str(error):
            raise DoesNotFit from error
        raise


def _time_network(trial: Trial, device: str, train_seconds: float, eval_seconds: float, calls: int) -> Timing:
    wanted, batch = trial.recipe.batch, timing_batch(trial)
    small = replace(trial, recipe=replace(trial.recipe, batch=batch))
    data = TimingData(trial.data.classes, max(batch, EVAL_BATCH))
    pixels = data.pixels("train", level_size(trial.train_size))
    clock = time.perf_counter if device == "cuda" else time.process_time
    reset_peak_memory(device)
    before, start = peak_memory_bytes("cpu") - shared_bytes(), clock()
    course = _begin_timed(small, data, device)
    targets = read_targets(trial, data, "train", device)
    course.model.train()
    for of_rate in course.optimizer.param_groups:
        of_rate["lr"] = 0.0

    def step() -> None:
        loss = take_step(course, small, pixels, targets)
        course.after_step()
        loss.item()  # waits for the device

    for _ in range(WARM_STEPS):
        step()
    warm, wall = clock() - start, time.perf_counter()
    step_seconds, training = _repeat(step, train_seconds, calls, clock)
    wall = time.perf_counter() - wall
    peak = max(before, peak_memory_bytes("cpu") - shared_bytes())
    on_gpu = peak_memory_bytes("cuda") if device == "cuda" else 0
    evaluation_seconds, _ = _repeat(
        lambda: evaluate_model(course.model, trial, data, "val", device), eval_seconds, calls, clock
    )
    return Timing(
        start_seconds=max(0.0, warm - WARM_STEPS * step_seconds),
        image_seconds=step_seconds / batch,
        eval_seconds=evaluation_seconds / len(data.labels["val"]),
        peak_bytes=before + round((peak - before) * wanted / batch),
        gpu_bytes=round(on_gpu * wanted / batch),
        cpu_fraction=min(1.0, training / wall),
    )


def _begin_timed(trial: Trial, data: TimingData, device: str) -> Course:
    """Begin as a trial does. Where its weights are not in their folder yet, as in a dry run of a file's, others are in
    their place: steps take as long."""
    if trial.start is None or is_added(trial.start.sha256, weights_folder()):
        return begin_course(trial, data, device)
    model = build_network(trial).to(device, memory_format=torch.channels_last)
    return open_course(model, trial, data, device)


def _repeat(
    function: Callable[[], object], least_seconds: float, least_calls: int, clock: Callable[[], float]
) -> tuple[float, float]:
    """Call the function until a time box is over -> mean seconds of a call and seconds of all, by the clock."""
    began, start, calls = time.perf_counter(), clock(), 0
    while calls < least_calls or time.perf_counter() - began < least_seconds:
        function()
        calls += 1
    seconds = clock() - start
    return seconds / calls, seconds


def shared_bytes() -> int:
    """Return the resident memory of this process that is files, kept once however many processes map them; 0 if
    unknown."""
    return getattr(psutil.Process().memory_info(), "shared", 0)  # Linux


def timing_batch(trial: Trial) -> int:
    """Return the trial's batch, or as many images as are safe to try."""
    plan = resolve(trained_network(trial))
    elements = sum(layer.output_elements for layer in plan.layers)
    return min(trial.recipe.batch, max(2, MOST_ELEMENTS // elements))


# ---------------------------------------------------------------- processes


def _start(data_name: str, cache: Path, device: str) -> tuple[ChildProcess, Connection]:
    """Start a process as a worker is one."""
    ours, theirs = Pipe()
    process = ChildProcess(_serve, (theirs, data_name, cache, device), device == "cuda", IMPORTED)
    theirs.close()  # then the pipe ends when the process does
    return process, ours


def _serve(pipe: Connection, data_name: str, cache: Path, device: str) -> None:
    """Live as a process that times: it says when it is ready; then trials come, Timings or exceptions go."""
    begin_process(on_sigterm=signal.SIG_DFL)
    torch.set_num_threads(1)
    make_repeatable(device)
    with suppress(EOFError, OSError):
        try:
            open_dataset(data_name, cache)
            pipe.send(start_seconds())
            while True:
                pipe.send(time_network(*pipe.recv()))
        except (EOFError, OSError):
            raise
        except Exception as error:
            pipe.send(error)


def receive_timing(member: tuple[ChildProcess, Connection]):
    """Receive what the process says next. Raises what it met, DoesNotFit when it was killed, TimeoutError."""
    process, pipe = member
    if not pipe.poll(LIMIT_SECONDS):
        raise TimeoutError
    try:
        answer = pipe.recv()
    except (EOFError, OSError):
        process.join()
        if process.exitcode in (-signal.SIGKILL, SERVER_GONE):  # by the system, out of memory
            raise DoesNotFit from None
        raise RuntimeError(f"a timing's process ended with exit code {process.exitcode}") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def take_middle(timings: Sequence[Timing]) -> Timing:
    """Return medians of what the processes measured at the same time; of bytes the largest."""

    def median(name: str) -> float:
        return float(np.median([getattr(timing, name) for timing in timings]))

    times = {name: median(name) for name in ("start_seconds", "image_seconds", "eval_seconds", "cpu_fraction")}
    largest = {name: max(getattr(timing, name) for timing in timings) for name in ("peak_bytes", "gpu_bytes")}
    return Timing(**times, **largest)
