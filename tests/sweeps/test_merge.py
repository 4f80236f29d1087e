"""Results of two machines in one folder."""

from dataclasses import replace

import numpy as np
import pytest

from mnv2_sweep.base.errors import StoreError
from mnv2_sweep.record.exports import list_exports, record_export
from mnv2_sweep.record.store import (
    Outcome,
    read_each,
    read_outcomes,
    read_schedule,
    read_truth,
    record,
    write_schedule,
    write_truth,
)
from mnv2_sweep.sweeps import merge as merging
from mnv2_sweep.sweeps.merge import plan_merge, write_merge
from mnv2_sweep.trials.terms import Truth
from mnv2_sweep.trials.trial import shared_id, trial_id
from tests.stops import Killed
from tests.supernet_samples import share


@pytest.fixture
def machines(tmp_path):
    return tmp_path / "here", tmp_path / "there"


def merge(there, here):
    merges = plan_merge(there, here)
    for one in merges:
        write_merge(one, there / one.sweep, here)
    return merges


def test_the_same_trial_once_and_results_win_over_failures(machines, make_trial, make_result):
    here, there = machines
    trials = [make_trial(seed) for seed in range(4)]
    record(here / "s", Outcome(trials[0], make_result()))
    record(here / "s", Outcome(trials[1], error="died"))
    record(there / "s", Outcome(trials[0], make_result(seconds=9.0)))  # the same numbers, another machine's time
    record(there / "s", Outcome(trials[1], make_result(val_top1=0.75)))
    record(there / "s", Outcome(trials[2], make_result(val_top1=0.25)))
    record(there / "s", Outcome(trials[3], error="died there"))
    write_schedule(there / "s", trials, replace=True)
    (there / "s" / "space.yaml").write_text("# ?\n")
    (one,) = merge(there, here)
    assert (len(one.added), one.same, one.conflicts) == (3, 1, ())
    outcomes = {outcome.trial.seed: outcome for outcome in read_outcomes(here / "s")}
    assert [outcomes[seed].status for seed in range(4)] == ["done", "done", "done", "failed"]
    assert (outcomes[0].result.seconds, outcomes[1].result.score("val", "top1")) == (2.5, 0.75)
    assert len(read_schedule(here / "s")) == 4 and (here / "s" / "space.yaml").exists()
    (again,) = merge(there, here)
    assert (again.added, again.same) == ((), 4)


def test_images_come_with_their_results(machines, make_trial, make_result):
    here, there = machines
    record(here / "s", Outcome(make_trial(0), make_result(each=b"ours")))
    for seed, each in ((0, b"theirs"), (1, b"more"), (2, b"")):
        record(there / "s", Outcome(make_trial(seed), make_result(seconds=9.0, each=each)))
    merge(there, here)
    assert read_each(here / "s") == {trial_id(make_trial(0)): b"ours", trial_id(make_trial(1)): b"more"}


def test_records_of_exports_come_along_and_overwrite_none(machines, make_trial, make_result):
    """Also later, and not those of a result that is another one here."""
    here, there = machines
    record(here / "s", Outcome(make_trial(0), make_result()))
    for seed in range(3):
        record(there / "s", Outcome(make_trial(seed), make_result(val_top1=0.25 if seed == 2 else 0.5)))
    record(here / "s", Outcome(make_trial(2), make_result(val_top1=0.5)))

    def export(folder, seed, place, size):
        record_export(folder / "s", make_trial(seed), "0.25 at 16", there / place, {"model.onnx": {"bytes": size}})

    for seed, place in ((0, "both"), (0, "theirs"), (1, "new"), (2, "of other weights")):
        export(there, seed, place, 1_000)
    export(here, 0, "both", 2_000_000)
    (one,) = plan_merge(there, here)
    assert len(one.exports) == 2 and len(one.added) == len(one.conflicts) == 1
    merge(there, here)
    rows = [line.split() for line in list_exports(here / "s").splitlines()[1:]]
    found = {(row[-1].removeprefix(f"{there}/"), row[-3]) for row in rows}
    assert len(rows) == 3 and found == {("both", "MB"), ("theirs", "kB"), ("new", "kB")}
    export(there, 1, "later", 3_000)
    (one,) = merge(there, here)
    assert (one.added, len(one.exports)) == ((), 1) and str(there / "later") in list_exports(here / "s")
    assert merge(there, here)[0].exports == ()


def test_the_classes_of_images_come_with_their_results(machines, make_trial, make_result):
    here, there = machines
    record(there / "s", Outcome(make_trial(0), make_result()))
    write_truth(there / "s", make_trial().data.fingerprint, Truth(("a", "b"), {"val": np.array([1, 0])}))
    merge(there, here)
    assert read_truth(here / "s").classes == ("a", "b") and read_truth(here / "s").labels["val"].tolist() == [1, 0]


def test_conflicts_are_said_and_ours_stays(machines, make_trial, make_result):
    here, there = machines
    record(here / "s", Outcome(make_trial(0), make_result()))
    record(there / "s", Outcome(make_trial(0), make_result(val_top1=0.75, device="cuda")))
    (one,) = merge(there, here)
    assert one.added == () and len(one.conflicts) == 1
    assert "top-1 0.5000 here (cpu), 0.7500 there (cuda); kept this one" in one.conflicts[0]
    assert read_outcomes(here / "s")[0].result.score("val", "top1") == 0.5


def test_another_recipe_under_one_name_is_a_conflict(machines, make_trial, make_result):
    here, there = machines
    record(here / "s", Outcome(make_trial(0), make_result()))
    record(there / "s", Outcome(make_trial(1, lr=0.5), make_result()))
    (one,) = merge(there, here)
    assert one.added == () and "another recipe or other data" in one.conflicts[0]
    assert len(read_outcomes(here / "s")) == 1


def test_failures_of_another_recipe_are_a_conflict_too(machines, make_trial, make_result):
    here, there = machines
    record(here / "s", Outcome(make_trial(0), error="diverged"))
    record(there / "s", Outcome(make_trial(1, lr=0.5), make_result()))
    (one,) = merge(there, here)
    assert one.added == () and "another recipe or other data" in one.conflicts[0]


def test_new_sweeps_come_whole(machines, make_trial, make_result):
    here, there = machines
    for name in ("a", "b"):
        record(there / name, Outcome(make_trial(0), make_result()))
    assert [one.sweep for one in merge(there, here)] == ["a", "b"]
    assert read_outcomes(here / "a") == read_outcomes(there / "a")
    assert replace(read_outcomes(here / "b")[0], stored_id=None) == replace(
        read_outcomes(there / "b")[0], stored_id=None
    )


def test_the_weights_of_slices_come_with_them(machines, make_trial, make_result):
    here, there = machines
    shared, tuned, alone = share(make_trial(0)), share(make_trial(0), finetune=1.0), make_trial(1)
    for trial in (shared, tuned, alone):
        record(there / "s", Outcome(trial, make_result()))
    names = {f"{shared_id(shared)}.pt", f"{trial_id(tuned)}.pt"}  # the second as earlier versions kept it
    (there / "s" / "shared").mkdir()
    for name in (*names, f"{trial_id(alone)}.pt", "other.pt"):
        (there / "s" / "shared" / name).write_text(name)
    kept = f"{trial_id(alone)}.safetensors"
    (there / "s" / "kept").mkdir()
    for name in (kept, "other.safetensors"):
        (there / "s" / "kept" / name).write_text(name)
    (here / "s").mkdir(parents=True)
    (here / "s" / "shared").write_text("")  # no folder
    with pytest.raises(StoreError, match=r"s/shared/.*\.pt: can't be written \(.*\); no result of .* was added"):
        merge(there, here)
    assert read_outcomes(here / "s") == []
    (here / "s" / "shared").unlink()
    merge(there, here)
    assert {path.name: path.read_text() for path in (here / "s" / "shared").iterdir()} == {n: n for n in names}
    assert {path.name: path.read_text() for path in (here / "s" / "kept").iterdir()} == {kept: kept}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", ["link_file", "write_schedule", "record_all"])
def test_a_merge_killed_half_way_is_finished_by_the_next(
    machines, tmp_path, make_trial, make_result, monkeypatch, step, after
):
    here, there = machines
    trials = [make_trial(seed) for seed in range(3)]
    for trial in trials[:2]:
        record(there / "s", Outcome(trial, make_result()))
    write_schedule(there / "s", trials, replace=True)
    for name in ("space.yaml", "env.json", f"kept/{trial_id(trials[0])}.safetensors"):
        (there / "s" / name).parent.mkdir(exist_ok=True)
        (there / "s" / name).write_text(name)
    undisturbed = tmp_path / "undisturbed"
    merge(there, undisturbed)
    usual = getattr(merging, step)

    def die(*given, **more):
        if after:
            usual(*given, **more)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(merging, step, die)
        with pytest.raises(Killed):
            merge(there, here)
    merge(there, here)
    assert read_outcomes(here / "s") == read_outcomes(undisturbed / "s")
    assert read_schedule(here / "s") == read_schedule(undisturbed / "s") != {}
    files = [sorted(path.relative_to(root) for path in root.rglob("*")) for root in (here, undisturbed)]
    assert files[0] == files[1] and len(files[0]) == 6


def test_mistakes(machines, make_trial, make_result):
    here, there = machines
    with pytest.raises(StoreError, match="no such folder"):
        plan_merge(there, here)
    there.mkdir()
    with pytest.raises(StoreError, match="there is no sweep in it"):
        plan_merge(there, here)
    record(here / "s", Outcome(make_trial(0), make_result()))
    with pytest.raises(StoreError, match="this is the results folder itself"):
        plan_merge(here, here)
