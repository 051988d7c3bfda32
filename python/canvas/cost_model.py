"""Predicts latency without running: what a network makes a backend do, times what that costs on this machine.

A backend's workload (`workload`) tells of a module, as figures, what it does. `CostModel.fit` learns what each of them
costs on one backend from modules that were timed; `canvas calibrate` does so for sampled kernels and keeps the result.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from canvas import _core, backends, latency
from canvas._core import Budget, Kernel, Layer, Prices
from canvas.errors import EvaluationError, UserError
from canvas.example import Example
from canvas.kernel import module_from_source
from canvas.native_compiler import cache_folder
from canvas.objectives import rank_correlation
from canvas.workload import ENDS, NATIVE

FORMAT = 2
# What `calibrate` times kernels in: from many positions with few channels to few with many, and a stride.
LAYERS = (
    Layer(32, 32, (28, 28)),
    Layer(64, 64, (32, 32)),
    Layer(64, 128, (32, 32), stride=2),
    Layer(128, 128, (16, 16)),
    Layer(256, 256, (8, 8)),
)
CYCLES_SPREAD = 1.8  # of ratios of cycles counted; 95 % of 124 candidates were within 1.74 (measured)
HOPELESS = 1  # times the dense convolution: a kernel that is slower is timed by its warm-up alone, to save time


@dataclass(frozen=True)
class CostModel:
    """What work costs on one machine, in one backend: a latency is the sum over the workload's figures of each times
    its cost.

    Attributes:
        backend, threads: what it was calibrated with.
        seconds: [figures of the backend's workload]: per call, FLOP, byte, cycle; none negative.
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
            work: [modules, figures], of the backend's workload.
            times: [modules], their measured latencies in seconds.
            backend: what they were measured with.
            threads: of the backend.
            folds: `parts` of the modules, each predicted by a fit to the others.

        Returns:
            The model fitted to all of them.

        Raises:
            UserError: fewer than ten modules.

        Example:
            >>> work = np.random.default_rng(0).random((40, 5))
            >>> CostModel.fit(work, work.sum(1), "native", 1).correlation > 0.99
            True
        """
        if len(times) < 10:
            raise UserError(f"a cost model needs at least 10 timed modules, got {len(times)}")
        predicted = left_out(work, times, parts(len(times), folds))
        fitted = _costs(work, times)
        return cls(backend, threads, fitted, spread(predicted, times), rank_correlation(predicted, times), len(times))

    def predict(self, module: nn.Module, example: Example, alone: bool = True) -> float:
        """A module's latency in seconds.

        Args:
            module, example: as for the backend's workload.
            alone: it is given and gives what is stored as PyTorch does; else it is within a network, where that is not
                stored anew.

        Raises:
            UserError: the backend's workload cannot say what the module does.

        Example:
            >>> model.predict(nn.Conv2d(8, 16, 1), torch.zeros(1, 8, 4, 4)) > 0
            True
        """
        work = backends.find(self.backend).workload.trace(module, example, self.threads)
        counted = len(work) - (0 if alone else len(ENDS))
        return float(work[:counted] @ self.seconds[:counted])

    def save(self, path: Path) -> None:
        """Writes the model as JSON; an older file is replaced at once or not at all.

        Raises:
            UserError: the file cannot be written.

        Example:
            >>> model.save(default_path("eager", 1))
        """
        figures = backends.find(self.backend).workload.figures
        fields = dataclasses.asdict(self) | {"format": FORMAT, "figures": figures}
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
            figures = list(backends.find(fields["backend"]).workload.figures)
            if (fields.pop("format"), fields.pop("figures")) != (FORMAT, figures):
                raise ValueError("another version")
            return cls(**{**fields, "seconds": np.array(fields["seconds"], dtype=float).reshape(len(figures))})
        except FileNotFoundError as error:
            raise UserError(f"no cost model at {path}; make one with: {_command(path)}") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is no cost model of this version; make one anew with: {_command(path)}") from error

    @classmethod
    def of_cycles(cls, backend: str, threads: int) -> CostModel | None:
        """What native code's generator counts, without calibration: latencies in cycles, good for their ratios.

        Returns:
            The model; None for a backend that does not run native code.

        Example:
            >>> CostModel.of_cycles("native", 1).spread
            1.8
        """
        workload = backends.find(backend).workload
        if workload.figures != NATIVE.figures:
            return None
        costs = np.array([float(name == "cycles") for name in workload.figures])
        return cls(backend, threads, costs, CYCLES_SPREAD, math.nan, 0)


def parts(count: int, folds: int = 5) -> np.ndarray:
    """Shares modules out by chance, always the same: in turn, each part would be one of the layers.

    Example:
        >>> np.bincount(parts(10, 5))
        array([2, 2, 2, 2, 2])
    """
    return np.random.default_rng(0).permutation(count) % folds


def left_out(work: np.ndarray, times: np.ndarray, part_of: np.ndarray) -> np.ndarray:
    """What fits say of modules that they have not seen.

    Args:
        work, times: as for `CostModel.fit`.
        part_of: [modules], the part that each of them belongs to.

    Returns:
        [modules], the seconds that a fit to the other parts predicts.

    Example:
        >>> left_out(np.ones((4, 1)), np.full(4, 2.0), np.arange(4)).round(2)
        array([2., 2., 2., 2.])
    """
    predicted = np.empty(len(times))
    for part in np.unique(part_of):
        out = part_of == part
        predicted[out] = work[out] @ _costs(work[~out], times[~out])
    return predicted


def spread(predicted: np.ndarray, times: np.ndarray) -> float:
    """The factor within which 95 % of the times are of what was predicted.

    Example:
        >>> spread(np.array([1.0, 1.0]), np.array([2.0, 0.5])).round(2)
        np.float64(2.0)
    """
    return float(np.exp(np.quantile(np.abs(np.log(np.maximum(predicted, 1e-12) / times)), 0.95)))


@dataclass(frozen=True)
class Timed:
    """Kernels that were timed.

    Attributes:
        work: [kernels, figures of the backend's workload].
        times: [kernels], seconds.
        layers: [kernels], which of `LAYERS` each was timed in.
    """

    work: np.ndarray
    times: np.ndarray
    layers: np.ndarray


def timed(
    backend: str = "eager",
    threads: int = 1,
    kernels: int = 150,
    batch: int = 32,
    seed: int = 0,
    seconds: float = 0.1,
    progress: Callable[[str], None] = lambda line: None,
) -> Timed:
    """Times sampled kernels in single layers, each beside the dense convolution.

    Args:
        backend: a name in `backends.BACKENDS`.
        threads: of the backend.
        kernels: how many are sampled; they take turns on the layers of `LAYERS`.
        batch: images.
        seed: of the samples and inputs.
        seconds: about how long each pair is timed.
        progress: called with a line for each kernel.

    Returns:
        Those that could be timed, for `CostModel.fit`.

    Raises:
        UserError: the backend is unknown or not installed.

    Example:
        >>> timed("eager", kernels=5).layers
        array([0, 1, 2, 3, 4])
    """
    workload = backends.find(backend).workload
    rows = []
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
        except EvaluationError as error:
            progress(f"{index + 1} of {kernels}: left out: {error}")
            continue
        rows.append((workload.trace(module, example, threads), timing.median_ms / 1e3, index % len(LAYERS)))
        progress(f"{index + 1} of {kernels}: {timing.median_ms:.2f} ms")
    work, times, layers = zip(*rows, strict=True) if rows else ([], [], [])
    return Timed(np.array(work), np.array(times), np.array(layers))


def calibrate(backend: str = "eager", threads: int = 1, kernels: int = 150, **options: Any) -> CostModel:
    """A cost model of this machine: `timed` kernels, and what was learned of them.

    Args:
        backend, threads, kernels: and the other options as for `timed`.

    Returns:
        The model; `save` keeps it.

    Raises:
        UserError: the backend is unknown or not installed, or fewer than ten kernels could be timed.

    Example:
        >>> calibrate("eager", kernels=40).correlation > 0.8
        True
    """
    found = timed(backend, threads, kernels, **options)
    return CostModel.fit(found.work, found.times, backend, threads)


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

    def seconds(make: Callable[[], nn.Module], layer: Layer) -> float:
        lead = (layer.tokens,) if layer.tokens else ()
        shape = (batch, layer.c_in, *layer.spatial) if layer.spatial else (batch, *lead, layer.c_in)
        with torch.device("meta"):
            module, example = make(), torch.empty(shape)
        return max(model.predict(module, example, alone=False), 1e-9)

    original = 0.0
    originals: dict[Any, float] = {}
    options: dict[Any, list[Any]] = {}
    for layer in layers:
        shape = (layer.c_in, layer.c_out, layer.spatial, layer.stride, layer.tokens)
        if shape not in options:
            listed = kernel.options(layer, most, multiple_of)
            options[shape] = [
                (one, seconds(functools.partial(module_from_source, one.source()), layer)) for one in listed
            ]
        key = (*shape, layer.window, layer.groups)
        if key not in originals:
            originals[key] = seconds(functools.partial(_original, layer), layer)
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

    Raises:
        UserError: no such backend.

    Example:
        >>> default_path("eager", 2).name
        'eager-2.json'
    """
    return cache_folder("cost") / f"{backends.find(backend).name}-{threads}.json"


def _command(path: Path) -> str:
    """Makes the cost model that `path` should hold."""
    backend, _, threads = path.stem.rpartition("-")
    if path.parent == cache_folder("cost"):
        return f"canvas calibrate --backend {backend} --threads {threads}"
    return f"canvas calibrate -o {path}"


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
