"""Session -> outcomes: which trials need what, who runs them, and what a worker process does with one."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import torch

from mnv2_sweep.data.catalog import Dataset, cache_folder, open_dataset
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.record.folders import stack_path, weights_path
from mnv2_sweep.record.store import Outcome
from mnv2_sweep.sweeps.attempt import Attempts
from mnv2_sweep.sweeps.pool import Feed, run_pool
from mnv2_sweep.sweeps.queue import Need, TrialQueue, record_outcomes
from mnv2_sweep.sweeps.request import Session, find_trained
from mnv2_sweep.sweeps.settings import RunSettings
from mnv2_sweep.training.control import Control
from mnv2_sweep.training.loop import run_trial
from mnv2_sweep.training.shared import Supernet, has_weights, run_shared_trial
from mnv2_sweep.training.stacked import group_seeds, has_seed, run_stacked_trial
from mnv2_sweep.trials.trial import Result, Trial, shared_id, trial_id


@dataclass(frozen=True, slots=True)
class Ticked:
    """A moment has passed; `elsewhere` are the trials that other runs have recorded so far."""

    elsewhere: tuple[Trial, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """An outcome that is on disk; `retried`: the trial will be tried once more."""

    outcome: Outcome
    retried: bool


def run_session(session: Session, settings: RunSettings, stop: Callable[[], bool]) -> Iterator[Ticked | Ended]:
    """Do what is missing, beside whatever other runs do; each outcome is on disk before it is yielded."""
    groups = find_groups(session, settings)
    with TrialQueue(session.folder, session.missing, find_need=partial(_find_need, session.folder, groups)) as queue:
        feed = Feed(queue.take, queue.others, stop, queue.tick, pulse=True)
        with closing(record_outcomes(queue, start_workers(session, settings, feed, groups))) as outcomes:
            for outcome in outcomes:
                elsewhere = tuple(queue.elsewhere)
                yield Ticked(elsewhere) if outcome is None else Ended(outcome, queue.is_retried(outcome))


def find_groups(session: Session, settings: RunSettings) -> dict[Trial, tuple[Trial, ...]]:
    """Return the trials of which several are trained as one -> all that are trained with them."""
    return group_seeds(session.missing) if settings.stacks_seeds else {}


def _find_need(folder: Path, groups: Mapping[Trial, tuple[Trial, ...]], trial: Trial) -> Need | None:
    """Return what the trial needs: weights that it is a slice of, or the results of the seeds that it is trained
    with."""
    if trial.shared:
        return Need(shared_id(trial), partial(has_weights, weights_path(folder, trial), trial))
    if trial in groups:
        group = groups[trial]
        return Need(trial_id(group[0]), lambda: all(has_seed(stack_path(folder, own), own) for own in group))
    return None


def start_workers(
    session: Session, settings: RunSettings, feed: Feed, groups: Mapping[Trial, tuple[Trial, ...]]
) -> Iterator[Outcome | None]:
    """Try the trials of the feed in worker processes here, or elsewhere, and yield their outcomes as they end."""
    if settings.elsewhere is not None:
        attempts = Attempts(partial(train_on, Training(session.request.device)), session.folder, watch=settings.watch)
        return settings.elsewhere(attempts, feed, session.request.dataset)
    supernets = None
    if session.supernet:
        trainings = len({shared_id(trial) for trial in session.missing})
        supernets = Supernets(session.supernet, session.folder, max(1, settings.workers // max(1, trainings)))
    stacks = Stacks(groups, session.folder) if groups else None
    training = Training(session.request.device, supernets, stacks, settings.cuda_graphs)
    function = partial(train_in_worker, session.request.data_name, cache_folder(), training)
    attempts = Attempts(function, session.folder, watch=settings.watch)
    limits = settings.limits
    # While the weights are trained, one worker does what as many would.
    if supernets and settings.memory_is_divided and len(find_trained(session)) < trainings:
        limits = replace(limits, memory_bytes=supernets.threads * limits.memory_bytes)
    return run_pool(attempts, feed, settings.workers, limits, settings.gpus)


@dataclass(frozen=True, slots=True)
class Supernets:
    """The supernets of a sweep, one for each seed: their networks, the sweep's folder, and how many threads each shared
    training may take."""

    archs: tuple[ArchSpec, ...]
    folder: Path
    threads: int


@dataclass(frozen=True, slots=True)
class Stacks:
    """Trials of which several are trained as one, with all that are trained with them, and the sweep's folder."""

    groups: Mapping[Trial, tuple[Trial, ...]]
    folder: Path


@dataclass(frozen=True, slots=True)
class Training:
    """How trials are trained: the device, the supernets and stacks that they may belong to, whether as CUDA graphs."""

    device: str = "cpu"
    supernets: Supernets | None = None
    stacks: Stacks | None = None
    cuda_graphs: bool = False


def train_in_worker(data_name: str, cache: Path, training: Training, trial: Trial, control: Control) -> Result:
    """Do with a trial what a worker process does; it opens the data once."""
    return train_on(training, worker_dataset(data_name, cache), trial, control)


def train_on(training: Training, dataset: Dataset, trial: Trial, control: Control) -> Result:
    """Train in one thread, on the data that the trial names; shared weights in as many as they are given."""
    torch.set_num_threads(1)
    if dataset.fingerprint != trial.data.fingerprint:
        raise RuntimeError(f"{dataset.name} has changed since the sweep began; run the command again")
    device, supernets, stacks = training.device, training.supernets, training.stacks
    if trial.shared:
        supernet = Supernet(supernets.archs, weights_path(supernets.folder, trial), supernets.threads)
        return run_shared_trial(trial, dataset, device, control, supernet)
    if stacks and trial in stacks.groups:
        paths = {own: stack_path(stacks.folder, own) for own in stacks.groups[trial]}
        return run_stacked_trial(trial, paths, dataset, device, control)
    return run_trial(trial, dataset, device, control, training.cuda_graphs)


@cache
def worker_dataset(data_name: str, cache: Path) -> Dataset:
    return open_dataset(data_name, cache)
