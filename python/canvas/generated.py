"""The names that emitted source uses, as a module: what torch.compile looks up when it meets a kernel inside a network.

The classes that `kernel.module_from_source` makes say that they are of this module; they are not in it.
"""

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["F", "nn", "torch"]
