"""Planned trials minus done ones, handed to an executor, each outcome recorded the moment it is there."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: two runs at once do work twice there, but record it once
    fcntl = None

from mnv2_sweep.archs.arch import ArchSpec
from mnv2_sweep.costs.cost import count_cost
from mnv2_sweep.errors import StoreError
from mnv2_sweep.sweeps.interrupts import hold_interrupts
from mnv2_sweep.sweeps.store import Outcome, done_ids, read_outcomes, record
from mnv2_sweep.training.trial import DataRef, Recipe, Trial, record_json, trial_id

LOCK = ".lock"

Executor = Callable[[Sequence[Trial]], Iterator[Outcome]]


def plan_trials(archs: Iterable[ArchSpec], recipe: Recipe, data: DataRef, seeds: Iterable[int]) -> tuple[Trial, ...]:
    """Every network with every seed, each trial once: two specs of the same network are one trial."""
    trials = {}
    archs = tuple(archs)
    for seed in seeds:
        for arch in archs:
            trial = Trial(arch, recipe, data, seed)
            trials.setdefault(trial_id(trial), trial)
    return tuple(trials.values())


def missing_trials(trials: Sequence[Trial], folder: Path) -> tuple[Trial, ...]:
    """The trials without a result in the folder, longest first (a long one that starts last is waited for alone).

    Recipe and data keep the names they have in the folder: a sweep has one of each, whatever they are called now.
    Raises StoreError when the folder's results were made with another recipe or other data.
    """
    outcomes = [outcome for outcome in read_outcomes(folder) if outcome.status == "done"]
    done = done_ids(outcomes)
    missing = [trial for trial in trials if trial_id(trial) not in done]
    if outcomes and trials:
        before = outcomes[0].trial
        _check_same(folder, before, trials[0])
        missing = [replace(trial, recipe=before.recipe, data=before.data) for trial in missing]
    return tuple(sorted(missing, key=trained_madds, reverse=True))


def count_others(trials: Sequence[Trial], folder: Path) -> int:
    """Results in the folder that are none of these trials: networks or seeds of an earlier version of the space."""
    planned = {trial_id(trial) for trial in trials}
    return len(done_ids(read_outcomes(folder)) - planned)


def trained_madds(trial: Trial) -> int:
    """MAdds of one image at the size it is trained at, with the data's classes: what training time follows."""
    return count_cost(replace(trial.arch, resolution=trial.train_size, classes=trial.data.classes)).madds


def run_sweep(trials: Sequence[Trial], folder: Path, executor: Executor) -> Iterator[Outcome]:
    """Run the trials; yields each outcome after it is recorded."""
    for outcome in executor(trials):
        with hold_interrupts():
            record(folder, outcome)
        yield outcome


@contextmanager
def lock_sweep(folder: Path) -> Iterator[None]:
    """Keep other runs of the same sweep out until the block ends or this process dies. Raises StoreError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / LOCK).open("w") as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
    except BlockingIOError as error:
        raise StoreError(
            f"{folder}: another run of this sweep is going on; wait for it (see 'mnv2-sweep table {folder.name}'), "
            "or give this one another --name"
        ) from error


def write_sweep_files(folder: Path, space_text: str, environment: dict) -> None:
    """A copy of the space and the environment beside the results, each replaced as a whole.

    Environments of earlier runs of the sweep stay, in "earlier", where they differ in more than the command.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        earlier = _earlier_environments(folder / "env.json", environment)
        environment = {**environment, "earlier": earlier} if earlier else environment
        for name, text in (("space.yaml", space_text), ("env.json", json.dumps(environment, indent=2) + "\n")):
            temporary = folder / f"{name}.tmp"
            with temporary.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(folder / name)
    except OSError as error:
        raise StoreError(f"{folder}: can't be written ({error}); choose another --results folder") from error


def _earlier_environments(path: Path, environment: dict) -> list[dict]:
    try:
        last = json.loads(path.read_text(encoding="utf-8"))
        earlier = last.pop("earlier", [])
    except (FileNotFoundError, ValueError, AttributeError):
        return []
    same = {**last, "command": ""} == {**environment, "command": ""}
    return earlier if same else [*earlier, last]


def _check_same(folder: Path, old: Trial, new: Trial) -> None:
    before, now = record_json(replace(old.recipe, name="")), record_json(replace(new.recipe, name=""))
    changed = [
        f"{key} {getattr(old.recipe, key)} -> {getattr(new.recipe, key)}"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]
    if old.data.fingerprint != new.data.fingerprint:
        changed.append(
            f"data {old.data.name} ({old.data.fingerprint[:8]}) -> {new.data.name} ({new.data.fingerprint[:8]})"
        )
    if old.arch.classes != new.arch.classes:
        changed.append(f"classes {old.arch.classes} -> {new.arch.classes}")
    if changed:
        raise StoreError(
            f"{folder}: its results were made differently ({'; '.join(changed)}); give this sweep another --name"
        )
