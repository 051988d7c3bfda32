"""Which convolutions of a network can be replaced, and replacing them. For users, the command line, evaluation.

Any `nn.Module` will do: layers are found by running it, in a copy, on an example input.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from canvas._core import Binding, Budget, Kernel, Layer
from canvas.errors import UserError
from canvas.example import Example, call
from canvas.kernel import module_from_source


@dataclass(frozen=True)
class Target:
    """A convolution that a kernel can stand in for.

    Attributes:
        name: the module's path in the model, as in `model.named_modules()`.
        layer: its sizes; `layer.count` is how often it is called in one forward pass.
    """

    name: str
    layer: Layer


def targets(
    model: nn.Module,
    example: Example,
    *,
    window: Collection[int] | None = None,
    include_pointwise: bool = False,
    include_stem: bool = False,
) -> list[Target]:
    """Finds the 2-d convolutions that a kernel can replace.

    These have an odd square window and the padding that keeps the resolution, stride 1 or 2 in both directions and no
    dilation; any number of channels and groups. The model is left as it is: buffers, modes, random stream.

    Args:
        model: any module; convolutions may be nested at will and used more than once.
        example: inputs: a tensor, a tuple of arguments or a dict of keyword arguments. The resolutions come from it.
        window: only these window sizes.
        include_pointwise: 1x1 convolutions too.
        include_stem: those with 4 input channels or fewer too.

    Returns:
        One target for each distinct module, in the order of first use. A module used at several resolutions is
        described by the largest.

    Raises:
        UserError: nothing to replace, or the model does not accept the example.

    Example:
        >>> [t.name for t in targets(resnet8(), torch.zeros(1, 1, 28, 28))][:2]
        ['stages.0.0.conv1', 'stages.0.0.conv2']
    """
    twin = copy.deepcopy(model).eval()
    names: dict[nn.Module, str] = {module: name for name, module in twin.named_modules()}
    calls: dict[nn.Conv2d, list[tuple[int, ...]]] = {}

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        assert isinstance(module, nn.Conv2d)
        x = inputs[0] if inputs else None
        if isinstance(x, Tensor) and x.dim() == 4 and _keeps_resolution(module, x, output):
            calls.setdefault(module, []).append(tuple(x.shape[2:]))

    for module in names:
        if isinstance(module, nn.Conv2d) and _replaceable(module, window, include_pointwise, include_stem):
            module.register_forward_hook(note)
    _run(twin, example)
    if not calls:
        raise UserError(
            "model: nothing to replace: no 2-d convolution with an odd window above 1, 'same' padding, stride 1 or 2, "
            "no dilation and more than 4 input channels; include_pointwise and include_stem widen the choice"
        )
    found = []
    for conv, extents in calls.items():
        sizes = (conv.in_channels, conv.out_channels, max(extents, key=lambda e: e[0] * e[1]))
        layer = Layer(*sizes, stride=conv.stride[0], window=conv.kernel_size[0], groups=conv.groups, count=len(extents))
        found.append(Target(names[conv], layer))
    return found


def _replaceable(conv: nn.Conv2d, window: Collection[int] | None, pointwise: bool, stem: bool) -> bool:
    size = conv.kernel_size[0]
    return (
        conv.kernel_size == (size, size)
        and size % 2 == 1
        and conv.stride in ((1, 1), (2, 2))
        and conv.dilation == (1, 1)
        and (size > 1 or pointwise)
        and (window is None or size in window)
        and (conv.in_channels > 4 or stem)
    )


def _keeps_resolution(conv: nn.Conv2d, x: Tensor, output: Any) -> bool:
    padding = conv.padding if isinstance(conv.padding, str) else conv.padding[0]
    same = padding == "same" or (padding == conv.kernel_size[0] // 2 and conv.padding == (padding, padding))
    stride = conv.stride[0]
    return same and tuple(output.shape[2:]) == tuple(-(-extent // stride) for extent in x.shape[2:])


def _run(model: nn.Module, example: Example) -> None:
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
    try:
        with torch.random.fork_rng(devices=devices), torch.no_grad():
            call(model, example)
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        raise UserError(f"model: does not accept the example input ({type(error).__name__}: {first})") from error


def merged(found: Sequence[Target]) -> list[Layer]:
    """The layers of a network, equal ones as one with their counts added: what `Kernel.bind` and `Search` are given.

    Args:
        found: as `targets` gives them.

    Returns:
        Distinct layers in the order of first use.

    Example:
        >>> merged([Target("a", Layer(8, 8)), Target("b", Layer(8, 8))])
        [Layer(8, 8, spatial=(32, 32), stride=1, window=3, groups=1, count=2)]
    """
    counts: dict[tuple[Any, ...], int] = {}
    for target in found:
        counts[_key(target.layer)] = counts.get(_key(target.layer), 0) + target.layer.count
    return [Layer(*key, count=count) for key, count in counts.items()]


def _key(layer: Layer) -> tuple[Any, ...]:
    return (layer.c_in, layer.c_out, tuple(layer.spatial), layer.stride, layer.window, layer.groups)


def replace(
    model: nn.Module,
    kernel: Kernel | Binding,
    targets: Sequence[Target] | None = None,
    budget: Budget | None = None,
    example: Example | None = None,
) -> nn.Module:
    """A copy of a network with a kernel in place of its convolutions; the original is untouched.

    Weights of the new modules are drawn from the global random stream; a convolution's bias stays. Type, device, memory
    format and mode are those of the convolution. A module used several times stays one module.

    Args:
        model: the network.
        kernel: a kernel, bound here to the layers under `budget`, or a binding to these layers.
        targets: what to replace; by default what `targets(model, example)` finds.
        budget: of the whole network, for a kernel.
        example: inputs of the model; needed without `targets`.

    Returns:
        The new network.

    Raises:
        UserError: no targets and no example, a target that the model lacks, or a binding made for other layers.
        Infeasible: the kernel has no sizes that meet the budget.

    Example:
        >>> fast = replace(model, canvas.zoo()["depthwise_separable"], example=torch.zeros(1, 3, 32, 32))
    """
    if targets is None:
        if example is None:
            raise UserError("replace: give targets, or an example input to find them with")
        targets = find_targets(model, example)
    binding = kernel.bind(merged(targets), budget) if hasattr(kernel, "bind") else kernel
    sources = _sources(binding, targets)
    twin = copy.deepcopy(model)
    swaps: dict[nn.Module, nn.Module] = {}
    for target, source in zip(targets, sources, strict=True):
        try:
            conv = twin.get_submodule(target.name)
        except AttributeError as error:
            raise UserError(f"replace: the model has no module '{target.name}'") from error
        swaps[conv] = _like(module_from_source(source), conv)
    for parent in list(twin.modules()):
        for name, child in parent._modules.items():
            if child in swaps:
                parent._modules[name] = swaps[child]
    return swaps.get(twin, twin)


find_targets = targets  # `replace` has an argument of that name


def _sources(binding: Any, found: Sequence[Target]) -> list[str]:
    """The source for each target: that of the bound layer of equal sizes (the n-th of several for the n-th target)."""
    bound: dict[tuple[Any, ...], list[Any]] = {}
    for index in range(len(binding)):
        bound.setdefault(_key(binding[index].layer), []).append(binding[index])
    sources, seen = [], dict.fromkeys(bound, 0)
    for target in found:
        key = _key(target.layer)
        if key not in bound:
            raise UserError(f"replace: the binding has no layer like that of {target.name}, {target.layer!r}")
        sources.append(bound[key][min(seen[key], len(bound[key]) - 1)].source())
        seen[key] += 1
    return sources


class Biased(nn.Module):
    """A kernel's module with the bias of the convolution that it replaced."""

    def __init__(self, body: nn.Module, bias: Tensor) -> None:
        super().__init__()
        self.body = body
        self.bias = nn.Parameter(bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.bias.view(-1, 1, 1)


def _like(module: Any, conv: nn.Module) -> nn.Module:
    """Gives a new module the bias, type, device, memory format and mode of a convolution."""
    weight, bias = conv.weight, conv.bias
    assert isinstance(weight, Tensor)
    if isinstance(bias, Tensor):
        module = Biased(module, bias)
    module = module.to(device=weight.device, dtype=weight.dtype)
    if weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous():
        module = module.to(memory_format=torch.channels_last)
    return module.train(conv.training)
