"""Who works on what: nobody twice, nothing held by the dead, and a file that may be lost at any time."""

import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from mnv2_sweep.base.errors import StoreError
from mnv2_sweep.record import claims
from mnv2_sweep.record.claims import CLAIMS, STALE_SECONDS, beat, claim_first, read_claims, release, this_owner

IDS = [f"trial-{number}" for number in range(5)]

# Waits for a file, then claims trial-0 .. trial-N one by one and prints each; then waits to be killed: the claims of
# a process that ended would be taken over.
CLAIMER = """
import sys, time
from pathlib import Path
from mnv2_sweep.record.claims import claim_first, this_owner

folder, go, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
ids, owner = [f"trial-{number}" for number in range(count)], this_owner()
print(owner, flush=True)
while not go.exists():
    time.sleep(0.001)
while (claimed := claim_first(folder, ids, owner)) is not None:
    print(claimed, flush=True)
print("nothing left", flush=True)
time.sleep(60)
"""


@contextmanager
def claimer(folder: Path, go: Path, count: int):
    command = [sys.executable, "-c", CLAIMER, str(folder), str(go), str(count)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def go(tmp_path):
    path = tmp_path / "go"
    path.touch()
    return path


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "results" / "sweep"


@pytest.fixture
def owner():
    return this_owner()


# ---------------------------------------------------------------- claiming


def test_trials_are_claimed_in_their_order_each_once(folder, owner):
    order = ["c", "a", "b"]
    assert [claim_first(folder, order, owner) for _ in range(4)] == ["c", "a", "b", None]
    assert read_claims(folder) == dict.fromkeys(order, str(owner))


def test_nothing_to_claim(folder, owner):
    assert claim_first(folder, [], owner) is None
    assert read_claims(folder) == {}


def test_a_run_of_this_process_has_a_name_of_its_own(folder, owner):
    """Two runs in one process, as in a notebook, are two owners."""
    other = this_owner()
    assert (other.place, other.pid, other.started) == (owner.place, owner.pid, owner.started) and other != owner
    assert claim_first(folder, IDS, owner) == IDS[0]
    assert claim_first(folder, IDS, other) == IDS[1]
    assert read_claims(folder) == {IDS[0]: str(owner), IDS[1]: str(other)}


def test_what_another_process_has_claimed_stays_its_own(folder, go, owner):
    with claimer(folder, go, count=2) as process:
        named, *claimed = [process.stdout.readline().strip() for _ in range(3)]
        assert claimed == IDS[:2]
        assert claim_first(folder, IDS, owner) == IDS[2]
        assert claim_first(folder, IDS[:2], owner) is None
        assert read_claims(folder) == {IDS[0]: named, IDS[1]: named, IDS[2]: str(owner)}


@pytest.mark.slow
def test_processes_that_claim_at_the_same_time_share_the_trials(folder, tmp_path):
    go = tmp_path / "go"
    with claimer(folder, go, 200) as one, claimer(folder, go, 200) as other:
        names = [process.stdout.readline().strip() for process in (one, other)]
        go.touch()
        shares = [[line.strip() for line in iter(p.stdout.readline, "nothing left\n")] for p in (one, other)]
        pairs = zip(names, shares, strict=True)
        assert read_claims(folder) == {trial: name for name, share in pairs for trial in share}
    assert sorted(shares[0] + shares[1]) == sorted(f"trial-{number}" for number in range(200))


def test_one_claim_waits_for_another(folder, owner):
    claim_first(folder, IDS, owner)
    with closing(sqlite3.connect(folder / CLAIMS, check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        threading.Timer(0.2, other.rollback).start()
        start = time.monotonic()
        assert claim_first(folder, IDS, owner) == IDS[1]
    assert time.monotonic() - start > 0.15


# ---------------------------------------------------------------- releasing


def test_one_claim_is_given_up_or_all_of_an_owner(folder, owner):
    other = this_owner()
    for who in (owner, owner, other):
        claim_first(folder, IDS, who)
    release(folder, owner, IDS[1])
    assert read_claims(folder) == {IDS[0]: str(owner), IDS[2]: str(other)}
    release(folder, owner, IDS[2])  # another's
    release(folder, owner, "nobody's")
    assert read_claims(folder) == {IDS[0]: str(owner), IDS[2]: str(other)}
    assert claim_first(folder, IDS, other) == IDS[1]
    release(folder, other)
    assert read_claims(folder) == {IDS[0]: str(owner)}
    assert claim_first(folder, IDS, owner) == IDS[1]


# ---------------------------------------------------------------- dead owners


@pytest.mark.parametrize("end", ["killed", "zombie"])
def test_the_claims_of_a_process_that_died_are_taken_over(folder, go, owner, end):
    with claimer(folder, go, count=2) as process:
        assert [process.stdout.readline().strip() for _ in range(3)][1:] == IDS[:2]
        process.kill()
        if end == "killed":
            process.wait()
        else:  # dead, but its parent has not looked yet
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert read_claims(folder) == {}
        assert [claim_first(folder, IDS, owner) for _ in range(3)] == IDS[:3]
        assert set(read_claims(folder).values()) == {str(owner)}


def test_another_process_under_the_number_of_a_dead_one_is_not_its_owner(folder, owner):
    before = replace(owner, started=owner.started - 60)
    assert claim_first(folder, IDS, before) == IDS[0]
    assert read_claims(folder) == {}
    assert claim_first(folder, IDS, owner) == IDS[0]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere psutil may follow the clock")
def test_setting_the_clock_kills_no_owner(folder, owner, monkeypatch):
    claim_first(folder, IDS, owner)
    later = psutil.boot_time() + 3600
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: later, raising=False)
    assert read_claims(folder) == {IDS[0]: str(owner)}


@pytest.mark.slow
def test_a_kill_in_the_middle_of_claiming_harms_nobody(folder, go, owner):
    draw = random.Random(0)
    for _ in range(4):
        with claimer(folder, go, count=10_000) as process:
            assert process.stdout.readline() and process.stdout.readline()
            time.sleep(draw.uniform(0, 0.05))
    assert [claim_first(folder, IDS, owner) for _ in range(6)] == [*IDS, None]


# ---------------------------------------------------------------- owners on other machines


@pytest.mark.parametrize("place", ["host/boot", "namespace"])
def test_an_owner_elsewhere_lives_while_it_beats(folder, owner, monkeypatch, place):
    now = [1_000_000.0]
    monkeypatch.setattr(claims, "folder_time", lambda folder: now[0])
    host, boot, space = owner.place.rsplit("/", 2)
    far = replace(owner, place=f"node7/{boot}/{space}" if place == "host/boot" else f"{host}/{boot}/1", pid=2**22 + 1)
    assert [claim_first(folder, IDS, far) for _ in range(2)] == IDS[:2]
    assert claim_first(folder, IDS[:2], owner) is None
    now[0] += STALE_SECONDS - 1
    assert read_claims(folder) == dict.fromkeys(IDS[:2], str(far))
    beat(folder, far)
    now[0] += STALE_SECONDS - 1
    assert claim_first(folder, IDS[:2], owner) is None
    now[0] += 2
    assert read_claims(folder) == {}
    assert claim_first(folder, IDS, owner) == IDS[0]
    assert read_claims(folder) == {IDS[0]: str(owner)}  # an owner here needs no beat
    now[0] += 10 * STALE_SECONDS
    assert read_claims(folder) == {IDS[0]: str(owner)}


@pytest.mark.parametrize("ahead", [-86400.0, 86400.0], ids=["a day behind", "a day ahead"])
def test_clocks_of_machines_do_not_count(folder, owner, monkeypatch, ahead):
    far, now = replace(owner, place="node7"), time.time()
    with monkeypatch.context() as patch:
        patch.setattr(claims.time, "time", lambda: now + ahead)
        assert claim_first(folder, IDS, far) == IDS[0]
        beat(folder, far)
    assert read_claims(folder) == {IDS[0]: str(far)}  # it is alive by the folder's clock
    with closing(sqlite3.connect(folder / CLAIMS)) as database, database:  # as earlier versions wrote it, and then died
        database.execute("UPDATE claims SET seen = ?", (now + ahead,))
    assert read_claims(folder) == {} and claim_first(folder, IDS, owner) == IDS[0]


def test_a_beat_is_one_owner_s(folder, owner, monkeypatch):
    now = [1_000_000.0]
    monkeypatch.setattr(claims, "folder_time", lambda folder: now[0])
    far, farther = replace(owner, place="node7"), replace(owner, place="node8")
    claim_first(folder, IDS, far)
    claim_first(folder, IDS, farther)
    now[0] += STALE_SECONDS - 1
    beat(folder, far)
    now[0] += 2
    assert read_claims(folder) == {IDS[0]: str(far)}


# ---------------------------------------------------------------- files that are damaged


def leave_nothing(path: Path) -> None:
    path.touch()


def leave_text(path: Path) -> None:
    path.write_text("these are no claims\n" * 100)


def leave_torn_header(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\x00" + b"\xff" * 4000)


def leave_torn_pages(path: Path) -> None:
    """The schema can be read, and nothing else: pages that never reached the disk."""
    claim_first(path.parent, IDS, this_owner())
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (len(content) - 4096))


def leave_half_a_file(path: Path) -> None:
    claim_first(path.parent, IDS, this_owner())
    os.truncate(path, 5000)


def leave_other_owners(path: Path) -> None:
    """As a later version may name them."""
    claim_first(path.parent, IDS, this_owner())
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE claims SET owner = 'somebody'")
        database.execute("INSERT INTO claims VALUES (?, 'a b c d', 0)", [IDS[1]])


def leave_a_journal_beside_text(path: Path) -> None:
    """A kill in the middle of a transaction, and then the file was lost."""
    claim_first(path.parent, IDS, replace(this_owner(), started=0.0))
    code = (
        "import os, signal, sqlite3, sys\n"
        "database = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "database.execute('PRAGMA cache_size = 1')\n"
        "database.execute('BEGIN IMMEDIATE')\n"
        "for i in range(200):\n"
        "    database.execute('INSERT INTO claims VALUES (?, ?, 0)', (i, 'x' * 3000))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert Path(f"{path}-journal").stat().st_size > 0
    leave_text(path)


DAMAGES = (
    *(leave_nothing, leave_text, leave_torn_header, leave_torn_pages, leave_half_a_file, leave_other_owners),
    leave_a_journal_beside_text,
)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__[6:])
def test_a_damaged_file_is_begun_anew(folder, owner, damage):
    folder.mkdir(parents=True)
    damage(folder / CLAIMS)
    assert read_claims(folder) == {}
    assert [claim_first(folder, IDS, owner) for _ in range(6)] == [*IDS, None]
    assert read_claims(folder) == dict.fromkeys(IDS, str(owner))
    release(folder, owner)
    assert read_claims(folder) == {}


@pytest.mark.parametrize("act", [beat, release], ids=["beat", "release"])
def test_a_file_damaged_while_a_run_goes_on(folder, owner, act):
    claim_first(folder, IDS, owner)
    leave_torn_pages(folder / CLAIMS)
    act(folder, owner)
    assert read_claims(folder) == {}


@pytest.mark.slow
def test_reading_waits_for_nobody_long(folder, owner):
    claim_first(folder, IDS, owner)
    with closing(sqlite3.connect(folder / CLAIMS)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert read_claims(folder) == {}
    assert read_claims(folder) == {IDS[0]: str(owner)}
    assert read_claims(folder / "nowhere") == {} and not (folder / "nowhere").exists()


def test_a_folder_that_can_t_be_written_is_an_error(tmp_path, owner):
    (tmp_path / "sweep").write_text("a file is in the way")
    for act in (lambda: claim_first(tmp_path / "sweep", IDS, owner), lambda: release(tmp_path / "sweep", owner)):
        with pytest.raises(StoreError, match=f"sweep/{CLAIMS}: can't claim a trial .*results so far are safe"):
            act()
    assert read_claims(tmp_path / "sweep") == {}


def test_a_table_of_another_program_is_an_error(folder, owner):
    folder.mkdir(parents=True)
    with closing(sqlite3.connect(folder / CLAIMS)) as database, database:
        database.execute("CREATE TABLE claims (study INTEGER)")
    assert read_claims(folder) == {}
    with pytest.raises(StoreError, match="can't claim a trial .no such column"):
        claim_first(folder, IDS, owner)


def test_a_lock_that_never_ends_is_an_error(folder, owner, monkeypatch):
    monkeypatch.setattr(claims, "BUSY_SECONDS", 0.05)
    claim_first(folder, IDS, owner)
    with closing(sqlite3.connect(folder / CLAIMS)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="database is locked"):
            claim_first(folder, IDS, owner)
    assert claim_first(folder, IDS, owner) == IDS[1]  # and the file was left as it was
