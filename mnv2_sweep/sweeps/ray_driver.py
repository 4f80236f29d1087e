"""Trials -> Outcomes on a Ray cluster, or through Ray on this machine: called as `run_pool` is, with the same records.

Ray decides where a trial runs: one CPU and a part of a GPU each, as many at once as the cluster has room for. This
process alone takes trials and hands over outcomes. Nothing is tried again here: a trial whose process or node is lost
ends as killed, and whoever records that decides.
"""

import itertools
import logging
import math
import os
import signal
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import ray
from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.files import write_whole
from mnv2_sweep.base.signals import hold_interrupts
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.record.folders import LOGS, RUNNING, checkpoint_path, progress_path
from mnv2_sweep.record.store import EXCEPTION, INTERRUPTED, KILLED, OUT_OF_MEMORY, TIMED_OUT, Outcome
from mnv2_sweep.sweeps.attempt import Attempts, remove_progress, write_progress
from mnv2_sweep.sweeps.pool import IDLE_SECONDS, STOP_SECONDS, WAIT_SECONDS, Feed, Limits
from mnv2_sweep.sweeps.ray_node import Hub, Returned, Seen, attempt_trial, header_of
from mnv2_sweep.trials.trial import Trial, trial_id

REACH_SECONDS = 5.0
FRAME_BYTES, SETTINGS_FRAME = 9, 4  # the head of a frame; its fourth byte is the type
HTTP2_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, SETTINGS_FRAME, 0, 0, 0, 0, 0))
REASON_LENGTH = 200  # Ray's texts may hold whole tracebacks
LOST_SECONDS = 300.0  # the hub may be busy for a while, putting images into the object store
LOCAL_STORE_BYTES = 100 * 2**20  # of a Ray of our own: there, data are read from files
GPU_PARTS = 10_000  # into which Ray divides a GPU
MARK, MARK_SECONDS = ".here", 7 * 24 * 3600.0
NO_LIMITS = Limits()

Demand = dict[str, float]  # of one trial, by the names of Ray's resources


def connect(address: str | None, cores: int) -> None:
    """Join the cluster at host:port, "auto" (one that runs on this machine), $RAY_ADDRESS; without any of them start
    a Ray of our own, with so many cores, that ends with this process. Raises SweepError."""
    address = address or os.environ.get("RAY_ADDRESS")
    options = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options |= {"num_cpus": cores, "include_dashboard": False, "object_store_memory": LOCAL_STORE_BYTES}
    else:
        address = _find_cluster(address)
    with _keep_sigterm():
        try:
            ray.init(address or "local", **options)
        except (OSError, RuntimeError, ValueError) as error:
            where = f"--address {address}: can't join this Ray cluster" if address else "--executor ray: can't start"
            reason = " ".join(str(error).split())[:REASON_LENGTH]
            raise SweepError(f"{where} ({reason}); it takes a machine of the cluster and its token") from error


def _find_cluster(address: str) -> str:
    """Return host:port, after somebody has answered there: Ray itself would try for many minutes."""
    where = f"--address {address}"
    if address == "auto":
        try:
            address = Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster").read_text().strip()
        except OSError:
            raise SweepError(f"{where}: no Ray cluster runs on this machine; 'ray start' joins one") from None
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise SweepError(f"{where}: host:port of a Ray cluster's head is wanted, or auto")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), REACH_SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS", "0") != "1" and not _speaks_http2(connection):
                raise OSError("what listens there does not speak gRPC, as Ray does")
    except (OSError, OverflowError) as error:
        raise SweepError(f"{where}: no Ray cluster answers there ({error}); 'ray start' starts one") from None
    return address


def _speaks_http2(connection: socket.socket) -> bool:
    """Return whether the other side answers a client's greeting with settings, as every gRPC server does at once (RFC
    9113, section 3.4); raises OSError where it says too little for REACH_SECONDS, or leaves."""
    connection.sendall(HTTP2_GREETING)
    answer, end = b"", time.monotonic() + REACH_SECONDS
    while len(answer) < FRAME_BYTES:
        connection.settimeout(max(0.01, end - time.monotonic()))
        got = connection.recv(FRAME_BYTES - len(answer))
        if not got:
            return False
        answer += got
    return answer[3] == SETTINGS_FRAME


@contextmanager
def _keep_sigterm() -> Iterator[None]:
    """Keep our handler: ray.init puts one of its own in place of it."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def trial_demand(limits: Limits = NO_LIMITS, per_gpu: int = 0) -> Demand:
    """Return what Ray sets aside for a trial: a core, its limit of memory, its part of a GPU that `per_gpu` trials
    share."""
    demand = {"CPU": 1.0}
    if limits.memory_bytes is not None:
        demand["memory"] = float(limits.memory_bytes)
    if per_gpu:
        demand["GPU"] = GPU_PARTS // per_gpu / GPU_PARTS
    return demand


def count_slots(demand: Demand) -> int:
    """Count the trials that the cluster has room for, were it empty."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(math.floor(min(node.get(name, 0.0) / need for name, need in demand.items())) for node in nodes)


def run_ray(
    attempts: Attempts,
    feed: Feed,
    dataset: Dataset,
    workers: int | None = None,
    limits: Limits = NO_LIMITS,
    per_gpu: int = 0,
) -> Iterator[Outcome]:
    """Run trials on the cluster that `connect` has joined, at most `workers` at once: without a number as many as there
    is room for at the time, with one also more, which a cluster that grows by demand then grows to.

    The attempts' function is called with the data set as the node sees it, the trial and its control; `per_gpu`
    trials share a GPU, 0 use none. Asked to stop, a trial writes its checkpoint, which comes back also from nodes that
    do not see the folder; on those, the checkpoints in between are lost with the node.
    """
    crew = _Crew(attempts, dataset, limits, trial_demand(limits, per_gpu), workers)
    idle_until, asked = 0.0, 0.0
    try:
        while True:
            if feed.stop() and not asked:
                asked = time.monotonic()
            while not asked and time.monotonic() >= idle_until and crew.has_room():
                trial = feed.take()
                if trial is None:
                    idle_until = time.monotonic() + IDLE_SECONDS
                else:
                    crew.start(trial)
            if not crew.tasks and (asked or not feed.others()):
                return
            outcome = crew.wait()
            if outcome is not None:
                idle_until = 0.0
                yield outcome
            crew.watch(asked)
            feed.tick()
            if feed.pulse:
                yield None
    finally:
        with hold_interrupts():
            crew.dismiss()


@dataclass(slots=True)
class _Task:
    number: int
    trial: Trial
    seen: Seen | None = None  # None: it waits for room
    verdict: tuple[str, str] | None = None  # why we ended it


class _Crew:
    """The tasks that are out, the hub they talk to, and the mark by which they know the sweep's folder."""

    def __init__(self, attempts: Attempts, dataset: Dataset, limits: Limits, demand: Demand, workers: int | None):
        self.folder, self.limits, self.demand, self.workers = attempts.folder.resolve(), limits, demand, workers
        self.numbers = itertools.count()
        self.tasks: dict[ray.ObjectRef, _Task] = {}
        self.ended: list[int] = []  # which the hub may forget
        self.slots, self.counted = 0, -math.inf
        self.mark = _make_mark(self.folder)
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        hub = ray.remote(num_cpus=0, scheduling_strategy=here)(Hub)
        self.hub = hub.remote(dataset)
        self.header = ray.put(header_of(dataset))
        self.common = ray.put(replace(attempts, folder=self.folder))
        self.attempt = ray.remote(attempt_trial).options(
            num_cpus=demand["CPU"], num_gpus=demand.get("GPU", 0), memory=demand.get("memory"), max_retries=0
        )

    def has_room(self) -> bool:
        if self.workers is not None:
            return len(self.tasks) < self.workers
        if time.monotonic() - self.counted > IDLE_SECONDS:
            self.slots, self.counted = count_slots(self.demand), time.monotonic()
        return len(self.tasks) < self.slots

    def start(self, trial: Trial) -> None:
        task = _Task(next(self.numbers), trial)
        checkpoint = None
        with suppress(OSError):
            checkpoint = checkpoint_path(self.folder, trial).read_bytes()
        rest = (task.number, trial, trial_id(trial), str(self.mark), checkpoint)
        self.tasks[self.attempt.remote(self.common, self.hub, self.header, *rest)] = task

    def wait(self) -> Outcome | None:
        """Return the next outcome, if one comes in a moment."""
        if not self.tasks:
            time.sleep(WAIT_SECONDS)
            return None
        done, _ = ray.wait(list(self.tasks), timeout=WAIT_SECONDS)
        for reference in done:
            task = self.tasks.pop(reference)
            self.ended.append(task.number)
            ended = _collect(reference, task)
            _bring_home(self.folder, ended.files)
            remove_progress(progress_path(self.folder, task.trial))
            return replace(ended.outcome, trial=task.trial)

    def watch(self, asked: float) -> None:
        """Pass on the wish to stop, learn how far the trials are, end those that take too long."""
        try:
            seen = ray.get(self.hub.look.remote(bool(asked), self.ended), timeout=LOST_SECONDS)
        except RayError as error:
            raise SweepError(f"the Ray cluster is lost ({type(error).__name__}); the same command continues") from error
        self.ended = []
        for reference, task in self.tasks.items():
            task.seen = seen.get(task.number)
            seconds = task.seen.seconds if task.seen else 0.0
            if asked and task.seen is None:
                self._end(reference, INTERRUPTED, "interrupted before it began", force=False)
            elif asked and time.monotonic() - asked > STOP_SECONDS:
                self._end(reference, INTERRUPTED, "interrupted; it did not stop by itself")
            elif self.limits.seconds is not None and seconds > self.limits.seconds:
                self._end(reference, TIMED_OUT, f"took more than the {self.limits.seconds:,.0f} s allowed")
            elif task.seen and task.seen.progress:
                write_progress(progress_path(self.folder, task.trial), task.seen.progress)

    def _end(self, reference: ray.ObjectRef, kind: str, text: str, force: bool = True) -> None:
        if self.tasks[reference].verdict is None:
            self.tasks[reference].verdict = (kind, text)
            ray.cancel(reference, force=force)

    def dismiss(self) -> None:
        """End what still runs, at once."""
        with suppress(RayError):  # the cluster is lost
            for reference in self.tasks:
                ray.cancel(reference, force=True)
            ray.kill(self.hub)
        for task in self.tasks.values():
            remove_progress(progress_path(self.folder, task.trial))
        with suppress(OSError):
            self.mark.unlink(missing_ok=True)


def _make_mark(folder: Path) -> Path:
    """Make a file that only those find who see the folder; where the disk refuses it, every node works in one of its
    own."""
    mark = folder / RUNNING / f"{uuid.uuid4().hex}{MARK}"
    with suppress(OSError):
        mark.parent.mkdir(parents=True, exist_ok=True)
        for other in mark.parent.glob(f"*{MARK}"):  # of runs that were killed
            if time.time() - other.stat().st_mtime > MARK_SECONDS:
                other.unlink()
        mark.touch()
    return mark


def _collect(reference: ray.ObjectRef, task: _Task) -> Returned:
    """Return what the task returned, or how it ended."""
    try:
        return ray.get(reference)
    except RayError as error:
        kind, text = task.verdict or describe_error(error, task.seen.place if task.seen else "a node")
        return Returned(Outcome(task.trial, error=text, kind=kind), {})


def describe_error(error: RayError, place: str) -> tuple[str, str]:
    if isinstance(error, RayTaskError):  # raised by the task around the attempt: other code on the node, for instance
        return EXCEPTION, f"{type(error.cause).__name__}: {error.cause}"
    if isinstance(error, OutOfMemoryError):
        return OUT_OF_MEMORY, f"Ray ended the worker process on {place}, which was running out of memory"
    if isinstance(error, NodeDiedError):
        return KILLED, f"the node {place} was lost"
    if isinstance(error, ObjectLostError):
        return KILLED, f"the node {place} was lost with the result"
    if isinstance(error, WorkerCrashedError):
        return KILLED, f"the worker process on {place} ended; out of memory?"
    return KILLED, f"{type(error).__name__}: {error}"


def _bring_home(folder: Path, files: dict[str, bytes]) -> None:
    """Write files from a node to their places in the sweep's folder; what the disk refuses is lost, and harms no
    result."""
    for name, data in files.items():
        path = folder / name
        with suppress(OSError):
            if path.parent.name == LOGS:
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("ab") as log:
                    log.write(data)
            else:
                write_whole(path, data, sync=False)
