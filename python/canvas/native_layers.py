"""What the layers of a network are as core forms: the table that `native_network` walks, one function here a family.

A node of a traced network (`onnx_graph`) becomes values of `_core.NativeNetwork`. What cannot be said exactly is
refused with `Unsupported`, which names it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from canvas.native_values import Axis, Layers, Value
from canvas.onnx_graph import Unsupported


def convolution(
    at: Layers,
    x: Value,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    kernel_shape: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    group: int,
) -> Value:
    number = x.number
    outer: list[Axis | None] = []
    made: list[Axis | None] = []
    for index, axis in enumerate(x.dims[1:]):
        size, stride, pad, step = kernel_shape[index], strides[index], pads[index], dilations[index]
        extent = ((1 if axis is None else axis[1]) + 2 * pad - step * (size - 1) - 1) // stride + 1
        window = at.axis(size, "window")
        if axis is None:  # only what falls on the one position counts
            if extent != 1 or pad % step or pad // step >= size:
                raise Unsupported("a convolution of a single position to more")
            weight, window = weight.narrow(2 + index, pad // step, 1), None
        elif (size, stride, pad) != (1, 1, 0):
            item = (axis[0], window[0] if window else "", size, stride, extent, step, -pad)
            number = at.dropped(at.network.windows(number, [item]), axis, extent)
        outer.append(at.like(axis, extent))
        made.append(window)
    result = _contracted(at, Value(number, (x.dims[0], *outer)), weight, made, group)
    return result if bias is None else at.map("add", result, _along(at, bias, result, 0))


def _contracted(at: Layers, x: Value, weight: Tensor, windows: list[Axis | None], groups: int) -> Value:
    """Channels and windows contracted with weights, in groups of channels."""
    channels, *outer = x.dims
    count = 1 if channels is None else channels[1]
    out = at.axis(weight.shape[0])
    if groups == 1:
        return at.contract([x.number, at.stored(weight, [out, channels, *windows])], [out, *outer])
    if groups == count == weight.shape[0]:
        return at.contract([x.number, at.stored(weight, [channels, *windows])], x.dims)
    number, inner, each = x.number, at.axis(count // groups), at.axis(weight.shape[0] // groups)
    group = channels
    if inner is not None:
        group = at.axis(groups)
        number = at.split(number, channels, [group, inner])
    made = at.contract([number, at.stored(weight, [group, each, inner, *windows])], [group, each, *outer])
    return Value(at.merged(made.number, [group, each], out), (out, *outer))


def _along(at: Layers, tensor: Tensor, beside: Value, dim: int) -> Value:
    """Numbers along one dimension of a value."""
    axis = beside.dims[dim]
    return Value(at.stored(tensor, [axis]), (axis, *[None] * (len(beside.dims) - 1 - dim)))


def batch_norm(
    at: Layers, x: Value, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, *, epsilon: float
) -> Value:
    scale = weight.double() / (variance.double() + epsilon).sqrt()
    shift = bias.double() - mean.double() * scale
    return at.map("add", at.map("mul", x, _along(at, scale, x, 0)), _along(at, shift, x, 0))


def layer_norm(at: Layers, x: Value, weight: Tensor, bias: Tensor | None = None, *, axis: int, epsilon: float) -> Value:
    own = list(range(len(x.dims) + axis, len(x.dims)))
    centred = at.map("sub", x, _reduced(at, "mean", x, own))
    spread = _reduced(at, "mean", at.map("square", centred), own)
    root = at.map("plain sqrt", at.map("add", spread, at.constant(torch.tensor(epsilon), spread)))
    y = at.map("mul", at.map("quotient", centred, root), at.constant(weight, x))
    return y if bias is None else at.map("add", y, at.constant(bias, x))


def _reduced(at: Layers, function: str, x: Value, dims: Sequence[int], keep: bool = True) -> Value:
    gone = [axis[0] for index, axis in enumerate(x.dims) if index in dims and axis is not None]
    left = [None if index in dims else axis for index, axis in enumerate(x.dims) if keep or index not in dims]
    return Value(at.network.reduce(function, x.number, gone) if gone else x.number, tuple(left))


def reduction(function: str) -> Callable[..., Value]:
    def write(at: Layers, x: Value, axes: Tensor, *, keepdims: int) -> Value:
        dims = [int(axis) - 1 for axis in axes]
        if -1 in dims:
            raise Unsupported("a reduction over images")
        return _reduced(at, function, x, dims, bool(keepdims))

    return write


def global_mean(at: Layers, x: Value) -> Value:
    return _reduced(at, "mean", x, range(1, len(x.dims)))


def pool(function: str) -> Callable[..., Value]:
    def write(
        at: Layers,
        x: Value,
        *,
        kernel_shape: Sequence[int],
        strides: Sequence[int],
        pads: Sequence[int],
        dilations: Sequence[int] = (1, 1, 1),
        count_include_pad: int = 1,
    ) -> Value:
        number, dims, made = x.number, [x.dims[0]], []
        for index, axis in enumerate(x.dims[1:]):
            size, stride, pad, step = kernel_shape[index], strides[index], pads[index], dilations[index]
            if axis is None:
                raise Unsupported("pooling along a single position")
            extent = (axis[1] + 2 * pad - step * (size - 1) - 1) // stride + 1
            window = at.axis(size, "window")
            item = (axis[0], window[0] if window else "", size, stride, extent, step, -pad)
            number = at.dropped(at.network.windows(number, [item], function == "max"), axis, extent)
            dims.append(at.like(axis, extent))
            made += [window[0]] if window else []
        result = Value(at.network.reduce(function, number, made) if made else number, tuple(dims))
        if function == "max" or count_include_pad or not any(pads):
            return result
        inside = torch.nn.functional.avg_pool2d  # how much of each window lies inside
        if len(x.dims) != 3:
            raise Unsupported("average pooling that leaves its padding out, but for images")
        half = len(pads) // 2
        share = inside(torch.ones(1, *x.shape[1:]), tuple(kernel_shape), tuple(strides), tuple(pads[:half]))
        return at.map("mul", result, at.constant(1 / share, result))

    return write


def linear(at: Layers, x: Value | Tensor, y: Value | Tensor) -> Value:
    """A product of matrices, the last two dimensions of both."""
    if isinstance(x, Tensor):
        raise Unsupported("a product with a constant from the left")
    if isinstance(y, Tensor):
        if y.dim() != 2:
            raise Unsupported("a product with several constant matrices")
        out = at.axis(y.shape[1])
        if x.dims[-1] is None:
            return at.map("mul", x, Value(at.stored(y[0], [out]), (out,)))
        return at.contract([x.number, at.stored(y, [x.dims[-1], out])], [*x.dims[:-1], out])
    if len(x.dims) < 2 or len(x.dims) != len(y.dims) or None in (*x.dims, *y.dims):
        raise Unsupported("a product of matrices of few dimensions")
    *outer, rows, inner = x.dims
    columns = at.axis(y.dims[-1][1], y.dims[-1][2])  # type: ignore[index]
    new = {axis: to for axis, to in zip(y.dims, [*outer, inner, columns], strict=True) if axis != to}
    return at.contract([x.number, at.renamed(y, new)], [*outer, rows, columns])  # type: ignore[arg-type]


def unary(*functions: str) -> Callable[..., Value]:
    def write(at: Layers, x: Value) -> Value:
        for function in functions:
            x = at.map(function, x)
        return x

    return write


def binary(function: str) -> Callable[..., Value]:
    def write(at: Layers, x: Value | Tensor, y: Value | Tensor) -> Value:
        if isinstance(x, Value):
            return at.map(function, x, y if isinstance(y, Value) else at.constant(y, x))
        assert isinstance(y, Value)
        return at.map(function, at.constant(x, y), y)

    return write


def power(at: Layers, x: Value | Tensor, exponent: Value | Tensor) -> Value:
    functions = {2.0: "square", 0.5: "plain sqrt", 1.0: None}
    number = float(exponent) if isinstance(exponent, Tensor) and exponent.numel() == 1 else math.nan
    if isinstance(x, Tensor) or number not in functions:
        raise Unsupported("a power other than 2 and 0.5")
    function = functions[number]
    return at.map(function, x) if function else x


def softmax(at: Layers, x: Value, *, axis: int) -> Value:
    along = x.dims[axis - 1]
    if axis == 0 or along is None:
        raise Unsupported("softmax over images or one element")
    return Value(at.network.softmax(x.number, along[0]), x.dims)


def transpose(at: Layers, x: Value, *, perm: Sequence[int]) -> Value:
    if perm[0] != 0:
        raise Unsupported("images that are no longer the first dimension")
    return Value(x.number, tuple(x.dims[index - 1] for index in perm[1:]))


def reshape(at: Layers, x: Value, sizes: Tensor) -> Value:
    """Neighbouring dimensions merged, then split."""
    batch, *want = [int(size) for size in sizes]
    if batch != at.batch:
        raise Unsupported("images that are no longer the first dimension")
    have, number, dims = list(x.dims), x.number, []
    while have or want:
        group, parts = have[:1], want[:1]
        have, want = have[1:], want[1:]
        while math.prod(axis[1] for axis in group if axis) != math.prod(parts):
            if math.prod(axis[1] for axis in group if axis) < math.prod(parts):
                group.append(have.pop(0))
            else:
                parts.append(want.pop(0))
        old: list[Axis | None] = [axis for axis in group if axis]
        new, roles = [size for size in parts if size > 1], {axis[2] for axis in group if axis}
        own = roles.pop() if len(roles) == 1 else "channel"
        if len(old) > 1:
            one = at.axis(math.prod(parts), own)
            number, old = at.merged(number, old, one), [one]
        if len(new) > 1:
            split = [at.axis(size, own) for size in new]
            number, old = at.split(number, old[0], split), split
        left = iter(old)
        dims += [None if size == 1 else next(left) for size in parts]
    return Value(number, tuple(dims))


def part(at: Layers, x: Value, starts: Tensor, ends: Tensor, axes: Tensor, steps: Tensor) -> Value:
    number, dims = x.number, list(x.dims)
    for start, end, dim, step in zip(starts.tolist(), ends.tolist(), axes.tolist(), steps.tolist(), strict=True):
        axis = dims[dim - 1]
        if dim == 0 or step < 1 or start >= end:
            raise Unsupported("a part of the images, or a slice backwards")
        if axis is None:
            continue
        extent = len(range(start, min(end, axis[1]), step))
        number = at.dropped(at.network.windows(number, [(axis[0], "", 1, step, extent, 1, start)]), axis, extent)
        dims[dim - 1] = at.like(axis, extent)
    return Value(number, tuple(dims))


def pad(at: Layers, x: Value, amounts: Tensor) -> Value:
    before, after = amounts.tolist()[: len(x.dims) + 1], amounts.tolist()[len(x.dims) + 1 :]
    number, dims = x.number, list(x.dims)
    for index, axis in enumerate(x.dims):
        low, high = before[index + 1], after[index + 1]
        if low == high == 0:
            continue
        if axis is None:
            raise Unsupported("padding of a single position")
        extent = axis[1] + low + high
        number = at.network.windows(number, [(axis[0], "", 1, 1, extent, 1, -low)])
        dims[index] = at.like(axis, extent)
    return Value(number, tuple(dims))


def joined(at: Layers, *values: Value | Tensor, axis: int) -> Value:
    """Parts of the same size, side by side along a new axis, which is then one with theirs."""
    parts = [value for value in values if isinstance(value, Value)]
    first = parts[0]
    if axis == 0 or len(parts) != len(values) or len({value.shape for value in parts}) != 1:
        raise Unsupported("a concatenation of parts of different sizes")
    if len(parts) == 1:
        return first
    new = at.axis(len(parts), "channel")
    numbers = []
    for value in parts:
        pairs = zip(value.dims, first.dims, strict=True)
        numbers.append(at.renamed(value, {have: to for have, to in pairs if have is not None and have != to}))
    number, dims, along = at.network.stack(numbers, [new]), list(first.dims), first.dims[axis - 1]
    if along is not None:
        whole = at.axis(len(parts) * along[1], along[2])
        number, new = at.merged(number, [new, along], whole), whole
    dims[axis - 1] = new
    return Value(number, tuple(dims))


def unsqueeze(at: Layers, x: Value, axes: Tensor) -> Value:
    dims = list(x.dims)
    for axis in sorted(axes.tolist()):
        if axis < 1:
            raise Unsupported("images that are no longer the first dimension")
        dims.insert(axis - 1, None)
    return Value(x.number, tuple(dims))


def squeeze(at: Layers, x: Value, axes: Tensor) -> Value:
    return Value(x.number, tuple(axis for index, axis in enumerate(x.dims) if index + 1 not in axes.tolist()))


def hard_swish(at: Layers, x: Value) -> Value:
    def number(value: float) -> Value:
        return at.constant(torch.tensor(value), x)

    gate = at.map("add", at.map("mul", x, number(1 / 6)), number(0.5))
    return at.map("mul", x, at.map("min", at.map("max", gate, number(0.0)), number(1.0)))


TABLE: dict[str, Callable[..., Value]] = {
    "Conv": convolution,
    "BatchNormalization": batch_norm,
    "LayerNormalization": layer_norm,
    "MatMul": linear,
    "MaxPool": pool("max"),
    "AveragePool": pool("mean"),
    "GlobalAveragePool": global_mean,
    "ReduceMean": reduction("mean"),
    "ReduceSum": reduction("sum"),
    "ReduceMax": reduction("max"),
    "Softmax": softmax,
    "Add": binary("add"),
    "Sub": binary("sub"),
    "Mul": binary("mul"),
    "Div": binary("quotient"),
    "Max": binary("max"),
    "Min": binary("min"),
    "Pow": power,
    "Relu": unary("relu"),
    "Gelu": unary("gelu"),
    "Silu": unary("silu"),
    "Sigmoid": unary("sigmoid"),
    "Tanh": unary("tanh"),
    "Abs": unary("abs"),
    "Exp": unary("plain exp"),
    "Neg": unary("neg"),
    "Sin": unary("sin"),
    "Sqrt": unary("plain sqrt"),
    "HardSwish": hard_swish,
    "Transpose": transpose,
    "Reshape": reshape,
    "Slice": part,
    "Pad": pad,
    "Concat": joined,
    "Unsqueeze": unsqueeze,
    "Squeeze": squeeze,
}
