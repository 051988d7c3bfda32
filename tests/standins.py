"""Hand-written stand-ins for what the core emits, so that the PyTorch side is tested without it."""

from dataclasses import dataclass

import torch

from canvas._core import Layer

torch.set_num_threads(1)  # several spinning threads on a busy machine make these small tests ten times slower

SEPARABLE = """\
import torch
from torch import nn
from torch.nn import functional as F


class DepthwiseSeparable(nn.Module):
    def __init__(self):
        super().__init__()
        self.depthwise = nn.Parameter(torch.randn({c_in}, 1, 3, 3) / 3)
        self.pointwise = nn.Parameter(torch.randn({c_out}, {c_in}, 1, 1) / {c_in} ** 0.5)

    def forward(self, x):
        d = F.conv2d(x, self.depthwise, stride={stride}, padding=1, groups={c_in})
        return F.conv2d(d, self.pointwise)


Module = DepthwiseSeparable
"""


@dataclass(frozen=True)
class Bound:
    """One bound layer."""

    layer: Layer
    text: str = SEPARABLE

    def source(self) -> str:
        layer = self.layer
        return self.text.format(c_in=layer.c_in, c_out=layer.c_out, stride=layer.stride)


class Separable:
    """A kernel that binds to anything."""

    def __init__(self, text: str = SEPARABLE) -> None:
        self.text = text

    def bind(self, layers, budget=None):
        return [Bound(layer, self.text) for layer in layers]
