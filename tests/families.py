"""Whether two kernels compute the same family of functions: the same results, each with parameters of its own choice.

A family is what a kernel computes with all values of its parameters, so an answer may not depend on how they are named
or scaled. `Family` holds a kernel on a small layer and gives a fingerprint of facts that equal families share; `same`
decides by fitting the parameters of each kernel to the other's results.
"""

from __future__ import annotations

import itertools
from functools import cached_property
from typing import Any

import numpy as np
import torch

import canvas
from canvas.kernel import module_from_source
from sampled import input_shape
from shuffling import substituted, taken_apart

torch.set_num_threads(1)
EXACT = (
    1e-8  # a fit's residual, relative to the results, below which it is one; on inputs that it has not seen, its root
)
RANK = 1e-9  # singular values below this share of the largest are 0
MOST_MATCHES = 400  # ways to pair parameters that are tried before fitting
STARTS, STEPS = 4, 40  # of a fit


def variables(kernel: canvas.Kernel) -> list[str]:
    """The free sizes in the kernel's text."""
    return list(kernel.sizes.free)


class Family:
    """A kernel on one layer, its free sizes set to `free`; double precision.

    Raises:
        canvas.Infeasible, canvas.KernelError: the kernel has no such sizes there.
    """

    def __init__(self, kernel: canvas.Kernel, layer: canvas.Layer, free: int, batch: int) -> None:
        self.kernel = kernel
        self.free = variables(kernel)
        fixed = canvas.parse(substituted(kernel, dict.fromkeys(self.free, free))) if self.free else kernel
        bound = fixed.bind([layer])[0]
        self.module = module_from_source(bound.source()).double()
        self.shapes = {name: tuple(stored) for name, _, stored in bound.parameters()}
        self.axes = {name: tuple(logical) for name, logical, _ in bound.parameters()}
        kinds = {line.value: line.primitive for line in taken_apart(str(fixed)).lines}
        self.kinds = {name: kinds[name] for name in self.shapes}
        self.flops = bound.flops
        self.x = images(layer, batch, 1)
        self.layer = layer

    @property
    def size(self) -> int:
        """Elements of all parameters."""
        return sum(int(np.prod(shape)) for shape in self.shapes.values())

    def draw(self, seed: int) -> torch.Tensor:
        """Parameters in one vector, of a spread that keeps results of order 1."""
        generator = torch.Generator().manual_seed(seed)
        parts = []
        for name, shape in self.shapes.items():
            value = torch.randn(shape, generator=generator, dtype=torch.float64)
            if self.kinds[name] == "fc":
                value = value / max(1.0, (value.numel() / value.shape[0]) ** 0.5 if value.ndim else 1.0)
            parts.append((value + (self.kinds[name] == "scale")).reshape(-1))
        return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)

    def named(self, vector: torch.Tensor) -> dict[str, torch.Tensor]:
        parts = vector.split([int(np.prod(shape)) for shape in self.shapes.values()]) if self.shapes else []
        return {name: part.reshape(self.shapes[name]) for name, part in zip(self.shapes, parts, strict=True)}

    def results(self, vector: torch.Tensor, x: torch.Tensor | None = None) -> torch.Tensor:
        """What the kernel makes of its inputs with these parameters, in one vector."""
        given = self.x if x is None else x
        return torch.func.functional_call(self.module, self.named(vector), (given,)).reshape(-1)

    @cached_property
    def fingerprint(self) -> tuple[Any, ...]:
        """Facts that do not depend on how the family is parametrised."""
        with torch.no_grad():
            vector = self.draw(7)
            plain = self.results(vector)
            scale = float(plain.abs().max()) + 1e-300
            same = lambda a, b: bool(((a - b).abs().max() <= 1e-8 * scale * 8).item())  # noqa: E731
            doubled, turned = self.results(vector, 2 * self.x), self.results(vector, -self.x)
            degree = next((d for d in (0, 1, 2, 3) if same(doubled, plain * 2**d)), None)
            parity = next((s for s in (1, -1) if same(turned, s * plain)), None)
            zero = float(self.results(vector, 0 * self.x).abs().max()) <= 1e-8 * scale
            additive = same(self.results(vector, self.x + self.x.flip(0)), plain + self.results(vector, self.x.flip(0)))
            return (len(self.free), self.reads(), self.dimension, degree, parity, zero, additive, self.span())

    def reads(self) -> int:
        """Which elements of an image each result depends on, as a hash."""
        found = 0
        for seed in (3, 4):
            one = torch.func.jacrev(lambda x: self.results(self.draw(seed), x), chunk_size=128)(self.x[:1])  # noqa: B023
            mask = one.reshape(one.shape[0], -1).abs() > 1e-12
            found = mask if isinstance(found, int) else found | mask
        return hash(found.numpy().tobytes())

    @cached_property
    def dimension(self) -> int:
        """How many parameters the family needs near a generic member."""
        return rank(torch.func.jacfwd(self.results)(self.draw(5))) if self.size else 0

    def span(self) -> tuple[int, int]:
        """The dimension of the space that the family's results span, and where it lies (0 where it is everything)."""
        count = self.x.shape[0] * self.results(self.draw(1)).numel() // self.x.shape[0]
        drawn = torch.stack([self.results(self.draw(100 + i)) for i in range(min(count, 160))], 1)
        drawn = drawn / drawn.norm(dim=0).clamp_min(1e-300)
        left, values, _ = torch.linalg.svd(drawn, full_matrices=False)
        dimension = int((values > RANK * values[0]).sum())
        if dimension == drawn.shape[1]:
            return dimension, 0
        probe = torch.linspace(-1, 1, count, dtype=torch.float64).cos()
        inside = left[:, :dimension] @ (left[:, :dimension].T @ probe)
        return dimension, round(float(inside.norm()) * 1e5)


def images(layer: canvas.Layer, count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(input_shape(layer, count), generator=generator, dtype=torch.float64)


def rank(matrix: torch.Tensor) -> int:
    values = torch.linalg.svdvals(matrix)
    return int((values > RANK * values[0]).sum()) if len(values) and values[0] > 0 else 0


def matches(one: Family, other: Family) -> bool:
    """Whether `other` with `one`'s parameters, paired and transposed in some way, gives the same results."""
    if sorted(one.kinds.values()) != sorted(other.kinds.values()) or one.size != other.size:
        return False
    vector = one.draw(11)
    values, wanted = one.named(vector), one.results(vector)
    names = list(other.shapes)
    sizes = {name: int(np.prod(shape)) for name, shape in other.shapes.items()}
    tried = 0
    for order in itertools.permutations(values):
        pairs = list(zip(order, names, strict=True))
        if any(one.kinds[a] != other.kinds[b] or values[a].numel() != sizes[b] for a, b in pairs):
            continue
        ways = [transposed(values[a].reshape(one.axes[a]), other.axes[b]) for a, b in pairs]
        for chosen in itertools.product(*ways):
            tried += 1
            if tried > MOST_MATCHES:
                return False
            flat = torch.cat([value.reshape(-1) for value in chosen])
            if close(other.results(flat), wanted):
                return True
    return False


def transposed(value: torch.Tensor, shape: tuple[int, ...]) -> list[torch.Tensor]:
    """The value in this shape, its own axes or those of the shape in every order."""
    orders = itertools.permutations(range(value.ndim))
    found = [value.permute(order).reshape(shape) for order in orders]
    for order in itertools.permutations(range(len(shape))):
        back = sorted(range(len(shape)), key=order.__getitem__)
        found.append(value.reshape([shape[axis] for axis in order]).permute(back))
    different: dict[bytes, torch.Tensor] = {}
    for one in found:
        different.setdefault(one.contiguous().numpy().tobytes(), one)
    return list(different.values())


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool((a - b).norm() <= EXACT * b.norm())


def fits(model: Family, target: Family, seed: int = 23) -> bool:
    """Whether parameters of `model` give what `target` gives with parameters drawn at random (Levenberg-Marquardt).

    There are more results than parameters, and the fit must hold for inputs that it has not seen.
    """
    theirs = target.draw(seed)
    one = model.results(model.draw(0)).numel() // len(model.x)
    x = images(model.layer, -(-(13 * model.size // 10 + 30) // one), 2)
    unseen = images(model.layer, 2, 3)
    wanted = target.results(theirs, x)
    for start in range(STARTS if model.size else 1):
        found = fitted(model, x, wanted, start)
        if found is not None:
            return bool((model.results(found, unseen) - target.results(theirs, unseen)).norm() < EXACT**0.5)
    return False


def fitted(model: Family, x: torch.Tensor, wanted: torch.Tensor, seed: int) -> torch.Tensor | None:
    """Parameters that give these results, or nothing where this start leads to none."""
    vector, damping = model.draw(1000 + seed), 1e-2
    residual = model.results(vector, x) - wanted
    before = [float(residual.norm())]
    if before[0] <= EXACT * wanted.norm():
        return vector
    for _ in range(STEPS if model.size else 0):
        slopes = torch.func.jacfwd(lambda parameters: model.results(parameters, x))(vector)
        gram, pull = slopes.T @ slopes, slopes.T @ residual
        for _ in range(8):
            lifted = gram + damping * (gram.diagonal().mean() + 1e-12) * torch.eye(len(pull), dtype=torch.float64)
            moved = vector - torch.linalg.solve(lifted, pull)
            new = model.results(moved, x) - wanted
            if new.norm() < residual.norm():
                vector, residual, damping = moved, new, max(damping / 10, 1e-14)
                break
            damping *= 10
        else:
            return None
        if residual.norm() <= EXACT * wanted.norm():
            return vector
        before.append(float(residual.norm()))
        if len(before) > 12 and before[-1] > 0.9 * before[-6]:
            return None
    return None


def same(one: Family, other: Family) -> bool:
    """Whether both are one family on this layer, as far as fits tell: a fit that fails may miss that they are."""
    with torch.no_grad():
        return matches(one, other) or (fits(one, other) and fits(other, one))
