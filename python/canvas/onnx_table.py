"""What each PyTorch function is in ONNX: the table that `onnx_graph` walks. One function here for each family.

Each takes the graph, the result (its shape is what counts) and the call's own arguments, adds nodes, and gives the
result's name, or a list of names. What it cannot say exactly it refuses with `Unsupported`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from canvas.onnx_graph import Graph, Unsupported
from canvas.onnx_layers import adaptive_mean, add, batch_norm, binary, convolution, each, layer_norm, linear, pool


def _same(graph: Graph, result: Tensor, x: Tensor, *_: Any, **__: Any) -> str:
    return graph.operand(x)


def _dropout(
    graph: Graph, result: Tensor, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> str:
    if training and p > 0:
        raise Unsupported("a dropout that does not stop in eval mode")
    return graph.operand(x)


def _reshape(graph: Graph, result: Tensor, x: Tensor, *_: Any, **__: Any) -> str:
    return _shaped(graph, graph.operand(x), x.shape, result.shape)


def _shaped(graph: Graph, name: str, have: Sequence[int], want: Sequence[int]) -> str:
    return name if tuple(have) == tuple(want) else str(graph.node("Reshape", name, graph.numbers(want)))


def _transpose(graph: Graph, result: Tensor, x: Tensor, first: int, second: int) -> str:
    order = list(range(x.dim()))
    order[first], order[second] = order[second], order[first]
    return str(graph.node("Transpose", graph.operand(x), perm=order))


def _permute(graph: Graph, result: Tensor, x: Tensor, *dims: Any) -> str:
    order = dims[0] if len(dims) == 1 and not isinstance(dims[0], int) else dims
    perm = [dim % x.dim() for dim in order]
    name = str(graph.node("Transpose", graph.operand(x), perm=perm))
    graph.transposed[name] = (graph.operand(x), tuple(perm))
    return name


def _unary(*kinds: str) -> Callable[..., str]:
    def write(graph: Graph, result: Tensor, x: Tensor, *_: Any, **__: Any) -> str:
        name = graph.operand(x)
        for kind in kinds:
            name = graph.node(kind, name)
        return name

    return write


def _gelu(graph: Graph, result: Tensor, x: Tensor, approximate: str = "none") -> str:
    if approximate != "none":
        raise Unsupported("gelu by tanh")
    name = graph.operand(x)
    erf = graph.node("Erf", graph.node("Div", name, graph.scalar(2**0.5)))
    return str(graph.node("Mul", graph.node("Mul", name, graph.node("Add", erf, graph.scalar(1.0))), graph.scalar(0.5)))


def _silu(graph: Graph, result: Tensor, x: Tensor, *_: Any, **__: Any) -> str:
    return str(graph.node("Mul", graph.operand(x), graph.node("Sigmoid", graph.operand(x))))


def _square(graph: Graph, result: Tensor, x: Tensor) -> str:
    return str(graph.node("Mul", graph.operand(x), graph.operand(x)))


def _clamp(graph: Graph, result: Tensor, x: Tensor, *bounds: Any, **named: Any) -> str:
    given: list[Any] = [*bounds, None, None]
    low, high = named.get("min", given[0]), named.get("max", given[1])
    name = graph.operand(x)
    if low is not None:
        name = graph.node("Max", name, graph.operand(low))
    return name if high is None else str(graph.node("Min", name, graph.operand(high)))


def _relu6(graph: Graph, result: Tensor, x: Tensor, *_: Any, **__: Any) -> str:
    return _clamp(graph, result, x, 0.0, 6.0)


def _hardtanh(graph: Graph, result: Tensor, x: Tensor, low: float = -1.0, high: float = 1.0, *_: Any, **k: Any) -> str:
    return _clamp(graph, result, x, k.get("min_val", low), k.get("max_val", high))


def _einsum(graph: Graph, result: Tensor, equation: str, *operands: Any) -> str:
    given = operands[0] if len(operands) == 1 and isinstance(operands[0], (list, tuple)) else operands
    return str(graph.node("Einsum", *(graph.operand(value) for value in given), equation=equation.replace(" ", "")))


def _joined(graph: Graph, result: Tensor, tensors: Sequence[Tensor], dim: int = 0) -> str:
    return str(graph.node("Concat", *(graph.operand(value) for value in tensors), axis=dim % result.dim()))


def _stack(graph: Graph, result: Tensor, tensors: Sequence[Tensor], dim: int = 0) -> str:
    axis = dim % result.dim()
    parts = [graph.node("Unsqueeze", graph.operand(value), graph.numbers([axis])) for value in tensors]
    return str(graph.node("Concat", *parts, axis=axis))


def _pad(
    graph: Graph, result: Tensor, input: Tensor, pad: Sequence[int], mode: str = "constant", value: Any = None
) -> str:
    if mode != "constant" or value:
        raise Unsupported(f"padding by {mode}")
    before, after = [0] * input.dim(), [0] * input.dim()
    for index in range(len(pad) // 2):
        before[-1 - index], after[-1 - index] = pad[2 * index], pad[2 * index + 1]
    name = graph.operand(input)
    if any(amount < 0 for amount in before + after):
        cut = [-amount if amount < 0 else 0 for amount in before]
        ends = [size + min(amount, 0) for size, amount in zip(input.shape, after, strict=True)]
        name = _slice(graph, name, list(range(input.dim())), cut, ends, [1] * input.dim())
        before, after = ([max(amount, 0) for amount in amounts] for amounts in (before, after))
    return str(graph.node("Pad", name, graph.numbers(before + after)))


def _slice(graph: Graph, name: str, axes: list[int], starts: list[int], ends: list[int], steps: list[int]) -> str:
    return str(graph.node("Slice", name, *(graph.numbers(values) for values in (starts, ends, axes, steps))))


def _part(graph: Graph, result: Tensor, x: Tensor, index: Any) -> str:
    """Slices, numbers, None and dots between brackets.

    A part of what was transposed is sliced out of what that was made of, where nothing need be transposed then: taps of
    windows that stand last.
    """
    items = list(index) if isinstance(index, tuple) else [index]
    known = (int, slice, type(None), type(Ellipsis))
    if not all(isinstance(item, known) and not isinstance(item, bool) for item in items):
        raise Unsupported("indexing by a tensor, a list or a truth value")
    used = sum(isinstance(item, (int, slice)) for item in items)
    at = items.index(Ellipsis) if Ellipsis in items else len(items)
    items[at : at + 1] = [slice(None)] * (x.dim() - used)
    axes, starts, ends, steps, dim = [], [], [], [], 0
    for item in items:
        if item is None:
            continue
        size = x.shape[dim]
        start, stop, step = item.indices(size) if isinstance(item, slice) else (item % size, item % size + 1, 1)
        if (start, stop, step) != (0, size, 1):
            axes.append(dim)
            starts.append(start)
            ends.append(max(start, stop))
            steps.append(step)
        dim += 1
    name = graph.operand(x)
    kept = list(x.shape)
    for axis, start, stop, step in zip(axes, starts, ends, steps, strict=True):
        kept[axis] = len(range(start, stop, step))
    if name in graph.transposed and axes:
        source, places = graph.transposed[name]
        sizes = {place: kept[axis] for axis, place in enumerate(places) if place is not None}
        longer = [place for place in places if place is not None and sizes[place] > 1]
        if longer == sorted(longer) and all(places[axis] is not None for axis in axes):  # its order is as before
            part = _slice(graph, source, [places[axis] or 0 for axis in axes], starts, ends, steps)
            return str(graph.node("Reshape", part, graph.numbers(result.shape)))
    if axes:
        name = _slice(graph, name, axes, starts, ends, steps)
    made = _shaped(graph, name, kept, result.shape)
    if name in graph.transposed and not axes:  # only axes of one element were made
        source, places = graph.transposed[name]
        left = iter(places)
        graph.transposed[made] = (source, tuple(None if item is None else next(left) for item in items))
    return made


def _reduction(kind: str) -> Callable[..., str]:
    def write(
        graph: Graph, result: Tensor, x: Tensor, dim: Any = None, keepdim: bool = False, dtype: Any = None
    ) -> str:
        chosen = [dim] if isinstance(dim, int) else dim or range(x.dim())
        axes = sorted(axis % x.dim() for axis in chosen)
        return str(graph.node(kind, graph.operand(x), graph.numbers(axes), keepdims=int(keepdim)))

    return write


def _softmax(graph: Graph, result: Tensor, input: Tensor, dim: int, *_: Any, **__: Any) -> str:
    return str(graph.node("Softmax", graph.operand(input), axis=dim % input.dim()))


def _interpolate(
    graph: Graph,
    result: Tensor,
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    **_: Any,
) -> str:
    factors = [made // had for made, had in zip(result.shape, input.shape, strict=True)]
    scales = scale_factor if isinstance(scale_factor, (tuple, list)) else [scale_factor] * (input.dim() - 2)
    wanted = factors if scale_factor is None else [1, 1, *scales]
    whole = all(made == had * n for made, had, n in zip(result.shape, input.shape, wanted, strict=True))
    if mode != "nearest" or not whole:
        raise Unsupported(f"interpolation {mode}")
    name = graph.operand(input)
    for axis, factor in enumerate(factors):
        name = _repeat_along(graph, name, axis, input.shape[axis], factor)
    return name


def _repeat_along(graph: Graph, name: str, axis: int, size: int, factor: int) -> str:
    if factor == 1:
        return name
    positions = graph.numbers([position for position in range(size) for _ in range(factor)])
    return str(graph.node("Gather", name, positions, axis=axis))


def _interleave(graph: Graph, result: Tensor, x: Tensor, repeats: Any, dim: int | None = None, **_: Any) -> str:
    if not isinstance(repeats, int) or dim is None:
        raise Unsupported("repeating by a tensor")
    return _repeat_along(graph, graph.operand(x), dim % x.dim(), x.shape[dim], repeats)


def _tile(graph: Graph, result: Tensor, x: Tensor, *repeats: Any) -> str:
    counts = list(repeats[0]) if len(repeats) == 1 and not isinstance(repeats[0], int) else list(repeats)
    name = _shaped(graph, graph.operand(x), x.shape, (*(1,) * (len(counts) - x.dim()), *x.shape))
    return str(graph.node("Tile", name, graph.numbers(counts)))


def _expand(graph: Graph, result: Tensor, x: Tensor, *_: Any) -> str:
    return str(graph.node("Expand", graph.operand(x), graph.numbers(result.shape)))


def _parts(graph: Graph, result: Sequence[Tensor], x: Tensor, _: Any, dim: int = 0) -> list[str]:
    axis = dim % x.dim()
    sizes = graph.numbers([part.shape[axis] for part in result])
    names = graph.node("Split", graph.operand(x), sizes, outputs=len(result), axis=axis)
    return names if isinstance(names, list) else [names]


def _maxima(dims: int) -> Callable[..., str]:
    """A maximum over dilated windows as maxima of slices, along one axis after the other."""
    plain = pool("MaxPool", dims)

    def write(graph: Graph, result: Tensor, input: Tensor, kernel_size: Any, *more: Any, **named: Any) -> str:
        options = dict(zip(("stride", "padding", "dilation"), more, strict=False)) | named
        dilation = each(options.get("dilation", 1), dims)
        odd = len(more) > 3 or options.get("ceil_mode") or options.get("return_indices")
        if odd or max(dilation) == 1 or max(each(options.get("padding", 0), dims)) > 0:
            return plain(graph, result, input, kernel_size, *more, **named)
        name, sizes = graph.operand(input), each(kernel_size, dims)
        strides = each(options.get("stride") or kernel_size, dims)
        for axis, size, step, apart in zip(range(-dims, 0), sizes, strides, dilation, strict=True):
            length, along = (result.shape[axis] - 1) * step + 1, [input.dim() + axis]
            starts = [apart * tap for tap in range(size)]
            parts = [_slice(graph, name, along, [start], [start + length], [step]) for start in starts]
            name = graph.node("Max", *parts)
        return name

    return write


TABLE: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("contiguous", "clone", "detach", "to", "float", "identity"), _same),
    **dict.fromkeys(("dropout", "dropout2d"), _dropout),
    **dict.fromkeys(("reshape", "view", "flatten", "unflatten", "squeeze", "unsqueeze"), _reshape),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), convolution),
    **dict.fromkeys(("add", "radd", "iadd"), add),
    **dict.fromkeys(("mul", "rmul", "imul"), binary("Mul")),
    **dict.fromkeys(("sub", "isub"), binary("Sub")),
    **dict.fromkeys(("div", "truediv", "idiv", "itruediv"), binary("Div")),
    **dict.fromkeys(("matmul", "bmm"), binary("MatMul")),
    "pow": binary("Pow"),
    "rpow": binary("Pow", swapped=True),
    **dict.fromkeys(("cat", "concat"), _joined),
    **dict.fromkeys(("chunk", "split"), _parts),
    **dict.fromkeys(("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"), adaptive_mean),
    **{f"max_pool{dims}d": pool("MaxPool", dims) for dims in (1, 2, 3)},
    **{f"avg_pool{dims}d": pool("AveragePool", dims) for dims in (1, 2, 3)},
    "rsub": binary("Sub", swapped=True),
    "rtruediv": binary("Div", swapped=True),
    "rdiv": binary("Div", swapped=True),
    "maximum": binary("Max"),
    "minimum": binary("Min"),
    "transpose": _transpose,
    "permute": _permute,
    "relu": _unary("Relu"),
    "sigmoid": _unary("Sigmoid"),
    "tanh": _unary("Tanh"),
    "abs": _unary("Abs"),
    "exp": _unary("Exp"),
    "neg": _unary("Neg"),
    "sin": _unary("Sin"),
    "cos": _unary("Cos"),
    "sqrt": _unary("Sqrt"),
    "rsqrt": _unary("Sqrt", "Reciprocal"),
    "hardswish": _unary("HardSwish"),
    "gelu": _gelu,
    "silu": _silu,
    "square": _square,
    "clamp": _clamp,
    "relu6": _relu6,
    "hardtanh": _hardtanh,
    "linear": linear,
    "einsum": _einsum,
    "stack": _stack,
    "pad": _pad,
    "getitem": _part,
    "sum": _reduction("ReduceSum"),
    "mean": _reduction("ReduceMean"),
    "amax": _reduction("ReduceMax"),
    "softmax": _softmax,
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "interpolate": _interpolate,
    "repeat_interleave": _interleave,
    "repeat": _tile,
    "expand": _expand,
}
# OpenVINO's pooling over dilated windows is many times slower than the rest of it (measured).
FOR_OPENVINO = TABLE | {f"max_pool{dims}d": _maxima(dims) for dims in (1, 2, 3)}
