"""Random budgets for random networks, and what OR-Tools makes of them: the independent oracle of `bind`.

Each layer's options are found by trial: the kernel's text with numbers in place of its free sizes is bound to that
layer alone, so that nothing of the solver under test is used. `tests/test_solver.py` and `benchmarks/solver` call this.
"""

from __future__ import annotations

import functools
import itertools
import math
import random
from dataclasses import dataclass
from typing import Any

from ortools.sat.python import cp_model

import canvas
from canvas import Amount, Budget, Kernel, Layer
from shuffling import substituted

COSTS = ("flops", "params", "memory")

KERNELS = [
    "a = fc(x, [C] -> [m = C/r])\n  return fc(subsample(a, H: s, W: s), [m] -> [K])",
    "a = fc(unfold(x, H: 3, W: 3), [C, h, w] -> [m = K/r])\n  return fc(subsample(a, H: s, W: s), [m] -> [K])",
    "y = split(subsample(x, H: s, W: s), [C] -> [g, c = C/g])\n  z = fc(y, [c] -> [k = K/g], per: [g])\n"
    "  return merge(z, [k, g] -> [K])",
    "a = fc(x, [C] -> [m = C/r])\n  b = fc(subsample(relu(a), H: s, W: s), [m] -> [n = K/q])\n"
    "  return fc(b, [n] -> [K])",
]


def kernels() -> list[Kernel]:
    """Kernels with one and two free sizes, divisors all."""
    return [canvas.parse(f"kernel k{i}(x[C, H, W]) -> [K, H/s, W/s]:\n  {body}\n") for i, body in enumerate(KERNELS)]


@dataclass(frozen=True)
class Option:
    sizes: tuple[int, ...]
    flops: int
    params: int
    memory: int


class Unproven(AssertionError):
    """CP-SAT ran out of time: its state, and the product of FLOPs and parameters that it had reached."""


@functools.cache
def options(text: str, layer: Layer) -> tuple[Option, ...]:
    """All legal sizes on one layer, by trial of every number up to the layer's channels."""
    kernel = canvas.parse(text)
    names = sorted(kernel.bind([Layer(720, 720, (4, 4))])[0].sizes)
    found = []
    for values in itertools.product(range(1, max(layer.c_in, layer.c_out) + 1), repeat=len(names)):
        try:
            bound = canvas.parse(substituted(kernel, dict(zip(names, values, strict=True)))).bind([layer])[0]
        except ValueError:
            continue
        found.append(Option(values, bound.flops, bound.params, bound.memory))
    return tuple(found)


@dataclass(frozen=True)
class Instance:
    kernel: Kernel
    layers: tuple[Layer, ...]
    budget: Budget

    def limits(self) -> dict[str, tuple[float, float]]:
        """Low and high of each limited cost, in amounts."""
        found = {}
        for cost in COSTS:
            limit = getattr(self.budget, cost)
            if limit is None:
                continue
            sums = [getattr(layer, cost) * layer.count for layer in self.layers]
            original = max(layer.memory for layer in self.layers) if cost == "memory" else sum(sums)
            absolute = isinstance(limit, Amount)
            low, high = (limit.low, limit.high) if absolute else limit
            found[cost] = (low, high) if absolute else (low * original, high * original)
        return found

    def choices(self) -> list[tuple[Option, ...]]:
        """The options of each layer that keep the limits on single layers."""
        found = []
        for layer in self.layers:
            legal = options(str(self.kernel), Layer(layer.c_in, layer.c_out, layer.spatial, stride=layer.stride))
            for cost in COSTS:
                limit = self.budget.each and getattr(self.budget.each, cost)
                if limit:
                    low, high = (part * getattr(layer, cost) for part in limit)
                    low, high = low * (1 - 1e-12), high * (1 + 1e-12)
                    legal = tuple(option for option in legal if low <= getattr(option, cost) <= high)
            found.append(legal)
        return found


def random_instance(rng: random.Random, most_layers: int = 5) -> Instance:
    channels = rng.choice([(4, 8, 16), (6, 12, 9), (8, 12), (7, 14), (10, 5)])
    layers = [
        Layer(
            rng.choice(channels), rng.choice(channels), (rng.choice([2, 6]),) * 2, rng.choice([1, 2]),
            count=rng.randint(1, 3),
        )
        for _ in range(rng.randint(1, most_layers))
    ]  # fmt: skip
    limits: dict[str, Any] = {}
    for cost in rng.sample(COSTS, rng.randint(1, 3)):
        high = math.exp(rng.uniform(-3.5, 0.3)) * (6 if cost == "memory" else 1)
        low = high * rng.uniform(0.3, 0.95)
        limits[cost] = (low, high) if rng.random() < 0.25 else high
        if rng.random() < 0.2:
            limits[cost] = Amount(high * sum(getattr(layer, cost) * layer.count for layer in layers))
    each = {}
    if rng.random() < 0.3:
        cost = rng.choice(COSTS)
        high = math.exp(rng.uniform(-2, 0)) * (4 if cost == "memory" else 1)
        each["each"] = Budget(**{cost: (high * rng.uniform(0, 0.5), high) if rng.random() < 0.4 else high})
    return Instance(rng.choice(kernels()), tuple(layers), Budget(**limits, **each))


def solve(instance: Instance, seconds: float = 30.0) -> tuple[int, int] | None:
    """FLOPs and parameters of the best choice as CP-SAT finds it, or None where it proves that there is none.

    It maximises the product of the two totals, as whole numbers.
    """
    model = cp_model.CpModel()
    choices, limits = instance.choices(), instance.limits()
    totals = {"flops": [], "params": []}
    peaks = []
    for layer, legal in zip(instance.layers, choices, strict=True):
        picks = [model.new_bool_var("") for _ in legal]
        model.add_exactly_one(picks) if picks else model.add_bool_or([])
        for pick, option in zip(picks, legal, strict=True):
            for cost, terms in totals.items():
                terms.append(layer.count * getattr(option, cost) * pick)
            low, high = limits.get("memory", (0, math.inf))
            if option.memory > high * (1 + 1e-12):
                model.add(pick == 0)
            elif option.memory * (1 + 1e-12) >= low:
                peaks.append(pick)
    if limits.get("memory", (0, 0))[0] > 0:
        model.add_bool_or(peaks)
    variables, bounds = [], []
    for cost, terms in totals.items():
        most = sum(
            layer.count * max((getattr(option, cost) for option in legal), default=0)
            for layer, legal in zip(instance.layers, choices, strict=True)
        )
        low, high = limits.get(cost, (0, math.inf))
        high = min(most, math.floor(high * (1 + 1e-12))) if high < math.inf else most
        low = math.ceil(low * (1 - 1e-12))
        if low > high:
            return None
        variables.append(model.new_int_var(low, high, cost))
        bounds.append(high)
        model.add(sum(terms) == variables[-1])
    product = model.new_int_var(0, bounds[0] * bounds[1], "product")
    model.add_multiplication_equality(product, variables)
    model.maximize(product)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.max_time_in_seconds = seconds
    status = solver.solve(model)
    if status == cp_model.INFEASIBLE:
        return None
    if status != cp_model.OPTIMAL:
        raise Unproven(solver.status_name(status), solver.objective_value if status == cp_model.FEASIBLE else 0.0)
    return solver.value(variables[0]), solver.value(variables[1])
