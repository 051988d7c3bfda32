"""A table of kernels with what a search would learn of each, so that searches can be compared in seconds. Writes JSON.

    python benchmarks/search/table.py list --kernels 1200        # chooses the kernels
    python benchmarks/search/table.py train                      # accuracies of two seeds, curves, zero-cost scores
    python benchmarks/search/table.py time --backend eager onnxruntime openvino native
    python benchmarks/search/table.py learn                      # of the accuracies: what a guided search begins with

Each call goes on where the last one ended: what the table holds is not made again, and Ctrl-C loses the kernel under
way alone. `--file` names the table, by default `table.json` beside this file.

The kernels: of at most five primitives, those of the zoo that fit and sampled ones, under the usual limits. The
network: a ResNet of four 3x3 convolutions (widths 16 and 32, 7x7 and 4x4 positions) that a kernel stands in for, on
Fashion-MNIST, 8,000 images; accuracies are of validation data, the test split is never read.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import canvas
from canvas import _core, latency, prior
from canvas.data import Data, load_data
from canvas.errors import EvaluationError
from canvas.models import ResNet
from canvas.roofline import fixed_threads, flops
from canvas.train import Recipe, accuracy, train

FILE = Path(__file__).parent / "table.json"
RECIPE = Recipe(images=8_000, batch=64, lr=0.05)
SEEDS = (0, 1)
QUARTERS = (0.25, 0.5, 0.75)
QUICK = 1_500  # validation images for the accuracy on the way
BUDGET = canvas.Budget(flops=1.0, params=1.0)
LIMITS = {"max_primitives": 5}
BATCH = 32

Row = dict[str, Any]


def network() -> nn.Module:
    return ResNet((16, 32), 1, 2, True, 10, 1)


def layers() -> list[Any]:
    return [target.layer for target in targets(network())]


def targets(model: nn.Module) -> list[Any]:
    return canvas.targets(model, torch.zeros(1, 1, 28, 28))


def fitted(kernel: Any, seed: int) -> nn.Module:
    """The network with the kernel in it."""
    torch.manual_seed(seed)
    model = network()
    found = targets(model)
    return canvas.replace(model, kernel.bind([target.layer for target in found], BUDGET), found)


def choose(count: int) -> list[Row]:
    """The zoo's kernels that fit, then sampled ones."""
    rows = {}
    for name, kernel in canvas.zoo().items():
        if len(kernel) > LIMITS["max_primitives"]:
            continue
        try:
            kernel.bind(layers(), BUDGET)
        except canvas.Infeasible:
            continue
        rows[kernel.hash] = {"kernel": str(kernel), "hash": kernel.hash, "zoo": name}
    for kernel in canvas.sample(layers(), count, seed=0, budget=BUDGET, **LIMITS):
        if len(rows) < count:
            rows.setdefault(kernel.hash, {"kernel": str(kernel), "hash": kernel.hash})
    return list(rows.values())


def trained(row: Row, data: Data) -> None:
    """Adds costs, zero-cost scores, and the results of each seed."""
    kernel = canvas.parse(row["kernel"])
    model = fitted(kernel, SEEDS[0])
    row["flops"] = flops(model, torch.zeros(1, 1, 28, 28))
    row["params"] = sum(p.numel() for p in model.parameters())
    row["scores"] = scores(model, data)
    row["seeds"] = [one_seed(fitted(kernel, seed), data, seed) for seed in SEEDS]


def one_seed(model: nn.Module, data: Data, seed: int) -> Row:
    """Accuracy at the end and at each quarter, and the loss at tenths of the training."""
    validation = data.split(RECIPE.validation)[1]
    images, labels = data.normalise(validation.images[:QUICK]), validation.labels[:QUICK]
    found: Row = {"accuracies": [], "losses": []}

    def report(done: float, metrics: dict[str, float]) -> None:
        if done >= (len(found["losses"]) + 1) / 10:
            found["losses"].append(round(metrics["loss"], 4))
        if len(found["accuracies"]) < len(QUARTERS) and done >= QUARTERS[len(found["accuracies"])]:
            found["accuracies"].append(round(accuracy(model, images, labels), 4))

    start = time.process_time()
    try:
        metrics = train(model, data, dataclasses.replace(RECIPE, seed=seed), report)
    except EvaluationError as error:
        return {"failed": str(error)}
    found["accuracy"], found["seconds"] = round(metrics["accuracy"], 4), round(time.process_time() - start, 2)
    return found


def scores(model: nn.Module, data: Data) -> Row:
    """Zero-cost scores at initialisation on one batch of training images (Abdelfattah et al. 2021, arXiv 2101.08134):
    the gradient's norm; SNIP, the sum of |weight x gradient|; SynFlow, the same for the absolute weights and the sum
    of the outputs for ones; NASWOT, log det of the images' similarity by the signs of the last features."""
    training = data.split(RECIPE.validation)[0]
    images, labels = data.normalise(training.images[: RECIPE.batch]), training.labels[: RECIPE.batch]
    weights = list(model.parameters())
    features: list[Tensor] = []
    hook = model.get_submodule("stages").register_forward_hook(lambda _, __, output: features.append(output.detach()))
    gradients = torch.autograd.grad(F.cross_entropy(model(images), labels), weights, allow_unused=True)
    hook.remove()
    pairs = [(w.detach(), g) for w, g in zip(weights, gradients, strict=True) if g is not None]
    signs = (features[0].flatten(1) > 0).double()
    alike = signs @ signs.T + (1 - signs) @ (1 - signs).T
    return {
        "gradient": float(sum(g.square().sum() for _, g in pairs)) ** 0.5,
        "snip": float(sum((w * g).abs().sum() for w, g in pairs)),
        "synflow": synflow(model, images[:1]),
        "naswot": float(torch.linalg.slogdet(alike + torch.eye(len(alike)))[1]),
    }


def synflow(model: nn.Module, image: Tensor) -> float:
    """SynFlow of the network in float64, batch norms as they start, as a logarithm."""
    model = model.double().eval()
    kept = [p.detach().clone() for p in model.parameters()]
    with torch.no_grad():
        for p in model.parameters():
            p.abs_()
    weights = list(model.parameters())
    gradients = torch.autograd.grad(model(torch.ones_like(image).double()).sum(), weights, allow_unused=True)
    total = sum(float((w * g).detach().abs().sum()) for w, g in zip(weights, gradients, strict=True) if g is not None)
    with torch.no_grad():
        for p, before in zip(model.parameters(), kept, strict=True):
            p.copy_(before)
    model.float().train()
    return float(torch.tensor(total).double().clamp(1e-300, 1e300).log())


def timed(row: Row, backends: list[str], seconds: float) -> None:
    """Adds the latency, in ms and relative to the original network, on each backend that lacks it."""
    model, original = fitted(canvas.parse(row["kernel"]), 0), network()
    example = torch.randn(BATCH, 1, 28, 28)
    for backend in backends:
        if backend in row.setdefault("latency", {}):
            continue
        try:
            found = latency.compare(model, original, example, backend=backend, threads=1, seconds=seconds)
            row["latency"][backend] = {"ms": round(found.median_ms, 4), "ratio": round(found.ratio, 4)}
        except EvaluationError as error:
            row["latency"][backend] = {"failed": str(error)}


def save(path: Path, rows: list[Row]) -> None:
    """One kernel a line; the file is always whole."""
    lines = ",\n".join(json.dumps(row) for row in rows)
    about = {"recipe": vars(RECIPE), "seeds": SEEDS, "widths": (16, 32), "batch": BATCH, "limits": LIMITS}
    new = path.with_suffix(".new")
    new.write_text(f'{{"about": {json.dumps(about)},\n"kernels": [\n{lines}\n]}}\n', encoding="utf-8")
    os.replace(new, path)


def missing(rows: list[Row], lacks: Callable[[Row], bool]) -> Iterator[Row]:
    """The rows to do, with a line of progress now and then."""
    waiting = [row for row in rows if lacks(row)]
    start = time.monotonic()
    for done, row in enumerate(waiting):
        if done % 20 == 0:
            print(f"{done} of {len(waiting)} in {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
        yield row


def learned(rows: list[Row]) -> list[float]:
    """What the accuracies teach a guided search."""
    known, served = [row for row in rows if "seeds" in row], layers()
    features = [_core.features(canvas.parse(row["kernel"]), served, BUDGET) for row in known]
    return prior.fitted(features, [-statistics.fmean(seed["accuracy"] for seed in row["seeds"]) for row in known], [])


def main() -> None:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("part", choices=["list", "train", "time", "learn"])
    options.add_argument("--file", type=Path, default=FILE)
    options.add_argument("--kernels", type=int, default=1200)
    options.add_argument("--backend", nargs="+", default=["eager", "onnxruntime", "openvino", "native"])
    options.add_argument("--seconds", type=float, default=0.1, help="of timing for each pair")
    asked = options.parse_args()
    if asked.part == "list":
        if asked.file.exists():
            sys.exit(f"{asked.file} exists; remove it, or name another by --file")
        save(asked.file, choose(asked.kernels))
        return
    rows: list[Row] = json.loads(asked.file.read_text(encoding="utf-8"))["kernels"]
    if asked.part == "learn":
        prior.FILE.write_text(json.dumps(learned(rows)) + "\n", encoding="utf-8")
        return
    data = load_data("fashion-mnist")
    with fixed_threads(1):
        if asked.part == "train":
            waiting = missing(rows, lambda row: "seeds" not in row)
        else:
            waiting = missing(rows, lambda row: any(name not in row.get("latency", {}) for name in asked.backend))
        try:
            for number, row in enumerate(waiting):
                trained(row, data) if asked.part == "train" else timed(row, asked.backend, asked.seconds)
                if number % 20 == 19:
                    save(asked.file, rows)
        finally:
            save(asked.file, rows)


if __name__ == "__main__":
    main()
