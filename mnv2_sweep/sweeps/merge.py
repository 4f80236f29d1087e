"""Results folders of several machines -> one: the same trial once, and conflicts said instead of settled in silence."""

from dataclasses import dataclass, replace
from pathlib import Path

from mnv2_sweep.base.errors import StoreError
from mnv2_sweep.base.files import link_file, remove_unfinished
from mnv2_sweep.record.exports import EXPORTS, new_exports
from mnv2_sweep.record.folders import EXAMPLE
from mnv2_sweep.record.store import (
    DATABASE,
    Outcome,
    add_each,
    read_outcomes,
    read_schedule,
    read_truths,
    record_all,
    write_schedule,
    write_truth,
)
from mnv2_sweep.sweeps.schedule import SWEEP_FILES
from mnv2_sweep.trials.differences import compare_kinds, first_of_kinds
from mnv2_sweep.trials.tasks import task_of
from mnv2_sweep.trials.trial import trial_id
from mnv2_sweep.trials.ways import is_kept, kept_paths


@dataclass(frozen=True, slots=True)
class Merge:
    """What joining one sweep does: `added` outcomes, `same` ones that are here already, `conflicts` as lines; `exports`
    are the names of the records of exports that come along."""

    sweep: str
    added: tuple[Outcome, ...]
    same: int
    conflicts: tuple[str, ...]
    exports: tuple[str, ...] = ()


def plan_merge(other: Path, results: Path) -> list[Merge]:
    """Return what `merge` would do, sweep by sweep; writes nothing. Raises StoreError."""
    if not other.is_dir():
        raise StoreError(f"{other}: no such folder; give the results folder of another machine")
    if other.resolve() == results.resolve():
        raise StoreError(f"{other}: this is the results folder itself; give another machine's")
    folders = sorted(path.parent for path in other.glob(f"*/{DATABASE}") if path.parent.name != EXAMPLE)
    if not folders and (other / DATABASE).is_file():
        folders = [other]
    if not folders:
        raise StoreError(f"{other}: there is no sweep in it (no */{DATABASE})")
    return [_plan_sweep(folder, results / folder.name) for folder in folders]


def _plan_sweep(theirs: Path, ours: Path) -> Merge:
    here = {outcome.id: outcome for outcome in read_outcomes(ours)}
    added, conflicts, same = [], [], []
    others = read_outcomes(theirs)
    before, now = (first_of_kinds(outcome.trial for outcome in some) for some in (here.values(), others))
    if compare_kinds(before, now):
        conflicts.append(
            f"{theirs.name}: its trials were made with another recipe or other data than those here; "
            f"rename the folder {theirs} to keep both"
        )
        return Merge(theirs.name, (), 0, tuple(conflicts))
    for outcome in others:
        mine = here.get(outcome.id)
        if mine is None or (mine.status != "done" and outcome.status == "done"):
            added.append(replace(outcome, stored_id=outcome.id))
        elif mine.status == outcome.status == "done" and not _is_same_result(mine, outcome):
            main = task_of(outcome.trial).main
            values = [f"{one.result.score('val', main.name):.4f}" for one in (mine, outcome)]
            conflicts.append(
                f"{theirs.name}: trial {outcome.id}, seed {outcome.trial.seed}: {main.label} {values[0]} here "
                f"({mine.result.device}), {values[1]} there ({outcome.result.device}); kept this one"
            )
        else:
            same.append(outcome)
    ids = {name for outcome in (*added, *same) for name in (outcome.id, trial_id(outcome.trial))}
    exports = new_exports(theirs, ours, ids)  # none of a conflict's: those are of other weights than the ones here
    return Merge(theirs.name, tuple(added), len(same), tuple(conflicts), tuple(exports))


def _is_same_result(one: Outcome, other: Outcome) -> bool:
    """Return whether two results are equal in what was measured of the network; time and memory are the machine's."""
    return (one.result.scores, one.result.train_loss) == (other.result.scores, other.result.train_loss)


def write_merge(merge: Merge, theirs: Path, results: Path) -> None:
    """Add weights, files, records of exports and schedule where there are none here, and the outcomes, all or none.
    These come last: as long as they are not here, the next merge does all of it. Raises StoreError."""
    ours = results / merge.sweep
    added = (outcome for outcome in merge.added if outcome.status == "done" and not is_kept(ours, outcome.trial))
    paths = dict.fromkeys(path for outcome in added for path in kept_paths(ours, outcome.trial))
    files = [ours / name for name in SWEEP_FILES] if merge.added else []
    for path in (*paths, *files, *(ours / EXPORTS / name for name in merge.exports)):
        other = theirs / path.relative_to(ours)
        if other.is_file() and not path.exists():
            try:
                remove_unfinished(path)
                link_file(other, path)
            except OSError as error:
                raise StoreError(
                    f"{path}: can't be written ({error.strerror}); no result of {theirs} was added"
                ) from error
    if not merge.added:
        return
    for data, truth in read_truths(theirs).items():
        write_truth(ours, data, truth)
    schedule = read_schedule(theirs)
    if schedule:
        write_schedule(ours, list(schedule.values()), replace=False)
    record_all(ours, add_each(theirs, merge.added))
