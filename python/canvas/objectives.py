"""Objectives: which metric each one reads, which way is better, which candidates no other beats, and how alike two
rankings are. Called by study, report and cost model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from canvas.errors import UserError
from canvas.store import Record

# The metric that an objective reads: the first of these that the evaluation gives; for any other objective, the
# metric of its name.
PREDICTED = "latency_predicted"
METRICS = {"latency": ("latency_ratio", "latency_ms", "latency", PREDICTED)}
MAXIMISED = ("accuracy", "soft_accuracy", "training_soft_accuracy")

T = TypeVar("T", bound=Record)


def costs(metrics: Mapping[str, float], objectives: Iterable[str]) -> list[float]:
    """The objectives' values, each turned so that lower is better.

    Raises:
        UserError: a metric is missing.

    Example:
        >>> costs({"accuracy": 0.9, "latency_ratio": 0.5}, ["accuracy", "latency"])
        [-0.9, 0.5]
    """
    return [-value(metrics, name) if name in MAXIMISED else value(metrics, name) for name in objectives]


def known_costs(metrics: Mapping[str, float], objectives: Iterable[str]) -> list[float]:
    """As `costs`, but nan for what is not known; of a candidate that was pruned.

    Example:
        >>> known_costs({"latency_ratio": 0.5}, ["accuracy", "latency"])
        [nan, 0.5]
    """
    return [costs(metrics, [name])[0] if metric(metrics, name) else math.nan for name in objectives]


def value(metrics: Mapping[str, float], objective: str) -> float:
    """The metric that an objective reads.

    Raises:
        UserError: there is none.

    Example:
        >>> value({"latency_ms": 3.0}, "latency")
        3.0
    """
    name = metric(metrics, objective)
    if name is not None:
        return metrics[name]
    given = ", ".join(sorted(metrics)) or "nothing"
    raise UserError(f"the evaluation gives no value for the objective {objective!r}; it gives {given}")


def metric(metrics: Mapping[str, float], objective: str) -> str | None:
    """The name of the metric that an objective reads, if there is one.

    Example:
        >>> metric({"latency_ms": 3.0}, "latency")
        'latency_ms'
    """
    return next((name for name in METRICS.get(objective, (objective,)) if name in metrics), None)


def pareto(trials: Iterable[T], objectives: Sequence[str]) -> list[T]:
    """The completed trials that no other beats: best in the first objective first, then in the order asked."""
    points = [(costs(trial.metrics, objectives), trial) for trial in trials if trial.state == "complete"]
    points.sort(key=lambda point: (point[0], point[1].index))
    front: list[tuple[list[float], T]] = []
    for point, trial in points:  # whatever beats a point comes before it
        if all(any(a < b for a, b in zip(point, other, strict=True)) for other, _ in front):
            front.append((point, trial))
    return [trial for _, trial in front]


def hypervolume(points: Iterable[Sequence[float]], corner: Sequence[float]) -> float:
    """The area between a corner and what points of two objectives beat; lower is better in both.

    Args:
        points: any; what lies beyond the corner adds nothing.
        corner: the worst that counts.

    Example:
        >>> hypervolume([(1.0, 2.0), (2.0, 1.0), (2.5, 2.5)], (3.0, 3.0))
        3.0
    """
    area, reached = 0.0, corner[0]
    for first, second in sorted(points, key=lambda point: point[1]):
        if second < corner[1] and first < reached:
            area += (reached - first) * (corner[1] - second)
            reached = first
    return area


def rung_point(metrics: Mapping[str, float], rung: str, objectives: Iterable[str]) -> list[float]:
    """Where a candidate stands on a rung: what the rung measured, which stands for the accuracy, and the other
    objectives, nan where they are not known yet; lower is better.

    Example:
        >>> rung_point({"early": 0.6, "latency_ms": 2.0}, "early", ["accuracy", "latency"])
        [-0.6, 2.0]
    """
    others = [metric(metrics, name) for name in objectives if name not in MAXIMISED]
    if PREDICTED in metrics:  # then not all that come here are measured
        others = [PREDICTED if name in METRICS["latency"] else name for name in others]
    return [-metrics[rung], *(math.nan if name is None else metrics[name] for name in others)]


def bar(points: Sequence[Sequence[float]], part: int) -> list[Sequence[float]]:
    """What keeps a further point from the best 1/part by non-dominated rank: being beaten by one of these.

    Args:
        points: `rung_point`s of those before it.
        part: what share goes on; fewer points than that keep nobody back.

    Example:
        >>> bar([[-0.5, 1.0], [-0.7, 2.0], [-0.6, 3.0], [-0.4, 2.0]], 3)
        [[-0.5, 1.0], [-0.7, 2.0]]
    """
    if len(points) < part:
        return []
    better, worse = np.zeros((2, len(points), len(points)), dtype=bool)
    for values in np.array(points, dtype=float).T:
        better |= values[:, None] < values
        worse |= values[:, None] > values
    better &= ~worse  # as `beats`, of all pairs
    left = found = np.ones(len(points), dtype=bool)
    passed = 0
    while passed < math.ceil((len(points) + 1) / part) and found.any():
        found = left & ~better[left].any(0)
        left = left & ~found
        passed += int(found.sum())
    return [point for point, among in zip(points, found, strict=True) if among]


def beats(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether a is nowhere worse than b and somewhere better, of what is known of both.

    Example:
        >>> beats([-0.6, 2.0], [-0.6, 3.0]), beats([-0.6, math.nan], [-0.6, 3.0])
        (True, False)
    """
    return not any(x > y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation; equal values share their mean rank.

    Example:
        >>> rank_correlation(np.array([1, 2, 3]), np.array([10, 20, 15]))
        0.5
    """
    ranks = []
    for values in (a, b):
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        ranks.append((np.cumsum(counts) - (counts - 1) / 2)[inverse])
    a, b = (values - values.mean() for values in ranks)
    return float(a @ b / max(1e-30, float(np.sqrt((a @ a) * (b @ b)))))
