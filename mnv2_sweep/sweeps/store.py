"""Trials and results on disk: results/<sweep>/trials.db, one small SQLite file a sweep.

Written by the parent process only, a transaction a trial, flushed to disk before `record` returns: a kill at any
moment loses nothing that was recorded. The trial's id is the primary key, so no trial is there twice, even when
two sweeps run at once. Readers open the file read-only and can't disturb a running sweep.
"""

import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from mnv2_sweep.errors import StoreError
from mnv2_sweep.training.trial import Result, Trial, dump_result, dump_trial, load_result, load_trial, trial_id

DATABASE = "trials.db"
BUSY_SECONDS = 30
# Codes that say something of the moment and nothing of the file.
PASSING = (
    *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR),
    *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY),
)

SCHEMA = """
CREATE TABLE IF NOT EXISTS trials (
    id TEXT PRIMARY KEY,        -- trial.trial_id
    trial TEXT NOT NULL,        -- JSON, trial.dump_trial
    status TEXT NOT NULL,       -- 'done' | 'failed'
    result TEXT,                -- JSON, trial.dump_result; NULL unless done
    error TEXT,                 -- what went wrong; NULL unless failed
    recorded REAL NOT NULL      -- seconds since 1970
)
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a trial ended: with a result ("done") or an error's text ("failed")."""

    trial: Trial
    result: Result | None = None
    error: str | None = None
    stored_id: str | None = field(default=None, compare=False)  # under which it was recorded

    @property
    def id(self) -> str:
        """The trial's id when it was recorded: older code gave the same trial another one."""
        return self.stored_id or trial_id(self.trial)

    @property
    def status(self) -> str:
        return "failed" if self.result is None else "done"


def forget_failures(folder: Path, keep: set[str]) -> None:
    """Remove failed rows whose id is not among those to keep: a mended recipe has left them behind."""
    with closing(sqlite3.connect(folder / DATABASE, timeout=BUSY_SECONDS)) as database, database:
        rows = database.execute("SELECT id FROM trials WHERE status = 'failed'").fetchall()
        database.executemany("DELETE FROM trials WHERE id = ?", [row for row in rows if row[0] not in keep])


def record(folder: Path, outcome: Outcome) -> None:
    """Write one outcome. A failure may be followed by another outcome; a result once measured stays as it is.

    Raises StoreError when the disk is full or the folder can't be written; what was recorded before is safe.
    """
    result = dump_result(outcome.result) if outcome.result else None
    error = outcome.error and outcome.error.encode("utf-8", "backslashreplace").decode()
    row = (outcome.id, dump_trial(outcome.trial), outcome.status, result, error, time.time())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(folder / DATABASE, timeout=BUSY_SECONDS)) as database, database:
            database.execute("PRAGMA synchronous = FULL")
            database.execute(SCHEMA)
            database.execute(
                "INSERT INTO trials VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET status = excluded.status, "
                "result = excluded.result, error = excluded.error, recorded = excluded.recorded "
                "WHERE trials.status <> 'done'",
                row,
            )
    except (sqlite3.Error, OSError) as error:
        raise StoreError(
            f"{folder / DATABASE}: can't record a trial ({error}); results so far are safe: make room or mend the "
            "folder's rights, then run the same command again"
        ) from error


def read_outcomes(folder: Path) -> list[Outcome]:
    """Every recorded outcome, in the order of recording; empty where nothing is. Raises StoreError."""
    path = folder / DATABASE
    if not path.exists():
        return []
    try:
        rows = _read_rows(path)
        return [Outcome(load_trial(t), load_result(r) if r else None, e, stored_id=i) for i, t, r, e in rows]
    except (sqlite3.Error, ValueError, KeyError, TypeError) as error:
        if _sqlite_code(error) in PASSING:
            raise StoreError(f"{path}: can't be read now ({error}); try again") from error
        raise StoreError(
            f"{path}: not a results file of this program ({error}); move it away or choose another --name"
        ) from error


def _read_rows(path: Path) -> list[tuple]:
    query = "SELECT id, trial, result, error FROM trials ORDER BY recorded, id"
    for mode in ("ro", "rw"):
        # A writer killed in mid-commit leaves a journal that only an opening for writing can roll back.
        try:
            with closing(
                sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True, timeout=BUSY_SECONDS)
            ) as db:
                known = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'trials'").fetchone()
                return db.execute(query).fetchall() if known else []
        except sqlite3.OperationalError as error:
            if mode == "rw" or _sqlite_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
    return []


def _sqlite_code(error: Exception) -> int:
    """SQLite's primary result code, 0 where Python itself raised the error."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def done_ids(outcomes: Iterable[Outcome]) -> set[str]:
    """Ids of the trials that have a result."""
    return {outcome.id for outcome in outcomes if outcome.status == "done"}
