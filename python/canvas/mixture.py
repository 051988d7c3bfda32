"""Networks whose layers take different kernels: which stages a network has, and which kernel stands in each.

`combine.py` looks for good ones, `train.py` and users put them into networks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

import canvas._core as _core
from canvas.errors import UserError
from canvas.layers import Target, bound_layers, replace

KINDS_OF_STAGE = ("stage", "shape", "layer")


def stages(targets: Sequence[Target], by: str = "stage") -> dict[str, list[Target]]:
    """Which layers take the same kernel.

    Args:
        targets: as `canvas.targets` gives them.
        by: "stage" (layers whose outputs have the same extents, or the same number of tokens), "shape" (layers that are
            alike), or "layer" (each for itself).

    Returns:
        The layers of each stage by its name, in the order of first use.

    Raises:
        UserError: there is no such kind of stage.

    Example:
        >>> list(stages(canvas.targets(resnet8(), torch.zeros(1, 1, 28, 28))))
        ['7x7', '4x4', '2x2']
    """
    if by not in KINDS_OF_STAGE:
        raise UserError(f"stages: there are none by {by!r}, only by {', '.join(KINDS_OF_STAGE)}")
    found: dict[str, list[Target]] = {}
    for target in targets:
        layer = target.layer
        made = [-(-extent // layer.stride) for extent in layer.spatial]
        place = "x".join(map(str, made)) or (f"{layer.tokens} tokens" if layer.tokens else "linear")
        channels = f"{layer.c_in} to {layer.c_out}" + (f", {layer.groups} groups" if layer.groups > 1 else "")
        shape = f"{channels}, {layer.window} wide" if layer.spatial else channels
        name = {"stage": place, "shape": f"{shape}, {place}", "layer": target.name}[by]
        found.setdefault(name, []).append(target)
    return found


def bind_served(
    kernel: _core.Kernel, layers: Sequence[_core.Layer], budget: _core.Budget | None, rules: Mapping[str, Any]
) -> _core.Binding | None:
    """A kernel bound to those of the layers that it serves: under the budget if it can meet it, else without.

    Returns:
        The binding, or None where it serves no layer or has no sizes.

    Example:
        >>> len(bind_served(canvas.zoo()["dense"], [canvas.Layer(8, 8), canvas.Layer(8, 8, ())], None, {}))
        1
    """
    served = [layer for layer in layers if kernel.serves(layer)]
    for limit in (budget, None):
        try:
            return kernel.bind(served, limit, **rules) if served else None
        except _core.Infeasible:
            pass
    return None


class Mixture:
    """Which kernel stands in for each layer of a network.

    Attributes:
        targets: the layers that can be replaced.
        parts: by the target's name the binding that it takes; None, or no entry: the layer stays.

    Args:
        targets: as `canvas.targets` gives them.
        parts: bindings to these layers or some of them.

    Raises:
        UserError: a part is of no target, or its binding has no such layer.

    Example:
        >>> found = canvas.targets(model, example)
        >>> fast = canvas.zoo()["depthwise_separable"].bind(merged(found))
        >>> Mixture(found, {found[0].name: fast}).params
        4672
    """

    def __init__(self, targets: Sequence[Target], parts: Mapping[str, _core.Binding | None]) -> None:
        self.targets, self.parts = tuple(targets), dict(parts)
        unknown = self.parts.keys() - {target.name for target in self.targets}
        if unknown:
            raise UserError(f"mixture: there is no target '{min(unknown)}'")
        held: dict[str, Any] = {target.name: target.layer for target in self.targets}
        for binding in {id(part): part for part in self.parts.values() if part is not None}.values():
            own = [target for target in self.targets if self.parts.get(target.name) is binding]
            held |= zip((target.name for target in own), bound_layers(binding, own), strict=True)
        self.layers = list(held.values())  # what stands for each target: a bound layer, or the layer itself

    @property
    def hash(self) -> str:
        """Hex text, equal where equal kernels stand in for the same layers."""
        return mixture_hash(
            {name: None if binding is None else binding.kernel.hash for name, binding in self.parts.items()}
        )

    @property
    def flops(self) -> int:
        """Operations of all layers, replaced or not, one image."""
        return self._sum("flops")

    @property
    def params(self) -> int:
        """Parameters of all layers."""
        return self._sum("params")

    @property
    def memory(self) -> int:
        """Bytes of live activations of the largest layer, fp32, one image."""
        return int(max(layer.memory for layer in self.layers))

    def apply(self, model: nn.Module) -> nn.Module:
        """A copy of a network with the kernels in it; `model` is untouched.

        Raises:
            UserError: the model has no such layers.

        Example:
            >>> network = combined.mixture.apply(model)  # doctest: +SKIP
        """
        return replace(model, self.parts, self.targets)

    def _sum(self, cost: str) -> int:
        found = zip(self.layers, self.targets, strict=True)
        return int(sum(getattr(layer, cost) * target.layer.count for layer, target in found))


def mixture_hash(kernels: Mapping[str, str | None]) -> str:
    """The hash of a mixture, from the hashes of the kernels by their targets' names.

    Example:
        >>> mixture_hash({"a": None, "b": "0f"}) == mixture_hash({"b": "0f"})
        True
    """
    text = "\n".join(f"{name}={kernel}" for name, kernel in sorted(kernels.items()) if kernel is not None)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
