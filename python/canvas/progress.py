"""Shows how a study goes: a bar on a terminal, plain lines elsewhere. `study.py` calls it; it only reads what it is
given."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn


@dataclass(frozen=True)
class Status:
    """Where a run stands. `trials` are all candidates of the study, `front` those that no other beats; the goal is a
    number of `candidates` in all, or `minutes` of this run, of which `seconds` have passed; `earlier` candidates were
    told before it began; `running` are the fractions done of those under way; `told` are the candidates whose fate is
    known, and `failed` of them failed."""

    trials: Sequence[Any]
    front: Sequence[Any]
    candidates: int | None
    minutes: float | None
    seconds: float
    earlier: int
    running: Sequence[float]
    told: int = 0
    failed: int = 0

    @property
    def rate(self) -> float:
        """Candidates per minute in this run; 0 before the first."""
        return 60 * (self.told - self.earlier) / max(self.seconds, 1e-9)

    @property
    def fraction(self) -> float:
        """How much of the goal is reached, 0 to 1."""
        parts = [0.0]
        if self.candidates:
            parts.append((self.told + sum(self.running)) / self.candidates)
        if self.minutes:
            parts.append(self.seconds / 60 / self.minutes)
        return min(1.0, max(parts))

    @property
    def minutes_left(self) -> float | None:
        """None while nothing is known."""
        left = []
        if self.minutes is not None:
            left.append(self.minutes - self.seconds / 60)
        if self.candidates is not None and self.rate > 0:
            left.append((self.candidates - self.told - sum(self.running)) / self.rate)
        return max(0.0, min(left)) if left else None

    def line(self) -> str:
        """All of it in one line.

        Example:
            >>> Status([], [], 40, None, 0.0, 0, []).line()
            '0/40 candidates'
        """
        parts = [f"{self.told}/{self.candidates} candidates" if self.candidates else f"{self.told} candidates"]
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"{self.rate:.1f}/min"] if self.rate > 0 else []
        parts += [f"best {figures(self.front[0].metrics)}"] if self.front else []
        left = self.minutes_left
        if left is not None and self.fraction < 1:
            parts.append(f"{left:.0f} min left" if left >= 2 else f"{60 * left:.0f} s left")
        return " · ".join(parts)


def figures(metrics: dict[str, float]) -> str:
    """The metrics that matter most, shortly.

    Example:
        >>> figures({"accuracy": 0.8712, "latency_ratio": 0.4182, "params": 1e6})
        'accuracy 0.871, latency 0.42x'
    """
    parts = [f"accuracy {metrics['accuracy']:.3f}"] if "accuracy" in metrics else []
    if "latency_ratio" in metrics:
        parts.append(f"latency {metrics['latency_ratio']:.2f}x")
    elif "latency_ms" in metrics:
        parts.append(f"latency {metrics['latency_ms']:.2f} ms")
    return ", ".join(parts or [f"{name} {value:.4g}" for name, value in list(metrics.items())[:2]])


@contextlib.contextmanager
def console_progress(progress: Callable[[Status], None] | bool) -> Iterator[Callable[[Status], None]]:
    """What to call with each Status. True: a bar or lines on stderr; False: nothing; a callable: that."""
    console = Console(stderr=True)
    if callable(progress):
        yield progress
    elif not progress:
        yield lambda status: None
    elif not console.is_terminal:
        yield _Lines(console).show
    else:
        columns = SpinnerColumn(), BarColumn(bar_width=24), TextColumn("{task.description}")
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("starting the workers", total=1.0)
            yield lambda status: bar.update(task, completed=status.fraction, description=status.line())


class _Lines:
    """One line for every candidate told."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.shown = -1

    def show(self, status: Status) -> None:
        if status.told != self.shown:
            self.shown = status.told
            print(status.line(), file=self.console.file, flush=True)
