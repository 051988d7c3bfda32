"""The demo: a real search on Fashion-MNIST, about five minutes on two cores. `make demo` sets all up and runs it.

The 3x3 convolutions of a small ResNet are replaced by kernels that the search invents from nothing. Each is timed
and, if quick enough, trained for seconds. Then the best few, the original and the hand-designed depthwise-separable
kernel are trained longer with one recipe; validation data (a part of the training data) choose the best kernel, and
only then is the test split read, for the table.

Run again with the same folder, it goes on where it stopped; `--seed` makes another study.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

import canvas
from canvas import latency
from canvas.data import Data, load_data
from canvas.models import resnet8
from canvas.report import write_report
from canvas.train import accuracy

BUDGET = canvas.Budget(flops=(0.12, 0.5), params=(0.05, 1.0), memory=2.5, latency=0.64)
RUNG = 1_500  # images that a candidate is trained on first; the best third goes on
FASTEST = 1.5  # the least speed-up that the demo promises


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Searches for a faster kernel on Fashion-MNIST.")
    parser.add_argument("--seed", type=int, default=0, help="decides candidates, weights and order of images")
    parser.add_argument("--minutes", type=float, default=2.75, help="of searching; the finals take another two")
    parser.add_argument("--images", type=int, default=6_000, help="that each candidate is trained on")
    parser.add_argument("--final-images", type=int, default=36_000, help="that the best are trained on")
    parser.add_argument("--finalists", type=int, default=4)
    parser.add_argument("--folder", type=Path, default=Path("demo"))
    return parser.parse_args()


def search(console: Console, options: argparse.Namespace) -> canvas.Study:
    """Runs the search; the study holds all candidates."""
    targets = canvas.targets(resnet8(), torch.zeros(1, 1, 28, 28))
    study = canvas.Study(
        options.folder / "study.db",
        targets,
        budget=BUDGET,
        seed=options.seed,
        lookahead=4,
        rungs=[f"accuracy_{RUNG}"],
    )
    left = options.minutes - study.minutes_spent
    if left > 0 and "references" not in study.settings:
        console.print(f"[bold]1. Search[/bold]: {len(targets)} convolutions, {options.minutes:g} minutes")
        recipe = canvas.Recipe(images=options.images, batch=64, lr=0.12)
        evaluate = canvas.TrainAndTime("resnet8", "fashion-mnist", recipe, rungs=[RUNG])
        study.run(evaluate, minutes=left, time_limit=60)
    return study


def finals(console: Console, options: argparse.Namespace, study: canvas.Study) -> dict[str, canvas.Kernel | None]:
    """Trains the original, the hand-designed kernel and the most accurate candidates longer. Returns them by name."""
    quick = [trial for trial in study.trials if trial.state == "complete"]
    quick.sort(key=lambda trial: -trial.metrics["accuracy"])
    if not quick:
        sys.exit("demo: no candidate was fast enough and could be trained; give it more time: --minutes 6")
    entries: dict[str, canvas.Kernel | None] = {"original": None}
    # One function can come in several forms; those train alike to the last digit, and one of them is enough.
    distinct = {(trial.metrics["accuracy"], trial.metrics["loss"]): trial for trial in quick}
    entries |= {trial.kernel.name: trial.kernel for trial in list(distinct.values())[: options.finalists]}
    entries["depthwise_separable"] = canvas.zoo()["depthwise_separable"]
    missing = {name: kernel for name, kernel in entries.items() if name not in study.settings.get("references", {})}
    if missing:
        console.print(f"[bold]2. Finals[/bold]: {len(entries)} networks, {options.final_images} images each")
        recipe = canvas.Recipe(images=options.final_images, batch=64, lr=0.12)
        evaluate = canvas.TrainAndTime("resnet8", "fashion-mnist", recipe, keep=str(options.folder.resolve()))
        with console.status("training"):
            study.compare(evaluate, missing, progress=lambda name, found: console.print(final_line(name, found)))
    return entries


def final_line(name: str, metrics: dict[str, float]) -> str:
    return f"{name[:20]:20} {metrics['accuracy']:.4f} on validation data, {metrics['seconds']:.0f} s"


def measured(folder: Path, kernel: canvas.Kernel | None, data: Data, original: torch.nn.Module) -> dict[str, float]:
    """Test accuracy, and latency beside the original on a machine that now does nothing else."""
    network = torch.load(folder / f"{kernel.hash if kernel else 'original'}.pt", weights_only=False)
    example = torch.randn(32, *data.shape)
    timing = latency.compare(network, original, example, seconds=3.0)
    return {
        "accuracy": accuracy(network, data.normalise(data.test.images), data.test.labels),
        "latency_ms": timing.median_ms,
        "latency_ratio": timing.ratio,
        "flops": latency.flops(network, example[:1]),
        "params": sum(p.numel() for p in network.parameters()),
    }


def table(rows: dict[str, dict[str, float]]) -> Table:
    result = Table(title="Fashion-MNIST test split; latency of 32 images, PyTorch eager, one thread")
    for heading in ("network", "accuracy", "latency, ms", "of the original", "FLOPs, M", "parameters, k"):
        result.add_column(heading, justify="left" if heading == "network" else "right")
    for name, row in rows.items():
        figures = (row["latency_ms"], row["latency_ratio"], row["flops"] / 1e6, row["params"] / 1e3)
        result.add_row(name, f"{row['accuracy']:.4f}", *(f"{figure:.2f}" for figure in figures))
    return result


def main() -> None:
    options = arguments()
    console = Console()
    start = time.monotonic()
    options.folder.mkdir(parents=True, exist_ok=True)
    data = load_data("fashion-mnist")
    study = search(console, options)
    entries = finals(console, options, study)
    validation = study.settings["references"]
    found = [name for name in entries if name not in ("original", "depthwise_separable") and name in validation]
    best = max(found, key=lambda name: validation[name]["accuracy"])
    torch.set_num_threads(1)
    original = torch.load(options.folder / "original.pt", weights_only=False)
    chosen = {"original": "original", "depthwise_separable": "depthwise_separable", "best": best}
    rows = {name: measured(options.folder, entries[entry], data, original) for name, entry in chosen.items()}
    kernel = entries[best]
    result = {
        **rows,
        "best": {**rows["best"], "hash": kernel.hash, "text": str(kernel)},
        "candidates": len(study.trials),
        "seconds": round(time.monotonic() - start, 1),
        "seed": options.seed,
    }
    (options.folder / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    write_report(study, options.folder / "report.html")
    console.print(table(rows))
    console.print(str(kernel), highlight=False, markup=False)
    loss = rows["original"]["accuracy"] - rows["best"]["accuracy"]
    speed = 1 / rows["best"]["latency_ratio"]
    console.print(f"The best kernel: {speed:.2f} times as fast, for {100 * loss:.2f} points of accuracy.")
    if speed < FASTEST or loss > 0.01:
        console.print("That is less than hoped for: a longer search (--minutes) or another --seed may do better.")
    for name in ("report.html", "study.db", "result.json"):
        console.print(options.folder / name, highlight=False)


if __name__ == "__main__":
    main()
