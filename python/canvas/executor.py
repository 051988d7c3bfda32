"""Worker processes with limits: runs an evaluation on candidates, and survives whatever a candidate does.

`study.py` submits one candidate to each free worker and waits for outcomes. Workers (`worker.py`) are fresh
interpreters that stay alive from candidate to candidate, so that torch and the data are loaded once; each has one
thread. A worker that crashes, hangs or eats memory is killed and replaced. On a cluster, each slot of
`ray_executor.py` is a pool of one. None of the standard pools fits: `concurrent.futures` loses all work when one
worker dies, none limits memory, and `multiprocessing` runs the user's script a second time in each worker.
"""

from __future__ import annotations

import contextlib
import multiprocessing.connection
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import cloudpickle

from canvas.errors import UserError, one_line

if TYPE_CHECKING:
    from canvas.ray_executor import RayExecutor

TICK = 0.05  # seconds between looks at the workers' time and memory
START_LIMIT = 300.0  # seconds until a worker must be ready
STARTS = 3  # workers that may die one after another before they are ready
FROM_OUTSIDE = (
    signal.SIGKILL,
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
)  # a signal that no candidate causes by itself
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True)
class Outcome:
    """What became of one submitted candidate. `state` is "complete", "pruned" or "failed"."""

    key: int
    state: str
    reason: str = ""
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass
class _Task:
    key: int
    arguments: tuple[Any, ...]
    done: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    killed: str = ""  # how the worker of the first try was killed from outside


class Executor:
    """A pool of worker processes.

    Args:
        function: called in a worker as `function(*arguments, report=…)`; returns a dict of numbers. Anything that
            cloudpickle can pickle (functions of a script or a notebook too), or what `pickled` made of it. If it has a
            method `prepare()`, each worker calls it once before its first candidate.
        workers: number of processes.
        time_limit: seconds that one candidate may take.
        memory_limit: bytes that one worker may hold (resident, with torch and the data); None: an equal share of 90 %
            of what is free.
        threads: of each worker.

    Raises:
        UserError: `function` cannot be pickled.

    Example:
        >>> with Executor(lambda x, report: {"accuracy": x / 2}, workers=1) as executor:
        ...     executor.submit(7, (1.0,))
        ...     outcomes = executor.wait(60)
        >>> outcomes
        [Outcome(key=7, state='complete', reason='', metrics={'accuracy': 0.5})]
    """

    def __init__(
        self,
        function: Callable[..., Any] | bytes,
        workers: int = 1,
        time_limit: float = 600.0,
        memory_limit: float | None = None,
        threads: int = 1,
    ) -> None:
        self.time_limit, self.threads = time_limit, threads
        self.memory_limit = memory_limit or 0.9 * available_memory() / workers
        self._function = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as this)
        self._function.write(function if isinstance(function, bytes) else pickled(function))
        self._function.flush()
        self._workers: list[_Worker | None] = [None] * workers
        self._checked = 0.0  # when all workers were looked at
        self._deaths = 0  # workers that died before they were ready, in a row

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def free(self) -> int:
        """Workers that have nothing to do."""
        return sum(worker is None or worker.task is None for worker in self._workers)

    @property
    def running(self) -> dict[int, float]:
        """What is under way: key to the fraction done, as far as the evaluation reports it."""
        return {worker.task.key: worker.task.done for worker in self._workers if worker and worker.task}

    def submit(self, key: int, arguments: tuple[Any, ...]) -> None:
        """Starts a candidate on a free worker; there must be one."""
        self._start(_Task(key, arguments))

    def wait(self, seconds: float) -> list[Outcome]:
        """Waits until something has ended, or for at most `seconds`.

        Returns:
            The outcomes, possibly none.

        Raises:
            UserError: the evaluation itself is at fault (it cannot be loaded, or says so by a UserError).
        """
        end = time.monotonic() + seconds
        outcomes: list[Outcome] = []
        while not outcomes and self.running:
            busy = {worker.connection: i for i, worker in enumerate(self._workers) if worker and worker.task}
            for connection in multiprocessing.connection.wait(list(busy), TICK):
                outcomes += self._receive(busy[connection])  # type: ignore[index]
            now = time.monotonic()
            if now >= self._checked + TICK:  # also of those that are heard from all the time
                self._checked = now
                for i, worker in enumerate(self._workers):
                    outcomes += self._check(i) if worker and worker.task else []
            if now >= end:
                break
        return outcomes

    def close(self) -> None:
        """Kills the workers; what they were doing is lost."""
        for i in range(len(self._workers)):
            self._end(i)
        self._function.close()

    def _start(self, task: _Task) -> None:
        i = next(i for i, worker in enumerate(self._workers) if worker is None or worker.task is None)
        worker = self._workers[i]
        if worker is None or worker.process.poll() is not None:
            self._end(i)
            worker = self._workers[i] = _Worker(self._function, self.threads)
        worker.begin(task)

    def _end(self, i: int) -> None:
        worker, self._workers[i] = self._workers[i], None
        if worker:
            worker.kill()

    def _receive(self, i: int) -> list[Outcome]:
        """Handles one message of worker i, or its death."""
        worker = self._workers[i]
        assert worker and worker.task
        try:
            kind, *content = worker.connection.recv()
        except Exception:  # end of file; or what is left of a message whose sender died
            return self._died(i)
        if kind == "fault":
            raise UserError(*content)
        if kind == "ready":
            worker.ready, worker.since, self._deaths = True, time.monotonic(), 0
        elif kind == "progress":
            worker.task.done, worker.task.metrics = content
        else:
            task, worker.task = worker.task, None
            state, reason, metrics = content
            note = f"evaluated again: {task.killed}" if task.killed else ""
            return [Outcome(task.key, state, reason or note, metrics)]
        return []

    def _check(self, i: int) -> list[Outcome]:
        """Ends worker i if it is over a limit."""
        worker = self._workers[i]
        assert worker and worker.task
        seconds = time.monotonic() - worker.since
        if not worker.ready:
            if seconds > START_LIMIT:
                raise UserError(
                    f"a worker was not ready after {START_LIMIT:.0f} s; does the evaluation's prepare() hang?"
                )
            return []
        if seconds > self.time_limit:
            return self._failed(i, f"took longer than the time limit of {self.time_limit:g} s")
        if resident_memory(worker.process.pid) > self.memory_limit:
            return self._failed(i, f"took more memory than the limit of {self.memory_limit / 1e9:.2f} GB")
        if worker.process.poll() is not None and not worker.connection.poll():
            return self._died(i)
        return []

    def _failed(self, i: int, reason: str) -> list[Outcome]:
        worker = self._workers[i]
        assert worker and worker.task
        self._end(i)
        return [Outcome(worker.task.key, "failed", reason, worker.task.metrics)]

    def _died(self, i: int) -> list[Outcome]:
        worker = self._workers[i]
        assert worker and worker.task
        task, how = worker.task, worker.last_words()
        self._end(i)
        if not worker.ready:
            self._deaths += 1
            if self._deaths >= STARTS:
                raise UserError(f"the workers do not start: {how}")
        elif -worker.process.returncode not in FROM_OUTSIDE:
            return [Outcome(task.key, "failed", how, task.metrics)]
        elif task.killed:
            return [Outcome(task.key, "failed", f"{how}, twice", task.metrics)]
        else:  # hardly the candidate's doing: once more, so that an accident does not change the search
            task.killed = how
        self._start(task)
        return []


class _Worker:
    """One worker process and what it is doing."""

    def __init__(self, function: BinaryIO, threads: int) -> None:
        ours, theirs = socket.socketpair()
        self.output = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (lives as long as this)
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        code = f"from canvas.worker import start; start({theirs.fileno()}, {function.fileno()})"
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code],
                pass_fds=(theirs.fileno(), function.fileno()),
                env=os.environ | dict.fromkeys(THREADS, str(threads)) | {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"},
                stdin=subprocess.DEVNULL,
                stdout=self.output,
                stderr=self.output,
                start_new_session=True,  # Ctrl-C is for the driver; and its own processes die with it, see kill()
            )
        self.connection = Connection(ours.detach())
        self.task: _Task | None = None
        self.ready = False
        self.since = time.monotonic()

    def begin(self, task: _Task) -> None:
        self.task, self.since = task, time.monotonic()
        os.lseek(self.output.fileno(), 0, os.SEEK_SET)  # shared with the process: its output starts anew
        self.output.truncate(0)
        with contextlib.suppress(OSError):  # it died; wait() will see it
            self.connection.send(task.arguments)

    def kill(self) -> None:
        """Ends the process and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.connection.close()
        self.output.close()

    def last_words(self) -> str:
        """How the process ended, with the last line that it wrote."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)  # its socket is closed a moment before it can be waited for
        code = self.process.poll()
        if code is None:
            how = "worker closed its connection"
        elif code >= 0:
            how = f"worker exited with status {code}"
        elif -code in FROM_OUTSIDE:
            how = f"worker was killed (signal {-code})"
        else:
            how = f"crashed: signal {-code} ({signal.Signals(-code).name})"
        self.output.seek(max(0, os.fstat(self.output.fileno()).st_size - 2000))
        lines = self.output.read().decode(errors="replace").strip().splitlines()
        return f"{how}: {lines[-1].strip()[:200]}" if lines else how


def check_executor(kind: str, cpus: float | None = None, gpus: float | None = None) -> None:
    """A fault where a run cannot have such workers.

    Raises:
        UserError: which fault, and what to do.

    Example:
        >>> check_executor("cloud")
        Traceback (most recent call last):
        canvas.errors.UserError: executor 'cloud': unknown; there are local and ray
    """
    if kind == "ray":
        import canvas.ray_executor  # noqa: F401  (says what is not installed)
    elif kind != "local":
        raise UserError(f"executor '{kind}': unknown; there are local and ray")
    elif cpus is not None or gpus is not None:
        raise UserError("cpus and gpus are for executor ray: a local worker has one thread")


def executor_of(
    function: Callable[..., Any],
    kind: str,
    most: int,
    workers: int | None,
    time_limit: float,
    memory_limit: float | None,
    cpus: float | None,
    gpus: float | None,
) -> Executor | RayExecutor:
    """The workers that a run asks for, at most so many: "local" ones, by default one per core, or on a "ray" cluster.

    Raises:
        UserError: there is no such kind, or it cannot be had.

    Example:
        >>> with executor_of(len, "local", 8, 2, 600.0, None, None, None) as executor:
        ...     executor.free
        2
    """
    check_executor(kind, cpus, gpus)
    if kind == "local":
        return Executor(function, min(workers or usable_cores(), most), time_limit, memory_limit)
    from canvas.ray_executor import RayExecutor

    return RayExecutor(function, workers, time_limit, memory_limit, 1 if cpus is None else cpus, gpus or 0, most)


def pickled(function: Callable[..., Any]) -> bytes:
    """An evaluation as worker processes get it.

    Raises:
        UserError: it cannot be pickled.

    Example:
        >>> len(pickled(len)) > 0
        True
    """
    try:
        return cloudpickle.dumps(function)
    except Exception as error:
        raise UserError(f"the evaluation cannot be sent to worker processes: {one_line(error)}") from error


def resident_memory(pid: int) -> int:
    """Bytes of memory that a process holds; 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def available_memory() -> float:
    """Bytes that may still be taken: what the machine has free, or the control group's limit where that is less."""
    free = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with contextlib.suppress(OSError, StopIteration):
        line = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable"))
        free = float(line.split()[1]) * 1024
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            free = min(free, float(Path(limit).read_text()))
    return free


def usable_cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0))
