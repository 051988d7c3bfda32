"""Depthwise convolutions as PyTorch trains them quickly on the CPU. Called by `train`.

oneDNN's quick backward passes of depthwise convolutions know no dilation, and no window that is higher than the image:
others take 2 to 20 times as long there, in small networks a fifth of a step and more. What is computed is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class QuickBackward(TorchFunctionMode):
    """While it is entered, `F.conv2d` is the function below, also for modules.

    Example:
        >>> with QuickBackward():
        ...     nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8)(torch.zeros(1, 8, 5, 5)).shape
        torch.Size([1, 8, 5, 5])
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return (conv2d if func is torch.conv2d else func)(*args, **(kwargs or {}))


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """`F.conv2d`, its arguments and its result, on the CPU."""
    if input.dim() == 4 and groups == input.shape[1] == weight.shape[0] > 1 and not isinstance(padding, str):
        steps, margins, apart = _pair(stride), _pair(padding), _pair(dilation)
        if apart != (1, 1) and steps == (1, 1) and all(m % d == 0 for m, d in zip(margins, apart, strict=True)):
            return _by_phases(input, weight, bias, margins, apart)
        if apart == (1, 1) and weight.shape[2] > input.shape[2]:
            return _padded(input, weight, bias, steps, margins)
    return F.conv2d(input, weight, bias, stride, padding, dilation, groups)


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    first, *others = (value,) if isinstance(value, int) else value
    return first, others[0] if others else first


def _by_phases(
    x: Tensor, weight: Tensor, bias: Tensor | None, margins: tuple[int, int], apart: tuple[int, int]
) -> Tensor:
    """A dilated convolution: what a position reads lies whole steps of the dilation away, so positions that are so far
    apart are an image of their own."""
    (images, channels, high, wide), (down, right) = x.shape, apart
    rows, columns = -(-high // down), -(-wide // right)
    phases = F.pad(x, (0, columns * right - wide, 0, rows * down - high)).permute(0, 2, 3, 1)
    phases = phases.reshape(images, rows, down, columns, right, channels).permute(0, 2, 4, 1, 3, 5)
    phases = phases.reshape(images * down * right, rows, columns, channels).permute(0, 3, 1, 2)
    y = conv2d(phases, weight, bias, padding=(margins[0] // down, margins[1] // right), groups=channels)
    rows, columns = y.shape[2:]
    y = y.permute(0, 2, 3, 1).reshape(images, down, right, rows, columns, channels).permute(0, 3, 1, 4, 2, 5)
    y = y.reshape(images, rows * down, columns * right, channels)
    size = (n + 2 * m - d * (w - 1) for n, m, d, w in zip((high, wide), margins, apart, weight.shape[2:], strict=True))
    return y[:, : next(size), : next(size)].permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def _padded(x: Tensor, weight: Tensor, bias: Tensor | None, steps: tuple[int, int], margins: tuple[int, int]) -> Tensor:
    """A convolution whose input is padded before, as far as the window's steps reach into the image at all."""
    cut = [max(0, w - m - n) for w, m, n in zip(weight.shape[2:], margins, x.shape[2:], strict=True)]
    (top, left), (high, wide) = cut, weight.shape[2:]
    weight = weight[:, :, top : high - top, left : wide - left].contiguous()
    x = F.pad(x, (margins[1] - left,) * 2 + (margins[0] - top,) * 2)
    return F.conv2d(x, weight, bias, steps, groups=x.shape[1])
