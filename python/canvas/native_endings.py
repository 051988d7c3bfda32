"""What follows a native kernel in a traced network and is computed with it: bias, addition, relu."""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from canvas.native import NativeKernel

RELU = (F.relu, torch.relu)
ADD = ("add", "iadd")


def join_endings(traced: fx.GraphModule) -> None:
    """Gives each native kernel the bias, the addition and the relu that follow it alone, in place."""
    for node in list(traced.graph.nodes):
        kernel = _native(traced, node)
        if kernel is None:
            continue
        if (other := _added(node)) is not None and other.op == "get_attr":
            value = getattr(traced, str(other.target), None)
            if isinstance(value, Tensor) and kernel.by_channel(value):
                kernel.absorb(torch.ones(value.numel()), value.flatten())
                _skip(traced, next(iter(node.users)), node)
        if (other := _added(node)) is not None:
            kernel.adds = True
            user = next(iter(node.users))
            with traced.graph.inserting_before(user):
                moved = traced.graph.call_module(str(node.target), (node.args[0], other))
            _skip(traced, user, moved)
            traced.graph.erase_node(node)
            node = moved
        if len(node.users) == 1 and _is_relu(traced, user := next(iter(node.users))):
            kernel.relu = True
            _skip(traced, user, node)
    traced.recompile()


def _skip(traced: fx.GraphModule, node: fx.Node, by: fx.Node) -> None:
    node.replace_all_uses_with(by)
    traced.graph.erase_node(node)


def _added(node: fx.Node) -> fx.Node | None:
    """What is added to a value that is used for nothing else."""
    if len(node.users) != 1:
        return None
    [user] = node.users
    name = str(getattr(user.target, "__name__", user.target)).strip("_")
    if user.op not in ("call_function", "call_method") or name not in ADD or len(user.args) != 2 or user.kwargs:
        return None
    if (name == "iadd" or str(user.target) == "add_") and user.args[0] is not node:
        return None  # what is changed in place may be read by another name
    others = [value for value in user.args if isinstance(value, fx.Node) and value is not node]
    return others[0] if others else None


def _is_relu(traced: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return isinstance(traced.get_submodule(str(node.target)), nn.ReLU)
    return node.target in RELU or (node.op == "call_method" and node.target in ("relu", "relu_"))


def _native(traced: fx.GraphModule, node: fx.Node) -> NativeKernel | None:
    if node.op != "call_module":
        return None
    module = traced.get_submodule(str(node.target))
    return module if isinstance(module, NativeKernel) and used_once(traced, node) else None


def used_once(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node is the only call of its module.

    Example:
        >>> used_once(fx.symbolic_trace(nn.Sequential(nn.ReLU())), node)  # doctest: +SKIP
        True
    """
    return sum(other.op == "call_module" and other.target == node.target for other in traced.graph.nodes) == 1
