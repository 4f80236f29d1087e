"""Course (where a trial in training stands) <-> checkpoint, and the packed files in which any state is kept.

A packed file is a line of JSON, the header, which says whose it is, and then what torch.save writes of tensors and
plain types. It is replaced whole or not at all. Reading one runs no code of its own. torch.load would not notice a
changed tensor, hence the header's digest.

From its checkpoint, a packed file, a stopped trial goes on bit for bit. A checkpoint that is damaged, or of another
trial, version or device, counts as none.
"""

import hashlib
import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor, nn

from mnv2_sweep.base.files import open_whole, remove_files, remove_unfinished
from mnv2_sweep.trials.trial import CODE_VERSION, CurvePoint, read_point

# ---------------------------------------------------------------- packed files

HEADER_BYTES = 4096  # the first line is far shorter; a damaged file may have no line's end at all


def write_packed(path: Path, header: dict, state: dict) -> None:
    """Replace the file, which another sweep may write at the same time. Raises OSError, and the file then stays as it
    was."""
    packed = io.BytesIO()  # and not straight to disk: the digest comes first, and torch.save hides the disk's own error
    torch.save(state, packed)
    payload = packed.getbuffer()
    with open_whole(path) as file:
        file.write(json.dumps(header | {"sha256": _digest(payload)}).encode() + b"\n")
        file.write(payload)


def read_packed(path: Path, expected: dict) -> tuple[dict, dict]:
    """Return (header, state), on the CPU. Raises OSError where there is no file, and anything else where it is damaged
    or its header has another value than expected."""
    with path.open("rb") as file:
        header, payload = _read_header(file, expected), file.read()
    if header["sha256"] != _digest(payload):
        raise ValueError("it is damaged")
    return header, torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)


def is_whole(path: Path, expected: dict) -> bool:
    """Return whether the file is there, undamaged, and its header has the expected values; nothing is unpacked."""
    try:
        with path.open("rb") as file:
            header = _read_header(file, expected)
            return header["sha256"] == hashlib.file_digest(file, "sha256").hexdigest()
    except Exception:  # as of what has not been written here
        return False


def _read_header(file: BinaryIO, expected: dict) -> dict:
    header = json.loads(file.readline(HEADER_BYTES))
    for name, value in expected.items():
        if header[name] != value:
            raise ValueError(f"its {name} is {header[name]!r}, not {value!r}")
    return header


def _digest(payload: bytes | memoryview) -> str:
    return hashlib.sha256(payload).hexdigest()


# ---------------------------------------------------------------- the course of a training


class BatchOrder:
    """The order of the images, batch by batch: shuffled passes over range(count), one after the other without a gap.

    `weights` [count] are what images count in the loss, None where all count the same; with `is_drawn` they are instead
    how often an image comes: a pass is as many draws, with repeats."""

    def __init__(self, count: int, generator: torch.Generator, weights: Tensor | None = None, is_drawn: bool = False):
        self.count, self.generator = count, generator
        self.weights, self.drawn = (None, weights) if is_drawn else (weights, None)
        self.waiting = torch.empty(0, dtype=torch.long)  # the rest of the pass

    def take(self, batch: int) -> Tensor:
        """Return the indices [batch] of the next batch."""
        while len(self.waiting) < batch:
            self.waiting = torch.cat([self.waiting, self._next_pass()])
        chosen, self.waiting = self.waiting[:batch], self.waiting[batch:]
        return chosen

    def _next_pass(self) -> Tensor:
        if self.drawn is None:
            return torch.randperm(self.count, generator=self.generator)
        return torch.multinomial(self.drawn, self.count, replacement=True, generator=self.generator)

    def state(self) -> dict:
        return {"waiting": self.waiting.clone(), "generator": self.generator.get_state()}  # saving a view saves all

    def restore(self, state: dict) -> None:
        self.waiting = state["waiting"]
        self.generator.set_state(state["generator"])


def core_clock(device: str) -> Callable[[], float]:
    """Return what counts the seconds of one core: the processor time of all of this process's threads, or, where a GPU
    does the work, wall time."""
    return time.process_time if device == "cpu" else time.perf_counter


@dataclass(slots=True)
class Course:
    """All that changes while a trial trains, torch's own random numbers included.

    `losses` are of the steps since the last point of the curve. `began` is when all of it would have begun, had it
    run in one go, and `core_began` the same by `core_clock`; `aside` counts the seconds since then that were not
    training, `kept` is when this attempt last had its state written. `peak_bytes` is the peak memory of the attempts
    before. `average` is the moving average of the network's numbers (`begin_average`), [tensors], empty where there is
    none.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    order: BatchOrder
    device: str
    began: float
    kept: float
    step: int = 0
    losses: list[Tensor] = field(default_factory=list)
    curve: list[CurvePoint] = field(default_factory=list)
    aside: float = 0.0
    peak_bytes: int = 0
    average: list[Tensor] = field(default_factory=list)
    average_decay: float = 0.0
    core_began: float = field(init=False)

    def __post_init__(self):
        self.core_began = core_clock(self.device)()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.began

    @property
    def core_seconds(self) -> float:
        """Return the seconds of one core, however many threads share them; on a GPU wall time."""
        return core_clock(self.device)() - self.core_began

    def images_per_second(self, batch: int) -> float:
        return self.step * batch / (self.seconds - self.aside)

    def begin_average(self, decay: float) -> None:
        """Average the network's weights and batch norm statistics from now on, see `Recipe.average`; 0 for none."""
        self.average_decay = decay
        self.average = [tensor.clone() for tensor in self._numbers()] if decay else []

    def after_step(self) -> None:
        """Take note of the weights after a step."""
        if self.average_decay:
            torch._foreach_lerp_(self.average, self._numbers(), self.average_share(self.step + 1))

    def average_share(self, steps: int) -> float:
        """Return how much of the average the weights after so many steps make up: TensorFlow's rule, as TF-slim gives
        it the number of steps."""
        return 1 - min(self.average_decay, (1 + steps) / (10 + steps))

    def settle(self) -> None:
        """Give the network the weights with which it ends, after the last step."""
        if self.average_decay:
            torch._foreach_copy_(self._numbers(), self.average)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Let the network have the weights with which it would end now; outside it trains on as if nothing had been."""
        own = [tensor.clone() for tensor in self._numbers()] if self.average_decay else []
        self.settle()
        try:
            yield
        finally:
            if own:
                torch._foreach_copy_(self._numbers(), own)

    def _numbers(self) -> list[Tensor]:
        return [tensor for tensor in self.model.state_dict().values() if tensor.is_floating_point()]

    @contextmanager
    def set_aside(self) -> Iterator[None]:
        """Count what runs inside as no training: its time does not make training slower."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.aside += time.perf_counter() - start

    def state(self) -> dict:
        """Return tensors, not copied, and plain types."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
            "order": self.order.state(),
            "step": self.step,
            "losses": torch.stack(self.losses) if self.losses else torch.empty(0),
            "curve": [astuple(point) for point in self.curve],
            "seconds": self.seconds,
            "core_seconds": self.core_seconds,
            "aside": self.aside,
            "peak_bytes": self.peak_bytes,
            "random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state() if self.device == "cuda" else None,
        }

    def restore(self, state: dict) -> None:
        """Take over a state. May raise anything, halfway, if it is not one of such a course."""
        self.model.load_state_dict(state["model"])  # copies: the model keeps its channels last
        self.optimizer.load_state_dict(state["optimizer"])  # takes the tensors as they are, which have kept theirs
        if self.average_decay:
            torch._foreach_copy_(self.average, [tensor.to(self.device) for tensor in state["average"]])
        self.order.restore(state["order"])
        self.step, self.aside, self.peak_bytes = state["step"], state["aside"], state["peak_bytes"]
        self.losses = list(state["losses"].to(self.device))
        self.curve = [read_point(values) for values in state["curve"]]
        self.began = time.perf_counter() - state["seconds"]
        self.core_began = core_clock(self.device)() - state.get("core_seconds", state["seconds"])  # earlier versions
        torch.set_rng_state(state["random"])
        if self.device == "cuda":
            torch.cuda.set_rng_state(state["cuda_random"])


# ---------------------------------------------------------------- checkpoints


def checkpoint_header(owner: str, device: str) -> dict:
    """Return what has to be the same for numbers to go on as they would have; the owner is a trial's id, or a shared
    training's."""
    return {"trial": owner, "code_version": CODE_VERSION, "torch": str(torch.__version__), "device": device}


def write_checkpoint(path: Path, owner: str, course: Course, log: Callable[[str], None]) -> None:
    """Replace the file by the course's state; a disk that refuses it is logged, and the file then stays as it was."""
    try:
        write_packed(path, checkpoint_header(owner, course.device) | {"step": course.step}, course.state())
    except OSError as error:
        log(f"the checkpoint of step {course.step} could not be written: {error.strerror or error}")


def read_checkpoint(path: Path, owner: str, device: str, log: Callable[[str], None]) -> dict | None:
    """Return the state in the file, or None where there is none to go on from. Removes what a killed attempt left
    behind."""
    remove_unfinished(path)
    try:
        header, state = read_packed(path, checkpoint_header(owner, device))
        if header["step"] != state["step"]:
            raise ValueError("it contradicts itself about its step")
        return state
    except FileNotFoundError:
        return None
    except Exception as error:  # json and torch.load raise many kinds at what they have not written
        log(f"the checkpoint is not used: {describe_error(error)}")
        return None


def remove_checkpoint(path: Path) -> None:
    """Remove the file, and what is unfinished of it. What the system does not let go of stays: it is no reason to lose
    a result."""
    remove_unfinished(path)
    remove_files([path])


def describe_error(error: Exception) -> str:
    """Return an error in one line: its kind and the first line of its text."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
