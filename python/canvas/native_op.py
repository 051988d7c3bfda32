"""Native kernels as an operator of PyTorch, `canvas::native`: `torch.compile` takes it into its graphs as it stands.

Plain calls do not pass through it, since PyTorch's dispatch takes longer than a small kernel.
"""

from __future__ import annotations

import itertools
import weakref
from typing import Protocol

import torch
from torch import Tensor


class Runner(Protocol):
    """What the operator calls."""

    def run(self, x: Tensor, addend: Tensor | None) -> Tensor: ...

    def shaped(self, x: Tensor) -> Tensor:
        """A tensor like the result, without values."""


_RUNNERS: weakref.WeakValueDictionary[int, Runner] = weakref.WeakValueDictionary()
_NUMBERS = itertools.count()


def register(runner: Runner) -> int:
    """The number by which the operator knows it, while it lives.

    Example:
        >>> torch.ops.canvas.native(x, None, register(native_kernel))  # doctest: +SKIP
    """
    number = next(_NUMBERS)
    _RUNNERS[number] = runner
    return number


@torch.library.custom_op("canvas::native", mutates_args=(), device_types="cpu")
def native(x: Tensor, addend: Tensor | None, number: int) -> Tensor:
    """The result of runner `number`."""
    return _RUNNERS[number].run(x, addend)


@native.register_fake
def _(x: Tensor, addend: Tensor | None, number: int) -> Tensor:
    return _RUNNERS[number].shaped(x)
