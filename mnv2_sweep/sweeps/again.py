"""A network whose weights were not kept -> trained again to the same numbers, its weights kept; its record stays.

Each of its trials that has a result and no weights is trained alone, as it was at first, and what comes out is held
against the record. On a CPU of the same kind it is the same; seeds that a GPU trained as one come close.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.places import cache_folder
from mnv2_sweep.base.signals import StopRequest
from mnv2_sweep.base.text import bytes_text
from mnv2_sweep.data.asked import data_path
from mnv2_sweep.record.folders import remove_empty
from mnv2_sweep.record.store import Outcome, read_outcomes
from mnv2_sweep.sweeps.attempt import Attempts
from mnv2_sweep.sweeps.export import archs_beside, select_network
from mnv2_sweep.sweeps.keep import own_sizes
from mnv2_sweep.sweeps.pool import Feed, run_pool
from mnv2_sweep.sweeps.request import SweepRequest, add_weights_of
from mnv2_sweep.sweeps.workers import train_in_worker
from mnv2_sweep.training.kept import kept_bytes
from mnv2_sweep.training.ways.way import Setup, work_of
from mnv2_sweep.trials.tasks import task_of
from mnv2_sweep.trials.trial import Result, Trial, trial_label
from mnv2_sweep.trials.ways import is_kept


@dataclass(frozen=True, slots=True)
class Again:
    """A trial that was trained again: its network as tables name it, how it ended now, what is on record, what differs
    (nothing where it is as recorded), whether its weights are now there."""

    network: str
    outcome: Outcome
    recorded: Result
    differences: tuple[str, ...]
    kept: bool


def find_missing(folder: Path, network: str) -> list[Outcome]:
    """Return the results of the network, named as in tables, that have no weights. Raises SweepError where there is no
    such network."""
    outcomes = [outcome for outcome in read_outcomes(folder) if outcome.status == "done"]
    return [outcome for outcome in select_network(outcomes, network, folder) if not is_kept(folder, outcome.trial)]


def train_again(request: SweepRequest, missing: list[Outcome], stop: StopRequest | None = None) -> Iterator[Again]:
    """Train these results' trials again, one after the other or beside each other; nothing is recorded. The first
    Ctrl-C sets `stop`: trials write their checkpoints, from which the same command goes on. Raises SweepError."""
    settings, folder, stop = request.settings, request.folder, stop or StopRequest()
    check_again(request, missing)
    add_weights_of(request)
    recorded, waiting = {outcome.trial: outcome.result for outcome in missing}, [one.trial for one in missing]
    setup, workers = _make_setup(request, waiting)
    beside = [outcome.trial for outcome in read_outcomes(folder) if outcome.status == "done"]
    function = partial(train_in_worker, request.data_name, cache_folder(), setup)
    feed = Feed(lambda: waiting.pop(0) if waiting else None, lambda: len(waiting), stop)
    attempts = Attempts(function, folder, watch=settings.watch)
    with stop, closing(run_pool(attempts, feed, workers, settings.limits, settings.gpus)) as outcomes:
        for outcome in outcomes:
            if outcome is not None:
                before = recorded[outcome.trial]
                differences = () if outcome.result is None else _differences(outcome.trial, outcome.result, before)
                kept, network = is_kept(folder, outcome.trial), trial_label(outcome.trial, beside)
                yield Again(network, outcome, before, differences, kept)
    remove_empty(folder)


def check_again(request: SweepRequest, missing: list[Outcome]) -> None:
    """Raise SweepError where the trials can't be trained again, or their weights not be kept."""
    settings, folder = request.settings, request.folder
    if settings.elsewhere is not None or settings.executor != "local":
        raise SweepError("--again: weights are kept on this machine; use --executor local")
    if settings.keep_here.which == "none":
        raise SweepError("--again --keep none: one of them")
    fingerprint = request.dataset.fingerprint
    for trial in (outcome.trial for outcome in missing):
        if trial.data.fingerprint != fingerprint:
            given = data_path(request.data_name)
            raise SweepError(f"{folder}: it was trained on {trial.data.name}, other data than {given}")
    there = sum(own_sizes(folder, (outcome.trial for outcome in read_outcomes(folder))).values())
    wanted = there + sum(kept_bytes(outcome.trial) for outcome in missing)
    if wanted > settings.keep.most_bytes:
        raise SweepError(
            f"--keep-bytes: the kept weights would take {bytes_text(wanted)}, {bytes_text(settings.keep.most_bytes)} "
            "are allowed; give more"
        )


def _make_setup(request: SweepRequest, trials: list[Trial]) -> tuple[Setup, int]:
    """Return what the trials have in common, and how many run at once: one where something has to be made for all."""
    settings, folder = request.settings, request.folder
    needs = [trial for trial in trials if work_of(trial).preparation(trial)]
    archs = tuple(archs_beside(folder, needs[0])) if needs else ()
    made = all(work_of(trial).is_prepared(folder, trial) for trial in needs)
    workers = min(settings.workers, len(trials)) if made else 1
    threads = {work_of(trial).preparation(trial): settings.workers for trial in needs}
    graphs = settings.cuda_graphs
    return Setup(request.device, folder, archs, {}, threads, graphs, keeps=True, asked=True), max(1, workers)


def _differences(trial: Trial, result: Result, recorded: Result) -> tuple[str, ...]:
    """Say what was measured now and what is on record, where the two differ."""
    main, said = task_of(trial).main, []
    for split in recorded.scores:
        now, before = result.score(split, main.name), recorded.score(split, main.name)
        if now != before:
            said.append(f"{split} {main.said(now, 2)}, {main.amount(before, 2)} on record")
    if not said and (result.scores, result.train_loss) != (recorded.scores, recorded.train_loss):
        said.append(f"training loss {result.train_loss:.6f}, {recorded.train_loss:.6f} on record")
    return tuple(said)


def describe_again(again: Again) -> str:
    """Say in a line how a trial ended that was trained again."""
    trial, outcome = again.outcome.trial, again.outcome
    name = f"{again.network}, seed {trial.seed}"
    if outcome.result is None:
        return f"{name}: {outcome.error}"
    how = "as recorded" if not again.differences else f"DIFFERENT: {'; '.join(again.differences)}"
    return f"{name}: {how}; {'its weights are kept' if again.kept else 'its weights could not be kept, see its log'}"


def is_well(again: Again) -> bool:
    """Return whether the trial is as recorded, and kept."""
    return again.outcome.result is not None and not again.differences and again.kept
