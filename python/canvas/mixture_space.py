"""The mixtures of a study's kernels, and what is known of them before any is trained: what each costs, which keep a
budget. `combine.py` looks for the best of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import canvas._core as _core
from canvas.errors import UserError
from canvas.layers import Target
from canvas.mixture import Mixture, bind_served, stages
from canvas.session import budget_fields, layer_of, rules_of

if TYPE_CHECKING:
    from canvas.study import Study

MOST_KERNELS = 6  # of the front, by default
LISTED = 32  # mixtures that `Space.best` gives

Picks = tuple[int, ...]  # for each stage the kernel, by its place in the list


class Space:
    """The mixtures of a study's kernels, and what is known of them before any is trained."""

    def __init__(
        self, study: Study, budget: Any, by: str, kernels: Iterable[_core.Kernel] | None, original: bool
    ) -> None:
        self.targets = [Target(one["name"], layer_of(one["layer"])) for one in study.settings["targets"]]
        if not self.targets:
            raise UserError("combine: the study was made for bare layers; make it with what canvas.targets gives")
        self.stages = stages(self.targets, by)
        given = _front(study) if kernels is None else list(kernels)
        found = {kernel.hash: kernel for kernel in given}
        rules = rules_of(study.settings)
        bound = {key: bind_served(one, study.layers, study.budget, rules) for key, one in found.items()}
        self.kernels: list[_core.Kernel | None] = [found[key] for key, binding in bound.items() if binding is not None]
        self.bindings: list[_core.Binding | None] = [binding for binding in bound.values() if binding is not None]
        if original:
            self.kernels, self.bindings = [None, *self.kernels], [None, *self.bindings]
        if len(self.kernels) < 2:
            raise UserError("combine: there are fewer than two kernels to combine; search longer, or name some")
        self.limits = _limits(budget, self.targets)
        self.costs = [[self._costs(own, k) for k in range(len(self.kernels))] for own in self.stages.values()]
        self._check()

    def _costs(self, own: Sequence[Any], kernel: int) -> dict[str, float] | None:
        """What a kernel costs in a stage; None where it cannot stand."""
        made = self.kernels[kernel]
        if made is not None and not all(made.serves(target.layer) for target in own):
            return None
        mixture = Mixture(own, {target.name: self.bindings[kernel] for target in own})
        if mixture.memory > self.limits["memory"]:
            return None
        return {"flops": mixture.flops, "params": mixture.params}

    def _check(self) -> None:
        """That there is a mixture within the limits that are known beforehand."""
        for stage, costs in zip(self.stages, self.costs, strict=True):
            if not any(costs):
                raise UserError(f"combine: no kernel can stand in stage {stage} within the budget's memory")
        for name in ("flops", "params"):
            least = sum(min(cost[name] for cost in costs if cost) for costs in self.costs)
            whole = sum(getattr(target.layer, name) * target.layer.count for target in self.targets)
            if least > self.limits[name]:
                raise UserError(
                    f"combine: no mixture of these kernels keeps the budget: {name} are {least / whole:.3f} of the"
                    f" original's at least, the budget is {self.limits[name] / whole:.3f}; raise it, or name others"
                )

    def hashes(self, picks: Picks) -> dict[str, str | None]:
        """By the target's name the hash of its kernel."""
        return {target.name: kernel and kernel.hash for target, kernel in self._held(picks, self.kernels)}

    def mixture(self, picks: Picks) -> Mixture:
        return Mixture(self.targets, {target.name: binding for target, binding in self._held(picks, self.bindings)})

    def names(self, picks: Picks) -> dict[str, str]:
        made = (self.kernels[pick] for pick in picks)
        return {stage: "original" if one is None else one.name for stage, one in zip(self.stages, made, strict=True)}

    def _held(self, picks: Picks, things: Sequence[Any]) -> list[tuple[Any, Any]]:
        stood = zip(self.stages.values(), picks, strict=True)
        return [(target, things[pick]) for own, pick in stood for target in own]

    def uniform(self, kernel: int) -> Picks | None:
        """One kernel everywhere, where it can stand."""
        return (kernel,) * len(self.stages) if all(costs[kernel] for costs in self.costs) else None

    def within(self, picks: Picks, metrics: Mapping[str, float]) -> bool:
        """Whether a mixture that was measured keeps all limits."""
        chosen = [costs[pick] for costs, pick in zip(self.costs, picks, strict=True)]
        exact = all(cost is not None for cost in chosen) and all(
            sum(cost[name] for cost in chosen if cost) <= self.limits[name] for name in ("flops", "params")
        )
        return exact and metrics.get("latency_ratio", 0.0) <= self.limits["latency"]

    def best(self, losses: np.ndarray, latencies: np.ndarray) -> list[Picks]:
        """The mixtures within the limits that lose least, by stage and kernel."""
        groups, places = [], []
        for costs, loss, latency in zip(self.costs, losses, latencies, strict=True):
            own = [(k, cost) for k, cost in enumerate(costs) if cost]
            places.append([k for k, _ in own])
            groups.append([(loss[k], [cost["flops"], cost["params"], latency[k]]) for k, cost in own])
        limits = [self.limits[name] for name in ("flops", "params", "latency")]
        found, _ = _core.assign(groups, limits, LISTED)
        return [tuple(own[pick] for own, pick in zip(places, picks, strict=True)) for picks, _ in found]


def _front(study: Study) -> list[_core.Kernel]:
    """The kernels of the front, those spread evenly over it where they are many."""
    front = study.front()
    chosen = sorted({round(i * (len(front) - 1) / (MOST_KERNELS - 1)) for i in range(MOST_KERNELS)}) if front else []
    return [front[i].kernel for i in chosen]


def _limits(budget: Any, targets: Sequence[Any]) -> dict[str, float]:
    """The most of each resource: amounts, latency as a fraction of the original's."""
    if budget is None or not any(getattr(budget, name) for name in ("flops", "params", "memory", "latency")):
        raise UserError("combine: say what to stay within, such as budget=canvas.Budget(latency=0.5)")
    budget_fields(budget)  # refuses an amount of latency
    whole = {name: sum(getattr(t.layer, name) * t.layer.count for t in targets) for name in ("flops", "params")}
    whole |= {"memory": max(target.layer.memory for target in targets), "latency": 1}
    limits = {}
    for name, original in whole.items():
        limit = getattr(budget, name)
        amount = isinstance(limit, _core.Amount)
        limits[name] = math.inf if limit is None else limit.high if amount else limit[1] * original
    return limits
