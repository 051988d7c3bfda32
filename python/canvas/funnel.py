"""The stages that candidates of a study go through: how many each lets pass, what it costs, and how well it ranks.
Called by the command line and the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from canvas.objectives import PREDICTED, rank_correlation

if TYPE_CHECKING:
    from canvas.study import Study
    from canvas.trial import Trial

LEAST = 8  # completed candidates that a rank correlation needs


@dataclass(frozen=True)
class Stage:
    """One stage of a study.

    Attributes:
        name: what it looks at.
        entered, left: candidates that came to it, and that it let pass.
        seconds: its mean cost for a candidate; None where none was recorded.
        compiling: how much of that was compiling the network for its backend; None where none was recorded.
        correlation: Spearman's rank correlation of what it measures with what that stands for in the end, over the
            completed candidates, which are those that it liked: of all candidates it would be higher. None with fewer
            than 8.
    """

    name: str
    entered: int
    left: int
    seconds: float | None = None
    correlation: float | None = None
    compiling: float | None = None


def stages(study: Study) -> list[Stage]:
    """All stages in order; last what the parameters and the FLOPs alone would have told of the accuracy.

    Args:
        study: any, finished or not.

    Returns:
        The stages; of those that an evaluation reports no metric of, none.

    Raises:
        StudyError: the study cannot be read.

    Example:
        >>> [stage.name for stage in stages(study)]  # doctest: +SKIP
        ['sampling', 'latency', 'training_soft_accuracy_5000', 'training', 'params alone', 'flops alone']
    """
    counts, trials = study.counts, [trial for trial in study.trials if trial.state != "running"]
    done = [trial for trial in trials if trial.state == "complete"]
    timed, rungs = [("latency_ratio", "")], [(rung, "accuracy") for rung in study.rungs]
    predicted = any(PREDICTED in trial.metrics for trial in trials)  # then rungs come before it is compiled
    measured = [(PREDICTED, "latency_ratio"), *(rungs + timed if predicted else timed + rungs)]
    measured = [(name, final) for name, final in measured if any(name in trial.metrics for trial in trials)]
    here = [[trial for trial in trials if name in trial.metrics] for name, _ in measured]
    found = [Stage("sampling", counts["tried"], counts["kept"])]
    here.append([trial for trial in (here[-1] if here else trials) if trial.state != "pruned"])
    for (name, final), came, passed in zip(measured, here, here[1:], strict=False):
        compiling = _seconds(came, "compiling") if name == "latency_ratio" else None
        found.append(Stage(name, len(came), len(passed), _seconds(came, name), _ranked(done, name, final), compiling))
    found.append(Stage("training", len(here[-1]), len(done), _seconds(done, "training")))
    alone = [Stage(f"{name} alone", len(done), len(done), None, _ranked(done, name, "accuracy")) for name in BASELINES]
    return found + [stage for stage in alone if stage.correlation is not None]


BASELINES = ("params", "flops")


def _seconds(trials: Sequence[Trial], stage: str) -> float | None:
    spent = [trial.metrics[f"seconds_{stage}"] for trial in trials if f"seconds_{stage}" in trial.metrics]
    return sum(spent) / len(spent) if spent else None


def _ranked(done: Sequence[Trial], name: str, final: str) -> float | None:
    pairs = [(t.metrics[name], t.metrics[final]) for t in done if name in t.metrics and final in t.metrics]
    if len(pairs) < LEAST:
        return None
    return rank_correlation(*np.array(pairs, float).T)
