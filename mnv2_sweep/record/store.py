"""Trials and results on disk: results/<sweep>/trials.db, one small SQLite file a sweep.

Written by parent processes only, a transaction a trial, flushed to disk before `record` returns: a kill at any
moment loses nothing that was recorded. The trial's id is the primary key, so no trial is there twice, even when
two runs of a sweep share it. Readers open the file read-only and can't disturb a running sweep.

What a network made of each image (`trials.terms`) is written with its result but into a table of its own, some 20 kB a
trial, so that who reads results does not read it: `read_each` does. Beside it stands the class that each image is of.
"""

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from mnv2_sweep.base.errors import StoreError, SweepError
from mnv2_sweep.trials.terms import Truth, pack_terms, unpack_terms
from mnv2_sweep.trials.trial import (
    Result,
    Trial,
    dump_result,
    dump_trial,
    load_first,
    load_flat,
    load_result,
    load_trial,
    split_trial,
    trial_id,
    with_seed,
)

DATABASE = "trials.db"
BUSY_SECONDS = 30
LABEL = "label"  # in packed terms: an image's own class
SCANNED = ("id", "trial", "status", "error", "kind", "attempts", "source", "result")
PART = 500  # outcomes that are read at once where all are scanned
# Codes that say something of the moment and nothing of the file.
PASSING = (
    *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR),
    *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY),
)

# What reading a row raises that no version of this program wrote.
DAMAGED = (ValueError, KeyError, TypeError, AttributeError, RecursionError, SweepError)

# How a trial can end, beside "done".
EXCEPTION, DIVERGED, OUT_OF_MEMORY = "exception", "diverged", "out of memory"
KILLED, TIMED_OUT, INTERRUPTED = "killed", "timed out", "interrupted"

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS trials (
    id TEXT PRIMARY KEY,        -- trial.trial_id
    trial TEXT NOT NULL,        -- JSON, trial.dump_trial
    status TEXT NOT NULL,       -- 'done' | 'failed' | 'interrupted'
    result TEXT,                -- JSON, trial.dump_result; NULL unless done
    error TEXT,                 -- what went wrong; NULL when done
    recorded REAL NOT NULL,     -- seconds since 1970
    kind TEXT,                  -- how it ended, see Outcome
    attempts INTEGER,           -- how often it was tried
    source TEXT                 -- the sweep whose result this is, where another one measured it
)""",
    """CREATE TABLE IF NOT EXISTS planned (
    id TEXT PRIMARY KEY,        -- of every trial that belongs to the sweep
    trial TEXT NOT NULL
)""",
    """CREATE TABLE IF NOT EXISTS images (
    id TEXT PRIMARY KEY,        -- of a trial with a result
    each BLOB NOT NULL          -- what its network made of each image, terms.pack_terms
)""",
    """CREATE TABLE IF NOT EXISTS truths (
    data TEXT PRIMARY KEY,      -- fingerprint of a data set
    classes TEXT NOT NULL,      -- JSON, their names in order
    labels BLOB NOT NULL        -- the class of each validation and test image, terms.pack_terms
)""",
    """CREATE TABLE IF NOT EXISTS looks (
    question TEXT,              -- what a sweep is to be decided for, JSON
    number INTEGER,             -- of the look, from 1
    look TEXT NOT NULL,         -- JSON, what was seen and decided
    recorded REAL NOT NULL,     -- seconds since 1970
    PRIMARY KEY (question, number)
)""",
)
LATER_COLUMNS = {"kind": "TEXT", "attempts": "INTEGER", "source": "TEXT"}  # files of earlier versions lack them


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a trial ended: with a result ("done"), or with an error's text.

    `kind` is "done", or what stopped it: EXCEPTION, DIVERGED (to NaN), OUT_OF_MEMORY, KILLED, TIMED_OUT (all
    "failed"), or INTERRUPTED, from which it goes on. `source` names the sweep that measured it, if another one.
    """

    trial: Trial
    result: Result | None = None
    error: str | None = None
    kind: str = EXCEPTION
    attempts: int = 1
    source: str | None = None
    stored_id: str | None = field(default=None, compare=False)  # under which it was recorded

    def __post_init__(self) -> None:
        if self.result is not None:
            object.__setattr__(self, "kind", "done")

    @property
    def id(self) -> str:
        """Return the trial's id when it was recorded: older code gave the same trial another one."""
        return self.stored_id or trial_id(self.trial)

    @property
    def status(self) -> str:
        """Return "done", "interrupted" or "failed"."""
        if self.result is not None:
            return "done"
        return "interrupted" if self.kind == INTERRUPTED else "failed"


def record(folder: Path, outcome: Outcome) -> None:
    """Write one outcome. A failure may be followed by another outcome; a result once measured stays as it is.

    Raises StoreError when the disk is full or the folder can't be written; what was recorded before is safe.
    """
    record_all(folder, [outcome])


def record_all(folder: Path, outcomes: Iterable[Outcome]) -> None:
    """Write several outcomes, all or none of them."""
    with _writing(folder, "record a trial") as database:
        outcomes = list(outcomes)
        database.executemany(
            "INSERT INTO trials (id, trial, status, result, error, recorded, kind, attempts, source) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
            "status = excluded.status, result = excluded.result, error = excluded.error, kind = excluded.kind, "
            "recorded = excluded.recorded, attempts = excluded.attempts, source = excluded.source "
            "WHERE trials.status <> 'done'",
            [_row(outcome) for outcome in outcomes],
        )
        database.executemany(  # of the very result that stands there: another run's stays as it is, images too
            "INSERT OR REPLACE INTO images SELECT id, ? FROM trials WHERE id = ? AND result = ?",
            [(o.result.each, o.id, dump_result(o.result)) for o in outcomes if o.result and o.result.each],
        )


def _row(outcome: Outcome) -> tuple:
    result = dump_result(outcome.result) if outcome.result else None
    error = outcome.error and outcome.error.encode("utf-8", "backslashreplace").decode()
    columns = (outcome.id, dump_trial(outcome.trial), outcome.status, result, error, time.time())
    return (*columns, outcome.kind, outcome.attempts, outcome.source)


def write_schedule(folder: Path, trials: Sequence[Trial], replace: bool) -> None:
    """Say which trials belong to the sweep; `replace` drops those of an earlier version of its space."""
    with _writing(folder, "write the plan") as database:
        if replace:
            database.execute("DELETE FROM planned")
        rows = [(trial_id(trial), dump_trial(trial)) for trial in trials]
        database.executemany("INSERT OR REPLACE INTO planned VALUES (?, ?)", rows)


class _writing:
    """A transaction on trials.db, made if it isn't there; what goes wrong becomes a StoreError."""

    def __init__(self, folder: Path, what: str):
        self.folder, self.what = folder, what
        self.database: sqlite3.Connection | None = None

    def __enter__(self) -> sqlite3.Connection:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.database = sqlite3.connect(self.folder / DATABASE, timeout=BUSY_SECONDS, isolation_level=None)
            self.database.execute("PRAGMA synchronous = FULL")
            self.database.execute("BEGIN IMMEDIATE")
            known = {row[1] for row in self.database.execute("PRAGMA table_info(trials)")}
            for statement in SCHEMA:
                self.database.execute(statement)
            for column in LATER_COLUMNS.keys() - known if known else ():
                self.database.execute(f"ALTER TABLE trials ADD COLUMN {column} {LATER_COLUMNS[column]}")
            return self.database
        except (sqlite3.Error, OSError) as error:
            self._close()
            raise self._error(error) from error

    def __exit__(self, kind, error, traceback) -> None:
        try:
            if error is None:
                self.database.execute("COMMIT")
        except sqlite3.Error as failed:
            raise self._error(failed) from failed
        finally:
            self._close()  # rolls back what was not committed
        if isinstance(error, (sqlite3.Error, OSError)):
            raise self._error(error) from error

    def _close(self) -> None:
        if self.database is not None:
            self.database.close()

    def _error(self, error: Exception) -> StoreError:
        return StoreError(
            f"{self.folder / DATABASE}: can't {self.what} ({error}); results so far are safe: make room or mend the "
            "folder's rights, then run the same command again"
        )


def read_outcomes(folder: Path, names: Sequence[str] | None = None) -> list[Outcome]:
    """Read every recorded outcome, in the order of recording, or those of some ids, in theirs; empty where nothing is.
    Raises StoreError."""
    path, outcomes = folder / DATABASE, []
    parts = (_read_rows(path, "trials", "recorded, id", only=name) for name in ([None] if names is None else names))
    for row in chain.from_iterable(parts):
        try:
            result = load_result(row["result"]) if row["result"] else None
            trial, kind, attempts = _read_fate(row)
            outcomes.append(Outcome(trial, result, row["error"], kind, attempts, row.get("source"), row["id"]))
        except DAMAGED as error:
            raise _unreadable(path, error) from error
    return outcomes


class Scanned(NamedTuple):
    """An outcome, with all of its result but the curve by name (`Result.flat`), nothing where there is none.

    Trials that differ in their seeds only are of the same `group`, counted from 0 in the order in which they come, and
    have the same `first`.
    """

    id: str
    group: int
    first: Trial
    seed: int
    status: str
    error: str | None
    kind: str
    attempts: int
    source: str | None
    values: dict

    @property
    def trial(self) -> Trial:
        """Return the trial."""
        return with_seed(self.first, self.seed)


def scan_outcomes(folder: Path, status: str | None = None, latest: int | None = None) -> Iterator[Scanned]:
    """Yield the recorded outcomes, or those of one status, in the order of recording, or so many, the latest first, as
    what is needed to tabulate them. Raises StoreError."""
    return (Scanned(*row) for part in scan_parts(folder, status, latest) for row in zip(*part, strict=True))


def scan_parts(folder: Path, status: str | None = None, latest: int | None = None) -> Iterator[tuple[Sequence, ...]]:
    """Yield the fields of the same outcomes as columns, of tens of thousands a part at a time: no writer has to wait in
    between. Raises StoreError."""
    path, groups = folder / DATABASE, {}
    for rows in _scan_rows(path, status, latest):
        names, trials, statuses, errors, kinds, attempts, sources, results = zip(*rows, strict=True)
        try:
            measured = iter(load_flat([result for result in results if result]))
            values = [next(measured) if result else {} for result in results]
            texts, seeds = zip(*map(split_trial, trials), strict=True)
            for text in texts:
                if text not in groups:
                    groups[text] = len(groups), load_first(text)
        except DAMAGED as error:
            raise _unreadable(path, error) from error
        places, firsts = zip(*(groups[text] for text in texts), strict=True)
        seeds = [first.seed if seed is None else seed for first, seed in zip(firsts, seeds, strict=True)]
        kinds = ["done" if own else kind or EXCEPTION for own, kind in zip(values, kinds, strict=True)]
        yield names, places, firsts, seeds, statuses, errors, kinds, [n or 1 for n in attempts], sources, values


def _scan_rows(path: Path, status: str | None, latest: int | None) -> Iterator[list[Sequence]]:
    """Yield SCANNED of the rows, a part of them at a time."""
    with _reading(path, "trials") as database:
        if database is None:
            return
        wanted, values = ("", ()) if status is None else (" WHERE status = ?", (status,))
        order = "recorded, id" if latest is None else f"recorded DESC, id DESC LIMIT {latest}"
        places = [place for (place,) in database.execute(f"SELECT rowid FROM trials{wanted} ORDER BY {order}", values)]
        known = {row[1] for row in database.execute("PRAGMA table_info(trials)")}
        columns = ", ".join(name if name in known else "NULL" for name in SCANNED)
        for at in range(0, len(places), PART):
            part = places[at : at + PART]
            marks = ", ".join("?" * len(part))
            found = database.execute(f"SELECT rowid, {columns} FROM trials WHERE rowid IN ({marks})", part)
            rows = {place: row for place, *row in found}
            yield [rows[place] for place in part]


def _read_fate(row: dict) -> tuple[Trial, str, int]:
    """Return the trial, how it ended and how often it was tried; files of earlier versions don't say the last two."""
    return load_trial(row["trial"]), row.get("kind") or EXCEPTION, row.get("attempts") or 1


def read_each(folder: Path, names: Sequence[str] | None = None) -> dict[str, bytes]:
    """Read what networks made of each image, by the trial's id, as `Result.each`; of trials that have it on record, or
    of those of some ids."""
    if names is None:
        return {row["id"]: row["each"] for row in _read_rows(folder / DATABASE, "images", "rowid")}
    each: dict[str, bytes] = {}
    with _reading(folder / DATABASE, "images") as database:
        for at in range(0, len(names) if database else 0, PART):
            part = names[at : at + PART]
            each |= dict(
                database.execute(f"SELECT id, each FROM images WHERE id IN ({', '.join('?' * len(part))})", part)
            )
    return each


def add_each(folder: Path, outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Return outcomes of the folder with what their networks made of each image."""
    each = read_each(folder)
    return [
        replace(outcome, result=replace(outcome.result, each=each[outcome.id])) if outcome.id in each else outcome
        for outcome in outcomes
    ]


def write_truth(folder: Path, data: str, truth: Truth) -> None:
    """Write the classes of the images of a data set, given by its fingerprint, unless they are there."""
    labels = pack_terms({split: {LABEL: values} for split, values in truth.labels.items()})
    with _writing(folder, "write the classes of the images") as database:
        row = (data, json.dumps(truth.classes), labels)
        database.execute("INSERT OR IGNORE INTO truths VALUES (?, ?, ?)", row)


def read_truths(folder: Path) -> dict[str, Truth]:
    """Read the classes of the images of the sweep's data by their fingerprint: one of most sweeps, none of a sweep of
    an earlier version. Raises StoreError."""
    path, truths = folder / DATABASE, {}
    for row in _read_rows(path, "truths", "rowid"):
        try:
            labels = {split: terms[LABEL] for split, terms in unpack_terms(row["labels"]).items()}
            truths[row["data"]] = Truth(tuple(map(str, json.loads(row["classes"]))), labels)
        except DAMAGED as error:
            raise _unreadable(path, error) from error
    return truths


def read_truth(folder: Path) -> Truth | None:
    """Read the classes of the images of the data that the sweep's results are of; None where they are not on record.
    Raises StoreError."""
    truths = read_truths(folder)
    return next((truths.get(one.trial.data.fingerprint) for one in scan_outcomes(folder, latest=1)), None)


def write_look(folder: Path, question: str, number: int, look: str) -> None:
    """Write what was decided at a look of a sweep that is run until a question is answered, unless it is there: what
    was decided once stands."""
    with _writing(folder, "write what was decided") as database:
        database.execute("INSERT OR IGNORE INTO looks VALUES (?, ?, ?, ?)", (question, number, look, time.time()))


def read_looks(folder: Path) -> dict[str, list[str]]:
    """Read by question what was decided at each look, the first one first. Raises StoreError."""
    looks: dict[str, list[str]] = {}
    for row in _read_rows(folder / DATABASE, "looks", "question, number"):
        looks.setdefault(row["question"], []).append(row["look"])
    return looks


def read_schedule(folder: Path) -> dict[str, Trial]:
    """Read the trials of the sweep by id, as the last run planned them; empty for a sweep of an earlier version."""
    rows = _read_rows(folder / DATABASE, "planned", "rowid")
    try:
        return {row["id"]: load_trial(row["trial"]) for row in rows}
    except DAMAGED as error:
        raise _unreadable(folder / DATABASE, error) from error


def read_statuses(folder: Path, only: str | None = None) -> dict[str, tuple[str, float]]:
    """Read id -> (status, when it was recorded), of all trials or of one: quicker than whole outcomes."""
    rows = _read_rows(folder / DATABASE, "trials", "recorded, id", ("id", "status", "recorded"), only)
    return {row["id"]: (row["status"], row["recorded"]) for row in rows}


@dataclass(frozen=True, slots=True)
class Fate:
    """How a trial ended, without what it was and what was measured; fields as of Outcome."""

    status: str
    error: str | None
    kind: str
    attempts: int
    source: str | None


def read_fates(folder: Path) -> dict[str, Fate]:
    """Read how every recorded trial ended, by its id, in the order of recording. Raises StoreError."""
    rows = _read_rows(folder / DATABASE, "trials", "recorded, id", ("id", "status", "error", *LATER_COLUMNS))
    return {
        row["id"]: Fate(
            row["status"], row["error"], row.get("kind") or EXCEPTION, row.get("attempts") or 1, row.get("source")
        )
        for row in rows
    }


def read_planned(folder: Path) -> list[str]:
    """Read the ids of the trials of the sweep, see `read_schedule`. Raises StoreError."""
    return [row["id"] for row in _read_rows(folder / DATABASE, "planned", "rowid", ("id",))]


def find_trials(folder: Path, names: Sequence[str]) -> dict[str, Trial]:
    """Find the trials of these ids, planned or recorded; those that are neither are left out. Raises StoreError."""
    found: dict[str, Trial] = {}
    for table in ("planned", "trials"):
        wanted = [name for name in names if name not in found]
        with _reading(folder / DATABASE, table) as database:
            for at in range(0, len(wanted) if database else 0, PART):
                part = wanted[at : at + PART]
                query = f"SELECT id, trial FROM {table} WHERE id IN ({', '.join('?' * len(part))})"
                try:
                    found |= {name: load_trial(text) for name, text in database.execute(query, part)}
                except DAMAGED as error:
                    raise _unreadable(folder / DATABASE, error) from error
    return {name: found[name] for name in names if name in found}


def _read_rows(
    path: Path, table: str, order: str, columns: Sequence[str] | None = None, only: str | None = None
) -> list[dict]:
    """Read rows of a table, those of `columns` that it has, or all."""
    wanted, values = ("", ()) if only is None else (" WHERE id = ?", (only,))
    with _reading(path, table) as database:
        if database is None:
            return []
        known = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
        names = [name for name in known if columns is None or name in columns]
        found = database.execute(f"SELECT {', '.join(names)} FROM {table}{wanted} ORDER BY {order}", values)
        return [dict(zip(names, row, strict=True)) for row in found]


@contextmanager
def _reading(path: Path, table: str) -> Iterator[sqlite3.Connection | None]:
    """Open the file to read; None where it has no such table. What goes wrong becomes a StoreError."""
    try:
        with closing(_open_to_read(path)) if path.exists() else nullcontext() as database:
            query = "SELECT 1 FROM sqlite_master WHERE name = ?"
            yield database if database and database.execute(query, (table,)).fetchone() else None
    except (sqlite3.Error, OverflowError) as error:
        raise _unreadable(path, error) from error


def _open_to_read(path: Path) -> sqlite3.Connection:
    for mode in ("ro", "rw"):
        # A writer killed in mid-commit leaves a journal that only an opening for writing can roll back.
        database = sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True, timeout=BUSY_SECONDS)
        try:
            database.execute("SELECT 1 FROM sqlite_master").fetchone()
            return database
        except sqlite3.Error as error:
            database.close()
            busy = _sqlite_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            if mode == "rw" or busy or not isinstance(error, sqlite3.OperationalError):
                raise
    raise AssertionError("the last mode returns or raises")


def _unreadable(path: Path, error: Exception) -> StoreError:
    if _sqlite_code(error) in PASSING:
        return StoreError(f"{path}: can't be read now ({error}); try again")
    return StoreError(f"{path}: not a results file of this program ({error}); move it away or choose another --name")


def _sqlite_code(error: Exception) -> int:
    """Return SQLite's primary result code, 0 where Python itself raised the error."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def done_ids(outcomes: Iterable[Outcome]) -> set[str]:
    """Return the ids of the trials that have a result."""
    return {outcome.id for outcome in outcomes if outcome.status == "done"}
