"""What a study stores: its settings, and the fate of every candidate.

`study.py` writes it (one driver at a time), anything may read it meanwhile. The tables lie in an SQLite file
(`sqlite_file.py`) or in a PostgreSQL database (`postgresql.py`); the statements here are what both understand. Knows
nothing of kernels.
"""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from canvas.errors import StudyError
from canvas.sqlite_file import SqliteFile

if TYPE_CHECKING:
    from canvas.postgresql import Address, PostgreSQL

VERSION = 1
STATES = ("complete", "pruned", "failed", "running")

SCHEMA = (
    "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE counts (name TEXT PRIMARY KEY, value BIGINT NOT NULL)",
    "CREATE TABLE candidates (number INTEGER PRIMARY KEY, hash TEXT NOT NULL, text TEXT NOT NULL, origin TEXT NOT NULL,"
    " state TEXT NOT NULL CHECK (state IN ('complete', 'pruned', 'failed', 'running')),"
    " reason TEXT NOT NULL DEFAULT '', metrics TEXT NOT NULL DEFAULT '{}', asked DOUBLE PRECISION NOT NULL,"
    " told DOUBLE PRECISION)",
)
# Each may be executed twice: a server that goes away may leave it open whether it had done so.
PUT = "INSERT INTO {} (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
ASK = (
    "INSERT INTO candidates (number, hash, text, origin, state, asked)"
    " VALUES (:number, :hash, :text, :origin, 'running', :asked) ON CONFLICT (number) DO NOTHING"
)
AGAIN = "UPDATE candidates SET asked = :asked WHERE number = :number"
TELL = "UPDATE candidates SET state = :state, reason = :reason, metrics = :metrics, told = :told WHERE number = :number"


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


def place_of(path: str | os.PathLike[str] | Address) -> Path | Address:
    """Where a study lies: a file, or what a URL says. Both print as what a user would write, without a password.

    Raises:
        StudyError: a URL of no PostgreSQL database.

    Example:
        >>> place_of("study.db")
        PosixPath('study.db')
        >>> print(place_of("postgresql://me:secret@host/lab?study=first"))
        postgresql://me:***@host/lab?study=first
    """
    if not isinstance(path, (str, os.PathLike)):
        return path
    text = os.fspath(path)
    if re.match(r"\w+(\+\w+)?://|postgres(ql)?(\+\w+)?:/", text):
        from canvas.postgresql import Address

        return Address(text)
    return Path(path)


class Store:
    """The open tables of a study.

    Args:
        path: the file, or a URL, as for `place_of`.
        mode: "read" (any number of readers, also beside a driver), "drive" (the one writer), or "create" (a new
            study, then as "drive"; an empty file counts as new).
        settings: for "create", the settings to store; any JSON values.

    Raises:
        StudyError: the file or the database cannot be used; the message says why and what to do.

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
        self,
        path: str | os.PathLike[str] | Address,
        mode: str = "read",
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = place_of(path)
        tables: list[Any] = [(statement, None) for statement in SCHEMA]
        tables.append((PUT.format("settings"), _rows({name: json.dumps(x) for name, x in (settings or {}).items()})))
        self.database: SqliteFile | PostgreSQL
        if isinstance(self.path, Path):
            self.database = SqliteFile(self.path, mode, VERSION, tables)
        else:
            from canvas.postgresql import PostgreSQL

            self.database = PostgreSQL(self.path, mode, VERSION, tables)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes it and gives up the driver's lock. May be called twice."""
        self.database.close()

    # Reading

    def settings(self) -> dict[str, Any]:
        """All settings and notes, by name."""
        return {name: self._json(value) for name, value in self.database.read("SELECT name, value FROM settings")}

    def counts(self) -> dict[str, int]:
        """The sampler's funnel at the last ask."""
        return dict(self.database.read("SELECT name, value FROM counts"))

    def records(self) -> list[Record]:
        """All candidates in the order asked."""
        columns = "number, hash, text, origin, state, reason, metrics, asked, told"
        rows = self.database.read(f"SELECT {columns} FROM candidates ORDER BY number")
        return [
            Record(index, hash, text, origin, state, reason, self._numbers(metrics), asked, told)
            for index, hash, text, origin, state, reason, metrics, asked, told in rows
        ]

    # Writing: each call is one transaction, on the disk when it returns.

    def ask(self, record: Record, counts: Mapping[str, int] | None = None) -> None:
        """Stores a candidate that is about to be evaluated, and the sampler's counts so far."""
        row = {"number": record.index, "hash": record.hash, "text": record.text, "origin": record.origin}
        self.database.write((ASK, [row | {"asked": time.time()}]), (PUT.format("counts"), _rows(counts or {})))

    def again(self, index: int) -> None:
        """Stores that candidate `index`, which was under way when a run ended, is evaluated anew from now on."""
        self.database.write((AGAIN, [{"number": index, "asked": time.time()}]))

    def tell(self, index: int, state: str, reason: str = "", metrics: Mapping[str, float] | None = None) -> None:
        """Stores what became of candidate `index`. Numbers that are not finite are stored as null."""
        finite = {name: value if math.isfinite(value) else None for name, value in (metrics or {}).items()}
        row = {"number": index, "state": state, "reason": _plain(reason), "metrics": json.dumps(finite)}
        self.database.write((TELL, [row | {"told": time.time()}]))

    def note(self, name: str, value: Any) -> None:
        """Stores one more setting, or replaces it."""
        self.database.write((PUT.format("settings"), _rows({name: json.dumps(value)})))

    def _numbers(self, metrics: str) -> dict[str, float]:
        return {name: math.nan if value is None else value for name, value in self._json(metrics).items()}

    def _json(self, text: str) -> Any:
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise StudyError(
                f"{self.path}: damaged: {error}; restore it from a copy, or start another study"
            ) from error


def _plain(text: str) -> str:
    """Without what databases cannot hold."""
    return text.replace("\0", "").encode(errors="replace").decode()


def _rows(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, "value": value} for name, value in values.items()]
