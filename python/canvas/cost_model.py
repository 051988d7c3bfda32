"""Predicts latency without running: what each operation does, times what such operations cost on this machine.

`trace` runs a module on tensors without data and notes the operations that PyTorch would call: their number, arithmetic
and traffic, by kind. `CostModel.fit` learns what each of them costs on one backend from modules that were timed;
`canvas calibrate` does so for sampled kernels and keeps the result, `predicted` uses it.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from canvas import _core, backends, latency
from canvas._core import Budget, Kernel, Layer, Prices
from canvas.errors import EvaluationError, UserError
from canvas.example import Example, call, channels_last, store_channels_last
from canvas.folding import fold
from canvas.kernel import module_from_source
from canvas.native import cache_folder
from canvas.objectives import rank_correlation

KINDS = ("dense", "point", "grouped", "depthwise", "matmul", "map", "function", "reduce", "softmax", "move", "view")
FIGURES = ("calls", "flops", "near", "far")  # near: bytes of operations that fit the caches, far: of those that do not
CACHE = 2**21  # bytes: about what a core's own cache holds
FORMAT = 1
# What `calibrate` times kernels in: from many positions with few channels to few with many, and a stride.
LAYERS = (
    Layer(32, 32, (28, 28)),
    Layer(64, 64, (32, 32)),
    Layer(64, 128, (32, 32), stride=2),
    Layer(128, 128, (16, 16)),
    Layer(256, 256, (8, 8)),
)
HOPELESS = 1  # times the dense convolution: a kernel that is slower is timed by its warm-up alone, to save time
MATMULS = {"mm", "addmm", "bmm", "baddbmm", "_scaled_dot_product_flash_attention_for_cpu"}
FUNCTIONS = {"exp", "tanh", "sigmoid", "gelu", "silu", "sin", "sqrt", "rsqrt", "erf", "pow"}
REDUCTIONS = {"sum", "mean", "amax", "max", "var_mean", "linalg_vector_norm", "avg_pool2d", "max_pool2d_with_indices"}
REDUCTIONS |= {"native_layer_norm", "native_batch_norm", "_adaptive_avg_pool2d", "cumsum"}
MOVES = {"clone", "copy_", "cat", "constant_pad_nd", "repeat", "im2col", "index", "gather", "roll", "_to_copy", "stack"}
MOVES |= {"upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "index_select", "expand_copy", "empty_like"}


def trace(module: nn.Module, example: Example) -> np.ndarray:
    """What a module does in one forward pass in eval mode, on channels-last inputs, without computing it.

    Args:
        module: any module that PyTorch can run on the meta device; it is left as it is.
        example: its inputs; only shapes and types are used.

    Returns:
        [len(KINDS), len(FIGURES)]: for each kind of operation the calls, their FLOPs (2 x multiply-adds), and the bytes
        that they read and write, apart for those of at most and of more than `CACHE` bytes.

    Raises:
        UserError: the module cannot run without data.

    Example:
        >>> trace(nn.Conv2d(8, 16, 1), torch.zeros(1, 8, 4, 4))[KINDS.index("point"), FIGURES.index("flops")]
        4096.0
    """
    recorder = _Recorder()
    try:
        ready = store_channels_last(fold(copy.deepcopy(module).eval()).to("meta"))
        inputs = pytree.tree_map(lambda v: v.to("meta") if isinstance(v, Tensor) else v, channels_last(example))
        with torch.no_grad(), recorder:
            call(ready, inputs)
    except Exception as error:  # whatever the module's own forward raises
        raise UserError(f"the module cannot be traced without data: {type(error).__name__}: {error}") from error
    return recorder.work


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.work = np.zeros((len(KINDS), len(FIGURES)))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        inputs = [v for v in pytree.tree_leaves((args, kwargs)) if isinstance(v, Tensor)]
        outputs = [v for v in pytree.tree_leaves(result) if isinstance(v, Tensor)]
        if outputs:
            kind, flops = _judged(func.overloadpacket.__name__, inputs, outputs[0])
            moved = sum(v.numel() * v.element_size() for v in (*inputs, *outputs)) if kind != "view" else 0
            where = "near" if moved <= CACHE else "far"
            row = self.work[KINDS.index(kind)]
            for figure, amount in (("calls", 1.0), ("flops", flops), (where, moved)):
                row[FIGURES.index(figure)] += amount
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


@dataclass(frozen=True)
class CostModel:
    """What operations cost on one machine, in one backend: a latency is the sum over kinds and figures of the figure
    times its cost.

    Attributes:
        backend, threads: what it was calibrated with.
        seconds: [len(KINDS), len(FIGURES)]: per call, FLOP, byte; none negative.
        spread: of the modules left out of the fit, 95 % are slower than predicted by at most this factor, and at most
            so many times faster.
        correlation: Spearman's rank correlation of prediction and measurement over the modules left out.
        modules: how many were timed.
    """

    backend: str
    threads: int
    seconds: np.ndarray
    spread: float
    correlation: float
    modules: int

    @classmethod
    def fit(cls, work: np.ndarray, times: np.ndarray, backend: str, threads: int, folds: int = 5) -> CostModel:
        """Learns costs by least squares of the relative errors, none negative; judged by cross-validation.

        Args:
            work: [modules, len(KINDS), len(FIGURES)], of `trace`.
            times: [modules], their measured latencies in seconds.
            backend: what they were measured with.
            threads: of the backend.
            folds: parts of the modules, each predicted by a fit to the others.

        Returns:
            The model fitted to all of them.

        Raises:
            UserError: fewer than ten modules.

        Example:
            >>> work = np.random.default_rng(0).random((40, len(KINDS), len(FIGURES)))
            >>> model = CostModel.fit(work, work.sum((1, 2)), "eager", 1)
            >>> model.correlation > 0.99
            True
        """
        if len(times) < 10:
            raise UserError(f"a cost model needs at least 10 timed modules, got {len(times)}")
        flat = work.reshape(len(work), -1)
        predicted = np.empty(len(times))
        for part in range(min(folds, len(times))):
            left_out = np.arange(len(times)) % folds == part
            predicted[left_out] = flat[left_out] @ _costs(flat[~left_out], times[~left_out])
        errors = np.abs(np.log(np.maximum(predicted, 1e-12) / times))
        spread = float(np.exp(np.quantile(errors, 0.95)))
        costs = _costs(flat, times).reshape(work.shape[1:])
        return cls(backend, threads, costs, spread, rank_correlation(predicted, times), len(times))

    def predict(self, module: nn.Module, example: Example) -> float:
        """A module's latency in seconds.

        Raises:
            UserError: the module cannot be traced.

        Example:
            >>> model.predict(nn.Conv2d(8, 16, 1), torch.zeros(1, 8, 4, 4)) > 0
            True
        """
        return float((trace(module, example) * self.seconds).sum())

    def save(self, path: Path) -> None:
        """Writes the model as JSON; an older file is replaced at once or not at all.

        Raises:
            UserError: the file cannot be written.

        Example:
            >>> model.save(default_path("eager", 1))
        """
        fields = dataclasses.asdict(self) | {"format": FORMAT, "kinds": KINDS, "figures": FIGURES}
        fields["seconds"] = self.seconds.tolist()
        part = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(fields, indent=1), encoding="utf-8")
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise UserError(f"cost model: cannot write {path}: {error.strerror}") from error

    @classmethod
    def load(cls, path: Path) -> CostModel:
        """Reads what `save` wrote.

        Raises:
            UserError: there is no such file, or it is no cost model of this version.

        Example:
            >>> CostModel.load(default_path("eager", 1)).backend
            'eager'
        """
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            known = (fields.pop("format"), fields.pop("kinds"), fields.pop("figures"))
            if known != (FORMAT, list(KINDS), list(FIGURES)):
                raise ValueError("another version")
            return cls(**{**fields, "seconds": np.array(fields["seconds"], dtype=float).reshape(len(KINDS), -1)})
        except FileNotFoundError as error:
            raise UserError(f"no cost model at {path}; make one with: canvas calibrate") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is no cost model of this version; make one anew with: canvas calibrate") from error


def calibrate(
    backend: str = "eager",
    threads: int = 1,
    kernels: int = 150,
    batch: int = 32,
    seed: int = 0,
    seconds: float = 0.1,
    progress: Callable[[str], None] = lambda line: None,
) -> CostModel:
    """Times sampled kernels in single layers, each beside the dense convolution, and fits a cost model to them.

    Args:
        backend: a name in `backends.BACKENDS`.
        threads: of the backend.
        kernels: how many are sampled; they take turns on the layers of `LAYERS`.
        batch: images.
        seed: of the samples and inputs.
        seconds: about how long each pair is timed.
        progress: called with a line for each kernel.

    Returns:
        The model; `save` keeps it.

    Raises:
        UserError: the backend is unknown or not installed, or fewer than ten kernels could be timed.

    Example:
        >>> calibrate("eager", kernels=40).correlation > 0.8
        True
    """
    backends.find(backend)
    work, times = [], []
    sampled = _core.sample(list(LAYERS), kernels, seed, Budget(flops=(0.01, 1.5)))
    for index, kernel in enumerate(sampled):
        layer = LAYERS[index % len(LAYERS)]
        example = torch.randn(batch, layer.c_in, *layer.spatial, generator=torch.Generator().manual_seed(seed))
        dense = nn.Conv2d(layer.c_in, layer.c_out, 3, layer.stride, 1, bias=False)
        try:
            module = kernel.module(layer)
            timing = latency.compare(
                module, dense, example, backend, threads=threads, seconds=seconds, hopeless=HOPELESS
            )
            work.append(trace(module, example))
        except EvaluationError as error:
            progress(f"{index + 1} of {kernels}: left out: {error}")
            continue
        times.append(timing.median_ms / 1e3)
        progress(f"{index + 1} of {kernels}: {timing.median_ms:.2f} ms")
    return CostModel.fit(np.array(work), np.array(times), backend, threads)


def prices(
    kernel: Kernel, layers: Sequence[Layer], model: CostModel, batch: int = 32, most: int = 24, multiple_of: int = 1
) -> Prices:
    """What the sizes that a kernel can have on a network's layers take, for `Kernel.bind` to hold a limit on latency.

    Args:
        kernel: what is to be bound.
        layers: the network's.
        model: predicts each layer by itself; a network's latency is the sum.
        batch: images or sequences in a forward pass.
        most: sizes that are predicted for a layer, spread evenly where there are more; the others are not chosen.
        multiple_of: as for `Kernel.bind`.

    Returns:
        The predictions, about 10 ms of computing each; equal layers are predicted once.

    Raises:
        UserError: a module cannot be traced.

    Example:
        >>> layers = [Layer(64, 64, count=4)]
        >>> priced = prices(kernel, layers, CostModel.load(default_path("eager", 1)))
        >>> kernel.bind(layers, Budget(latency=0.7), prices=priced).latency <= 0.7 * priced.original
        True
    """

    def seconds(module: nn.Module, layer: Layer) -> float:
        lead = (layer.tokens,) if layer.tokens else ()
        shape = (batch, layer.c_in, *layer.spatial) if layer.spatial else (batch, *lead, layer.c_in)
        return max(model.predict(module, torch.empty(shape, device="meta")), 1e-9)

    original = 0.0
    originals: dict[Any, float] = {}
    options: dict[Any, list[Any]] = {}
    with torch.device("meta"):
        for layer in layers:
            shape = (layer.c_in, layer.c_out, layer.spatial, layer.stride, layer.tokens)
            if shape not in options:
                listed = kernel.options(layer, most, multiple_of)
                options[shape] = [(one, seconds(module_from_source(one.source()), layer)) for one in listed]
            key = (*shape, layer.window, layer.groups)
            if key not in originals:
                originals[key] = seconds(_original(layer), layer)
            original += layer.count * originals[key]
    return Prices(
        original, [options[layer.c_in, layer.c_out, layer.spatial, layer.stride, layer.tokens] for layer in layers]
    )


def _original(layer: Layer) -> nn.Module:
    """The module that a layer tells of, without a bias."""
    if not layer.spatial:
        return nn.Linear(layer.c_in, layer.c_out, bias=False)
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[len(layer.spatial) - 1]
    padding = layer.window // 2
    return kind(layer.c_in, layer.c_out, layer.window, layer.stride, padding, groups=layer.groups, bias=False)


def default_path(backend: str, threads: int) -> Path:
    """Where the cost model of a backend is kept: below $XDG_CACHE_HOME, or ~/.cache.

    Example:
        >>> default_path("eager", 2).name
        'eager-2.json'
    """
    return cache_folder("cost") / f"{backend}-{threads}.json"


def _costs(work: np.ndarray, times: np.ndarray) -> np.ndarray:
    """x >= 0 that makes the squares of (work x / times - 1) least, by coordinate descent; ties go to small x."""
    relative = work / times[:, None]
    size = np.linalg.norm(relative, axis=0)
    size[size == 0] = 1.0
    scaled = relative / size
    gram, target = scaled.T @ scaled + 1e-4 * np.eye(scaled.shape[1]), scaled.sum(0)
    x = np.zeros(len(target))
    for _ in range(1000):
        before = x.copy()
        for j in range(len(x)):
            x[j] = max(0.0, x[j] + (target[j] - gram[j] @ x) / gram[j, j])
        if np.abs(x - before).max() <= 1e-9 * max(1e-30, x.max()):
            break
    return x / size
