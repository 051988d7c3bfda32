"""Strategies of search on real training, at equal time: the demo's search by each of them. Writes JSON.

    python benchmarks/search/real.py OUT.json [--strategy guided evolution random] [--seeds 5] [--minutes 2.5]

Every search is the first half of `examples/demo.py`: a small ResNet on Fashion-MNIST, latency, short trainings, two
cores that do nothing else; the strategies take turns, seed by seed; it goes on where it was stopped. Told after each
tenth of its candidates: the hypervolume of those trained by then (validation accuracy up; latency down, halvings
counting the same) beyond the corner of the original's latency and 70 % accuracy; the mean over seeds, and the 95 %
interval of the difference to the last strategy named, seed by seed (bootstrap).
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from run import interval

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
import demo

from canvas.objectives import hypervolume

CORNER = (-0.7, 0.0)  # accuracy, doublings of the original's latency
PARTS = 10


def one(strategy: str, seed: int, folder: Path, minutes: float) -> dict[str, Any]:
    """One search: hypervolumes after tenths of its candidates."""
    folder.mkdir(parents=True, exist_ok=True)
    options = argparse.Namespace(folder=folder, seed=seed, minutes=minutes, images=6_000)
    study = demo.search(Console(stderr=True), options, strategy)
    done = [trial for trial in study.trials if trial.state == "complete"]
    points = {trial.index: (-trial.metrics["accuracy"], math.log2(trial.metrics["latency_ratio"])) for trial in done}
    count = len(study.trials)
    shares = [
        hypervolume([point for index, point in points.items() if index < part * count / PARTS], CORNER)
        for part in range(1, PARTS + 1)
    ]
    return {"strategy": strategy, "seed": seed, "candidates": count, "trained": len(done), "hypervolumes": shares}


def summary(runs: list[dict[str, Any]], strategies: list[str]) -> list[dict[str, Any]]:
    """Means, and the gain on the last strategy over the seeds that all of them have."""
    found = {name: {run["seed"]: run["hypervolumes"] for run in runs if run["strategy"] == name} for name in strategies}
    seeds = sorted(set.intersection(*(set(of.keys()) for of in found.values())))
    lines = []
    for name in strategies if seeds else []:
        for part in (PARTS // 2, PARTS):
            values = [found[name][seed][part - 1] for seed in seeds]
            gain = interval([found[name][seed][part - 1] - found[strategies[-1]][seed][part - 1] for seed in seeds])
            mean = statistics.fmean(values)
            lines.append(
                {"strategy": name, "time": part / PARTS, "hypervolume": mean, "gain": gain, "seeds": len(seeds)}
            )
    return lines


def main() -> None:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("out", type=Path)
    options.add_argument("--strategy", nargs="+", default=["guided", "evolution", "random"])
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--minutes", type=float, default=2.5)
    options.add_argument("--folder", type=Path, default=Path("real"))
    asked = options.parse_args()
    runs: list[dict[str, Any]] = []
    for seed in range(asked.seeds):
        for strategy in asked.strategy:
            runs.append(one(strategy, seed, asked.folder / f"{strategy}{seed}", asked.minutes))
            figures = {"minutes": asked.minutes, "summary": summary(runs, asked.strategy), "runs": runs}
            asked.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(summary(runs, asked.strategy), indent=1))


if __name__ == "__main__":
    main()
