"""Whatever happens to a study's driver, workers, disk or database: nothing told is lost, and it goes on with the
candidates that an undisturbed run gives. CANVAS_KILLS=50 kills the driver fifty times."""

import contextlib
import ctypes
import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import evaluations
from canvas import _core
from canvas.errors import NoStudy, StudyError
from canvas.store import Store
from canvas.study import Study
from processes import children

LAYERS = [_core.Layer(16, 16, (14, 14), count=2), _core.Layer(16, 32, (14, 14), stride=2)]
DRIVER = Path(__file__).with_name("drive_study.py")
KILLS = int(os.environ.get("CANVAS_KILLS", "2"))
CANDIDATES = 12 + 2 * KILLS  # so many that each life of the driver has something left to do


def fates(path):
    """What must not depend on what happened: kernels, their states and their metrics."""
    with Store(path) as store:
        return [(one.index, one.hash, one.text, one.origin, one.state, one.metrics) for one in store.records()]


def told(path):
    """What a reader finds told, though the driver may have died in the middle of a transaction."""
    with contextlib.suppress(NoStudy):
        return [fate for fate in fates(path) if fate[4] != "running"]
    return []


def undisturbed(path, candidates=CANDIDATES, evaluate=evaluations.quick):
    study = Study(path, LAYERS, seed=5, lookahead=4)
    study.run(evaluate, candidates=candidates, workers=1, progress=False)
    return fates(path)


def test_driver_killed_at_random_moments(tmp_path, anywhere):
    expected = undisturbed(tmp_path / "whole.db", evaluate=evaluations.slow)
    path, dice, kills, ran = anywhere, random.Random(11), 0, 1.0
    entries = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    while True:
        driver = subprocess.Popen(
            [sys.executable, DRIVER, path, str(CANDIDATES), "2"], env=os.environ | {"PYTHONPATH": entries}
        )
        if kills < KILLS:
            with contextlib.suppress(subprocess.TimeoutExpired):
                driver.wait(ran + 1.5 * dice.random())
            if driver.poll() is None:
                driver.send_signal(signal.SIGKILL)
                kills += 1
        end = driver.wait()
        kept = told(path)
        assert kept == [fate for fate in expected if fate[0] in {one[0] for one in kept}]
        if end == 0:
            break
        ran = min(ran + 0.2, 3.0) if not kept else ran  # too short a life on a busy machine
    assert kills >= 1
    assert fates(path) == expected


def test_workers_killed_at_random_moments(tmp_path):
    expected = undisturbed(tmp_path / "whole.db", 12, evaluations.slow)
    study = Study(tmp_path / "study.db", LAYERS, seed=5, lookahead=4)
    dice, killed = random.Random(3), []

    def kill(status):
        if status.running and len(killed) < 2 * KILLS and dice.random() < 0.2:
            with contextlib.suppress(ProcessLookupError):
                killed.append(dice.choice(children(os.getpid())))
                os.kill(killed[-1], dice.choice([signal.SIGKILL, signal.SIGTERM]))

    study.run(evaluations.slow, candidates=12, workers=2, progress=kill)
    assert killed
    assert fates(study.path) == expected


def test_hangs_hogs_crashes_and_nans_of_one_study(tmp_path):
    """Each costs its own candidate alone, and is told as what it was; the search goes on as if it had merely failed."""
    study = Study(tmp_path / "study.db", LAYERS, seed=5, lookahead=4)
    study.run(evaluations.Unruly(), 16, workers=2, time_limit=3.0, memory_limit=200 << 20, progress=False)
    reasons = ["crashed: signal 11", "accuracy is nan", "took longer than the time limit", "took more memory", ""]
    for trial in study.trials:
        reason = reasons[min(evaluations.mood(trial.hash), 4)]
        assert trial.reason.startswith(reason) and (trial.state == "failed") == bool(reason), trial
    assert {evaluations.mood(trial.hash) for trial in study.trials} >= {0, 1, 2, 3, 4}
    again = Study(tmp_path / "again.db", LAYERS, seed=5, lookahead=4)
    again.run(evaluations.Unruly(quietly=True), 16, workers=1, progress=False)
    assert [one.hash for one in again.trials] == [one.hash for one in study.trials]


def hold(path, locked, release):
    """Another program's transaction."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        locked.set()
        release.wait(60)


@pytest.mark.parametrize("for_good", [False, True])
def test_database_locked_in_the_middle(tmp_path, monkeypatch, for_good):
    expected = undisturbed(tmp_path / "whole.db", 10)
    monkeypatch.setattr("canvas.sqlite_file.BUSY_SECONDS", 0.3 if for_good else 60.0)
    study = Study(tmp_path / "study.db", LAYERS, seed=5, lookahead=4)
    context = multiprocessing.get_context("spawn")  # in one process SQLite's locks would not count
    locked, release = context.Event(), context.Event()
    other = context.Process(target=hold, args=(study.path, locked, release))

    def lock(status):
        if status.told >= 4 and not other.pid:
            other.start()
            assert locked.wait(60)
            if not for_good:
                threading.Timer(0.5, release.set).start()

    expects = pytest.raises(StudyError, match="locked by another program") if for_good else contextlib.nullcontext()
    with expects:
        study.run(evaluations.quick, candidates=10, workers=2, progress=lock)
    release.set()
    other.join()
    kept = told(study.path)
    assert len(kept) >= 4 and kept == [fate for fate in expected if fate[0] in {one[0] for one in kept}]
    study.run(evaluations.quick, candidates=10, workers=2, progress=False)
    assert fates(study.path) == expected


@contextlib.contextmanager
def no_rights(folder):
    """In a folder that cannot be written any more; the superuser, who still could, is somebody else to the disk."""
    libc, mode = ctypes.CDLL(None), folder.stat().st_mode
    folder.chmod(0o555)
    if not os.getuid():
        libc.setfsuid(65534)
    try:
        yield
    finally:
        libc.setfsuid(os.getuid())
        folder.chmod(mode)


def test_folder_turned_read_only_in_the_middle(tmp_path):
    """Nothing can be stored without a journal beside the file."""
    expected = undisturbed(tmp_path / "whole.db", 10)
    study = Study(tmp_path / "study.db", LAYERS, seed=5, lookahead=4)
    expects = pytest.raises(StudyError, match="cannot be written; make the file and its folder writable")
    with contextlib.ExitStack() as stack, expects:
        study.run(
            evaluations.quick,
            candidates=10,
            workers=1,
            progress=lambda status: status.told == 4 and stack.enter_context(no_rights(tmp_path)),
        )
    kept = told(study.path)
    assert len(kept) == 4 and kept == [fate for fate in expected if fate[0] in {one[0] for one in kept}]
    study.run(evaluations.quick, candidates=10, workers=1, progress=False)
    assert fates(study.path) == expected


def test_files_may_not_grow(tmp_path):
    """What a full disk or a quota does to the driver, where no small file system can be mounted: RLIMIT_FSIZE."""
    expected = undisturbed(tmp_path / "whole.db", 40)
    path = tmp_path / "study.db"
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "import test_faults, evaluations; from canvas.study import Study\n"
        f"study = Study({str(path)!r}, test_faults.LAYERS, seed=5, lookahead=4)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 15, resource.RLIM_INFINITY))\n"
        "study.run(evaluations.quick, candidates=40, workers=1, progress=False)\n"
    )
    entries = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    env = os.environ | {"PYTHONPATH": entries}
    ended = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)
    assert ended.returncode and "StudyError" in ended.stderr, ended.stderr
    kept = told(path)
    assert 0 < len(kept) < 40 and kept == [fate for fate in expected if fate[0] in {one[0] for one in kept}]
    Study(path, LAYERS, seed=5, lookahead=4).run(evaluations.quick, candidates=40, workers=1, progress=False)
    assert fates(path) == expected
