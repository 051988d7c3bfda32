"""Canvas: kernel architecture search.

From a network and a budget, Canvas invents new kernels (small tensor programs that stand in for a convolution), finds
those that keep the accuracy and run faster on this machine, and hands the network back with the best one in it.

Example:
    >>> import canvas
    >>> kernel = canvas.zoo()["depthwise_separable"]
    >>> kernel.bind([canvas.Layer(64, 64, (32, 32))]).params
    4672
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import canvas.kernel  # noqa: F401  (attaches Kernel.module and Kernel.draw)
from canvas._core import (
    Amount,
    Binding,
    Budget,
    Infeasible,
    Kernel,
    KernelError,
    Layer,
    Prices,
    Samples,
    Sizes,
    complete,
    crossover,
    enumerate_kernels,
    implausible,
    mutate,
    parse,
    primitives,
    sample,
)
from canvas.errors import UserError
from canvas.hand_designed import zoo

if TYPE_CHECKING:
    from canvas.combine import combine
    from canvas.layers import Target, replace, targets
    from canvas.mixture import Mixture
    from canvas.study import Study
    from canvas.train import Recipe
    from canvas.train_and_time import TrainAndTime

__version__ = "0.1.0"
__all__ = [
    "Amount",
    "Binding",
    "Budget",
    "Infeasible",
    "Kernel",
    "KernelError",
    "Layer",
    "Mixture",
    "Prices",
    "Recipe",
    "Samples",
    "Sizes",
    "Study",
    "Target",
    "TrainAndTime",
    "UserError",
    "combine",
    "complete",
    "crossover",
    "enumerate_kernels",
    "implausible",
    "mutate",
    "parse",
    "primitives",
    "replace",
    "sample",
    "targets",
    "zoo",
]

# Names whose modules import PyTorch: loaded when first used, so that checking a kernel's text stays quick.
_LAZY = {
    "Mixture": "canvas.mixture",
    "Recipe": "canvas.train",
    "Study": "canvas.study",
    "Target": "canvas.layers",
    "TrainAndTime": "canvas.train_and_time",
    "combine": "canvas.combine",
    "replace": "canvas.layers",
    "targets": "canvas.layers",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'canvas' has no attribute '{name}'")
