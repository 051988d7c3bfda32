"""Searches on the table of kernels that `table.py` made: how fast each strategy finds the front. Writes JSON.

    python benchmarks/search/run.py [--strategy guided evolution random] [--seeds 20] [--cost flops] [--out FILE]

A search may only ask for kernels of the table; what it is told is the accuracy of one training (the search's seed
decides which) and the cost: `flops`, `params`, or a backend's name for the latency relative to the original network.
After each number of candidates: the hypervolume of the front that the search would hand over (chosen by what it was
told, valued by the mean of all trainings), as a share of that of the whole table's front; its mean over the seeds, and
the 95 % interval of the difference to the last strategy named, seed by seed (bootstrap).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import table

from canvas import objectives
from canvas._core import Search

WORST = (0.3, 1.0)  # accuracy and share of the original's cost: the corner that hypervolumes are measured from
AT = (25, 50, 100, 200, 300)
Point = tuple[float, float]  # accuracy, cost


def points(rows: Iterable[dict[str, Any]], cost: str) -> dict[str, tuple[list[float], float]]:
    """The accuracies and the cost of every kernel that has both, by hash."""
    original = table.flops(table.network(), table.torch.zeros(1, 1, 28, 28))
    params = sum(p.numel() for p in table.network().parameters())
    found = {}
    for row in rows:
        accuracies = [seed["accuracy"] for seed in row.get("seeds", []) if "accuracy" in seed]
        if cost in ("flops", "params"):
            value = row[cost] / {"flops": original, "params": params}[cost] if cost in row else None
        else:
            value = row.get("latency", {}).get(cost, {}).get("ratio")
        if len(accuracies) == len(table.SEEDS) and value is not None:
            found[row["hash"]] = (accuracies, value)
    return found


def hypervolume(front: Iterable[Point]) -> float:
    """Of points of which more accuracy and less cost are better."""
    return objectives.hypervolume([(-accuracy, cost) for accuracy, cost in front], (-WORST[0], WORST[1]))


def one(
    strategy: str, seed: int, known: dict[str, tuple[list[float], float]], most: int, distinct: str
) -> dict[str, Any]:
    """One search: the shares of the hypervolume, and the processor's time for an ask."""
    truth = {name: (statistics.fmean(accuracies), cost) for name, (accuracies, cost) in known.items()}
    whole = hypervolume(truth.values())
    search = Search(
        table.layers(),
        table.BUDGET,
        seed=seed,
        strategy=strategy,
        lookahead=2,
        only=set(known),
        distinct=distinct,
        **table.LIMITS,
    )
    asked: list[str] = []
    shares, spent = {}, 0.0
    for count in range(1, most + 1):
        start = time.process_time()
        candidate = search.ask()
        spent += time.process_time() - start
        accuracies, cost = known[candidate.hash]
        asked.append(candidate.hash)
        search.tell(candidate.index, [-accuracies[seed % len(accuracies)], cost])
        if count in AT:
            shares[count] = hypervolume(truth[asked[index]] for index in search.front()) / whole
    return {"strategy": strategy, "seed": seed, "shares": shares, "ask_ms": 1e3 * spent / most}


def interval(values: list[float]) -> list[float]:
    """The 95 % interval of the mean, by resampling."""
    drawn = np.random.default_rng(0).choice(values, (10_000, len(values))).mean(1)
    return [float(value) for value in np.quantile(drawn, (0.025, 0.975))]


def main() -> None:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--strategy", nargs="+", default=["guided", "evolution", "random"])
    options.add_argument("--seeds", type=int, default=20)
    options.add_argument("--cost", default="flops")
    options.add_argument("--candidates", type=int, default=200)
    options.add_argument("--distinct", default="nonnegative", choices=("form", "result", "nonnegative"))
    options.add_argument("--file", type=Path, default=table.FILE)
    options.add_argument("--out", type=Path, help="JSON; by default printed")
    asked = options.parse_args()
    known = points(json.loads(asked.file.read_text(encoding="utf-8"))["kernels"], asked.cost)
    if len(known) < 2 * asked.candidates:
        sys.exit(f"{asked.file}: only {len(known)} kernels have results; make more, or ask for fewer candidates")
    runs = [
        one(name, seed, known, asked.candidates, asked.distinct)
        for name in asked.strategy
        for seed in range(asked.seeds)
    ]
    summary = []
    for at in (at for at in AT if at <= asked.candidates):
        shares = {name: [run["shares"][at] for run in runs if run["strategy"] == name] for name in asked.strategy}
        last = shares[asked.strategy[-1]]
        for name, values in shares.items():
            low, high = interval([value - other for value, other in zip(values, last, strict=True)])
            mean = statistics.fmean(values)
            summary.append({"candidates": at, "strategy": name, "share": mean, "gain": [low, high]})
            print(f"{at:4} {name:10} {mean:.4f}  gain {low:+.4f} to {high:+.4f}", file=sys.stderr)
    figures = {"kernels": len(known), "cost": asked.cost, "summary": summary, "runs": runs}
    if asked.out:
        asked.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    else:
        print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
