"""Data for classification that come from a pair of the user's DataLoaders, as `train.py` takes them.

The loaders decide batches, order and augmentation; a recipe's `batch`, `flip`, `crop` and `validation` mean nothing
here. Shuffling follows the global random stream, as PyTorch's loaders do by default, and so the recipe's seed.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from canvas.errors import UserError


@dataclass
class Loaders:
    """Two DataLoaders, or anything else that can be iterated again and again.

    Attributes:
        train: gives batches (inputs, labels): floats [N, ...] as the network takes them, class numbers [N].
        validation: gives such batches of other data, always the same.
        count: how many classes there are; by default as many as the training loader's data set names, or as the
            validation data show.

    Example:
        >>> import torch
        >>> batches = [(torch.zeros(4, 3, 8, 8), torch.zeros(4, dtype=torch.long))]
        >>> Loaders(batches, batches, 10).shape
        (3, 8, 8)
    """

    train: Iterable[Any]
    validation: Iterable[Any]
    count: int | None = None
    name = "loaders"

    @functools.cached_property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return tuple(next(_batches(self.validation, "validation"))[0].shape[1:])

    @functools.cached_property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        named = getattr(getattr(self.train, "dataset", None), "classes", None)
        if self.count is None and named:
            return tuple(map(str, named))
        count = self.count or 1 + max(int(labels.max()) for _, labels in _batches(self.validation, "validation"))
        return tuple(f"class {i}" for i in range(count))

    def normalise(self, inputs: Tensor) -> Tensor:
        """As they come."""
        return inputs

    def parts(self, images: int) -> tuple[int, Iterator[tuple[Tensor, Tensor]], Iterator[tuple[Tensor, Tensor]]]:
        """For a training that sees so many images: the number of steps, their batches (pass after pass), and the
        validation's.

        Raises:
            UserError: a loader gives nothing, or something other than pairs of tensors.
        """
        size = getattr(self.train, "batch_size", None) or len(next(_batches(self.train, "training"))[1])
        return max(1, round(images / size)), _again(self.train), _batches(self.validation, "validation")


def loaders(given: Any) -> Loaders:
    """What a user gives for data: `Loaders`, a pair of DataLoaders, or a function that makes either.

    Raises:
        UserError: it is none of these.

    Example:
        >>> loaders(lambda: ([], [])).validation
        []
    """
    made = given() if callable(given) else given
    if isinstance(made, Loaders):
        return made
    if not isinstance(made, (tuple, list)) or len(made) != 2:
        raise UserError(f"data: needs a pair of DataLoaders (training, validation), got {type(made).__name__}")
    return Loaders(*made)


def _again(loader: Iterable[Any]) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        yield from _batches(loader, "training")


def _batches(loader: Iterable[Any], which: str) -> Iterator[tuple[Tensor, Tensor]]:
    empty = True
    for batch in loader:
        empty = False
        pair = isinstance(batch, (tuple, list)) and len(batch) == 2 and all(isinstance(it, Tensor) for it in batch)
        if not pair or len(batch[0]) != len(batch[1]):
            raise UserError(f"the {which} DataLoader must give pairs of tensors: inputs [N, ...] and class numbers [N]")
        yield batch[0], batch[1]
    if empty:
        raise UserError(f"the {which} DataLoader gives no batch; is its data set smaller than one, with drop_last?")
