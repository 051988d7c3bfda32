"""An hour's search against all hand-designed kernels: how much faster is it at no less accuracy? Writes JSON.

    python benchmarks/search/hour.py OUT.json [--minutes 40] [--folder hour] [--seed 0]

The demo's search, longer: a small ResNet on Fashion-MNIST, two cores that do nothing else. The best of what it finds,
and every hand-designed kernel that takes at most half of the original's latency, are trained twice on more images;
validation accuracy and latency choose the fronts of both. These, and the original, are trained five times more, with
one recipe and seeds not used before, and read the test split; each is timed on every backend here and counts with its
quickest one. It goes on where it was stopped.

Of each kernel found: the fastest hand-designed one that is no less accurate (or only so much that 95 % intervals of
their difference hold 0) and how many times as fast as that one it is.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
import demo

import canvas
from canvas import latency
from canvas.cost_model import CostModel
from canvas.data import Data, load_data
from canvas.models import resnet8
from canvas.report import write_report
from canvas.train import accuracy
from canvas.trial import twins_in

SLOWEST = 0.5  # of the original's latency, as counted: no hand-designed kernel slower than that is compared
CHOOSING, JUDGING = (0, 1), (2, 3, 4, 5, 6)  # turns, each with its own seed
WITHIN = 2.306  # standard errors: Student's t, 8 degrees of freedom (two means of five), 95 %
BACKENDS = ("native", "onnxruntime", "openvino")

Kernels = dict[str, canvas.Kernel | None]


def quick(batch: int = 32) -> Kernels:
    """The hand-designed kernels that serve all layers and are quick enough."""
    model, example = resnet8().eval(), torch.randn(batch, 1, 28, 28)
    targets, counted = canvas.targets(model, example), CostModel.of_cycles("native", 1)
    limit = SLOWEST * counted.predict(model, example)
    found: Kernels = {}
    for name, kernel in canvas.zoo().items():
        try:
            if all(kernel.serves(target.layer) for target in targets):
                network = canvas.replace(model, kernel, targets, None, example)
                if counted.predict(network, example) <= limit:
                    found[name] = kernel
        except (canvas.Infeasible, canvas.UserError):
            continue
    return found


def front(turns: list[dict[str, demo.Metrics]], names: Any, count: int) -> list[str]:
    """Those that add most to the hypervolume, by means over the turns."""
    means = {
        name: {key: statistics.mean(turn[name][key] for turn in turns) for key in (demo.SCORE, "latency_ratio")}
        for name in names
    }
    return demo.along(means, count)


def judged(folder: Path, kernel: canvas.Kernel | None, data: Data) -> dict[str, Any]:
    """Test accuracies, and on each backend the latency beside the original's."""
    file = f"{kernel.hash if kernel else 'original'}.pt"
    nets = [torch.load(folder / f"turn{turn}" / file, weights_only=False) for turn in JUDGING]
    original = torch.load(folder / f"turn{JUDGING[0]}" / "original.pt", weights_only=False)
    images = data.normalise(data.test.images)
    accuracies = [accuracy(net, images, data.test.labels) for net in nets]
    times, example = {}, torch.randn(32, *data.shape)
    for name in BACKENDS:
        timing = latency.compare(nets[0], original, example, name, seconds=1.5)
        times[name] = {"original_ms": timing.baseline_ms, "ratio": timing.ratio}
    return {
        "accuracy": statistics.mean(accuracies),
        "deviation": statistics.stdev(accuracies),
        "accuracies": accuracies,
        "latency": times,
        "text": str(kernel) if kernel else "",
    }


def settle(rows: dict[str, dict[str, Any]]) -> None:
    """Gives each its quickest backend, and milliseconds there: its ratio, times the median of all of the original's."""
    for name in BACKENDS:
        known = [row["latency"][name] for row in rows.values()]
        usual = statistics.median(one["original_ms"] for one in known)
        for one in known:
            one["ms"] = one["ratio"] * usual
    for row in rows.values():
        row["backend"] = min(row["latency"], key=lambda name: row["latency"][name]["ms"])
        row["ms"] = row["latency"][row["backend"]]["ms"]


def rival(row: dict[str, Any], given: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The fastest hand-designed kernel that is no less accurate than a found one, and how they compare."""

    def error(one: dict[str, Any]) -> float:
        return math.sqrt((one["deviation"] ** 2 + row["deviation"] ** 2) / len(JUDGING))

    good = {name: one for name, one in given.items() if one["accuracy"] + WITHIN * error(one) >= row["accuracy"]}
    if not good:
        return {}
    name = min(good, key=lambda name: good[name]["ms"])
    gain, half = row["accuracy"] - good[name]["accuracy"], WITHIN * error(good[name])
    return {"rival": name, "times_as_fast": good[name]["ms"] / row["ms"], "accuracy_gained": [gain - half, gain + half]}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=6_000)
    parser.add_argument("--final-images", type=int, default=24_000)
    parser.add_argument("--finalists", type=int, default=24, help="found kernels that are trained twice")
    parser.add_argument("--front", type=int, default=8, help="that are judged, of those found and of those given")
    parser.add_argument("--folder", type=Path, default=Path("hour"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    console, data = Console(stderr=True), load_data("fashion-mnist")
    study = demo.search(console, options)
    found: Kernels = dict(demo.finalists(study, options.finalists))
    given = quick()
    console.print(f"{len(study.trials)} candidates; hand-designed: {', '.join(given)}")
    turns = [demo.train_longer(console, options, study, {**found, **given}, turn) for turn in CHOOSING]
    chosen = {name: found[name] for name in front(turns, found, options.front)}
    entries = {"original": None, **{name: given[name] for name in front(turns, given, options.front)}, **chosen}
    for turn in JUDGING:
        demo.train_longer(console, options, study, entries, turn)
    torch.set_num_threads(1)
    rows = {name: judged(options.folder, kernel, data) for name, kernel in entries.items()}
    settle(rows)
    hand = {name: rows[name] for name in entries if name == "original" or name in given}
    for name, twin in zip(chosen, twins_in(study, [found[name] for name in chosen]), strict=True):
        rows[name] |= {"against": rival(rows[name], hand), "twin": twin}
    order = dict(sorted(rows.items(), key=lambda item: item[1]["ms"]))
    figures = {"minutes": options.minutes, "seed": options.seed, "candidates": len(study.trials), "rows": order}
    options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    marks = {
        name: {"accuracy": row["accuracy"], "latency_ratio": row["ms"] / rows["original"]["ms"]}
        for name, row in order.items()
    }
    write_report(study, options.folder / "report.html", marks)
    print("| kernel | accuracy | ms | backend | times as fast as |\n|---|---|---|---|---|")
    for name, row in order.items():
        against = row.get("against")
        said = f"{against['times_as_fast']:.2f} {against['rival']}" if against else "hand-designed" * (name in hand)
        said += f" (does what {row['twin']} does)" if row.get("twin") else ""
        told = f"{row['accuracy']:.4f} ± {row['deviation']:.4f} | {row['ms']:.2f} | {row['backend']}"
        print(f"| {name} | {told} | {said} |")


if __name__ == "__main__":
    main()
