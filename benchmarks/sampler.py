"""How fast the sampler is, and what becomes of its tries. Writes JSON.

    cmake --build build --target sampler_rate
    python benchmarks/sampler.py [--seconds 20] [--network NAME] [--million] [--out FILE]

Distinct kernels kept per CPU-second (process time, so other load hardly matters), with FLOPs in (0.02, 1.0), parameters
up to 1.0 of the original and at most 12 primitives, under three settings: "plausible" (the default limits), "plausible
+ numeric" (a forward pass of each kernel too) and "any legal" (no plausibility, whose ratio is what plausibility
costs); the shares of tries by fate, of the implausible ones by reason, how many ends a try took back, and which share
of those that are no duplicates was kept. Each through Python in batches (`canvas.Samples.take`) and through the C++
interface (`sampler_rate`, left out where it is not built), on one thread, in turns. Through C++ also what becomes of
children of the first thousand kernels: completed from a cut anywhere, mutated, crossed; and, on two threads, the
kernels per second of wall time against one thread's. `--million` draws a million kernels in one run of the C++
interface and reports its peak memory.

The networks: ResNet-18 for 32 x 32 images, the 3x3 convolutions of ResNet-50's bottlenecks for 224 x 224, the linear
layers of a GPT-2 block with 1024 tokens, mixed or not.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import torch
from solver.shapes import load

import canvas
from canvas.layers import Target, merged
from canvas.models import resnet18

PROGRAM = Path(__file__).parents[1] / "build" / "sampler_rate"
ANY = {"min_reach": 1, "min_weighted": 0, "concise": False, "full_flow": False, "live": False, "trainable": False}
LIMITS: dict[str, dict[str, Any]] = {"plausible": {}, "plausible + numeric": {"numeric": True}, "any legal": ANY}
BUDGET = canvas.Budget(flops=(0.02, 1.0), params=1.0)
MOST = {"max_primitives": 12}
CHILDREN = ("completion of parts", "mutation", "crossover")
BATCH = 200
MILLION = 1_000_000


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


def python_rate(layers: list[canvas.Layer], limits: dict[str, Any], seed: int, seconds: float) -> dict[str, Any]:
    """Kernels kept per CPU-second by `Samples.take`, their mean length, and the shares of tries by fate and reason."""
    samples = canvas.Samples(layers, seed=seed, budget=BUDGET, **MOST, **limits)
    start, lengths = time.process_time(), []
    while time.process_time() - start < seconds:
        lengths += [len(kernel) for kernel in samples.take(BATCH)]
    spent = time.process_time() - start
    counts = samples.counts
    tried = counts.pop("tried")
    return {
        "kept_per_cpu_second": len(lengths) / spent,
        "mean_primitives": statistics.mean(lengths),
        "fates": {fate: count / tried for fate, count in counts.items()},
        "reasons": {reason: count / tried for reason, count in samples.reasons.items()},
        "taken_back": {reason: count / tried for reason, count in samples.taken_back.items()},
    }


def core_rate(
    layers: list[canvas.Layer], limits: dict[str, Any], seed: int, seconds: float, *, count: int = 0, threads: int = 1
) -> dict[str, Any]:
    """The same by the C++ interface: for so many CPU-seconds, or for `count` kernels."""
    lines = [
        (
            layer.c_in,
            layer.c_out,
            layer.stride,
            layer.window,
            layer.groups,
            layer.count,
            layer.tokens or 0,
            *layer.spatial,
        )
        for layer in layers
    ]
    words = [str(PROGRAM), str(seconds), str(count), str(seed), str(threads)]
    words += [f"{name}={int(value)}" for name, value in (MOST | limits).items()]
    text = "\n".join(" ".join(map(str, line)) for line in lines)
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def mean_shares(found: list[dict[str, Any]], key: str) -> dict[str, float]:
    names = sorted({name for run in found for name in run[key]})
    return {name: round(statistics.mean(run[key].get(name, 0.0) for run in found), 5) for name in names}


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the runs, the rate's lowest and highest, shares of tries; the same of children, where there are."""
    rates = sorted(run["kept_per_cpu_second"] for run in found)
    result: dict[str, Any] = {"lowest": round(rates[0], 1), "highest": round(rates[-1], 1)}
    result["kept_per_cpu_second"] = round(statistics.median(rates), 1)
    if "mean_primitives" in found[0]:
        result["mean_primitives"] = round(statistics.median(run["mean_primitives"] for run in found), 2)
    for key in ("fates", "reasons", "taken_back"):
        result[key] = mean_shares(found, key)
    fates = result["fates"]
    result["good_of_not_duplicate"] = round(fates["kept"] / (1 - fates["duplicate"]), 5)
    for child in CHILDREN:
        if child in found[0]:
            result[child] = summary([run[child] for run in found])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="CPU time of each setting, over all rounds")
    parser.add_argument("--rounds", type=int, default=5, help="turns, each with a seed of its own")
    parser.add_argument("--network", action="append", help="one of them; may be repeated (default: all)")
    parser.add_argument("--million", action="store_true", help="draw a million kernels for the first network")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    ways = {"python": python_rate} | ({"c++": core_rate} if PROGRAM.exists() else {})
    seconds = options.seconds / options.rounds
    result: dict[str, dict[str, Any]] = {}
    for network, (layers, suited) in networks().items():
        if options.network and network not in options.network:
            continue
        runs: dict[str, list[dict[str, Any]]] = {}
        for seed in range(options.rounds):
            for name, limits in LIMITS.items():
                for way, rate in ways.items():
                    runs.setdefault(f"{name}, {way}", []).append(rate(layers, suited | limits, seed, seconds))
        result[network] = {name: summary(found) for name, found in runs.items()}
        if "c++" not in ways:
            continue
        one, two = (
            core_rate(layers, suited, 0, threads * seconds, threads=threads)["kept_per_second"] for threads in (1, 2)
        )
        result[network]["two threads"] = {"kept_per_second": round(two, 1), "times one": round(two / one, 2)}
        if options.million:
            result[network]["a million"] = core_rate(layers, suited, 0, 0, count=MILLION)
            options.million = False
    text = json.dumps(result, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
