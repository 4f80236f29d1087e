"""Session -> outcomes: which trials need what, who runs them, and what a worker process does with one."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import torch
from torch import nn

from mnv2_sweep.base.places import cache_folder
from mnv2_sweep.data.catalog import Dataset, open_dataset
from mnv2_sweep.record.store import Outcome
from mnv2_sweep.sweeps.attempt import Attempts
from mnv2_sweep.sweeps.pool import Feed, run_pool
from mnv2_sweep.sweeps.queue import TrialQueue, record_outcomes
from mnv2_sweep.sweeps.request import Session, find_prepared
from mnv2_sweep.sweeps.settings import RunSettings
from mnv2_sweep.training.control import Control
from mnv2_sweep.training.kept import keep_network
from mnv2_sweep.training.ways.way import Setup, join_trials, work_of
from mnv2_sweep.trials.trial import Result, Trial
from mnv2_sweep.trials.ways import Need, own_file


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
    setup = make_setup(session, settings)
    with TrialQueue(session.folder, session.missing, find_need=partial(find_need, setup)) as queue:
        feed = Feed(queue.take, queue.others, stop, queue.tick, pulse=True)
        with closing(record_outcomes(queue, start_workers(session, settings, feed, setup))) as outcomes:
            for outcome in outcomes:
                elsewhere = tuple(queue.elsewhere)
                yield Ticked(elsewhere) if outcome is None else Ended(outcome, queue.is_retried(outcome))


def make_setup(session: Session, settings: RunSettings) -> Setup:
    """Return what the session's trials have in common."""
    request, preparations = session.request, session.preparations
    archs, groups = tuple(request.archs) if preparations else (), find_groups(session, settings)
    made = find_prepared(session)
    threads = share_workers([name for name in preparations if name not in made], settings.workers)
    keeps = settings.keep_here.which != "none"
    graphs = settings.cuda_graphs
    return Setup(request.device, session.folder, archs, groups, threads, graphs, keeps, each=settings.images)


def share_workers(preparations: Sequence[str], workers: int) -> dict[str, int]:
    """Return how many threads each preparation takes, in the order in which they are made: as many at once as there are
    workers, one thread each; those that are left share all workers among them, which else would wait."""
    left = len(preparations) % workers
    last = preparations[len(preparations) - left :]
    return {name: workers // left if name in last else 1 for name in preparations}


def find_groups(session: Session, settings: RunSettings) -> dict[Trial, tuple[Trial, ...]]:
    """Return the trials of which several are trained as one -> all that are trained with them."""
    return join_trials(session.missing) if settings.stacks_seeds else {}


def find_need(setup: Setup, trial: Trial) -> Need | None:
    """Return what the trial needs that others need too."""
    return work_of(trial).need(trial, setup)


def start_workers(session: Session, settings: RunSettings, feed: Feed, setup: Setup) -> Iterator[Outcome | None]:
    """Try the trials of the feed in worker processes here, or elsewhere, and yield their outcomes as they end."""
    if settings.elsewhere is not None:  # where the sweep's folder may not be seen
        own = Setup(setup.device, each=setup.each)
        attempts = Attempts(partial(train_on, own), session.folder, watch=settings.watch)
        return settings.elsewhere(attempts, feed, session.request.dataset)
    function = partial(train_in_worker, session.request.data_name, cache_folder(), setup)
    attempts = Attempts(function, session.folder, watch=settings.watch)
    limits = settings.limits
    # While something is prepared for many trials, one worker does what as many would.
    if settings.memory_is_divided and setup.threads:
        limits = replace(limits, memory_bytes=max(setup.threads.values()) * limits.memory_bytes)
    return run_pool(attempts, feed, settings.workers, limits, settings.gpus)


def train_in_worker(data_name: str, cache: Path, setup: Setup, trial: Trial, control: Control) -> Result:
    """Do with a trial what a worker process does; it opens the data once."""
    return train_on(setup, worker_dataset(data_name, cache), trial, control)


def train_on(setup: Setup, dataset: Dataset, trial: Trial, control: Control) -> Result:
    """Run the trial in one thread, on the data that it names; what it prepares for others in as many as are given. Its
    weights are kept where they are to be, and what it made of each image is left out where nobody wants that."""
    torch.set_num_threads(1)
    if dataset.fingerprint != trial.data.fingerprint:
        raise RuntimeError(f"{dataset.name} has changed since the sweep began; run the command again")

    def keep(trial: Trial, model: nn.Module, result: Result) -> None:
        keep_network(setup.folder / own_file(trial), dataset, control, setup.asked, trial, model, result)

    result = work_of(trial).run(trial, dataset, setup, replace(control, keep=keep) if setup.keeps else control)
    return result if setup.each else replace(result, each=b"")


@cache
def worker_dataset(data_name: str, cache: Path) -> Dataset:
    return open_dataset(data_name, cache)
