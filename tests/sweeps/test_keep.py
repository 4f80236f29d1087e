"""Which weights stay: all within the budget, the front's or the best's at the end; what was asked for always."""

from dataclasses import replace

import pytest
import torch

from mnv2_sweep.nets.arch import arch_label
from mnv2_sweep.record.store import Outcome, record
from mnv2_sweep.sweeps.keep import Earlier, Keeper, choose_kept, keep_lines, list_kept, rank_networks
from mnv2_sweep.sweeps.settings import Keep
from mnv2_sweep.training.kept import kept_bytes, write_kept
from mnv2_sweep.trials.trial import Sharing, trial_id
from mnv2_sweep.trials.ways import own_file
from tests.conftest import TINY_ARCH

SCORES = {0.25: (0.3, 0.5), 0.5: (0.6, 0.8), 1.0: (0.5, 0.5), 2.0: (0.9, 0.7)}  # width -> of two seeds
ON_FRONT = {0.25, 0.5, 2.0}


@pytest.fixture
def outcomes(make_trial, make_result) -> list[Outcome]:
    return [
        Outcome(make_trial(seed, replace(TINY_ARCH, width=width)), make_result(val_top1=score))
        for width, scores in SCORES.items()
        for seed, score in enumerate(scores)
    ]


@pytest.fixture
def folder(tmp_path, outcomes):
    """A sweep in which every result has weights of 1,000 bytes and some."""
    for outcome in outcomes:
        record(tmp_path, outcome)
        put(tmp_path, outcome.trial)
    return tmp_path


def put(folder, trial, **more) -> None:
    write_kept(folder / own_file(trial), {"w": torch.zeros(250)}, {"dtype": "float32", **more})


def widths(folder, outcomes) -> list[float]:
    return [outcome.trial.arch.width for outcome in outcomes if (folder / own_file(outcome.trial)).is_file()]


def test_the_front_comes_first_then_the_best(outcomes):
    ranked = rank_networks(outcomes)
    assert [(one.outcomes[0].trial.arch.width, one.on_front) for one in ranked] == [
        (2.0, True), (0.5, True), (0.25, True), (1.0, False),
    ]  # fmt: skip
    assert rank_networks([]) == [] == rank_networks([Outcome(outcomes[0].trial, error="died")])
    sizes = {outcome.id: 100 for outcome in outcomes}
    chosen = choose_kept(ranked, sizes, 550)
    assert [one.trial.arch.width for one in outcomes if one.id in chosen] == [0.25, 0.5, 0.5, 2.0, 2.0]
    assert choose_kept(ranked, sizes | {outcomes[-1].id: 1000}, 150) == {outcomes[-2].id}


@pytest.mark.parametrize("which, wanted", [("all", [0.25, 0.25, 0.5, 0.5, 1.0, 1.0, 2.0, 2.0]),
    ("front", [0.25, 0.25, 0.5, 0.5, 2.0, 2.0]), ("best", [2.0, 2.0])])  # fmt: skip
def test_at_the_end_what_is_not_wanted_goes(folder, outcomes, which, wanted):
    trials = [outcome.trial for outcome in outcomes]
    one_more = replace(trials[0], seed=7)
    Keeper(folder, Keep(which)).finish([*trials, one_more])  # somebody still works on it
    assert len(widths(folder, outcomes)) == 8
    keeper = Keeper(folder, Keep(which))
    keeper.finish(trials)
    assert widths(folder, outcomes) == wanted
    (line,) = keeper.describe(trials)
    assert line.startswith(f"kept      {len(wanted)} of 8 trials with their weights, ")


def test_a_budget_is_kept_while_trials_end(tmp_path, outcomes):
    keeper = Keeper(tmp_path, Keep("all", 3 * 1300))
    for outcome in outcomes:
        record(tmp_path, outcome)
        put(tmp_path, outcome.trial)
        keeper.add(outcome)
        assert sum(path.stat().st_size for path in tmp_path.glob("kept/*")) <= 3 * 1300
    assert widths(tmp_path, outcomes) == [0.5, 2.0, 2.0]


def test_who_keeps_nothing_removes_nothing(folder, outcomes):
    keeper = Keeper(folder, Keep("none", 1))
    trials = [outcome.trial for outcome in outcomes]
    assert keeper.add(outcomes[0]) == keeper.finish(trials) == keeper.describe(trials) == []
    assert len(widths(folder, outcomes)) == 8
    assert keep_lines(trials, Keep("none"), Earlier(folder, trials, ended=True)) == [
        "keep      no new weights, --again makes them",
        "note      the weights of 8 trials, 9 kB, are kept already, and stay",
    ]


@pytest.mark.parametrize("keep, wanted", [(Keep("all", 3000, True), [2.0, 2.0]), (Keep("best"), [2.0, 2.0]),
    (Keep("front", 5000, True), [0.5, 0.5, 2.0, 2.0])], ids=lambda value: "")  # fmt: skip
def test_what_an_earlier_run_kept_goes_by_name_as_the_plan_said(folder, outcomes, keep, wanted):
    trials = [outcome.trial for outcome in outcomes]
    plan = keep_lines(trials, keep, Earlier(folder, trials, ended=True))[1:]
    some = keep_lines(trials, keep, Earlier(folder, trials))[1:]  # others are still to be trained
    assert len(some) == 1 and some[0].endswith(" leaves out go, each by name") and len(widths(folder, outcomes)) == 8
    gone = Keeper(folder, keep, Earlier(folder)).finish(trials)
    assert widths(folder, outcomes) == wanted and len(gone) == 8 - len(wanted)
    assert [line.replace("remove ", "removed") for line in plan[:-1]] == gone
    assert plan[-1] == f"note      the weights of {len(wanted)} of 8 trials that are kept already stay"
    first = outcomes[0].trial
    assert gone[0] == (
        f"removed   {arch_label(first.arch)}, seed 0: its weights, 1 kB, {folder / own_file(first)}"
    )  # fmt: skip


def test_a_later_run_with_a_smaller_usual_budget_removes_nothing(folder, outcomes, make_trial, make_result):
    """As after --keep-bytes 5GB: what is new gets what is left of the budget."""
    trials, keep = [outcome.trial for outcome in outcomes], Keep("all", 3000)
    lines = keep_lines(trials, keep, Earlier(folder, trials))
    assert lines[1:] == ["note      the weights of 8 trials, 9 kB, are kept already, and stay"]
    assert "the front's first, within 3 kB" in lines[0]
    keeper = Keeper(folder, keep, Earlier(folder, trials))
    new = Outcome(make_trial(9, replace(TINY_ARCH, width=2.0)), make_result(val_top1=1.0))
    record(folder, new)
    put(folder, new.trial)
    assert keeper.add(new) == [] == keeper.finish([*trials, new.trial])
    assert len(widths(folder, outcomes)) == 8 and not (folder / own_file(new.trial)).exists()


def test_what_was_asked_for_stays_and_so_do_strangers(folder, outcomes):
    put(folder, outcomes[4].trial, asked="yes")
    (folder / "kept" / "other.safetensors").write_text("of no result")
    Keeper(folder, Keep("best", 1, bounds_earlier=True)).finish([outcome.trial for outcome in outcomes])
    assert widths(folder, outcomes) == [1.0] and (folder / "kept" / "other.safetensors").exists()


def test_a_plan_says_what_the_weights_take(outcomes, make_trial):
    trials = [outcome.trial for outcome in outcomes]
    size = sum(map(kept_bytes, trials))
    text = f"{size / 1e3:.0f} kB in half precision, at most twice that in float32, within 1.0 GB (--keep-bytes)"
    assert keep_lines(trials, Keep()) == [f"keep      all weights: {text}"]
    assert keep_lines(trials, Keep("front")) == [f"keep      the front's weights, of: {text}"]
    (line,) = keep_lines(trials, Keep("all", size - 1))
    assert line.startswith("keep      the front's first, within ") and line.endswith(
        "kB in half precision, at most twice that in float32"
    )
    assert keep_lines(trials, Keep("none"))[0].startswith("keep      no weights: ")
    shared = replace(trials[0], shared=Sharing("0123", 100))
    assert keep_lines([shared], Keep()) == ["keep      the shared weights, of which every network is a slice"]


def test_what_has_weights_and_what_has_none_is_listed(folder, outcomes):
    (folder / own_file(outcomes[0].trial)).unlink()
    (folder / own_file(outcomes[1].trial)).write_text("damaged")
    lines = list_kept(folder).splitlines()
    assert lines[1].endswith("not kept") and "damaged" in lines[2] and len(lines) == 10
    assert f"kept/{trial_id(outcomes[2].trial)}.safetensors, float32" in lines[3]
    assert lines[-1] == "1 result without weights; 'mnv2-sweep run SPACE --again NETWORK' makes them"
    assert list_kept(folder / "none") == "no trial has a result yet"
