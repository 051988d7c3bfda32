"""What stopping candidates early is worth, on the table of kernels that `table.py` made. Writes JSON.

    python benchmarks/search/rungs.py [--seeds 60] [--budget 25 50] [--out FILE]

Candidates come in a random order; a rule sees a candidate's accuracy after a quarter or a half of its training and its
FLOPs, and stops it or not. Once so many whole trainings have been paid for: the hypervolume of the front that is handed
over, of those trained to the end, as in `run.py`; mean over the seeds, and the 95 % interval of the difference to no
stopping at all, seed by seed. Rules: a study's (`Study(rungs=...)`), and with Optuna installed its pruners, which know
the accuracy alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import run
import table

from canvas.objectives import bar, beats
from canvas.session import REDUCTION

AT = {"a quarter": 0, "a half": 1}  # of the training, and which of a row's accuracies on the way that is
Rule = Callable[[int, float, float], bool]  # whether a candidate (number, accuracy, cost) is stopped


def never() -> Rule:
    return lambda number, accuracy, cost: False


def ranked() -> Rule:
    """As a study does."""
    points: list[list[float]] = []

    def stops(number: int, accuracy: float, cost: float) -> bool:
        point = [-accuracy, cost]
        stopped = any(beats(other, point) for other in bar(points, REDUCTION))
        points.append(point)
        return stopped

    return stops


def optuna_rules() -> dict[str, Callable[[], Rule]]:
    """Optuna's pruners of accuracies; none where it is not installed."""
    try:
        import optuna
    except ImportError:
        return {}
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def rule(pruner: Any) -> Rule:
        study = optuna.create_study(direction="maximize", pruner=pruner)

        def stops(number: int, accuracy: float, cost: float) -> bool:
            trial = study.ask()
            trial.report(accuracy, 1)
            stopped = bool(trial.should_prune())
            study.tell(trial, accuracy)
            return stopped

        return stops

    halving, median = optuna.pruners.SuccessiveHalvingPruner, optuna.pruners.MedianPruner
    return {
        "Optuna, successive halving": lambda: rule(halving(min_resource=1, reduction_factor=REDUCTION)),
        "Optuna, median": lambda: rule(median(n_startup_trials=REDUCTION)),
    }


def one(rule: Rule, at: int, known: list[dict[str, Any]], seed: int, budget: float) -> float:
    """The share of the hypervolume that is reached."""
    order = np.random.default_rng(seed).permutation(len(known))
    spent, done = 0.0, []
    part = table.QUARTERS[at]
    for number in order:
        row = known[number]
        stopped = rule(int(number), row["curves"][seed % 2][at], row["cost"])
        spent += part if stopped else 1.0
        if not stopped:
            done.append(row)
        if spent >= budget:
            break
    told = [[-row["accuracies"][seed % 2], row["cost"]] for row in done]
    front = [row for row, point in zip(done, told, strict=True) if not any(beats(other, point) for other in told)]
    return run.hypervolume((row["accuracy"], row["cost"]) for row in front)


def main() -> None:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, default=60)
    options.add_argument("--budget", type=int, nargs="+", default=[25, 50], help="whole trainings")
    options.add_argument("--file", type=Path, default=table.FILE)
    options.add_argument("--out", type=Path, help="JSON; by default printed")
    asked = options.parse_args()
    rows = json.loads(asked.file.read_text(encoding="utf-8"))["kernels"]
    points = run.points(rows, "flops")
    known = [
        {"accuracies": accuracies, "accuracy": statistics.fmean(accuracies), "cost": cost, "curves": curves}
        for row in rows
        if row["hash"] in points
        for (accuracies, cost), curves in [(points[row["hash"]], [seed["accuracies"] for seed in row["seeds"]])]
    ]
    whole = run.hypervolume((row["accuracy"], row["cost"]) for row in known)
    rules = {"a study's": ranked, **optuna_rules()}
    result = []
    for budget in asked.budget:
        plain = [one(never(), 0, known, seed, budget) / whole for seed in range(asked.seeds)]
        result.append({"budget": budget, "rule": "none", "share": statistics.fmean(plain)})
        for (name, rule), (when, at) in ((r, a) for r in rules.items() for a in AT.items()):
            shares = [one(rule(), at, known, seed, budget) / whole for seed in range(asked.seeds)]
            gain = run.interval([share - other for share, other in zip(shares, plain, strict=True)])
            entry = {"budget": budget, "rule": name, "after": when, "share": statistics.fmean(shares), "gain": gain}
            result.append(entry)
            told = f"{budget:4} {name:28} {when:10} {entry['share']:.4f}  gain {gain[0]:+.4f} to {gain[1]:+.4f}"
            print(told, file=sys.stderr)
    text = json.dumps({"kernels": len(known), "rules": result}, indent=1)
    if asked.out:
        asked.out.write_text(text + "\n", encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
