"""A study in a PostgreSQL database: what a file gives, over a server that may go away. CANVAS_CRASHES=20 crashes the
server twenty times."""

import contextlib
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

import evaluations
from canvas.cli import main
from canvas.errors import NoStudy, StudyError
from canvas.store import Record, Store, place_of
from canvas.study import Study
from postgres import PASSWORD
from small_disk import tmpfs
from test_faults import LAYERS, fates, told, undisturbed

sqlalchemy = pytest.importorskip("sqlalchemy", reason="no SQLAlchemy here: pip install 'canvas-kas[postgresql]'")
CRASHES = int(os.environ.get("CANVAS_CRASHES", "4"))


def fault(path, mode="read"):
    """The one line that opening the study gives; it holds no password."""
    with pytest.raises(StudyError) as caught:
        Store(path, mode, {"seed": 1}).close()
    message = str(caught.value)
    assert "\n" not in message and PASSWORD not in message and "wrong-one" not in message
    return message


@pytest.fixture
def url(postgres):
    """A new study with one candidate."""
    url = postgres.url()
    with Store(url, "create", {"seed": 1}) as store:
        store.ask(Record(0, "abc", "kernel"))
    return url


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What an undisturbed study in a file gives."""
    return undisturbed(tmp_path_factory.mktemp("whole") / "whole.db", 12)


def end_sessions(postgres):
    """As a server that is restarted within a moment."""
    postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'canvas'")


def test_a_study_in_a_database_is_that_in_a_file(tmp_path, postgres, capsys, whole):
    url = postgres.url("first")
    for candidates in (6, 12):
        study = Study(url, LAYERS, seed=5, lookahead=4)
        study.run(evaluations.quick, candidates=candidates, workers=2, progress=False)
    assert fates(url) == whole
    with pytest.raises(StudyError, match="holds a study made with seed 5, not 6"):
        Study(url, LAYERS, seed=6, lookahead=4)
    assert main(["show", url]) == 0
    assert study.best.hash[:12] in capsys.readouterr().out
    assert main(["report", url, "-o", str(tmp_path / "page.html")]) == 0
    assert "<title>Canvas: first</title>" in (tmp_path / "page.html").read_text()
    assert main(["resume", url]) == 2
    error = capsys.readouterr().err
    assert error.startswith(
        f"canvas: error: postgresql://canvas:***@127.0.0.1:{postgres.port}/canvas?study=first: was run"
    )
    assert PASSWORD not in error
    with pytest.raises(NoStudy, match=r"no study 'other' in this database; there are .*first"):
        Study.open(postgres.url("other"))


def test_server_restarted_in_the_middle(postgres, whole):
    study, restarts = Study(postgres.url(), LAYERS, seed=5, lookahead=4), []

    def restart(status):
        if status.told >= 3 + 4 * len(restarts) and len(restarts) < 2:
            postgres.stop(["fast", "immediate"][len(restarts)])
            restarts.append(threading.Timer(0.5, postgres.start))
            restarts[-1].start()

    study.run(evaluations.quick, candidates=12, workers=2, progress=restart)
    assert len(restarts) == 2
    assert fates(study.path) == whole


def crash(postgres, dice, patience):
    """One of the ways in which a server ends; it is there again before the driver's patience ends, or after."""
    way = dice.choice([postgres.kill, postgres.kill_sessions, lambda: postgres.stop("immediate")])
    way()
    if way != postgres.kill_sessions:
        time.sleep(dice.choice([0.5 * dice.random(), 3.0]) * patience)
        postgres.start()


def told_in_the_end(path):
    """What a reader finds told, as soon as there is a server to ask."""
    while True:
        with contextlib.suppress(StudyError):
            return told(path)


def test_server_crashes_at_random_moments(tmp_path, postgres, monkeypatch):
    """Some crashes the driver waits for, after others it gives up and is started again."""
    monkeypatch.setattr("canvas.postgresql.AWAY_SECONDS", 1.0)
    study, dice = Study(postgres.url(), LAYERS, seed=5, lookahead=4), random.Random(10)
    told_so_far, lost, crashes, gave_up, goal = {}, [], 0, 0, 4

    def make_crashes():
        nonlocal crashes
        while crashes < CRASHES:
            time.sleep(1.2 * dice.random())
            before = dict(told_so_far)
            crash(postgres, dice, patience=1.0)
            crashes += 1
            found = {fate[0]: fate[4:] for fate in told_in_the_end(study.path)}
            lost.extend(index for index in before if found.get(index) != before[index])

    def see(status):
        told_so_far.update({one.index: (one.state, one.metrics) for one in status.trials if one.state != "running"})

    crasher = threading.Thread(target=make_crashes)
    crasher.start()
    while goal == 4 or crasher.is_alive():
        try:
            study.run(evaluations.slow, candidates=goal, workers=2, progress=see)
            goal += 4
        except StudyError as error:
            assert "the server is away" in str(error)
            gave_up += 1
            time.sleep(0.2)
    crasher.join()
    assert crashes == CRASHES and gave_up and not lost
    study.run(evaluations.quick, candidates=goal, workers=2, progress=False)
    assert fates(study.path) == undisturbed(tmp_path / "whole.db", goal)


def test_database_turned_read_only_in_the_middle(postgres, whole):
    study = Study(postgres.url(), LAYERS, seed=5, lookahead=4)

    def turn(mode):
        postgres.sql(f"ALTER SYSTEM SET default_transaction_read_only = {mode}", "SELECT pg_reload_conf()")

    try:
        with pytest.raises(StudyError, match=r"the server takes no writes \(a standby\?\); name the primary"):
            study.run(evaluations.quick, 12, workers=1, progress=lambda it: it.told == 4 and turn("on"))
        kept = told(study.path)
        assert len(kept) >= 4 and kept == [fate for fate in whole if fate[0] in {one[0] for one in kept}]
    finally:
        turn("off")
    study.run(evaluations.quick, candidates=12, workers=1, progress=False)
    assert fates(study.path) == whole


def test_full_disk_of_the_server(tmp_path, postgres):
    study = Study(postgres.url(), LAYERS, seed=5, lookahead=4)
    with tempfile.TemporaryDirectory() as outer, tmpfs(Path(outer) / "disk", "size=400k") as disk:
        os.chmod(outer, 0o755)
        (disk / "tables").mkdir()
        shutil.chown(disk / "tables", postgres.data.owner())
        table = f"canvas_{study.path.stem}.candidates"
        postgres.sql(f"CREATE TABLESPACE small LOCATION '{disk}/tables'")
        postgres.sql(f"ALTER TABLE {table} SET TABLESPACE small", database="canvas")

        def fill(status):
            with contextlib.suppress(OSError), open(disk / "filler", "ab", buffering=0) as filler:
                while status.told >= 4:
                    filler.write(bytes(4096))

        try:
            with pytest.raises(StudyError, match="no space left on the server's disk; free some, then resume"):
                study.run(evaluations.quick, candidates=100, workers=1, progress=fill)
            kept = told(study.path)
            (disk / "filler").unlink()
            goal = len(kept) + 8
            study.run(evaluations.quick, candidates=goal, workers=1, progress=False)
            expected = undisturbed(tmp_path / "whole.db", goal)
            assert len(kept) > 4 and kept == expected[: len(kept)] and fates(study.path) == expected
        finally:
            postgres.sql(f"ALTER TABLE {table} SET TABLESPACE pg_default", database="canvas")
            postgres.sql("DROP TABLESPACE small")


def test_server_gone_for_good_is_one_error_and_nothing_told_is_lost(postgres, whole, monkeypatch):
    monkeypatch.setattr("canvas.postgresql.AWAY_SECONDS", 0.5)
    study = Study(postgres.url(), LAYERS, seed=5, lookahead=4)
    try:
        with pytest.raises(StudyError, match=r"the server is away \(.*\); start it, or check host and port"):
            study.run(evaluations.quick, 12, workers=1, progress=lambda it: it.told >= 4 and postgres.stop("immediate"))
        assert "the server is away" in fault(study.path)
    finally:
        postgres.start()
    kept = told(study.path)
    assert len(kept) >= 4 and kept == [fate for fate in whole if fate[0] in {one[0] for one in kept}]
    study.run(evaluations.quick, candidates=12, workers=1, progress=False)
    assert fates(study.path) == whole


def test_a_driver_whose_study_went_on_without_it_stops(postgres, url):
    with Store(url, "drive") as first:
        end_sessions(postgres)
        first.note("mine", 1)  # alone, it goes on
        end_sessions(postgres)
        with Store(url, "drive") as second:
            second.tell(0, "failed", "by the second")
        with pytest.raises(StudyError, match="another process went on with this study while the server was away"):
            first.tell(0, "complete", "", {"accuracy": 1.0})
    assert fates(url)[0][4] == "failed"


def test_a_write_that_was_done_before_its_connection_broke_is_done_once(postgres, url, monkeypatch):
    broken = []
    with Store(url, "drive") as store:
        whole = store.database._transaction

        @contextlib.contextmanager
        def breaking():
            with whole() as db:
                yield db
            if not broken:
                broken.append(True)
                end_sessions(postgres)
                with whole() as db:
                    db.execute(sqlalchemy.text("SELECT 1"))

        monkeypatch.setattr(store.database, "_transaction", breaking)
        store.ask(Record(1, "def", "kernel"), {"tried": 2})
    assert broken
    with Store(url) as store:
        assert [record.hash for record in store.records()] == ["abc", "def"] and store.counts() == {"tried": 2}


def test_faults_say_what_to_do(postgres, url, monkeypatch):
    name = place_of(url).stem
    assert "wrong user or password; give them in the URL, by PGPASSWORD" in fault(postgres.url(password="wrong-one"))
    assert "no such database on the server; create it first" in fault(postgres.url(name, database="none"))
    assert "the server is away" in fault(postgres.url(name, port=1))
    assert "exists already" in fault(url, "create")
    assert "a study is a file, or lies in PostgreSQL: postgresql://USER@HOST" in fault("mysql://me:wrong-one@host/lab")
    assert "as text" in fault(Path("postgresql://me:wrong-one@host/lab"))
    assert "write one in a password as %40" in fault("postgresql://me:wrong-one@x@host/lab")
    assert "a URL that cannot be read" in fault("postgresql://me:wrong-one@host:port/lab")
    assert "at most 50 letters" in fault(postgres.url("a;b"))
    assert "password" in str(place_of("postgresql://host/lab?password=wrong-one")) and "wrong-one" not in str(
        place_of("postgresql://host/lab?password=wrong-one")
    )
    postgres.sql(f"UPDATE canvas_{name}.canvas SET format = 99", database="canvas")
    assert "another version of Canvas (its format is 99, this version reads 1)" in fault(url)
    postgres.sql(f"DROP TABLE canvas_{name}.canvas", database="canvas")
    assert "damaged: a table is missing" in fault(url)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.delitem(sys.modules, "canvas.postgresql")
    assert "pip install 'canvas-kas[postgresql]'" in fault(url)


def test_rights(postgres, url):
    postgres.sql("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    guest = {"user": "guest", "password": "guest"}
    name = place_of(url).stem
    message = fault(postgres.url(name, **guest))
    assert f"permission denied for schema canvas_{name}; ask its owner" in message
    assert "permission denied for database canvas; ask its owner (to make studies: GRANT CREATE" in fault(
        postgres.url("mine", **guest), "create"
    )
    postgres.sql("CREATE SCHEMA canvas_mine AUTHORIZATION guest", database="canvas")
    assert "is empty: no study was made there yet" in fault(postgres.url("mine", **guest))
    Store(postgres.url("mine", **guest), "create", {}).close()
    grants = (
        f"GRANT USAGE ON SCHEMA canvas_{name} TO guest",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA canvas_{name} TO guest",
    )
    postgres.sql(*grants, database="canvas")
    with Store(postgres.url(name, **guest)) as store:
        assert len(store.records()) == 1
    assert "permission denied for table canvas" in fault(postgres.url(name, **guest), "drive")


def test_locked_by_another_program(postgres, url, monkeypatch):
    import psycopg

    monkeypatch.setattr("canvas.postgresql.BUSY_SECONDS", 0.1)
    where = {"host": str(postgres.folder), "port": postgres.port, "user": "postgres", "dbname": "canvas"}
    with Store(url, "drive") as store, psycopg.connect(**where) as other:
        other.execute(f"LOCK TABLE canvas_{place_of(url).stem}.candidates")
        with pytest.raises(StudyError, match="locked by another program; close it and try again"):
            store.tell(0, "failed")
        other.rollback()
        store.tell(0, "failed")


def test_by_its_socket_without_a_password(postgres):
    url = f"postgresql://canvas@/canvas?host={postgres.folder}&port={postgres.port}&study=socket"
    Store(url, "create", {"seed": 7}).close()
    with Store(str(place_of(url))) as store:  # what is printed can be used
        assert store.settings() == {"seed": 7}
