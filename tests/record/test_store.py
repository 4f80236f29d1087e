"""Results on disk: what was acknowledged is there, once, whatever kills the writer or fills the disk."""

import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from mnv2_sweep.base.errors import StoreError
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.record import store
from mnv2_sweep.record.store import (
    DATABASE,
    DIVERGED,
    EXCEPTION,
    INTERRUPTED,
    KILLED,
    OUT_OF_MEMORY,
    TIMED_OUT,
    Outcome,
    add_each,
    done_ids,
    find_trials,
    read_each,
    read_fates,
    read_looks,
    read_outcomes,
    read_schedule,
    read_statuses,
    record,
    record_all,
    scan_outcomes,
    write_look,
    write_schedule,
)
from mnv2_sweep.trials.recipe import Recipe
from mnv2_sweep.trials.terms import MISTAKEN, pack_terms
from mnv2_sweep.trials.trial import DataRef, Trial, dump_result, dump_trial, trial_id


def simple_trial(seed: int) -> Trial:
    return Trial(ArchSpec(), Recipe("stored", images=10), DataRef("toy", "0123", 3), seed)


# Records failed trials number `start`, `start + 1`, ... and prints each one's number once `record` has returned.
WRITER = """
import sys
import time
from pathlib import Path
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.record.store import Outcome, record
from mnv2_sweep.trials.recipe import Recipe
from mnv2_sweep.trials.trial import DataRef, Trial

folder, start, stop, pause = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
for seed in range(start, stop):
    trial = Trial(ArchSpec(), Recipe("stored", images=10), DataRef("toy", "0123", 3), seed)
    record(folder, Outcome(trial, error="x" * 2000))
    print(seed, flush=True)
    time.sleep(pause)
"""


def start_writer(folder: Path, start: int, stop: int = 10**6, pause: float = 0) -> subprocess.Popen:
    command = [sys.executable, "-c", WRITER, str(folder), str(start), str(stop), str(pause)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


# ---------------------------------------------------------------- round trip


def test_an_empty_folder_holds_nothing(tmp_path):
    assert read_outcomes(tmp_path) == read_outcomes(tmp_path / "nowhere") == []
    assert list(tmp_path.iterdir()) == []  # reading makes no file


def test_round_trip(tmp_path, make_trial, make_result):
    outcomes = [
        Outcome(make_trial(0), make_result(val_top1=1 / 3)),
        Outcome(make_trial(1, epochs=2.5, flip=False), make_result(test_top1=None, test_loss=None, curve=())),
        Outcome(make_trial(2, arch=ArchSpec(residual="expansion")), error="ValueError: 'größer' als \U0001f600\n\x00"),
    ]
    for outcome in outcomes:
        record(tmp_path / "new" / "sweep", outcome)
    assert read_outcomes(tmp_path / "new" / "sweep") == outcomes
    assert [outcome.status for outcome in outcomes] == ["done", "done", "failed"]
    assert done_ids(outcomes) == {trial_id(make_trial(0)), trial_id(make_trial(1, epochs=2.5, flip=False))}


@pytest.mark.parametrize("kind", [EXCEPTION, DIVERGED, OUT_OF_MEMORY, KILLED, TIMED_OUT, INTERRUPTED])
def test_how_a_trial_ended_is_kept(tmp_path, make_trial, kind):
    outcome = Outcome(make_trial(), error="so it ended", kind=kind, attempts=2)
    record(tmp_path, outcome)
    assert read_outcomes(tmp_path) == [outcome]
    status = "interrupted" if kind == INTERRUPTED else "failed"
    assert outcome.status == status and read_statuses(tmp_path)[outcome.id][0] == status


def test_a_result_is_done_however_often_it_was_tried_and_wherever(tmp_path, make_trial, make_result):
    outcome = Outcome(make_trial(), make_result(), kind=KILLED, attempts=2, source="another")
    assert (outcome.kind, outcome.status) == ("done", "done")
    record(tmp_path, outcome)
    assert read_outcomes(tmp_path) == [outcome]


def test_several_are_recorded_at_once_or_not_at_all(tmp_path, make_trial, make_result):
    outcomes = [Outcome(make_trial(seed), make_result()) for seed in range(3)]
    record_all(tmp_path, outcomes)
    assert read_outcomes(tmp_path) == outcomes
    record_all(tmp_path, [])

    def stumble():
        yield Outcome(make_trial(3), make_result())
        raise OSError("the other folder is gone")

    with pytest.raises(StoreError, match="can't record a trial .the other folder is gone."):
        record_all(tmp_path, stumble())
    assert read_outcomes(tmp_path) == outcomes


@pytest.mark.parametrize("name", ["what? #1 100%", "größer", "a'b", "mode=rw&x"])
def test_any_folder_name_will_do(tmp_path, make_trial, make_result, name):
    outcome = Outcome(make_trial(), make_result())
    record(tmp_path / name, outcome)
    assert read_outcomes(tmp_path / name) == [outcome]


def test_a_relative_folder_will_do(tmp_path, make_trial, make_result, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = Outcome(make_trial(), make_result())
    record(Path("results/one"), outcome)
    assert read_outcomes(Path("results/one")) == [outcome]


def test_a_result_is_never_overwritten(tmp_path, make_trial, make_result):
    first = Outcome(make_trial(), make_result(val_top1=0.25))
    record(tmp_path, first)
    record(tmp_path, Outcome(make_trial(), make_result(val_top1=0.75)))
    record(tmp_path, Outcome(make_trial(), error="later failure"))
    assert read_outcomes(tmp_path) == [first]


def test_a_failure_is_followed_by_what_comes_later(tmp_path, make_trial, make_result):
    record(tmp_path, Outcome(make_trial(), error="first"))
    record(tmp_path, Outcome(make_trial(), error="second"))
    assert read_outcomes(tmp_path) == [Outcome(make_trial(), error="second")]
    assert done_ids(read_outcomes(tmp_path)) == set()
    done = Outcome(make_trial(), make_result())
    record(tmp_path, done)
    record(tmp_path, Outcome(make_trial(), error="third"))  # from now on it is a result like any other
    assert read_outcomes(tmp_path) == [done]


def test_equal_networks_are_one_row(tmp_path, make_trial, make_result):
    """Two specs of one plan are one trial, whatever they are called."""
    first = Outcome(make_trial(arch=ArchSpec(width=1.0)), make_result())
    record(tmp_path, first)
    record(tmp_path, Outcome(make_trial(arch=ArchSpec(width=1.001), name="another name"), make_result(val_top1=0.9)))
    assert read_outcomes(tmp_path) == [first]


def test_outcomes_come_in_the_order_of_recording(tmp_path, make_trial, make_result):
    for seed in (5, 2, 9, 0):
        record(tmp_path, Outcome(make_trial(seed), make_result()))
    assert [outcome.trial.seed for outcome in read_outcomes(tmp_path)] == [5, 2, 9, 0]


def test_the_table_is_readable_by_any_tool(tmp_path, make_trial, make_result):
    record(tmp_path, Outcome(make_trial(0), make_result(val_top1=0.125)))
    record(tmp_path, Outcome(make_trial(1), error="bad"))
    with closing(sqlite3.connect(tmp_path / DATABASE)) as database:
        query = "SELECT id, status, error, json_extract(result, '$.val_top1'), recorded FROM trials ORDER BY recorded"
        done, failed = database.execute(query).fetchall()
    assert done[:4] == (trial_id(make_trial(0)), "done", None, 0.125)
    assert failed[:4] == (trial_id(make_trial(1)), "failed", "bad", None)
    assert time.time() - 60 < done[4] <= failed[4] <= time.time()


def test_statuses_alone_are_quicker_to_read(tmp_path, make_trial, make_result):
    assert read_statuses(tmp_path) == {}
    before = time.time()
    record(tmp_path, Outcome(make_trial(0), error="x"))
    record(tmp_path, Outcome(make_trial(1), make_result()))
    statuses = read_statuses(tmp_path)
    assert {name: status for name, (status, _) in statuses.items()} == {
        trial_id(make_trial(0)): "failed",
        trial_id(make_trial(1)): "done",
    }
    times = [recorded for _, recorded in statuses.values()]
    assert before <= times[0] <= times[1] <= time.time()


def test_results_of_older_code_are_not_done(tmp_path, make_trial, make_result, monkeypatch):
    record(tmp_path, Outcome(make_trial(), make_result()))
    monkeypatch.setattr("mnv2_sweep.trials.trial.CODE_VERSION", 10**6)
    assert trial_id(make_trial()) not in done_ids(read_outcomes(tmp_path))


# ---------------------------------------------------------------- the plan


def test_the_plan_is_kept_in_its_order(tmp_path, make_trial):
    assert read_schedule(tmp_path) == {}
    trials = [make_trial(seed) for seed in (5, 2, 9)]
    write_schedule(tmp_path, trials, replace=True)
    assert list(read_schedule(tmp_path).items()) == [(trial_id(trial), trial) for trial in trials]
    assert read_outcomes(tmp_path) == [] and read_statuses(tmp_path) == {}


@pytest.mark.parametrize("replace, left", [(True, {1, 2}), (False, {0, 1, 2})], ids=["replaced", "joined"])
def test_a_later_plan(tmp_path, make_trial, make_result, replace, left):
    write_schedule(tmp_path, [make_trial(0), make_trial(1)], replace=True)
    record(tmp_path, Outcome(make_trial(0), make_result()))
    write_schedule(tmp_path, [make_trial(1), make_trial(2)], replace)
    assert {trial.seed for trial in read_schedule(tmp_path).values()} == left
    assert len(read_outcomes(tmp_path)) == 1  # results stay


def test_a_plan_of_another_program_is_refused(tmp_path, make_trial):
    write_schedule(tmp_path, [make_trial()], replace=True)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as database, database:
        database.execute("UPDATE planned SET trial = '{}'")
    with pytest.raises(StoreError, match="not a results file of this program"):
        read_schedule(tmp_path)


# ---------------------------------------------------------------- files of earlier versions

OLD_SCHEMA = """CREATE TABLE trials (
    id TEXT PRIMARY KEY, trial TEXT NOT NULL, status TEXT NOT NULL, result TEXT, error TEXT, recorded REAL NOT NULL
)"""


@pytest.fixture
def old_folder(tmp_path, make_trial, make_result):
    """A file as version 0.1 wrote it: seed 0 done, seed 1 failed."""
    rows = [
        (trial_id(make_trial(0)), dump_trial(make_trial(0)), "done", dump_result(make_result()), None, 1.0),
        (trial_id(make_trial(1)), dump_trial(make_trial(1)), "failed", None, "ValueError: old", 2.0),
    ]
    with closing(sqlite3.connect(tmp_path / DATABASE)) as database, database:
        database.execute(OLD_SCHEMA)
        database.executemany("INSERT INTO trials VALUES (?, ?, ?, ?, ?, ?)", rows)
    return tmp_path


def test_an_old_file_is_read_as_it_is(old_folder, make_trial, make_result):
    content = (old_folder / DATABASE).read_bytes()
    done, failed = read_outcomes(old_folder)
    assert done == Outcome(make_trial(0), make_result())
    assert failed == Outcome(make_trial(1), error="ValueError: old", kind=EXCEPTION, attempts=1)
    assert read_statuses(old_folder) == {done.id: ("done", 1.0), failed.id: ("failed", 2.0)}
    assert read_schedule(old_folder) == {}
    assert (old_folder / DATABASE).read_bytes() == content


def test_an_old_file_is_written_on(old_folder, make_trial, make_result):
    new = [
        Outcome(make_trial(1), error="again", kind=KILLED, attempts=2),
        Outcome(make_trial(2), make_result(), attempts=2, source="another"),
    ]
    for outcome in new:
        record(old_folder, outcome)
    assert read_outcomes(old_folder) == [Outcome(make_trial(0), make_result()), *new]


def test_the_later_columns_come_in_any_order(old_folder, make_trial):
    """Earlier code of ours added them in the order of a set."""
    with closing(sqlite3.connect(old_folder / DATABASE)) as database, database:
        for column in ("source TEXT", "attempts INTEGER", "kind TEXT"):
            database.execute(f"ALTER TABLE trials ADD COLUMN {column}")
    outcome = Outcome(make_trial(1), error="again", kind=KILLED, attempts=2, source="another")
    record(old_folder, outcome)
    assert read_outcomes(old_folder)[-1] == outcome


@pytest.mark.parametrize(
    "write",
    [
        lambda folder, trial: write_schedule(folder, [trial], replace=True),
        lambda folder, trial: record_all(folder, []),
    ],
    ids=["plan", "nothing"],
)
def test_writing_anything_keeps_what_an_old_file_holds(old_folder, make_trial, write):
    before = read_outcomes(old_folder)
    write(old_folder, make_trial(1))
    assert read_outcomes(old_folder) == before


# ---------------------------------------------------------------- kills


@pytest.mark.slow
def test_a_killed_writer_loses_nothing_it_acknowledged(tmp_path):
    """Eight rounds of kill -9 at a random moment; each goes on where the one before was killed."""
    draw, acknowledged, start = random.Random(0), [], 0
    for _ in range(8):
        writer = start_writer(tmp_path, start)
        acknowledged.append(int(writer.stdout.readline()))
        time.sleep(draw.uniform(0, 0.15))
        writer.kill()
        acknowledged += [int(line) for line in writer.stdout.read().split("\n")[:-1]]
        writer.wait()
        writer.stdout.close()
        seeds = [outcome.trial.seed for outcome in read_outcomes(tmp_path)]
        assert len(seeds) == len(set(seeds))
        assert set(acknowledged) <= set(seeds)
        # One more at most: recorded, and killed before it could say so.
        assert len(seeds) <= start + 1 + sum(seed >= start for seed in acknowledged)
        assert sorted(seeds) == list(range(len(seeds)))
        start = len(seeds)
    assert start > 8  # some rounds were killed in the middle of the work


def test_reading_after_a_kill_in_the_middle_of_a_commit(tmp_path):
    """The journal of a half-written transaction is still there, as after a kill between two flushes to the disk."""
    record(tmp_path, Outcome(simple_trial(0), error="kept"))
    code = (
        "import os, signal, sqlite3, sys\n"
        "database = sqlite3.connect(sys.argv[1])\n"
        "database.execute('PRAGMA cache_size = 1')\n"  # so that pages reach the file before the commit
        "database.execute('BEGIN IMMEDIATE')\n"
        "for i in range(200):\n"
        "    row = (i, 'x' * 3000, 'failed', 'e', 0)\n"
        "    database.execute('INSERT INTO trials (id, trial, status, error, recorded) VALUES (?, ?, ?, ?, ?)', row)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / DATABASE)], check=False)
    assert (tmp_path / f"{DATABASE}-journal").stat().st_size > 0 and (tmp_path / DATABASE).stat().st_size > 100_000
    assert read_outcomes(tmp_path) == [Outcome(simple_trial(0), error="kept")]


# ---------------------------------------------------------------- several processes


@pytest.mark.slow
def test_reading_while_another_process_writes(tmp_path):
    """Reads until ten of them fell between two writes; neither side hinders the other."""
    writer, seen, end = start_writer(tmp_path, 0, pause=0.02), [], time.monotonic() + 30
    try:
        while len({len(seeds) for seeds in seen}) < 10 and time.monotonic() < end:
            seen.append([outcome.trial.seed for outcome in read_outcomes(tmp_path)])
        assert writer.poll() is None
    finally:
        writer.kill()
        acknowledged = writer.stdout.read().split("\n")[:-1]
        writer.stdout.close()
        writer.wait()
    assert len({len(seeds) for seeds in seen}) == 10
    assert all(seeds == list(range(len(seeds))) for seeds in seen)
    recorded = [outcome.trial.seed for outcome in read_outcomes(tmp_path)]
    assert recorded == list(range(len(recorded))) and len(recorded) - len(acknowledged) in (0, 1)


def test_two_writers_share_a_file(tmp_path):
    writers = [start_writer(tmp_path, start, stop) for start, stop in ((0, 15), (10, 25))]
    for writer in writers:
        assert writer.wait(timeout=30) == 0
        writer.stdout.close()
    assert sorted(outcome.trial.seed for outcome in read_outcomes(tmp_path)) == list(range(25))


def test_a_writer_waits_for_another(tmp_path):
    record(tmp_path, Outcome(simple_trial(0), error="x"))
    with closing(sqlite3.connect(tmp_path / DATABASE, check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        threading.Timer(0.3, other.rollback).start()
        start = time.monotonic()
        record(tmp_path, Outcome(simple_trial(1), error="x"))
    assert time.monotonic() - start > 0.2
    assert len(read_outcomes(tmp_path)) == 2


# ---------------------------------------------------------------- what can't be used


@pytest.mark.parametrize(
    "content", [b"these are no results\n" * 100, b"SQLite format 3\x00" + b"\xff" * 4000], ids=["text", "broken"]
)
def test_another_file_is_refused_and_left_alone(tmp_path, content):
    (tmp_path / DATABASE).write_bytes(content)
    with pytest.raises(StoreError, match=f"{DATABASE}: not a results file of this program .*; move it away or choose"):
        read_outcomes(tmp_path)
    with pytest.raises(StoreError, match="can't record a trial"):
        record(tmp_path, Outcome(simple_trial(0), error="x"))
    assert (tmp_path / DATABASE).read_bytes() == content


@pytest.mark.parametrize(
    "trial, result",
    [
        ("no JSON", None),
        ("[]", None),
        ('{"arch": {}}', None),
        ('{"arch": {"depth": 3}, "recipe": {"name": "r"}, "data": {}, "seed": 0}', None),
        (None, "{}"),
        (None, '{"curve": []}'),
    ],
    ids=["no JSON", "list", "part", "unknown field", "empty result", "part of a result"],
)
def test_rows_of_another_program_are_refused(tmp_path, make_trial, trial, result):
    record(tmp_path, Outcome(make_trial(), error="x"))
    with closing(sqlite3.connect(tmp_path / DATABASE)) as database, database:
        database.execute("UPDATE trials SET trial = coalesce(?, trial), result = ?", (trial, result))
    with pytest.raises(StoreError, match="not a results file of this program"):
        read_outcomes(tmp_path)


def test_rows_that_are_no_text_are_refused(tmp_path, make_trial):
    record(tmp_path, Outcome(make_trial(), error="x"))
    with closing(sqlite3.connect(tmp_path / DATABASE)) as database, database:
        database.execute("UPDATE trials SET trial = CAST(x'ff41' AS TEXT)")  # no UTF-8
    with pytest.raises(StoreError, match="not a results file of this program"):
        read_outcomes(tmp_path)


def test_a_table_of_another_program_is_refused(tmp_path):
    with closing(sqlite3.connect(tmp_path / DATABASE)) as database, database:
        database.execute("CREATE TABLE trials (study INTEGER)")
    with pytest.raises(StoreError, match="not a results file of this program"):
        read_outcomes(tmp_path)


def test_an_empty_database_holds_nothing(tmp_path):
    """A writer killed before its first commit leaves a file without the table."""
    (tmp_path / DATABASE).touch()
    assert read_outcomes(tmp_path) == []
    record(tmp_path, Outcome(simple_trial(0), error="x"))
    assert len(read_outcomes(tmp_path)) == 1


def test_a_folder_that_is_a_file_can_t_be_written(tmp_path):
    (tmp_path / "sweep").write_text("not a folder")
    with pytest.raises(StoreError, match=f"sweep/{DATABASE}: can't record a trial .*results so far are safe"):
        record(tmp_path / "sweep", Outcome(simple_trial(0), error="x"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_can_t_be_written_but_read(tmp_path):
    record(tmp_path, Outcome(simple_trial(0), error="x"))
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StoreError, match="can't record a trial .*mend the folder's rights"):
            record(tmp_path, Outcome(simple_trial(1), error="x"))
        assert len(read_outcomes(tmp_path)) == 1
    finally:
        tmp_path.chmod(0o700)


def test_a_full_disk_stops_the_writer_and_keeps_what_is_there(tmp_path):
    """A limit on the size of files stands for the end of the disk."""
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65_000, 65_000))\n"
        "from mnv2_sweep.base.errors import StoreError\n"
        f"try:\n    exec({WRITER!r})\nexcept StoreError as error:\n    print(error)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path), "0", "1000", "0"]
    *acknowledged, message = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(acknowledged) > 3
    assert message.startswith(f"{tmp_path / DATABASE}: can't record a trial (") and "make room" in message
    assert [outcome.trial.seed for outcome in read_outcomes(tmp_path)] == [int(seed) for seed in acknowledged]
    record(tmp_path, Outcome(simple_trial(2000), error="x"))  # once there is room again
    assert len(read_outcomes(tmp_path)) == len(acknowledged) + 1


def test_a_locked_file_is_an_error_in_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "BUSY_SECONDS", 0.05)
    record(tmp_path, Outcome(simple_trial(0), error="x"))
    with closing(sqlite3.connect(tmp_path / DATABASE)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match=r"can't record a trial \(database is locked\)"):
            record(tmp_path, Outcome(simple_trial(1), error="x"))
        with pytest.raises(StoreError, match="database is locked"):
            read_outcomes(tmp_path)
    assert len(read_outcomes(tmp_path)) == 1


def test_a_locked_file_is_not_called_another_program_s(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "BUSY_SECONDS", 0.05)
    record(tmp_path, Outcome(simple_trial(0), error="x"))
    with closing(sqlite3.connect(tmp_path / DATABASE)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError) as caught:
            read_outcomes(tmp_path)
    assert "move it away" not in str(caught.value)


def test_an_error_may_name_any_file(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    record(tmp_path, Outcome(simple_trial(0), error=f"FileNotFoundError: {name}"))
    assert len(read_outcomes(tmp_path)) == 1


def test_scanned_outcomes_say_what_read_ones_do_but_for_the_curve(tmp_path, monkeypatch, make_result):
    monkeypatch.setattr(store, "PART", 2)  # several parts
    trials = [simple_trial(seed) for seed in range(5)]
    for trial in trials[:3]:
        record(tmp_path, Outcome(trial, make_result(seconds=trial.seed)))
    record(tmp_path, Outcome(trials[3], error="x", kind=KILLED, attempts=2))
    record(tmp_path, Outcome(trials[4], make_result(), source="other"))
    read = read_outcomes(tmp_path)
    assert any(outcome.result.curve for outcome in read if outcome.result)
    expected = [(o.id, o.trial, o.status, o.error, o.kind, o.attempts, o.source) for o in read]
    scanned = [*scan_outcomes(tmp_path)]
    assert [(s.id, s.trial, s.status, s.error, s.kind, s.attempts, s.source) for s in scanned] == expected
    assert [s.values for s in scanned] == [o.result.flat() if o.result else {} for o in read]
    assert [s.trial.seed for s in scan_outcomes(tmp_path, "failed")] == [3]
    assert [s.trial.seed for s in scan_outcomes(tmp_path, "done", latest=2)] == [4, 2]
    assert [*scan_outcomes(tmp_path / "none")] == []
    fates = read_fates(tmp_path)
    assert [*fates] == [o.id for o in read] and fates[read[3].id].kind == KILLED and fates[read[4].id].source == "other"


def test_no_writer_waits_for_whoever_scans(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "PART", 1)
    monkeypatch.setattr(store, "BUSY_SECONDS", 0.05)
    record_all(tmp_path, [Outcome(simple_trial(seed), error="x") for seed in range(3)])
    scanned = scan_outcomes(tmp_path)
    next(scanned)
    record(tmp_path, Outcome(simple_trial(9), error="x"))
    assert len([*scanned]) == 2


def test_trials_are_found_among_the_planned_and_the_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "PART", 1)
    planned, recorded = simple_trial(0), simple_trial(1)
    write_schedule(tmp_path, [planned], replace=True)
    record(tmp_path, Outcome(recorded, error="x"))
    names = [trial_id(recorded), "0" * 16, trial_id(planned)]
    assert find_trials(tmp_path, names) == {names[0]: recorded, names[2]: planned}


# ---------------------------------------------------------------- image by image


def test_what_each_image_came_to_is_beside_the_result_and_read_apart(tmp_path, make_trial, make_result):
    done, plain = (Outcome(make_trial(seed), make_result(each=each)) for seed, each in ((0, b"some"), (1, b"")))
    record_all(tmp_path, [done, plain, Outcome(make_trial(2), error="died")])
    assert read_each(tmp_path) == {done.id: b"some"} and read_each(tmp_path / "nowhere") == {}
    read = read_outcomes(tmp_path)
    assert [outcome.result and outcome.result.each for outcome in read] == [b"", b"", None]
    assert [outcome.result and outcome.result.each for outcome in add_each(tmp_path, read)] == [b"some", b"", None]


def test_images_are_those_of_the_result_that_stands_there(tmp_path, make_trial, make_result):
    record(tmp_path, Outcome(make_trial(), make_result()))
    record(tmp_path, Outcome(make_trial(), make_result(val_top1=0.9, each=b"another's")))
    assert read_each(tmp_path) == {}
    record(tmp_path, Outcome(make_trial(), make_result(each=b"its own")))  # of the same measurement
    record(tmp_path, Outcome(make_trial(), error="later"))
    assert list(read_each(tmp_path).values()) == [b"its own"]


def test_result_and_images_are_written_both_or_neither(tmp_path, make_trial, make_result, monkeypatch):
    broken = [statement.replace("each BLOB NOT NULL", "each BLOB CHECK (each = 'x')") for statement in store.SCHEMA]
    monkeypatch.setattr(store, "SCHEMA", broken)
    with pytest.raises(StoreError, match="can't record a trial"):
        record(tmp_path, Outcome(make_trial(), make_result(each=b"some")))
    assert read_outcomes(tmp_path) == [] and read_each(tmp_path) == {}


def test_an_old_file_gets_images_with_new_results(old_folder, make_trial, make_result):
    assert read_each(old_folder) == {}
    record(old_folder, Outcome(make_trial(2), make_result(each=b"new")))
    assert list(read_each(old_folder)) == [trial_id(make_trial(2))] and len(read_outcomes(old_folder)) == 3


def test_10_000_images_take_less_than_25_kb_of_the_file(tmp_path, make_trial, make_result):
    random = np.random.default_rng(0)
    right, losses = random.random(5000) < 0.4, random.exponential(size=5000).astype(np.float32)
    half = {"top1": right, "loss": losses, MISTAKEN: random.integers(0, 100, int((~right).sum()))}
    each = pack_terms({"val": half, "test": half})
    sizes = []
    for name, some in (("with", each), ("without", b"")):
        record_all(tmp_path / name, [Outcome(make_trial(seed), make_result(each=some)) for seed in range(40)])
        sizes.append((tmp_path / name / DATABASE).stat().st_size)
    assert (sizes[0] - sizes[1]) / 40 < 25_000


# ---------------------------------------------------------------- what was decided


def test_what_was_decided_once_stands_and_is_read_by_question(tmp_path, make_trial, make_result):
    record(tmp_path, Outcome(make_trial(0), make_result()))
    assert read_looks(tmp_path) == read_looks(tmp_path / "nowhere") == {}
    for number, look in ((1, "a"), (2, "b"), (2, "c")):
        write_look(tmp_path, "which?", number, look)
    for number in range(1, 12):
        write_look(tmp_path, "another?", number, str(number))
    assert read_looks(tmp_path) == {"which?": ["a", "b"], "another?": [str(n) for n in range(1, 12)]}
    assert len(read_outcomes(tmp_path)) == 1


def test_a_file_of_an_earlier_version_has_no_looks_and_takes_some(tmp_path, make_trial, make_result):
    record(tmp_path, Outcome(make_trial(0), make_result()))
    with closing(sqlite3.connect(tmp_path / DATABASE)) as database:
        database.execute("DROP TABLE looks")
        database.commit()
    assert read_looks(tmp_path) == {} and len(read_outcomes(tmp_path)) == 1
    write_look(tmp_path, "which?", 1, "a")
    assert read_looks(tmp_path) == {"which?": ["a"]}
