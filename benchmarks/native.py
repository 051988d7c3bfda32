"""Native code against the best of the other backends, on single layers of ResNet-18. Writes JSON.

    python benchmarks/native.py [--sampled 200] [--kernel NAME ...] [--batch 1 32] [--part I/N] [--out FILE]

Each kernel is bound to a layer of each stage, its free sizes as large as the convolution's FLOPs allow; the same module
(as lowered, the same weights) is prepared for each backend, outputs are compared, calls are timed in turns; medians.
`ratio` is the best other backend's time over native's, `peak` the share of what the machine's arithmetic would allow,
`predicted` the operations over the peak: how well that ranks is the rank correlation at the end.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import canvas
from canvas import backends, native, roofline
from canvas.kernel import module_from_source
from canvas.objectives import rank_correlation

STAGES = {"stage 1": (64, 32), "stage 2": (128, 16), "stage 3": (256, 8), "stage 4": (512, 4)}
OTHERS = ("eager", "onnxruntime", "openvino")


def timed(calls: dict[str, Any], x: torch.Tensor, seconds: float, clock: Any) -> dict[str, float]:
    """Medians in ms of calls in turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call(x)
    end = time.perf_counter() + seconds
    while len(times["native"]) < 5 or (time.perf_counter() < end and len(times["native"]) < 100):
        for name, call in calls.items():
            start = clock()
            call(x)
            times[name].append((clock() - start) * 1e3)
    return {name: statistics.median(taken) for name, taken in times.items()}


def row(name: str, kernel: canvas.Kernel, stage: str, batch: int, asked: argparse.Namespace) -> dict[str, Any]:
    """One kernel on one stage's layer."""
    channels, extent = STAGES[stage]
    bound = kernel.bind([canvas.Layer(channels, channels, (extent, extent))], canvas.Budget(flops=1.0))[0]
    if bound.memory * batch > 2e9:
        return {}
    module = module_from_source(bound.source()).eval()
    x = torch.randn(batch, channels, extent, extent).to(memory_format=torch.channels_last)
    calls, refused, compile_seconds = {}, {}, 0.0
    for backend in ("native", *OTHERS):
        start = time.perf_counter()
        try:
            calls[backend] = backends.find(backend).prepare(module, x)
        except Exception as error:  # a backend's converter may raise anything
            refused[backend] = f"{type(error).__name__}: {error}"[:200]
        if backend == "native":
            compile_seconds = time.perf_counter() - start
    with torch.no_grad():
        wanted = module(x)
        got = calls["native"](x)
    times = timed(calls, x, asked.seconds, time.process_time if asked.cpu else time.perf_counter)
    best = min((other for other in OTHERS if other in times), key=lambda other: times[other])
    floor = bound.flops * batch / roofline.peak_flops(asked.threads, torch.device("cpu")) * 1e3
    return {
        "kernel": name,
        "text": str(kernel),
        "stage": stage,
        "batch": batch,
        "ms": times,
        "best": best,
        "ratio": times[best] / times["native"],
        "peak": floor / times["native"],
        "predicted": floor,
        "error": float((got - wanted).norm() / wanted.norm().clamp(min=1e-30)),
        "compile_seconds": compile_seconds,
        "refused": refused,
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    pairs = ([r["predicted"] for r in rows], [r["ms"]["native"] for r in rows])
    return {
        "kernels": len(rows),
        "geomean": statistics.geometric_mean(r["ratio"] for r in rows),
        "median_peak": statistics.median(r["peak"] for r in rows),
        "slower": sum(r["ratio"] < 1 for r in rows),
        "median_compile_seconds": statistics.median(r["compile_seconds"] for r in rows),
        "spearman": rank_correlation(*(np.array(times) for times in pairs)),
        "largest_error": max(r["error"] for r in rows),
    }


def main() -> None:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kernel", nargs="+", help="hand-designed kernels; by default all that fit")
    options.add_argument("--sampled", type=int, default=0)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--stage", nargs="+", default=list(STAGES), choices=list(STAGES))
    options.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--seconds", type=float, default=0.3, help="for each kernel, at least five rounds")
    options.add_argument("--part", default="0/1", help="I/N: every N-th kernel from the I-th")
    options.add_argument("--cpu", action="store_true", help="processor time, on a busy machine; with one thread")
    options.add_argument("--out", type=Path, help="JSON")
    asked = options.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    layers = [canvas.Layer(channels, channels, (extent, extent)) for channels, extent in STAGES.values()]
    zoo = canvas.zoo()
    kernels = {name: zoo[name] for name in asked.kernel} if asked.kernel else dict(zoo)
    budget = canvas.Budget(flops=1.0)
    sampled = canvas.sample(layers, asked.sampled, seed=asked.seed, budget=budget) if asked.sampled else []
    kernels |= {f"sampled {number}": kernel for number, kernel in enumerate(sampled)}
    first, step = map(int, asked.part.split("/"))
    rows = []
    for name, kernel in list(kernels.items())[first::step]:
        for stage in asked.stage:
            for batch in asked.batch:
                try:
                    made = row(name, kernel, stage, batch, asked)
                except canvas.Infeasible:
                    continue
                if not made:
                    continue
                rows.append(made)
                times = f"{made['ratio']:6.2f}x {made['ms']['native']:8.3f} ms, {made['best']:12}"
                print(f"{times} {stage} batch {batch:3} {100 * made['peak']:4.0f} % of peak  {name}", flush=True)
    result = {
        "width": native.target().width,
        "threads": asked.threads,
        "batches": {batch: summary([r for r in rows if r["batch"] == batch]) for batch in asked.batch if rows},
        "rows": rows,
    }
    json.dump({key: value for key, value in result.items() if key != "rows"}, sys.stdout, indent=1)
    print()
    if asked.out:
        asked.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
