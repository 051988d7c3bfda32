"""Rules that stop candidates early, for `rungs.py`: a study's, and where they are installed Optuna's pruners and Ray
Tune's schedulers (`pip install optuna 'ray[tune]'`), which know the accuracy alone. Replays recorded trainings.

The schedulers are Ray's own objects; in place of its controller, which would train and wait, `RayRule` calls them as it
does. Times are quarters of a training.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from canvas.objectives import bar, beats
from canvas.session import REDUCTION

WHOLE = 4  # quarters
STUDIES = itertools.count()
Candidate = tuple[int, dict[str, Any]]  # its index, and its row of the table
CONTINUE, STOP, PAUSE = "CONTINUE", "STOP", "PAUSE"  # as Ray has them, and the states of a trial as well


@dataclass(eq=False)
class Trial:
    """A candidate under way. Ray's schedulers read all but the row and the index."""

    index: int
    row: dict[str, Any]
    status: str = "PENDING"
    step: int = 0  # quarters that it was trained for
    is_saving: bool = False

    @property
    def trial_id(self) -> str:
        return str(self.index)


class Rule:
    """Stops none."""

    ahead = 1  # so many candidates wait to be begun

    def __init__(self) -> None:
        self.live: list[Trial] = []

    def add(self, trial: Trial) -> None:
        self.live.append(trial)

    def choose(self) -> Trial | None:
        """Whose training begins or goes on."""
        return self.live[0] if self.live else None

    def after(self, trial: Trial, accuracy: float) -> str:
        """What becomes of it after one more quarter, the last one too."""
        return CONTINUE

    def end(self, trial: Trial, accuracy: float) -> None:
        """It was stopped or is trained."""
        self.live.remove(trial)


class Ranked(Rule):
    """As a study does, after these quarters."""

    def __init__(self, *steps: int) -> None:
        super().__init__()
        self.points: dict[int, list[list[float]]] = {step: [] for step in steps}

    def after(self, trial: Trial, accuracy: float) -> str:
        before, point = self.points.get(trial.step), [-accuracy, trial.row["cost"]]
        if before is None:
            return CONTINUE
        stopped = any(beats(other, point) for other in bar(before, REDUCTION))
        before.append(point)
        return STOP if stopped else CONTINUE


class OptunaRule(Rule):
    """One of Optuna's pruners."""

    def __init__(self, pruner: Any) -> None:
        import optuna

        super().__init__()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        name = str(next(STUDIES))  # by which HyperBand chooses brackets
        self.study = optuna.create_study(study_name=name, direction="maximize", pruner=pruner)

    def add(self, trial: Trial) -> None:
        super().add(trial)
        self.trial = self.study.ask()

    def after(self, trial: Trial, accuracy: float) -> str:
        if trial.step == WHOLE:
            return CONTINUE
        self.trial.report(accuracy, trial.step)
        return STOP if self.trial.should_prune() else CONTINUE

    def end(self, trial: Trial, accuracy: float) -> None:
        import optuna

        super().end(trial, accuracy)
        state = optuna.trial.TrialState
        self.study.tell(self.trial, *((accuracy,) if trial.step == WHOLE else (None, state.PRUNED)))


class RayRule(Rule):
    """One of Ray Tune's schedulers; to it this is the controller."""

    def __init__(self, scheduler: Any, ahead: int) -> None:
        super().__init__()
        self.ahead = ahead
        self.scheduler = scheduler(time_attr="quarters", metric="accuracy", mode="max")

    def add(self, trial: Trial) -> None:
        super().add(trial)
        self.scheduler.on_trial_add(self, trial)

    def choose(self) -> Trial | None:
        chosen: Trial | None = self.scheduler.choose_trial_to_run(self)
        return chosen

    def after(self, trial: Trial, accuracy: float) -> str:
        return str(self.scheduler.on_trial_result(self, trial, {"quarters": trial.step, "accuracy": accuracy}))

    def end(self, trial: Trial, accuracy: float) -> None:
        super().end(trial, accuracy)
        self.scheduler.on_trial_complete(self, trial, {"quarters": trial.step, "accuracy": accuracy})

    # What schedulers ask of their controller

    def get_trials(self) -> list[Trial]:
        return self.live

    get_live_trials = get_trials

    def stop_trial(self, trial: Trial) -> None:
        """One that is paused."""
        super().end(trial, 0.0)
        self.scheduler.on_trial_remove(self, trial)
        trial.status = "TERMINATED"


def rules() -> dict[tuple[str, str], Callable[[], Rule]]:
    """All that can be had here, by name and by when they may stop a candidate."""
    found: dict[tuple[str, str], Callable[[], Rule]] = {("none", "never"): Rule}
    for steps, when in (((1,), "a quarter"), ((2,), "a half"), ((1, 2), "a quarter, a half")):
        found["a study's", when] = lambda steps=steps: Ranked(*steps)
    return {**found, **_optuna(), **_ray()}


def _optuna() -> dict[tuple[str, str], Callable[[], Rule]]:
    try:
        from optuna.pruners import HyperbandPruner, MedianPruner, SuccessiveHalvingPruner
    except ImportError:
        return {}
    return {
        ("Optuna, successive halving", "a quarter, three quarters"): lambda: OptunaRule(
            SuccessiveHalvingPruner(min_resource=1, reduction_factor=REDUCTION)
        ),
        ("Optuna, successive halving", "a half"): lambda: OptunaRule(
            SuccessiveHalvingPruner(min_resource=2, reduction_factor=REDUCTION)
        ),
        ("Optuna, HyperBand", "each quarter"): lambda: OptunaRule(
            HyperbandPruner(min_resource=1, max_resource=WHOLE, reduction_factor=2)
        ),
        ("Optuna, median", "each quarter"): lambda: OptunaRule(MedianPruner(n_startup_trials=REDUCTION)),
        ("Optuna, median", "a half, three quarters"): lambda: OptunaRule(
            MedianPruner(n_startup_trials=REDUCTION, n_warmup_steps=2)
        ),
    }


def _ray() -> dict[tuple[str, str], Callable[[], Rule]]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        from ray.tune.schedulers import AsyncHyperBandScheduler, HyperBandScheduler, MedianStoppingRule
    except ImportError:
        return {}
    logging.getLogger("ray.tune").setLevel(logging.ERROR)

    def rule(kind: Any, ahead: int = 1, **settings: Any) -> Callable[[], Rule]:
        return lambda: RayRule(lambda **given: kind(**given, **settings), ahead)

    def asha(grace: int, factor: float) -> Callable[[], Rule]:
        return rule(AsyncHyperBandScheduler, max_t=WHOLE, grace_period=grace, reduction_factor=factor)

    def bands(factor: int) -> Callable[[], Rule]:  # they pause trials, and want several to fill their brackets with
        return rule(HyperBandScheduler, 32, max_t=WHOLE, reduction_factor=factor)

    return {
        ("Ray, ASHA", "a quarter, three quarters"): asha(1, REDUCTION),
        ("Ray, ASHA", "a half"): asha(2, REDUCTION),
        ("Ray, ASHA, a half goes on", "a quarter, a half"): asha(1, 2),
        ("Ray, ASHA, a half goes on", "a half"): asha(2, 2),
        ("Ray, HyperBand", "a quarter"): bands(WHOLE),
        ("Ray, HyperBand, a half goes on", "a quarter, a half"): bands(2),
        ("Ray, median", "each quarter"): rule(MedianStoppingRule, grace_period=1),
        ("Ray, median", "a half, three quarters"): rule(MedianStoppingRule, grace_period=2),
    }


def replay(
    rule: Rule, ask: Callable[[], Candidate | None], tell: Callable[[Trial], None], budget: float, seed: int
) -> list[tuple[float, dict[str, Any]]]:
    """One worker under a rule.

    Args:
        ask: the next candidate; None: there are no more.
        tell: called with each one that was stopped or is trained.
        budget: so many whole trainings are paid for.
        seed: whose curves.

    Returns:
        Those that were trained to the end, each with what had been paid for by then.
    """
    spent, done = 0.0, []
    while True:
        while sum(trial.status == "PENDING" for trial in rule.live) < rule.ahead and (candidate := ask()):
            rule.add(Trial(*candidate))
        trial = rule.choose()
        if trial is None:
            return done
        trial.status, action = "RUNNING", CONTINUE
        while action == CONTINUE and trial.step < WHOLE:
            if spent >= budget:
                return done
            trial.step, spent = trial.step + 1, spent + 1 / WHOLE
            accuracy = trial.row["curves"][seed % 2][trial.step - 1]
            action = rule.after(trial, accuracy)
        if trial.step == WHOLE:
            done.append((spent, trial.row))
        if action == PAUSE:
            trial.status = PAUSE + "D"
        else:
            rule.end(trial, accuracy)
            trial.status = "TERMINATED"
            tell(trial)


def in_order(rows: Iterable[dict[str, Any]]) -> Callable[[], Candidate | None]:
    """Asks for these, one after another."""
    left = enumerate(rows)
    return lambda: next(left, None)
