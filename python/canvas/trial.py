"""One candidate of a study, as users see it: its kernel, its sizes on the study's layers, networks with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import canvas._core as _core
from canvas.errors import UserError
from canvas.hand_designed import twins
from canvas.session import layer_of, rules_of
from canvas.store import Record

if TYPE_CHECKING:
    from canvas.study import Study


@dataclass(frozen=True)
class Trial(Record):
    """One candidate of a study: index, hash, text, origin, state, reason, metrics (as stored), with its study's
    layers and budget."""

    study: Study | None = field(default=None, repr=False, compare=False)

    @property
    def kernel(self) -> Any:
        """The kernel itself."""
        return _core.parse(self.text, f"{self.hash}.canvas")

    @property
    def binding(self) -> Any:
        """The kernel bound to the study's layers under its budget."""
        assert self.study is not None
        return self.kernel.bind(self.study.layers, self.study.budget, **rules_of(self.study.settings))

    def apply(self, model: Any) -> Any:
        """A copy of `model` with this kernel in the place of the layers that the study was made for.

        Args:
            model: the network whose targets the study was given.

        Returns:
            The new network; `model` is untouched.

        Raises:
            UserError: the model has no such layers.

        Example:
            >>> fast = study.front()[0].apply(model)  # doctest: +SKIP
        """
        from canvas.layers import Target, replace

        assert self.study is not None
        targets = [Target(target["name"], layer_of(target["layer"])) for target in self.study.settings["targets"]]
        if not targets:
            raise UserError("the study was made for bare layers: use canvas.replace(model, trial.kernel, targets)")
        return replace(model, self.binding, targets=targets)

    def model(self) -> Any:
        """The trained network with this kernel in it.

        Returns:
            A `torch.nn.Module` in eval mode.

        Raises:
            UserError: it was not kept. A study keeps the networks of its front if its evaluation does
                (`TrainAndTime(keep=FOLDER)`, and `canvas search`).

        Example:
            >>> network = study.best.model()  # doctest: +SKIP
        """
        from canvas.models import saved_network

        assert self.study is not None
        folder = self.study.settings.get("networks")
        if folder is None:
            raise UserError(
                "the study kept no networks: run it with TrainAndTime(keep=FOLDER), or train trial.apply(model)"
            )
        return saved_network(Path(folder) / f"{self.hash}.pt").eval()


def minutes_of(trials: Sequence[Record]) -> float:
    """In which at least one of them was under way."""
    spent, end = 0.0, 0.0
    for asked, told in sorted((trial.asked, trial.told) for trial in trials if trial.told):
        spent += max(0.0, told - max(asked, end))
        end = max(end, told)
    return spent / 60


def twins_in(study: Study, kernels: Sequence[Any]) -> list[str]:
    """For each kernel the hand-designed one that does the same on the study's layers, or ""."""
    return twins(kernels, study.layers, study.settings.get("distinct") == "nonnegative")
