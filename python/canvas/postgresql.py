"""A study's tables in a PostgreSQL database, one schema a study. `store.py` opens it and says what is stored.

The driver holds an advisory lock, which the server drops with the driver's connection, so a killed driver blocks
nobody. A connection that breaks is made anew, for `AWAY_SECONDS` at most; a mark in the tables tells whether another
driver had the study meanwhile. SQLAlchemy reads URLs and reaches the server; it is imported here alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from canvas.errors import NoStudy, StudyError, one_line, other_version

try:
    import psycopg  # noqa: F401  (what SQLAlchemy connects with)
    import sqlalchemy
    from sqlalchemy import exc, text
except ImportError as error:
    raise StudyError(
        f"a study in PostgreSQL needs more packages ({one_line(error)}): pip install 'canvas-kas[postgresql]'"
    ) from error

AWAY_SECONDS = 120.0  # how long a driver waits for its server to come back
BUSY_SECONDS = 10.0  # how long a reader or writer waits for another one's lock on a table
LOCK_SECONDS = 1.0  # how long a driver waits for the lock: the server may not know yet that the last one died
FORM = "postgresql://USER@HOST/DATABASE?study=NAME"
SESSION = (  # a commit that returned is on the disk; a driver's host that vanished is noticed within a minute
    "SET synchronous_commit = on",
    "SET tcp_keepalives_idle = 30",
    "SET tcp_keepalives_interval = 10",
    "SET tcp_keepalives_count = 3",
)

# What PostgreSQL says (a pattern), or the code of its fault -> what the user can do about it.
FAULTS = (
    ("password authentication failed", "wrong user or password; give them in the URL, by PGPASSWORD or in ~/.pgpass"),
    ("no password supplied", "needs a password; give it in the URL, by PGPASSWORD or in ~/.pgpass"),
    ("Peer authentication failed", "over its socket the server takes the system's user alone; be it, or give a host"),
    ("pg_hba.conf", "the server does not let this user in from here; its pg_hba.conf says whom it lets in"),
    ('role ".*" does not exist', "no such user on the server; give another one, or create it (createuser)"),
    ('database ".*" does not exist', "no such database on the server; create it first (createdb)"),
    (
        "too many clients|connection slots",
        "the server has no connection left; close some, or raise its max_connections",
    ),
    (
        "42501",
        "{text}; ask its owner (to make studies: GRANT CREATE ON DATABASE; to read one: USAGE ON SCHEMA, SELECT)",
    ),
    ("53100", "no space left on the server's disk; free some, then resume the study (nothing that was stored is lost)"),
    ("25006", "the server takes no writes (a standby?); name the primary"),
    ("55P03", "locked by another program; close it and try again"),
    ("42P01", "damaged: a table is missing; restore it from a copy, or start another study"),
    ("42703", "damaged: a column is missing; restore it from a copy, or start another study"),
)
AWAY = "the server is away ({text}); start it, or check host and port; nothing that was stored is lost"


class Address:
    """Which study of which database: a URL as SQLAlchemy has it, with `study=NAME` in its query (default: study).

    Prints without the password.

    Raises:
        StudyError: it is no such URL.

    Example:
        >>> place = Address("postgresql://me:secret@host:5433/lab?sslmode=require&study=first")
        >>> place.stem, str(place)
        ('first', 'postgresql://me:***@host:5433/lab?sslmode=require&study=first')
    """

    def __init__(self, url: str) -> None:
        scheme, slashes, rest = url.partition("://")
        if not slashes or scheme not in ("postgresql", "postgresql+psycopg"):
            raise StudyError(f"{scheme.partition(':')[0]}: a study is a file, or lies in PostgreSQL: {FORM} (as text)")
        if rest.count("@") > 1:
            raise StudyError(f"a URL has one @ alone; write one in a password as %40: {FORM}")
        try:
            made = sqlalchemy.make_url(f"postgresql+psycopg://{rest}")
        except (exc.ArgumentError, ValueError) as error:
            raise StudyError(f"a URL that cannot be read; write {FORM}") from error
        query = dict(made.query)
        name = query.pop("study", "study")
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_.-]{1,50}", name):
            raise StudyError(f"study={name}: one name of at most 50 letters, digits, _, . and -")
        self.url = made.set(query=query)
        self.stem = name
        self.schema = f"canvas_{name}"
        shown = {key: "***" if "password" in key else value for key, value in query.items()}
        shown_url = made.set(drivername="postgresql", query={**shown, "study": name})
        self._shown = shown_url.render_as_string(hide_password=True)

    def __str__(self) -> str:
        return self._shown

    __repr__ = __str__


class PostgreSQL:
    """An open connection to a study's schema.

    Args:
        place: which one.
        mode: "read", "drive" or "create", as for `Store`.
        version: of the tables.
        tables: for "create": statements and their rows, as for `write`; None where there are none to have.

    Raises:
        StudyError: the database cannot be used; the message says why and what to do.
        NoStudy: it holds no such study.

    Example:
        >>> PostgreSQL(Address("postgresql://host/lab"), "read", 1).read("SELECT 1")  # doctest: +SKIP
        [(1,)]
    """

    def __init__(self, place: Address, mode: str, version: int, tables: Sequence[Any] = ()) -> None:
        self.place, self.mode, self.version = place, mode, version
        self._mark = ""  # which driver this is
        self._closed = False
        self._connection: sqlalchemy.Connection | None = None
        self._engine = sqlalchemy.create_engine(
            place.url,
            poolclass=sqlalchemy.NullPool,
            connect_args={"connect_timeout": 10, "application_name": "canvas", **place.url.query},
        )
        try:
            with self._clear_faults():
                self._connect()
                if mode == "create":
                    with self._transaction() as db:
                        self._create(db, tables)
                with self._transaction() as db:
                    self._check_content(db)
                    if mode != "read":
                        self._mark = uuid.uuid4().hex
                        db.execute(text("UPDATE canvas SET driver = :mark"), {"mark": self._mark})
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the connection and so gives up the driver's lock. May be called twice."""
        self._closed = True
        self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(exc.DBAPIError):
                connection.close()

    def read(self, statement: str) -> list[Any]:
        """All rows that a query gives."""
        return self._do(lambda db: [tuple(row) for row in db.execute(text(statement))])

    def write(self, *work: tuple[str, Sequence[dict[str, Any]]]) -> None:
        """One transaction, on the disk when this returns: each statement is executed for each of its rows. After a
        broken connection all of it may have been executed twice."""
        self._do(lambda db: [db.execute(text(statement), rows) for statement, rows in work if rows])

    def _do(self, work: Callable[[sqlalchemy.Connection], Any]) -> Any:
        """One transaction. A driver makes a broken connection anew and begins again."""
        assert not self._closed, "the store is closed"
        end = None
        with self._clear_faults():
            while True:
                try:
                    if self._connection is None:
                        self._connect()
                        self._hold_mark()
                    with self._transaction() as db:
                        return work(db)
                except (exc.DBAPIError, _Locked) as error:
                    end = end or time.monotonic() + AWAY_SECONDS
                    if self.mode == "read" or not _is_away(error) or time.monotonic() > end:
                        raise
                    self._drop()
                    time.sleep(0.5)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlalchemy.Connection]:
        assert self._connection is not None
        with self._connection.begin():
            yield self._connection

    def _connect(self) -> None:
        self._connection = self._engine.connect()
        with self._transaction() as db:
            limit = f"SET lock_timeout = {round(1e3 * BUSY_SECONDS)}"
            for statement in (*SESSION, limit, f'SET search_path = "{self.place.schema}"'):
                db.execute(text(statement))
            if self.mode == "read":
                db.execute(text("SET default_transaction_read_only = on"))
        key = int.from_bytes(hashlib.sha256(self.place.schema.encode()).digest()[:8], "big", signed=True)
        end = time.monotonic() + LOCK_SECONDS
        while self.mode != "read":
            with self._transaction() as db:
                if db.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": key}).scalar():
                    return
            if time.monotonic() > end:
                raise _Locked(f"{self.place}: locked: another process is running this study; wait for it or stop it")
            time.sleep(0.1)

    def _hold_mark(self) -> None:
        """A fault if another driver had the study while the connection was broken."""
        if self.mode == "read":
            return
        with self._transaction() as db:
            if db.execute(text("SELECT driver FROM canvas")).scalar() != self._mark:
                raise StudyError(
                    f"{self.place}: another process went on with this study while the server was away;"
                    " nothing told is lost: see how far it is, then resume it"
                )

    def _create(self, db: sqlalchemy.Connection, tables: Sequence[Any]) -> None:
        schema = self.place.schema
        found = "SELECT count(c.oid) FROM pg_namespace n LEFT JOIN pg_class c ON c.relnamespace = n.oid"
        counted = db.execute(text(f"{found} WHERE nspname = :schema GROUP BY n.oid"), {"schema": schema}).scalar()
        if counted:
            raise StudyError(f"{self.place}: exists already; resume it, or name another study")
        if counted is None:  # an empty one may have been made for somebody who may not make any
            db.execute(text(f'CREATE SCHEMA "{schema}"'))
        db.execute(text(f'CREATE TABLE "{schema}".canvas (format INTEGER NOT NULL, driver TEXT NOT NULL)'))
        db.execute(text("INSERT INTO canvas VALUES (:format, '')"), {"format": self.version})
        for statement, rows in tables:
            if rows is None or rows:
                db.execute(text(statement), rows)

    def _check_content(self, db: sqlalchemy.Connection) -> None:
        schema = self.place.schema
        named = text("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'canvas\\_%' ORDER BY 1")
        others = list(db.execute(named).scalars())
        if schema not in others:
            names = ", ".join(other.removeprefix("canvas_") for other in others)
            held = f"there are {names}" if names else "it holds none"
            raise NoStudy(f"{self.place}: no study '{self.place.stem}' in this database; {held}")
        count = text(
            "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON c.relnamespace = n.oid WHERE nspname = :it"
        )
        if not db.execute(count, {"it": schema}).scalar():
            raise NoStudy(f"{self.place}: is empty: no study was made there yet")
        version = db.execute(text(f'SELECT format FROM "{schema}".canvas')).scalar()
        if version != self.version:
            raise other_version(self.place, version or 0, self.version)

    @contextlib.contextmanager
    def _clear_faults(self) -> Iterator[None]:
        try:
            yield
        except exc.DBAPIError as error:
            primary = getattr(getattr(error.orig, "diag", None), "message_primary", None)
            said, code = primary or one_line(error.orig or error)[:300], _code(error)
            known = (advice for pattern, advice in FAULTS if pattern == code or re.search(pattern, said))
            advice = next(known, AWAY if _is_away(error) else "PostgreSQL says: {text}")
            raise StudyError(f"{self.place}: {advice.format(text=said)}") from error


class _Locked(StudyError):
    """Another session has the lock; or the server still thinks so of one of ours that broke."""


def _is_away(error: Exception) -> bool:
    """Whether the server went away, or does not know yet that it lost us; not where it understood and refused."""
    if isinstance(error, _Locked):
        return True
    code = _code(error)
    broken = isinstance(error, exc.DBAPIError) and error.connection_invalidated
    return broken or code.startswith(("08", "57P")) or (isinstance(error, exc.OperationalError) and not code)


def _code(error: Exception) -> str:
    """PostgreSQL's five characters for a fault; none where no server was reached."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) or ""
