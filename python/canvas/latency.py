"""How latency is measured, everywhere in Canvas: `compare` times a candidate against a baseline and gives an interval.

The protocol: a fixed number of threads; one measurement at a time on the machine (a lock file); outputs checked first;
fresh inputs each round; warm-up; candidate and baseline interleaved in one process, the ratio taken round by round; on
one thread, the time for which the system gave the processor to others is subtracted; medians with distribution-free
confidence intervals; more rounds until the ratio's interval is narrow, within a limit; a figure that beats the
machine's arithmetic is refused.
"""

from __future__ import annotations

import contextlib
import copy
import fcntl
import functools
import gc
import getpass
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from canvas import backends
from canvas.errors import ImplausibleTiming, WrongOutput
from canvas.example import Example, call, device_of, floats, fresh, relative_error

LEAST_ROUNDS = 12  # in all; fewer give no useful interval
WIDTH = 0.05  # of the ratio's interval, relative to the ratio: no more windows once it is as narrow as this
WINDOWS = 3  # at most so many
MARGIN = 1.3  # how far above the measured peak a rate may lie: the peak is measured too


@dataclass(frozen=True)
class Timing:
    """Latency of a candidate and of the baseline beside it; intervals hold the median with at least 95 % confidence.

    Attributes:
        median_ms, low_ms, high_ms: the candidate.
        baseline_ms: the baseline's median.
        ratio, ratio_low, ratio_high: candidate / baseline (below 1: the candidate is faster), from adjacent runs.
        backend, threads, batch: what it was measured with.
        steady: the ratio's interval became as narrow as `WIDTH`.
    """

    median_ms: float
    low_ms: float
    high_ms: float
    baseline_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float
    backend: str
    threads: int
    batch: int
    steady: bool = True


def compare(
    candidate: nn.Module,
    baseline: nn.Module,
    example: Example,
    backend: str = "eager",
    reference: Callable[..., Any] | None = None,
    threads: int = 1,
    seconds: float = 0.4,
    tolerance: float = 1e-2,
    seed: int = 0,
    hopeless: float = math.inf,
) -> Timing:
    """Times two networks beside each other. Waits while another process on the machine measures.

    Args:
        candidate: the network of interest.
        baseline: what it is compared with.
        example: inputs of both: a tensor, a tuple of arguments or a dict of keyword arguments; only shapes, types, mean
            and spread are used.
        backend: a name in `backends.BACKENDS`.
        reference: gives the right outputs of the candidate; by default the candidate itself, in eval mode.
        threads: of PyTorch's, while measuring; restored afterwards.
        seconds: about how long a window of rounds lasts; there are one to three, until the interval is narrow.
        tolerance: the largest relative error (2-norm) of the outputs.
        seed: of the inputs.
        hopeless: a candidate that is so many times slower than the baseline is not measured beyond the warm-up.

    Returns:
        The timing.

    Raises:
        WrongOutput: the prepared candidate or baseline does not compute what it should.
        ImplausibleTiming: the candidate is faster than its arithmetic allows on this machine.
        UserError: the backend is unknown or not installed.

    Example:
        >>> timing = compare(depthwise_model, model, torch.zeros(32, 1, 28, 28))
        >>> timing.ratio_low <= timing.ratio <= timing.ratio_high
        True
    """
    chosen = backends.find(backend)
    generator = torch.Generator().manual_seed(seed)
    device = device_of(candidate, example)
    with fixed_threads(threads):
        chosen.reset()
        runs = [chosen.prepare(model, example) for model in (candidate, baseline)]
        inputs = fresh(example, generator)
        _check(runs[0], reference or _eager(candidate), inputs, tolerance, "candidate")
        _check(runs[1], _eager(baseline), inputs, tolerance, "baseline")
        with machine_lock():
            times = _measured(runs, example, generator, seconds, device, hopeless)
            _refuse_implausible(flops(candidate, example), statistics.median(times[0]), threads, candidate, device)
    ratios = [a / b for a, b in zip(*times, strict=True)]
    low, high = interval(times[0])
    ratio_low, ratio_high = interval(ratios)
    return Timing(
        statistics.median(times[0]) * 1e3,
        low * 1e3,
        high * 1e3,
        statistics.median(times[1]) * 1e3,
        statistics.median(ratios),
        ratio_low,
        ratio_high,
        backend,
        threads,
        _batch(example),
        _narrow(ratios),
    )


def interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """A confidence interval of the median, of any distribution: two order statistics of the sample.

    Of n values, the k-th smallest and the k-th largest hold the median between them with the probability
    1 - 2 P(B < k), where B is binomial (n, 1/2); the largest such k is taken. (David and Nagaraja, Order Statistics,
    7.1.)

    Args:
        values: at least one. Fewer than six cannot give 95 %: the smallest and the largest are returned.
        confidence: the least probability.

    Returns:
        (low, high).

    Example:
        >>> interval([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
        (2, 9)
    """
    ordered, n = sorted(values), len(values)
    k, below = 0, 0.5**n
    while 2 * below <= 1 - confidence and k < n // 2:
        k += 1
        below += math.comb(n, k) * 0.5**n
    k = max(k, 1)
    return ordered[k - 1], ordered[n - k]


@contextlib.contextmanager
def fixed_threads(count: int) -> Iterator[None]:
    """PyTorch computes with so many threads inside, and as before after."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def machine_lock() -> Iterator[None]:
    """Held by one process on the machine at a time; the system lets go of it when a process dies."""
    path = Path(tempfile.gettempdir()) / "canvas-timing.lock"
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
    except PermissionError:  # another user's file
        descriptor = os.open(path.with_name(f"canvas-timing-{getpass.getuser()}.lock"), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def flops(model: nn.Module, example: Example) -> float:
    """Floating-point operations (2 x multiply-adds) of the convolutions and matrix products in one forward pass."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        call(copy.deepcopy(model).eval(), example)
    return float(counter.get_total_flops())


def peak_flops(threads: int, device: torch.device, dtype: torch.dtype = torch.float32) -> float:
    """The highest rate of a matrix product seen on this machine, in FLOPs a second; measured once in a process."""
    key = (threads, str(device), str(dtype))
    if key not in _PEAKS:
        _PEAKS[key] = _measured_peak(threads, device, dtype)
    return _PEAKS[key]


_PEAKS: dict[tuple[int, str, str], float] = {}


def _measured_peak(threads: int, device: torch.device, dtype: torch.dtype) -> float:
    size = 8192 if device.type == "cuda" else 1024
    if device.type == "cuda":
        dtype = torch.bfloat16  # tensor cores may serve float32 as well
    a, b = torch.rand(2, size, size, generator=torch.Generator(device), device=device).to(dtype)
    with fixed_threads(threads), torch.inference_mode():
        return 2 * size**3 / min(_seconds(lambda _: a @ b, a, device) for _ in range(10))


def _eager(model: nn.Module) -> Callable[..., Any]:
    return copy.deepcopy(model).eval()


def _check(
    run: Callable[[Example], Any], reference: Callable[..., Any], inputs: Example, tolerance: float, which: str
) -> None:
    with torch.no_grad():
        wanted = [t.double() for t in floats(call(reference, inputs))]
        got = [t.double() for t in floats(run(inputs))]
    if [t.shape for t in wanted] != [t.shape for t in got]:
        raise WrongOutput(f"the {which} gives {[tuple(t.shape) for t in got]}, not {[tuple(t.shape) for t in wanted]}")
    for have, want in zip(got, wanted, strict=True):
        if not bool(want.isfinite().all()):
            raise WrongOutput(f"the {which}'s own output is not finite: it cannot be checked")
        error = relative_error(have, want)
        if not error <= tolerance:
            raise WrongOutput(f"the prepared {which} is off by {error:.2g} (relative), more than {tolerance:g}")


def _seconds(run: Callable[[Any], Any], inputs: Any, device: torch.device) -> float:
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


Times = tuple[list[float], list[float]]


def _measured(
    runs: Sequence[Callable[[Example], Any]],
    example: Example,
    generator: torch.Generator,
    seconds: float,
    device: torch.device,
    hopeless: float,
) -> Times:
    """Warms up, then adds windows of rounds until the interval of the ratio is narrow."""
    one = functools.partial(_window, runs, example, generator, device=device)
    warm = one(rounds=3)
    if min(warm[0]) > hopeless * min(warm[1]):
        return warm
    rounds = min(101, max(LEAST_ROUNDS, round(seconds / (min(warm[0]) + min(warm[1])))))
    times: Times = ([], [])
    for _ in range(WINDOWS):
        for whole, part in zip(times, one(rounds=rounds), strict=True):
            whole.extend(part)
        if _narrow([a / b for a, b in zip(*times, strict=True)]):
            break
    return times


def _narrow(ratios: Sequence[float]) -> bool:
    low, high = interval(ratios)
    return high - low <= WIDTH * statistics.median(ratios)


def _window(
    runs: Sequence[Callable[[Example], Any]],
    example: Example,
    generator: torch.Generator,
    rounds: int,
    device: torch.device,
) -> Times:
    """Rounds of both, which of them goes first in turn."""
    times: Times = ([], [])
    collecting = gc.isenabled()
    gc.disable()
    try:
        for index in range(rounds):
            inputs = fresh(example, generator)
            for which in (0, 1) if index % 2 == 0 else (1, 0):
                times[which].append(_seconds(runs[which], inputs, device))
    finally:
        if collecting:
            gc.enable()
    return times


def _refuse_implausible(work: float, seconds: float, threads: int, model: nn.Module, device: torch.device) -> None:
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    peak = peak_flops(threads, device, dtype)
    if work / seconds > MARGIN * peak:  # the machine may have been busy when its peak was measured
        peak = max(peak, _measured_peak(threads, device, dtype))
        _PEAKS[(threads, str(device), str(dtype))] = peak
    if work / seconds > MARGIN * peak:
        raise ImplausibleTiming(
            f"{work:.3g} FLOPs in {seconds * 1e3:.3g} ms are {work / seconds / 1e9:.3g} GFLOP/s; "
            f"this machine's matrix product reaches {peak / 1e9:.3g} GFLOP/s on {threads} threads"
        )


def _batch(example: Example) -> int:
    values = example.values() if isinstance(example, dict) else example if isinstance(example, tuple) else (example,)
    return next((v.shape[0] for v in values if isinstance(v, Tensor) and v.dim() > 0), 1)
