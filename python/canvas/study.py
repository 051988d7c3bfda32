"""A study: ask the search for candidates, have them evaluated in worker processes, tell it the results, store all of
it.

Made with its settings or opened again, run as often as one likes, and viewed at any time, also while it runs elsewhere.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from canvas.errors import NoStudy, StudyError, UserError
from canvas.executor import executor_of, usable_cores
from canvas.objectives import pareto
from canvas.prior import CANVAS, learned
from canvas.progress import Status, console_progress
from canvas.session import Judge, Session, budget_fields, budget_of, layers_of, new_search
from canvas.store import Record, Store, place_of
from canvas.trial import Trial, minutes_of

if TYPE_CHECKING:
    from canvas.postgresql import Address

LAYER_FIELDS = ("c_in", "c_out", "spatial", "stride", "window", "groups", "count", "tokens")
# What the sampler counts, in its order.
SAMPLED = ("tried", "illegal", "duplicate", "over_budget", "implausible", "outranked", "kept")


class Study:
    """A search for kernels, kept in one file, or in a PostgreSQL database.

    Opens the study in `path` if there is one (it must have been made with the same arguments), or makes a new one.

    Args:
        path: the study file; or a URL, `postgresql://USER@HOST/DATABASE?study=NAME` (see docs/search.md).
        layers: the layers to replace: what `canvas.targets` gives, or `canvas.Layer`s.
        budget: `canvas.Budget`, on the layers together and each by itself. Its latency limit is held against the metric
            `latency_ratio`.
        objectives: "accuracy" and "soft_accuracy" are maximised, anything else is minimised. Each is a metric of the
            evaluation's result ("latency" is the first of latency_ratio, latency_ms, latency).
        seed: decides all candidates, together with the results.
        strategy: "guided" (evolution, of whose children a model picks the most promising), "evolution" or "random".
        lookahead: candidate i depends on the results of candidates 0 to i - lookahead alone; so many can be under way
            at once.
        rungs: metrics (more is better) that the evaluation reports on its way, cheapest first, each standing for the
            accuracy: a candidate goes on past one only if it is in the best third, by non-dominated rank on all
            objectives, of the last 256 among candidates 0 to i - lookahead that came there (successive halving).
        margin: a candidate that is so much less accurate on a rung than the best of those before it ends there, however
            good it is otherwise.
        start: kernels to evaluate before all others, such as `canvas.zoo().values()`, but for those that do not serve
            the layers within the budget; the limits are not held against them.
        prior: what a guided search has learned before: "canvas", which comes with Canvas, and earlier studies (or their
            files or URLs), see `canvas.prior.learned`. Taken when the study is made; nothing: it learns all anew.
        note: anything to keep beside the settings (JSON values), such as how to evaluate.
        **limits: limits on the kernels sampled, as for `canvas.sample`, and how their free sizes are chosen (`share`,
            `multiple_of`), as for `Kernel.bind`.

    Raises:
        StudyError: the file cannot be used, or holds a study made with other arguments.

    Example:
        >>> layers = canvas.targets(model, example)  # doctest: +SKIP
        >>> study = canvas.Study("resnet18.db", layers, budget=canvas.Budget(flops=0.5))  # doctest: +SKIP
        >>> study.run(evaluate=canvas.TrainAndTime(model, data), minutes=60)  # doctest: +SKIP
        >>> fast = study.front()[0].apply(model)  # doctest: +SKIP
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | Address,
        layers: Sequence[Any],
        budget: Any = None,
        objectives: Sequence[str] = ("accuracy", "latency"),
        seed: int = 0,
        strategy: str = "guided",
        lookahead: int = 8,
        rungs: Sequence[str] = (),
        margin: float | None = None,
        start: Iterable[Any] = (),
        prior: Any = (CANVAS,),
        note: Mapping[str, Any] | None = None,
        **limits: Any,
    ) -> None:
        if isinstance(objectives, str):
            raise UserError(f"objectives: needs a list of names, such as ['{objectives}', 'latency']")
        given = {
            "layers": [_fields(layer, LAYER_FIELDS) for layer in _merged(layers)],
            "targets": [
                {"name": layer.name, "layer": _fields(layer.layer, LAYER_FIELDS)}
                for layer in layers
                if hasattr(layer, "name")
            ],
            "budget": budget_fields(budget),
            "objectives": list(objectives),
            "seed": seed,
            "strategy": strategy,
            "lookahead": lookahead,
            "rungs": list(rungs),
            "margin": [] if margin is None else [float(margin)],
            "start": [str(kernel) for kernel in start],
            "limits": limits,
        }
        self.path = place_of(path)
        try:
            self._load()
        except NoStudy:
            each: Any = prior or () if isinstance(prior, (list, tuple, type(None))) else [prior]
            sources = [getattr(source, "path", source) for source in each] if strategy == "guided" else []
            names = [str(place_of(source)) for source in sources]
            made = {**given, "learned_from": names, "prior": learned(objectives, sources)}
            positive = [getattr(layer, "nonnegative", False) for layer in layers]
            made["distinct"] = "nonnegative" if positive and all(positive) else "result"
            new_search(made).ask()  # faults, and budgets that nothing meets, come before a file is made
            Store(self.path, "create", {**made, **(note or {}), "environment": environment()}).close()
            self._load()
        for name, value in given.items():
            held = self.settings.get(name, [])
            if held != value:
                raise StudyError(
                    f"{self.path}: holds a study made with {name} {held}, not {value}; name another file,"
                    " or give the same arguments"
                )

    @classmethod
    def open(cls, path: str | os.PathLike[str] | Address) -> Study:
        """Opens an existing study, to view it (also while it runs elsewhere) or to go on with it.

        Args:
            path: the study file, or a URL.

        Returns:
            The study.

        Raises:
            StudyError: the file is no study that this version can read.

        Example:
            >>> Study.open("resnet18.db").front()  # doctest: +SKIP
        """
        study = cls.__new__(cls)
        study.path = place_of(path)
        study._load()
        return study

    def _load(self) -> None:
        with Store(self.path) as store:
            self.settings: dict[str, Any] = store.settings()
        try:
            self.layers, self.budget = layers_of(self.settings), budget_of(self.settings)
            self.objectives: list[str] = self.settings["objectives"]
        except (KeyError, TypeError) as error:
            raise StudyError(f"{self.path}: damaged: its settings lack {error}; restore it from a copy") from error

    # Viewing: each call reads the file anew.

    @property
    def trials(self) -> list[Trial]:
        """All candidates in the order asked."""
        with Store(self.path) as store:
            return [self._trial(record) for record in store.records()]

    @property
    def counts(self) -> dict[str, int]:
        """The funnel: what the sampler tried and why it dropped it, then what became of the candidates."""
        with Store(self.path) as store:
            states = [record.state for record in store.records()]
            sampled = store.counts()
            return {name: sampled.get(name, 0) for name in SAMPLED} | {
                "trained": states.count("complete"),
                "pruned": states.count("pruned"),
                "failed": states.count("failed"),
            }

    @property
    def rungs(self) -> list[str]:
        """The metrics of the rungs, cheapest first."""
        return list(self.settings["rungs"])

    @property
    def best(self) -> Trial | None:
        """The first of the front, if there is one."""
        front = self.front()
        return front[0] if front else None

    def front(self) -> list[Trial]:
        """The candidates that no other beats in all objectives, best in the first objective first.

        Returns:
            Completed trials alone; empty before the first.

        Raises:
            StudyError: the file cannot be read.

        Example:
            >>> print(study.front()[0].text)  # doctest: +SKIP
        """
        return pareto(self.trials, self.objectives)

    def status(self) -> Status:
        """How it stands and how far it is to its goal, as `run` tells its `progress`; how far the candidates under way
        are, only their driver knows.

        Returns:
            A `canvas.progress.Status`.

        Raises:
            StudyError: the study cannot be read.

        Example:
            >>> print(study.status().line())  # doctest: +SKIP
            12/40 candidates · 1 failed · 6.1/min · best accuracy 0.871, latency 0.42x
        """
        trials, run = self.trials, self.settings.get("run") or {}
        states = [trial.state for trial in trials]
        running = states.count("running")
        return Status(
            trials=trials,
            front=pareto(trials, self.objectives),
            candidates=run.get("candidates"),
            minutes=run.get("minutes"),
            seconds=60 * minutes_of(trials),
            earlier=0,
            running=[0.0] * running,
            told=len(trials) - running,
            failed=states.count("failed"),
        )

    def _trial(self, record: Record) -> Trial:
        return Trial(**{name: getattr(record, name) for name in Record.__dataclass_fields__}, study=self)

    # Running

    def run(
        self,
        evaluate: Callable[..., Mapping[str, float]],
        candidates: int | None = None,
        minutes: float | None = None,
        workers: int | None = None,
        time_limit: float = 600.0,
        memory_limit: float | None = None,
        progress: Callable[[Status], None] | bool = True,
        executor: str = "local",
        cpus: float | None = None,
        gpus: float | None = None,
    ) -> None:
        """Searches until the study has `candidates` candidates or `minutes` have passed; Ctrl-C stops it sooner. Can
        be called again.

        A candidate that raises, crashes, hangs, runs out of memory or gives a number that is not finite is stored as
        failed, with its reason.

        Args:
            evaluate: called in worker processes as `evaluate(binding, seed, report=report)`; returns metrics, at
                least the objectives. It may call `report(done, metrics)` with the fraction done and what it knows:
                over the latency budget, or below a rung's bar, evaluation ends there.
            candidates: how many candidates the study shall have in all.
            minutes: how long to go on asking; what is under way then is finished.
            workers: worker processes; by default one per core, on a cluster as many as it has room for. Never more than
                the study's `lookahead`.
            time_limit: seconds that one candidate may take.
            memory_limit: bytes that one worker may hold; by default an equal share of what the machine has free.
            progress: True to show it, False for silence, or what to call with each `Status`.
            executor: "local", or "ray": workers on a Ray cluster, see `canvas.ray_executor.RayExecutor`.
            cpus, gpus: on a cluster, what each worker takes of a node; by default one CPU.

        Raises:
            StudyError: the file cannot be written, is run by another process, or was made by another version of Canvas.
            UserError: the evaluation itself is at fault.
            canvas.Infeasible: the search finds no (further) kernel.

        Example:
            >>> study.run(canvas.TrainAndTime(model, data), candidates=100)  # doctest: +SKIP
        """
        if candidates is None and minutes is None:
            raise UserError("say how long to search: candidates or minutes")
        judge, most = Judge(evaluate, self.settings), self.settings["lookahead"]
        with (
            Store(self.path, "drive") as store,
            executor_of(judge, executor, most, workers, time_limit, memory_limit, cpus, gpus) as pool,
            console_progress(progress) as show,
        ):
            keep, timed = getattr(evaluate, "keep", None), getattr(evaluate, "timed", None)
            keep = None if keep is None else Path(keep).resolve()
            for name, value in (("networks", keep), ("timed", timed)):
                if value is not None:
                    store.note(name, str(value))
                    self.settings[name] = str(value)
            Session(store, pool, show, candidates, minutes, keep).go()

    def compare(
        self,
        evaluate: Callable[..., Mapping[str, float]],
        kernels: Mapping[str, Any],
        workers: int | None = None,
        time_limit: float = 600.0,
        memory_limit: float | None = None,
        progress: Callable[[str, Mapping[str, float]], None] = lambda name, metrics: None,
        seed: int | None = None,
        executor: str = "local",
        cpus: float | None = None,
        gpus: float | None = None,
    ) -> dict[str, dict[str, float]]:
        """Evaluates kernels that the search does not know of, just as its candidates, and stores the metrics for the
        report.

        Args:
            evaluate, workers, time_limit, memory_limit, executor, cpus, gpus: as for `run`.
            kernels: what to evaluate, by name; None is the network as it is. Free sizes are chosen under the study's
                budget where a kernel can meet it; one that cannot is evaluated all the same.
            progress: called with the name and the metrics of each one that is done.
            seed: of weights and order of images; by default the study's.

        Returns:
            Their metrics by name; those of earlier calls too.

        Raises:
            StudyError: as for `run`.
            UserError: one of them failed; those that did not are stored.

        Example:
            >>> study.compare(evaluate, {"original": None, "shift": canvas.zoo()["shift"]})  # doctest: +SKIP
        """
        settings = self.settings if seed is None else {**self.settings, "seed": seed}
        judge = Judge(evaluate, settings, strict=False)
        waiting = [(index, name) for index, name in enumerate(kernels)]
        failed = ""
        with (
            Store(self.path, "drive") as store,
            executor_of(judge, executor, max(1, len(kernels)), workers, time_limit, memory_limit, cpus, gpus) as pool,
        ):
            found: dict[str, dict[str, float]] = store.settings().get("references", {})
            while waiting or pool.running:
                while waiting and pool.free:
                    index, name = waiting.pop(0)
                    pool.submit(index, (kernels[name] and str(kernels[name]), {}))
                for outcome in pool.wait(1.0):
                    if outcome.state == "complete":
                        found[list(kernels)[outcome.key]] = outcome.metrics
                        store.note("references", found)
                        progress(list(kernels)[outcome.key], outcome.metrics)
                    else:
                        failed = f"{list(kernels)[outcome.key]} could not be evaluated: {outcome.reason}"
        self.settings["references"] = found
        if failed:
            raise UserError(failed)
        return found

    def note(self, name: str, value: Any) -> None:
        """Stores something beside the settings (any JSON value), for instance how the study is run.

        Raises:
            StudyError: the file cannot be written, or the study is running.

        Example:
            >>> study.note("remark", "on the quiet machine")  # doctest: +SKIP
        """
        with Store(self.path, "drive") as store:
            store.note(name, value)
        self.settings[name] = value

    @property
    def minutes_spent(self) -> float:
        """How long candidates were under way, in all runs so far."""
        return minutes_of(self.trials)


def environment() -> dict[str, Any]:
    """What a study's figures depend on besides its settings."""
    import importlib.metadata

    versions = {}
    for package in ("canvas-kas", "torch", "numpy"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.platform(),
        "cores": usable_cores(),
        **versions,
    }


def _fields(thing: Any, names: Sequence[str]) -> dict[str, Any]:
    """As JSON gives it back."""
    values = {name: getattr(thing, name) for name in names}
    return {name: list(value) if isinstance(value, (list, tuple)) else value for name, value in values.items()}


def _merged(layers: Sequence[Any]) -> Sequence[Any]:
    """Layers as given; targets as layers, equal ones as one."""
    if not any(hasattr(layer, "name") for layer in layers):
        return layers
    from canvas.layers import merged

    return merged(layers)
