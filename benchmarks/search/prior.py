"""What it gives a guided search to begin with what comes with Canvas. Writes JSON; goes on where it was stopped.

    python benchmarks/search/prior.py OUT.json [--data fashion-mnist] [--seeds 5] [--candidates 48]
    python benchmarks/search/prior.py OUT.json --sampled 60 [--data cifar10]

The first: searches for ResNet-8 within the demo's budget, with it and without, in turns with the same seeds. What a
candidate is worth depends on the seed alone and takes seconds: how sure of 1,500 images a training on these makes it,
and the latency that native code's cycles predict. Told after so many candidates: the hypervolume of the front so far,
measured from half of what the original learns and the budget's latency; its mean over the seeds, and the 95 % interval
of the difference, seed by seed.

The second: kernels that the sampler gives within that budget, trained on 6,000 images each; the rank correlation of
their accuracies (validation data) with what is expected of them, with FLOPs and with parameters, and with what is
predicted after a few of them are known.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import run
import torch
from measures import demo, network

import canvas
from canvas import _core
from canvas.cost_model import CostModel
from canvas.data import Data, load_data
from canvas.errors import Diverged
from canvas.layers import merged
from canvas.models import resnet8
from canvas.objectives import hypervolume, rank_correlation
from canvas.prior import fitted, learned
from canvas.roofline import fixed_threads
from canvas.train import Recipe, train

AT = (8, 16, 24, 32, 48, 64)
LOOKAHEAD = 4
FEW = (4, 8, 16, 32)
SHORT, LONG = 1_500, 6_000  # images
SAMPLES = 5  # the seed of those sampled
Row = dict[str, Any]


class Bench:
    """A network and data; what a kernel in it is worth."""

    def __init__(self, spec: str) -> None:
        self.data: Data = load_data(spec)
        self.example = torch.randn(32, *self.data.shape)
        original = self.network(None, 0)
        self.targets = canvas.targets(original, self.example[:1])
        self.layers = merged(self.targets)
        self.model = CostModel.of_cycles("native", 1)
        self.original = self.model.predict(original, self.example)

    def network(self, kernel: Any, seed: int) -> torch.nn.Module:
        if kernel is not None:
            return network(kernel, seed, self.data, self.targets)
        torch.manual_seed(seed)
        return resnet8(in_channels=self.data.shape[0])

    def latency(self, kernel: Any) -> float:
        return self.model.predict(self.network(kernel, 0), self.example) / self.original

    def trained(self, kernel: Any, seed: int, images: int, judge: bool = False) -> dict[str, float]:
        recipe = Recipe(images=images, batch=64, lr=0.12, seed=seed)
        try:
            return train(self.network(kernel, seed), self.data, recipe, judge=judge)
        except Diverged:
            return {"accuracy": 0.0, "training_soft_accuracy": 0.0}


def search(bench: Bench, seed: int, prior: list[list[float]], candidates: int) -> list[Row]:
    """The candidates of one search with their results."""
    asking = _core.Search(
        bench.layers, demo.BUDGET, seed=seed, lookahead=LOOKAHEAD, prior=prior, max_primitives=demo.MOST_PRIMITIVES
    )
    most = demo.BUDGET.latency[1]
    rows: list[Row] = []
    waiting: deque[Any] = deque()
    while len(rows) < candidates:
        while (candidate := asking.ask()) is not None:
            waiting.append(candidate)
        candidate = waiting.popleft()
        row: Row = {"kernel": str(candidate.kernel), "latency": bench.latency(candidate.kernel)}
        if row["latency"] <= most:
            row["learned"] = bench.trained(candidate.kernel, seed, SHORT)["training_soft_accuracy"]
            asking.tell(candidate.index, [-row["learned"], row["latency"]])
        else:
            asking.tell(candidate.index, None, [math.nan, row["latency"]])
        rows.append(row)
    return rows


def volume(rows: list[Row], original: float) -> float:
    points = [(-row["learned"], row["latency"]) for row in rows if "learned" in row]
    return hypervolume(points, (-original / 2, demo.BUDGET.latency[1]))


def summary(runs: list[Row], original: float) -> list[Row]:
    """For each number of candidates the hypervolumes with and without, and the interval of the difference."""
    lines = []
    for count in (count for count in AT if count <= len(runs[0]["with"])):
        values = {arm: [volume(one[arm][:count], original) for one in runs] for arm in ("with", "without")}
        gained = [a - b for a, b in zip(values["with"], values["without"], strict=True)]
        means = {arm: statistics.fmean(found) for arm, found in values.items()}
        lines.append({"candidates": count, **means, "gain": run.interval(gained), "better": sum(g > 0 for g in gained)})
    return lines


def ranked(rows: list[Row]) -> Row:
    """Rank correlations over sampled kernels."""
    features, accuracies = np.array([row["features"] for row in rows]), np.array([row["accuracy"] for row in rows])
    (known,) = learned(["accuracy"], ["canvas"])
    better = accuracies >= np.median(accuracies)
    expected = -features @ np.array(known)
    found: Row = {
        "kernels": len(rows),
        "expected": rank_correlation(expected, accuracies),
        "expected, better half": rank_correlation(expected[better], accuracies[better]),
        "flops": rank_correlation(features[:, 1], accuracies),
        "params": rank_correlation(features[:, 2], accuracies),
    }
    random = np.random.default_rng(0)
    for count in (count for count in FEW if count <= len(rows) - 16):
        for name, begin in (("with", known), ("without", [])):
            values = []
            for _ in range(50):
                order = random.permutation(len(rows))
                told, rest = order[:count], order[count:]
                taught = fitted(features[told].tolist(), (-accuracies[told]).tolist(), begin)
                values.append(rank_correlation(-features[rest] @ np.array(taught), accuracies[rest]))
            found[f"{name}, {count} known"] = statistics.fmean(values)
    return found


def sampled(bench: Bench, count: int, rows: list[Row], save: Any) -> None:
    """Adds kernels of which there is no row yet."""
    given = canvas.sample(bench.layers, count, SAMPLES, demo.BUDGET, max_primitives=demo.MOST_PRIMITIVES)
    for kernel in given[len(rows) :]:
        accuracy = bench.trained(kernel, 0, LONG, judge=True)["accuracy"]
        features = _core.features(kernel, bench.layers, demo.BUDGET)
        rows.append({"kernel": str(kernel), "accuracy": accuracy, "features": features})
        save()


def main() -> None:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("out", type=Path)
    options.add_argument("--data", default="fashion-mnist")
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--candidates", type=int, default=48)
    options.add_argument("--sampled", type=int, default=0, help="instead: so many sampled kernels")
    asked = options.parse_args()
    found: Row = json.loads(asked.out.read_text(encoding="utf-8")) if asked.out.exists() else {}
    rows: list[Row] = found.setdefault("rows" if asked.sampled else "runs", [])

    def save() -> None:
        asked.out.write_text(json.dumps(found) + "\n", encoding="utf-8")

    with fixed_threads(1):
        bench = Bench(asked.data)
        if asked.sampled:
            sampled(bench, asked.sampled, rows, save)
            found["summary"] = ranked(rows)
        else:
            known = learned(["accuracy", "latency"], ["canvas"])
            found.setdefault("original", bench.trained(None, 0, SHORT)["training_soft_accuracy"])
            for seed in range(len(rows), asked.seeds):
                arms = {"with": known, "without": []}
                rows.append({arm: search(bench, seed, prior, asked.candidates) for arm, prior in arms.items()})
                save()
                print(f"{seed + 1} of {asked.seeds} seeds", file=sys.stderr)
            found["summary"] = summary(rows, found["original"])
    save()
    print(json.dumps(found["summary"], indent=1))


if __name__ == "__main__":
    main()
