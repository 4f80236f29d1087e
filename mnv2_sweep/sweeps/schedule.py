"""Networks, recipe, data and seeds -> the trials of a sweep, and which of them are still to do."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mnv2_sweep.base.errors import StoreError
from mnv2_sweep.base.files import UNFINISHED, remove_files, write_whole
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.record.claims import one_at_a_time, read_claims
from mnv2_sweep.record.folders import EXAMPLE
from mnv2_sweep.record.store import DATABASE, Outcome, add_each, done_ids, read_outcomes, read_schedule, read_statuses
from mnv2_sweep.trials.differences import compare_kinds, first_of_kinds
from mnv2_sweep.trials.recipe import Recipe
from mnv2_sweep.trials.tasks import task_of, trained_network
from mnv2_sweep.trials.trial import DataRef, Trial, trial_id
from mnv2_sweep.trials.ways import way_of
from mnv2_sweep.trials.weights import WeightsRecord

SWEEP_FILES = ("space.yaml", "env.json")
DATA, COMMAND = "data", "command"  # in env.json: as the last run opened the data, and was called


def schedule_trials(
    archs: Iterable[ArchSpec],
    recipe: Recipe,
    data: DataRef,
    seeds: Iterable[int],
    marks: Mapping[str, object] = {},
    starts: Mapping[ArchSpec, WeightsRecord] = {},
) -> tuple[Trial, ...]:
    """Return every network with every seed, each trial once: two specs of the same network are one trial. `marks` are
    further fields of all trials: their task, and what is of their way; `starts` the weights with which networks begin,
    whose padding they have."""
    trials = {}
    archs = tuple(archs)
    for seed in seeds:
        for arch in archs:
            start = starts.get(arch)
            arch = replace(arch, padding=start.padding) if start else arch
            trial = Trial(arch, recipe, data, seed, start=start, **marks)
            trials.setdefault(trial_id(trial), trial)
    return tuple(trials.values())


def missing_trials(trials: Sequence[Trial], folder: Path, retry_failed: bool = False) -> tuple[Trial, ...]:
    """Return the trials still to do: the cheapest where there is no result yet, so that there is one soon; then seed by
    seed, which gives a whole picture soon, of each seed the longest first (one that starts last is waited for alone).

    Those without an outcome and interrupted ones; failed ones only with `retry_failed`. Recipe and data keep the
    names they have in the folder: a sweep has one of each, whatever they are called now. Raises StoreError as
    `check_sweep`.
    """
    outcomes = read_outcomes(folder)
    ended = {o.id for o in outcomes if o.status == "done" or (o.status == "failed" and not retry_failed)}
    missing = [trial for trial in trials if trial_id(trial) not in ended]
    before = check_sweep(folder, trials, outcomes)
    missing = [
        replace(trial, recipe=before[trial.recipe.init].recipe, data=before[trial.recipe.init].data)
        if trial.recipe.init in before else trial for trial in missing
    ]  # fmt: skip
    ordered = sorted(missing, key=lambda trial: (trial.seed, -trained_madds(trial)))
    first = [] if ended else [trial for trial in ordered if trial.seed == ordered[0].seed][-1:]
    return tuple(dict.fromkeys([*first, *ordered]))


def find_reusable(trials: Sequence[Trial], folder: Path) -> list[Outcome]:
    """Return results of these trials in a person's other sweeps beside the folder, each with the sweep that measured
    it. The score that ranks may be another one there."""
    wanted, found = {trial_id(trial): trial for trial in trials}, {}
    for path in sorted(folder.parent.glob(f"*/{DATABASE}")):
        if path.parent == folder or path.parent.name == EXAMPLE or not wanted:
            continue
        try:
            statuses = read_statuses(path.parent)
            if not any(statuses.get(name, ("",))[0] == "done" for name in wanted):
                continue
            outcomes = [outcome for outcome in read_outcomes(path.parent) if outcome.id in wanted]
            outcomes = add_each(path.parent, outcomes)
        except StoreError:  # not ours, or busy: then it is measured again
            continue
        for outcome in outcomes:
            if outcome.status == "done" and outcome.id in wanted and _is_ranked(outcome, wanted[outcome.id]):
                trial = wanted.pop(outcome.id)
                found[trial] = replace(outcome, trial=trial, source=outcome.source or path.parent.name)
    return list(found.values())


def _is_ranked(outcome: Outcome, trial: Trial) -> bool:
    """Return whether a result has the score by which the trial's sweep ranks: earlier versions measured fewer."""
    return outcome.result.score("val", task_of(trial).main.name) is not None


def count_failed(trials: Sequence[Trial], folder: Path) -> int:
    """Count the trials that failed in an earlier run."""
    statuses = read_statuses(folder)
    return sum(statuses.get(trial_id(trial), ("",))[0] == "failed" for trial in trials)


def count_others(trials: Sequence[Trial], folder: Path) -> int:
    """Count the results in the folder that are none of these trials: networks or seeds of an earlier version of the
    space. One of theirs that was trained on by itself is none of another network."""
    scheduled, outcomes = {trial_id(trial) for trial in trials}, read_outcomes(folder)
    later = [outcome for outcome in outcomes if way_of(outcome.trial).goes_on]
    own = {outcome.id for outcome in later if trial_id(way_of(outcome.trial).work.before(outcome.trial)) in scheduled}
    return len(done_ids(outcomes) - scheduled - own)


def trained_madds(trial: Trial) -> int:
    """Return the MAdds of one image at the size it is trained at, with the head that is trained: what training time
    follows."""
    return count_cost(trained_network(trial)).madds


def read_data_name(folder: Path) -> str | None:
    """Read by what name or path the sweep's last run opened its data; None where that is not on record."""
    return _read_fact(folder, DATA)


def read_command(folder: Path) -> str | None:
    """Read the command that ran the sweep last; None where that is not on record, or not fit to print."""
    command = _read_fact(folder, COMMAND)
    return command if command and command.isprintable() else None


def _read_fact(folder: Path, key: str) -> str | None:
    try:
        found = json.loads((folder / "env.json").read_text(encoding="utf-8")).get(key)
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    return found if isinstance(found, str) else None


def write_sweep_files(folder: Path, space_text: str, environment: dict) -> None:
    """Put a copy of the space and the environment beside the results, each replaced as a whole.

    Environments of earlier runs of the sweep stay, in "earlier", where they differ in more than the command and the
    place of the data; also of a run on another machine that starts at this moment, for it measures some of the results.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(folder, "write the sweep's space and environment"):
            for name in SWEEP_FILES:
                remove_files(folder.glob(f"{name}*{UNFINISHED}"))  # of killed runs, <name>.tmp of earlier versions too
            earlier = _earlier_environments(folder / "env.json", environment)
            environment = {**environment, "earlier": earlier} if earlier else environment
            for name, text in zip(SWEEP_FILES, (space_text, json.dumps(environment, indent=2) + "\n"), strict=True):
                write_whole(folder / name, text)
    except OSError as error:
        raise StoreError(f"{folder}: can't be written ({error}); choose another --results folder") from error


def _earlier_environments(path: Path, environment: dict) -> list[dict]:
    try:
        last = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return []
    if not isinstance(last, dict):
        return []
    earlier = last.pop("earlier", [])
    earlier = earlier if isinstance(earlier, list) else []
    ignored = {COMMAND: "", DATA: ""}
    same = {**last, **ignored} == {**environment, **ignored}
    return earlier if same else [*earlier, last]


def check_sweep(folder: Path, trials: Sequence[Trial], outcomes: Sequence[Outcome]) -> dict[str, Trial]:
    """Return a trial of each kind of start as the sweep makes them: of its outcomes, failures included, or else of a
    run that works on it now.

    Raises StoreError with the difference when the trials can't belong to the same sweep.
    """
    known = [outcome.trial for outcome in outcomes]
    if not known and read_claims(folder):
        known = list(read_schedule(folder).values())
    before = first_of_kinds(known)
    changed = compare_kinds(before, first_of_kinds(trials))
    if changed:
        raise StoreError(
            f"{folder}: its results were made differently ({'; '.join(changed)}); give this sweep another --name"
        )
    return before
