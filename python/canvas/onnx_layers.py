"""What layers with parameters, pooling and arithmetic are in ONNX: part of the table of `onnx_table`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from canvas.folding import Branch, merged
from canvas.onnx_graph import Graph, Unsupported


def binary(kind: str, swapped: bool = False) -> Callable[..., str]:
    def write(graph: Graph, result: Tensor, a: Any, b: Any, **named: Any) -> str:
        if named.get("alpha", 1) != 1 or named.get("rounding_mode") is not None:
            raise Unsupported(f"{kind} with options")
        a, b = (b, a) if swapped else (a, b)
        return str(graph.node(kind, graph.operand(a), graph.operand(b)))

    return write


def convolution(
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
    strides, dilations, before = (tuple(each(value, dims)) for value in (stride, dilation, padding))
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


def add(graph: Graph, result: Tensor, a: Any, b: Any, **named: Any) -> str:
    """A sum; of convolutions of one value (or one and that value): one convolution."""
    if isinstance(b, (int, float)) and b == 0:
        return graph.operand(a)  # sum() starts at 0
    names = [graph.operand(value) for value in (a, b)]
    if not named and any(name in graph.convolutions for name in names) and a.shape == b.shape:
        found = merged(*(graph.convolutions.get(name) or Branch(name) for name in names))
        if found:
            total = replace(found[0], weight=found[1], bias=found[2])
            name = _branch_node(graph, total)
            graph.convolutions[name] = total
            return name
    return binary("Add")(graph, result, a, b, **named)


def each(value: Any, dims: int) -> list[int]:
    """An option of each axis: one number stands for all."""
    values = [value] if isinstance(value, int) else list(value)
    return values * dims if len(values) == 1 else values


def linear(graph: Graph, result: Tensor, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> str:
    if graph.name_of(weight) is None:
        turned = graph.constant(weight.detach().t().contiguous())
    else:
        turned = graph.node("Transpose", graph.operand(weight), perm=[1, 0])
    name = str(graph.node("MatMul", graph.operand(input), turned))
    return name if bias is None else str(graph.node("Add", name, graph.operand(bias)))


def pool(kind: str, dims: int) -> Callable[..., str]:
    def write(graph: Graph, result: Tensor, input: Tensor, kernel_size: Any, *more: Any, **named: Any) -> str:
        order = ("stride", "padding", "dilation", "ceil_mode", "return_indices")
        if kind == "AveragePool":
            order = ("stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
        options = {**dict(zip(order, more, strict=False)), **named}
        odd = options.get("ceil_mode") or options.get("return_indices") or options.get("divisor_override")
        if odd:
            raise Unsupported("pooling with options")
        attributes: dict[str, Any] = {"kernel_shape": each(kernel_size, dims)}
        attributes["strides"] = each(options.get("stride") or kernel_size, dims)
        attributes["pads"] = each(options.get("padding", 0), dims) * 2
        if kind == "AveragePool":
            attributes["count_include_pad"] = int(options.get("count_include_pad", True))
        else:
            attributes["dilations"] = each(options.get("dilation", 1), dims)
        name = graph.operand(input)
        if input.dim() == dims + 2:
            return str(graph.node(kind, name, **attributes))
        pooled = graph.node(kind, graph.node("Unsqueeze", name, graph.numbers([0])), **attributes)
        return str(graph.node("Squeeze", pooled, graph.numbers([0])))

    return write


def adaptive_mean(graph: Graph, result: Tensor, input: Tensor, output_size: Any) -> str:
    if result.shape != (*input.shape[:2], *(1,) * (input.dim() - 2)):
        raise Unsupported("adaptive pooling to more than one position, or without a batch")
    return str(graph.node("GlobalAveragePool", graph.operand(input)))


def batch_norm(
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


def layer_norm(
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
