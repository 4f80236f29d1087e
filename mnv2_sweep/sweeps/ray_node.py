"""A trial on a node of a Ray cluster -> an Outcome: the attempt, the data as they are there, and the hub, a small
process beside the driver that all attempts can ask.

A node that sees the sweep's folder (one machine, a shared file system) works in it. Any other works in a folder of its
own and sends back what is in it: the log, events, and the checkpoint of a trial that was asked to stop.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import ray

from mnv2_sweep.base.size import Size
from mnv2_sweep.data.cache import open_images
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.record.folders import RUNNING, checkpoint_path
from mnv2_sweep.record.store import INTERRUPTED, Outcome
from mnv2_sweep.sweeps.attempt import Attempts, read_progress
from mnv2_sweep.trials.trial import Trial, trial_id

HUB_SECONDS = 1.0  # between two calls of a trial to the hub


@dataclass(frozen=True, slots=True)
class Seen:
    """An attempt as the hub knows it: the node's address, seconds since it began, progress where no file shows it."""

    place: str
    seconds: float
    progress: dict | None


class Hub:
    """A process on the driver's machine: nodes tell it how far they are and learn whether to stop and where pixels
    are."""

    def __init__(self, dataset: Dataset):
        self.dataset, self.stopping = dataset, False
        self.began: dict[int, float] = {}
        self.heard: dict[int, tuple[str, dict | None]] = {}
        self.shared: dict[tuple[str, Size], ray.ObjectRef] = {}

    def hear(self, number: int, place: str, progress: dict | None) -> bool:
        """Hear from an attempt, once a second; returns whether it should stop."""
        self.began.setdefault(number, time.monotonic())
        self.heard[number] = place, progress
        return self.stopping

    def look(self, stopping: bool, ended: Sequence[int]) -> dict[int, Seen]:
        """Tell the hub, as the driver, whether to stop and which attempts have ended; returns those that have begun."""
        self.stopping = stopping
        for number in ended:
            self.began.pop(number, None)
            self.heard.pop(number, None)
        now = time.monotonic()
        return {n: Seen(place, now - self.began[n], progress) for n, (place, progress) in self.heard.items()}

    def find(self, split: str, size: Size) -> tuple[str, tuple[int, ...]]:
        """Return the file that holds the images ('' if none does) and their shape.

        A file counts only if its path names the data's fingerprint, as those of the cache do: then the same path on
        another machine holds the same images.
        """
        pixels = self.dataset.pixels(split, size)
        path = str(getattr(pixels, "filename", None) or "")
        return path if self.dataset.fingerprint[:12] in path else "", pixels.shape

    def share(self, split: str, size: Size) -> list[ray.ObjectRef]:
        """Put the images into the object store when the first node asks, and return them in a list, or Ray would fetch
        them."""
        if (split, size) not in self.shared:
            self.shared[split, size] = ray.put(np.asarray(self.dataset.pixels(split, size)))
        return [self.shared[split, size]]


@dataclass(frozen=True, slots=True)
class DataHeader:
    """All that a data set is but its pixels."""

    name: str
    fingerprint: str
    classes: tuple[str, ...]
    labels: dict[str, np.ndarray]


def header_of(dataset: Dataset) -> DataHeader:
    return DataHeader(dataset.name, dataset.fingerprint, dataset.classes, dataset.labels)


@dataclass(frozen=True)
class NodeData:
    """A Dataset on a node: pixels from the cache's file where the node sees it, else from the object store. To the
    store they come once a node, and all its workers read them there in place. There is one NodeData for each attempt,
    for what it holds can't leave the store."""

    header: DataHeader
    hub: ray.actor.ActorHandle
    opened: dict[tuple[str, Size], np.ndarray] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.header.name

    @property
    def fingerprint(self) -> str:
        return self.header.fingerprint

    @property
    def classes(self) -> tuple[str, ...]:
        return self.header.classes

    @property
    def labels(self) -> dict[str, np.ndarray]:
        return self.header.labels

    def pixels(self, split: str, size: Size) -> np.ndarray:
        if (split, size) not in self.opened:
            path, shape = ray.get(self.hub.find.remote(split, size))
            pixels = _read_pixels(path, shape)
            if pixels is None:
                (reference,) = ray.get(self.hub.share.remote(split, size))
                pixels = ray.get(reference)
            self.opened[split, size] = pixels
        return self.opened[split, size]


def _read_pixels(path: str, shape: tuple[int, ...]) -> np.ndarray | None:
    try:
        return open_images(Path(path), shape) if path else None
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class Returned:
    """An outcome, and the files that come with it from a node that does not see the sweep's folder."""

    outcome: Outcome
    files: dict[str, bytes]


def attempt_trial(
    attempts: Attempts,
    hub: ray.actor.ActorHandle,
    header: DataHeader,
    number: int,
    trial: Trial,
    name: str,
    mark: str,
    checkpoint: bytes | None,
) -> Returned:
    """Make attempt `number` at the trial, as a task of Ray's; the driver says that the trial's id is `name`.

    `mark` is a file in the sweep's folder by which a node knows whether it sees it; `checkpoint` is where the trial
    stands, for nodes that don't.
    """
    if trial_id(trial) != name:
        raise RuntimeError("the node has another version of mnv2-sweep than the machine that runs the sweep")
    attempts = replace(attempts, function=partial(attempts.function, NodeData(header, hub)))
    if Path(mark).exists():
        return Returned(_attempt(attempts, hub, number, trial, shown=True), {})
    with tempfile.TemporaryDirectory(prefix="mnv2-sweep-") as own:
        attempts = replace(attempts, folder=Path(own))
        if checkpoint is not None:
            path = checkpoint_path(attempts.folder, trial)
            path.parent.mkdir(parents=True)
            path.write_bytes(checkpoint)
        outcome = _attempt(attempts, hub, number, trial, shown=False)
        return Returned(outcome, _read_files(attempts.folder))


def _attempt(attempts: Attempts, hub: ray.actor.ActorHandle, number: int, trial: Trial, shown: bool) -> Outcome:
    """Attempt the trial, asking the hub once a second whether to stop; `shown`: whoever watches the sweep sees the
    progress file."""
    place, names = ray.util.get_node_ip_address(), {trial_id(trial): trial}
    asked, last = ray.get(hub.hear.remote(number, place, None)), time.monotonic()

    def should_stop() -> bool:
        nonlocal asked, last
        if not asked and time.monotonic() - last >= HUB_SECONDS:
            progress = None if shown else read_progress(attempts.folder, names).get(trial)
            asked, last = ray.get(hub.hear.remote(number, place, progress)), time.monotonic()
        return asked

    if asked:
        return Outcome(trial, error="interrupted before it began", kind=INTERRUPTED)
    return attempts.run(trial, should_stop)


def _read_files(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    names = {path: path.relative_to(folder) for path in paths}
    return {str(name): path.read_bytes() for path, name in names.items() if name.parts[0] != RUNNING}
