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


VALUATIONS = np.array([[0] * len(PRIMES)] + [valuations(n) for n in range(1, LARGEST + 1)], dtype=np.int16)
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


class Trial:
    """All values of a system's variables, prepared once for many networks: its first equation by a sorted table."""

    def __init__(self, system: System) -> None:
        self.system, names = system, system.dynamic
        ranges = [np.arange(low, high + 1) for _, low, high in system.bounds]
        self.powers = [[left.power(name) - right.power(name) for name in names] for left, right in system.equations]
        first = next((i for i, powers in enumerate(self.powers) if any(powers)), None)
        self.first = first
        inner = next(i for i, power in enumerate(self.powers[first]) if power) if first is not None else None
        outer = [axis if i != inner else np.zeros(1, dtype=int) for i, axis in enumerate(ranges)]
        self.grid = np.stack([axis.ravel() for axis in np.meshgrid(*outer, indexing="ij")], axis=1)
        if first is not None:
            self.inner, self.values = inner, ranges[inner]
            sums = self.sums(self.grid, [0 if i == inner else power for i, power in enumerate(self.powers[first])])
            order = np.argsort(sums)
            self.grid, self.sorted = self.grid[order], sums[order]
            self.table = times(SUMS[self.values], -self.powers[first][inner])

    @staticmethod
    def sums(found: np.ndarray, powers: list[int]) -> np.ndarray:
        total = np.zeros(len(found), dtype=np.uint64)
        for i, power in enumerate(powers):
            if power:
                total += times(SUMS[found[:, i]], power)
        return total

    def solutions(self, network: dict[str, int]) -> np.ndarray:
        """All solutions, one a row, in the order of `system.dynamic`."""
        sides = self.system.equations
        rests = [np.uint64((sum_of(left, network) - sum_of(right, network)) % 2**64) for left, right in sides]
        if any(rest and not any(powers) for rest, powers in zip(rests, self.powers, strict=True)):
            return self.grid[:0]
        found = self.grid
        if self.first is not None:  # the other variables with what the inner one must then be
            wanted = self.table - rests[self.first]
            low, high = (np.searchsorted(self.sorted, wanted, side) for side in ("left", "right"))
            counts = high - low
            hits = np.repeat(low - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
            found = found[hits]
            found[:, self.inner] = np.repeat(self.values, counts)
        for powers, rest in zip(self.powers, rests, strict=True) if len(found) else ():
            found = found[self.sums(found, powers) + rest == 0]
        for size in self.system.whole if len(found) else ():
            total = exponents_of(size, network)[None]
            for i, name in enumerate(self.system.dynamic):
                if size.power(name):
                    total = total + np.int16(size.power(name)) * VALUATIONS[found[:, i]]
            found = found[np.broadcast_to((total >= 0).all(axis=1), len(found))]
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
