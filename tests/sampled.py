"""The kernels that the laws are tested on: sampled under several limits so that every primitive appears, and the zoo's.

`population()` gives the kernels, `cases()` each of them bound to small layers with random data and the interpreter's
result. `each()` runs a check on all and names what fails by seed and text, so that it can be pasted into a test.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch

import canvas
from canvas import Budget, Infeasible, Kernel, Layer
from canvas.kernel import module_from_source
from unusual import UNUSUAL, parsed

torch.set_num_threads(1)

SEED = 20230407
MULTIPLE = int(os.environ.get("CANVAS_LAWS", "1"))  # of the number of kernels: 4 makes more than 2,000
RARE = ("scale", "bias", "softmax", "gelu", "tanh", "abs", "exp", "neg", "sin", "sqrt", "square", "sub", "contract")
# Even and odd extents, strides 1 and 2, as many channels out as in and not.
FLAT = (
    Layer(8, 8, (6, 6)),
    Layer(8, 16, (6, 4), stride=2),
    Layer(8, 16, (7, 5)),
    Layer(16, 8, (7, 5), stride=2),
)
EVEN = (Layer(8, 8, (4, 8)), Layer(8, 16, (8, 4), stride=2), Layer(8, 16, (8, 4)), Layer(16, 8, (4, 8), stride=2))
LINE = (Layer(8, 12, (9,)), Layer(12, 8, (8,), stride=2))
SOLID = (Layer(4, 8, (3, 4, 2)), Layer(8, 4, (3, 4, 5), stride=2))
TOKENS = (Layer(8, 12, tokens=6), Layer(12, 8, tokens=5))
LINEAR = (Layer(8, 12, ()), Layer(12, 8, tokens=3))  # the kernels of the first kind serve both
# Kernels of the zoo that are bound to a number of positions: by weights along them, or by tiles that fill the image.
TIED = {"linformer", "mlp_mixer", "permute_mlp", "resmlp", "sparse_mlp", "spatial_gating_unit", "synthesizer"}
TIED |= {"spatial_reduction_attention", "window_attention"}
# name: layers, how many, limits
SETTINGS: dict[str, tuple[tuple[Layer, ...], int, dict[str, Any]]] = {
    "default": (FLAT, 100, {}),
    "rare primitives": (FLAT, 100, {"weights": dict.fromkeys(RARE, 1.0)}),
    "norms and extrema": (FLAT, 30, {"weights": dict.fromkeys(("norm", "div", "max", "min"), 1.5)}),
    "parts": (FLAT, 60, {"weights": {"split": 6.0, "select": 3.0, "update": 30.0, "stack": 2.0, "rename": 1.0}}),
    "scales": (EVEN, 20, {"weights": {"subsample": 6.0, "upsample": 3.0}}),
    "groups": (FLAT, 50, {"weights": {"split": 8.0, "merge": 4.0}, "max_variables": 3}),
    "large": (FLAT, 50, {"max_primitives": 14, "max_width": 5, "max_weighted": 6, "max_variables": 3}),
    "anything legal": (FLAT, 30, {"min_reach": 1, "full_flow": False, "trainable": False}),
    "1-d": (LINE, 30, {}),
    "3-d": (SOLID, 8, {"max_primitives": 6}),
    "tokens": (TOKENS, 40, {}),
    "tokens that mix": (TOKENS, 20, {"min_reach": 3}),
    "linear": (LINEAR, 40, {}),
}


@dataclass(frozen=True)
class Sampled:
    """A kernel, the layers that it was sampled for, and where it comes from."""

    kernel: Kernel
    layers: tuple[Layer, ...]
    origin: str


@dataclass(eq=False)
class Case:
    """A kernel bound to one layer, with random input and parameters."""

    sampled: Sampled
    bound: Any
    x: np.ndarray
    parameters: dict[str, np.ndarray]

    @cached_property
    def expected(self) -> np.ndarray:
        """What the interpreter says."""
        return self.bound.interpret(self.x, self.parameters)

    @cached_property
    def source(self) -> str:
        return self.bound.source()

    def module(self, dtype: torch.dtype = torch.float64) -> torch.nn.Module:
        """The emitted module with this case's parameters."""
        module = module_from_source(self.source).to(dtype)
        own = dict(module.named_parameters())
        assert set(own) == set(self.parameters)
        with torch.no_grad():
            for name, _, stored in self.bound.parameters():
                own[name].copy_(torch.from_numpy(self.parameters[name].reshape(stored)))
        return module


def input_shape(layer: Layer, batch: int = 1) -> tuple[int, ...]:
    """[N, c_in, *spatial], [N, tokens, c_in] or [N, c_in]."""
    return (batch, *filter(None, [layer.tokens]), layer.c_in, *layer.spatial)


def output_shape(layer: Layer, batch: int = 1) -> tuple[int, ...]:
    extents = (-(-extent // layer.stride) for extent in layer.spatial)
    return (batch, *filter(None, [layer.tokens]), layer.c_out, *extents)


def fitting(kernel: Kernel) -> tuple[Layer, ...]:
    """The layers for a hand-designed kernel: those of its signature; a few take even extents alone."""
    for layers in (FLAT, EVEN, LINE, SOLID, TOKENS, LINEAR):
        try:
            kernel.bind(list(layers))
            return layers
        except Infeasible:
            pass
    raise AssertionError(f"no layers for\n{kernel}")


def uses(kernel: Kernel) -> list[str]:
    """Each use of a primitive with the attributes given: `fc`, `fc per`, `fold mean`, `unfold dilation`."""
    found = []
    for name, arguments in re.findall(r"(?:= |return )(\w+)\((.*)\)", str(kernel)):
        keys = re.findall(r"\b(per|over|dilation|layer|rms|l1|l2|sum|mean|max): ", arguments)
        found.append(" ".join([name, *keys]))
    return found


def coverage() -> Counter[str]:
    """In how many kernels of the population each primitive is used with which attributes."""
    return Counter(use for sampled in population() for use in set(uses(sampled.kernel)))


@cache
def population() -> tuple[Sampled, ...]:
    found = []
    for name, (layers, count, limits) in SETTINGS.items():
        kernels = canvas.sample(list(layers), count * MULTIPLE, seed=SEED, **limits)
        found += [Sampled(kernel, layers, f"'{name}', seed {SEED}, number {i}") for i, kernel in enumerate(kernels)]
    found += [Sampled(parsed(name, body), FLAT, f"unusual, {name}") for name, body in UNUSUAL.items()]
    found += [Sampled(kernel, fitting(kernel), f"zoo, {name}") for name, kernel in canvas.zoo().items()]
    return tuple(found)


def bound_tightly(kernel: Kernel, layer: Layer) -> Any:
    """Bound with other sizes than the largest, where there are others: so groups and ranks above 1 are met."""
    full = kernel.bind([layer])[0]
    for share in (0.3, 0.6, 0.9) if full.sizes else ():
        for cost in ("flops", "params"):
            try:
                return kernel.bind([layer], Budget(**{cost: share * getattr(full, cost) / getattr(layer, cost)}))[0]
            except Infeasible:
                pass
    return full


@cache
def cases() -> tuple[Case, ...]:
    """Two for each kernel: stride 1 and 2, one image and three."""
    found = []
    for number, sampled in enumerate(population()):
        rng = np.random.default_rng(number)
        half = len(sampled.layers) // 2
        for turn in (0, 1):
            layer = sampled.layers[2 * (number % half) + turn]
            bound = bound_tightly(sampled.kernel, layer)
            batch = 1 if (number // 2 + turn) % 2 else 3
            x = rng.standard_normal(input_shape(layer, batch))
            parameters = {name: rng.standard_normal(logical) for name, logical, _ in bound.parameters()}
            for value in parameters.values():  # divided by the root of the fan-in, more or less: values stay of order 1
                value /= max(1.0, (value.size / value.shape[0]) ** 0.5) if value.ndim else 1.0
            found.append(Case(sampled, bound, x, parameters))
    return tuple(found)


def one_each() -> tuple[Case, ...]:
    """One case for each kernel, for the laws that are dear to check."""
    return tuple(case for number, case in enumerate(cases()) if number % 2 == number // 4 % 2)


def each(items: Iterable[Any], check: Callable[[Any], None]) -> None:
    """Runs the check on every sampled kernel or case; fails with the first three that do not hold, and their number."""
    failures = []
    for item in items:
        try:
            check(item)
        except Exception as error:
            sampled, where = (
                (item.sampled, f" on {item.bound.layer} {item.bound.sizes}") if isinstance(item, Case) else (item, "")
            )
            failures.append(f"{type(error).__name__}: {error}\n{sampled.origin}{where}\n{sampled.kernel}")
    assert not failures, f"{len(failures)} fail:\n\n" + "\n".join(failures[:3])
