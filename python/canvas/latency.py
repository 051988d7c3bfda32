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
import functools
import gc
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from canvas import backends, roofline
from canvas.errors import ImplausibleTiming
from canvas.example import Example, call, device_of, evaluating, floats, fresh, varied
from canvas.machine_lock import machine_lock
from canvas.prepared import prepared, quickest
from canvas.roofline import fixed_threads, seconds_of

LEAST_ROUNDS = 12  # in all; fewer give no useful interval
WIDTH = 0.05  # of the ratio's interval, relative to the ratio: no more windows once it is as narrow as this
WINDOWS = 3  # at most so many that count
DRIFT = 1.15  # a window in which the baseline is so many times slower than in another does not count
MARGIN = 1.3  # how far below the machine's least time a figure may lie: that is measured too


@dataclass(frozen=True)
class Timing:
    """Latency of a candidate and of the baseline beside it; intervals hold the median with at least 95 % confidence.

    Attributes:
        median_ms, low_ms, high_ms: the candidate.
        baseline_ms: the baseline's median.
        ratio, ratio_low, ratio_high: candidate / baseline (below 1: the candidate is faster), from adjacent runs.
        backend, threads, batch: what the candidate was measured with.
        baseline_backend: what the baseline was: another one only where "auto" was asked for.
        compile_seconds: what preparing the candidate for the backend took.
        seconds: what all of the comparison took, waiting for other processes included.
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
    baseline_backend: str = ""
    compile_seconds: float = 0.0
    seconds: float = 0.0


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
            and spread are used. A tensor of zeros stands for normal numbers.
        backend: a name in `backends.BACKENDS`, or "auto": each of the two is timed on the backend that is quickest
            for it (of those installed that compile within seconds, so not Inductor on a CPU).
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
    start = time.perf_counter()
    if backend != backends.AUTO:
        backends.find(backend)
    generator = torch.Generator().manual_seed(seed)
    example = varied(example)
    device = device_of(candidate, example)
    with fixed_threads(threads):
        auto = backend == backends.AUTO
        names = [quickest(model, example, threads) if auto else backend for model in (candidate, baseline)]
        for name in set(names):
            backends.find(name).reset()
        inputs = fresh(example, generator)
        if reference is None:
            candidate = _settled(candidate, inputs)
        ready = prepared(candidate, names[0], example, inputs, threads, tolerance, "candidate", reference)
        beside = prepared(baseline, names[1], example, inputs, threads, tolerance, "baseline")
        runs = [ready.run, beside.run]
        with machine_lock():
            times = _measured(runs, example, generator, seconds, device, hopeless)
            _refuse_implausible(candidate, example, statistics.median(times[0]), threads, device)
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
        names[0],
        threads,
        _batch(example),
        _narrow(ratios),
        names[1],
        ready.seconds,
        time.perf_counter() - start,
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


def _settled(model: nn.Module, inputs: Example) -> nn.Module:
    """The model, or where its outputs are not finite a copy whose batch norms have seen the inputs: many layers that
    were never trained may go beyond all numbers, what batch norms hold in bounds does not."""
    with torch.no_grad(), contextlib.suppress(ValueError):  # a batch norm refuses single numbers
        with evaluating(model):
            finite = all(bool(t.isfinite().all()) for t in floats(call(model, inputs)))
        if not finite:
            twin = copy.deepcopy(model)
            norms = [module for module in twin.train().modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
            usual = [norm.momentum for norm in norms]
            for norm in norms:
                norm.momentum = 1.0
            call(twin, inputs)
            for norm, momentum in zip(norms, usual, strict=True):
                norm.momentum = momentum
            return twin.eval()
    return model


Times = tuple[list[float], list[float]]


def _measured(
    runs: Sequence[Callable[[Example], Any]],
    example: Example,
    generator: torch.Generator,
    seconds: float,
    device: torch.device,
    hopeless: float,
) -> Times:
    """Warms up, then adds windows of rounds until the interval of the ratio is narrow; those in which the machine was
    busier, as the baseline shows, are taken again."""
    one = functools.partial(_window, runs, example, generator, device=device)
    warm = one(rounds=3)
    if min(warm[0]) > hopeless * min(warm[1]):
        return warm
    rounds = min(101, max(LEAST_ROUNDS, round(seconds / (min(warm[0]) + min(warm[1])))))
    windows: list[Times] = []
    for _ in range(2 * WINDOWS):
        windows.append(one(rounds=rounds))
        least = min(statistics.median(baseline) for _, baseline in windows)
        kept = [window for window in windows if statistics.median(window[1]) <= DRIFT * least]
        times = ([t for a, _ in kept for t in a], [t for _, b in kept for t in b])
        if len(kept) == WINDOWS or _narrow([a / b for a, b in zip(*times, strict=True)]):
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
            with fixed_threads(1):  # PyTorch's other threads would still spin while another backend's want the cores
                inputs = fresh(example, generator)
            for which in (0, 1) if index % 2 == 0 else (1, 0):
                times[which].append(seconds_of(runs[which], inputs, device))
    finally:
        if collecting:
            gc.enable()
    return times


def _refuse_implausible(
    candidate: nn.Module, example: Example, seconds: float, threads: int, device: torch.device
) -> None:
    bound = roofline.floor(candidate, example, threads, device)
    if seconds * MARGIN < bound.seconds:  # the machine may have been busy when its peaks were measured
        roofline.forget()
        bound = roofline.floor(candidate, example, threads, device)
    if seconds * MARGIN < bound.seconds:
        raise ImplausibleTiming(f"{seconds * 1e3:.3g} ms are too few for {bound.reason}")


def _batch(example: Example) -> int:
    values = example.values() if isinstance(example, dict) else example if isinstance(example, tuple) else (example,)
    return next((v.shape[0] for v in values if isinstance(v, Tensor) and v.dim() > 0), 1)
