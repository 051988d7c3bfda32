"""Random systems of sizes, and what trial of all values makes of them: the independent oracle of `canvas.Sizes`.

Numbers are compared by the exponents of their primes, summed with random 64-bit weights: equal sums are equal numbers
(but for one chance in 2^64). Nothing of the solver under test is used. `tests/test_sizes.py` calls this.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

LARGEST = 64
DYNAMIC = "abc"
STATIC = "CKWT"
PRIMES = [p for p in range(2, LARGEST + 1) if all(p % q for q in range(2, p))]
NUMBERS = (1, 2, 3, 4, 6, 8, 9, 12, 16, 18, 24, 25, 27, 32, 36, 48, 49, 64)


def valuations(number: int) -> list[int]:
    found = []
    for prime in PRIMES:
        count = 0
        while number % prime == 0:
            number //= prime
            count += 1
        found.append(count)
    assert number == 1
    return found


VALUATIONS = np.array([[0] * len(PRIMES)] + [valuations(n) for n in range(1, LARGEST + 1)], dtype=np.int64)
WEIGHTS = np.random.default_rng(1).integers(1, 2**63, len(PRIMES), dtype=np.uint64)
SUMS = (VALUATIONS.astype(np.uint64) * WEIGHTS).sum(axis=1, dtype=np.uint64)


@dataclass(frozen=True)
class Monomial:
    number: int
    powers: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        top = "*".join([str(self.number)] + [name for name, power in self.powers for _ in range(power)])
        return top + "".join(f"/{name}" for name, power in self.powers for _ in range(-power))

    def power(self, name: str) -> int:
        return dict(self.powers).get(name, 0)


@dataclass(frozen=True)
class System:
    """`equations` are monomials that must be 1, given as two sides; all variables are at most LARGEST."""

    dynamic: str
    equations: tuple[tuple[Monomial, Monomial], ...]
    whole: tuple[Monomial, ...]
    bounds: tuple[tuple[str, int, int], ...]

    def arguments(self) -> dict:
        return {
            "equations": [f"{left} = {right}" for left, right in self.equations],
            "whole": [str(size) for size in self.whole],
            "bounds": {name: (low, high) for name, low, high in self.bounds},
        }


def random_monomial(rng: random.Random, names: str) -> Monomial:
    powers = {name: rng.choices((0, 1, -1, 2, -2), (8, 3, 3, 1, 1))[0] for name in names}
    number = rng.choice((1, 1, 1, 1, 1, 2, 3, 4, 6))
    return Monomial(number, tuple((name, power) for name, power in powers.items() if power))


def random_system(rng: random.Random, bounded: bool = True) -> System:
    """At most three dynamic and four static variables, exponents from -2 to 2."""
    dynamic = DYNAMIC[: rng.randint(1, 3)]
    names = dynamic + STATIC[: rng.randint(1, 4)]
    equations = [
        (random_monomial(rng, names), random_monomial(rng, names)) for _ in range(rng.randint(len(dynamic) == 3, 3))
    ]
    kept = []
    for left, right in equations:  # as one side, exponents stay from -2 to 2
        if all(abs(left.power(name) - right.power(name)) <= 2 for name in names):
            kept.append((left, right))
    if len(dynamic) == 3 and not any(left.power(name) != right.power(name) for left, right in kept for name in dynamic):
        return random_system(rng, bounded)
    whole = tuple(random_monomial(rng, names) for _ in range(rng.randint(0, 2)))
    narrow = lambda: (1, LARGEST) if rng.random() < 0.8 else tuple(sorted((rng.randint(1, 9), rng.randint(1, LARGEST))))  # noqa: E731
    bounds = tuple((name, *narrow()) for name in dynamic) if bounded else ()
    return System(dynamic, tuple(kept), whole, bounds)


def random_network(rng: random.Random) -> dict[str, int]:
    values = {name: rng.choice(NUMBERS) for name in STATIC}
    if rng.random() < 0.3:
        values["K"] = values["C"]
    return values


def solutions(system: System, network: dict[str, int]) -> np.ndarray:
    """All solutions, one a row, in the order of `system.dynamic`."""
    names = system.dynamic
    ranges = {name: np.arange(low, high + 1) for name, low, high in system.bounds}
    rows = []
    for left, right in system.equations:
        powers = [left.power(name) - right.power(name) for name in names]
        rest = np.uint64((sum_of(left, network) - sum_of(right, network)) % 2**64)
        rows.append((powers, rest))
    inner = next((i for powers, _ in rows for i in range(len(names)) if powers[i]), None)
    if inner is None:
        found = np.stack([axis.ravel() for axis in np.meshgrid(*ranges.values(), indexing="ij")], axis=1)
    else:
        found = looked_up(names, ranges, next(row for row in rows if row[0][inner]), inner)
    for powers, rest in rows:
        total = np.full(len(found), rest, dtype=np.uint64)
        for i, power in enumerate(powers):
            total += times(SUMS[found[:, i]], power)
        found = found[total == 0]
    for size in system.whole:
        known = exponents_of(size, network)
        total = known + sum(size.power(name) * VALUATIONS[found[:, i]] for i, name in enumerate(names))
        found = found[(total >= 0).all(axis=1)]
    return found


def looked_up(names: str, ranges: dict[str, np.ndarray], row: tuple[list[int], np.uint64], inner: int) -> np.ndarray:
    """What keeps one equation: all values of the other variables, and for the inner one those that fit, by a table."""
    powers, rest = row
    others = [i for i in range(len(names)) if i != inner]
    grid = np.meshgrid(*(ranges[names[i]] for i in others), indexing="ij") if others else [np.zeros(1, dtype=int)]
    total = np.full(grid[0].size, rest, dtype=np.uint64)
    for i, axis in zip(others, grid, strict=False):
        total += times(SUMS[axis.ravel()], powers[i])
    values = ranges[names[inner]]
    table = times(SUMS[values], -powers[inner])
    order = np.argsort(table)
    place = np.minimum(np.searchsorted(table[order], total), len(values) - 1)
    hit = table[order][place] == total
    found = np.empty((hit.sum(), len(names)), dtype=np.int64)
    found[:, inner] = values[order][place][hit]
    for i, axis in zip(others, grid, strict=False):
        found[:, i] = axis.ravel()[hit]
    return found


def times(sums: np.ndarray, power: int) -> np.ndarray:
    return sums * np.uint64(power % 2**64)


def exponents_of(size: Monomial, network: dict[str, int]) -> np.ndarray:
    """Of the primes in what the static variables make of it."""
    known = VALUATIONS[size.number].copy()
    for name, power in size.powers:
        if name in network:
            known += power * VALUATIONS[network[name]]
    return known


def sum_of(size: Monomial, network: dict[str, int]) -> int:
    return sum(power * int(SUMS[network[name]]) for name, power in size.powers if name in network) + int(
        SUMS[size.number]
    )


def solvable_by_powers(system: System, network: dict[str, int], most: int) -> bool:
    """Whether unbounded whole numbers solve it: the exponents of each prime by themselves, tried up to `most`."""
    for i, prime in enumerate(PRIMES):
        known = [exponents_of(left, network)[i] - exponents_of(right, network)[i] for left, right in system.equations]
        asked = [exponents_of(size, network)[i] for size in system.whole]
        if prime > 5 and not any(known) and min(asked, default=0) >= 0:
            continue  # all exponents zero will do
        grid = np.stack(
            [axis.ravel() for axis in np.meshgrid(*[np.arange(most + 1)] * len(system.dynamic), indexing="ij")], axis=1
        )
        for (left, right), rest in zip(system.equations, known, strict=True):
            powers = np.array([left.power(name) - right.power(name) for name in system.dynamic])
            grid = grid[grid @ powers + rest == 0]
        for size, rest in zip(system.whole, asked, strict=True):
            grid = grid[grid @ np.array([size.power(name) for name in system.dynamic]) + rest >= 0]
        if not len(grid):
            return False
    return True
