"""ArchSpec -> what the network holds with its blocks split, measured, against the bound of section 5.1.

The network is built, given batch norm statistics as if trained, and run on one image: whole, and split as many ways as
the memory table lists (`nets.memory`). Live is what torch's allocator has handed out and not got back, by torch's
profiler, so all temporaries count, oneDNN's too; weights, and what else is there before the forward pass, do not.
Some of torch's kernels take memory for themselves, of which the bound knows nothing. It is a small part of large maps,
and most of small ones, so it is added to the bound before the two are compared:
- oneDNN orders a depthwise convolution's weights anew each time, for up to 16 channels at once: what is less is filled.
- An image of fewer than 20,480 numbers, which is up to 82 px, torch unfolds for the stem: kernel^2 times its channels
  at every output position.
Logits of a split network add the same numbers up in another order, so they are equal but for rounding.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from mnv2_sweep.base.text import align
from mnv2_sweep.models.activity import settle_norms
from mnv2_sweep.models.build import build_model
from mnv2_sweep.models.split import split_model
from mnv2_sweep.nets.arch import ArchSpec, arch_label
from mnv2_sweep.nets.memory import Operation, bound_operations, count_memory
from mnv2_sweep.nets.resolve import resolve

MOST_MEMORY, MOST_DIFFERENCE = 0.1, 1e-3  # of the bound and what is beside it, and of the largest logit
UNFOLDED_BELOW = 20_480  # numbers of an image
SETTLED_IMAGES = 8
VECTOR = 16  # channels, on a processor with AVX-512; others have less
BYTES = 4  # of a number


@dataclass(frozen=True, slots=True)
class SplitRun:
    """One forward pass: `bound` bytes by section 5.1, `limit` with what torch's kernels take, `live` as measured; the
    largest difference of a logit, and the largest logit of the whole network."""

    splits: int
    bound: int
    limit: int
    live: int
    difference: float
    largest: float

    @property
    def agrees(self) -> bool:
        fits = (1 - MOST_MEMORY) * self.bound <= self.live <= (1 + MOST_MEMORY) * self.limit
        return fits and self.difference <= MOST_DIFFERENCE * self.largest


def check_split(arch: ArchSpec) -> tuple[list[str], bool]:
    """Measure the network split in all the ways of its memory table -> lines for a person, and whether bound and
    logits hold. Raises ArchError, and SweepError for a network that can't be split."""
    runs = run_splits(arch)
    return _run_lines(arch, runs), all(run.agrees for run in runs)


def run_splits(arch: ArchSpec) -> list[SplitRun]:
    """Run the network in all the ways of its memory table, on one thread. Raises as check_split."""
    plan, threads = resolve(arch), torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):  # whoever asks keeps his random numbers
        torch.manual_seed(0)
        model = build_model(arch)
        split_model(model, arch, 1)  # raises at once where it can't be
        channels, size = plan.image
        images = torch.randn(SETTLED_IMAGES, channels, *size)
    torch.set_num_threads(1)  # with more, what is live at once is chance
    try:
        model = settle_norms(model, images)
        image = images[:1].contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            expected = model(image)
        runs = []
        for peak in count_memory(arch):
            network, logits = split_model(model, arch, peak.splits), []
            network([image.clone()])  # what libraries set up once
            live = live_bytes(lambda: [image.clone()], lambda given, run=network, out=logits: out.append(run(given)))
            limit = max(_limit_bytes(operation) for operation in bound_operations(plan, peak.splits))
            difference = (logits[0] - expected).abs().max().item()
            runs.append(SplitRun(peak.splits, peak.bytes(), limit, live, difference, expected.abs().max().item()))
    finally:
        torch.set_num_threads(threads)
    return runs


def live_bytes(prepare: Callable[[], Any], run: Callable[[Any], object]) -> int:
    """Return the most bytes that torch's allocator holds while `run` works on what was prepared, that included."""
    with _silent_stderr(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        given = prepare()
        with record_function("measured"):
            run(given)
    events = sorted(profiler.profiler.kineto_results.events(), key=lambda event: event.start_ns())
    start = next(event.start_ns() for event in events if event.name() == "measured")
    held = peak = 0
    for event in events:
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held) if event.start_ns() >= start else held
    return peak


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Drop what is written to file descriptor 2 inside: torch's profiler says there when it starts and stops, which no
    setting of its own turns off."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _limit_bytes(operation: Operation) -> int:
    """Return what the operation may hold, with what torch's kernels take for themselves."""
    beside = 0
    for layer in operation.layers:
        if layer.groups > 1:
            channels = -(-layer.c_in // operation.groups)
            beside = max(beside, layer.kernel**2 * VECTOR * -(-channels // VECTOR))
        elif layer.kernel > 1 and layer.input_elements < UNFOLDED_BELOW:
            beside = max(beside, layer.kernel**2 * layer.c_in * layer.size_out.area)
    return BYTES * (operation.elements + beside)


def _run_lines(arch: ArchSpec, runs: Sequence[SplitRun]) -> list[str]:
    rows = [["splits", "bound", "limit", "live", "live / limit", "largest difference"]]
    for run in runs:
        sizes = [f"{size / 1e6:,.3f} MB" for size in (run.bound, run.limit, run.live)]
        rows.append([str(run.splits), *sizes, f"{run.live / run.limit:.3f}", f"{run.difference:.1e}"])
    wrong = [str(run.splits) for run in runs if not run.agrees]
    verdict = f"splits {', '.join(wrong)} disagree" if wrong else "all agree"
    return [
        f"{arch_label(arch)}, blocks split (paper, section 5.1): one image, 32-bit floats, one thread",
        *align(rows).splitlines(),
        "limit: the bound and what torch's kernels take for themselves; live: the most that was allocated at once",
        f"{verdict}: live from {100 - 100 * MOST_MEMORY:.0f} % of the bound to {100 + 100 * MOST_MEMORY:.0f} % of the "
        f"limit allowed, differences up to {100 * MOST_DIFFERENCE:.1f} % of the largest logit, {runs[0].largest:.3f}",
    ]
