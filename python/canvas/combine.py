"""Chooses a kernel for each stage of a network, within a budget: `combine`, for users and the command line.

Mixtures of a study's kernels are trained as its candidates are, in rounds. What each kernel adds in each stage is
learned from all results so far (`additive.py`); for a draw from what is likely, the core finds the mixture that loses
least within the limits (`canvas._core.assign`), and that one is trained next. In the end the best are trained again
with another seed. All results are stored in the study, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import canvas._core as _core
from canvas.additive import Additive
from canvas.errors import UserError
from canvas.executor import executor_of
from canvas.layers import Target
from canvas.mixture import Mixture, bind_served, mixture_hash
from canvas.mixture_space import Picks, Space
from canvas.objectives import costs as turned
from canvas.session import Judge, budget_fields, hold_latency, layer_of, rules_of
from canvas.store import Store

if TYPE_CHECKING:
    from canvas.study import Study
    from canvas.worker import Report

ROUND = 4  # mixtures that are chosen together
NOISE = {"loss": 0.4, "latency": 0.1}  # as `Additive` has it
AGAIN = 1_000_003  # from the first training's seed to the second's
SLACK = 1.03  # what a latency that is measured again may differ by


@dataclass(frozen=True)
class Tried:
    """A mixture that was trained: the kernels' hashes by their targets' names (None: the layer stays), the seed, and
    what came of it, as of a candidate."""

    kernels: dict[str, str | None]
    seed: int
    state: str
    reason: str = ""
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def hash(self) -> str:
        """As `Mixture.hash`."""
        return mixture_hash(self.kernels)


@dataclass(frozen=True)
class Combined:
    """The best mixture that was found, and the best single kernel beside it.

    Attributes:
        mixture: with `apply(model)`.
        names: by stage the name of its kernel, or "original".
        metrics: means of its two trainings.
        uniform: the name of the single kernel that did best within the budget, and its metrics, also of two trainings;
            None where none keeps it.
        network: the file of the trained network, if the evaluation keeps any.
    """

    mixture: Mixture
    names: dict[str, str]
    metrics: dict[str, float]
    uniform: tuple[str, dict[str, float]] | None
    network: Path | None = None


class Chooser:
    """Learns from mixtures that were trained, and says which to train next."""

    def __init__(self, space: Space, objective: str, seed: int) -> None:
        self.space, self.objective, self.seed = space, objective, seed
        shape = (len(space.stages), len(space.kernels))
        self.models = {name: Additive(*shape, noise) for name, noise in NOISE.items()}
        self.seen: dict[str, list[tuple[Picks, float]]] = {name: [] for name in NOISE}
        self.tried: dict[Picks, dict[str, float]] = {}  # those that were completed, and their metrics
        self.asked: set[Picks] = set()
        if space.kernels[0] is None:
            self.seen["latency"].append(((0,) * shape[0], 1.0))

    def learn(self, picks: Picks, state: str, metrics: Mapping[str, float]) -> None:
        """Takes what came of a mixture."""
        if not math.isnan(metrics.get("latency_ratio", math.nan)):
            self.seen["latency"].append((picks, metrics["latency_ratio"]))
        if state == "complete":
            self.seen["loss"].append((picks, turned(metrics, [self.objective])[0]))
            self.tried[picks] = dict(metrics)

    def unknown_single(self) -> list[Picks]:
        """The single kernels of which nothing is known and that may keep the limits: they are trained first."""
        places = (place for place, kernel in enumerate(self.space.kernels) if kernel is not None)
        single = [picks for picks in map(self.space.uniform, places) if picks and self.space.within(picks, {})]
        new = [picks for picks in single if picks not in self.tried]
        self.asked.update(new)
        return new

    def propose(self, turn: int) -> list[Picks]:
        """The mixtures of a round, none that was asked for or learned from before; they depend on what was learned."""
        for name, model in self.models.items():
            model.learn(*zip(*self.seen[name], strict=True) if self.seen[name] else ([], []))
        random = np.random.default_rng([self.seed, turn])
        chosen = []
        for _ in range(ROUND):
            found = self.space.best(self.models["loss"].drawn(random), self.models["latency"].mean)
            new = [picks for picks in found if picks not in self.asked and picks not in self.tried]
            if new:
                chosen.append(new[0])
                self.asked.add(new[0])
        return chosen

    def ranked(self) -> list[Picks]:
        """Those that keep the limits, the best first."""
        fit = [picks for picks, metrics in self.tried.items() if self.space.within(picks, metrics)]
        return sorted(fit, key=lambda picks: turned(self.tried[picks], [self.objective]))


class MixtureJudge(Judge):
    """The evaluation of mixtures as a worker runs it; of a study's own budget it holds nothing but sizes."""

    def __init__(self, evaluate: Callable[..., Mapping[str, float]], settings: Mapping[str, Any], limit: float) -> None:
        super().__init__(evaluate, settings)
        self.targets, self.limit = settings["targets"], {"latency": None if limit == math.inf else SLACK * limit}

    def __call__(  # type: ignore[override]
        self, texts: Mapping[str, str | None], seed: int, report: Report
    ) -> Mapping[str, float]:
        def checked(done: float, metrics: Mapping[str, float]) -> None:
            report(done, metrics)
            hold_latency(metrics, self.limit)

        rules = rules_of(self.settings)
        bound = {
            text: bind_served(_core.parse(text, "part.canvas"), self.layers, self.budget, rules)
            for text in texts.values()
            if text is not None
        }
        targets = [Target(one["name"], layer_of(one["layer"])) for one in self.targets]
        mixture = Mixture(targets, {name: None if text is None else bound[text] for name, text in texts.items()})
        metrics = self.evaluate(mixture, seed, report=checked)
        if isinstance(metrics, Mapping):  # otherwise the worker says so
            checked(1.0, metrics)
            turned(metrics, self.settings["objectives"])
        return metrics


class Trainer:
    """Has mixtures trained that were not yet, and stores what came of them."""

    def __init__(
        self, store: Store, pool: Any, space: Space, progress: Callable[[str, Mapping[str, float]], None]
    ) -> None:
        self.store, self.pool, self.space, self.progress = store, pool, space, progress
        note = store.settings().get("mixtures", {})
        self.best: list[dict[str, Any]] = note.get("best", [])
        self.texts: dict[str, str] = note.get("texts", {})
        self.texts |= {kernel.hash: str(kernel) for kernel in space.kernels if kernel is not None}
        self.known = {(one.hash, one.seed): one for one in tried_of(note)}

    def train(self, wanted: Sequence[Picks], seed: int, anew: bool = False) -> list[Tried]:
        """What came of these mixtures with this seed."""
        keys = [(mixture_hash(self.space.hashes(picks)), seed) for picks in wanted]
        waiting = [index for index, key in enumerate(keys) if anew or key not in self.known or self._meets_now(key)]
        while waiting or self.pool.running:
            while waiting and self.pool.free:
                index = waiting.pop(0)
                hashes = self.space.hashes(wanted[index])
                texts = {name: None if one is None else self.texts[one] for name, one in hashes.items()}
                self.pool.submit(index, (texts, seed))
            for outcome in self.pool.wait(0.5):
                picks = wanted[outcome.key]
                metrics = {name: value for name, value in outcome.metrics.items() if math.isfinite(value)}
                one = Tried(self.space.hashes(picks), seed, outcome.state, outcome.reason, metrics)
                self.known[keys[outcome.key]] = one
                self.store.note("mixtures", self.note())
                self.progress(", ".join(self.space.names(picks).values()), one.metrics)
        return [self.known[key] for key in keys]

    def _meets_now(self, key: tuple[str, int]) -> bool:
        """Whether a mixture that was not trained, under a tighter limit, may keep the present one."""
        metrics = self.known[key].metrics
        latency = metrics.get("latency_ratio", metrics.get("latency_predicted_low", math.inf))
        return self.known[key].state == "pruned" and latency <= SLACK * self.space.limits["latency"]

    def note(self) -> dict[str, Any]:
        """All of it as it is stored."""
        return {"texts": self.texts, "tried": [asdict(one) for one in self.known.values()], "best": self.best}

    def keep_best(self, found: Combined, by: str, budget: Any, networks: Path | None) -> None:
        """Stores the answer to what was asked; of the trained networks, those of answers stay."""
        asked = {"by": by, "budget": budget_fields(budget)}
        told = {"hash": found.mixture.hash, "names": found.names, "metrics": found.metrics, "uniform": found.uniform}
        self.best = [one for one in self.best if {name: one[name] for name in asked} != asked] + [{**asked, **told}]
        self.store.note("mixtures", self.note())
        if networks is not None:
            for mixture in {one.hash for one in self.known.values()} - {one["hash"] for one in self.best}:
                (networks / f"{mixture}.pt").unlink(missing_ok=True)


def tried_of(note: Mapping[str, Any]) -> list[Tried]:
    """The mixtures of a study's setting "mixtures", in the order in which they were trained.

    Example:
        >>> tried_of(study.settings.get("mixtures", {}))
        []
    """
    return [Tried(**one) for one in note.get("tried", [])]


def combine(
    study: Study,
    evaluate: Callable[..., Mapping[str, float]],
    budget: Any = None,
    by: str = "stage",
    kernels: Iterable[_core.Kernel] | None = None,
    original: bool = True,
    trainings: int = 24,
    finalists: int = 3,
    workers: int | None = None,
    time_limit: float = 600.0,
    memory_limit: float | None = None,
    progress: Callable[[str, Mapping[str, float]], None] = lambda names, metrics: None,
    executor: str = "local",
    cpus: float | None = None,
    gpus: float | None = None,
) -> Combined:
    """Chooses a kernel for each stage of the network that a study was made for, and says how it compares with the best
    single kernel. Called again with the same arguments, it goes on where it was stopped.

    Args:
        study: made with `canvas.targets`; it need not have been run where kernels are given.
        evaluate: as for `Study.run`, but that it is given a `canvas.Mixture`; `canvas.TrainAndTime` will do. It must
            train as it did for the study's candidates, whose results are made use of.
        budget: of all layers together: flops, params, memory; latency as a fraction of the original network's. Upper
            limits alone are held. By default the study's.
        by: which layers take the same kernel: "stage", "shape" or "layer", see `canvas.mixture.stages`.
        kernels: what to choose from, such as `canvas.zoo().values()`; by default six of the front. Those that serve no
            layer are passed over; sizes are those that the study's budget gives.
        original: a stage may also keep its layers.
        trainings: how many mixtures to train, besides what is known of the study's candidates; those of a single kernel
            that was no candidate come first.
        finalists: how many of the best are trained again, with another seed; the best single kernel always is.
        workers, time_limit, memory_limit, executor, cpus, gpus: as for `Study.run`.
        progress: called with the names of a mixture's kernels and its metrics.

    Returns:
        The best by the mean of both trainings.

    Raises:
        UserError: nothing keeps the budget, or there is nothing to combine.
        StudyError: as for `Study.run`.

    Example:
        >>> found = canvas.combine(study, evaluate, canvas.Budget(latency=0.4))  # doctest: +SKIP
        >>> found.names, found.metrics["accuracy"]  # doctest: +SKIP
        ({'7x7': 'k25e90346', '4x4': 'k25e90346', '2x2': 'original'}, 0.861)
    """
    limits = study.budget if budget is None else budget
    space = Space(study, limits, by, kernels, original)
    seed: int = study.settings["seed"]
    chooser = Chooser(space, study.objectives[0], seed)
    for picks, metrics in _known_uniform(study, space):
        chooser.learn(picks, "complete", metrics)
    judge = MixtureJudge(evaluate, study.settings, space.limits["latency"])
    with (
        Store(study.path, "drive") as store,
        executor_of(judge, executor, ROUND, workers, time_limit, memory_limit, cpus, gpus) as pool,
    ):
        trainer = Trainer(store, pool, space, progress)
        single = chooser.unknown_single()[:trainings]
        rest = trainings - len(single)
        for turn in range(-1, math.ceil(rest / ROUND)):
            chosen = single if turn < 0 else chooser.propose(turn)[: rest - turn * ROUND]
            for picks, one in zip(chosen, trainer.train(chosen, seed), strict=True):
                chooser.learn(picks, one.state, one.metrics)
        best, finals = _final(chooser, trainer, finalists, seed)
        keep = getattr(evaluate, "keep", None)
        found = _told(space, best, finals, keep and Path(keep).resolve())
        if keep and not Path(keep, f"{found.mixture.hash}.pt").exists():  # it was no answer before: its network went
            trainer.train([best], seed + AGAIN, anew=True)
        trainer.keep_best(found, by, limits, keep and Path(keep))
        study.settings["mixtures"] = trainer.note()
    return found


def _known_uniform(study: Study, space: Space) -> list[tuple[Picks, dict[str, float]]]:
    """The study's candidates that are mixtures of one kernel."""
    done = {trial.hash: trial.metrics for trial in study.trials if trial.state == "complete"}
    found = []
    for place, kernel in enumerate(space.kernels):
        picks = space.uniform(place)
        if kernel is not None and picks is not None and kernel.hash in done:
            found.append((picks, done[kernel.hash]))
    return found


Finals = dict[Picks, dict[str, float]]  # the means of two trainings


def _final(chooser: Chooser, trainer: Trainer, finalists: int, seed: int) -> tuple[Picks, Finals]:
    """The best mixture, and the metrics of all that were trained again."""
    ranked, space = chooser.ranked(), chooser.space
    single = [picks for picks in ranked if len(set(picks)) == 1 and space.kernels[picks[0]] is not None]
    chosen = list(dict.fromkeys([*ranked[:finalists], *single[:1]]))
    found: Finals = {}
    for picks, one in zip(chosen, trainer.train(chosen, seed + AGAIN), strict=True):
        first = chooser.tried[picks]
        both = {name: (first[name] + value) / 2 for name, value in one.metrics.items() if name in first}
        if one.state == "complete" and both.get("latency_ratio", 0.0) <= SLACK * space.limits["latency"]:
            found[picks] = both
    if not found:
        raise UserError("combine: no mixture that was trained keeps the budget; raise it, or allow more trainings")
    return min(found, key=lambda picks: turned(found[picks], [chooser.objective])), found


def _told(space: Space, best: Picks, finals: Finals, keep: Path | None) -> Combined:
    mixture = space.mixture(best)
    single = [picks for picks in finals if len(set(picks)) == 1 and space.kernels[picks[0]] is not None]
    uniform = (next(iter(space.names(single[0]).values())), finals[single[0]]) if single else None
    return Combined(mixture, space.names(best), finals[best], uniform, keep and keep / f"{mixture.hash}.pt")
