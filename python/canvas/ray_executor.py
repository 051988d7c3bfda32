"""Workers on a Ray cluster: the executor of `executor.py` over machines.

Each slot of the cluster is a Ray actor that holds a pool of one worker process, so that limits, crashes and what is
said of them are those of a single machine; Ray places the slots, carries texts and metrics, and tells when a node is
lost. What was under way there is evaluated again elsewhere. `study.py` makes it; Ray is imported here alone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody

from canvas.errors import UserError, one_line
from canvas.executor import STARTS, Executor, Outcome, available_memory, pickled

try:
    import ray
    from ray.exceptions import RayActorError, RayError
except ImportError as error:
    raise UserError(f"executor ray needs more packages ({one_line(error)}): pip install 'canvas-kas[ray]'") from error

ROOM_SECONDS = 300.0  # how long the cluster may have no room for any worker
TRIES = 3  # of a candidate whose nodes are lost one after another


class _Slot:
    """On a node: one worker process with its limits. What is at fault comes back as a value."""

    def __init__(
        self, function: bytes, path: Sequence[str], limits: dict[str, Any], needs: Mapping[str, float]
    ) -> None:
        sys.path += [entry for entry in path if entry not in sys.path and os.path.isdir(entry)]
        here = ray.get_runtime_context().get_node_id()
        slots = next((_slots(node, needs) for node in ray.nodes() if node["NodeID"] == here), 1)
        memory = limits["memory_limit"] or 0.9 * available_memory() / max(1, slots)
        self.pool = Executor(function, 1, **{**limits, "memory_limit": memory})

    def ready(self) -> None:
        pass

    def evaluate(self, key: int, arguments: tuple[Any, ...]) -> Outcome | str:
        try:
            self.pool.submit(key, arguments)
            while not (outcomes := self.pool.wait(60.0)):
                pass
            return outcomes[0]
        except UserError as error:
            return str(error)


@dataclass
class _Task:
    key: int
    arguments: tuple[Any, ...]
    losses: int = 0


@dataclass(eq=False)
class _Worker:
    actor: Any
    ready: bool = False
    task: _Task | None = None


class RayExecutor:
    """As `Executor`, with its workers on the nodes of a Ray cluster.

    Connects to the cluster of `ray.init`, if that was called, else to the one that RAY_ADDRESS names or that was
    started on this machine.

    Args:
        function, time_limit, memory_limit: as for `Executor`. By default a worker may hold an equal share of what its
            node has free.
        workers: how many; None: as many as the cluster has room for.
        most: so many workers at most.
        cpus, gpus: what each worker takes of a node; a GPU may be shared (0.5). A worker has so many threads as CPUs,
            one at least.

    Raises:
        UserError: there is no cluster, or none of its nodes has so many CPUs and GPUs; `function` cannot be pickled.

    Example:
        >>> with RayExecutor(evaluate, cpus=4, gpus=1) as executor:  # doctest: +SKIP
        ...     executor.submit(7, (1.0,))
        ...     outcomes = executor.wait(60)
    """

    def __init__(
        self,
        function: Callable[..., Any],
        workers: int | None = None,
        time_limit: float = 600.0,
        memory_limit: float | None = None,
        cpus: float = 1,
        gpus: float = 0,
        most: int | None = None,
    ) -> None:
        self._workers: list[_Worker] = []
        self._idle: list[_Worker] = []
        self._tasks: dict[int, _Task] = {}  # all that are under way ...
        self._waiting: list[_Task] = []  # ... and those of them that no worker has
        self._events: queue.SimpleQueue[tuple[_Worker, Future[Any]]] = queue.SimpleQueue()
        self._deaths = 0  # workers that died before they were ready, in a row
        self._since = time.monotonic()  # when there was no ready worker any more
        content = pickled(function)
        self._connected = _connect()
        try:
            needs = {"CPU": cpus, "GPU": gpus}
            room = sum(_slots(node, needs) for node in ray.nodes() if node["Alive"])
            if not workers and not room:
                raise UserError(f"no node of the Ray cluster has {cpus:g} CPUs and {gpus:g} GPUs; {_offers()}")
            self.workers = min(workers or room, most or workers or room)
            limits = {"time_limit": time_limit, "memory_limit": memory_limit, "threads": max(1, int(cpus))}
            path = [entry or os.getcwd() for entry in sys.path]
            self._arguments = ray.put(content), path, limits, needs
            self._actor = ray.remote(_Slot).options(num_cpus=cpus, num_gpus=gpus)
            self._fill()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> RayExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def free(self) -> int:
        """How many candidates may be submitted."""
        return max(0, self.workers - len(self._tasks))

    @property
    def running(self) -> dict[int, float]:
        """What is under way: key to 0; how far it is, its node does not tell."""
        return dict.fromkeys(self._tasks, 0.0)

    def submit(self, key: int, arguments: tuple[Any, ...]) -> None:
        """Starts a candidate on a free worker, or as soon as there is one."""
        self._tasks[key] = _Task(key, arguments)
        self._waiting.append(self._tasks[key])
        self._assign()

    def wait(self, seconds: float) -> list[Outcome]:
        """Waits until something has ended, or for at most `seconds`.

        Returns:
            The outcomes, possibly none.

        Raises:
            UserError: the evaluation itself is at fault, or the cluster has had no room for any worker for long.
        """
        outcomes: list[Outcome] = []
        end = time.monotonic() + seconds
        while not outcomes and self._tasks and (left := end - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                outcomes += self._hear(*self._events.get(timeout=left))
                while True:
                    outcomes += self._hear(*self._events.get_nowait())
            self._hold_room()
        return outcomes

    def close(self) -> None:
        """Ends the workers; what they were doing is lost."""
        for worker in self._workers:
            with contextlib.suppress(RayError):
                ray.kill(worker.actor)
        self._workers = []
        if self._connected:
            ray.shutdown()
        self._connected = False

    def _fill(self) -> None:
        """New workers for lost ones; Ray starts them when there is room."""
        while len(self._workers) < self.workers:
            worker = _Worker(self._actor.remote(*self._arguments))
            self._workers.append(worker)
            self._watch(worker, worker.actor.ready.remote())

    def _watch(self, worker: _Worker, result: Any) -> None:
        result.future().add_done_callback(lambda future: self._events.put((worker, future)))

    def _assign(self) -> None:
        while self._waiting and self._idle:
            worker, worker.task = (self._idle.pop(), self._waiting.pop(0))
            self._watch(worker, worker.actor.evaluate.remote(worker.task.key, worker.task.arguments))

    def _hear(self, worker: _Worker, future: Future[Any]) -> list[Outcome]:
        """A worker is ready, has an outcome, or was lost."""
        error, outcomes = future.exception(), []
        if isinstance(error, RayActorError):
            outcomes = self._lost(worker, one_line(error)[:300])
        elif error is not None:
            raise error
        elif isinstance(future.result(), str):
            raise UserError(future.result())
        else:
            task, worker.task, worker.ready, self._deaths = worker.task, None, True, 0
            self._idle.append(worker)
            if task:
                del self._tasks[task.key]
                again = f"evaluated again: its node was lost ({task.losses})" if task.losses else ""
                outcomes = [replace(future.result(), reason=future.result().reason or again)]
        self._assign()
        return outcomes

    def _lost(self, worker: _Worker, how: str) -> list[Outcome]:
        self._workers.remove(worker)
        if not worker.ready:
            self._deaths += 1
            if self._deaths >= STARTS:
                raise UserError(f"the workers do not start: {how}")
        self._fill()
        task = worker.task
        if task is None:
            return []
        task.losses += 1
        if task.losses >= TRIES:
            del self._tasks[task.key]
            return [Outcome(task.key, "failed", f"its node was lost, {TRIES} times: {how}")]
        self._waiting.insert(0, task)
        return []

    def _hold_room(self) -> None:
        """A fault if there has been no worker for long."""
        if any(worker.ready for worker in self._workers):
            self._since = time.monotonic()
        elif time.monotonic() - self._since > ROOM_SECONDS:
            raise UserError(f"the Ray cluster has had no room for a worker for {ROOM_SECONDS:.0f} s; {_offers()}")


def _connect() -> bool:
    """Whether this made a connection to a cluster (else there is one)."""
    if ray.is_initialized():
        return False
    try:
        ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"no Ray cluster ({one_line(error)[:200]}); start one with `ray start --head`, or name it by RAY_ADDRESS"
        ) from error
    return True


def _slots(node: Mapping[str, Any], needs: Mapping[str, float]) -> int:
    """For how many workers a node has room."""
    return min(int(node["Resources"].get(name, 0) / need + 1e-9) for name, need in needs.items() if need > 0)


def _offers() -> str:
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    each = ", ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
    return f"its nodes have {each or 'gone'}; ask for less, or add a node"
