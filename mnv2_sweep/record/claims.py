"""Which run does which trial: results/<sweep>/claims.db, so that several runs of one sweep share its work.

A claim is a row; it ends when its trial is recorded, or when its owner is found dead. Losing the file loses nothing
but the knowledge of who works on what, so writes are not flushed to disk one by one.
"""

import os
import platform
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from mnv2_sweep.base.errors import StoreError

CLAIMS = "claims.db"
BUSY_SECONDS = 30
BEAT_SECONDS = 15.0
STALE_SECONDS = 120.0  # of an owner on another machine that has shown no sign of life


@dataclass(frozen=True, slots=True)
class Owner:
    """A run: where it is, its process, and a name of its own."""

    place: str
    pid: int
    started: float
    token: str

    def __str__(self) -> str:
        return f"{self.place} {self.pid} {self.started:.2f} {self.token}"


def this_owner() -> Owner:
    """Return this process as an owner, under a new name."""
    pid = os.getpid()
    return Owner(_place(), pid, _start_time(pid), uuid.uuid4().hex[:12])


def _place() -> str:
    """Name host, start of the system and process namespace: where a process number means something."""
    parts = [platform.node().replace(" ", "_") or "unknown"]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8])
        parts.append(os.readlink("/proc/self/ns/pid").strip("pid:[]"))
    return "/".join(parts)


def _start_time(pid: int) -> float:
    """Return when a process began: on Linux since the system's start, as the time since 1970 changes when a clock is
    set."""
    with suppress(OSError):
        ticks = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19]
        return int(ticks) / os.sysconf("SC_CLK_TCK")
    return psutil.Process(pid).create_time()


def folder_time(folder: Path) -> float:
    """Return the time by the clock of the file system, which is one for all machines that share it, whatever their own
    clocks say; this machine's where nothing can be written."""
    with suppress(OSError):
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"0")
            file.flush()
            return os.fstat(file.fileno()).st_mtime
    return time.time()


def is_alive(owner: str, seen: float, now: float) -> bool:
    """Return whether the owner still runs: exactly where it is on this machine, by its last sign of life elsewhere,
    both times by the folder's clock. One of the future is none: nobody has written it by that clock."""
    try:
        place, pid, started, _ = owner.split(" ")
        if place != _place():
            return abs(now - seen) < STALE_SECONDS
        is_same = abs(_start_time(int(pid)) - float(started)) < 1
        return is_same and psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, ValueError, AttributeError, TypeError):  # it ended; or no owner as this version names them
        return False


def claim_first(folder: Path, ids: Iterable[str], owner: Owner) -> str | None:
    """Claim the first of the trials that nobody alive has; None if there is none."""
    with _writing(folder) as database:
        claims = {row[0]: row[1:] for row in database.execute("SELECT id, owner, seen FROM claims")}
        dead: dict[str, bool] = {}
        now = folder_time(folder)
        for wanted in ids:
            held = claims.get(wanted)
            if held and held[0] not in dead:
                dead[held[0]] = not is_alive(*held, now)
            if not held or dead[held[0]]:
                database.execute("INSERT OR REPLACE INTO claims VALUES (?, ?, ?)", (wanted, str(owner), now))
                return wanted
    return None


def beat(folder: Path, owner: Owner) -> None:
    """Record a sign of life, for runs on other machines."""
    with _writing(folder) as database:
        database.execute("UPDATE claims SET seen = ? WHERE owner = ?", (folder_time(folder), str(owner)))


def release(folder: Path, owner: Owner, trial: str | None = None) -> None:
    """Give up the claim on a trial, or all of the owner's."""
    with _writing(folder) as database:
        database.execute("DELETE FROM claims WHERE owner = ? AND (id = ? OR ? IS NULL)", (str(owner), trial, trial))


def read_claims(folder: Path) -> dict[str, str]:
    """Return trial id -> owner, of owners that are alive."""
    path = folder / CLAIMS
    if not path.exists():
        return {}
    with suppress(sqlite3.Error):  # a moment of writing, or a torn file: nobody is known to work on anything
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=1)) as database:
            rows = database.execute("SELECT id, owner, seen FROM claims").fetchall()
        now = folder_time(folder) if rows else 0.0
        alive = {(owner, seen): is_alive(owner, seen, now) for _, owner, seen in rows}
        return {trial: owner for trial, owner, seen in rows if alive[owner, seen]}
    return {}


@contextmanager
def one_at_a_time(folder: Path, what: str) -> Iterator[None]:
    """Keep other runs of the sweep from the same block, and from claims, until this one has left it. Raises StoreError
    if it can't `what`."""
    with _writing(folder, what):
        yield


@contextmanager
def _writing(folder: Path, what: str = "claim a trial") -> Iterator[sqlite3.Connection]:
    """Open a transaction; a file that can't be read is begun anew, for it holds nothing that counts."""
    path = folder / CLAIMS
    try:
        database = _open(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise _error(path, what, error) from error
        for torn in (path, path.with_name(f"{CLAIMS}-journal")):
            torn.unlink(missing_ok=True)
        database = _open(path)
    except OSError as error:
        raise _error(path, what, error) from error
    try:
        with closing(database):
            yield database
            database.execute("COMMIT")
    except sqlite3.Error as error:
        raise _error(path, what, error) from error


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        database.execute("PRAGMA synchronous = OFF")
        database.execute("BEGIN IMMEDIATE")
        database.execute("CREATE TABLE IF NOT EXISTS claims (id TEXT PRIMARY KEY, owner TEXT, seen REAL)")
        if database.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("the file is damaged")
    except sqlite3.Error:
        database.close()
        raise
    return database


def _error(path: Path, what: str, error: Exception) -> StoreError:
    return StoreError(
        f"{path}: can't {what} ({error}); results so far are safe: make room or mend the folder's rights, "
        "then run the same command again"
    )
