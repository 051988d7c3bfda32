"""What each PyTorch function is in ONNX: the table that `onnx_graph` walks. One function here for each family.

Each takes the graph, the result (its shape is what counts) and the call's own arguments, adds nodes, and gives the
result's name, or a list of names. What it cannot say exactly it refuses with `Unsupported`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from canvas.folding import Branch, merged
from canvas.onnx_graph import Graph, Unsupported


def _same(graph: Graph, result: Tensor, x: Tensor, *_: Any, **__: Any) -> str:
    if result.dtype != x.dtype:
        raise Unsupported(f"a change of type to {result.dtype}")
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
    return str(graph.node("Transpose", graph.operand(x), perm=[dim % x.dim() for dim in order]))


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


def _power(graph: Graph, result: Tensor, x: Any, exponent: Any) -> str:
    return str(graph.node("Pow", graph.operand(x), graph.operand(exponent)))


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


def _binary(kind: str, swapped: bool = False) -> Callable[..., str]:
    def write(graph: Graph, result: Tensor, a: Any, b: Any, **named: Any) -> str:
        if named.get("alpha", 1) != 1 or named.get("rounding_mode") is not None:
            raise Unsupported(f"{kind} with options")
        a, b = (b, a) if swapped else (a, b)
        return str(graph.node(kind, graph.operand(a), graph.operand(b)))

    return write


def _convolution(
    graph: Graph,
    result: Tensor,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> str:
    dims = weight.dim() - 2
    if input.dim() != weight.dim() or isinstance(padding, str):
        raise Unsupported("a convolution without a batch, or with padding by name")
    strides, dilations, before = (tuple(_each(value, dims)) for value in (stride, dilation, padding))
    branch = Branch(graph.operand(input), weight, bias, None, strides, dilations, before, groups)
    name = _branch_node(graph, branch)
    if not any(graph.name_of(value) for value in (weight, bias) if value is not None):
        graph.convolutions[name] = branch
    return name


def _branch_node(graph: Graph, branch: Branch) -> str:
    assert branch.weight is not None
    operands = [graph.operand(value) for value in (branch.weight, branch.bias) if value is not None]
    return str(
        graph.node(
            "Conv",
            branch.source,
            *operands,
            kernel_shape=list(branch.weight.shape[2:]),
            strides=list(branch.stride),
            pads=list(branch.before) * 2,
            dilations=list(branch.dilation),
            group=branch.groups,
        )
    )


def _add(graph: Graph, result: Tensor, a: Any, b: Any, **named: Any) -> str:
    """A sum; of convolutions of one value (or one and that value): one convolution."""
    if isinstance(b, (int, float)) and b == 0:
        return graph.operand(a)  # sum() starts at 0
    names = [graph.operand(value) for value in (a, b)]
    if any(name in graph.convolutions for name in names) and a.shape == b.shape:
        found = merged(*(graph.convolutions.get(name) or Branch(name) for name in names))
        if found:
            total = replace(found[0], weight=found[1], bias=found[2])
            name = _branch_node(graph, total)
            graph.convolutions[name] = total
            return name
    return _binary("Add")(graph, result, a, b, **named)


def _each(value: Any, dims: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * dims if len(values) == 1 else values


def _linear(graph: Graph, result: Tensor, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> str:
    if graph.name_of(weight) is None:
        turned = graph.constant(weight.detach().t().contiguous())
    else:
        turned = graph.node("Transpose", graph.operand(weight), perm=[1, 0])
    name = str(graph.node("MatMul", graph.operand(input), turned))
    return name if bias is None else str(graph.node("Add", name, graph.operand(bias)))


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
    """Slices, numbers, None and dots between brackets."""
    items = list(index) if isinstance(index, tuple) else [index]
    if any(item is not None and item is not Ellipsis and not isinstance(item, (int, slice)) for item in items):
        raise Unsupported("indexing by a tensor or a list")
    used = sum(isinstance(item, (int, slice)) for item in items)
    if Ellipsis in items:
        at = items.index(Ellipsis)
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
    if axes:
        name = _slice(graph, name, axes, starts, ends, steps)
    kept = list(x.shape)
    for axis, start, stop, step in zip(axes, starts, ends, steps, strict=True):
        kept[axis] = len(range(start, stop, step))
    return _shaped(graph, name, kept, result.shape)


def _reduction(kind: str) -> Callable[..., str]:
    def write(graph: Graph, result: Tensor, x: Tensor, dim: Any = None, keepdim: bool = False, **named: Any) -> str:
        if named.get("dtype") is not None:
            raise Unsupported("a reduction in another type")
        chosen = range(x.dim()) if dim is None else [dim] if isinstance(dim, int) else dim
        axes = sorted(axis % x.dim() for axis in chosen)
        return str(graph.node(kind, graph.operand(x), graph.numbers(axes), keepdims=int(keepdim)))

    return write


def _softmax(graph: Graph, result: Tensor, input: Tensor, dim: int, *_: Any, **named: Any) -> str:
    if named.get("dtype") is not None:
        raise Unsupported("softmax in another type")
    return str(graph.node("Softmax", graph.operand(input), axis=dim % input.dim()))


def _pool(kind: str, dims: int) -> Callable[..., str]:
    def write(graph: Graph, result: Tensor, input: Tensor, kernel_size: Any, *more: Any, **named: Any) -> str:
        order = ("stride", "padding", "dilation", "ceil_mode", "return_indices")
        if kind == "AveragePool":
            order = ("stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
        options = {**dict(zip(order, more, strict=False)), **named}
        odd = options.get("ceil_mode") or options.get("return_indices") or options.get("divisor_override")
        if odd or input.dim() != dims + 2:
            raise Unsupported("pooling with options")
        attributes: dict[str, Any] = {"kernel_shape": _each(kernel_size, dims)}
        attributes["strides"] = _each(options.get("stride") or kernel_size, dims)
        attributes["pads"] = _each(options.get("padding", 0), dims) * 2
        if kind == "AveragePool":
            attributes["count_include_pad"] = int(options.get("count_include_pad", True))
        else:
            attributes["dilations"] = _each(options.get("dilation", 1), dims)
        return str(graph.node(kind, graph.operand(input), **attributes))

    return write


def _adaptive_mean(graph: Graph, result: Tensor, input: Tensor, output_size: Any) -> str:
    dims = input.dim() - 2
    if any(size != 1 for size in _each(output_size, dims)):
        raise Unsupported("adaptive pooling to more than one position")
    return str(graph.node("GlobalAveragePool", graph.operand(input)))


def _batch_norm(
    graph: Graph,
    result: Tensor,
    input: Tensor,
    mean: Tensor | None,
    variance: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> str:
    if training or mean is None or variance is None:
        raise Unsupported("a batch norm that learns")
    weight = torch.ones_like(mean) if weight is None else weight
    bias = torch.zeros_like(mean) if bias is None else bias
    operands = [graph.operand(value) for value in (input, weight, bias, mean, variance)]
    return str(graph.node("BatchNormalization", *operands, epsilon=eps))


def _layer_norm(
    graph: Graph,
    result: Tensor,
    input: Tensor,
    shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *_: Any,
) -> str:
    weight = torch.ones(list(shape)) if weight is None else weight
    operands = [graph.operand(value) for value in (input, weight, bias) if value is not None]
    return str(graph.node("LayerNormalization", *operands, axis=-len(shape), epsilon=eps))


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
    whole = all(made == had * n for made, had, n in zip(result.shape, input.shape, factors, strict=True))
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


TABLE: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("contiguous", "clone", "detach", "dropout", "dropout2d", "to", "float", "identity"), _same),
    **dict.fromkeys(("reshape", "view", "flatten", "unflatten", "squeeze", "unsqueeze"), _reshape),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolution),
    **dict.fromkeys(("add", "radd", "iadd"), _add),
    **dict.fromkeys(("mul", "rmul", "imul"), _binary("Mul")),
    **dict.fromkeys(("sub", "isub"), _binary("Sub")),
    **dict.fromkeys(("div", "truediv", "idiv", "itruediv"), _binary("Div")),
    **dict.fromkeys(("matmul", "bmm"), _binary("MatMul")),
    **dict.fromkeys(("pow", "rpow"), _power),
    **dict.fromkeys(("cat", "concat"), _joined),
    **dict.fromkeys(("chunk", "split"), _parts),
    **dict.fromkeys(("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"), _adaptive_mean),
    **{f"max_pool{dims}d": _pool("MaxPool", dims) for dims in (1, 2, 3)},
    **{f"avg_pool{dims}d": _pool("AveragePool", dims) for dims in (1, 2, 3)},
    "rsub": _binary("Sub", swapped=True),
    "rtruediv": _binary("Div", swapped=True),
    "rdiv": _binary("Div", swapped=True),
    "maximum": _binary("Max"),
    "minimum": _binary("Min"),
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
    "linear": _linear,
    "einsum": _einsum,
    "stack": _stack,
    "pad": _pad,
    "getitem": _part,
    "sum": _reduction("ReduceSum"),
    "mean": _reduction("ReduceMean"),
    "amax": _reduction("ReduceMax"),
    "softmax": _softmax,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "interpolate": _interpolate,
    "repeat_interleave": _interleave,
    "repeat": _tile,
    "expand": _expand,
}
