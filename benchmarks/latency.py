"""How fast networks with hand-designed kernels are, what compiling them takes, how well latency is predicted: JSON.

    python benchmarks/latency.py network --out FILE [--model resnet18] [--batch 1 32] [--backend NAME ...]
                                         [--kernel NAME ...]
    python benchmarks/latency.py table FILE ...
    python benchmarks/latency.py compile [--backend NAME ...] [--out FILE]
    python benchmarks/latency.py model [--backend NAME ...] [--kernels 300] [--out FILE]
    python benchmarks/latency.py predict FILE ... [--backend NAME ...] [--threads 1]

"network": ResNet-18 for 32 x 32 images (`--model resnet18_imagenet`: for 224 x 224) with each hand-designed kernel of
the zoo that can stand in for all of its 3x3 convolutions, its free sizes as large as the original's FLOPs allow; every
figure is taken beside the original network on the same backend (`ratio`). This is the front that a search must beat.
Each figure is taken in a worker process, which may take `--limit` seconds for it; what is too slow or too large has a
reason in place of a figure. It goes on where it was stopped.

"table": what "network" wrote, in one or more files, as Markdown: ratios by kernel, batch and backend; "best" is the
quickest backend against the original on the backend that is quickest for it. What was left out is named below.

"compile": what preparing ResNet-18 (32 x 32, one image) and ResNet-8 (Fashion-MNIST, 32 images) with each of a dozen
kernels takes on each backend, and which share that is of judging a candidate: timing it, and training ResNet-8 as the
demo's search does.

"model": the rank correlation of predicted and measured latency over sampled kernels in single layers, by
cross-validation, for each backend: over kernels left out (also among those of each layer), and over layers left out.

"predict": how well the models that `canvas calibrate` made rank what "network" wrote, by ratios to the original, and
what a prediction takes.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import canvas
from canvas import backends, cost_model, latency
from canvas.bench import bench, fields
from canvas.data import load_data
from canvas.errors import EvaluationError
from canvas.executor import Executor, Outcome
from canvas.models import BUILT_IN, IMAGES, load_model, resnet18
from canvas.objectives import rank_correlation
from canvas.train import train
from canvas.train_and_time import TIMED

FLOPS = 1.0  # of the original: how large free sizes may be
HOPELESS = 3.0  # times the original's latency: timed in three rounds alone
MOST = 4e9  # bytes that a kernel's values may take on a layer, for all images
COMPILED = "depthwise_separable shift_pointwise bsconv_s mixconv ghost fire grouped low_rank asymmetric involution "
COMPILED += "shufflenet_unit dense"
SEARCHED = canvas.Recipe(images=10_000, batch=64, lr=0.12)


class Timed:
    """One kernel in a network on one backend; called in a worker process, which keeps the originals compiled."""

    def __init__(self, model: str, threads: int, seconds: float) -> None:
        self.name, self.threads, self.seconds = model, threads, seconds

    def prepare(self) -> None:
        self.model = load_model(self.name)
        self.targets = canvas.targets(self.model, images(self.name))

    def __call__(self, kernel: str, backend: str, batch: int, report: Any) -> dict[str, float]:
        named, inputs = {kernel: canvas.zoo()[kernel]}, images(self.name, batch)
        rows = bench(
            named,
            self.model,
            inputs,
            self.targets,
            [backend],
            canvas.Budget(flops=FLOPS),
            self.threads,
            self.seconds,
            hopeless=HOPELESS,
        )
        [entry] = fields(rows)
        if "reason" in entry:
            raise EvaluationError(entry["reason"])
        return {name: float(value) for name, value in entry.items() if isinstance(value, (bool, float))}


def images(model: str, batch: int = 1) -> torch.Tensor:
    """As many as a batch has, of the size that a built-in model is for."""
    return torch.randn(batch, *map(int, IMAGES[model].split("x")))


def network(asked: argparse.Namespace) -> dict[str, Any]:
    """A row for each kernel, backend and batch."""
    figures: dict[str, Any] = {"part": "network", "model": asked.model, "threads": asked.threads, "batches": []}
    if asked.out and asked.out.exists():
        figures = json.loads(asked.out.read_text(encoding="utf-8"))
        if (figures["model"], figures["threads"]) != (asked.model, asked.threads):
            sys.exit(f"{asked.out} is of {figures['model']} and {figures['threads']} threads")
    memory = fitting(asked)
    with Executor(Timed(asked.model, asked.threads, asked.seconds), 1, asked.limit, threads=asked.threads) as executor:
        for batch in asked.batch:
            if not any(part["batch"] == batch for part in figures["batches"]):
                figures["batches"].append({"batch": batch, "rows": []})
            [rows] = [part["rows"] for part in figures["batches"] if part["batch"] == batch]
            known = {(row["kernel"], row["backend"]) for row in rows}
            for kernel, backend in ((k, b) for k in memory for b in asked.backend if (k, b) not in known):
                if memory[kernel] * batch > MOST:
                    found = {"reason": f"takes {memory[kernel] * batch / 1e9:.0f} GB"}
                else:
                    executor.submit(0, (kernel, backend, batch))
                    found = figures_of(waited(executor))
                rows.append({"kernel": kernel, "backend": backend, **found})
                said = found.get("reason") or f"{found['median_ms']:.2f} ms, ratio {found['ratio']:.3f}"
                print(f"{kernel:24} {backend:12} {batch:3} {said}", file=sys.stderr, flush=True)
                if asked.out:
                    write(figures, asked.out)
    return figures


def fitting(asked: argparse.Namespace) -> dict[str, float]:
    """The kernels that fit every layer: bytes of an image's values on the layer where they are most."""
    layers = [target.layer for target in canvas.targets(load_model(asked.model), images(asked.model))]
    found, larger = {}, []
    for name, kernel in canvas.zoo().items():
        if not all(kernel.serves(layer) for layer in layers) or (asked.kernel and name not in asked.kernel):
            continue
        try:
            found[name] = max(bound.memory for bound in kernel.bind(layers, canvas.Budget(flops=FLOPS)))
        except canvas.Infeasible:
            larger.append(name)
    print(f"{len(found)} kernels: {', '.join(found)}", file=sys.stderr)
    print(f"{len(larger)} that take more than the original's FLOPs: {', '.join(larger)}", file=sys.stderr)
    return found


def waited(executor: Executor) -> Outcome:
    """What became of the one candidate under way."""
    while True:
        for outcome in executor.wait(60):
            return outcome


def figures_of(outcome: Outcome) -> dict[str, Any]:
    return dict(outcome.metrics) if outcome.state == "complete" else {"reason": outcome.reason}


def table(files: list[Path]) -> str:
    """The latest figure of each kernel, batch and backend; kernels by the best of the first batch."""
    ratios: dict[str, dict[tuple[int, str], tuple[float, float]]] = {}
    originals: dict[tuple[int, str], list[float]] = {}
    reasons: dict[tuple[int, str], dict[str, str]] = {}
    for file in files:
        for part in json.loads(file.read_text(encoding="utf-8"))["batches"]:
            for row in part.get("rows", []):
                column, key = (part["batch"], row["backend"]), (part["batch"], row["kernel"])
                if "ratio" in row:
                    ratios.setdefault(row["kernel"], {})[column] = (row["ratio"], row["median_ms"])
                    originals.setdefault(column, []).append(row["baseline_ms"])
                else:
                    reasons.setdefault(key, {})[row["backend"]] = row["reason"]
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
    left_out = [
        f"{name}, {batch}: " + "; ".join(f"{' '.join(where)} {reason}" for reason, where in grouped(found).items())
        for (batch, name), found in reasons.items()
    ]
    return "\n".join([*lines, "", *left_out])


def grouped(reasons: dict[str, str]) -> dict[str, list[str]]:
    """Backends by the reason that they have."""
    found: dict[str, list[str]] = {}
    for backend, reason in reasons.items():
        found.setdefault(reason, []).append(backend)
    return found


def compiling(asked: argparse.Namespace) -> dict[str, Any]:
    """A row for each backend and kernel; nothing was compiled before."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"XDG_CACHE_HOME": folder, "TORCHINDUCTOR_CACHE_DIR": folder}
        return {"part": "compile", "threads": asked.threads, "rows": compiled(asked)}


def compiled(asked: argparse.Namespace) -> list[dict[str, Any]]:
    data = load_data("fashion-mnist")
    kernels = {name: canvas.zoo()[name] for name in asked.kernel or COMPILED.split()}
    small, large = load_model("resnet8", num_classes=len(data.classes), in_channels=data.shape[0]), resnet18()
    inputs, one = torch.randn(32, *data.shape), torch.randn(1, 3, 32, 32)
    networks = {name: canvas.replace(small, kernel, None, None, inputs) for name, kernel in kernels.items()}
    training = {name: train(found, data, SEARCHED)["seconds"] for name, found in networks.items()}
    rows = []
    for backend in asked.backend:
        for name, kernel in kernels.items():
            row: dict[str, Any] = {"backend": backend, "kernel": name, "training": training[name]}
            bound = canvas.replace(large, kernel, None, canvas.Budget(flops=FLOPS), one)
            for which, pair, example in (
                ("resnet8", (networks[name], small), inputs),
                ("resnet18", (bound, large), one),
            ):
                timing = latency.compare(*pair, example, backend, threads=asked.threads, seconds=TIMED, hopeless=1.5)
                row[which] = {"compile": timing.compile_seconds, "timing": timing.seconds}
            rows.append(row)
            told = {which: {k: round(v, 2) for k, v in row[which].items()} for which in ("resnet8", "resnet18")}
            print(f"{backend:12} {name:24} training {training[name]:.1f} {told}", file=sys.stderr, flush=True)
    for backend in asked.backend:
        print(f"| {backend} | " + " | ".join(shares([row for row in rows if row["backend"] == backend])) + " |")
    return rows


def shares(rows: list[dict[str, Any]]) -> list[str]:
    """Of one backend, medians: seconds of compiling either network, its share of timing it, of judging ResNet-8."""
    cells = []
    for which in ("resnet18", "resnet8"):
        cells.append(f"{statistics.median(row[which]['compile'] for row in rows):.2f}")
        cells.append(f"{100 * statistics.median(row[which]['compile'] / row[which]['timing'] for row in rows):.0f} %")
    whole = [row["resnet8"]["compile"] / (row["resnet8"]["timing"] + row["training"]) for row in rows]
    return [*cells, f"{100 * statistics.median(whole):.1f} %"]


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


def predicted(asked: argparse.Namespace) -> dict[str, Any]:
    """A row for each backend and batch."""
    measured: dict[tuple[str, int], dict[str, float]] = {}
    for file in asked.files:
        for part in json.loads(file.read_text(encoding="utf-8"))["batches"]:
            for row in part.get("rows", []):
                if "ratio" in row and row["backend"] in asked.backend:
                    measured.setdefault((row["backend"], part["batch"]), {})[row["kernel"]] = row["ratio"]
    found = canvas.targets(resnet18(), torch.randn(1, 3, 32, 32))
    kernels = sorted({kernel for ratios in measured.values() for kernel in ratios})
    networks = {
        name: canvas.replace(resnet18(), canvas.zoo()[name], found, canvas.Budget(flops=FLOPS)) for name in kernels
    }
    rows = []
    for (name, batch), ratios in measured.items():
        model = cost_model.CostModel.load(cost_model.default_path(name, asked.threads))
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
    """Replaces the file at once: who is stopped while writing loses nothing."""
    part = file.with_suffix(".part")
    part.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    part.replace(file)


def main() -> None:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {"network": network, "compile": compiling, "model": ranking, "predict": predicted}
    options.add_argument("part", choices=[*parts, "table"])
    options.add_argument("files", type=Path, nargs="*", help="of table and predict")
    options.add_argument("--model", default="resnet18", choices=list(BUILT_IN), help="of network")
    options.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    options.add_argument("--backend", nargs="+", default=list(backends.BACKENDS), choices=list(backends.BACKENDS))
    options.add_argument("--kernel", nargs="+", help="only these")
    options.add_argument("--kernels", type=int, default=300, help="how many are sampled")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--seconds", type=float, default=0.3, help="of timing for each pair")
    options.add_argument("--limit", type=float, default=120, help="seconds that one figure of the network may take")
    options.add_argument("--out", type=Path, help="JSON; by default printed")
    asked = options.parse_args()
    if asked.part == "table":
        print(table(asked.files))
        return
    figures = parts[asked.part](asked)
    if asked.out:
        write(figures, asked.out)
    else:
        print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
