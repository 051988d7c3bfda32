"""Measures the solver of budgets and writes JSON: `python benchmarks/solver/run.py OUT.json`, --help for its options.

- bind: CPU time of one `Kernel.bind` on ResNet-50 (53 layers) and DenseNet-121 (120 layers) with three limits, every
  layer by itself, for sampled kernels with a free size; CP-SAT (one thread) on some of the same problems beside it.
- use: FLOPs used, of what the budget allows or of what the kernel can use at most (the smaller), for sampled kernels
  with a free size at 0.25, 0.5 and 1.0 of the original's FLOPs; beside it free sizes set to one of 1, 2, 4, 8 for the
  whole network, the best of them.
- oracle: random instances on which optimum and feasibility equal CP-SAT's.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(Path(__file__).parent)]

from shapes import load  # noqa: E402

import canvas  # noqa: E402
from canvas import Budget, Infeasible, Layer  # noqa: E402
from shuffling import substituted  # noqa: E402

THREE = {"flops": 0.5, "params": 0.5, "memory": 4.0}
NETWORKS = ("resnet18", "resnet50", "densenet121", "mobilenetv2", "convnext_t")


def variables(kernel: Any) -> int:
    return len(kernel.bind([Layer(720, 720, (8, 8))])[0].sizes)


def spread(values: list[float]) -> dict[str, float]:
    """Median, quantiles and mean."""
    ordered = sorted(values)

    def at(part: float) -> float:
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))]

    names = {"p1": 0.01, "p10": 0.1, "median": 0.5, "p90": 0.9, "p99": 0.99}
    return {**{name: at(part) for name, part in names.items()}, "mean": statistics.fmean(ordered), "most": ordered[-1]}


def sampled(layers: list[Any], count: int, budget: Any) -> list[Any]:
    """Kernels with a free size."""
    found: list[Any] = []
    for seed in range(20):
        found += [kernel for kernel in canvas.sample(layers, 2 * count, seed=seed, budget=budget) if variables(kernel)]
        if len(found) >= count:
            break
    return found[:count]


def few(layers: list[Any]) -> list[Any]:
    """Some of a network's layers, to sample for."""
    distinct = list(dict.fromkeys(layers))
    return distinct[:: max(1, len(distinct) // 5)]


def bind_times(name: str, count: int, cp_sat: int) -> dict[str, Any]:
    layers, budget = load(name), Budget(**THREE)
    times, gaps, solved, refused = [], [], 0, []
    for kernel in sampled(few(layers), count, None):
        start = time.process_time()
        try:
            binding = kernel.bind(layers, budget)
        except Infeasible:
            refused.append(1e3 * (time.process_time() - start))
            continue
        times.append(1e3 * (time.process_time() - start))
        gaps.append(binding.gap)
        solved += binding.gap == 0
    result = {"kernels": count, "bound": len(times), "refused": len(refused), "bind_ms": spread(times)}
    result |= {"proven_best": solved, "largest_gap": max(gaps), "refuse_ms": spread(refused) if refused else None}
    result["cp_sat"] = [cp_sat_time(kernel, layers, budget) for kernel in sampled(few(layers), cp_sat, None)]
    return result


def cp_sat_time(kernel: Any, layers: list[Any], budget: Any, seconds: float = 30.0) -> dict[str, Any]:
    """CP-SAT on the same choice, its options listed beforehand from the solver's own bindings of single layers."""
    from knapsacks import Instance, Option, solve

    options = {}
    for layer in set(layers):
        sizes = {}
        for share in (2.0**-k for k in range(0, 24)):
            try:
                bound = kernel.bind([layer], Budget(flops=share))[0]
            except Infeasible:
                break
            sizes[tuple(bound.sizes.values())] = Option((), bound.flops, bound.params, bound.memory)
        options[layer] = tuple(sizes.values())

    class Listed(Instance):
        def choices(self) -> list[tuple[Any, ...]]:
            return [options[layer] for layer in self.layers]

    start = time.process_time()
    try:
        found = solve(Listed(kernel, tuple(layers), budget), seconds)
        state = "optimal" if found else "infeasible"
    except AssertionError as error:
        state = str(error).split("\n")[0]
    return {"ms": 1e3 * (time.process_time() - start), "state": state}


def fixed_use(kernel: Any, layers: list[Any], allowed: float) -> float:
    """FLOPs with every free size one of 1, 2, 4, 8 for the whole network, the most within the budget; 0: none fits."""
    names = sorted(kernel.bind([Layer(720, 720, (8, 8))])[0].sizes)
    best = 0
    for values in itertools.product((1, 2, 4, 8), repeat=len(names)):
        try:
            flops = canvas.parse(substituted(kernel, dict(zip(names, values, strict=True)))).bind(layers).flops
        except ValueError:
            continue
        if best < flops <= allowed:
            best = flops
    return best


def use(name: str, part: float, count: int) -> dict[str, Any]:
    layers = load(name)
    allowed = part * sum(layer.flops for layer in layers)
    ours, fixed = [], []
    for kernel in sampled(few(layers), count, Budget(flops=part)):
        try:
            binding = kernel.bind(layers, Budget(flops=part))
            most = min(allowed, kernel.bind(layers).flops)
        except Infeasible:
            continue
        ours.append(binding.flops / most)
        fixed.append(fixed_use(kernel, layers, allowed) / most)
    return {"kernels": len(ours), "solver": spread(ours), "one_of_1_2_4_8": spread(fixed)}


def oracle(instances: int) -> dict[str, int]:
    from knapsacks import random_instance, solve

    rng, equal, infeasible = random.Random(1), 0, 0
    for _ in range(instances):
        instance = random_instance(rng)
        expected = solve(instance)
        try:
            binding = instance.kernel.bind(list(instance.layers), instance.budget)
            equal += expected is not None and binding.flops * binding.params == expected[0] * expected[1]
        except Infeasible:
            equal += expected is None
            infeasible += 1
    return {"instances": instances, "equal": equal, "infeasible": infeasible}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--kernels", type=int, default=1000)
    parser.add_argument("--cp-sat", type=int, default=5)
    parser.add_argument("--instances", type=int, default=0)
    asked = parser.parse_args()
    result: dict[str, Any] = {"machine": platform.machine(), "limits": THREE, "bind": {}, "use": {}}

    def write() -> None:
        asked.out.write_text(json.dumps(result, indent=1) + "\n")

    for name in ("resnet50", "densenet121"):
        result["bind"][name] = bind_times(name, asked.kernels, asked.cp_sat)
        write()
    for name, part in itertools.product(NETWORKS, (0.25, 0.5, 1.0)):
        result["use"][f"{name} {part}"] = use(name, part, asked.kernels)
        write()
    if asked.instances:
        result["oracle"] = oracle(asked.instances)
    write()


if __name__ == "__main__":
    main()
