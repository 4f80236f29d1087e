"""How a sweep stands, from its files alone."""

import json

import pytest

from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.record.claims import claim_first, this_owner
from mnv2_sweep.record.folders import log_path, progress_path
from mnv2_sweep.record.store import INTERRUPTED, OUT_OF_MEMORY, Outcome, record, write_schedule
from mnv2_sweep.sweeps.schedule import write_sweep_files
from mnv2_sweep.sweeps.status import read_status, status_json, status_text
from mnv2_sweep.trials.trial import trial_id


@pytest.fixture
def trials(make_trial):
    return [make_trial(seed, arch=ArchSpec(width=0.5, resolution=32)) for seed in range(6)]


def write_progress(folder, trial, step, steps):
    path = progress_path(folder, trial)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"step": step, "steps": steps, "loss": 1.5, "images_per_second": 80.0}))


def test_a_sweep_in_mid_course(tmp_path, trials, make_result):
    write_schedule(tmp_path, trials, replace=True)
    record(tmp_path, Outcome(trials[0], make_result(seconds=100.0, train_images=600)))
    record(tmp_path, Outcome(trials[1], error="MemoryError: too large\nby far", kind=OUT_OF_MEMORY, attempts=2))
    record(tmp_path, Outcome(trials[2], error="interrupted", kind=INTERRUPTED))
    log_path(tmp_path, trials[1]).parent.mkdir()
    log_path(tmp_path, trials[1]).write_text("what happened")
    owner = this_owner()
    assert claim_first(tmp_path, [trial_id(trials[3])], owner) == trial_id(trials[3])
    write_progress(tmp_path, trials[3], 25, 100)
    status = read_status(tmp_path)
    assert (status.planned, status.done, status.interrupted, status.waiting, status.runs) == (6, 1, 1, 3, 1)
    (running,), (failed,) = status.running, status.failed
    assert (running.step, running.steps, running.loss) == (25, 100, 1.5)
    assert (failed.kind, failed.attempts, failed.error) == ("out of memory", 2, "MemoryError: too large")
    assert status.seconds_left == pytest.approx(100 * (0.75 + 3))  # three quarters of one, three whole ones, one worker
    text = status_text(status)
    assert text.splitlines()[0] == (
        f"{tmp_path.name}: 1 of 6 done, 1 running, 1 failed, 3 waiting, 1 of them in mid-course"
    )
    assert "step 25/100, loss 1.50, 80 images/s" in text and str(log_path(tmp_path, trials[1])) in text
    assert json.loads(json.dumps(status_json(status)))["failed"][0]["kind"] == "out of memory"


def test_a_finished_sweep_and_reused_results(tmp_path, trials, make_result):
    write_schedule(tmp_path, trials[:2], replace=True)
    for trial in trials[:2]:
        record(tmp_path, Outcome(trial, make_result(), source="other"))
    status = read_status(tmp_path)
    assert (status.done, status.reused, status.waiting, status.seconds_left) == (2, 2, 0, 0.0)
    assert status_text(status) == f"{tmp_path.name}: 2 of 2 done, 2 of them from other sweeps"


def test_nothing_runs(tmp_path, trials):
    write_schedule(tmp_path, trials, replace=True)
    write_progress(tmp_path, trials[0], 1, 2)  # left by a machine that was lost: nobody claims it
    status = read_status(tmp_path)
    assert (status.running, status.waiting, status.seconds_left) == ((), 6, None)
    assert status_text(status).endswith("nothing runs; the same command goes on")
    write_sweep_files(tmp_path, "", {"command": "mnv2-sweep ablate --seeds 5"})
    assert status_text(read_status(tmp_path)).endswith("the same command goes on: mnv2-sweep ablate --seeds 5")
    for unfit in ('"a\\u001b[2Jb"', "7", "null"):
        (tmp_path / "env.json").write_text('{"command": ' + unfit + "}")
        assert status_text(read_status(tmp_path)).endswith("the same command goes on")


def test_sweeps_of_earlier_versions_have_no_plan(tmp_path, trials, make_result):
    record(tmp_path, Outcome(trials[0], make_result()))
    assert read_status(tmp_path).planned == 1
