"""What is checked, said and written before the first trial."""

import json
from dataclasses import replace

import pytest

from mnv2_sweep.base.errors import ArchError, StoreError, SweepError
from mnv2_sweep.base.size import square
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.supernet import supernet_digest
from mnv2_sweep.record.claims import claim_first, this_owner
from mnv2_sweep.record.store import INTERRUPTED, Outcome, read_outcomes, read_schedule, read_truths, record
from mnv2_sweep.spaces.space import ALONE, Kind, Strategy
from mnv2_sweep.sweeps import request
from mnv2_sweep.sweeps.request import (
    SweepRequest,
    check_place,
    describe_schedule,
    describe_tuning,
    open_session,
    prepare_session,
)
from mnv2_sweep.training.ways.shared import make_sharing
from mnv2_sweep.trials.recipe import Recipe
from mnv2_sweep.trials.trial import DataRef, Sharing, shared_id, trial_id
from tests.supernet_samples import LARGEST, SHARED_RECIPE, SMALLEST, SUPERNET, open_supernet

RECIPE = Recipe("tiny", images=600, input_scale=0.5, batch=20)
ARCHS = [ArchSpec(width=width, resolution=size, classes=3) for width, size in ((0.35, 32), (1.0, 24), (0.35, 24))]


def open_tiny(folder, data, archs=ARCHS, recipe=RECIPE, seeds=(0, 1), retry_failed=False):
    return open_session(SweepRequest(folder, archs, recipe, seeds, data, "toy", retry_failed=retry_failed))


def prepare(opened):
    return list(prepare_session(opened, {}))


# ---------------------------------------------------------------- opening


def test_opening_plans_what_is_missing_and_writes_nothing(tmp_path, tiny_data, make_result):
    first = open_tiny(tmp_path / "mine", tiny_data)
    assert not (tmp_path / "mine").exists()
    assert len(first.trials) == len(first.missing) == 6
    assert {trial.data for trial in first.trials} == {DataRef("toy", tiny_data.fingerprint, 3)}
    record(tmp_path / "mine", Outcome(first.missing[0], make_result()))
    record(tmp_path / "mine", Outcome(first.missing[1], error="died"))
    record(tmp_path / "mine", Outcome(first.missing[2], error="stopped", kind=INTERRUPTED))
    again = open_tiny(tmp_path / "mine", tiny_data)
    assert again.trials == first.trials and set(again.missing) == set(first.missing[2:]) and again.reused == ()
    retried = open_tiny(tmp_path / "mine", tiny_data, retry_failed=True)
    assert set(retried.missing) == set(first.missing[1:]) and len(retried.missing) == 5


def test_networks_may_have_the_first_seeds_only(tmp_path, tiny_data):
    """A network that is there twice gets the more of both."""
    archs = [*ARCHS[:2], replace(ARCHS[0], width=0.3501)]
    counts = dict(zip(archs, (1, 3, 2), strict=True))
    opened = open_session(SweepRequest(tmp_path, archs, RECIPE, (4, 5, 6), tiny_data, "toy", counts=counts))
    assert [(trial.arch.width, trial.seed) for trial in opened.trials] == [
        *[(0.35, 4), (1.0, 4), (1.0, 5), (0.3501, 5), (1.0, 6)]
    ]


def test_results_of_another_sweep_are_reused(tmp_path, tiny_data, make_result):
    other = open_tiny(tmp_path / "other", tiny_data)
    record(tmp_path / "other", Outcome(other.trials[3], make_result(val_top1=0.75)))
    record(tmp_path / "other", Outcome(other.trials[4], error="died"))
    opened = open_tiny(tmp_path / "mine", tiny_data)
    assert opened.reused == (Outcome(other.trials[3], make_result(val_top1=0.75), source="other"),)
    assert set(opened.missing) == set(opened.trials) - {other.trials[3]} and len(opened.missing) == 5
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    "archs, recipe, message",
    [
        (
            [ArchSpec(), ArchSpec(classes=2)],
            RECIPE,
            "classes: 2 given, but toy has 3; leave classes out, or give at least 3",
        ),
        (
            [ArchSpec(), ArchSpec(head="ssdlite")],
            RECIPE,
            "head: ssdlite given, but task classify trains classifier; networks with other heads are counted only",
        ),
        ([ArchSpec(width=0)], RECIPE, "width: 0 given; allowed: a number above 0"),
        ([ArchSpec(stages=())], RECIPE, "stages: "),
        (ARCHS, replace(RECIPE, lr=-1.0), "recipe 'tiny': lr: -1.0 given; allowed: a number above 0"),
        (ARCHS, replace(RECIPE, epochs=2), "exactly one of images and epochs"),
    ],
    ids=["classes", "head", "width", "stages", "lr", "length"],
)
def test_what_cannot_work_is_refused_before_anything_is_written(tmp_path, tiny_data, archs, recipe, message):
    with pytest.raises(SweepError) as caught:
        open_tiny(tmp_path / "mine", tiny_data, archs, recipe)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "mine").exists()


def test_the_plan_says_networks_trials_madds_and_sizes(tmp_path, tiny_data, make_result):
    opened = open_tiny(tmp_path, tiny_data)
    record(tmp_path, Outcome(opened.trials[2], make_result()))
    madds = sorted(count_cost(arch).madds / 1e6 for arch in ARCHS)
    assert describe_schedule(open_tiny(tmp_path, tiny_data)) == [
        "data      toy: 3 classes; 60 train, 30 val, 45 test",
        f"networks  3, {madds[0]:.1f}M to {madds[-1]:.1f}M MAdds at the nominal resolution",
        "recipe    tiny: 600 images each, trained at 12 to 16 px (input scale 0.5)",
        "executed  44 to 51 % of nominal MAdds, the classifier apart",
        "trials    6 (1 done, 5 to run), seeds 0, 1",
        "keep      all weights: 13 MB in half precision, at most twice that in float32, within 1.0 GB (--keep-bytes)",
    ]


def test_the_plan_says_where_batch_norms_have_no_statistics_of_their_own_yet(tmp_path, tiny_data):
    """0.997 ^ 30 = 0.914; after 1,000 steps 5.0 %, after 1,001 less."""
    said = [
        [line for line in describe_schedule(open_tiny(tmp_path, tiny_data, recipe=recipe)) if "note" in line]
        for recipe in (
            replace(RECIPE, norm_momentum=0.003),
            replace(RECIPE, norm_momentum=0.003, images=20_000),
            RECIPE,
            replace(RECIPE, norm_momentum=0.2),
        )
    ]
    assert said == [
        [
            "note      after 30 steps batch norms have 91 % of the statistics they began with: recipe.norm_momentum is "
            "0.003; 0.1 suits so short a training"
        ],
        [], [], [],
    ]  # fmt: skip


def test_the_plan_says_what_is_reused_what_failed_and_what_is_of_others(tmp_path, tiny_data, make_result):
    trials = open_tiny(tmp_path / "mine", tiny_data).trials
    for name, number in (("other", 0), ("other", 1), ("third", 2)):
        record(tmp_path / name, Outcome(trials[number], make_result()))
    record(tmp_path / "mine", Outcome(trials[3], error="died"))
    record(tmp_path / "mine", Outcome(trials[4], error="stopped", kind=INTERRUPTED))
    record(tmp_path / "mine", Outcome(replace(trials[0], seed=9), make_result()))
    counts, _, *notes = describe_schedule(open_tiny(tmp_path / "mine", tiny_data))[4:]
    assert counts == "trials    6 (0 done, 2 to run), seeds 0, 1"
    assert notes == [
        "reused    2 results of sweep other",
        "reused    1 result of sweep third",
        f"note      {tmp_path / 'mine'} has 1 result of other networks or seeds, also in tables",
        "note      1 trial failed earlier; --retry-failed tries them again",
    ]
    counts, _, *notes = describe_schedule(open_tiny(tmp_path / "mine", tiny_data, retry_failed=True))[4:]
    assert counts == "trials    6 (0 done, 3 to run), seeds 0, 1" and len(notes) == 3


def test_the_plan_of_one_size_and_of_epochs(tmp_path, tiny_data):
    recipe = replace(RECIPE, images=None, epochs=2.5)
    lines = describe_schedule(open_tiny(tmp_path, tiny_data, ARCHS[:1], recipe, (7,)))
    assert lines[2:] == [
        "recipe    tiny: 2.5 epochs each, trained at 16 px (input scale 0.5)",
        "executed  44 % of nominal MAdds, the classifier apart",
        "trials    1 (0 done, 1 to run), seeds 7",
        "keep      all weights: 885 kB in half precision, at most twice that in float32, within 1.0 GB (--keep-bytes)",
    ]


def test_networks_that_resolve_to_the_same_are_one(tmp_path, tiny_data):
    opened = open_tiny(tmp_path, tiny_data, [ArchSpec(classes=3), ArchSpec(width=1.001, classes=3)], seeds=(0,))
    assert len(opened.trials) == 1 and "networks  1," in describe_schedule(opened)[1]


# ---------------------------------------------------------------- preparing


def test_preparing_writes_the_files_and_makes_every_size_once(tmp_path, tiny_data, monkeypatch, make_result):
    made = []
    monkeypatch.setattr(request, "prepare_pixels", lambda data, size, eval_crop: made.append(size))
    asked = SweepRequest(tmp_path, ARCHS, RECIPE, (0, 1), tiny_data, "toy", source="# space\n")
    opened = open_session(asked)
    assert list(prepare_session(opened, {"torch": "1"})) == [(1, 2), (2, 2)] and made == [square(12), square(16)]
    assert (tmp_path / "space.yaml").read_text() == "# space\n"
    assert json.loads((tmp_path / "env.json").read_text()) == {"torch": "1", "data": "toy"}
    for trial in opened.trials:
        if trial.train_size == square(16):
            record(tmp_path, Outcome(trial, make_result()))
    made.clear()
    prepare(open_tiny(tmp_path, tiny_data))
    assert made == [square(12)]  # only what is still to be trained


@pytest.fixture
def no_images(monkeypatch):
    monkeypatch.setattr(request, "prepare_pixels", lambda *given: None)


def test_preparing_records_what_is_reused(tmp_path, tiny_data, make_result, no_images):
    trials = open_tiny(tmp_path / "mine", tiny_data).trials
    record(tmp_path / "other", Outcome(trials[3], make_result(), attempts=2))
    opened = open_tiny(tmp_path / "mine", tiny_data)
    prepare(opened)
    assert read_outcomes(tmp_path / "mine") == list(opened.reused)
    again = open_tiny(tmp_path / "mine", tiny_data)
    assert (again.reused, set(again.missing)) == ((), set(opened.missing))


def test_preparing_writes_the_plan(tmp_path, tiny_data, no_images):
    opened = open_tiny(tmp_path, tiny_data)
    prepare(opened)
    assert tuple(read_schedule(tmp_path).values()) == opened.trials
    prepare(open_tiny(tmp_path, tiny_data, ARCHS[:1]))
    assert len(read_schedule(tmp_path)) == 2  # the space has become smaller


def test_a_plan_that_another_run_works_on_is_only_added_to(tmp_path, tiny_data, no_images):
    opened = open_tiny(tmp_path, tiny_data, ARCHS[:1])
    prepare(opened)
    claim_first(tmp_path, [trial_id(opened.trials[0])], this_owner())
    prepare(open_tiny(tmp_path, tiny_data, ARCHS[1:]))
    assert len(read_schedule(tmp_path)) == 6


def test_another_recipe_beside_a_run_that_has_recorded_nothing_yet_is_refused(tmp_path, tiny_data, no_images):
    """Checked when the sweep is opened, and again when it is prepared: both may have been opened before either ran."""
    folder = tmp_path / "results" / "mine"
    first, mended = (open_tiny(folder, tiny_data, recipe=replace(RECIPE, lr=lr)) for lr in (0.1, 0.01))
    prepare(first)
    claim_first(folder, [trial_id(first.trials[0])], this_owner())
    plan = read_schedule(folder)
    for refused in (lambda: open_tiny(folder, tiny_data, recipe=mended.trials[0].recipe), lambda: prepare(mended)):
        with pytest.raises(SweepError, match=r"made differently \(lr 0.1 -> 0.01\); give this sweep another --name"):
            refused()
    assert read_schedule(folder) == plan and read_outcomes(folder) == []


def test_failures_stay_on_record_whatever_the_space_becomes(tmp_path, tiny_data, no_images):
    folder = tmp_path / "results" / "mine"
    record(folder, Outcome(open_tiny(folder, tiny_data).trials[0], error="diverged"))
    with pytest.raises(SweepError, match="made differently"):
        open_tiny(folder, tiny_data, recipe=replace(RECIPE, lr=0.01))
    prepare(open_tiny(folder, tiny_data, ARCHS[2:]))
    assert len(read_outcomes(folder)) == 1


# ---------------------------------------------------------------- networks that share weights

SHARED_STRATEGY = Strategy("shared")
SHARED_40 = Strategy("shared", 40)


def test_a_shared_training_sees_as_many_images_as_the_networks_would_alone():
    """Four a step; no more than 24 networks count, and no training is shorter than one network's alone."""
    many = [ArchSpec(width=width / 20, classes=3) for width in range(1, 31)]
    recipe, digest = Recipe("tiny", images=590, batch=20), supernet_digest(SUPERNET)
    assert make_sharing(SHARED_STRATEGY, SUPERNET, recipe, 60) == Sharing(digest, 600, refit=4000)  # whole batches
    none = replace(SHARED_STRATEGY, settings=(("refit", 0),))
    assert make_sharing(none, SUPERNET, recipe, 60) == Sharing(digest, 600)
    assert make_sharing(SHARED_STRATEGY, SUPERNET[:2], recipe, 60).images == 600
    assert [make_sharing(SHARED_STRATEGY, many[:n], recipe, 60).images for n in (6, 8, 24, 30)] == [
        900,
        1200,
        3600,
        3600,
    ]
    assert (
        make_sharing(SHARED_STRATEGY, [*many[:6], replace(many[0], width=0.0501)], recipe, 60).images == 900
    )  # a twin
    by_epochs = replace(recipe, images=None, epochs=2)
    assert make_sharing(SHARED_STRATEGY, many[:8], by_epochs, 60).images == 240
    assert make_sharing(Strategy("shared", 77, 2.0), many, recipe, 60) == Sharing(supernet_digest(many), 77, refit=4000)


def test_networks_that_cannot_share_are_refused_in_one_line():
    archs = [LARGEST, replace(SMALLEST, kernel=5)]
    with pytest.raises(ArchError) as caught:
        make_sharing(SHARED_STRATEGY, archs, SHARED_RECIPE, 60)
    assert str(caught.value) == (
        "strategy shared: kernel: 3, 5 given, one value allowed: kernels of two sizes have no common weights; "
        "or train each alone, with --separate"
    )


def test_slices_are_planned_first_and_some_are_trained_on(tmp_path, tiny_data, make_result):
    strategy = replace(SHARED_STRATEGY, finetune=2.0)
    sharing = make_sharing(strategy, SUPERNET, SHARED_RECIPE, 60)
    opened = open_supernet(tmp_path / "mine", tiny_data, strategy, seeds=(0, 1))
    assert len(opened.trials) == len(opened.missing) == 8
    assert {trial.shared for trial in opened.trials} == {sharing}
    assert set(opened.preparations) == {shared_id(opened.trials[0]), shared_id(opened.trials[-1])}
    tuned = open_supernet(tmp_path / "mine", tiny_data, strategy, seeds=(0, 1), tuned=SUPERNET[:1])
    assert tuned.trials[:8] == opened.trials and len(tuned.trials) == 10
    assert {(trial.arch, trial.shared) for trial in tuned.trials[8:]} == {(SUPERNET[0], replace(sharing, finetune=2.0))}
    assert open_supernet(tmp_path, tiny_data, ALONE).preparations == ()
    for trial in opened.trials:
        record(tmp_path / "other", Outcome(trial, make_result()))
    again = open_supernet(tmp_path / "mine", tiny_data, strategy, seeds=(0, 1), tuned=SUPERNET[:1])
    assert len(again.reused) == 8 and set(again.missing) == set(tuned.trials[8:])


def test_the_plan_says_that_there_is_one_training(tmp_path, tiny_data):
    lines = describe_schedule(open_supernet(tmp_path, tiny_data, Strategy("shared", 12_000)))
    assert lines[1].startswith("networks  4, ")
    assert lines[2:] == [
        "recipe    tiny: one training of 12,000 images for all networks, which share its weights, "
        "trained at 8 to 16 px (input scale 1)",
        "trials    4 (0 done, 4 to run), seeds 0",
        "keep      the shared weights, of which every network is a slice",
    ]


def test_a_sweep_has_one_strategy(tmp_path, tiny_data, make_result):
    folder = tmp_path / "results" / "mine"
    record(folder, Outcome(open_supernet(folder, tiny_data, SHARED_40).trials[0], make_result()))
    open_supernet(folder, tiny_data, replace(SHARED_40, finetune=2.0), tuned=SUPERNET[:2])
    for strategy, archs, difference in (
        (ALONE, SUPERNET, "strategy shared -> separate"),
        (replace(SHARED_40, images=48), SUPERNET, "images of the shared training 40 -> 48"),
        (SHARED_40, SUPERNET[:-1], "the networks that share weights"),
    ):
        with pytest.raises(SweepError) as caught:
            open_supernet(folder, tiny_data, strategy, archs=archs)
        assert str(caught.value) == (
            f"{folder}: its results were made differently ({difference}); give this sweep another --name"
        )


def test_the_plan_of_what_is_trained_on_says_only_what_is_new(tmp_path, tiny_data, make_result):
    sharing = replace(SHARED_STRATEGY, finetune=1.0)
    for trial in open_supernet(tmp_path / "mine", tiny_data, sharing, (0, 1)).trials:
        record(tmp_path / "mine", Outcome(trial, make_result()))
    tuned = [trial for trial in open_supernet(tmp_path / "mine", tiny_data, sharing, (0, 1), SUPERNET[:2]).missing]
    record(tmp_path / "mine", Outcome(tuned[0], make_result()))
    record(tmp_path / "other", Outcome(tuned[1], make_result()))
    record(tmp_path / "mine", Outcome(tuned[2], error="died"))
    assert describe_tuning(open_supernet(tmp_path / "mine", tiny_data, sharing, (0, 1), SUPERNET[:2])) == [
        "finetune  2 networks of the front, 1 epoch each",
        "trials    4 (1 done, 1 to run), seeds 0, 1",
        "reused    1 result of sweep other",
        "note      1 trial failed earlier; --retry-failed tries them again",
    ]
    longer = open_supernet(tmp_path / "new", tiny_data, replace(sharing, finetune=0.5), tuned=SUPERNET[:1])
    assert describe_tuning(longer)[0] == "finetune  1 network of the front, 0.5 epochs each"


@pytest.mark.parametrize("place", ["file/results", "file", "a" * 300], ids=["in a file", "a file", "long"])
def test_a_place_that_cannot_work_is_refused_at_once(tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"can't be written \(.*\); choose another --results folder"):
        check_place(tmp_path / place / "sweep")
    check_place(tmp_path / "missing" / "too" / "sweep")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# ---------------------------------------------------------------- scores


def test_the_classes_of_images_are_written_with_the_plan(tmp_path, tiny_data):
    prepare(open_tiny(tmp_path / "mine", tiny_data))
    truth = read_truths(tmp_path / "mine")[tiny_data.fingerprint]
    assert truth.classes == tiny_data.classes and truth.labels.keys() == tiny_data.labels.keys() - {"train"}
    assert truth.labels["val"].tolist() == tiny_data.labels["val"].tolist()


@pytest.mark.parametrize(
    ("recipes", "message"),
    [
        ([replace(RECIPE, score="top5")], "recipe.score: top5 given, but toy has 3 classes"),
        ([replace(RECIPE, score="macro_f1"), RECIPE], "recipe.score: macro_f1 and top1 given"),
    ],
    ids=["few classes", "two scores"],
)
def test_scores_that_cannot_rank_are_refused(tmp_path, tiny_data, recipes, message):
    first, *more = (Kind(recipe, ALONE) for recipe in recipes)
    asked = SweepRequest(tmp_path / "s", ARCHS, first.recipe, (0,), tiny_data, "toy", more=tuple(more))
    with pytest.raises(SweepError, match=message):
        open_session(asked)


def test_jobs_of_one_seed_each_add_to_the_plan_of_the_sweep(tmp_path, tiny_data):
    for seed in (4, 0):
        asked = SweepRequest(tmp_path / "s", ARCHS, RECIPE, (seed,), tiny_data, "toy", is_part=True)
        prepare(open_session(asked))
    assert sorted({trial.seed for trial in read_schedule(tmp_path / "s").values()}) == [0, 4]
    assert len(read_schedule(tmp_path / "s")) == 6
    prepare(open_tiny(tmp_path / "s", tiny_data, seeds=(1,)))  # a whole sweep plans anew
    assert {trial.seed for trial in read_schedule(tmp_path / "s").values()} == {1}
