"""How fast the sampler is, and what becomes of its tries. Writes JSON.

    python benchmarks/sampler.py [--seconds 20] [--out FILE]

Distinct kernels kept per CPU-second (process time, so other load hardly matters) on ResNet-18's layers for 32 x 32
images, with FLOPs in (0.02, 1.0) and parameters up to 1.0 of the original; once with all plausibility limits and once
without any, in turns, whose ratio is what plausibility costs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

import canvas
from canvas._core import Search
from canvas.layers import merged
from canvas.models import resnet18

LIMITS: dict[str, dict[str, object]] = {
    "plausible": {},
    "any legal": {"min_reach": 1, "full_flow": False, "trainable": False},
}
BUDGET = canvas.Budget(flops=(0.02, 1.0), params=1.0)


def rate(layers: list[canvas.Layer], limits: dict[str, object], seed: int, seconds: float) -> dict[str, float]:
    """Kernels kept per CPU-second, the share of tries by fate, and the mean length, from one run of random search."""
    search = Search(layers, budget=BUDGET, seed=seed, strategy="random", lookahead=10**9, max_primitives=12, **limits)
    start, lengths = time.process_time(), []
    while time.process_time() - start < seconds:
        lengths.append(len(search.ask().kernel))
    spent = time.process_time() - start
    counts = search.counts
    shares = {fate: count / counts["tried"] for fate, count in counts.items() if fate != "tried"}
    return {"kept_per_cpu_second": len(lengths) / spent, "mean_primitives": statistics.mean(lengths), **shares}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="CPU time of each setting, over all rounds")
    parser.add_argument("--rounds", type=int, default=5, help="turns, each with a seed of its own")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    layers = merged(canvas.targets(resnet18(), torch.zeros(1, 3, 32, 32)))
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in LIMITS}
    for seed in range(options.rounds):
        for name, limits in LIMITS.items():
            runs[name].append(rate(layers, limits, seed, options.seconds / options.rounds))
    result: dict[str, object] = {}
    for name, found in runs.items():
        rates = sorted(run["kept_per_cpu_second"] for run in found)
        result[name] = {key: round(statistics.median(run[key] for run in found), 4) for key in found[0]}
        result[name] |= {"lowest": round(rates[0], 1), "highest": round(rates[-1], 1)}  # type: ignore[operator]
    text = json.dumps(result, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
