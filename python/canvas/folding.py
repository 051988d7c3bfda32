"""Folds what depends on parameters alone, for inference: batch norms into convolutions, chains of constants into one,
convolutions of one input that are added (and the input itself, added to its convolution) into one convolution.

Called by the eager backend. A model that cannot be traced comes back as it was; a result is never assumed right:
latency checks the outputs of every prepared network.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from canvas.native import NativeKernel
from canvas.native_endings import used_once

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
CONVOLUTIONS = (torch.conv1d, torch.conv2d, torch.conv3d, F.conv1d, F.conv2d, F.conv3d)
ADDITIONS = (operator.add, torch.add)


def fold(model: nn.Module) -> nn.Module:
    """Folds a model in eval mode.

    Args:
        model: in eval mode; its parameters may end up shared with the result.

    Returns:
        A module of the same function, or `model` itself where tracing is not possible.

    Example:
        >>> folded = fold(resnet8().eval())
        >>> any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
        False
    """
    try:
        tracer = _Tracer()
        traced = fx.GraphModule(model, tracer.trace(model))
    except Exception:  # tracing runs the user's forward on proxies: it may raise anything
        return model
    with torch.no_grad():
        _fold_constants(traced)
        for node in list(traced.graph.nodes):
            if node.op == "call_module" and isinstance(traced.get_submodule(node.target), NORMS):
                _fold_norm(traced, node)
        for node in list(traced.graph.nodes):
            if node.op == "call_function" and node.target in ADDITIONS and len(node.args) == 2 and not node.kwargs:
                _merge_branches(traced, node)
    traced.graph.eliminate_dead_code()
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


class _Tracer(fx.Tracer):
    """Goes into all modules but PyTorch's own and native kernels."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, NativeKernel) or super().is_leaf_module(m, module_qualified_name)


def _attribute(traced: fx.GraphModule, name: str) -> Any:
    value: Any = traced
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _constant(traced: fx.GraphModule, node: fx.Node, value: Tensor) -> fx.Node:
    """A new node, before `node`, that gives `value`."""
    name = f"folded_{sum(1 for key in traced._buffers if key.startswith('folded_'))}"
    traced.register_buffer(name, value.detach().clone())
    with traced.graph.inserting_before(node):
        return traced.graph.get_attr(name)


def _fold_constants(traced: fx.GraphModule) -> None:
    values: dict[fx.Node, Any] = {}
    for node in list(traced.graph.nodes):
        if node.op == "get_attr":
            values[node] = _attribute(traced, node.target)
        elif node.op in ("call_function", "call_method") and node.all_input_nodes:
            random = any(word in str(node.target) for word in ("rand", "dropout", "bernoulli"))
            if random or any(source not in values for source in node.all_input_nodes):
                continue
            arguments = fx.map_arg(node.args, values.__getitem__)
            keywords = fx.map_arg(node.kwargs, values.__getitem__)
            if node.op == "call_method":
                values[node] = getattr(arguments[0], node.target)(*arguments[1:], **keywords)
            else:
                values[node] = node.target(*arguments, **keywords)
    for node, value in values.items():
        if node.op != "get_attr" and isinstance(value, Tensor) and any(user not in values for user in node.users):
            node.replace_all_uses_with(_constant(traced, node, value))


def _fold_norm(traced: fx.GraphModule, node: fx.Node) -> None:
    norm: Any = traced.get_submodule(str(node.target))
    source = node.args[0] if node.args else None
    if not isinstance(source, fx.Node) or len(source.users) != 1 or norm.running_mean is None or norm.training:
        return
    scale = (norm.running_var + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight
    shift = -norm.running_mean * scale
    shift = shift if norm.bias is None else shift + norm.bias
    if source.op == "call_module":
        done = _into_module(traced, source, scale, shift)
    else:
        done = source.target in CONVOLUTIONS and _into_call(traced, source, scale, shift)
    if done:
        node.replace_all_uses_with(source)
        traced.graph.erase_node(node)


def _scaled(weight: Tensor, scale: Tensor) -> Tensor:
    return weight * scale.view(-1, *[1] * (weight.dim() - 1))


def _into_module(traced: fx.GraphModule, source: fx.Node, scale: Tensor, shift: Tensor) -> bool:
    conv: Any = traced.get_submodule(str(source.target))
    once = used_once(traced, source)
    if isinstance(conv, NativeKernel) and once:
        conv.absorb(scale, shift)
        return True
    if type(conv) not in (nn.Conv1d, nn.Conv2d, nn.Conv3d) or not once:
        return False
    conv.bias = nn.Parameter(shift if conv.bias is None else conv.bias * scale + shift)
    conv.weight = nn.Parameter(_scaled(conv.weight, scale))
    return True


def _into_call(traced: fx.GraphModule, source: fx.Node, scale: Tensor, shift: Tensor) -> bool:
    """Folds into `conv2d(x, weight, bias, …)` whose weight and bias are attributes of the model."""
    order = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    named = {**dict(zip(order, source.args, strict=False)), **source.kwargs}
    weight: Any = named["weight"]
    bias: Any = named.get("bias")
    if not all(isinstance(n, fx.Node) and n.op == "get_attr" for n in (weight, bias) if n is not None):
        return False
    old = torch.zeros_like(shift) if bias is None else _attribute(traced, bias.target)
    named["bias"] = _constant(traced, source, old * scale + shift)
    named["weight"] = _constant(traced, source, _scaled(_attribute(traced, weight.target), scale))
    source.args, source.kwargs = (), named
    return True


@dataclass
class Branch:
    """A convolution with stored weights, or its input itself (no weight), as one term of a sum."""

    source: Any  # what it convolves; the same is equal
    weight: Tensor | None = None
    bias: Tensor | None = None
    function: Any = None
    stride: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    before: tuple[int, ...] = ()  # how many positions of the window lie before the output's own
    groups: int = 1


def _merge_branches(traced: fx.GraphModule, node: fx.Node) -> None:
    """conv(x, v) + conv(x, w) = conv(x, v + w), the smaller window filled up with zeros; x itself is such a branch."""
    left, right = (_branch(traced, term) for term in node.args)
    if left is None or right is None:
        return
    made = merged(left, right)
    if made is None:
        return
    left, weight, bias = made
    with traced.graph.inserting_before(node):
        stored = _constant(traced, node, weight)
        offset = None if bias is None else _constant(traced, node, bias)
        options = (left.stride, left.before, left.dilation, left.groups)
        total = traced.graph.call_function(left.function, (left.source, stored, offset, *options))
    node.replace_all_uses_with(total)
    traced.graph.erase_node(node)


def _branch(traced: fx.GraphModule, term: Any) -> Branch | None:
    if not isinstance(term, fx.Node):
        return None
    order = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    named: dict[str, Any] = {}
    function: Any = term.target
    if term.op == "call_module" and len(term.args) == 1:
        conv: Any = traced.get_submodule(str(term.target))
        if type(conv) not in (nn.Conv1d, nn.Conv2d, nn.Conv3d) or conv.padding_mode != "zeros":
            return Branch(term)
        named = {"input": term.args[0], **{name: getattr(conv, name) for name in order[1:]}}
        function = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[conv.weight.dim() - 2]
    elif term.op == "call_function" and term.target in CONVOLUTIONS:
        named = {**dict(zip(order, term.args, strict=False)), **term.kwargs}
        for name in ("weight", "bias"):
            value = named.get(name)
            if isinstance(value, fx.Node):
                if value.op != "get_attr":
                    return Branch(term)
                named[name] = _attribute(traced, str(value.target))
    if not named or len(term.users) != 1 or isinstance(named.get("padding"), str):
        return Branch(term)
    weight = named["weight"]
    dims = weight.dim() - 2
    stride, before, dilation = (
        (value,) * dims if isinstance(value, int) else tuple(value)
        for value in (named.get("stride", 1), named.get("padding", 0), named.get("dilation", 1))
    )
    return Branch(named["input"], weight, named.get("bias"), function, stride, dilation, before, named.get("groups", 1))


def merged(left: Branch, right: Branch) -> tuple[Branch, Tensor, Tensor | None] | None:
    """One convolution for the sum of two branches.

    Args:
        left: a convolution, or what both convolve.
        right: likewise.

    Returns:
        The branch whose window and options it has, its weight and its bias; None where it cannot be one convolution.

    Example:
        >>> merged(Branch("x"), Branch("y")) is None
        True
    """
    if left.weight is None or (right.weight is not None and right.weight[0, 0].numel() > left.weight[0, 0].numel()):
        left, right = right, left
    weight, other = left.weight, right.weight
    if weight is None or right.source != left.source:
        return None
    dims = weight.dim() - 2
    if other is None:
        right = Branch(right.source, None, None, None, (1,) * dims, (1,) * dims, (0,) * dims, left.groups)
        if weight.shape[0] != weight.shape[1] * left.groups:
            return None
        other = weight.new_zeros(*weight.shape[:2], *(1,) * dims)
        rows = torch.arange(weight.shape[0])
        other[(rows, rows % weight.shape[1])] = 1
    if other.dim() != weight.dim() or (left.stride, left.groups) != (right.stride, right.groups):
        return None
    fill: list[int] = []
    for axis in reversed(range(dims)):
        size, own, step = weight.shape[2 + axis], other.shape[2 + axis], left.dilation[axis]
        start, odd = divmod(left.before[axis] - right.before[axis], step)
        if odd or (own > 1 and right.dilation[axis] != step) or start < 0 or start + own > size:
            return None
        # Both must be as long: what the left one reads behind its last position, the right one does without.
        if left.before[axis] * 2 - step * (size - 1) != right.before[axis] * 2 - right.dilation[axis] * (own - 1):
            return None
        fill += [start, size - own - start]
    biases = [branch.bias for branch in (left, right) if branch.bias is not None]
    total = sum(biases[1:], biases[0]) if biases else None
    return left, weight + F.pad(other, fill), total
