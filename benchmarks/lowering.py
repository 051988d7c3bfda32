"""Times kernels as they are lowered against their direct emission, one operation after the other, on one layer.

The hand-designed kernels that serve the layer and sampled ones; each pair has the same weights, its outputs are
compared, and it is timed interleaved on one backend. What comes out slower is timed once more, ten times as long.
Prints one line a kernel and the geometric means; `--json FILE` keeps them. Then the dense convolution written naively,
as windows and `fc`, against `nn.Conv2d`, on several layers.

    python benchmarks/lowering.py --backend eager --sampled 200 --json lowering.json
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

import canvas
from canvas.backends import find
from canvas.kernel import module_from_source
from canvas.onnx_graph import Graph, Unsupported, record
from canvas.onnx_table import TABLE

SLOWER = 0.95  # times as fast: more than 5 % slower
MOST = 2e9  # bytes of the largest value: backends keep several copies of it
DENSE = """kernel dense(x[C, H, W]) -> [K, H/s, W/s]:
  return subsample(fc(unfold(x, H: 3, W: 3), [C, h, w] -> [K]), H: s, W: s)
"""
DENSE_LAYERS = [(64, 64, 32, 1), (64, 128, 32, 2), (128, 128, 16, 1), (256, 256, 8, 1)]  # channels, extent, stride


def pair(bound: Any) -> tuple[nn.Module, nn.Module]:
    """The module as lowered and as emitted directly, with the same weights."""
    lowered, direct = (module_from_source(bound.source(rules)) for rules in (None, []))
    own = dict(direct.named_parameters())
    with torch.no_grad():
        for name, value in lowered.named_parameters():
            own[name].copy_(value.reshape(own[name].shape))
    return lowered.eval(), direct.eval()


def largest(module: nn.Module, x: torch.Tensor) -> int:
    """Bytes of the largest value that is computed."""
    graph = Graph()
    with contextlib.suppress(Unsupported):  # what came before it counts
        record(graph, module, [x], ["x"], TABLE)
    return 4 * max(math.prod(shape) for shape in graph.shapes.values())


def compare(
    modules: list[nn.Module],
    x: torch.Tensor,
    backend: str,
    seconds: float,
    clock: Callable[[], float],
    least: int = 3,
) -> dict[str, Any]:
    """Medians in ms of `least` rounds and more, interleaved, and the relative difference of the outputs."""
    find(backend).reset()
    calls = [find(backend).prepare(module, x) for module in modules]
    outputs = [made[0] if isinstance(made, list) else made for made in (call(x) for call in calls)]
    error = float((outputs[0] - outputs[1]).norm() / outputs[1].norm().clamp(min=1e-30))
    times: list[list[float]] = [[], []]
    end = time.perf_counter() + seconds
    while len(times[0]) < least or (time.perf_counter() < end and len(times[0]) < 100):
        turns = list(zip(calls, times, strict=True))
        for call, taken in turns if len(times[0]) % 2 == 0 else reversed(turns):
            start = clock()
            call(x)
            taken.append((clock() - start) * 1e3)
    lowered, direct = (statistics.median(taken) for taken in times)
    return {"lowered_ms": lowered, "direct_ms": direct, "speedup": direct / lowered, "error": error}


def dense(options: argparse.Namespace, clock: Callable[[], float]) -> list[dict[str, Any]]:
    """The naive dense convolution against PyTorch's own on each layer; `speedup` is how much quicker it is."""
    rows = []
    for c_in, c_out, extent, stride in DENSE_LAYERS:
        ours = canvas.parse(DENSE).module(canvas.Layer(c_in, c_out, (extent, extent), stride=stride)).eval()
        theirs = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False).eval()
        with torch.no_grad():
            theirs.weight.copy_(next(ours.parameters()).reshape(theirs.weight.shape))
        x = torch.randn(options.batch, c_in, extent, extent)
        found = compare([ours, theirs], x, options.backend, 10 * options.seconds, clock)
        name = f"nn.Conv2d({c_in}, {c_out}, 3, {stride}) on {extent} x {extent}"
        rows.append({"kernel": "dense", "against": name, **found})
        print(f"{found['speedup']:6.2f}x {found['lowered_ms']:8.2f} {found['direct_ms']:8.2f} ms  {name}", flush=True)
    return rows


def geomean(rows: list[dict[str, Any]]) -> float:
    return math.exp(statistics.fmean(math.log(row["speedup"]) for row in rows)) if rows else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="eager")
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--extent", type=int, default=32)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--sampled", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--windows", action="store_true", help="only kernels with windows")
    parser.add_argument("--seconds", type=float, default=0.3, help="for each kernel, at least three rounds")
    parser.add_argument("--part", default="0/1", help="I/N: every N-th kernel from the I-th")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cpu", action="store_true", help="processor time, on a busy machine")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    layer = canvas.Layer(options.channels, options.channels, (options.extent,) * 2)
    kernels = {name: kernel for name, kernel in canvas.zoo().items() if kernel.serves(layer)}
    sampled = canvas.sample([layer], options.sampled, seed=options.seed)
    kernels |= {f"sampled {number}": kernel for number, kernel in enumerate(sampled)}
    first, step = map(int, options.part.split("/"))
    x = torch.randn(options.batch, layer.c_in, *layer.spatial)
    clock = time.process_time if options.cpu else time.perf_counter
    rows = []
    if options.windows:
        kernels = {name: kernel for name, kernel in kernels.items() if "unfold" in kernel.primitives}
    for name, kernel in list(kernels.items())[first::step]:
        row: dict[str, Any] = {"kernel": name, "text": str(kernel), "windows": "unfold" in kernel.primitives}
        try:
            bound = kernel.bind([layer])[0]
            modules = pair(bound)
            if max(largest(module, x) for module in modules) > MOST or bound.flops * options.batch > 4e11:
                continue
            same = bound.source() == bound.source([])
            row |= {"same": same} | compare(list(modules), x, options.backend, options.seconds, clock)
            if row["speedup"] < SLOWER and not same:
                row |= compare(list(modules), x, options.backend, 10 * options.seconds, clock, least=9)
        except canvas.Infeasible:
            continue
        rows.append(row)
        write(options, rows)
        print(f"{row['speedup']:6.2f}x {row['lowered_ms']:8.2f} {row['direct_ms']:8.2f} ms  {name}", flush=True)
        if not row["error"] < 1e-3:
            print(f"        off by {row['error']:.2g}", flush=True)
    windows = [row for row in rows if row["windows"]]
    slower = [row["kernel"] for row in rows if row["speedup"] < SLOWER and not row["same"]]
    print(
        f"geometric mean {geomean(windows):.2f} over {len(windows)} with windows, {geomean(rows):.2f} over {len(rows)}"
    )
    print(f"slower by more than 5 %: {slower}")
    write(options, rows, dense(options, clock))


def write(options: argparse.Namespace, rows: list[dict[str, Any]], dense: list[dict[str, Any]] | None = None) -> None:
    if options.json:
        made = {"options": vars(options) | {"json": None}, "rows": rows, "dense": dense or []}
        options.json.write_text(json.dumps(made, indent=1))


if __name__ == "__main__":
    main()
