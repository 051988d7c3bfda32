"""What a reference of a zoo kernel is, and what the `zoo_references_*` modules are written with.

A reference is written from the paper's formula, with PyTorch's own functions: it never looks at what Canvas emits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import torch.nn.functional as F
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

    P and Q are the positions in and out, rows the rows out, T the tokens.

    Example:
        >>> dimensions(Layer(8, 12, (7, 5), stride=2), {"g": 2}).Q
        12
    """
    extents = dict(zip(("D", "H", "W")[3 - len(layer.spatial) :], layer.spatial, strict=True))
    out = [-(-extent // layer.stride) for extent in layer.spatial]
    positions = {"P": math.prod(layer.spatial), "Q": math.prod(out), "rows": out[0] if out else 1, "T": layer.tokens}
    return SimpleNamespace(C=layer.c_in, K=layer.c_out, s=layer.stride, **positions, **extents, **sizes)


def conv2d(x: Tensor, weight: Tensor, s: int = 1, dilation: int = 1, groups: int = 1) -> Tensor:
    """A convolution padded by zeros so that only the stride changes the extents."""
    padding = [dilation * (window // 2) for window in weight.shape[2:]]
    return F.conv2d(x, weight, stride=s, padding=padding, dilation=dilation, groups=groups)


def point(x: Tensor, weight: Tensor, s: int = 1, groups: int = 1) -> Tensor:
    """A 1 x 1 convolution; weight [out, in / groups]."""
    return F.conv2d(x, weight[:, :, None, None], stride=s, groups=groups)


def filters(x: Tensor, weight: Tensor, s: int = 1, dilation: int = 1) -> Tensor:
    """A depthwise convolution; weight [channels, h, w]."""
    return conv2d(x, weight[:, None], s, dilation, groups=len(weight))


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
