"""What one worker process does: load the evaluation once, then evaluate candidate after candidate until the driver is
gone.

`executor.py` calls `start` in a fresh interpreter, with two inherited file descriptors: a socket, and a file with the
pickled evaluation. It decides nothing: limits and restarts are the driver's.

Messages to the driver: ("ready",), ("progress", done, metrics), ("done", state, reason, metrics), ("fault", message);
a fault is not the candidate's doing and ends the run.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import math
import numbers
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

from canvas.errors import EvaluationError, UserError, one_line

PR_SET_PDEATHSIG = 1

Report = Callable[[float, Mapping[str, float]], None]  # the fraction done, and the metrics known so far


class Pruned(EvaluationError):
    """Raised by an evaluation that gives up on a candidate early because it is not worth more time; the reason is
    recorded."""


def evaluate(function: Callable[..., Any], arguments: tuple[Any, ...], report: Report) -> tuple[Any, ...]:
    """Calls `function(*arguments, report=report)` and says what became of it, as a message to the driver.

    Returns:
        ("done", state, reason, metrics) or ("fault", message). Metrics reported before a failure are kept.

    Example:
        >>> evaluate(lambda x, report: {"accuracy": x}, (0.5,), print)
        ('done', 'complete', '', {'accuracy': 0.5})
        >>> evaluate(lambda x, report: {"accuracy": x}, (float("nan"),), print)[:3]
        ('done', 'failed', 'accuracy is nan')
    """
    reported: dict[str, float] = {}

    def forward(done: float, metrics: Mapping[str, float]) -> None:
        reported.update(_checked(metrics))
        report(done, reported)

    try:
        metrics = reported | _checked(function(*arguments, report=forward))
    except Pruned as error:
        return "done", "pruned", str(error), reported
    except UserError as error:
        return "fault", str(error)
    except MemoryError as error:
        return "done", "failed", f"out of memory: {error}".rstrip(": "), reported
    except EvaluationError as error:
        return "done", "failed", str(error), reported
    except Exception as error:
        return "done", "failed", _described(error), reported
    bad = [f"{name} is {value}" for name, value in metrics.items() if not math.isfinite(value)]
    return "done", "failed" if bad else "complete", ", ".join(bad), metrics


def _checked(metrics: Any) -> dict[str, float]:
    if not isinstance(metrics, Mapping):
        raise UserError(f"the evaluation must return a dict of numbers, got {type(metrics).__name__}")
    for name, value in metrics.items():
        if not isinstance(name, str) or not (isinstance(value, numbers.Real) or hasattr(value, "__float__")):
            raise UserError(f"the evaluation must return a dict of numbers, got {name!r}: {type(value).__name__}")
    return {name: float(value) for name, value in metrics.items()}


def _described(error: Exception) -> str:
    """One line: what was raised, and where."""
    text = one_line(error)[:300]
    if "not enough memory" in text or "out of memory" in text.lower():
        return f"out of memory: {text}"
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text}{place}"


def _die_with_driver() -> None:
    if sys.platform == "linux":
        driver = os.getppid()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != driver:  # it died before the call above
            os._exit(1)


def _die_first() -> None:
    """If the machine runs out of memory, a worker is to be killed rather than the driver."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def main(connection: Connection, file: int) -> None:
    """Serves until the driver closes the connection."""
    try:
        function = pickle.loads(os.pread(file, os.fstat(file).st_size, 0))
        getattr(function, "prepare", lambda: None)()
    except Exception as error:
        connection.send(
            (
                "fault",
                str(error)
                if isinstance(error, UserError)
                else f"a worker cannot load the evaluation: {_described(error)}",
            )
        )
        return
    connection.send(("ready",))
    while True:
        arguments = connection.recv()
        connection.send(evaluate(function, arguments, lambda *progress: connection.send(("progress", *progress))))
        tidy()


def tidy() -> None:
    """Collects garbage. What is there after the first candidate stays, modules above all, and is not looked through
    again: with PyTorch loaded that takes 0.15 s."""
    gc.collect()
    if not gc.get_freeze_count():
        gc.freeze()


def start(connection: int, file: int) -> None:
    """The whole life of a worker process, given its two descriptors."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_driver()
    _die_first()
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        main(Connection(connection), file)
