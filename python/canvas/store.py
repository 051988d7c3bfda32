"""The study file: one SQLite database that holds a search's settings and the fate of every candidate.

`study.py` writes it (one driver at a time), anything may read it meanwhile. A rollback journal with synchronous=FULL
is used rather than WAL: a commit that returned survives `kill -9` and power loss, and the study stays one file that can
be copied. The driver's lock is a `flock` on the file itself, which the system drops with the process, so a killed
driver blocks nobody. Knows nothing of kernels.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from canvas.errors import StudyError

APPLICATION_ID = 0x43414E56  # "CANV"
VERSION = 1
STATES = ("complete", "pruned", "failed", "running")
BUSY_SECONDS = 10.0  # how long a reader or writer waits for another one's transaction

SCHEMA = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE counts (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE candidates (
  number INTEGER PRIMARY KEY, hash TEXT NOT NULL, text TEXT NOT NULL, origin TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('complete', 'pruned', 'failed', 'running')),
  reason TEXT NOT NULL DEFAULT '', metrics TEXT NOT NULL DEFAULT '{}', asked REAL NOT NULL, told REAL);
"""

# What SQLite says -> what the user can do about it.
FAULTS = (
    ("disk is full", "no space left on its disk; free some, then resume the study (nothing that was stored is lost)"),
    ("locked", "locked by another program; close it and try again"),
    ("readonly", "cannot be written; make the file and its folder writable"),
    ("not a database", "not a Canvas study (not an SQLite file); name another file"),
    ("malformed", "damaged or truncated; restore it from a copy, or start another study"),
    ("no such table", "damaged: a table is missing; restore it from a copy, or start another study"),
    ("unable to open", "cannot be opened; check its name and the permissions of its folder"),
    ("disk I/O error", "cannot be read or written (disk I/O error); check its disk"),
)


class NoStudy(StudyError):
    """There is no file, or it is empty: a study can be made there."""


@dataclass(frozen=True)
class Record:
    """One candidate as stored. `state` is one of STATES; `metrics` is empty until it was evaluated."""

    index: int
    hash: str
    text: str
    origin: str = ""
    state: str = "running"
    reason: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    asked: float = 0.0
    told: float | None = None


class Store:
    """An open study file.

    Args:
        path: the file.
        mode: "read" (any number of readers, also beside a driver), "drive" (the one writer), or "create" (a new
            study, then as "drive"; an empty file counts as new).
        settings: for "create", the settings to store; any JSON values.

    Raises:
        StudyError: the file cannot be used; the message says why and what to do.

    Example:
        >>> import tempfile, os
        >>> path = os.path.join(tempfile.mkdtemp(), "study.db")
        >>> with Store(path, "create", {"seed": 1}) as store:
        ...     store.ask(Record(0, "abc", "kernel …"))
        ...     store.tell(0, "failed", "out of memory")
        ...     [(record.hash, record.state) for record in store.records()]
        [('abc', 'failed')]
    """

    def __init__(
        self, path: str | os.PathLike[str], mode: str = "read", settings: Mapping[str, Any] | None = None
    ) -> None:
        self.path = Path(path)
        self._lock: int | None = None
        self._db: sqlite3.Connection | None = None
        try:
            self._check_place(mode)
            if mode != "read":
                self._lock = _lock(self.path)
            with _clear_faults(self.path):
                self._db = _connect(self.path)
                if mode == "create":
                    self._create(settings or {})
                self._check_content()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file and gives up the driver's lock. May be called twice."""
        if self._db is not None:
            self._db.close()
        if self._lock is not None:
            os.close(
                self._lock
            )  # only after SQLite is done: closing any descriptor of a file drops SQLite's own locks on it
        self._db = self._lock = None

    # Reading

    def settings(self) -> dict[str, Any]:
        """All settings and notes, by name."""
        with self._transaction("BEGIN") as db:
            return {name: json.loads(value) for name, value in db.execute("SELECT name, value FROM settings")}

    def counts(self) -> dict[str, int]:
        """The sampler's funnel at the last ask."""
        with self._transaction("BEGIN") as db:
            return dict(db.execute("SELECT name, value FROM counts ORDER BY rowid"))

    def records(self) -> list[Record]:
        """All candidates in the order asked."""
        columns = "number, hash, text, origin, state, reason, metrics, asked, told"
        with self._transaction("BEGIN") as db:
            rows = db.execute(f"SELECT {columns} FROM candidates ORDER BY number").fetchall()
        return [
            Record(index, hash, text, origin, state, reason, _numbers(metrics), asked, told)
            for index, hash, text, origin, state, reason, metrics, asked, told in rows
        ]

    # Writing: each call is one transaction, on the disk when it returns.

    def ask(self, record: Record, counts: Mapping[str, int] | None = None) -> None:
        """Stores a candidate that is about to be evaluated, and the sampler's counts so far."""
        with self._transaction("BEGIN IMMEDIATE") as db:
            db.execute(
                "INSERT INTO candidates (number, hash, text, origin, state, asked) VALUES (?, ?, ?, ?, 'running', ?)",
                (record.index, record.hash, record.text, record.origin, time.time()),
            )
            db.executemany("INSERT OR REPLACE INTO counts VALUES (?, ?)", list((counts or {}).items()))

    def tell(self, index: int, state: str, reason: str = "", metrics: Mapping[str, float] | None = None) -> None:
        """Stores what became of candidate `index`. Numbers that are not finite are stored as null."""
        finite = {name: value if math.isfinite(value) else None for name, value in (metrics or {}).items()}
        with self._transaction("BEGIN IMMEDIATE") as db:
            db.execute(
                "UPDATE candidates SET state = ?, reason = ?, metrics = ?, told = ? WHERE number = ?",
                (state, reason, json.dumps(finite), time.time(), index),
            )

    def note(self, name: str, value: Any) -> None:
        """Stores one more setting, or replaces it."""
        with self._transaction("BEGIN IMMEDIATE") as db:
            db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, json.dumps(value)))

    # Opening

    def _check_place(self, mode: str) -> None:
        folder = self.path.absolute().parent
        if self.path.is_dir():
            raise StudyError(f"{self.path}: is a folder; name a file")
        if not folder.is_dir():
            raise StudyError(f"{self.path}: the folder {folder} does not exist; create it first")
        if mode != "create" and not self.path.exists():
            raise NoStudy(f"{self.path}: no such study file")
        if mode == "read":
            if not os.access(self.path, os.R_OK):
                raise StudyError(f"{self.path}: cannot be read; check its permissions")
        elif not os.access(folder, os.W_OK) or (self.path.exists() and not os.access(self.path, os.W_OK)):
            raise StudyError(f"{self.path}: cannot be written; make the file and its folder writable")

    def _create(self, settings: Mapping[str, Any]) -> None:
        with self._transaction("BEGIN IMMEDIATE") as db:
            if db.execute("SELECT 1 FROM sqlite_master").fetchone():
                raise StudyError(f"{self.path}: exists already; resume it, or name another file")
            for statement in SCHEMA.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {VERSION}")
            rows = [(name, json.dumps(value)) for name, value in settings.items()]
            db.executemany("INSERT INTO settings VALUES (?, ?)", rows)

    def _check_content(self) -> None:
        with self._transaction("BEGIN") as db:
            application, version = (
                db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
            )
            if not application and not db.execute("SELECT 1 FROM sqlite_master").fetchone():
                raise NoStudy(f"{self.path}: is empty: no study was made there yet")
            if application != APPLICATION_ID:
                raise StudyError(f"{self.path}: not a Canvas study; name another file")
            if version != VERSION:
                raise StudyError(
                    f"{self.path}: made by another version of Canvas (its format is {version}, this version reads"
                    f" {VERSION}); use that version, or start another study"
                )
            pages, size = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
            if self.path.stat().st_size < pages * size or db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("malformed")

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        """Commits on leaving, or leaves the file as it was."""
        assert self._db is not None, "the store is closed"
        with _clear_faults(self.path):
            try:
                self._db.execute(begin)
                yield self._db
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")


def _connect(path: Path) -> sqlite3.Connection:
    # mode=rw also for readers: only so can SQLite roll back the journal that a killed driver left. It falls back to
    # reading alone where the file cannot be written.
    mode = "rwc" if not path.exists() or os.access(path, os.W_OK) else "ro"
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=BUSY_SECONDS, isolation_level=None
    )
    db.execute("PRAGMA synchronous = FULL")
    return db


def _lock(path: Path) -> int:
    """Takes the driver's lock; gives the descriptor that holds it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise StudyError(f"{path}: cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StudyError(f"{path}: locked: another process is running this study; wait for it or stop it") from error
    return descriptor


def _numbers(metrics: str) -> dict[str, float]:
    return {name: math.nan if value is None else value for name, value in json.loads(metrics).items()}


@contextlib.contextmanager
def _clear_faults(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        text = str(error)
        advice = next((advice for pattern, advice in FAULTS if pattern in text), f"SQLite says: {text}")
        raise StudyError(f"{path}: {advice}") from error
    except json.JSONDecodeError as error:
        raise StudyError(f"{path}: damaged: {error}; restore it from a copy, or start another study") from error
