"""A kernel's module in the place of a layer: with what else the layer had, and what models read of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def leave_fast_paths(model: nn.Module, new: set[nn.Module]) -> None:
    """PyTorch's transformer layers read the weights of linear layers past their modules, unless told not to."""
    for module in model.modules():
        if not new.isdisjoint(module.modules()):
            if isinstance(module, nn.TransformerEncoderLayer):
                module.activation_relu_or_gelu = 0
            if isinstance(module, nn.TransformerEncoder):
                module.use_nested_tensor = False


# What a model may read of its layers (MobileNetV2 of transformers pads by it).
CONVOLUTION = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
GEOMETRY = (*CONVOLUTION, "in_features", "out_features", "nx", "nf")


class Fitted(nn.Module):
    """A kernel's module with what else the layer that it replaced had: a bias, a margin that is only read."""

    def __init__(self, body: nn.Module, bias: Tensor | None, margin: int, dims: int) -> None:
        super().__init__()
        self.body, self.margin, self.dims = body, margin, dims  # dims: of the positions behind the channels
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())

    @property
    def weight(self) -> Tensor:
        """As that of a kernel's module."""
        for value in self.parameters():
            return value.new_empty(0)
        raise AttributeError("Fitted: there are no weights")

    def forward(self, x: Tensor) -> Tensor:
        if self.margin:
            inner = (slice(None), slice(None), *[slice(self.margin, -self.margin)] * self.dims)
            x = x[inner]
        y = self.body(x)
        return y if self.bias is None else y + self.bias.to(y.dtype).view(-1, *[1] * self.dims)


def like(module: Any, layer: Any) -> nn.Module:
    """Gives a new module the bias, margin, geometry, type, device, memory format and mode of a layer."""
    weight, dims = layer.weight, layer.weight.dim() - 2
    margin = margin_of(layer) if dims else 0
    if layer.bias is not None or margin:
        module = Fitted(module, layer.bias, margin, dims)
    for name in GEOMETRY:
        if hasattr(layer, name) and not hasattr(module, name):
            setattr(module, name, getattr(layer, name))
    module = module.to(device=weight.device, dtype=weight.dtype)
    if dims == 2 and weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous():
        module = module.to(memory_format=torch.channels_last)
    return module.train(layer.training)


def margin_of(conv: Any) -> int:
    """How far from the edge the first window's centre lies: 0 where the padding keeps the resolution."""
    same = conv.kernel_size[0] // 2
    return {"same": 0, "valid": same}[conv.padding] if isinstance(conv.padding, str) else same - conv.padding[0]
