"""Planned trials minus ended ones, the order they run in, what other sweeps have measured, the files of a sweep."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest

from mnv2_sweep.analysis.stats import summarise
from mnv2_sweep.base.errors import StoreError
from mnv2_sweep.nets.arch import MOBILENET_V2, ArchSpec, Stage
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.record.claims import CLAIMS
from mnv2_sweep.record.frame import load_frame
from mnv2_sweep.record.store import DATABASE, INTERRUPTED, KILLED, Outcome, read_each, read_outcomes, record
from mnv2_sweep.sweeps.schedule import (
    check_sweep,
    count_failed,
    count_others,
    find_reusable,
    missing_trials,
    read_command,
    read_data_name,
    schedule_trials,
    trained_madds,
    write_sweep_files,
)
from mnv2_sweep.trials.differences import find_differences
from mnv2_sweep.trials.recipe import Recipe
from mnv2_sweep.trials.tasks import MACRO_F1, main_score
from mnv2_sweep.trials.trial import DataRef, Sharing, Trial, trial_id

RECIPE, DATA = Recipe("planned", images=100), DataRef("toy", "0123456789abcdef", 3)
ARCHS = tuple(ArchSpec(width=width, resolution=96) for width in (0.5, 1.0, 0.35))


# ---------------------------------------------------------------- planning


def test_every_network_with_every_seed():
    trials = schedule_trials(ARCHS, RECIPE, DATA, (0, 7))
    assert [(trial.seed, trial.arch) for trial in trials] == [(seed, arch) for seed in (0, 7) for arch in ARCHS]
    assert {(trial.recipe, trial.data) for trial in trials} == {(RECIPE, DATA)}


def test_equal_networks_are_planned_once():
    same = [
        [ArchSpec(), ArchSpec(width=1.001), ArchSpec(width=1)],
        [ArchSpec(stages=(Stage(2, 16, 1, 1),)), ArchSpec(stages=(Stage(2, 16, 1, 1),), residual="none")],
    ]
    trials = schedule_trials([arch for group in same for arch in group], RECIPE, DATA, (0, 1, 1))
    assert [(trial.arch, trial.seed) for trial in trials] == [(g[0], seed) for seed in (0, 1) for g in same]


def test_networks_may_come_from_an_iterator():
    assert len(schedule_trials(iter(ARCHS), RECIPE, DATA, (0, 1))) == 6


# ---------------------------------------------------------------- what is missing


def test_planned_minus_ended(tmp_path, make_result):
    trials = schedule_trials(ARCHS, RECIPE, DATA, (0, 1))
    record(tmp_path, Outcome(trials[1], make_result()))
    record(tmp_path, Outcome(trials[2], error="wrong"))
    record(tmp_path, Outcome(trials[3], error="died twice", kind=KILLED, attempts=2))
    record(tmp_path, Outcome(trials[4], error="stopped", kind=INTERRUPTED))
    assert set(missing_trials(trials, tmp_path)) == {trials[0], trials[4], trials[5]}
    assert set(missing_trials(trials, tmp_path, retry_failed=True)) == set(trials) - {trials[1]}
    record(tmp_path, Outcome(trials[2], make_result()))
    record(tmp_path, Outcome(trials[4], make_result()))
    assert set(missing_trials(trials, tmp_path)) == {trials[0], trials[5]}
    assert set(missing_trials(trials, tmp_path, retry_failed=True)) == {trials[0], trials[3], trials[5]}


def test_failed_trials_are_counted(tmp_path, make_result):
    trials = schedule_trials(ARCHS, RECIPE, DATA, (0, 1))
    assert count_failed(trials, tmp_path) == 0
    for trial, kind in zip(trials, ("exception", KILLED, INTERRUPTED), strict=False):
        record(tmp_path, Outcome(trial, error="x", kind=kind))
    record(tmp_path, Outcome(trials[3], make_result()))
    assert count_failed(trials, tmp_path) == 2
    assert count_failed(trials[1:], tmp_path) == 1  # of these alone


def test_everything_is_missing_from_a_new_folder(tmp_path):
    trials = schedule_trials(ARCHS, RECIPE, DATA, (0,))
    assert set(missing_trials(trials, tmp_path / "new")) == set(trials)
    assert not (tmp_path / "new").exists()


def test_results_of_the_same_plan_under_another_spec_count(tmp_path, make_result):
    record(tmp_path, Outcome(Trial(ArchSpec(width=1.001), RECIPE, DATA, 0), make_result()))
    assert missing_trials(schedule_trials([ArchSpec()], RECIPE, DATA, (0,)), tmp_path) == ()


def test_the_cheapest_then_seed_by_seed_longest_first(tmp_path, make_result):
    """By what is trained: a nominal resolution that input_scale makes small is quick."""
    archs = [
        ArchSpec(width=0.35, resolution=96),
        ArchSpec(width=1.0, resolution=224),
        ArchSpec(width=0.35, resolution=224),
        ArchSpec(width=1.4, resolution=96),
    ]
    trials = schedule_trials(archs, replace(RECIPE, input_scale=0.25), DATA, (0, 1))
    missing = missing_trials(trials, tmp_path)
    assert [trials.index(trial) for trial in missing] == [0, 1, 3, 2, 5, 7, 6, 4]
    record(tmp_path, Outcome(missing[3], make_result()))
    missing = missing_trials(trials, tmp_path)  # there is a result now
    assert [trials.index(trial) for trial in missing] == [1, 3, 0, 5, 7, 6, 4]
    assert missing_trials([], tmp_path / "empty") == ()


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
        missing_trials(schedule_trials([ArchSpec()], recipe, data, (0,)), tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("kind", ["diverged", INTERRUPTED], ids=["failed", "interrupted"])
def test_what_has_no_result_holds_the_recipe_fast_too(tmp_path, kind):
    """A clear account of every failure stays; an interrupted trial has a checkpoint to go on from."""
    record(tmp_path, Outcome(Trial(ArchSpec(), RECIPE, DATA, 0), error="x", kind=kind))
    with pytest.raises(StoreError, match=r"its results were made differently \(lr 0.1 -> 0.01\)"):
        missing_trials(schedule_trials([ArchSpec()], replace(RECIPE, lr=0.01), DATA, (0,)), tmp_path)


def test_other_nominal_classes_are_refused(tmp_path, make_result):
    record(tmp_path, Outcome(Trial(ArchSpec(classes=3), RECIPE, DATA, 0), make_result()))
    with pytest.raises(StoreError, match="classes 3 -> 1000"):
        missing_trials(schedule_trials([ArchSpec()], RECIPE, DATA, (0, 1)), tmp_path)


def test_results_of_other_networks_are_counted(tmp_path, make_result):
    trials = schedule_trials(ARCHS, RECIPE, DATA, (0,))
    record(tmp_path, Outcome(trials[0], make_result()))
    assert (count_others(trials, tmp_path), count_others(trials[1:], tmp_path)) == (0, 1)


def test_environments_of_earlier_runs_stay(tmp_path):
    for torch in ("1", "1", "2"):
        write_sweep_files(tmp_path, "", {"command": "run", "torch": torch})
    environment = json.loads((tmp_path / "env.json").read_text())
    assert (environment["torch"], [one["torch"] for one in environment["earlier"]]) == ("2", ["1"])
    write_sweep_files(tmp_path, "", {"command": "again", "torch": "2", "data": "/moved"})
    assert json.loads((tmp_path / "env.json").read_text())["earlier"] == environment["earlier"]


def test_where_the_data_were_is_read_again(tmp_path):
    assert read_data_name(tmp_path) is None
    for environment, name in (({"data": "/photos"}, "/photos"), ({"torch": "2"}, None), ({"data": 3}, None)):
        write_sweep_files(tmp_path, "", environment)
        assert read_data_name(tmp_path) == name
    for text in ("{", "[]", ""):
        (tmp_path / "env.json").write_text(text)
        assert read_data_name(tmp_path) is None


@pytest.mark.parametrize(
    "recipe, data",
    [(replace(RECIPE, name="renamed"), DATA), (RECIPE, replace(DATA, name="moved")), (replace(RECIPE, lr=0.1), DATA)],
    ids=["recipe renamed", "data renamed", "default written out"],
)
def test_names_may_change(tmp_path, make_result, recipe, data):
    record(tmp_path, Outcome(Trial(ArchSpec(), RECIPE, DATA, 0), make_result()))
    assert missing_trials(schedule_trials([ArchSpec()], recipe, data, (0,)), tmp_path) == ()


def test_other_networks_and_seeds_may_join(tmp_path, make_result):
    record(tmp_path, Outcome(Trial(ArchSpec(), RECIPE, DATA, 0), make_result()))
    trials = schedule_trials([ArchSpec(stages=MOBILENET_V2[:3]), ArchSpec(kernel=5)], RECIPE, DATA, (4,))
    assert set(missing_trials(trials, tmp_path)) == set(trials)


def test_no_trials_are_never_missing(tmp_path, make_result):
    record(tmp_path, Outcome(Trial(ArchSpec(), RECIPE, DATA, 0), make_result()))
    assert missing_trials((), tmp_path) == ()


def test_what_is_missing_keeps_the_names_that_results_have(tmp_path, make_result):
    """So that a sweep has one recipe and one data set, whatever they are called now."""
    record(tmp_path, Outcome(Trial(ArchSpec(), RECIPE, DATA, 0), make_result()))
    renamed = schedule_trials([ArchSpec()], replace(RECIPE, name="renamed"), replace(DATA, name="moved"), (0, 1))
    assert missing_trials(renamed, tmp_path) == (Trial(ArchSpec(), RECIPE, DATA, 1),)


# ---------------------------------------------------------------- results of other sweeps


def test_a_result_of_another_sweep_is_found(tmp_path, make_result):
    trials = schedule_trials(ARCHS, RECIPE, DATA, (0, 1))
    record(tmp_path / "first", Outcome(trials[1], make_result(val_top1=0.25), attempts=2))
    record(tmp_path / "second", Outcome(trials[4], make_result(val_top1=0.75)))
    record(tmp_path / "second", Outcome(trials[5], error="died"))
    record(tmp_path / "mine", Outcome(trials[0], make_result()))  # its own are not reused
    found = {outcome.trial: outcome for outcome in find_reusable(trials, tmp_path / "mine")}
    assert found == {
        trials[1]: Outcome(trials[1], make_result(val_top1=0.25), attempts=2, source="first"),
        trials[4]: Outcome(trials[4], make_result(val_top1=0.75), source="second"),
    }


def test_results_are_ranked_by_another_score_without_training_where_they_have_it(tmp_path, make_result):
    by_f1 = replace(RECIPE, score="macro_f1")
    first, second = schedule_trials(ARCHS[:2], RECIPE, DATA, (0,))
    record(tmp_path / "first", Outcome(first, make_result(val_macro_f1=0.5)))
    record(tmp_path / "first", Outcome(second, make_result()))  # of a version that measured no macro-F1
    (found,) = find_reusable(schedule_trials(ARCHS[:2], by_f1, DATA, (0,)), tmp_path / "mine")
    assert found.trial == replace(first, recipe=by_f1)
    record(tmp_path / "mine", found)
    frame = load_frame(tmp_path / "mine")
    assert main_score(frame) == MACRO_F1 and summarise(frame)["macro_f1"].tolist() == [0.5]
    with pytest.raises(StoreError, match="score top1 -> macro_f1"):
        check_sweep(tmp_path / "first", [found.trial], read_outcomes(tmp_path / "first"))


def test_reused_results_name_the_sweep_that_measured_them(tmp_path, make_result):
    trials = schedule_trials(ARCHS[:1], RECIPE, DATA, (0,))
    record(tmp_path / "first", Outcome(trials[0], make_result(each=b"its images")))
    for name in ("second", "third"):
        (found,) = find_reusable(trials, tmp_path / name)
        assert found.source == "first"
        record(tmp_path / name, found)
    assert [outcome.source for outcome in read_outcomes(tmp_path / "third")] == ["first"]
    assert list(read_each(tmp_path / "third").values()) == [b"its images"]
    assert missing_trials(trials, tmp_path / "third") == ()


@pytest.mark.parametrize(
    "change",
    [
        lambda trial: replace(trial, seed=9),
        lambda trial: replace(trial, recipe=replace(trial.recipe, lr=0.5)),
        lambda trial: replace(trial, data=replace(trial.data, fingerprint="f" * 16)),
        lambda trial: replace(trial, arch=replace(trial.arch, kernel=5)),
        lambda trial: replace(trial, arch=replace(trial.arch, classes=7)),
    ],
    ids=["seed", "recipe", "data", "network", "classes"],
)
def test_another_trial_is_not_reused(tmp_path, make_result, change):
    (trial,) = schedule_trials(ARCHS[:1], RECIPE, DATA, (0,))
    record(tmp_path / "first", Outcome(trial, make_result()))
    assert find_reusable([change(trial)], tmp_path / "mine") == []


def test_the_committed_example_is_not_reused(tmp_path, make_result):
    """It was measured on another machine, and a fresh clone's first sweep would train nothing."""
    trials = schedule_trials([ArchSpec()], RECIPE, DATA, (0,))
    record(tmp_path / "example", Outcome(trials[0], make_result()))
    assert find_reusable(trials, tmp_path / "mine") == []
    record(tmp_path / "other", Outcome(trials[0], make_result()))
    assert [outcome.source for outcome in find_reusable(trials, tmp_path / "mine")] == ["other"]


def test_the_same_trial_under_another_name_is_reused(tmp_path, make_result):
    """The row is the planned trial's own, so that the new sweep has one recipe's name."""
    (trial,) = schedule_trials([ArchSpec(width=1.0)], RECIPE, DATA, (0,))
    there = Trial(ArchSpec(width=1.001), replace(RECIPE, name="renamed"), replace(DATA, name="moved"), 0)
    record(tmp_path / "first", Outcome(there, make_result()))
    (found,) = find_reusable([trial], tmp_path / "mine")
    assert found.trial == trial and found.id == trial_id(trial)


def test_other_code_s_results_are_not_reused(tmp_path, make_result, monkeypatch):
    trials = schedule_trials(ARCHS[:1], RECIPE, DATA, (0,))
    record(tmp_path / "first", Outcome(trials[0], make_result()))
    monkeypatch.setattr("mnv2_sweep.trials.trial.CODE_VERSION", 10**6)
    assert find_reusable(trials, tmp_path / "mine") == []


def test_folders_that_can_t_be_read_are_passed_over(tmp_path, make_result):
    trials = schedule_trials(ARCHS[:1], RECIPE, DATA, (0,))
    for name, content in (("a", b"these are no results\n" * 100), ("b", b""), ("c", b"SQLite format 3\x00\xff")):
        (tmp_path / name).mkdir()
        (tmp_path / name / DATABASE).write_bytes(content)
    record(tmp_path / "d", Outcome(trials[0], make_result()))
    assert [outcome.source for outcome in find_reusable(trials, tmp_path / "mine")] == ["d"]
    assert find_reusable((), tmp_path / "mine") == find_reusable(trials, tmp_path / "no" / "where") == []


# ---------------------------------------------------------------- files beside the results


def test_sweep_files(tmp_path):
    folder = tmp_path / "results" / "wide"
    write_sweep_files(folder, "axes: {width: [1.0]}  # größer\n", {"torch": "2.9", "commit": None})
    assert (folder / "space.yaml").read_text(encoding="utf-8") == "axes: {width: [1.0]}  # größer\n"
    assert json.loads((folder / "env.json").read_text()) == {"torch": "2.9", "commit": None}
    write_sweep_files(folder, "axes: {}\n", {"torch": "2.9", "commit": None})
    assert (folder / "space.yaml").read_text() == "axes: {}\n"
    assert sorted(path.name for path in folder.iterdir()) == [CLAIMS, "env.json", "space.yaml"]


@pytest.mark.parametrize("moment", ["write", "flush"])
def test_sweep_files_are_replaced_whole_or_not_at_all(tmp_path, monkeypatch, moment):
    write_sweep_files(tmp_path, "old: 1\n", {"old": 1})
    (tmp_path / DATABASE).write_text("results")

    def fail(*args):
        raise OSError(28, "No space left on device")

    if moment == "flush":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(StoreError, match="can't be written .*No space left.*choose another --results folder"):
        write_sweep_files(tmp_path, "new: 1\n", {"new": 1})
    assert (tmp_path / "space.yaml").read_text() == "old: 1\n"
    assert json.loads((tmp_path / "env.json").read_text()) == {"old": 1}
    assert (tmp_path / DATABASE).read_text() == "results"
    assert sorted(path.name for path in tmp_path.iterdir()) == [CLAIMS, "env.json", "space.yaml", DATABASE]


def test_runs_that_start_at_the_same_time_leave_both_of_their_environments(tmp_path):
    """As two machines do that share the folder; each measures some of the results."""
    rounds, together = 50, Barrier(2)

    def start(machine: str) -> None:
        for turn in range(rounds):
            together.wait(10)
            write_sweep_files(tmp_path, f"made: {machine}\n", {"machine": machine, "turn": turn})

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(start, "ab"))
    last = json.loads((tmp_path / "env.json").read_text())
    found = [(one["machine"], one["turn"]) for one in [*last.pop("earlier"), last]]
    assert sorted(found) == [(machine, turn) for machine in "ab" for turn in range(rounds)]
    assert (tmp_path / "space.yaml").read_text() == f"made: {last['machine']}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == [CLAIMS, "env.json", "space.yaml"]


def test_what_killed_runs_left_of_sweep_files_goes(tmp_path):
    """Of this version and of earlier ones."""
    others = [tmp_path / "notes.tmp", tmp_path / "my-env.json.tmp"]
    left = [tmp_path / name for name in ("env.json.tmp", "space.yaml.tmp", "env.json.77b1.tmp", "space.yaml.4f2a.tmp")]
    for path in (*others, *left):
        path.write_text("half")
    write_sweep_files(tmp_path, "", {})
    assert [path for path in (*others, *left) if path.exists()] == others


def test_a_sweep_whose_files_nobody_may_write_now_is_one_line(tmp_path):
    write_sweep_files(tmp_path, "old: 1\n", {"old": 1})
    (tmp_path / CLAIMS).unlink()
    (tmp_path / CLAIMS).mkdir()
    with pytest.raises(StoreError, match=f"{CLAIMS}: can't write the sweep's space and environment .*results so far"):
        write_sweep_files(tmp_path, "new: 1\n", {"new": 1})
    assert (tmp_path / "space.yaml").read_text() == "old: 1\n"


def test_a_folder_that_is_a_file_can_t_be_used(tmp_path):
    (tmp_path / "sweep").write_text("not a folder")
    with pytest.raises(StoreError, match="sweep: can't be written"):
        write_sweep_files(tmp_path / "sweep", "", {})


# ---------------------------------------------------------------- networks that share weights

SHARING = Sharing("fedcba9876543210", 12_000)


def test_slices_are_planned_like_any_trials():
    alone, slices = (schedule_trials(ARCHS, RECIPE, DATA, (0, 7), {"shared": shared}) for shared in (None, SHARING))
    assert slices == tuple(replace(trial, shared=SHARING) for trial in alone)
    tuned = schedule_trials(ARCHS, RECIPE, DATA, (0, 7), {"shared": replace(SHARING, finetune=2.0)})
    assert len({trial_id(trial) for trial in (*alone, *slices, *tuned)}) == 18


@pytest.mark.parametrize(
    "old, new, changed",
    [
        (None, SHARING, ["strategy separate -> shared"]),
        (SHARING, None, ["strategy shared -> separate"]),
        (SHARING, replace(SHARING, refit=4000), ["images that classifiers are fitted to 0 -> 4,000"]),
        (SHARING, replace(SHARING, images=9000), ["images of the shared training 12,000 -> 9,000"]),
        (SHARING, replace(SHARING, family="other"), ["the networks that share weights"]),
        (
            SHARING,
            Sharing("other", 1),
            ["images of the shared training 12,000 -> 1", "the networks that share weights"],
        ),
        (SHARING, replace(SHARING, finetune=2.0), []),
        (replace(SHARING, finetune=2.0), replace(SHARING, finetune=3.0), []),
        (SHARING, SHARING, []),
    ],
)
def test_a_sweep_has_one_strategy_and_one_training(tmp_path, make_result, old, new, changed):
    before, now = (Trial(ARCHS[0], RECIPE, DATA, 0, shared) for shared in (old, new))
    assert find_differences(before, now) == changed
    outcome = Outcome(before, make_result())
    if not changed:
        assert check_sweep(tmp_path, [now], [outcome]) == {"scratch": before}
        return
    with pytest.raises(StoreError) as caught:
        check_sweep(tmp_path, [now], [outcome])
    text = f"{tmp_path}: its results were made differently ({'; '.join(changed)}); give this sweep another --name"
    assert str(caught.value) == text


def test_a_slice_is_reused_and_never_for_a_network_alone(tmp_path, make_result):
    (alone,), (of_supernet,) = (
        schedule_trials(ARCHS[:1], RECIPE, DATA, (0,), {"shared": shared}) for shared in (None, SHARING)
    )
    record(tmp_path / "first", Outcome(of_supernet, make_result()))
    assert [found.trial for found in find_reusable([of_supernet, alone], tmp_path / "mine")] == [of_supernet]
    assert missing_trials([of_supernet], tmp_path / "first") == () and missing_trials([alone], tmp_path / "none") == (
        alone,
    )


def test_a_slice_that_was_trained_on_is_of_no_other_network(tmp_path, make_result):
    slices, tuned, others = (
        schedule_trials(archs, RECIPE, DATA, seeds, {"shared": shared})
        for archs, seeds, shared in (
            (ARCHS[:2], (0,), SHARING),
            (ARCHS[:1], (0,), replace(SHARING, finetune=2.0)),
            (ARCHS[:1], (1,), replace(SHARING, finetune=2.0)),
        )
    )
    for trial in (*slices, *tuned, *others):
        record(tmp_path, Outcome(trial, make_result()))
    assert count_others(slices, tmp_path) == count_others((*slices, *tuned), tmp_path) == 1  # the other seed
    assert count_others((*slices, *others), tmp_path) == 0
    assert count_others(slices[1:], tmp_path) == 3


@pytest.mark.parametrize("text", ["[1]", "7", "{", "[" * 100_000, '{"earlier": 7}'], ids=lambda text: text[:9])
def test_a_damaged_environment_ends_nothing(tmp_path, text):
    (tmp_path / "env.json").write_text(text)
    assert read_command(tmp_path) is None
    write_sweep_files(tmp_path, "", {"command": "again"})
    assert read_command(tmp_path) == "again"
