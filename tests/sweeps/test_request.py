"""What is checked, said and written before the first trial, running what is missing, and what a worker does."""

import io
import json
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from mnv2_sweep.base.errors import ArchError, SweepError
from mnv2_sweep.cli.display import SweepDisplay
from mnv2_sweep.data.photos import open_photos
from mnv2_sweep.nets.arch import ArchSpec, Stage
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.supernet import supernet_digest
from mnv2_sweep.record.claims import claim_first, read_claims, this_owner
from mnv2_sweep.record.folders import CHECKPOINTS, RUNNING, SHARED, STACKED, log_path, stack_path, weights_path
from mnv2_sweep.record.store import INTERRUPTED, TIMED_OUT, Outcome, read_outcomes, read_plan, record
from mnv2_sweep.spaces.space import ALONE, Strategy
from mnv2_sweep.sweeps import pool, request, workers
from mnv2_sweep.sweeps.pool import Limits, run_serial
from mnv2_sweep.sweeps.request import (
    SweepRequest,
    describe_plan,
    describe_tuning,
    find_trained,
    make_sharing,
    open_session,
    prepare_session,
)
from mnv2_sweep.sweeps.settings import RunSettings
from mnv2_sweep.sweeps.workers import Ended, Families, Ticked, run_session, train_in_worker, train_on
from mnv2_sweep.training.checkpoint import write_packed
from mnv2_sweep.training.control import Control, Interrupted
from mnv2_sweep.training.shared import weights_header
from mnv2_sweep.trials.recipe import Recipe
from mnv2_sweep.trials.trial import DataRef, Sharing, trial_id
from tests.photo_samples import class_files, write_folder
from tests.supernet_samples import LARGEST, SMALLEST, SUPERNET, share

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
    assert again.trials == first.trials and again.missing == first.missing[2:] and again.reused == ()
    assert open_tiny(tmp_path / "mine", tiny_data, retry_failed=True).missing == first.missing[1:]


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
        ([ArchSpec(width=0)], RECIPE, "width: 0 given, a number above 0"),
        ([ArchSpec(stages=())], RECIPE, "stages: "),
        (ARCHS, replace(RECIPE, lr=-1.0), "recipe 'tiny': lr: -1.0 given, a number above 0 allowed"),
        (ARCHS, replace(RECIPE, epochs=2), "exactly one of images and epochs"),
    ],
    ids=["classes", "width", "stages", "lr", "length"],
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
    assert describe_plan(open_tiny(tmp_path, tiny_data)) == [
        "data      toy: 3 classes; 60 train, 30 val, 45 test",
        f"networks  3, {madds[0]:.1f}M to {madds[-1]:.1f}M MAdds at the nominal resolution",
        "recipe    tiny: 600 images each, trained at 12 to 16 px (input scale 0.5)",
        "trials    6 (1 done, 5 to run), seeds 0, 1",
    ]


def test_the_plan_says_what_is_reused_what_failed_and_what_is_of_others(tmp_path, tiny_data, make_result):
    trials = open_tiny(tmp_path / "mine", tiny_data).trials
    for name, number in (("other", 0), ("other", 1), ("third", 2)):
        record(tmp_path / name, Outcome(trials[number], make_result()))
    record(tmp_path / "mine", Outcome(trials[3], error="died"))
    record(tmp_path / "mine", Outcome(trials[4], error="stopped", kind=INTERRUPTED))
    record(tmp_path / "mine", Outcome(replace(trials[0], seed=9), make_result()))
    counts, *notes = describe_plan(open_tiny(tmp_path / "mine", tiny_data))[3:]
    assert counts == "trials    6 (0 done, 2 to run), seeds 0, 1"
    assert notes == [
        "reused    2 results of sweep other",
        "reused    1 result of sweep third",
        f"note      {tmp_path / 'mine'} has 1 result of other networks or seeds, also in tables",
        "note      1 trial failed earlier; --retry-failed tries them again",
    ]
    counts, *notes = describe_plan(open_tiny(tmp_path / "mine", tiny_data, retry_failed=True))[3:]
    assert counts == "trials    6 (0 done, 3 to run), seeds 0, 1" and len(notes) == 3


def test_the_plan_of_one_size_and_of_epochs(tmp_path, tiny_data):
    recipe = replace(RECIPE, images=None, epochs=2.5)
    lines = describe_plan(open_tiny(tmp_path, tiny_data, ARCHS[:1], recipe, (7,)))
    assert lines[2:] == [
        "recipe    tiny: 2.5 epochs each, trained at 16 px (input scale 0.5)",
        "trials    1 (0 done, 1 to run), seeds 7",
    ]


def test_networks_that_resolve_to_the_same_are_one(tmp_path, tiny_data):
    opened = open_tiny(tmp_path, tiny_data, [ArchSpec(classes=3), ArchSpec(width=1.001, classes=3)], seeds=(0,))
    assert len(opened.trials) == 1 and "networks  1," in describe_plan(opened)[1]


# ---------------------------------------------------------------- preparing


def test_preparing_writes_the_files_and_makes_every_size_once(tmp_path, tiny_data, monkeypatch, make_result):
    made = []
    monkeypatch.setattr(request, "prepare_pixels", lambda data, size: made.append(size))
    asked = SweepRequest(tmp_path, ARCHS, RECIPE, (0, 1), tiny_data, "toy", source="# space\n")
    opened = open_session(asked)
    assert list(prepare_session(opened, {"torch": "1"})) == [(1, 2), (2, 2)] and made == [12, 16]
    assert (tmp_path / "space.yaml").read_text() == "# space\n"
    assert json.loads((tmp_path / "env.json").read_text()) == {"torch": "1", "data": "toy"}
    for trial in opened.trials:
        if trial.train_size == 16:
            record(tmp_path, Outcome(trial, make_result()))
    made.clear()
    prepare(open_tiny(tmp_path, tiny_data))
    assert made == [12]  # only what is still to be trained


@pytest.fixture
def no_images(monkeypatch):
    monkeypatch.setattr(request, "prepare_pixels", lambda data, size: None)


def test_preparing_records_what_is_reused(tmp_path, tiny_data, make_result, no_images):
    trials = open_tiny(tmp_path / "mine", tiny_data).trials
    record(tmp_path / "other", Outcome(trials[3], make_result(), attempts=2))
    opened = open_tiny(tmp_path / "mine", tiny_data)
    prepare(opened)
    assert read_outcomes(tmp_path / "mine") == list(opened.reused)
    again = open_tiny(tmp_path / "mine", tiny_data)
    assert (again.reused, again.missing) == ((), opened.missing)


def test_preparing_writes_the_plan(tmp_path, tiny_data, no_images):
    opened = open_tiny(tmp_path, tiny_data)
    prepare(opened)
    assert tuple(read_plan(tmp_path).values()) == opened.trials
    prepare(open_tiny(tmp_path, tiny_data, ARCHS[:1]))
    assert len(read_plan(tmp_path)) == 2  # the space has become smaller


def test_a_plan_that_another_run_works_on_is_only_added_to(tmp_path, tiny_data, no_images):
    opened = open_tiny(tmp_path, tiny_data, ARCHS[:1])
    prepare(opened)
    claim_first(tmp_path, [trial_id(opened.trials[0])], this_owner())
    prepare(open_tiny(tmp_path, tiny_data, ARCHS[1:]))
    assert len(read_plan(tmp_path)) == 6


def test_another_recipe_beside_a_run_that_has_recorded_nothing_yet_is_refused(tmp_path, tiny_data, no_images):
    """Checked when the sweep is opened, and again when it is prepared: both may have been opened before either ran."""
    folder = tmp_path / "results" / "mine"
    first, mended = (open_tiny(folder, tiny_data, recipe=replace(RECIPE, lr=lr)) for lr in (0.1, 0.01))
    prepare(first)
    claim_first(folder, [trial_id(first.trials[0])], this_owner())
    plan = read_plan(folder)
    for refused in (lambda: open_tiny(folder, tiny_data, recipe=mended.trials[0].recipe), lambda: prepare(mended)):
        with pytest.raises(SweepError, match=r"made differently \(lr 0.1 -> 0.01\); give this sweep another --name"):
            refused()
    assert read_plan(folder) == plan and read_outcomes(folder) == []


def test_failures_stay_on_record_whatever_the_space_becomes(tmp_path, tiny_data, no_images):
    folder = tmp_path / "results" / "mine"
    record(folder, Outcome(open_tiny(folder, tiny_data).trials[0], error="diverged"))
    with pytest.raises(SweepError, match="made differently"):
        open_tiny(folder, tiny_data, recipe=replace(RECIPE, lr=0.01))
    prepare(open_tiny(folder, tiny_data, ARCHS[2:]))
    assert len(read_outcomes(folder)) == 1


# ---------------------------------------------------------------- workers


@pytest.fixture
def photos(tmp_path):
    """A folder of photos, its cache, and a trial on it."""
    folder = write_folder(tmp_path / "photos", class_files({"red": 6, "blue": 6}, side=16))
    return folder, tmp_path / "cache"


@pytest.fixture
def photo_trial(photos, make_trial):
    data = open_photos(*photos)
    arch = ArchSpec(stages=(Stage(1, 8, 1, 1),), width=0.25, resolution=16, last_channels=16)
    return make_trial(arch=arch, data=DataRef(data.name, data.fingerprint, 2), images=20, batch=5)


def test_a_worker_opens_the_data_once_and_trains(photos, photo_trial, monkeypatch):
    opened = []
    real = workers.open_dataset
    monkeypatch.setattr(workers, "open_dataset", lambda name, cache: opened.append(name) or real(name, cache))
    folder, cache = photos
    reports = []
    control = Control(report=lambda *state: reports.append(state))
    for _ in range(2):
        result = train_in_worker(str(folder), cache, "cpu", photo_trial, control)
        assert (result.train_images, result.val_images, result.test_top1, result.device) == (20, 2, None, "cpu")
    assert opened == [str(folder)] and torch.get_num_threads() == 1
    assert [state[:2] for state in reports] == [(step, 4) for step in (1, 2, 3, 4)] * 2


def test_a_worker_stops_when_asked(photos, photo_trial):
    folder, cache = photos
    with pytest.raises(Interrupted):
        train_in_worker(str(folder), cache, "cpu", photo_trial, Control(should_stop=lambda: True))


def test_data_that_changed_since_the_plan_are_not_trained_on(photos, photo_trial):
    folder, cache = photos
    other = replace(photo_trial, data=replace(photo_trial.data, fingerprint="another"))
    with pytest.raises(RuntimeError, match="photos has changed since the sweep began; run the command again"):
        train_in_worker(str(folder), cache, "cpu", other, Control())


# ---------------------------------------------------------------- running


@pytest.fixture
def photo_session(photos, photo_trial, tmp_path, monkeypatch):
    """open(retry_failed) -> a session of two trials, ready to run in worker processes."""
    folder, cache = photos
    monkeypatch.setattr(workers, "cache_folder", lambda: cache)

    def open_photo_session(retry_failed=False, seeds=(0,)):
        dataset = open_photos(folder, cache)
        archs = [replace(photo_trial.arch, width=width) for width in (0.25, 0.5)]
        asked = SweepRequest(
            tmp_path / "mine", archs, photo_trial.recipe, seeds, dataset, str(folder), retry_failed=retry_failed
        )
        opened = open_session(asked)
        prepare(opened)
        return opened

    return open_photo_session


def run_all(opened, settings, stop=lambda: False):
    console = Console(file=io.StringIO(), width=120)
    shown = SweepDisplay(dict.fromkeys(opened.missing, 1.0), opened.folder, console)
    outcomes = []
    with shown:
        for event in run_session(opened, settings, stop):
            if isinstance(event, Ended):
                outcomes.append(event.outcome)
                shown.ended(event.outcome, event.retried)
            else:
                assert isinstance(event, Ticked)
                shown.tick(event.elsewhere)
    return outcomes, console.file.getvalue()


def test_what_is_missing_is_run_recorded_and_shown(photo_session, monkeypatch):
    """First every trial takes too long, then all goes well."""
    monkeypatch.setattr(pool, "WAIT_SECONDS", 0.001)  # so small a trial takes less than the usual
    opened = photo_session()
    outcomes, text = run_all(opened, RunSettings(1, Limits(seconds=0.01)))
    assert {outcome.kind for outcome in outcomes} == {TIMED_OUT} and len(outcomes) == 2
    assert text.count("FAILED (timed out): took more than the 0 s allowed") == 2
    assert photo_session().missing == ()
    opened = photo_session(retry_failed=True)
    outcomes, text = run_all(opened, RunSettings(1))
    assert {outcome.trial for outcome in outcomes} == set(opened.trials)
    assert {outcome.status for outcome in outcomes} == {"done"} and text.count("val top-1") == 2
    assert read_outcomes(opened.folder) == outcomes
    assert all("done" in log_path(opened.folder, trial).read_text() for trial in opened.trials)
    assert read_claims(opened.folder) == {} and photo_session(retry_failed=True).missing == ()
    assert not (opened.folder / RUNNING).exists() and not (opened.folder / CHECKPOINTS).exists()


def test_seeds_of_a_network_are_trained_as_one(photo_session):
    opened = photo_session(seeds=(0, 1, 2))
    assert len(opened.missing) == 6
    outcomes, text = run_all(opened, RunSettings(2, stacks_seeds=True))
    assert {outcome.status for outcome in outcomes} == {"done"} and len(read_outcomes(opened.folder)) == 6
    logs = [log_path(opened.folder, trial).read_text() for trial in opened.trials]
    assert sum("seeds 0, 1, 2 as one: 4 steps" in log for log in logs) == 2  # once a network
    assert sum("trained as one with other seeds" in log for log in logs) == 6
    assert not (opened.folder / STACKED).exists() and not (opened.folder / CHECKPOINTS).exists()
    by_trial = {outcome.trial: outcome.result for outcome in outcomes}
    for trial in opened.trials:
        alone = train_in_worker(opened.request.data_name, workers.cache_folder(), "cpu", trial, Control())
        assert by_trial[trial].curve[0].train_loss == pytest.approx(alone.curve[0].train_loss, abs=1e-4)
    assert len({result.val_loss for result in by_trial.values()}) == 6


def test_what_is_left_of_stacked_seeds_that_are_recorded_goes_with_the_next_run(photo_session, make_result):
    opened = photo_session(seeds=(0, 1, 2))
    done, failed, missing = (stack_path(opened.folder, trial) for trial in opened.trials[:3])
    for path in (done, failed, missing):
        write_packed(path, {}, {})
    record(opened.folder, Outcome(opened.trials[0], make_result()))
    record(opened.folder, Outcome(opened.trials[1], error="diverged"))
    run_all(photo_session(seeds=(0, 1, 2)), RunSettings(1), stop=lambda: True)
    assert [path.exists() for path in (done, failed, missing)] == [False, False, True]


def test_a_stopped_session_begins_nothing(photo_session):
    opened = photo_session()
    assert run_all(opened, RunSettings(1), stop=lambda: True)[0] == []
    assert read_outcomes(opened.folder) == [] and read_claims(opened.folder) == {}


# ---------------------------------------------------------------- networks that share weights

SHARED_STRATEGY = Strategy("shared")
SHARED_RECIPE = Recipe("tiny", images=40, batch=8)


SHARED_40 = Strategy("shared", 40)


def open_family(folder, data, strategy, seeds=(0,), tuned=(), archs=SUPERNET):
    return open_session(SweepRequest(folder, archs, SHARED_RECIPE, seeds, data, "toy", strategy=strategy), tuned)


def test_a_shared_training_sees_as_many_images_as_the_networks_would_alone():
    """Four a step; no more than 24 networks count, and no training is shorter than one network's alone."""
    many = [ArchSpec(width=width / 20, classes=3) for width in range(1, 31)]
    recipe, family = Recipe("tiny", images=590, batch=20), supernet_digest(SUPERNET)
    assert make_sharing(ALONE, many, recipe, 60) is None
    assert make_sharing(SHARED_STRATEGY, SUPERNET, recipe, 60) == Sharing(family, 600)  # whole batches
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
    assert make_sharing(Strategy("shared", 77, 2.0), many, recipe, 60) == Sharing(supernet_digest(many), 77, 2.0)


def test_networks_that_cannot_share_are_refused_in_one_line():
    archs = [LARGEST, replace(SMALLEST, kernel=5)]
    with pytest.raises(ArchError) as caught:
        make_sharing(SHARED_STRATEGY, archs, SHARED_RECIPE, 60)
    assert str(caught.value) == (
        "strategy shared: kernel: 3, 5 given, one value allowed: kernels of two sizes have no common weights; "
        "or train each alone, with --separate"
    )
    assert make_sharing(ALONE, archs, SHARED_RECIPE, 60) is None


def test_slices_are_planned_first_and_some_are_trained_on(tmp_path, tiny_data, make_result):
    strategy = replace(SHARED_STRATEGY, finetune=2.0)
    sharing = make_sharing(strategy, SUPERNET, SHARED_RECIPE, 60)
    opened = open_family(tmp_path / "mine", tiny_data, strategy, seeds=(0, 1))
    assert len(opened.trials) == len(opened.missing) == 8 and opened.supernet == SUPERNET
    assert {trial.shared for trial in opened.trials} == {replace(sharing, finetune=None)}
    tuned = open_family(tmp_path / "mine", tiny_data, strategy, seeds=(0, 1), tuned=SUPERNET[:1])
    assert tuned.trials[:8] == opened.trials and len(tuned.trials) == 10
    assert {(trial.arch, trial.shared) for trial in tuned.trials[8:]} == {(SUPERNET[0], sharing)}
    assert open_family(tmp_path, tiny_data, ALONE).supernet == ()
    for trial in opened.trials:
        record(tmp_path / "other", Outcome(trial, make_result()))
    again = open_family(tmp_path / "mine", tiny_data, strategy, seeds=(0, 1), tuned=SUPERNET[:1])
    assert len(again.reused) == 8 and set(again.missing) == set(tuned.trials[8:])


def test_the_plan_says_that_there_is_one_training(tmp_path, tiny_data):
    lines = describe_plan(open_family(tmp_path, tiny_data, Strategy("shared", 12_000)))
    assert lines[1].startswith("networks  4, ")
    assert lines[2:] == [
        "recipe    tiny: one training of 12,000 images for all networks, which share its weights, "
        "trained at 8 to 16 px (input scale 1)",
        "trials    4 (0 done, 4 to run), seeds 0",
    ]


def test_a_sweep_has_one_strategy(tmp_path, tiny_data, make_result):
    folder = tmp_path / "results" / "mine"
    record(folder, Outcome(open_family(folder, tiny_data, SHARED_40).trials[0], make_result()))
    open_family(folder, tiny_data, replace(SHARED_40, finetune=2.0), tuned=SUPERNET[:2])
    for strategy, archs, difference in (
        (ALONE, SUPERNET, "strategy shared -> separate"),
        (replace(SHARED_40, images=48), SUPERNET, "images of the shared training 40 -> 48"),
        (SHARED_40, SUPERNET[:-1], "the networks that share weights"),
    ):
        with pytest.raises(SweepError) as caught:
            open_family(folder, tiny_data, strategy, archs=archs)
        assert str(caught.value) == (
            f"{folder}: its results were made differently ({difference}); give this sweep another --name"
        )


def test_a_slice_is_trained_in_the_sweep_s_folder_with_the_threads_given(tmp_path, tiny_data, monkeypatch, make_trial):
    called, trial = [], share(make_trial(arch=LARGEST))
    monkeypatch.setattr(workers, "run_shared_trial", lambda *words: called.append(words))
    train_on("cpu", tiny_data, trial, Control(), Families(SUPERNET, tmp_path, 3))
    ((_, _, _, _, group),) = called
    assert (group.archs, group.path, group.threads) == (SUPERNET, weights_path(tmp_path, trial), 3)
    monkeypatch.setattr(workers, "run_trial", None)
    with pytest.raises(AttributeError):  # never as a network alone, under the slice's name
        train_on("cpu", tiny_data, trial, Control())


@pytest.mark.parametrize("count, seeds, threads", [(4, (0,), 4), (4, (0, 1), 2), (2, (0, 1, 2), 1), (1, (0,), 1)])
def test_trainings_share_the_workers_as_threads(tmp_path, tiny_data, monkeypatch, count, seeds, threads):
    given = []
    monkeypatch.setattr(workers, "run_pool", lambda *words: given.append(words) or iter(()))
    opened = open_family(tmp_path, tiny_data, SHARED_40, seeds)
    for is_share in (True, False):  # of the machine's memory: the one that trains does what several would
        limits = RunSettings(count, Limits(1000), memory_is_share=is_share)
        assert list(workers._start(opened, limits, None, {})) == []
        attempts, _, _, limits, _ = given.pop()
        assert attempts.function.keywords["families"] == Families(SUPERNET, tmp_path, threads)
        assert limits.memory_bytes == 1000 * (threads if is_share else 1)
    for trial in opened.missing:  # trained: then each worker evaluates for itself
        write_packed(weights_path(tmp_path, trial), weights_header(trial), {})
    assert list(workers._start(opened, RunSettings(count, Limits(1000), memory_is_share=True), None, {})) == []
    assert given.pop()[3].memory_bytes == 1000


def test_weights_that_are_damaged_count_as_none(tmp_path, tiny_data, monkeypatch):
    """They are trained again: one trial alone is handed out, and the estimate holds the training."""
    handed_out = []

    def hand_out(attempts, source, *more):
        handed_out.append(len(list(iter(source.take, None))))
        yield from ()

    monkeypatch.setattr(workers, "run_pool", hand_out)
    opened = open_family(tmp_path, tiny_data, SHARED_40)
    path = weights_path(tmp_path, opened.trials[0])
    assert find_trained(opened) == set()
    write_packed(path, weights_header(opened.trials[0]), {})
    assert find_trained(opened) == {path.stem}
    run_all(opened, RunSettings(1))
    path.write_bytes(path.read_bytes()[:-1])
    assert find_trained(opened) == set()
    run_all(opened, RunSettings(1))
    assert handed_out == [4, 1]


def test_the_plan_of_what_is_trained_on_says_only_what_is_new(tmp_path, tiny_data, make_result):
    sharing = replace(SHARED_STRATEGY, finetune=1.0)
    for trial in open_family(tmp_path / "mine", tiny_data, sharing, (0, 1)).trials:
        record(tmp_path / "mine", Outcome(trial, make_result()))
    tuned = [trial for trial in open_family(tmp_path / "mine", tiny_data, sharing, (0, 1), SUPERNET[:2]).missing]
    record(tmp_path / "mine", Outcome(tuned[0], make_result()))
    record(tmp_path / "other", Outcome(tuned[1], make_result()))
    record(tmp_path / "mine", Outcome(tuned[2], error="died"))
    assert describe_tuning(open_family(tmp_path / "mine", tiny_data, sharing, (0, 1), SUPERNET[:2])) == [
        "finetune  2 networks of the front, 1 epoch each",
        "trials    4 (1 done, 1 to run), seeds 0, 1",
        "reused    1 result of sweep other",
        "note      1 trial failed earlier; --retry-failed tries them again",
    ]
    longer = open_family(tmp_path / "new", tiny_data, replace(sharing, finetune=0.5), tuned=SUPERNET[:1])
    assert describe_tuning(longer)[0] == "finetune  1 network of the front, 0.5 epochs each"


def test_a_family_is_run_recorded_and_leaves_its_weights_alone(tmp_path, tiny_data, monkeypatch):
    """In this process: one training, as the log of the one trial that did it says, then its slices."""
    folder = tmp_path / "results" / "mine"
    monkeypatch.setattr(workers, "run_pool", lambda attempts, source, *more: run_serial(attempts, source))
    monkeypatch.setattr(workers, "open_dataset", lambda name, cache: tiny_data)
    monkeypatch.setattr(request, "prepare_pixels", lambda data, size: None)
    workers._worker_dataset.cache_clear()
    sharing = replace(SHARED_STRATEGY, finetune=0.5)
    opened = open_family(folder, tiny_data, sharing, tuned=SUPERNET[1:2])
    prepare(opened)
    outcomes, text = run_all(opened, RunSettings(1))
    workers._worker_dataset.cache_clear()
    assert [outcome.status for outcome in outcomes] == ["done"] * 5 and text.count("val top-1") == 5
    trained = [trial for trial in opened.trials if "shared training of 4" in log_path(folder, trial).read_text()]
    assert trained == [outcomes[0].trial] == [opened.missing[0]]
    assert {path.name for path in (folder / SHARED).iterdir()} == {
        weights_path(folder, trained[0]).name, f"{trial_id(opened.trials[-1])}.pt",
    }  # fmt: skip
    assert not (folder / CHECKPOINTS).exists() and not (folder / RUNNING).exists()
    assert open_family(folder, tiny_data, sharing, tuned=SUPERNET[1:2]).missing == ()
