"""Planned trials minus done ones, the order they run in, and what is on disk when an outcome is handed over."""

import json
import os
from dataclasses import replace

import pytest

from mnv2_sweep.archs.arch import MOBILENET_V2, ArchSpec, Stage
from mnv2_sweep.costs.cost import count_cost
from mnv2_sweep.errors import StoreError
from mnv2_sweep.sweeps import sweep
from mnv2_sweep.sweeps.store import DATABASE, Outcome, forget_failures, read_outcomes, record
from mnv2_sweep.sweeps.sweep import (
    count_others,
    lock_sweep,
    missing_trials,
    plan_trials,
    run_sweep,
    trained_madds,
    write_sweep_files,
)
from mnv2_sweep.training.trial import DataRef, Recipe, Trial, trial_id

RECIPE, DATA = Recipe("planned", images=100), DataRef("toy", "0123456789abcdef", 3)
ARCHS = tuple(ArchSpec(width=width, resolution=96) for width in (0.5, 1.0, 0.35))


# ---------------------------------------------------------------- planning


def test_every_network_with_every_seed():
    trials = plan_trials(ARCHS, RECIPE, DATA, (0, 7))
    assert [(trial.seed, trial.arch) for trial in trials] == [(seed, arch) for seed in (0, 7) for arch in ARCHS]
    assert {(trial.recipe, trial.data) for trial in trials} == {(RECIPE, DATA)}


def test_equal_networks_are_planned_once():
    same = [
        [ArchSpec(), ArchSpec(width=1.001), ArchSpec(width=1)],
        [ArchSpec(stages=(Stage(2, 16, 1, 1),)), ArchSpec(stages=(Stage(2, 16, 1, 1),), residual="none")],
    ]
    trials = plan_trials([arch for group in same for arch in group], RECIPE, DATA, (0, 1, 1))
    assert [(trial.arch, trial.seed) for trial in trials] == [(g[0], seed) for seed in (0, 1) for g in same]


def test_networks_may_come_from_an_iterator():
    assert len(plan_trials(iter(ARCHS), RECIPE, DATA, (0, 1))) == 6


# ---------------------------------------------------------------- what is missing


def test_planned_minus_done(tmp_path, make_result):
    trials = plan_trials(ARCHS, RECIPE, DATA, (0, 1))
    record(tmp_path, Outcome(trials[1], make_result()))
    record(tmp_path, Outcome(trials[2], error="died"))
    missing = missing_trials(trials, tmp_path)
    assert set(missing) == set(trials) - {trials[1]}  # a failed one is tried again
    record(tmp_path, Outcome(trials[2], make_result()))
    assert set(missing_trials(trials, tmp_path)) == set(trials) - {trials[1], trials[2]}


def test_everything_is_missing_from_a_new_folder(tmp_path):
    trials = plan_trials(ARCHS, RECIPE, DATA, (0,))
    assert set(missing_trials(trials, tmp_path / "new")) == set(trials)
    assert not (tmp_path / "new").exists()


def test_results_of_the_same_plan_under_another_spec_count(tmp_path, make_result):
    record(tmp_path, Outcome(Trial(ArchSpec(width=1.001), RECIPE, DATA, 0), make_result()))
    assert missing_trials(plan_trials([ArchSpec()], RECIPE, DATA, (0,)), tmp_path) == ()


def test_longest_first(tmp_path):
    """By what is trained: a nominal resolution that input_scale makes small is quick."""
    archs = [
        ArchSpec(width=0.35, resolution=96),
        ArchSpec(width=1.0, resolution=224),
        ArchSpec(width=0.35, resolution=224),
        ArchSpec(width=1.4, resolution=96),
    ]
    trials = plan_trials(archs, replace(RECIPE, input_scale=0.25), DATA, (0, 1))
    missing = missing_trials(trials, tmp_path)
    assert [trials.index(trial) for trial in missing] == [1, 5, 3, 7, 2, 6, 0, 4]  # ties as planned
    assert [trained_madds(trial) for trial in missing] == sorted(map(trained_madds, trials), reverse=True)


def test_trained_madds_are_of_the_trained_size_and_head():
    trial = Trial(ArchSpec(resolution=224, classes=1000), replace(RECIPE, input_scale=0.25), DATA, 0)
    assert trained_madds(trial) == count_cost(ArchSpec(resolution=56, classes=3)).madds
    assert trained_madds(trial) < count_cost(trial.arch).madds / 12


# ---------------------------------------------------------------- another sweep's folder


@pytest.mark.parametrize(
    "recipe, data, difference",
    [
        (replace(RECIPE, images=200), DATA, "images 100 -> 200"),
        (replace(RECIPE, lr=0.5), DATA, "lr 0.1 -> 0.5"),
        (Recipe("planned", epochs=3.0), DATA, "epochs None -> 3.0; images 100 -> None"),
        (replace(RECIPE, flip=False, batch=8), DATA, "batch 64 -> 8; flip True -> False"),
        (RECIPE, DataRef("cats", "fedcba9876543210", 3), r"data toy \(01234567\) -> cats \(fedcba98\)"),
        (
            replace(RECIPE, lr=0.5),
            DataRef("toy", "ff" * 8, 3),
            r"lr 0.1 -> 0.5; data toy \(01234567\) -> toy \(ffff",
        ),
    ],
    ids=["images", "lr", "epochs", "two fields", "data", "both"],
)
def test_results_made_differently_are_refused(tmp_path, make_result, recipe, data, difference):
    record(tmp_path, Outcome(Trial(ArchSpec(), RECIPE, DATA, 0), make_result()))
    with pytest.raises(StoreError, match=f"its results were made differently .*{difference}.*another --name") as caught:
        missing_trials(plan_trials([ArchSpec()], recipe, data, (0,)), tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_failures_alone_do_not_hold_a_recipe_fast(tmp_path):
    """A divergence says: try a lower lr. Then the same sweep must take it."""
    record(tmp_path, Outcome(Trial(ArchSpec(), RECIPE, DATA, 0), error="diverged"))
    trials = plan_trials([ArchSpec()], replace(RECIPE, lr=0.01), DATA, (0,))
    assert missing_trials(trials, tmp_path) == trials
    forget_failures(tmp_path, {trial_id(trial) for trial in trials})
    assert read_outcomes(tmp_path) == []


def test_other_nominal_classes_are_refused(tmp_path, make_result):
    record(tmp_path, Outcome(Trial(ArchSpec(classes=3), RECIPE, DATA, 0), make_result()))
    with pytest.raises(StoreError, match="classes 3 -> 1000"):
        missing_trials(plan_trials([ArchSpec()], RECIPE, DATA, (0, 1)), tmp_path)


def test_results_of_other_networks_are_counted(tmp_path, make_result):
    trials = plan_trials(ARCHS, RECIPE, DATA, (0,))
    record(tmp_path, Outcome(trials[0], make_result()))
    assert (count_others(trials, tmp_path), count_others(trials[1:], tmp_path)) == (0, 1)


def test_a_second_run_of_a_sweep_is_refused_until_the_first_ends(tmp_path):
    with lock_sweep(tmp_path):
        with pytest.raises(StoreError, match="another run of this sweep is going on"):
            with lock_sweep(tmp_path):
                pass
    with lock_sweep(tmp_path):
        pass


def test_environments_of_earlier_runs_stay(tmp_path):
    for torch in ("1", "1", "2"):
        write_sweep_files(tmp_path, "", {"command": "run", "torch": torch})
    environment = json.loads((tmp_path / "env.json").read_text())
    assert (environment["torch"], [one["torch"] for one in environment["earlier"]]) == ("2", ["1"])


@pytest.mark.parametrize(
    "recipe, data",
    [(replace(RECIPE, name="renamed"), DATA), (RECIPE, replace(DATA, name="moved")), (replace(RECIPE, lr=0.1), DATA)],
    ids=["recipe renamed", "data renamed", "default written out"],
)
def test_names_may_change(tmp_path, make_result, recipe, data):
    record(tmp_path, Outcome(Trial(ArchSpec(), RECIPE, DATA, 0), make_result()))
    assert missing_trials(plan_trials([ArchSpec()], recipe, data, (0,)), tmp_path) == ()


def test_other_networks_and_seeds_may_join(tmp_path, make_result):
    record(tmp_path, Outcome(Trial(ArchSpec(), RECIPE, DATA, 0), make_result()))
    trials = plan_trials([ArchSpec(stages=MOBILENET_V2[:3]), ArchSpec(kernel=5)], RECIPE, DATA, (4,))
    assert set(missing_trials(trials, tmp_path)) == set(trials)


def test_no_trials_are_never_missing(tmp_path, make_result):
    record(tmp_path, Outcome(Trial(ArchSpec(), RECIPE, DATA, 0), make_result()))
    assert missing_trials((), tmp_path) == ()


# ---------------------------------------------------------------- running


def test_outcomes_are_on_disk_before_they_are_handed_over(tmp_path, make_result):
    trials, started = plan_trials(ARCHS, RECIPE, DATA, (0,)), []

    def executor(given):
        for i, trial in enumerate(given):
            started.append(trial)
            yield Outcome(trial, make_result()) if i != 1 else Outcome(trial, error="died")

    received = []
    for outcome in run_sweep(trials, tmp_path, executor):
        received.append(outcome)
        assert read_outcomes(tmp_path) == received
        assert len(started) == len(received)  # nothing is collected first
    assert [outcome.trial for outcome in received] == list(trials)
    assert [outcome.status for outcome in received] == ["done", "failed", "done"]
    assert missing_trials(trials, tmp_path) == (trials[1],)


@pytest.mark.parametrize("how", ["closed", "disk full"])
def test_a_sweep_that_ends_early_ends_its_executor(tmp_path, make_result, monkeypatch, how):
    trials, ended = plan_trials(ARCHS, RECIPE, DATA, (0,)), []

    def executor(given):
        try:
            for trial in given:
                yield Outcome(trial, make_result())
        finally:
            ended.append(how)

    outcomes = run_sweep(trials, tmp_path, executor)
    next(outcomes)
    if how == "closed":
        outcomes.close()
    else:

        def refuse(folder, outcome):
            raise StoreError("no room")

        monkeypatch.setattr(sweep, "record", refuse)
        with pytest.raises(StoreError, match="no room"):
            next(outcomes)
    assert ended == [how]
    assert [outcome.trial for outcome in read_outcomes(tmp_path)] == [trials[0]]


# ---------------------------------------------------------------- files beside the results


def test_sweep_files(tmp_path):
    folder = tmp_path / "results" / "wide"
    write_sweep_files(folder, "axes: {width: [1.0]}  # größer\n", {"torch": "2.9", "commit": None})
    assert (folder / "space.yaml").read_text(encoding="utf-8") == "axes: {width: [1.0]}  # größer\n"
    assert json.loads((folder / "env.json").read_text()) == {"torch": "2.9", "commit": None}
    write_sweep_files(folder, "axes: {}\n", {"torch": "2.9", "commit": None})
    assert (folder / "space.yaml").read_text() == "axes: {}\n"
    assert sorted(path.name for path in folder.iterdir()) == ["env.json", "space.yaml"]


@pytest.mark.parametrize("moment", ["write", "flush"])
def test_sweep_files_are_replaced_whole_or_not_at_all(tmp_path, monkeypatch, moment):
    write_sweep_files(tmp_path, "old: 1\n", {"old": 1})
    (tmp_path / DATABASE).write_text("results")

    def fail(*args):
        raise OSError(28, "No space left on device")

    if moment == "flush":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(type(tmp_path), "replace", fail)
    with pytest.raises(StoreError, match="can't be written .*No space left.*choose another --results folder"):
        write_sweep_files(tmp_path, "new: 1\n", {"new": 1})
    assert (tmp_path / "space.yaml").read_text() == "old: 1\n"
    assert json.loads((tmp_path / "env.json").read_text()) == {"old": 1}
    assert (tmp_path / DATABASE).read_text() == "results"


def test_a_folder_that_is_a_file_can_t_be_used(tmp_path):
    (tmp_path / "sweep").write_text("not a folder")
    with pytest.raises(StoreError, match="sweep: can't be written"):
        write_sweep_files(tmp_path / "sweep", "", {})
