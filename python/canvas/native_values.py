"""Values of a network that is written as native code: axes, constants, broadcasting. `native_layers` builds on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from canvas.onnx_graph import Unsupported

Axis = tuple[str, int, str]  # name, extent, role


@dataclass(frozen=True)
class Value:
    """A value of the network that is written.

    Attributes:
        number: its number there.
        dims: its axis for each of PyTorch's dimensions behind the batch; None for one of a single element.
    """

    number: int
    dims: tuple[Axis | None, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(1 if axis is None else axis[1] for axis in self.dims)

    @property
    def names(self) -> list[str]:
        return [axis[0] for axis in self.dims if axis is not None]


class Layers:
    """A network while it is put together.

    Args:
        network: a `_core.NativeNetwork`, whose input is value 0.
        batch: images of the trace, to tell their dimension.
    """

    def __init__(self, network: Any, batch: int) -> None:
        self.network = network
        self.batch = batch
        self.parameters: dict[str, Tensor] = {}
        self._axes = 0

    def axis(self, extent: int, role: str = "channel") -> Axis | None:
        """A new axis; None for a single element."""
        self._axes += 1
        return None if extent == 1 else (f"{role[0]}{self._axes}", extent, role)

    def like(self, axis: Axis | None, extent: int) -> Axis | None:
        """The same axis of another extent."""
        return None if axis is None or extent == 1 else (axis[0], extent, axis[2])

    def stored(self, tensor: Tensor, dims: Sequence[Axis | None]) -> int:
        """A tensor of these dimensions as a parameter."""
        name = f"p{len(self.parameters)}"
        self.parameters[name] = tensor.detach()
        return int(self.network.parameter(name, [axis for axis in dims if axis is not None]))

    def constant(self, tensor: Tensor, beside: Value) -> Value:
        """A tensor that is broadcast with a value: its dimensions count from the last."""
        if tensor.dim() > len(beside.dims):
            if tensor.dim() > len(beside.dims) + 1 or tensor.shape[0] != 1:
                raise Unsupported("a constant that differs between images")
            tensor = tensor[0]
        own = beside.dims[len(beside.dims) - tensor.dim() :]
        pairs = list(zip(tensor.shape, own, strict=True))
        if any(size not in (1, 1 if axis is None else axis[1]) for size, axis in pairs):
            raise Unsupported("a constant that is larger than what it meets")
        dims = tuple(None if size == 1 else axis for size, axis in pairs)
        return Value(self.stored(tensor, dims), dims)

    def map(self, function: str, *values: Value) -> Value:
        """A function of elements; shapes are broadcast as PyTorch does."""
        if len(values) == 1:
            return Value(self.network.map(function, [values[0].number]), values[0].dims)
        rank = max(len(value.dims) for value in values)
        wide = [(None,) * (rank - len(value.dims)) + value.dims for value in values]
        last = max(
            range(len(values)), key=lambda index: values[index].number
        )  # it keeps its names: it is computed here
        dims = list(wide[last])
        for own in wide:
            for index, axis in enumerate(own):
                if dims[index] is None and axis is not None:
                    taken = axis[0] in [other[0] for other in dims if other]
                    dims[index] = self.axis(axis[1], axis[2]) if taken else axis
        numbers = []
        for value, own in zip(values, wide, strict=True):
            pairs = zip(own, dims, strict=True)
            numbers.append(self.renamed(value, {axis: to for axis, to in pairs if axis is not None and axis != to}))
        return Value(self.network.map(function, numbers), tuple(dims))

    def renamed(self, value: Value, to: dict[Axis, Axis | None]) -> int:
        """The value with other names for its axes."""
        number = value.number
        steps = [*to.items()]
        if {new[0] for new in to.values() if new} & set(value.names):  # two change places: by way of new names
            between = [(old, self.axis(old[1], old[2])) for old in to]
            steps = [*between, *((new, to[old]) for old, new in between if new)]
        for old, new in steps:
            if new is None or old[1] != new[1]:
                raise Unsupported("shapes that do not suit each other")
            number = self.network.view(number, [old[0]], [new])
        return number

    def contract(self, values: Sequence[int], dims: Sequence[Axis | None]) -> Value:
        kept = [axis[0] for axis in dims if axis is not None]
        return Value(self.network.contract(list(values), kept), tuple(dims))

    def dropped(self, number: int, axis: Axis, extent: int) -> int:
        """Without an axis that has one element left."""
        return int(self.network.pick(number, axis[0], 0)) if extent == 1 else number

    def split(self, number: int, axis: Axis | None, parts: Sequence[Axis | None]) -> int:
        """One axis as several, the last the fastest."""
        assert axis is not None
        return int(self.network.view(number, [axis[0]], [part for part in parts if part is not None]))

    def merged(self, number: int, parts: Sequence[Axis | None], axis: Axis | None) -> int:
        """Several axes as one."""
        return int(self.network.view(number, [part[0] for part in parts if part is not None], [axis]))
