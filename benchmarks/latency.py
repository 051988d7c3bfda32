"""How fast networks with hand-designed kernels are, and how well the cost model ranks. Writes JSON.

    python benchmarks/latency.py network [--size 32] [--batch 1 32] [--backend NAME ...] [--kernel NAME ...]
    python benchmarks/latency.py model [--backend NAME ...] [--kernels 300] [--out FILE]
    python benchmarks/latency.py table FILE ...
    python benchmarks/latency.py predict FILE ... [--backend NAME ...] [--threads 1]

"network": ResNet-18 with each hand-designed kernel of the zoo that can stand in for all of its 3x3 convolutions, its
free sizes as large as the original's FLOPs allow; every figure is taken beside the original network on the same
backend (`ratio`), and compared with the original on the backend that is quickest for it (`ratio_to_best`). This is the
front that a search must beat.

"table": what "network" wrote, in one or more files, as Markdown: ratios by kernel, batch and backend.

"model": the rank correlation of predicted and measured latency over sampled kernels in single layers, by
cross-validation, for each backend: over kernels left out (also among those of each layer), and over layers left out.

"predict": how well the models that `canvas calibrate` made rank what "network" wrote, by ratios to the original, and
what a prediction takes.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import canvas
from canvas import backends, cost_model
from canvas.bench import Row, bench, fields
from canvas.models import resnet18
from canvas.objectives import rank_correlation

BUDGET = canvas.Budget(flops=1.0)
HOPELESS = 3.0  # times the original's latency: timed in three rounds alone
MOST = 4e9  # bytes that a kernel's values may take on a layer, for all images


def network(asked: argparse.Namespace) -> dict[str, Any]:
    """A row for each kernel, backend and batch."""
    model: nn.Module = resnet18()
    example = torch.randn(1, 3, asked.size, asked.size)
    found = canvas.targets(model, example)
    layers = [target.layer for target in found]
    kernels = {}
    for name, kernel in canvas.zoo().items():
        try:
            if all(kernel.serves(layer) for layer in layers) and (not asked.kernel or name in asked.kernel):
                kernels[name] = (kernel, max(bound.memory for bound in kernel.bind(layers, BUDGET)))
        except canvas.Infeasible:
            continue
    print(f"{len(kernels)} kernels: {', '.join(kernels)}", file=sys.stderr)
    result: list[dict[str, Any]] = []
    figures = {"part": "network", "size": asked.size, "threads": asked.threads, "batches": result}
    for batch in asked.batch:
        inputs = torch.randn(batch, *example.shape[1:])
        rows: list[Row] = []
        result.append({"batch": batch})
        for name, (kernel, memory) in kernels.items():
            if memory * batch > MOST:
                print(f"{name:24} takes {memory * batch / 1e9:.0f} GB", file=sys.stderr)
                continue
            one = {name: kernel}
            rows += bench(
                one, model, inputs, found, asked.backend, BUDGET, asked.threads, asked.seconds, told, HOPELESS
            )
            result[-1]["rows"] = fields(rows)
            if asked.out:
                write(figures, asked.out)
    return figures


def table(files: list[Path]) -> str:
    """The latest figure of each kernel, batch and backend; kernels by the best of the first batch."""
    ratios: dict[str, dict[tuple[int, str], tuple[float, float]]] = {}
    originals: dict[tuple[int, str], list[float]] = {}
    for file in files:
        for part in json.loads(file.read_text(encoding="utf-8"))["batches"]:
            for row in part.get("rows", []):
                if "ratio" in row:
                    column = (part["batch"], row["backend"])
                    ratios.setdefault(row["kernel"], {})[column] = (row["ratio"], row["median_ms"])
                    originals.setdefault(column, []).append(row["baseline_ms"])
    times = {column: statistics.median(found) for column, found in originals.items()}
    batches = sorted({batch for batch, _ in times})
    quickest = {batch: min(time for (other, _), time in times.items() if other == batch) for batch in batches}

    def best(name: str, batch: int) -> float:
        taken = [time for (other, _), (_, time) in ratios[name].items() if other == batch]
        return min(taken, default=math.inf) / quickest[batch]

    columns = [
        (batch, name)
        for batch in batches
        for name in (*backends.BACKENDS, "best")
        if (batch, name) in times or name == "best"
    ]
    lines = [
        "| | " + " | ".join(f"{name}, {batch}" for batch, name in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for name in sorted(ratios, key=lambda name: best(name, batches[0])):
        cells = []
        for batch, backend in columns:
            ratio = best(name, batch) if backend == "best" else ratios[name].get((batch, backend), (math.inf, 0.0))[0]
            cells.append(f"{ratio:.2f}" if ratio < math.inf else "")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines.append(
        "| the original, ms | "
        + " | ".join(f"{times[c]:.2f}" if c in times else f"{quickest[c[0]]:.2f}" for c in columns)
        + " |"
    )
    return "\n".join(lines)


def told(row: Row) -> None:
    """A line of progress."""
    figure = f"{row.timing.median_ms:.2f} ms, ratio {row.timing.ratio:.3f}" if row.timing else row.reason
    print(f"{row.kernel:24} {row.backend:12} {figure}", file=sys.stderr)


def ranking(asked: argparse.Namespace) -> dict[str, Any]:
    """A row for each backend."""
    rows = []
    for backend in asked.backend:
        start = time.perf_counter()
        found = cost_model.timed(backend, asked.threads, asked.kernels, seconds=asked.seconds, progress=print)
        rows.append({"backend": backend, **judged(found), "seconds": time.perf_counter() - start})
    return {"part": "model", "threads": asked.threads, "backends": rows}


def judged(found: cost_model.Timed) -> dict[str, Any]:
    """How well kernels are ranked that the model was not fitted to, and what was measured."""
    work, times, layers = found.work, found.times, found.layers
    seen = cost_model.left_out(work, times, cost_model.parts(len(times)))
    unseen = cost_model.left_out(work, times, layers)
    return {
        "correlation": rank_correlation(seen, times),
        "spread": cost_model.spread(seen, times),
        "by_layer": [rank_correlation(seen[layers == one], times[layers == one]) for one in np.unique(layers)],
        "unseen_layers": {
            "correlation": rank_correlation(unseen, times),
            "spread": cost_model.spread(unseen, times),
        },
        "modules": len(times),
        "ms": (1e3 * times).round(3).tolist(),
    }


def predicted(files: list[Path], names: list[str], threads: int) -> dict[str, Any]:
    """A row for each backend and batch."""
    measured: dict[tuple[str, int], dict[str, float]] = {}
    for file in files:
        for part in json.loads(file.read_text(encoding="utf-8"))["batches"]:
            for row in part.get("rows", []):
                if "ratio" in row and row["backend"] in names:
                    measured.setdefault((row["backend"], part["batch"]), {})[row["kernel"]] = row["ratio"]
    found = canvas.targets(resnet18(), torch.randn(1, 3, 32, 32))
    kernels = sorted({kernel for ratios in measured.values() for kernel in ratios})
    networks = {name: canvas.replace(resnet18(), canvas.zoo()[name], found, BUDGET) for name in kernels}
    rows = []
    for (name, batch), ratios in measured.items():
        model = cost_model.CostModel.load(cost_model.default_path(name, threads))
        example = torch.zeros(batch, 3, 32, 32)
        original, seconds, guessed = model.predict(resnet18(), example), [], []
        for kernel in ratios:
            start = time.process_time()
            guessed.append(model.predict(networks[kernel], example) / original)
            seconds.append(time.process_time() - start)
        pair = np.array(guessed), np.array(list(ratios.values()))
        figures = {"correlation": rank_correlation(*pair), "spread": cost_model.spread(*pair)}
        row = {"backend": name, "batch": batch, "networks": len(ratios), **figures}
        rows.append({**row, "prediction_ms": 1e3 * statistics.median(seconds)})
    return {"part": "predict", "rows": rows}


def write(figures: dict[str, Any], file: Path) -> None:
    file.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("part", choices=["network", "model", "table", "predict"])
    options.add_argument("files", type=Path, nargs="*", help="of table and predict")
    options.add_argument("--size", type=int, default=32, help="of the images")
    options.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    options.add_argument("--backend", nargs="+", default=list(backends.BACKENDS), choices=list(backends.BACKENDS))
    options.add_argument("--kernel", nargs="+", help="only these")
    options.add_argument("--kernels", type=int, default=300, help="how many are sampled")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--seconds", type=float, default=0.3, help="of timing for each pair")
    options.add_argument("--out", type=Path, help="JSON; by default printed")
    asked = options.parse_args()
    if asked.part == "table":
        print(table(asked.files))
        return
    if asked.part == "predict":
        figures = predicted(asked.files, asked.backend, asked.threads)
    else:
        figures = network(asked) if asked.part == "network" else ranking(asked)
    if asked.out:
        write(figures, asked.out)
    else:
        print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
