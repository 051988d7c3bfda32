"""Which layers of a network can be replaced, and replacing them. For users, the command line, evaluation.

Any `nn.Module` will do: layers are found by running it, in a copy, on an example input.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from canvas._core import Binding, BoundLayer, Budget, Kernel, Layer
from canvas.errors import UserError, one_line
from canvas.example import Example, call, floats, varied
from canvas.fitted import Fitted as Fitted  # saved networks look for it here
from canvas.fitted import leave_fast_paths, like, margin_of
from canvas.kernel import module_from_source

KINDS = {"conv": ("conv1d", "conv2d", "conv3d"), "linear": ("linear",)}  # each of them may be named by itself too


@dataclass(frozen=True)
class Target:
    """A layer that a kernel can stand in for.

    Attributes:
        name: the module's path in the model, as in `model.named_modules()`.
        layer: its sizes; `layer.count` is how often it is called in one forward pass.
        nonnegative: no input was negative, as behind a relu; a search then takes `max(x, 0)` for `x`.
    """

    name: str
    layer: Layer
    nonnegative: bool = field(default=False, compare=False)


def targets(
    model: nn.Module,
    example: Example,
    *,
    kinds: str | Collection[str] = ("conv",),
    window: Collection[int] | None = None,
    include_pointwise: bool = False,
    include_stem: bool = False,
    include_head: bool = False,
) -> list[Target]:
    """Finds the layers that a kernel can replace: convolutions, and linear layers where these are asked for.

    Convolutions have an odd window, stride 1 or 2 and padding alike in all directions, no dilation and at most the
    padding that keeps the resolution; any number of channels and groups. Where the padding is less (the model pads by
    itself, say), the kernel reads what lies within the margin that the window needs. Linear layers are `nn.Linear` and
    the `Conv1D` of transformers; one that is given [N, T, C] is described with T tokens, so that kernels
    `(x[T, C]) -> [T, K]` serve it as well as `(x[C]) -> [K]`. The model is left as it is: buffers, modes and random
    stream.

    Args:
        model: any module; layers may be nested at will and used more than once.
        example: inputs: a tensor, a tuple of arguments or a dict of keyword arguments. The resolutions come from it;
            a tensor of zeros stands for normal numbers.
        kinds: "conv" (or "conv1d", "conv2d", "conv3d") and "linear".
        window: only convolutions of these window sizes.
        include_pointwise: 1x1 convolutions too.
        include_stem: convolutions with 4 input channels or fewer too.
        include_head: linear layers of which the model's output comes too: the last layer of a classifier.

    Returns:
        One target for each distinct module, in the order of first use. A module used at several resolutions is
        described by the largest.

    Raises:
        UserError: nothing to replace, an unknown kind, or the model does not accept the example.

    Example:
        >>> [t.name for t in targets(resnet8(), torch.zeros(1, 1, 28, 28))][:2]
        ['stages.0.0.conv1', 'stages.0.0.conv2']
        >>> [t.layer.tokens for t in targets(nn.Linear(8, 8), torch.zeros(1, 5, 8), kinds="linear", include_head=True)]
        [5]
    """
    wanted = _named_kinds(kinds)
    twin = _copied(model).eval()
    names: dict[nn.Module, str] = {module: name for name, module in twin.named_modules()}
    calls: dict[nn.Module, list[dict[str, Any]]] = {}
    outputs: dict[nn.Module, list[Tensor]] = {}  # of linear layers, to tell the heads
    negative: set[nn.Module] = set()  # have such inputs
    last: nn.Module | None = None  # of those called that have weights of their own

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        x = inputs[0] if inputs else None
        if isinstance(x, Tensor) and isinstance(output, Tensor):
            sizes = _sizes(module, tuple(x.shape), tuple(output.shape))
            if sizes is not None:
                calls.setdefault(module, []).append(sizes)
            if bool((x < 0).any()) or not bool((x > 0).any()):
                negative.add(module)
            if _kind(module) == "linear" and not include_head:
                outputs.setdefault(module, []).append(output)

    def pass_by(module: nn.Module, inputs: Any, output: Any) -> None:
        nonlocal last
        last = module

    for module in names:
        if _kind(module) in wanted and _replaceable(module, window, include_pointwise, include_stem):
            module.register_forward_hook(note)
        if "linear" in wanted and next(module.parameters(recurse=False), None) is not None:
            module.register_forward_hook(pass_by)
    result = _run(twin, varied(example))
    found = []
    for module, seen in calls.items():
        if module in outputs and _is_head(outputs[module], module is last, floats(result)):
            continue
        largest = max(seen, key=lambda sizes: math.prod(sizes["spatial"]) * (sizes["tokens"] or 1))
        layer = Layer(**_channels(module), **largest, count=len(seen))
        found.append(Target(names[module], layer, module not in negative))
    if not found:
        raise UserError(_NOTHING)
    return found


def _copied(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except RuntimeError as error:
        computed = [
            f"{name}.{key}".lstrip(".")
            for name, module in model.named_modules()
            for key, value in vars(module).items()
            if isinstance(value, Tensor) and not value.is_leaf
        ]
        raise UserError(
            f"model: it cannot be copied, since it keeps a computed tensor, {', '.join(computed)}: remove it, call the "
            "model under torch.no_grad(), or use torch.nn.utils.parametrizations in place of torch.nn.utils.weight_norm"
            if computed
            else f"model: it cannot be copied: {one_line(error)}"
        ) from error


_NOTHING = (
    "model: nothing to replace: no convolution with an odd window above 1, stride 1 or 2, no dilation, "
    "no more padding than 'same' and more than 4 input channels (include_pointwise and include_stem widen the choice), "
    "and no linear layer that was asked for (kinds=('conv', 'linear'), include_head=True for the last one)"
)


def _named_kinds(kinds: str | Collection[str]) -> set[str]:
    """The values of `Layer.kind` that are meant."""
    single = {kind: (kind,) for group in KINDS.values() for kind in group}
    chosen: set[str] = set()
    for kind in [kinds] if isinstance(kinds, str) else kinds:
        if kind not in KINDS | single:
            raise UserError(f"targets: no layers are of the kind '{kind}'; there are {', '.join(KINDS | single)}")
        chosen.update((KINDS | single)[kind])
    return chosen


def _kind(module: nn.Module) -> str | None:
    """What `Layer.kind` will be; None for what no kernel replaces."""
    for dims, convolution in enumerate((nn.Conv1d, nn.Conv2d, nn.Conv3d), 1):
        if isinstance(module, convolution):
            return f"conv{dims}d"
    return "linear" if isinstance(module, nn.Linear) or _is_transposed(module) else None


def _is_transposed(module: nn.Module) -> bool:
    """Whether it is the `Conv1D` of transformers: a linear layer whose weight is [c_in, c_out]."""
    weight = getattr(module, "weight", None)
    return (
        type(module).__name__ == "Conv1D"
        and isinstance(weight, Tensor)
        and tuple(weight.shape[1:]) == (getattr(module, "nf", None),)
    )


def _replaceable(module: Any, window: Collection[int] | None, pointwise: bool, stem: bool) -> bool:
    if _kind(module) == "linear":
        return bool(module.weight.is_floating_point())
    size = module.kernel_size[0]
    return (
        set(module.kernel_size) == {size}
        and size % 2 == 1
        and (set(module.stride) == {1} or set(module.stride) == {2})
        and set(module.dilation) == {1}
        and (isinstance(module.padding, str) or len(set(module.padding)) == 1)
        and margin_of(module) >= 0
        and (size > 1 or pointwise)
        and (window is None or size in window)
        and (module.in_channels > 4 or stem)
    )


def _channels(module: Any) -> dict[str, int]:
    """Those arguments of `Layer` that the module alone tells."""
    if _kind(module) != "linear":
        own = {"stride": module.stride[0], "window": module.kernel_size[0], "groups": module.groups}
        return {"c_in": module.in_channels, "c_out": module.out_channels, **own}
    c_out, c_in = reversed(module.weight.shape) if _is_transposed(module) else module.weight.shape
    return {"c_in": c_in, "c_out": c_out}


def _sizes(module: Any, given: tuple[int, ...], made: tuple[int, ...]) -> dict[str, Any] | None:
    """Those arguments of `Layer` that a call tells; None where it is not what a kernel can do."""
    if _kind(module) == "linear":
        return {"spatial": (), "tokens": given[1] if len(given) == 3 else None}
    if len(given) != len(module.kernel_size) + 2:
        return None
    extents = tuple(extent - 2 * margin_of(module) for extent in given[2:])
    same = made[2:] == tuple(-(-extent // module.stride[0]) for extent in extents)
    return {"spatial": extents, "tokens": None} if same else None


def _is_head(made: Sequence[Tensor], last: bool, results: Sequence[Tensor]) -> bool:
    """Whether the model's output is what a linear layer made: the same memory, or the last layer's shape."""
    places = {tensor.untyped_storage().data_ptr() for tensor in made} - {0}
    return any(
        result.untyped_storage().data_ptr() in places or (last and result.shape == made[-1].shape) for result in results
    )


def _run(model: nn.Module, example: Example) -> Any:
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
    try:
        with torch.random.fork_rng(devices=devices), torch.no_grad():
            return call(model, example)
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
    return [Layer(*sizes, count=count, tokens=tokens) for (*sizes, tokens), count in counts.items()]


def _key(layer: Layer) -> tuple[Any, ...]:
    return (layer.c_in, layer.c_out, tuple(layer.spatial), layer.stride, layer.window, layer.groups, layer.tokens)


def replace(
    model: nn.Module,
    kernel: Kernel | Binding | Mapping[str, Kernel | Binding | None],
    targets: Sequence[Target] | None = None,
    budget: Budget | None = None,
    example: Example | None = None,
) -> nn.Module:
    """A copy of a network with kernels in place of some layers; the original is untouched.

    Weights of the new modules are drawn from the global random stream; a layer's bias stays. Type, device, memory
    format and mode are those of the layer. A module used several times stays one module.

    Args:
        model: the network.
        kernel: a kernel, bound here to the layers under `budget`, or a binding to these layers; or what each target
            takes, by its name: a kernel, a binding, or None (or no entry) where the layer stays.
        targets: what to replace; by default all that `targets` finds in the model and the kernel serves.
        budget: of all layers that a kernel replaces, for kernels.
        example: inputs of the model; needed without `targets`.

    Returns:
        The new network.

    Raises:
        UserError: no targets and no example, a target that the model lacks, a name of no target, or a binding made for
            other layers.
        Infeasible: the kernel has no sizes that meet the budget, or does not serve a target: of those of several kinds,
            keep the ones of which `kernel.serves(target.layer)` is true.

    Example:
        >>> fast = replace(model, canvas.zoo()["depthwise_separable"], example=torch.zeros(1, 3, 32, 32))
        >>> shift = canvas.zoo()["shift_pointwise"]
        >>> mixed = replace(model, {"stages.1.0.conv2": shift}, example=torch.zeros(1, 3, 32, 32))
    """
    single = None if isinstance(kernel, Mapping) else kernel
    if targets is None:
        if example is None:
            raise UserError("replace: give targets, or an example input to find them with")
        targets = find_targets(model, example, kinds=tuple(KINDS))
        targets = targets if single is None else _served(single, targets)
    wanted = dict.fromkeys((target.name for target in targets), single) if single is not None else kernel
    twin = _copied(model)
    swaps: dict[nn.Module, nn.Module] = {}
    for target, source in _sources(wanted, targets, budget):
        try:
            layer = twin.get_submodule(target.name)
        except AttributeError as error:
            raise UserError(f"replace: the model has no module '{target.name}'") from error
        if _kind(layer) != target.layer.kind:
            raise UserError(f"replace: '{target.name}' is no {target.layer.kind} layer but {type(layer).__name__}")
        swaps[layer] = like(module_from_source(source), layer)
    for parent in list(twin.modules()):
        for name, child in parent._modules.items():
            if child in swaps:
                parent._modules[name] = swaps[child]
    leave_fast_paths(twin, set(swaps.values()))
    return swaps.get(twin, twin)


find_targets = targets  # `replace` has an argument of that name


def _sources(
    wanted: Mapping[str, Kernel | Binding | None], found: Sequence[Target], budget: Budget | None
) -> list[tuple[Target, str]]:
    """The targets to replace, and the source for each; each kernel is bound to all targets that it replaces."""
    unknown = wanted.keys() - {target.name for target in found}
    if unknown:
        names = ", ".join(target.name for target in found)
        raise UserError(f"replace: no target is called '{min(unknown)}'; there are {names}")
    own: dict[Any, list[Target]] = {}
    chosen: dict[Any, Any] = {}
    for target in found:
        kernel = wanted.get(target.name)
        if kernel is not None:
            key = str(kernel) if hasattr(kernel, "bind") else id(kernel)
            chosen[key] = kernel
            own.setdefault(key, []).append(target)
    sources = []
    for key, kernel in chosen.items():
        binding = kernel.bind(merged(own[key]), budget) if hasattr(kernel, "bind") else kernel
        bound = bound_layers(binding, own[key])
        sources += [(target, layer.source()) for target, layer in zip(own[key], bound, strict=True)]
    return sorted(sources, key=lambda pair: found.index(pair[0]))


def bound_layers(binding: Binding, found: Sequence[Target]) -> list[BoundLayer]:
    """What a binding makes of each target: its layer of equal sizes (the n-th of several for the n-th target).

    Raises:
        UserError: it has no such layer.

    Example:
        >>> bound_layers(kernel.bind([Layer(8, 8)]), [Target("conv1", Layer(8, 8))])[0].params
        64
    """
    bound: dict[tuple[Any, ...], list[BoundLayer]] = {}
    for index in range(len(binding)):
        bound.setdefault(_key(binding[index].layer), []).append(binding[index])
    made, seen = [], dict.fromkeys(bound, 0)
    for target in found:
        key = _key(target.layer)
        if key not in bound:
            raise UserError(f"replace: the binding has no layer like that of {target.name}, {target.layer!r}")
        made.append(bound[key][min(seen[key], len(bound[key]) - 1)])
        seen[key] += 1
    return made


def _served(kernel: Kernel | Binding, found: Sequence[Target]) -> list[Target]:
    """Those that the kernel can stand in for."""
    own = getattr(kernel, "kernel", kernel)
    served = [target for target in found if own.serves(target.layer)]
    if not served:
        kinds = ", ".join(sorted({target.layer.kind for target in found}))
        raise UserError(f"replace: the model has no layer that kernel '{own.name}' serves; its layers are {kinds}")
    return served
