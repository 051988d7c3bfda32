"""What references of attentions and token mixers share: PyTorch's functions on the layouts of papers, and counts."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor

from canvas import Layer
from zoo_reference import LAYERS, Cost, Reference

QKV = ("q", "k_", "v")  # k alone is a name in every module
Value = Callable[[Tensor, dict[str, Tensor], SimpleNamespace], Tensor]
Costs = Callable[[SimpleNamespace], list[Cost]]


def collector(
    found: dict[str, Reference], layers: tuple[Layer, ...] = LAYERS
) -> Callable[..., Callable[[Value], Value]]:
    """A decorator that enters a function into `found`, with its costs and the sizes that it is compared at."""

    def reference(costs: Costs, layers: tuple[Layer, ...] = layers, **sizes: int) -> Callable[[Value], Value]:
        def put(value: Value) -> Value:
            found[value.__name__] = Reference(value, costs, sizes, layers)
            return value

        return put

    return reference


def linear(weight: Tensor, x: Tensor) -> Tensor:
    """Weights [*out, *in] applied to the axis after the batch."""
    return torch.einsum("oc,bc...->bo...", weight.reshape(-1, x.shape[1]), x)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k') v for [..., positions, channels]; the scale is in the weights of q."""
    return F.scaled_dot_product_attention(q, k, v, scale=1.0)


def heads(x: Tensor, count: int) -> Tensor:
    """[batch, channels, ...] as [batch, heads, positions, channels of a head]."""
    return x.flatten(2).unflatten(1, (count, -1)).transpose(2, 3)


def image(x: Tensor, like: Tensor) -> Tensor:
    """[batch, heads, positions, channels of a head] as [batch, channels, height, width]."""
    return x.transpose(2, 3).flatten(1, 2).unflatten(2, like.shape[2:])


def every(x: Tensor, step: int) -> Tensor:
    return x[:, :, ::step, ::step]


def windows(x: Tensor, size: int) -> Tensor:
    """[batch, channels, size, size, height, width], zero padded."""
    stack = F.unfold(x, size, padding=size // 2)
    return stack.view(*x.shape[:2], size, size, *x.shape[2:])


def layer_norm(x: Tensor, factor: Tensor, addend: Tensor) -> Tensor:
    """Over the last axis."""
    return F.layer_norm(x, factor.shape, factor, addend, eps=1e-6)


def products(*terms: int) -> Cost:
    """Contractions of two activations with so many products."""
    return 2 * sum(terms), 0


def exponentials(elements: int) -> Cost:
    """Softmax over so many elements: maximum, difference, exponential, sum, quotient."""
    return 5 * elements, 0


def affine(elements: int, weights: int) -> Cost:
    """A factor or an addend for so many elements."""
    return elements, weights


def normalised(channels: int, at: int) -> Cost:
    """Layer norm with its affine map: mean, difference, square, sum, product, factor and addend."""
    return 7 * channels * at, 2 * channels


def unit(elements: int) -> Cost:
    """Length one: square, sum, product."""
    return 3 * elements, 0
