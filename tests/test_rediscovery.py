"""Looking for hand-designed kernels among unaided samples: what counts as a hit, its interval, its faults."""

import math

import numpy as np
import pytest

import canvas
from canvas.errors import UserError
from canvas.rediscovery import LAYERS, Rediscovery, gamma_quantile, rediscover, signature_of

EASY = canvas.parse(
    "kernel easy(x[C, H, W]) -> [K, H/s, W/s]:\n  u = unfold(subsample(x, H: s, W: s), H: 3, W: 3)\n"
    "  return fc(u, [C, h, w] -> [K])"
)
LIMITS = {"max_primitives": 4, "weights": {"shift": 0.0, "split": 0.0, "add": 0.0, "mul": 0.0}}


def test_an_easy_kernel_is_hit_and_the_tries_are_counted():
    kernel = next(k for k in canvas.sample(list(LAYERS["conv2d"]), 40, seed=0, **LIMITS) if len(k) >= 3)
    found = rediscover({"it": kernel}, samples=40, seeds=[0, 1], workers=2, **LIMITS)
    again = rediscover({"it": kernel}, samples=40, seeds=[0, 1], workers=1, **LIMITS)
    assert found[0].hits >= 1 and found[0].primitives == len(kernel)
    assert found[0].tries == again[0].tries, "the same on any number of processes"
    assert all(tries >= 1 for tries in found[0].tries)


def test_what_does_not_come_gives_a_bound():
    dense = rediscover({"gelu": canvas.zoo()["involution"]}, samples=3, seeds=[0], workers=1)[0]
    assert dense.hits == 0
    estimate, low, high = dense.tries_per_hit
    assert (estimate, high) == (math.inf, math.inf)
    assert low == pytest.approx(dense.tries[0] / 2.9957, rel=1e-4)


def test_the_interval_holds_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(600):
        tries = rng.geometric(1 / 500, size=5)
        seen = np.minimum(tries, 700)
        result = Rediscovery("x", "", 3, tuple(seen), (0.0,) * 5, int((tries <= 700).sum()))
        _, low, high = result.tries_per_hit
        hits += low <= 500 <= high
    assert hits >= 0.93 * 600


@pytest.mark.parametrize("events", [1, 2, 5, 40])
@pytest.mark.parametrize("probability", [0.025, 0.5, 0.975])
def test_gamma_quantiles_are_those_of_sums_of_exponentials(events, probability):
    sums = np.random.default_rng(events).exponential(size=(200_000, events)).sum(1)
    assert gamma_quantile(events, probability) == pytest.approx(np.quantile(sums, probability), rel=0.02)


def test_every_short_kernel_of_the_zoo_can_be_looked_for():
    kinds = {name: signature_of(kernel) for name, kernel in canvas.zoo().items() if len(kernel.canonical()) <= 10}
    assert set(kinds.values()) >= {"conv2d", "tokens", "linear"}


def test_faults_are_named():
    with pytest.raises(UserError, match=r"rediscover easy: has \d primitives; raise --limit max_primitives=2"):
        rediscover({"easy": EASY}, max_primitives=2)
    with pytest.raises(ValueError, match="no limit is called 'depth'"):
        rediscover({"easy": EASY}, depth=3)
    strange = canvas.parse("kernel odd(x[C, H]) -> [K, H]:\n  return fc(x, [C] -> [K])")
    with pytest.raises(UserError, match="rediscover odd: cannot be looked for"):
        rediscover({"odd": strange})
