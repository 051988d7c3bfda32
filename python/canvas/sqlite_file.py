"""A study's tables in one SQLite file. `store.py` opens it and says what is stored.

A rollback journal with synchronous=FULL is used rather than WAL: a commit that returned survives `kill -9` and power
loss, and the study stays one file that can be copied. The driver's lock is a `flock` on the file itself, which the
system drops with the process, so a killed driver blocks nobody.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from canvas.errors import NoStudy, StudyError, other_version

APPLICATION_ID = 0x43414E56  # "CANV"
BUSY_SECONDS = 10.0  # how long a reader or writer waits for another one's transaction

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


class SqliteFile:
    """An open file.

    Args:
        place: the file.
        mode: "read", "drive" or "create", as for `Store`.
        version: of the tables.
        tables: for "create": statements and their rows, as for `write`; None where there are none to have.

    Raises:
        StudyError: the file cannot be used; the message says why and what to do.

    Example:
        >>> import tempfile, os
        >>> path = Path(tempfile.mkdtemp()) / "some.db"
        >>> file = SqliteFile(path, "create", 1, [("CREATE TABLE t (x)", None)])
        >>> file.write(("INSERT INTO t VALUES (:x)", [{"x": 1}, {"x": 2}]))
        >>> file.read("SELECT x FROM t")
        [(1,), (2,)]
    """

    def __init__(self, place: Path, mode: str, version: int, tables: Sequence[Any] = ()) -> None:
        self.place = place
        self._lock: int | None = None
        self.connection: sqlite3.Connection | None = None
        try:
            self._check_place(mode)
            if mode != "read":
                self._lock = _lock(place)
            with _clear_faults(place):
                self.connection = _connect(place)
                if mode == "create":
                    self._create(version, tables)
                self._check_content(version)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the file and gives up the driver's lock. May be called twice."""
        if self.connection is not None:
            self.connection.close()
        if self._lock is not None:
            os.close(
                self._lock
            )  # only after SQLite is done: closing any descriptor of a file drops SQLite's own locks on it
        self.connection = self._lock = None

    def read(self, statement: str) -> list[Any]:
        """All rows that a query gives."""
        with self._transaction("BEGIN") as db:
            return db.execute(statement).fetchall()

    def write(self, *work: tuple[str, Sequence[dict[str, Any]]]) -> None:
        """One transaction, on the disk when this returns: each statement is executed for each of its rows."""
        with self._transaction("BEGIN IMMEDIATE") as db:
            for statement, rows in work:
                db.executemany(statement, rows)

    def _check_place(self, mode: str) -> None:
        folder = self.place.absolute().parent
        if self.place.is_dir():
            raise StudyError(f"{self.place}: is a folder; name a file")
        if not folder.is_dir():
            raise StudyError(f"{self.place}: the folder {folder} does not exist; create it first")
        if mode != "create" and not self.place.exists():
            raise NoStudy(f"{self.place}: no such study file")
        if mode == "read":
            if not os.access(self.place, os.R_OK):
                raise StudyError(f"{self.place}: cannot be read; check its permissions")
        elif not os.access(folder, os.W_OK) or (self.place.exists() and not os.access(self.place, os.W_OK)):
            raise StudyError(f"{self.place}: cannot be written; make the file and its folder writable")

    def _create(self, version: int, tables: Sequence[Any]) -> None:
        with self._transaction("BEGIN IMMEDIATE") as db:
            if db.execute("SELECT 1 FROM sqlite_master").fetchone():
                raise StudyError(f"{self.place}: exists already; resume it, or name another file")
            for statement, rows in tables:
                db.execute(statement) if rows is None else db.executemany(statement, rows)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {version}")

    def _check_content(self, expected: int) -> None:
        with self._transaction("BEGIN") as db:
            application, version = (
                db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
            )
            if not application and not db.execute("SELECT 1 FROM sqlite_master").fetchone():
                raise NoStudy(f"{self.place}: is empty: no study was made there yet")
            if application != APPLICATION_ID:
                raise StudyError(f"{self.place}: not a Canvas study; name another file")
            if version != expected:
                raise other_version(self.place, version, expected)
            pages, size = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
            if self.place.stat().st_size < pages * size or db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("malformed")

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        """Commits on leaving, or leaves the file as it was."""
        assert self.connection is not None, "the store is closed"
        with _clear_faults(self.place):
            try:
                self.connection.execute(begin)
                yield self.connection
                self.connection.execute("COMMIT")
            finally:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")


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


@contextlib.contextmanager
def _clear_faults(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        text = str(error)
        advice = next((advice for pattern, advice in FAULTS if pattern in text), f"SQLite says: {text}")
        raise StudyError(f"{path}: {advice}") from error
