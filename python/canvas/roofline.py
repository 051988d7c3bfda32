"""The least time that a machine needs for a network: its arithmetic at the highest rate seen, its results at the rate
of memory. Called by `latency`, which refuses figures below, and by `bench`, which reports the share reached.
(Williams, Waterman, Patterson: Roofline, Communications of the ACM 52, 2009.)
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import FlopCounterMode

from canvas import native_compiler
from canvas.errors import UserError
from canvas.example import Example, call, evaluating

SMALLEST, LARGEST = 2**20, 2**28  # bytes for which the memory's rate is measured; below, a call's own time shows


@dataclass(frozen=True)
class Floor:
    """The least time of a forward pass.

    Attributes:
        seconds: no less than this.
        reason: why, as an error message ends.
    """

    seconds: float
    reason: str


def flops(model: nn.Module, example: Example) -> float:
    """Floating-point operations (2 x multiply-adds) of the convolutions and matrix products in one forward pass."""
    return _counted(model, example)[0]


def floor(model: nn.Module, example: Example, threads: int, device: torch.device) -> Floor:
    """The least time of a forward pass: arithmetic and writing the outputs may overlap, so the longer of the two.

    Args:
        model: any module.
        example: its inputs.
        threads: of the backend.
        device: where it computes.

    Returns:
        The floor. What is read is left out: a network may not need all of its inputs, and may keep its weights in
        registers. So are the convolutions' products with padding.

    Example:
        >>> floor(nn.Linear(256, 256), torch.zeros(64, 256), 1, torch.device("cpu")).seconds > 0
        True
    """
    work, written = _counted(model, example, {torch.ops.aten.convolution: _products})
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    peak, rate = peak_flops(threads, device, dtype), peak_bandwidth(threads, device, written)
    if work / peak >= written / rate:
        reason = f"{work:.3g} FLOPs: this machine's arithmetic reaches {peak / 1e9:.3g} GFLOP/s on {threads} threads"
        return Floor(work / peak, reason)
    return Floor(written / rate, f"{written:.3g} bytes of outputs: this machine copies {rate / 1e9:.3g} GB/s")


def peak_flops(threads: int, device: torch.device, dtype: torch.dtype = torch.float32) -> float:
    """The highest rate of arithmetic seen on this machine, in FLOPs a second; measured once in a process.

    That of a matrix product or a convolution, whichever is higher (libraries do not use all instructions on every
    processor), and, for float32 where there is a compiler, of multiply-adds on registers alone.
    """
    return _once(("flops", threads, str(device), str(dtype)), lambda: _flops_seen(threads, device, dtype))


def peak_bandwidth(threads: int, device: torch.device, size: float) -> float:
    """The highest rate of a copy of about so many bytes seen on this machine, in bytes a second, read and written ones
    counted; measured once in a process for each power of two."""
    near = 2 ** math.ceil(math.log2(min(max(size, SMALLEST), LARGEST)))
    return _once(("bytes", threads, str(device), near), lambda: _bytes_seen(threads, device, near))


def forget() -> None:
    """Peaks are measured anew when they are next asked for."""
    _SEEN.clear()


_SEEN: dict[tuple[Any, ...], float] = {}


def _once(key: tuple[Any, ...], measured: Callable[[], float]) -> float:
    if key not in _SEEN:
        _SEEN[key] = measured()
    return _SEEN[key]


def _flops_seen(threads: int, device: torch.device, dtype: torch.dtype) -> float:
    size = 8192 if device.type == "cuda" else 1024
    if device.type == "cuda":
        dtype = torch.bfloat16  # tensor cores may serve float32 as well
    generator = torch.Generator(device)
    a, b = torch.rand(2, size, size, generator=generator, device=device).to(dtype)
    runs: list[tuple[float, Callable[[Any], Any]]] = [(2 * size**3, lambda _: a @ b)]
    if device.type == "cpu":
        images, weights = (
            torch.rand(shape, generator=generator).to(dtype, memory_format=torch.channels_last)
            for shape in ((8, 256, 16, 16), (256, 256, 3, 3))
        )
        runs.append((2 * 9 * 256**2 * 8 * 14**2, lambda _: torch.conv2d(images, weights)))
        if dtype == torch.float32:
            with contextlib.suppress(UserError, OSError):
                runs.append(_multiply_adds(threads))
    with fixed_threads(threads), torch.inference_mode():
        return max(work / min(seconds_of(run, a, device) for _ in range(10)) for work, run in runs)


def _multiply_adds(threads: int) -> tuple[float, Callable[[Any], Any]]:
    """A run of nothing but multiply-adds of vectors in registers, and how many FLOPs it is.

    Raises:
        UserError: there is no compiler.
    """
    machine, times = native_compiler.target(), 4_000_000
    width, sums = machine.width, [f"sum{i}" for i in range(machine.registers - 4)]
    # A sum is added to, as NEON's multiply-adds do.
    start = ", ".join(f"{name} = by * {i}" for i, name in enumerate(sums))
    run = native_compiler.load(
        f"typedef float Vector __attribute__((vector_size({4 * width})));"
        f'extern "C" float run(float at) {{ Vector by = at - Vector{{}}, {start}; for (long i = 0; i < {times}; i++) {{'
        f"{''.join(f'{name} += {name} * by;' for name in sums)} }} return ({' + '.join(sums)})[0]; }}"
    ).run
    run.argtypes, run.restype = [ctypes.c_float], ctypes.c_float
    work = 2.0 * width * times * len(sums) * threads
    if threads == 1:  # on the thread that is timed: while another computes, this one's waiting would be subtracted
        return work, lambda _: run(0.5)
    pool = ThreadPoolExecutor(threads)
    return work, lambda _: list(pool.map(run, [0.5] * threads))


def _bytes_seen(threads: int, device: torch.device, size: int) -> float:
    source = torch.ones(size // 4, device=device)
    target = torch.empty_like(source)
    with fixed_threads(threads), torch.inference_mode():
        return 2 * size / min(seconds_of(lambda _: target.copy_(source), source, device) for _ in range(10))


def _counted(model: nn.Module, example: Example, formulas: dict[Any, Any] | None = None) -> tuple[float, float]:
    """FLOPs, and bytes of the outputs."""
    counter = FlopCounterMode(display=False, custom_mapping=formulas)
    with torch.no_grad(), evaluating(model), counter:
        outputs = pytree.tree_leaves(call(model, example))
    written = sum(value.numel() * value.element_size() for value in outputs if isinstance(value, Tensor))
    return float(counter.get_total_flops()), float(written)


def _products(
    x: Sequence[int],
    weight: Sequence[int],
    _bias: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    *_rest: Any,
    out_shape: Sequence[int],
) -> float:
    """FLOPs of a convolution with these shapes, without its products with padding."""
    positions, elements = (x, out_shape) if transposed else (out_shape, x)
    inside = 1
    for axis, window in enumerate(weight[2:]):
        step, margin, apart = (values[axis % len(values)] for values in (stride, padding, dilation))
        inside *= sum(
            len(
                range(
                    max(0, math.ceil(-first / step)), min(positions[axis + 2], -(-(elements[axis + 2] - first) // step))
                )
            )
            for first in range(-margin, window * apart - margin, apart)  # the element that position 0 has at each step
        )
    return 2.0 * inside * x[0] * weight[0] * weight[1]


@contextlib.contextmanager
def fixed_threads(count: int) -> Iterator[None]:
    """PyTorch computes with so many threads inside, and as before after."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def seconds_of(run: Callable[[Any], Any], inputs: Any, device: torch.device) -> float:
    """How long a run takes, without the time in which its only thread was ready but had no processor."""
    alone = device.type == "cpu" and torch.get_num_threads() == 1  # else others work on while this thread waits
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    waited = _waited() if alone else 0.0
    run(inputs)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    waited = _waited() - waited if alone else 0.0  # read before the clock: all of it lies within what is measured
    return time.perf_counter() - start - waited


def _waited() -> float:
    """Seconds for which this thread has waited in the system's run queue; 0 where the system does not tell."""
    try:
        with open("/proc/thread-self/schedstat", "rb", buffering=0) as file:
            return int(file.read(80).split()[1]) * 1e-9
    except (OSError, IndexError):
        return 0.0
