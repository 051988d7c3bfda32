"""Example inputs of a network: a tensor, a tuple of arguments or a dict of keyword ones. For targets and latency."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from canvas.errors import UserError, one_line

Example = Tensor | tuple | dict


def call(model: Any, example: Example) -> Any:
    """Calls a model with a tensor, a tuple of positional or a dict of keyword arguments."""
    if isinstance(example, dict):
        return model(**example)
    return model(*example) if isinstance(example, tuple) else model(example)


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Within it the model is in eval mode; afterwards each of its modules is in the mode that it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def fresh(example: Example, generator: torch.Generator) -> Example:
    """New inputs of the same shapes: normal numbers of the same mean and spread, so equal ones stay; integers are
    permuted."""

    def renew(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if value.is_floating_point():
            noise = torch.randn(value.shape, generator=generator)
            spread, mean = torch.std_mean(value.float(), correction=0)
            return (noise * spread.cpu() + mean.cpu()).to(value.device, value.dtype)
        order = torch.randperm(value.numel(), generator=generator).to(value.device)
        return value.flatten()[order].view(value.shape)

    return pytree.tree_map(renew, example)


def varied(example: Example) -> Example:
    """The same inputs, but normal numbers for a tensor of zeros, of which nothing can be told."""
    if not isinstance(example, Tensor) or not example.is_floating_point() or bool(example.any()):
        return example
    return torch.randn(example.shape, generator=torch.Generator().manual_seed(0)).to(example)


def stored_channels_last(tensor: Tensor) -> Tensor:
    """A 4-d tensor stored channels last, without doubt.

    With one channel or one position both formats are the same memory; PyTorch then keeps the strides of the other one,
    and all that follows runs channels first. So the strides are set explicitly.
    """
    _, channels, height, width = tensor.shape
    strides = (channels * height * width, 1, channels * width, channels)
    return tensor.contiguous(memory_format=torch.channels_last).as_strided(tensor.shape, strides)


def channels_last(example: Example) -> Example:
    """The same inputs with every 4-d tensor stored channels last."""

    def convert(value: Any) -> Any:
        return stored_channels_last(value) if isinstance(value, Tensor) and value.dim() == 4 else value

    return pytree.tree_map(convert, example)


def store_channels_last(model: nn.Module) -> nn.Module:
    """Stores every 4-d parameter and buffer of a model channels last, in place; `Module.to` refuses 5-d ones."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.dim() == 4:
            tensor.data = stored_channels_last(tensor.data)
    return model


def floats(output: Any) -> list[Tensor]:
    """All floating-point tensors of a model's output, in a fixed order."""
    return [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor) and leaf.is_floating_point()]


def outputs(model: nn.Module, example: Example) -> list[Tensor]:
    """The floating-point tensors that a model gives in eval mode.

    Raises:
        UserError: it does not accept the example.

    Example:
        >>> [made.shape for made in outputs(nn.Linear(8, 4), torch.zeros(1, 8))]
        [torch.Size([1, 4])]
    """
    try:
        with evaluating(model), torch.no_grad():
            return floats(call(model, example))
    except Exception as error:  # of the user's code
        tensors = [leaf for leaf in pytree.tree_leaves(example) if isinstance(leaf, Tensor)]
        shapes = ", ".join("x".join(map(str, tensor.shape)) for tensor in tensors)
        raise UserError(
            f"model: does not accept an input of the shape {shapes} ({type(error).__name__}: {one_line(error)[:200]});"
            " give the right shape (--input CxHxW)"
        ) from error


def relative_error(have: Tensor, want: Tensor) -> float:
    """How far `have` is from `want`, by the 2-norm, relative to `want`."""
    return float((have - want).norm() / want.norm().clamp_min(1e-12))


def device_of(model: nn.Module, example: Example) -> torch.device:
    """Where a model computes: the device of its first parameter, else of its first input."""
    tensors = [*model.parameters(), *(t for t in pytree.tree_leaves(example) if isinstance(t, Tensor))]
    return tensors[0].device if tensors else torch.device("cpu")
