"""Times a network with kernels in it on several backends. `canvas bench` calls it.

Every figure is taken beside the original network on the same backend, by the protocol of `latency`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from canvas import backends, latency, roofline
from canvas._core import Budget, Infeasible, Kernel
from canvas.errors import EvaluationError, UserError, one_line
from canvas.example import Example
from canvas.layers import Target, replace


@dataclass(frozen=True)
class Row:
    """One kernel on one backend.

    Attributes:
        kernel: its name.
        backend: the backend's name.
        timing: the network with the kernel, beside the original network; None where there is no figure.
        reason: why there is none.
        peak: the share of the roofline that the network reaches: the machine's least time for it, over the time taken.
    """

    kernel: str
    backend: str
    timing: latency.Timing | None
    reason: str = ""
    peak: float = 0.0


def bench(
    kernels: Mapping[str, Kernel],
    model: nn.Module,
    example: Example,
    targets: Sequence[Target],
    names: Sequence[str] = tuple(backends.BACKENDS),
    budget: Budget | None = None,
    threads: int = 1,
    seconds: float = 1.0,
    progress: Callable[[Row], None] = lambda row: None,
    hopeless: float = math.inf,
) -> list[Row]:
    """Times the network with each kernel on each backend.

    Args:
        kernels: what to put into the network, by name.
        model: the original network.
        example: its inputs.
        targets: the layers to replace.
        names: of the backends.
        budget: under which the kernels' free sizes are chosen; by default each is as large as it can be.
        threads: of the backend.
        seconds: about how long each pair of networks is timed.
        progress: called with each row as it comes.
        hopeless: a network that is so many times slower than the original is timed in three rounds alone.

    Returns:
        A row for each pair, kernel by kernel. What cannot be had (a backend that is not installed or refuses the
        network, a kernel that serves none of the layers) has a reason instead of a timing.

    Raises:
        UserError: a backend is unknown.

    Example:
        >>> rows = bench({"dw": canvas.zoo()["depthwise_separable"]}, model, example, targets, ["eager"])
        >>> rows[0].timing.ratio < 1
        True
    """
    for name in names:
        if name != backends.AUTO:
            backends.find(name)
    rows = []
    for title, kernel in kernels.items():
        try:
            network: nn.Module | None = replace(model, kernel, targets, budget)
            refused = ""
        except (Infeasible, UserError) as error:
            network, refused = None, str(error)
        for name in names:
            row = Row(title, name, None, refused)
            if network is not None:
                row = _row(title, name, network, model, example, threads, seconds, hopeless)
            rows.append(row)
            progress(row)
    return rows


def _row(
    title: str,
    name: str,
    network: nn.Module,
    model: nn.Module,
    example: Example,
    threads: int,
    seconds: float,
    hopeless: float,
) -> Row:
    try:
        timing = latency.compare(network, model, example, name, threads=threads, seconds=seconds, hopeless=hopeless)
    except (UserError, EvaluationError) as error:
        return Row(title, name, None, str(error))
    except Exception as error:  # a backend's converter may raise anything on a network that it does not know
        reason = f"{name} refuses the network: {type(error).__name__}: {one_line(error)[:200]}"
        return Row(title, name, None, reason)
    device = latency.device_of(network, example)
    floor = roofline.floor(network, example, threads, device)
    return Row(title, name, timing, peak=floor.seconds / (timing.median_ms / 1e3))


def fields(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows for JSON: times in ms, but `compile_seconds` (of the network) and `seconds` (of its whole measurement);
    `ratio` against the original on the same backend, `ratio_to_best` against the original on the backend that is
    quickest for it.

    Example:
        >>> fields([Row("k", "eager", None, "not installed")])[0]["reason"]
        'not installed'
    """
    originals = [row.timing.baseline_ms for row in rows if row.timing]
    result = []
    for row in rows:
        entry: dict[str, Any] = {"kernel": row.kernel, "backend": row.backend}
        if row.timing is None:
            entry["reason"] = row.reason
        else:
            names = (
                "median_ms",
                "low_ms",
                "high_ms",
                "baseline_ms",
                "ratio",
                "ratio_low",
                "ratio_high",
                "steady",
                "compile_seconds",
                "seconds",
            )
            entry |= {name: getattr(row.timing, name) for name in names}
            entry |= {
                "ratio_to_best": row.timing.median_ms / min(originals),
                "backends": [row.timing.backend, row.timing.baseline_backend],
                "roofline_share": row.peak,
            }
        result.append(entry)
    return result
