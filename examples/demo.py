"""The demo: a real search on Fashion-MNIST, about five minutes on two cores. `make demo` sets all up and runs it.

The 3x3 convolutions of a small ResNet are replaced by kernels that the search invents from nothing. Each is timed
and, if quick enough, trained for seconds. Then the best few, the original and the hand-designed depthwise-separable
kernel are trained longer with one recipe; validation data (a part of the training data) choose the best kernel. That
one and the two it is compared with are trained once more with another seed, and only then is the test split read, for
the table: an accuracy is the mean of both trainings.

Run again with the same folder, it goes on where it stopped; `--seed` makes another study.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table

import canvas
import canvas.study
from canvas import latency, roofline
from canvas.data import Data, load_data
from canvas.models import resnet8
from canvas.report import write_report
from canvas.train import accuracy

BUDGET = canvas.Budget(flops=(0.12, 0.5), params=(0.05, 1.0), memory=2.5, latency=0.64)
RUNG = 1_500  # images that a candidate is trained on first; the best third goes on
ALIKE = 0.05  # kernels whose FLOPs and parameters differ by less are variants of one idea
AGAIN = ("", " (again)")  # after a network's name, by turn
FASTEST = 1.5  # the least speed-up that the demo promises


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Searches for a faster kernel on Fashion-MNIST.")
    parser.add_argument("--seed", type=int, default=0, help="decides candidates, weights and order of images")
    parser.add_argument("--minutes", type=float, default=2.75, help="of searching; the finals take another two")
    parser.add_argument("--images", type=int, default=6_000, help="that each candidate is trained on")
    parser.add_argument("--final-images", type=int, default=24_000, help="that the best are trained on")
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


def finalists(study: canvas.Study, count: int) -> dict[str, canvas.Kernel]:
    """The most accurate candidates, by name, no two of them of about the same size: those are variants of one idea."""
    quick = [trial for trial in study.trials if trial.state == "complete"]
    if not quick:
        sys.exit("demo: no candidate was fast enough and could be trained; give it more time: --minutes 6")
    chosen: list[canvas.study.Trial] = []
    for trial in sorted(quick, key=lambda trial: -trial.metrics["accuracy"]):
        if not any(alike(trial.metrics, other.metrics) for other in chosen):
            chosen.append(trial)
    return {trial.kernel.name: trial.kernel for trial in chosen[:count]}


def alike(one: dict[str, float], other: dict[str, float]) -> bool:
    return all(abs(one[cost] / other[cost] - 1) < ALIKE for cost in ("flops", "params"))


def train_longer(
    console: Console,
    options: argparse.Namespace,
    study: canvas.Study,
    entries: dict[str, canvas.Kernel | None],
    turn: int,
) -> dict[str, dict[str, float]]:
    """Trains networks on more images, each turn with its own seed, and keeps them. Returns their metrics by name."""
    known = study.settings.get("references", {})
    missing = {f"{name}{AGAIN[turn]}": kernel for name, kernel in entries.items() if name + AGAIN[turn] not in known}
    if missing:
        folder = options.folder.resolve() / f"turn{turn}"
        folder.mkdir(exist_ok=True)
        recipe = canvas.Recipe(images=options.final_images, batch=64, lr=0.12)
        evaluate = canvas.TrainAndTime("resnet8", "fashion-mnist", recipe, keep=str(folder))
        with console.status("training"):
            study.compare(
                evaluate,
                missing,
                progress=lambda name, found: console.print(final_line(name, found)),
                seed=options.seed + turn * 1_000_003,
            )
    return {name: study.settings["references"][name + AGAIN[turn]] for name in entries}


def final_line(name: str, metrics: dict[str, float]) -> str:
    return f"{name[:28]:28} {metrics['accuracy']:.4f} on validation data, {metrics['seconds']:.0f} s"


def measured(folder: Path, kernel: canvas.Kernel | None, data: Data, original: torch.nn.Module) -> dict[str, Any]:
    """Test accuracy of both turns, and latency beside the original on a machine that now does nothing else."""
    name = f"{kernel.hash if kernel else 'original'}.pt"
    networks = [torch.load(folder / f"turn{turn}" / name, weights_only=False) for turn in (0, 1)]
    accuracies = [accuracy(net, data.normalise(data.test.images), data.test.labels) for net in networks]
    example = torch.randn(32, *data.shape)
    timing = latency.compare(networks[0], original, example, seconds=3.0)
    return {
        "accuracy": statistics.mean(accuracies),
        "accuracies": accuracies,
        "latency_ms": timing.median_ms,
        "latency_ratio": timing.ratio,
        "flops": roofline.flops(networks[0], example[:1]),
        "params": sum(p.numel() for p in networks[0].parameters()),
    }


def table(rows: dict[str, dict[str, Any]]) -> Table:
    title = "Fashion-MNIST test split, mean of two trainings ± half their difference"
    result = Table(title=title, caption="latency of 32 images, PyTorch eager, one thread", box=box.SIMPLE)
    for heading in ("network", "accuracy", "ms", "ratio", "MFLOPs", "k params"):
        result.add_column(heading, justify="left" if heading == "network" else "right")
    for name, row in rows.items():
        figures = (row["latency_ms"], row["latency_ratio"], row["flops"] / 1e6)
        half = (max(row["accuracies"]) - min(row["accuracies"])) / 2
        result.add_row(
            name,
            f"{row['accuracy']:.4f} ± {half:.4f}",
            *(f"{figure:.2f}" for figure in figures),
            f"{row['params'] / 1e3:.0f}",
        )
    return result


def main() -> None:
    options = arguments()
    console = Console()
    start = time.monotonic()
    options.folder.mkdir(parents=True, exist_ok=True)
    data = load_data("fashion-mnist")
    study = search(console, options)
    ends = {"original": None, "depthwise_separable": canvas.zoo()["depthwise_separable"]}
    found = finalists(study, options.finalists)
    console.print(f"[bold]2. Finals[/bold]: {len(found)} kernels, {options.final_images} images each")
    validation = train_longer(console, options, study, {"original": None, **found, **ends}, turn=0)
    best = max(found, key=lambda name: validation[name]["accuracy"])
    console.print("[bold]3. Once more[/bold]: the best of them, the original and the hand-designed one, another seed")
    again = train_longer(console, options, study, {**ends, best: found[best]}, turn=1)
    torch.set_num_threads(1)
    original = torch.load(options.folder / "turn0" / "original.pt", weights_only=False)
    shown = {**ends, "best": found[best]}
    rows = {name: measured(options.folder, kernel, data, original) for name, kernel in shown.items()}
    kernel = found[best]
    result = {
        **rows,
        "best": {**rows["best"], "hash": kernel.hash, "text": str(kernel)},
        "candidates": len(study.trials),
        "seconds": round(time.monotonic() - start, 1),
        "seed": options.seed,
    }
    (options.folder / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    both = {name: statistics.mean(turn[name]["accuracy"] for turn in (validation, again)) for name in again}
    marks = {name: {**again[name], "accuracy": value} for name, value in both.items()}
    write_report(study, options.folder / "report.html", marks)
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
