"""One run of a study: asks the search, has candidates evaluated, stores and tells the results.

The one place where search (`canvas._core.Search`), `executor.py` and `store.py` meet; `study.py` opens it. A result
is stored before it is told, and candidate i depends on the results up to i - lookahead alone, so that an interrupted
study goes on exactly as if nothing had happened. Knows nothing of training.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import canvas._core as _core
from canvas.errors import StudyError, UserError
from canvas.executor import Executor
from canvas.objectives import bar, beats, costs, known_costs, pareto, rung_point
from canvas.progress import Status
from canvas.store import Record, Store
from canvas.worker import Pruned, Report

if TYPE_CHECKING:
    from canvas.ray_executor import RayExecutor

WARM_UP = 16  # so many of an interrupted study's candidates are asked for anew, ...
CHECKED = 64  # ... and one of so many after these
REDUCTION = 3  # of so many candidates that reach a rung one goes on, as in successive halving ...
COMPARED = 256  # ... compared with so many that came before it


class Session:
    """One call of `Study.run`: the study's file is open for driving, and the workers are there.

    `networks`: a folder where the evaluation keeps trained networks by their kernels' hashes.

    A fresh search is first driven through the stored candidates; it must ask for the same ones.

    Raises:
        StudyError: it asks for others.
    """

    def __init__(
        self,
        store: Store,
        executor: Executor | RayExecutor,
        show: Callable[[Status], None],
        candidates: int | None,
        minutes: float | None,
        networks: Path | None = None,
    ) -> None:
        self.networks = networks
        self.store, self.executor, self.show = store, executor, show
        self.candidates, self.minutes = candidates, minutes
        self.start = time.monotonic()
        settings = store.settings()
        self.objectives: list[str] = settings["objectives"]
        self.rungs: list[str] = settings["rungs"]
        self.margin: list[float] = settings.get("margin", [])
        self.lookahead: int = settings["lookahead"]
        self.search = new_search(settings)
        self.trials: list[Record] = []
        self.pending: list[Record] = []  # asked before, not yet told
        self.states: Counter[str] = Counter()  # of those told
        self.came = {rung: deque[list[float]](maxlen=COMPARED) for rung in self.rungs}  # who reached each rung last ...
        self.counted = 0  # ... of so many candidates
        self.exhausted: _core.Infeasible | None = None
        records = store.records()
        for record in records:
            check = record.index < WARM_UP or record.index % CHECKED == 0 or record.index == len(records) - 1
            self._replay(record, check)
        self.before = Counter(store.counts())  # what the search counts is short of these
        self.before.subtract(self.search.counts)
        self.front = pareto(self.trials, self.objectives)
        self._drop_networks(self.trials)
        self.earlier = len(self.trials) - len(self.pending)

    def go(self) -> None:
        """Until the goal is reached and nothing is under way."""
        self.show(self._status())
        while True:
            while self.executor.free and (trial := self._next()):
                self.executor.submit(trial.index, (trial.text, self._bars(trial.index)))
            if not self.executor.running:
                break
            for outcome in self.executor.wait(0.5):
                self.store.tell(outcome.key, outcome.state, outcome.reason, outcome.metrics)
                self._tell(outcome.key, outcome.state, outcome.reason, outcome.metrics)
                among = [*self.front, self.trials[outcome.key]]
                self.front = pareto(among, self.objectives)
                self._drop_networks(among)
            self.show(self._status())
        if self.exhausted and not self._reached():
            raise self.exhausted

    def _replay(self, stored: Record, check: bool) -> None:
        """Brings the search to where it was with this candidate; to check, by asking for it anew (slower)."""
        try:
            if check:
                candidate = self.search.ask()
                same = candidate is not None and (candidate.index, candidate.kernel.hash) == (stored.index, stored.hash)
            else:
                self.search.repeat(_core.parse(stored.text))
                same = True
        except ValueError:  # no kernel any more, or none that fits
            same = False
        if not same:
            raise StudyError(
                f"{self.store.path}: made by another version of Canvas (candidate {stored.index} comes out"
                " differently); go on with that version, or start another study"
            )
        self.trials.append(stored)
        if stored.state == "running":
            self.pending.append(stored)
        else:
            self._tell(stored.index, stored.state, stored.reason, stored.metrics)

    def _next(self) -> Record | None:
        """The next candidate to evaluate: first those that an interrupted run left. None: no more, or none yet."""
        if self.pending:
            self.store.again(self.pending[0].index)
            return self.pending.pop(0)
        if self.exhausted or self._reached():
            return None
        try:
            candidate = self.search.ask()
        except _core.Infeasible as error:
            self.exhausted = error
            return None
        if candidate is None:
            return None
        record = Record(candidate.index, candidate.kernel.hash, str(candidate.kernel), candidate.origin)
        self.store.ask(record, {name: value + self.before[name] for name, value in self.search.counts.items()})
        self.trials.append(record)
        return record

    def _bars(self, index: int) -> dict[str, list[Sequence[float]]]:
        """What keeps candidate `index` from going on behind each rung, by the results that it may depend on."""
        for trial in self.trials[self.counted : max(0, index + 1 - self.lookahead)]:  # candidates start in order
            self.counted += 1
            for rung in self.rungs:
                if math.isfinite(trial.metrics.get(rung, math.nan)):
                    self.came[rung].append(rung_point(trial.metrics, rung, self.objectives))
        return {rung: bar(list(points), REDUCTION) + self._floor(points) for rung, points in self.came.items()}

    def _floor(self, points: Sequence[Sequence[float]]) -> list[Sequence[float]]:
        """What beats all that are too far below the best of these in accuracy."""
        best = min((point[0] for point in points), default=0.0)
        return [[best + margin, *[-math.inf] * (len(points[0]) - 1)] for margin in self.margin if points]

    def _tell(self, index: int, state: str, reason: str, metrics: dict[str, float]) -> None:
        self.trials[index] = replace(self.trials[index], state=state, reason=reason, metrics=metrics)
        self.states[state] += 1
        if state == "complete":
            self.search.tell(index, costs(metrics, self.objectives))
        else:
            self.search.tell(index, None, known_costs(metrics, self.objectives) if state == "pruned" else [])

    def _drop_networks(self, among: Sequence[Record]) -> None:
        """Of the trained networks that are kept, those of the front stay."""
        kept = {trial.hash for trial in self.front}
        for trial in among:
            if self.networks is not None and trial.state != "running" and trial.hash not in kept:
                (self.networks / f"{trial.hash}.pt").unlink(missing_ok=True)

    def _reached(self) -> bool:
        late = self.minutes is not None and time.monotonic() - self.start >= 60 * self.minutes
        return late or (self.candidates is not None and len(self.trials) >= self.candidates)

    def _status(self) -> Status:
        return Status(
            trials=self.trials,
            front=self.front,
            candidates=self.candidates,
            minutes=self.minutes,
            seconds=time.monotonic() - self.start,
            earlier=self.earlier,
            running=list(self.executor.running.values()),
            told=self.states.total(),
            failed=self.states["failed"],
        )


class Judge:
    """The evaluation as a worker runs it: from a kernel's text (None: no kernel) to its metrics, all objectives among
    them. Where `strict` is off, the budget still sizes a kernel that can meet it, but turns none down."""

    def __init__(
        self, evaluate: Callable[..., Mapping[str, float]], settings: Mapping[str, Any], strict: bool = True
    ) -> None:
        self.evaluate, self.strict = evaluate, strict
        self.settings = {name: settings[name] for name in ("layers", "budget", "objectives", "seed", "limits")}

    def prepare(self) -> None:
        self.layers, self.budget = layers_of(self.settings), budget_of(self.settings)
        getattr(self.evaluate, "prepare", lambda: None)()

    def __call__(
        self, text: str | None, bars: Mapping[str, Sequence[Sequence[float]]], report: Report
    ) -> Mapping[str, float]:
        known: dict[str, float] = {}

        def checked(done: float, metrics: Mapping[str, float]) -> None:
            report(done, metrics)
            known.update(metrics)
            if self.strict:
                hold_latency(known, self.settings["budget"])
            for rung in bars.keys() & metrics.keys():
                point = rung_point(known, rung, self.settings["objectives"])
                if better := [other for other in bars[rung] if beats(other, point)]:
                    raise Pruned(f"{rung} is {-point[0]:.4g}, not among the best ({-better[0][0]:.4g} beats it)")

        binding = text and self._bind(_core.parse(text, "candidate.canvas"))
        metrics = self.evaluate(binding, self.settings["seed"], report=checked)
        if isinstance(metrics, Mapping):  # otherwise the worker says so
            checked(1.0, metrics)
            costs(metrics, self.settings["objectives"])
            if silent := bars.keys() - known.keys():
                given = ", ".join(sorted(known))
                raise UserError(f"the evaluation gives no value for the rung {min(silent)!r}; it gives {given}")
        return metrics

    def _bind(self, kernel: Any) -> Any:
        rules = rules_of(self.settings)
        try:
            return kernel.bind(self.layers, self.budget, **rules)
        except _core.Infeasible:
            if self.strict:
                raise
            return kernel.bind(self.layers, **rules)


def hold_latency(metrics: Mapping[str, float], budget: Mapping[str, Any] | None) -> None:
    """Ends a candidate that is over a stored budget's limit on latency, or is predicted to be.

    Raises:
        Pruned: it is; the reason says by how much.

    Example:
        >>> hold_latency({"latency_ratio": 0.4}, {"latency": [0.0, 0.5]})
    """
    limit: Any = budget and budget["latency"]
    limit = limit[1] if isinstance(limit, (list, tuple)) else limit
    if limit is None:
        return
    if metrics.get("latency_ratio", 0.0) > limit:
        raise Pruned(f"latency is {metrics['latency_ratio']:.3f} of the original's, the budget is {limit:g}")
    if "latency_ratio" not in metrics and metrics.get("latency_predicted_low", 0.0) > limit:
        least = metrics["latency_predicted_low"]
        raise Pruned(f"latency is predicted to be {least:.3f} of the original's at least, the budget is {limit:g}")


def new_search(settings: Mapping[str, Any]) -> Any:
    """The search that a study's settings describe, at its beginning.

    Raises:
        UserError: a setting is out of range.
    """
    names = ("seed", "strategy", "lookahead")
    try:
        return _core.Search(
            layers_of(settings),
            budget=budget_of(settings),
            **{name: settings[name] for name in names},
            first=[_core.parse(text, "start.canvas") for text in settings.get("start", ())],
            prior=settings.get("prior", []),
            distinct=settings.get("distinct", "form"),  # of studies from before this was told
            **settings["limits"],
        )
    except ValueError as error:
        raise UserError(str(error)) from error


def layers_of(settings: Mapping[str, Any]) -> list[Any]:
    """The layers of a study's settings."""
    return [layer_of(fields) for fields in settings["layers"]]


def layer_of(fields: Mapping[str, Any]) -> Any:
    """A layer as stored."""
    return _core.Layer(**{**fields, "spatial": tuple(fields["spatial"])})


def rules_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """How a study chooses free sizes: what `Kernel.bind` takes besides layers and budget."""
    return {name: settings["limits"][name] for name in ("share", "multiple_of") if name in settings["limits"]}


def budget_of(settings: Mapping[str, Any]) -> Any:
    """The budget of a study's settings, or None."""
    return settings["budget"] and _budget(settings["budget"])


def _budget(fields: Mapping[str, Any]) -> Any:
    limits = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    for name, value in fields.items():
        if name == "each":
            limits[name] = _budget(value)
        elif isinstance(value, Mapping):
            low, high = value["amount"]
            limits[name] = _core.Amount(high, low=low)
    return _core.Budget(**limits)


def budget_fields(budget: Any) -> dict[str, Any] | None:
    """A budget as JSON gives it back: each limit None, [low, high] or {"amount": [low, high]}; `each` where there is
    one."""
    if budget is None:
        return None
    fields: dict[str, Any] = {}
    for name in ("flops", "params", "memory", "latency"):
        limit = getattr(budget, name)
        if isinstance(limit, _core.Amount):
            if name == "latency":
                raise UserError(
                    "budget latency: a study measures it beside the original's; give a fraction, such as 0.7"
                )
            fields[name] = {"amount": [limit.low, limit.high]}
        else:
            fields[name] = limit and list(limit)
    return fields if budget.each is None else {**fields, "each": budget_fields(budget.each)}
