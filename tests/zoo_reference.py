"""What a reference of a zoo kernel is, and how its costs are counted by hand; used by the `zoo_references_*` modules.

A reference is written from the paper's formula, with PyTorch's own functions: it never looks at what Canvas emits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

from torch import Tensor

from canvas import Layer

# More channels out than in and fewer, odd extents, strides 1 and 2.
LAYERS = (Layer(8, 12, (7, 5)), Layer(12, 8, (7, 5), stride=2))
EVEN = (Layer(8, 12, (8, 4)), Layer(12, 8, (4, 8), stride=2))

Cost = tuple[int, int]


@dataclass(frozen=True)
class Reference:
    """A kernel by other means.

    Attributes:
        value: (x [N, C, *spatial], parameters by name in their logical shapes, dimensions) -> [N, K, ...].
        costs: dimensions -> what each step takes as (operations, parameters).
        sizes: values for the kernel's dynamic variables that its widths and groups are not trivial for.
        layers: what it is compared on.
    """

    value: Callable[[Tensor, dict[str, Tensor], SimpleNamespace], Tensor]
    costs: Callable[[SimpleNamespace], list[Cost]]
    sizes: dict[str, int] = field(default_factory=dict)
    layers: tuple[Layer, ...] = LAYERS


def dimensions(layer: Layer, sizes: dict[str, int]) -> SimpleNamespace:
    """A layer's numbers under the names of the language, and the dynamic variables'.

    P and Q are the positions in and out.

    Example:
        >>> dimensions(Layer(8, 12, (7, 5), stride=2), {"g": 2}).Q
        12
    """
    extents = dict(zip(("D", "H", "W")[3 - len(layer.spatial) :], layer.spatial, strict=True))
    out = math.prod(-(-extent // layer.stride) for extent in layer.spatial)
    return SimpleNamespace(
        C=layer.c_in, K=layer.c_out, s=layer.stride, P=math.prod(layer.spatial), Q=out, **extents, **sizes
    )


def conv(c: int, k: int, window: int, at: int, groups: int = 1) -> Cost:
    """A convolution from c to k channels, `window` weights a channel, at `at` positions.

    Example:
        >>> conv(8, 16, 9, 10, groups=2)
        (11520, 576)
    """
    weights = c * k * window // groups
    return 2 * weights * at, weights


def depthwise(c: int, window: int, at: int) -> Cost:
    """One filter a channel."""
    return conv(c, c, window, at, groups=c)


def each(*elements: int) -> Cost:
    """One operation for each element of these steps: activations, gates, sums, means over so many."""
    return sum(elements), 0
