"""Networks made ready to run on a backend: checked, and kept where they serve again; which backend is quickest for one.

`latency` calls it before it takes times. What is kept is found by how a network prints and by the shapes of its
inputs; that its weights are the same is seen by its outputs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from canvas import backends
from canvas.errors import UserError, WrongOutput, one_line
from canvas.example import Example, call, device_of, evaluating, floats, relative_error
from canvas.machine_lock import machine_lock
from canvas.roofline import fixed_threads, seconds_of

MOST_KEPT = 4  # networks that are kept compiled


@dataclass(frozen=True)
class Prepared:
    """A network on a backend.

    Attributes:
        run: computes its outputs.
        seconds: what preparing it took.
    """

    run: Callable[[Example], Any]
    seconds: float


def prepared(
    model: nn.Module,
    name: str,
    example: Example,
    inputs: Example,
    threads: int,
    tolerance: float,
    which: str,
    reference: Callable[..., Any] | None = None,
) -> Prepared:
    """A network on a backend, checked; what is kept serves again. Baselines are kept, candidates hardly come again.

    Args:
        model: any module.
        name: of the backend.
        example: its inputs, of which only shapes and types are used.
        inputs: those that its outputs are compared on.
        threads: of the backend.
        tolerance: the largest relative error of the outputs; more for a backend of fewer bits.
        which: "candidate" or "baseline".
        reference: gives the right outputs; by default the model itself, in eval mode.

    Returns:
        The network, ready to run.

    Raises:
        WrongOutput: it does not compute what it should.

    Example:
        >>> x = torch.zeros(1, 8)
        >>> prepared(nn.Linear(8, 4), "eager", x, x, 1, 1e-2, "candidate").run(x).shape
        torch.Size([1, 4])
    """
    tolerance = max(tolerance, backends.ROUNDING.get(name, 0.0))
    key, right = (name, *_key(model, example, threads)), reference or _in_eval_mode(model)
    ready = _KEPT.get(key)
    if ready:
        try:
            _check(ready.run, right, inputs, tolerance, which)
        except WrongOutput:  # other weights
            ready = None
    if not ready:
        ready = _prepare(model, name, example)
        _check(ready.run, right, inputs, tolerance, which)
    elif which == "candidate":
        del _KEPT[key]
    if which == "baseline":
        _keep(key, ready)
    return ready


def _in_eval_mode(model: nn.Module) -> Callable[..., Any]:
    def run(*arguments: Any, **named: Any) -> Any:
        with evaluating(model):
            return model(*arguments, **named)

    return run


def _prepare(model: nn.Module, name: str, example: Example) -> Prepared:
    start = time.perf_counter()
    run = backends.find(name).prepare(model, example)
    return Prepared(run, time.perf_counter() - start)


def _keep(key: tuple[str, str, str, int], ready: Prepared) -> None:
    if key[0] == "inductor":  # it forgets what it compiled whenever it is reset
        return
    _KEPT.pop(key, None)
    while len(_KEPT) >= MOST_KEPT:
        del _KEPT[next(iter(_KEPT))]
    _KEPT[key] = ready


def _key(model: nn.Module, example: Example, threads: int) -> tuple[str, str, int]:
    return str(model), str([(tuple(t.shape), t.dtype, t.device) for t in floats(example)]), threads


_KEPT: dict[tuple[str, str, str, int], Prepared] = {}


def quickest(model: nn.Module, example: Example, threads: int) -> str:
    """The backend on which a network is quickest, by a few runs on each; remembered for networks that print alike.

    Args:
        model: any module.
        example: its inputs.
        threads: of the backends.

    Returns:
        A name in `backends.BACKENDS`. A backend that is not installed or refuses the network is passed over.

    Raises:
        UserError: no backend takes the network.

    Example:
        >>> quickest(resnet8(), torch.zeros(32, 1, 28, 28), threads=1) in backends.BACKENDS
        True
    """
    key = _key(model, example, threads)
    if key in _QUICKEST:
        return _QUICKEST[key]
    device, faults = device_of(model, example), []
    times: dict[str, tuple[float, Prepared]] = {}
    for name in ("eager", "inductor") if device.type == "cuda" else ("eager", "native", "onnxruntime", "openvino"):
        try:
            ready = _prepare(model, name, example)
            with fixed_threads(threads), machine_lock():
                times[name] = min(seconds_of(ready.run, example, device) for _ in range(5)), ready
        except Exception as error:  # a backend's converter may raise anything on a network that it does not know
            faults.append(f"{name}: {one_line(error)[:200]}")
    if not times:
        raise UserError(f"no backend takes the network: {'; '.join(faults)}")
    _QUICKEST[key] = min(times, key=lambda name: times[name][0])
    _keep((_QUICKEST[key], *key), times[_QUICKEST[key]][1])
    return _QUICKEST[key]


_QUICKEST: dict[tuple[str, str, int], str] = {}


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
