"""What earlier searches teach a new one about its objectives.

A guided search predicts each objective by a linear function of a kernel's features (`src/canvas/search/guide.h`). What
its coefficients are expected to be before there are results comes from here: from a table of kernels with their
accuracies (`learned.json`, which `benchmarks/search/table.py learn` makes), and from studies.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from canvas import _core
from canvas.errors import UserError
from canvas.objectives import known_costs
from canvas.session import budget_of, layers_of, rules_of

CANVAS = "canvas"
FILE = Path(__file__).with_name("learned.json")
ACCURACIES = ("accuracy", "soft_accuracy", "loss")  # what the table says of the first, it says of the others
FEWEST = 8  # results of a study from which something is learned
MOST = 4_000  # that are learned from; of more, every other, or third, and so on


def learned(objectives: Sequence[str], sources: Sequence[Any]) -> list[list[float]]:
    """What is expected of each objective.

    Args:
        objectives: of the new search.
        sources: one after the other: "canvas", what comes with Canvas, which knows of accuracies and losses; files or
            URLs of studies, of any network and data: what they measured of objectives of these names.

    Returns:
        For each objective the coefficients that `_core.Search` takes, none where nothing is known; an empty list where
        nothing is known of any.

    Raises:
        StudyError: a study cannot be read.
        UserError: a study has too few results to learn from.

    Example:
        >>> [len(coefficients) for coefficients in learned(["accuracy", "latency"], ["canvas"])]
        [167, 0]
    """
    found: list[list[float]] = [[] for _ in objectives]
    for source in sources:
        if source == CANVAS:
            found = [_shipped() if name in ACCURACIES else known for name, known in zip(objectives, found, strict=True)]
        else:
            found = _studied(source, objectives, found)
    return found if any(found) else []


def fitted(features: list[list[float]], costs: list[float], expected: list[float]) -> list[float]:
    """The coefficients after examples, four digits of each.

    Args:
        features: of each kernel, by `_core.features`.
        costs: their results, lower is better; in units of their deviation.
        expected: coefficients before; none where nothing is known.

    Example:
        >>> len(fitted([[1.0] * 167] * 2, [0.1, 0.3], []))
        167
    """
    taught: list[float] = _core.taught(features, costs, expected)
    return [float(f"{coefficient:.4g}") for coefficient in taught]


@functools.cache
def _shipped() -> list[float]:
    return json.loads(FILE.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def _studied(source: Any, objectives: Sequence[str], found: list[list[float]]) -> list[list[float]]:
    from canvas.study import Study

    study = Study.open(source)
    layers, budget, rules = layers_of(study.settings), budget_of(study.settings), rules_of(study.settings)
    judged = [(trial, known_costs(trial.metrics, objectives)) for trial in study.trials]
    judged = [(trial, costs) for trial, costs in judged if not all(map(math.isnan, costs))]
    judged = judged[:: 1 + len(judged) // MOST]
    features = [_core.features(trial.kernel, layers, budget, **rules) for trial, _ in judged]
    result = []
    for index, expected in enumerate(found):
        rows = [row for row, (_, costs) in enumerate(judged) if not math.isnan(costs[index])]
        costs = [judged[row][1][index] for row in rows]
        result.append(fitted([features[row] for row in rows], costs, expected) if len(rows) >= FEWEST else expected)
    if result == found:
        told = ", ".join(objectives)
        raise UserError(f"{study.path}: fewer than {FEWEST} candidates have {told}: too few to learn from")
    return result
