"""Measures the solver of budgets and writes JSON: `python benchmarks/solver/run.py OUT.json`, --help for its options.
What OUT.json holds already is not measured again.

- bind: CPU time of one `Kernel.bind` on ResNet-50 (53 layers), DenseNet-121 (120) and GPT-2 (48) with three limits,
  every layer by itself, for kernels with a free size, sampled for a few of the layers within the same limits (the
  quicker of two binds); CP-SAT (one thread) on some of the same problems beside it, and kernels of the zoo or with
  sizes that divide nothing.
- latency: the same with a limit on latency, for made-up prices that grow unevenly (a launch, FLOPs at 0.7 to 1.3 of
  their usual time, memory), with and without limits on parameters and FLOPs.
- use: FLOPs used, of what the budget allows or of what the kernel can use at most (the smaller), for sampled kernels
  with a free size at 0.25, 0.5 and 1.0 of the original's FLOPs; beside it free sizes set to one of 1, 2, 4, 8 for the
  whole network (halved on layers where that is not legal), the best of them. The same for the peak memory of
  activations at 1.0, 1.5 and 2.0, where only the layer that takes most counts.
- oracle: random instances on which optimum and feasibility equal CP-SAT's.
- bad: seconds, memory and the answer for networks and budgets that ask too much.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import multiprocessing
import platform
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(Path(__file__).parent)]

from shapes import load  # noqa: E402

import canvas  # noqa: E402
from canvas import Budget, Infeasible, Layer  # noqa: E402
from shuffling import substituted  # noqa: E402

THREE = {"flops": 0.5, "params": 0.5, "memory": 4.0}
TIMES = {
    "latency": {"latency": 0.5},
    "latency, parameters": {"latency": 0.4, "params": 0.3},
    "latency, parameters, FLOPs": {"latency": 0.6, "params": 0.5, "flops": 0.5},
}
PARTS = (0.25, 0.5, 1.0)
PEAKS = (1.0, 1.5, 2.0)
NETWORKS = ("resnet18", "resnet50", "densenet121", "mobilenetv2", "convnext_t", "gpt2")
TIMED = ("resnet50", "densenet121", "gpt2")


def variables(kernel: Any) -> list[str]:
    """The names of its free sizes."""
    wide = Layer(720, 720, (8, 8))
    return sorted(kernel.bind([wide if kernel.serves(wide) else Layer(720, 720, tokens=8)])[0].sizes)


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


def timed(kernel: Any, layers: list[Any], budget: Any, prices: Any = None) -> tuple[float, Any]:
    """Milliseconds of CPU that one bind takes, the lesser of two, and its binding; None where it is refused."""
    best, binding = float("inf"), None
    for _ in range(2):
        start = time.process_time()
        with contextlib.suppress(Infeasible):
            binding = kernel.bind(layers, budget, prices=prices)
        best = min(best, 1e3 * (time.process_time() - start))
    return best, binding


def bind_times(name: str, count: int, cp_sat: int) -> dict[str, Any]:
    layers, budget = load(name), Budget(**THREE)
    kernels = sampled(few(layers), count, budget)
    timings = [timed(kernel, layers, budget) for kernel in kernels]
    bound = [(ms, binding) for ms, binding in timings if binding]
    refused = [ms for ms, binding in timings if not binding]
    gaps = [binding.gap for _, binding in bound]
    result = {"kernels": count, "bound": len(bound), "refused": len(refused)}
    result |= {"bind_ms": spread([ms for ms, _ in bound]), "refuse_ms": spread(refused) if refused else None}
    result |= {"proven_best": gaps.count(0), "gap": spread(gaps)}
    result["by_hand"] = {}
    for title, kernel in written(layers[0]).items():
        ms, binding = timed(kernel, layers, budget)
        result["by_hand"][title] = {"ms": ms, "gap": binding.gap if binding else None}
    fitting = [kernel for kernel, (_, binding) in zip(kernels, timings, strict=True) if binding]
    result["cp_sat"] = [cp_sat_time(kernel, layers, budget) for kernel in fitting[:cp_sat]]
    return result


def made_up_prices(kernel: Any, layers: list[Any], seed: int) -> Any:
    rng, options = random.Random(seed), {}
    for layer in dict.fromkeys(layers):
        listed = kernel.options(layer)
        options[layer] = [(o, 1e-5 + 1e-11 * o.flops * rng.uniform(0.7, 1.3) + 1e-10 * o.memory) for o in listed]
    original = sum(layer.count * (1e-5 + 1e-11 * layer.flops + 1e-10 * layer.memory) for layer in layers)
    return canvas.Prices(original, [options[layer] for layer in layers])


def latency(name: str, count: int) -> dict[str, Any]:
    layers, result = load(name), {}
    kernels = sampled(few(layers), count, Budget(**THREE))
    prices = [made_up_prices(kernel, layers, seed) for seed, kernel in enumerate(kernels)]
    for title, limits in TIMES.items():
        budget = Budget(**limits)
        timings = [timed(kernel, layers, budget, made) for kernel, made in zip(kernels, prices, strict=True)]
        bound = [(ms, binding.gap) for ms, binding in timings if binding]
        result[title] = {"bound": len(bound), "refused": len(timings) - len(bound)}
        result[title] |= {"bind_ms": spread([ms for ms, _ in bound]), "gap": spread([gap for _, gap in bound])}
    return result


def written(layer: Any) -> dict[str, Any]:
    """Kernels of the zoo with a free size that serve the layer, and two whose free sizes divide nothing."""
    found = {title: kernel for title, kernel in canvas.zoo().items() if kernel.serves(layer)}
    found = {title: kernel for title, kernel in found.items() if variables(kernel)}
    head, tail = "(x[C, H, W]) -> [K, H/s, W/s]:\n  a = fc(subsample(x, H: s, W: s), [C] -> [m])\n", "] -> [K])\n"
    if not layer.spatial:
        head = "(x[C]) -> [K]:\n  a = fc(x, [C] -> [m])\n"
    found["one range"] = canvas.parse(f"kernel one{head}  return fc(relu(a), [m{tail}")
    found["two ranges"] = canvas.parse(f"kernel two{head}  b = fc(relu(a), [m] -> [n])\n  return fc(b, [n{tail}")
    return found


def cp_sat_time(kernel: Any, layers: list[Any], budget: Any, seconds: float = 20.0) -> dict[str, Any]:
    """CP-SAT on the same choice, each layer's options listed beforehand."""
    from knapsacks import Instance, Option, Unproven, solve

    options = {}
    for layer in set(layers):
        fixed = [canvas.parse(substituted(kernel, choice)).bind([layer]) for choice in kernel.sizes.choices(layer)]
        options[layer] = tuple(Option((), one.flops, one.params, one.memory) for one in fixed)

    class Listed(Instance):
        def choices(self) -> list[tuple[Any, ...]]:
            return [options[layer] for layer in self.layers]

    start = time.process_time()
    try:
        found = solve(Listed(kernel, tuple(layers), budget), seconds)
        state, product = "optimal" if found else "infeasible", found[0] * found[1] if found else 0
    except Unproven as unproven:
        state, product = unproven.args
    ours = kernel.bind(layers, budget)
    reached = (product / (ours.flops * ours.params)) ** 0.5
    return {"ms": 1e3 * (time.process_time() - start), "state": state, "of_ours": reached}


def fixed_uses(kernel: Any, layers: list[Any]) -> list[int]:
    """FLOPs with every free size one of 1, 2, 4, 8 for the whole network, halved on layers where that is not legal."""
    names = variables(kernel)
    choices = list(itertools.product((1, 2, 4, 8), repeat=len(names)))
    kernels: dict[tuple[int, ...], Any] = {}
    for values in choices:
        with contextlib.suppress(canvas.KernelError):  # legal nowhere
            kernels[values] = canvas.parse(substituted(kernel, dict(zip(names, values, strict=True))))
    totals = [0] * len(choices)
    for layer, times in Counter(layers).items():
        flops: dict[tuple[int, ...], int] = {}
        for values in choices:
            flops[values] = flops.get(tuple(max(1, value // 2) for value in values), 0)
            with contextlib.suppress(Infeasible, KeyError):
                flops[values] = kernels[values].bind([layer]).flops
        totals = [total + times * flops[values] for total, values in zip(totals, choices, strict=True)]
    return totals


def use(name: str, count: int) -> dict[str, Any]:
    """What fits the smallest budget fits them all, so that they are compared on the same kernels."""
    layers = load(name)
    original = sum(layer.flops for layer in layers)
    ours: dict[float, list[float]] = {part: [] for part in PARTS}
    fixed: dict[float, list[float]] = {part: [] for part in PARTS}
    for kernel in sampled(few(layers), count, Budget(flops=min(PARTS))):
        try:
            used = {part: kernel.bind(layers, Budget(flops=part)).flops for part in PARTS}
        except Infeasible:  # it fits the few layers that it was sampled for
            continue
        most, uses = kernel.bind(layers).flops, fixed_uses(kernel, layers)
        for part in PARTS:
            allowed = min(part * original, most)
            ours[part].append(used[part] / allowed)
            fixed[part].append(max((flops for flops in uses if flops <= part * original), default=0) / allowed)
    return {
        str(part): {"kernels": len(ours[part]), "solver": spread(ours[part]), "one_of_1_2_4_8": spread(fixed[part])}
        for part in PARTS
    }


def peak(name: str, count: int) -> dict[str, Any]:
    """Memory used of what is allowed, or of what the kernel takes at most; how many kernels fit."""
    layers = load(name)
    original = max(layer.memory for layer in layers)
    used: dict[float, list[float]] = {part: [] for part in PEAKS}
    for kernel in sampled(few(layers), count, Budget(memory=max(PEAKS))):
        try:
            most = kernel.bind(layers).memory
        except Infeasible:  # legal on the few layers that it was sampled for
            continue
        for part in PEAKS:
            with contextlib.suppress(Infeasible):
                used[part].append(kernel.bind(layers, Budget(memory=part)).memory / min(part * original, most))
    return {str(part): {"kernels": len(used[part]), "solver": spread(used[part])} for part in PEAKS if used[part]}


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


def bad_cases() -> dict[str, Callable[[], Any]]:
    rng, zoo = random.Random(1), canvas.zoo()
    low_rank, dense, ranges = zoo["low_rank"], zoo["dense"], written(Layer(8, 8))["two ranges"]
    many = [Layer(rng.randrange(1, 2048), rng.randrange(1, 2048), (7, 7)) for _ in range(10_000)]
    prime, too_large = 1_000_003, 2**31 - 1
    return {
        "no channels": lambda: Layer(0, 8),
        "2^40 channels": lambda: Layer(2**40, 8),
        "an extent of -1": lambda: Layer(8, 8, (-1, 4)),
        "prime channels": lambda: low_rank.bind([Layer(prime, prime, (1, 1))]),
        "prime channels that are too many": lambda: low_rank.bind([Layer(too_large, too_large, (1, 1))]),
        "largest extents": lambda: low_rank.bind([Layer(2**31, 2**31, (2**31, 2**31))]),
        "another kind of layer": lambda: dense.bind([Layer(8, 8, (16,))]),
        "a divisor that is not there": lambda: zoo["ghost"].bind([Layer(7, 7)]),
        "limits that contradict": lambda: dense.bind([Layer(8, 8)], Budget(flops=(0.9, 1.1), params=0.1)),
        "10,000 layers": lambda: low_rank.bind(many, Budget(flops=0.5, params=0.5, memory=8.0)),
        "10,000 layers, a budget out of reach": lambda: low_rank.bind(many, Budget(flops=1e-5)),
        "10,000 layers, one size": lambda: low_rank.bind(many, Budget(flops=0.5), share="network"),
        "10,000 layers, two ranges": lambda: ranges.bind(many, Budget(flops=0.5, params=0.5)),
        "10,000 equal layers": lambda: low_rank.bind([Layer(96, 96)] * 10_000, Budget(flops=0.5, params=0.5)),
        "two ranges of 2^33": lambda: ranges.bind([Layer(2**31, 2**31, (1, 1))], Budget(flops=0.5)),
    }


def apart(case: Callable[[], Any]) -> dict[str, Any]:
    """Seconds, megabytes more and the answer, in a process of its own."""
    ours, theirs = multiprocessing.Pipe()

    def run() -> None:
        before, start = memory("VmRSS"), time.process_time()
        try:
            answer = f"gap {case().gap:.2g}"
        except ValueError as error:
            answer = str(error)
        theirs.send((time.process_time() - start, max(0.0, memory("VmHWM") - before), answer))

    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    seconds, megabytes, answer = ours.recv()
    child.join()
    return {"seconds": round(seconds, 4), "megabytes": round(megabytes, 1), "answer": answer}


def memory(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--kernels", type=int, default=1000)
    parser.add_argument("--cp-sat", type=int, default=5)
    parser.add_argument("--instances", type=int, default=0)
    asked = parser.parse_args()
    result: dict[str, Any] = {"machine": platform.machine(), "limits": THREE, "cpu_seconds": 0.0}
    if asked.out.exists():
        result = json.loads(asked.out.read_text())
    steps: list[tuple[str, str, Callable[[], Any]]] = []
    steps += [("bind", name, lambda name=name: bind_times(name, asked.kernels, asked.cp_sat)) for name in TIMED]
    steps += [("latency", name, lambda name=name: latency(name, asked.kernels // 10)) for name in TIMED]
    steps += [("use", name, lambda name=name: use(name, asked.kernels)) for name in NETWORKS]
    steps += [("peak", name, lambda name=name: peak(name, asked.kernels)) for name in NETWORKS]
    steps += [("oracle", "random", lambda: oracle(asked.instances))] * (asked.instances > 0)
    steps += [("bad", title, lambda case=case: apart(case)) for title, case in bad_cases().items()]
    for part, name, step in steps:
        if name in result.setdefault(part, {}):
            continue
        start = time.process_time()
        result[part][name] = step()
        result["cpu_seconds"] += time.process_time() - start
        asked.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
