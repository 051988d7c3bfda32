"""What the parts of a mixture add to a quantity of the whole, learned from mixtures that were measured. `combine.py`
asks it; it knows neither kernels nor networks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

APART = 0.5  # deviation of what an alternative adds in one stage alone; what it adds in all has the deviation 1


class Additive:
    """Bayesian linear regression (Bishop 2006, section 3.3): each alternative has an effect in all stages, and one more
    in each; they add up.

    Args:
        stages: how many there are.
        alternatives: that each of them has.
        noise: deviation of what the effects leave unexplained, as a part of the deviation of the values.

    Example:
        >>> model = Additive(2, 2, noise=0.01)
        >>> model.learn([[0, 0], [1, 1], [0, 1]], [1.0, 3.0, 2.5])
        >>> [round(float(sum(model.mean[s, a] for s, a in enumerate(picks))), 1) for picks in ([0, 1], [1, 0])]
        [2.5, 1.5]
    """

    def __init__(self, stages: int, alternatives: int, noise: float) -> None:
        self.shape, self.noise = (stages, alternatives), noise
        apart = np.eye(stages * alternatives) * APART
        shared = np.tile(np.eye(alternatives), (stages, 1)) / stages
        # An effect of each alternative in each stage, from independent numbers of deviation 1.
        self.made = np.concatenate([apart, shared], axis=1)
        self.learn([], [])

    def learn(self, picks: Sequence[Sequence[int]], values: Sequence[float]) -> None:
        """Learns from all that was measured, and forgets what it had learned before.

        Args:
            picks: of each mixture, by stage the alternative.
            values: of each mixture.
        """
        stages, alternatives = self.shape
        y = np.array(values, float)
        self.level = float(y.mean()) if len(y) else 0.0
        self.scale = (float(y.std()) if len(y) else 0.0) or max(0.1 * abs(self.level), 1e-3)
        seen = np.zeros((len(y), stages * alternatives))
        for row, chosen in zip(seen, picks, strict=True):
            row[np.arange(stages) * alternatives + np.array(chosen)] = 1.0
        x = seen @ self.made
        precision = np.eye(x.shape[1]) + x.T @ x / self.noise**2
        self.factor = np.linalg.cholesky(precision)
        self.weights = np.linalg.solve(precision, x.T @ (y - self.level) / (self.scale * self.noise**2))

    @property
    def mean(self) -> np.ndarray:
        """[stages, alternatives]: what each is expected to add."""
        return self._effects(self.weights)

    def drawn(self, random: np.random.Generator) -> np.ndarray:
        """[stages, alternatives]: what each may add, drawn from what is likely."""
        noise = np.linalg.solve(self.factor.T, random.standard_normal(len(self.weights)))
        return self._effects(self.weights + noise)

    def _effects(self, weights: np.ndarray) -> np.ndarray:
        effects = (self.made @ weights).reshape(self.shape)
        return effects * self.scale + self.level / self.shape[0]
