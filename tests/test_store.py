"""The study file keeps what it was given, and says clearly what is wrong with it."""

import contextlib
import math
import os
import sqlite3
import subprocess
import sys
import threading

import pytest

from canvas.errors import StudyError
from canvas.store import Record, Store, place_of
from small_disk import tmpfs

SETTINGS = {"seed": 3, "layers": [{"c_in": 1}], "budget": None}


def small(path):
    """A small study."""
    with Store(path, "create", SETTINGS) as store:
        for index in range(20):
            store.ask(Record(index, f"{index:064x}", "kernel k\n" * 100, "random"), {"tried": index + 1, "kept": 1})
        store.tell(0, "complete", metrics={"accuracy": 0.1 + 0.2, "latency_ratio": 1 / 3})
        store.tell(1, "failed", "loss is nan", {"accuracy": math.nan})
    return path


@pytest.fixture
def path(tmp_path):
    """A small study file."""
    return small(tmp_path / "study.db")


@pytest.fixture
def study(anywhere):
    """A small study, in a file or in a database."""
    return small(anywhere)


def fault(path, mode="read"):
    """The one line that opening the study gives."""
    with pytest.raises(StudyError) as caught:
        Store(path, mode, SETTINGS).close()
    message = str(caught.value)
    assert message.startswith(f"{place_of(path)}: ") and "\n" not in message
    return message


def test_gives_back_what_was_stored(study):
    with Store(study) as store:
        assert store.settings() == SETTINGS
        assert store.counts() == {"tried": 20, "kept": 1}
        records = store.records()
    assert [record.index for record in records] == list(range(20))
    assert records[0].metrics == {"accuracy": 0.1 + 0.2, "latency_ratio": 1 / 3}  # to the last bit
    assert (records[0].state, records[0].reason, records[0].origin) == ("complete", "", "random")
    assert (records[1].state, records[1].reason) == ("failed", "loss is nan")
    assert math.isnan(records[1].metrics["accuracy"])
    assert records[2].state == "running" and records[2].told is None and records[2].asked > 0


def test_notes_are_replaced(study):
    with Store(study, "drive") as store:
        store.note("goal", {"minutes": 5})
        store.note("goal", {"minutes": 6})
        assert store.settings()["goal"] == {"minutes": 6}


def test_one_driver_and_many_viewers(study):
    with Store(study, "drive") as driver:
        assert "another process is running this study" in fault(study, "drive")
        with Store(study) as viewer:
            driver.tell(2, "complete", metrics={"accuracy": 0.5})
            assert viewer.records()[2].state == "complete"
    Store(study, "drive").close()


def test_lock_of_a_killed_driver_does_not_block(study):
    script = f"from canvas.store import Store; s = Store({str(study)!r}, 'drive'); print(1, flush=True); input()"
    path_ = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    driver = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": path_},
    )
    assert driver.stdout and driver.stdout.readline()
    assert "another process" in fault(study, "drive")
    driver.kill()
    driver.wait()
    Store(study, "drive").close()


def test_killed_in_the_middle_of_a_write(path):
    script = "\n".join(
        (
            "import os; from canvas.store import Store",
            f"db = Store({str(path)!r}, 'drive').database.connection; db.execute('PRAGMA cache_size = 1')",
            "db.execute('BEGIN IMMEDIATE'); db.execute('UPDATE candidates SET text = text || text')",
            "os.kill(os.getpid(), 9)",
        )
    )
    path_ = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    subprocess.run([sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": path_})
    assert path.with_name("study.db-journal").stat().st_size > 0
    with Store(path) as store:  # a viewer rolls it back
        assert {record.text for record in store.records()} == {"kernel k\n" * 100}


def test_another_version(path):
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    assert "another version of Canvas (its format is 99" in fault(path)
    assert "another version of Canvas" in fault(path, "drive")


@pytest.mark.parametrize("keep", [4096, 5000, 9000, -4096, -1])
def test_truncated(path, keep):
    os.truncate(path, keep if keep > 0 else path.stat().st_size + keep)
    before = path.read_bytes()
    assert "damaged or truncated" in fault(path)
    assert "damaged or truncated" in fault(path, "drive")
    assert path.read_bytes() == before


def test_not_a_study(tmp_path, path):
    noise = tmp_path / "noise.db"
    noise.write_bytes(os.urandom(10_000))
    assert "not an SQLite file" in fault(noise)
    assert "not an SQLite file" in fault(noise, "create")
    other = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(other)) as db:
        db.execute("CREATE TABLE t (x)")
    assert "not a Canvas study" in fault(other)
    assert "exists already" in fault(other, "create")
    assert "exists already" in fault(path, "create")
    empty = tmp_path / "empty.db"
    empty.touch()
    assert "no study was made there yet" in fault(empty)
    Store(empty, "create", SETTINGS).close()


def test_no_such_place(tmp_path):
    assert "no such study file" in fault(tmp_path / "none.db")
    assert "does not exist" in fault(tmp_path / "no" / "study.db", "create")
    assert "is a folder" in fault(tmp_path)


def test_locked_by_another_program(path, monkeypatch):
    monkeypatch.setattr("canvas.sqlite_file.BUSY_SECONDS", 0.1)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        assert "locked by another program" in fault(path)
        assert "locked by another program" in fault(path, "drive")


def test_waits_for_a_short_transaction(path):
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.execute("BEGIN EXCLUSIVE")
    threading.Timer(0.2, lambda: (db.execute("COMMIT"), db.close())).start()
    with Store(path, "drive") as store:
        store.tell(2, "failed", "late")


def test_read_only_folder(tmp_path, path):
    content = path.read_bytes()
    with tmpfs(tmp_path / "mount", "size=1m") as folder:
        (folder / "study.db").write_bytes(content)
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        assert "cannot be written" in fault(folder / "study.db", "drive")
        assert "cannot be written" in fault(folder / "new.db", "create")
        with Store(folder / "study.db") as store:
            assert len(store.records()) == 20


def test_full_disk_loses_nothing(tmp_path):
    with tmpfs(tmp_path / "mount", "size=200k") as folder:
        path = folder / "study.db"
        with Store(path, "create", SETTINGS) as store:
            stored = 0
            with pytest.raises(StudyError, match="no space left on its disk; free some"):
                for stored in range(1000):
                    store.ask(Record(stored, str(stored), "kernel\n" * 300))
            assert stored > 5
            assert len(store.records()) == stored
        with Store(path) as store:
            assert len(store.records()) == stored
        (folder / "filler").write_bytes(b"")
        subprocess.run(["mount", "-o", "remount,size=2m", folder], check=True)
        with Store(path, "drive") as store:
            store.ask(Record(stored, "more", "kernel"))


def test_full_disk_at_the_start(tmp_path):
    with tmpfs(tmp_path / "mount", "size=16k") as folder:
        (folder / "filler").write_bytes(b"x" * 12_000)
        assert "no space left" in fault(folder / "study.db", "create")
