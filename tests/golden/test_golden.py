"""Sweeps that earlier versions recorded read and print the same, and their trials keep their ids."""

import sqlite3

import pytest

from mnv2_sweep.trials.trial import dump_result, dump_trial, load_result, load_trial, trial_id
from tests.golden.capture import RESULTS, ROOT, capture_text, commands, expected_path

DATABASES = sorted(RESULTS.glob("*/trials.db"))


@pytest.mark.slow
@pytest.mark.parametrize("sweep", commands(), ids=lambda sweep: sweep or "none")
def test_tables_plots_and_json_of_recorded_sweeps_are_as_before(sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    seen = capture_text(sweep, tmp_path).split("\n##### ")
    expected = expected_path(sweep).read_text(encoding="utf-8").split("\n##### ")
    assert len(seen) == len(expected) > 8
    for one, before in zip(seen, expected, strict=True):
        assert one.splitlines() == before.splitlines()


@pytest.mark.parametrize("database", DATABASES, ids=lambda path: path.parent.name)
def test_trials_keep_their_ids_and_records_their_text(database, tmp_path):
    copy = tmp_path / "trials.db"
    copy.write_bytes(database.read_bytes())
    rows = sqlite3.connect(copy).execute("SELECT id, trial, result FROM trials").fetchall()
    assert rows
    for name, trial, result in rows:
        assert trial_id(load_trial(trial)) == name and dump_trial(load_trial(trial)) == trial
        assert result is None or dump_result(load_result(result)) == result
