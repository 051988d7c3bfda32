"""What a network makes a backend do, as figures, without running it: a cost model multiplies each by what it costs.

`OPERATIONS` counts what PyTorch would call: eager runs that; Inductor, ONNX Runtime and OpenVINO run something alike.
`NATIVE` and `NATIVE_BF16` are what native code's generator says of the code that it writes. A backend names its own.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from canvas import native_network
from canvas.errors import UserError
from canvas.example import Example, call, channels_last, floats, store_channels_last
from canvas.folding import fold
from canvas.onnx_graph import Unsupported

KINDS = ("dense", "point", "grouped", "depthwise", "matmul", "map", "function", "reduce", "softmax", "move", "view")
PARTS = ("calls", "flops", "near", "far")  # near: bytes of operations that fit the caches, far: of those that do not
# The last figures of every workload: bytes that a network is given and gives, which backends store in another order.
# Where channels are a multiple of a page apart, the elements of a position share a few lines of a cache, and that takes
# several times as long (measured).
ENDS = ("input", "input apart", "output", "output apart")
CACHE = 2**21  # bytes: about what a core's own cache holds
PAGE, WAYS = 4096, 8  # bytes; lines of a cache for addresses that are the same within a page
MATMULS = {"mm", "addmm", "bmm", "baddbmm", "_scaled_dot_product_flash_attention_for_cpu"}
FUNCTIONS = {"exp", "tanh", "sigmoid", "gelu", "silu", "sin", "sqrt", "rsqrt", "erf", "pow"}
REDUCTIONS = {"sum", "mean", "amax", "max", "var_mean", "linalg_vector_norm", "avg_pool2d", "max_pool2d_with_indices"}
REDUCTIONS |= {"native_layer_norm", "native_batch_norm", "_adaptive_avg_pool2d", "cumsum"}
MOVES = {"clone", "copy_", "cat", "constant_pad_nd", "repeat", "im2col", "index", "gather", "roll", "_to_copy", "stack"}
MOVES |= {"upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "index_select", "expand_copy", "empty_like"}


@dataclass(frozen=True)
class Workload:
    """A way to look at networks.

    Attributes:
        figures: their names.
        trace: of a module in eval mode, example inputs (only their shapes and types are used) and a number of threads:
            the figures of one forward pass, none negative. The module is left as it is. Raises UserError where it
            cannot say.

    Example:
        >>> figures = OPERATIONS.trace(nn.Conv2d(8, 16, 1), torch.zeros(1, 8, 4, 4), 1)
        >>> figures[OPERATIONS.figures.index("point flops")]
        4096.0
    """

    figures: tuple[str, ...]
    trace: Callable[[nn.Module, Example, int], np.ndarray]


def _operations(module: nn.Module, example: Example, _: int) -> np.ndarray:
    """For each kind of operation the calls, their FLOPs (2 x multiply-adds), and the bytes that they read and write."""
    recorder = _Recorder()
    try:
        ready = store_channels_last(fold(copy.deepcopy(module).eval()).to("meta"))
        inputs = channels_last(pytree.tree_map(lambda v: v.to("meta") if isinstance(v, Tensor) else v, example))
        with torch.no_grad(), recorder:
            result = call(ready, inputs)
    except Exception as error:  # whatever the module's own forward raises
        raise UserError(f"the module cannot be traced without data: {type(error).__name__}: {error}") from error
    return np.array([*recorder.work.flatten(), *_ends(inputs, result)])


def _native(module: nn.Module, example: Example, threads: int, precision: str = "fp32") -> np.ndarray:
    """The cycles that the code is likely to take."""
    inputs = example[0] if isinstance(example, tuple) and len(example) == 1 else example
    try:
        if not isinstance(inputs, Tensor):
            raise Unsupported("other inputs than one tensor")
        if any(value.is_meta for value in (*module.parameters(), *module.buffers())):
            module = copy.deepcopy(module).to_empty(device="cpu")  # their values do not matter
        images = torch.empty(1, dtype=inputs.dtype, device="cpu").expand(inputs.shape)
        made = native_network.write(module, images, threads=threads, precision=precision)
    except Unsupported as refusal:
        raise UserError(
            f"native code cannot be predicted: the network has {refusal}; choose another backend"
        ) from refusal
    given = images.shape[0]
    result = torch.empty((given, *made.outputs), device="meta")
    return np.array([given * made.cycles[0] + made.cycles[1], *_ends(images, result)])


def _ends(example: Example, result: Any) -> list[float]:
    sums = []
    for tensors in (floats(example), floats(result)):
        apart = sum(value.nbytes for value in tensors if _apart(value))
        sums += [float(sum(value.nbytes for value in tensors) - apart), float(apart)]
    return sums


def _apart(value: Tensor) -> bool:
    """Whether the channels of a position, stored as PyTorch does, have more addresses alike than a cache has lines."""
    if value.dim() < 4 or value.shape[1] <= WAYS:
        return False
    return value[0, 0].numel() * value.element_size() % PAGE == 0


OPERATIONS = Workload((*(f"{kind} {part}" for kind in KINDS for part in PARTS), *ENDS), _operations)
NATIVE = Workload(("cycles", *ENDS), _native)
NATIVE_BF16 = Workload(NATIVE.figures, functools.partial(_native, precision="bf16"))


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.work = np.zeros((len(KINDS), len(PARTS)))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        inputs = [v for v in pytree.tree_leaves((args, kwargs)) if isinstance(v, Tensor)]
        outputs = [v for v in pytree.tree_leaves(result) if isinstance(v, Tensor)]
        if outputs:
            kind, flops = _judged(func.overloadpacket.__name__, inputs, outputs[0])
            moved = sum(v.numel() * v.element_size() for v in (*inputs, *outputs)) if kind != "view" else 0
            where = "near" if moved <= CACHE else "far"
            row = self.work[KINDS.index(kind)]
            for part, amount in (("calls", 1.0), ("flops", flops), (where, moved)):
                row[PARTS.index(part)] += amount
        return result


def _judged(name: str, inputs: Sequence[Tensor], output: Tensor) -> tuple[str, float]:
    """An operation's kind and FLOPs."""
    if name == "convolution":
        weight = inputs[1]
        groups = inputs[0].shape[1] // weight.shape[1]
        kind = "point" if weight[0, 0].numel() == 1 else "dense"
        if groups > 1:
            kind = "depthwise" if weight.shape[1] == 1 else "grouped"
        return kind, 2.0 * output.numel() * weight[0].numel()
    if name in MATMULS:
        return "matmul", 2.0 * output.numel() * inputs[-1 if name in ("mm", "bmm") else 1].shape[-2]
    if name in ("_softmax", "_log_softmax"):
        return "softmax", 5.0 * output.numel()
    if name in REDUCTIONS:
        return "reduce", float(inputs[0].numel())
    if name in MOVES:
        return "move", 0.0
    if any(output.untyped_storage()._cdata == source.untyped_storage()._cdata for source in inputs):
        return ("map", float(output.numel())) if name.endswith("_") else ("view", 0.0)
    return "function" if name in FUNCTIONS else "map", float(output.numel())
