"""How a sweep runs: worker processes, what each may take, on which GPU."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import torch

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.text import parse_bytes, parse_seconds
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.record.store import Outcome
from mnv2_sweep.sweeps.attempt import Attempts, Watch
from mnv2_sweep.sweeps.pool import Feed, Limits

MEMORY_FRACTION = 0.9  # of the machine's memory, for all workers together; of a GPU's free memory likewise
CONTEXT_BYTES = 2**30  # of a GPU for each process beside its tensors: CUDA itself, libraries; generous
AUTO = "auto"
EXECUTORS = ("local", "ray")
KEEPS = ("all", "front", "best", "none")

# Runs trials on other machines; the attempts' function is called with the data as they are there.
Elsewhere = Callable[[Attempts, Feed, Dataset], Iterator[Outcome]]


@dataclass(frozen=True, slots=True)
class Keep:
    """Which networks of a sweep keep their weights, one of KEEPS, and how many bytes these may take.

    What earlier runs kept is removed only for what was said now: "front" or "best", which is never the default, or a
    number of bytes, which then `bounds_earlier`.
    """

    which: str = "all"
    most_bytes: int = 10**9
    bounds_earlier: bool = False


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How a sweep runs: worker processes, the limits of one trial, what watches their curves; with GPUs, the GPU of
    each worker (as CUDA_VISIBLE_DEVICES names it); whether more workers share them where measured memory allows; the
    seconds that the run may take; whether the seeds of a network are trained as one, or trials as CUDA graphs; whether
    the limit of memory is the machine's divided by its workers, which then grows with the threads of a shared training;
    which weights are kept; whether results say what networks made of each image.

    With the executor "ray": where the cluster is, how many trials share a GPU (0: they use none), what runs them, and
    as `workers` how many there are at once (0: as many as there is room for).
    """

    workers: int
    limits: Limits = Limits()
    watch: Watch | None = None
    gpus: tuple[str, ...] = ()
    fills_gpus: bool = False
    budget_seconds: float | None = None
    executor: str = "local"
    address: str | None = None
    per_gpu: int = 0
    elsewhere: Elsewhere | None = None
    stacks_seeds: bool = False
    cuda_graphs: bool = False
    memory_is_divided: bool = False
    keep: Keep = Keep()
    images: bool = True

    @property
    def keep_here(self) -> Keep:
        """Return which weights are kept: none by other machines, which may not see the sweep's folder."""
        return self.keep if self.executor == "local" else replace(self.keep, which="none")


def choose_device(wanted: str, executor: str = "local") -> str:
    """Choose auto | cpu | cuda -> cpu | cuda. Raises SweepError where there is no such device; the machine that joins a
    Ray cluster need not have the GPU itself."""
    if wanted not in ("auto", "cpu", "cuda"):
        raise SweepError(f"--device {wanted}: auto, cpu or cuda")
    if wanted == "cuda" and executor == "ray":
        return wanted
    if wanted == "cuda" and not torch.cuda.is_available():
        raise SweepError(
            "--device cuda: torch sees no CUDA device here; use --device cpu, or install a CUDA build of torch"
        )
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a person wants a sweep to run, in the words of the command line; None leaves it to what suits the machine."""

    workers: int | None = None
    memory: str | None = None
    timeout: str | None = None
    per_gpu: str | None = None
    executor: str = "local"
    address: str | None = None
    budget: str | None = None
    stack_seeds: bool | None = None
    cuda_graphs: bool = False
    keep: str = "all"
    keep_bytes: str | None = None
    no_images: bool = False


def choose_settings(device: str, wishes: Wishes = Wishes()) -> RunSettings:
    """Return what the person wishes, or what suits this machine. Raises SweepError."""
    workers, per_gpu, executor, address = wishes.workers, wishes.per_gpu, wishes.executor, wishes.address
    stack_seeds, cuda_graphs, budget = wishes.stack_seeds, wishes.cuda_graphs, wishes.budget
    if executor not in EXECUTORS:
        raise SweepError(f"--executor {executor}: {' or '.join(EXECUTORS)}")
    if address is not None and executor != "ray":
        raise SweepError(f"--address {address}: it is of a Ray cluster; add --executor ray")
    if stack_seeds and (device != "cuda" or executor == "ray"):
        why = "with --executor ray each trial is trained alone" if executor == "ray" else "it pays on a GPU only"
        raise SweepError(f"--stack-seeds: {why}; leave it out")
    if cuda_graphs and (device != "cuda" or executor == "ray"):
        why = "not with --executor ray" if executor == "ray" else "there is no GPU in use"
        raise SweepError(f"--cuda-graphs: {why}; leave it out")
    if cuda_graphs and (stack_seeds or per_gpu == AUTO):
        option = "--stack-seeds" if stack_seeds else "--per-gpu auto"
        raise SweepError(f"--cuda-graphs {option}: one of them")
    if per_gpu is not None and device != "cuda":
        raise SweepError("--per-gpu: there is no GPU in use; leave it out, or give --device cuda")
    if wishes.keep not in KEEPS:
        raise SweepError(f"--keep {wishes.keep}: {', '.join(KEEPS[:-1])} or {KEEPS[-1]}")
    keep, images = _read_keep(wishes), not wishes.no_images
    seconds = parse_seconds(wishes.timeout, "--timeout") if wishes.timeout is not None else None
    limit = parse_bytes(wishes.memory, "--memory") if wishes.memory is not None else None
    most = parse_seconds(budget, "--budget") if budget is not None else None
    if executor == "ray":
        if per_gpu == AUTO or budget is not None:
            option = "--per-gpu auto" if per_gpu == AUTO else f"--budget {budget}"
            raise SweepError(f"{option}: measured on one machine; not with --executor ray")
        shared = _parse_per_gpu(per_gpu or "1") if device == "cuda" else 0
        limits = Limits(limit, seconds)
        return RunSettings(
            workers or 0, limits, executor=executor, address=address, per_gpu=shared, keep=keep, images=images
        )
    if per_gpu == AUTO and workers is not None:
        raise SweepError(f"--per-gpu auto: it decides the number of workers; leave out --workers {workers}")
    gpus = list_gpus(None if per_gpu == AUTO else per_gpu) if device == "cuda" else ()
    count = workers or (len(gpus) if gpus else usable_cores())
    gpus = tuple(gpus[i % len(gpus)] for i in range(count)) if gpus else ()
    is_divided = limit is None and device == "cpu"
    if is_divided:
        limit = int(MEMORY_FRACTION * machine_memory_bytes() / count)
    return RunSettings(
        count, Limits(limit, seconds), gpus=gpus, fills_gpus=per_gpu == AUTO, budget_seconds=most,
        stacks_seeds=device == "cuda" and stack_seeds is not False and not cuda_graphs, cuda_graphs=cuda_graphs,
        memory_is_divided=is_divided, keep=keep, images=images,
    )  # fmt: skip


def _read_keep(wishes: Wishes) -> Keep:
    """Return which weights are kept. Raises SweepError."""
    if wishes.keep_bytes is None:
        return Keep(wishes.keep)
    if wishes.keep == "none":
        raise SweepError(f"--keep none --keep-bytes {wishes.keep_bytes}: one of them")
    return Keep(wishes.keep, parse_bytes(wishes.keep_bytes, "--keep-bytes"), bounds_earlier=True)


def count_per_gpu(trial_bytes: int, free_bytes: int, cores: int, gpus: int) -> int:
    """Count how many trials fit on each of the GPUs with that many bytes free, one core of the machine for each
    trial."""
    fitting = int(MEMORY_FRACTION * free_bytes) // (trial_bytes + CONTEXT_BYTES)
    return max(1, min(fitting, cores // gpus))


def fill_gpus(settings: RunSettings, trial_bytes: int) -> RunSettings:
    """Return the settings with as many workers on each GPU as their free memory holds trials of that many bytes."""
    free = min(torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count()))
    gpus = settings.gpus * count_per_gpu(trial_bytes, free, usable_cores(), len(settings.gpus))
    return replace(settings, workers=len(gpus), gpus=gpus)


def usable_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine_memory_bytes() -> int:
    """Return the memory of the machine, or what its container may use."""
    total = psutil.virtual_memory().total
    with suppress(OSError, ValueError):  # "max" without a limit
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return total


def list_gpus(per_gpu: str | None) -> tuple[str, ...]:
    """List each visible GPU as often as trials may share it: round after round, so that few trials spread out."""
    names = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    names = names or [str(i) for i in range(torch.cuda.device_count())]
    return tuple(names) * _parse_per_gpu("1" if per_gpu is None else per_gpu, "a whole number from 1, or auto")


def _parse_per_gpu(text: str, allowed: str = "a whole number from 1") -> int:
    if not text.isdecimal() or int(text) < 1:
        raise SweepError(f"--per-gpu {text}: {allowed}")
    return int(text)
