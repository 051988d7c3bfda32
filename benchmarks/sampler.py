"""How fast the sampler is, and what becomes of its tries. Writes JSON.

    python benchmarks/sampler.py [--seconds 20] [--network NAME] [--out FILE]

Distinct kernels kept per CPU-second (process time, so other load hardly matters), with FLOPs in (0.02, 1.0) and
parameters up to 1.0 of the original, under three settings in turns: "plausible" (the default limits), "plausible +
numeric" (a forward pass of each kernel too) and "any legal" (no plausibility, whose ratio is what plausibility costs).
The networks: ResNet-18 for 32 x 32 images, the 3x3 convolutions of ResNet-50's bottlenecks for 224 x 224, the linear
layers of a GPT-2 block with 1024 tokens, mixed or not.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from solver.shapes import load

import canvas
from canvas._core import Search
from canvas.layers import Target, merged
from canvas.models import resnet18

ANY = {"min_reach": 1, "min_weighted": 0, "concise": False, "full_flow": False, "live": False, "trainable": False}
LIMITS: dict[str, dict[str, Any]] = {"plausible": {}, "plausible + numeric": {"numeric": True}, "any legal": ANY}
BUDGET = canvas.Budget(flops=(0.02, 1.0), params=1.0)


def networks() -> dict[str, tuple[list[canvas.Layer], dict[str, Any]]]:
    """Layers by name, and limits that suit them."""

    def together(layers: list[canvas.Layer]) -> list[canvas.Layer]:
        return merged([Target("", layer) for layer in layers])

    block = together(load("gpt2")[:4])
    return {
        "resnet18": (merged(canvas.targets(resnet18(), torch.zeros(1, 3, 32, 32))), {}),
        "resnet50 3x3": (together([layer for layer in load("resnet50") if layer.window == 3]), {}),
        "gpt2 block": (block, {"mix_tokens": False}),
        "gpt2 block, mixed": (block, {}),
    }


def rate(layers: list[canvas.Layer], limits: dict[str, Any], seed: int, seconds: float) -> dict[str, float]:
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
    parser.add_argument("--network", action="append", help="one of them; may be repeated (default: all)")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    result: dict[str, dict[str, Any]] = {}
    for network, (layers, suited) in networks().items():
        if options.network and network not in options.network:
            continue
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in LIMITS}
        for seed in range(options.rounds):
            for name, limits in LIMITS.items():
                runs[name].append(rate(layers, suited | limits, seed, options.seconds / options.rounds))
        result[network] = {}
        for name, found in runs.items():
            rates = sorted(run["kept_per_cpu_second"] for run in found)
            medians = {key: round(statistics.median(run[key] for run in found), 4) for key in found[0]}
            result[network][name] = medians | {"lowest": round(rates[0], 1), "highest": round(rates[-1], 1)}
    text = json.dumps(result, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
