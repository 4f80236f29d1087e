"""What a worker process does with a trial, and running what is missing: who needs what, who runs it, what is left."""

import io
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from mnv2_sweep.cli.display import SweepDisplay
from mnv2_sweep.data.photos import open_photos
from mnv2_sweep.nets.arch import ArchSpec, Stage
from mnv2_sweep.record.claims import read_claims
from mnv2_sweep.record.folders import CHECKPOINTS, RUNNING, log_path
from mnv2_sweep.record.store import TIMED_OUT, Outcome, read_each, read_outcomes, record
from mnv2_sweep.spaces.space import Strategy
from mnv2_sweep.sweeps import pool, request, workers
from mnv2_sweep.sweeps.pool import Limits, run_serial
from mnv2_sweep.sweeps.request import SweepRequest, find_prepared, open_session, prepare_session
from mnv2_sweep.sweeps.settings import RunSettings
from mnv2_sweep.sweeps.workers import Ended, Ticked, make_setup, run_session, train_in_worker, train_on
from mnv2_sweep.training.checkpoint import write_packed
from mnv2_sweep.training.control import Control, Interrupted
from mnv2_sweep.training.shared import weights_header
from mnv2_sweep.training.ways import shared
from mnv2_sweep.training.ways.alone import stack_path
from mnv2_sweep.training.ways.shared import weights_path
from mnv2_sweep.training.ways.way import Setup
from mnv2_sweep.trials.trial import DataRef, shared_id
from mnv2_sweep.trials.ways import KEPT, STACKED_FOLDER, WEIGHTS, own_file
from tests.photo_samples import class_files, write_folder
from tests.supernet_samples import LARGEST, SUPERNET, open_supernet, share
from tests.trial_samples import check_terms

SHARED_40 = Strategy("shared", 40)

# ---------------------------------------------------------------- what a worker does


@pytest.fixture
def photos(tmp_path):
    """A folder of photos and its cache."""
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
        result = train_in_worker(str(folder), cache, Setup(), photo_trial, control)
        assert (result.train_images, result.images.get("val", 0), result.score("test", "top1"), result.device) == (
            20,
            2,
            None,
            "cpu",
        )
    assert opened == [str(folder)] and torch.get_num_threads() == 1
    assert [state[:2] for state in reports] == [(step, 4) for step in (1, 2, 3, 4)] * 2


def test_images_are_left_out_where_nobody_wants_them(photos, photo_trial, photo_session):
    folder, cache = photos
    results = [train_in_worker(str(folder), cache, Setup(each=each), photo_trial, Control()) for each in (True, False)]
    check_terms(results[0])
    assert results[1].each == b"" and results[1].scores == results[0].scores
    session = photo_session()
    assert [make_setup(session, RunSettings(1, images=images)).each for images in (True, False)] == [True, False]


def test_a_worker_stops_when_asked(photos, photo_trial):
    folder, cache = photos
    with pytest.raises(Interrupted):
        train_in_worker(str(folder), cache, Setup(), photo_trial, Control(should_stop=lambda: True))


def test_data_that_changed_since_the_plan_are_not_trained_on(photos, photo_trial):
    folder, cache = photos
    other = replace(photo_trial, data=replace(photo_trial.data, fingerprint="another"))
    with pytest.raises(RuntimeError, match="photos has changed since the sweep began; run the command again"):
        train_in_worker(str(folder), cache, Setup(), other, Control())


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
        list(prepare_session(opened, {}))
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
    assert read_each(opened.folder).keys() == {outcome.id for outcome in outcomes}
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
    assert not (opened.folder / STACKED_FOLDER).exists() and not (opened.folder / CHECKPOINTS).exists()
    by_trial = {outcome.trial: outcome.result for outcome in outcomes}
    for trial in opened.trials:
        alone = train_in_worker(opened.request.data_name, workers.cache_folder(), Setup(), trial, Control())
        assert by_trial[trial].curve[0].train_loss == pytest.approx(alone.curve[0].train_loss, abs=1e-4)
    assert len({result.score("val", "loss") for result in by_trial.values()}) == 6


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


def test_a_slice_is_trained_in_the_sweep_s_folder_with_the_threads_given(tmp_path, tiny_data, monkeypatch, make_trial):
    called, trial = [], share(make_trial(arch=LARGEST))
    monkeypatch.setattr(shared, "run_shared_trial", lambda *words: called.append(words))
    train_on(Setup(folder=tmp_path, archs=SUPERNET, threads={shared_id(trial): 3}), tiny_data, trial, Control())
    ((_, _, _, _, supernet),) = called
    assert (supernet.archs, supernet.path, supernet.threads) == (SUPERNET, weights_path(tmp_path, trial), 3)


@pytest.mark.parametrize(
    "count, seeds, threads",
    [
        (4, (0,), [4]),
        (4, (0, 1), [2, 2]),
        (2, (0, 1), [1, 1]),
        (2, (0, 1, 2), [1, 1, 2]),
        (1, (0,), [1]),
        (3, (0, 1, 2, 3), [1, 1, 1, 3]),
    ],
)
def test_trainings_share_the_workers_as_threads(tmp_path, tiny_data, monkeypatch, count, seeds, threads):
    """Those that are left when all workers have had as many take what else would wait for them."""
    given = []
    monkeypatch.setattr(workers, "run_pool", lambda *words: given.append(words) or iter(()))
    opened = open_supernet(tmp_path, tiny_data, SHARED_40, seeds)
    for is_divided in (True, False):  # of the machine's memory: the one that trains does what several would
        limits = RunSettings(count, Limits(1000), memory_is_divided=is_divided)
        assert list(workers.start_workers(opened, limits, None, make_setup(opened, limits))) == []
        attempts, _, _, limits, _ = given.pop()
        named = dict(zip(opened.preparations, threads, strict=True))
        assert attempts.function.args[2] == Setup("cpu", tmp_path, SUPERNET, threads=named, keeps=True)
        assert limits.memory_bytes == 1000 * (max(threads) if is_divided else 1)
    for trial in opened.missing:  # trained: then each worker evaluates for itself
        write_packed(weights_path(tmp_path, trial), weights_header(trial), {})
    settings = RunSettings(count, Limits(1000), memory_is_divided=True)
    assert list(workers.start_workers(opened, settings, None, make_setup(opened, settings))) == []
    assert given.pop()[3].memory_bytes == 1000
    weights_path(tmp_path, opened.trials[-1]).unlink()  # as after a stop: what is left has all
    assert list(make_setup(opened, settings).threads.values()) == [count]


def test_weights_that_are_damaged_count_as_none(tmp_path, tiny_data, monkeypatch):
    """They are trained again: one trial alone is handed out, and the estimate holds the training."""
    handed_out = []

    def hand_out(attempts, feed, *more):
        handed_out.append(len(list(iter(feed.take, None))))
        yield from ()

    monkeypatch.setattr(workers, "run_pool", hand_out)
    opened = open_supernet(tmp_path, tiny_data, SHARED_40)
    path = weights_path(tmp_path, opened.trials[0])
    assert find_prepared(opened) == set()
    write_packed(path, weights_header(opened.trials[0]), {})
    assert find_prepared(opened) == {path.stem}
    run_all(opened, RunSettings(1))
    path.write_bytes(path.read_bytes()[:-1])
    assert find_prepared(opened) == set()
    run_all(opened, RunSettings(1))
    assert handed_out == [4, 1]


def test_a_supernet_is_run_recorded_and_leaves_its_weights_alone(tmp_path, tiny_data, monkeypatch):
    """In this process: one training, as the log of the one trial that did it says, then its slices."""
    folder = tmp_path / "results" / "mine"
    monkeypatch.setattr(workers, "run_pool", lambda attempts, feed, *more: run_serial(attempts, feed))
    monkeypatch.setattr(workers, "open_dataset", lambda name, cache: tiny_data)
    monkeypatch.setattr(request, "prepare_pixels", lambda *given: None)
    workers.worker_dataset.cache_clear()
    sharing = Strategy("shared", finetune=0.5)
    opened = open_supernet(folder, tiny_data, sharing, tuned=SUPERNET[1:2])
    list(prepare_session(opened, {}))
    outcomes, text = run_all(opened, RunSettings(1))
    workers.worker_dataset.cache_clear()
    assert [outcome.status for outcome in outcomes] == ["done"] * 5 and text.count("val top-1") == 5
    trained = [trial for trial in opened.trials if "shared training of 4" in log_path(folder, trial).read_text()]
    assert trained == [outcomes[0].trial] == [opened.missing[0]]
    assert [path for name in (WEIGHTS, KEPT) for path in (folder / name).iterdir()] == [
        weights_path(folder, trained[0]),
        folder / own_file(opened.trials[-1]),
    ]
    assert not (folder / CHECKPOINTS).exists() and not (folder / RUNNING).exists()
    assert open_supernet(folder, tiny_data, sharing, tuned=SUPERNET[1:2]).missing == ()
