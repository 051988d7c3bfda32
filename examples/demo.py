"""The demo: a real search on Fashion-MNIST, about five minutes on two cores. `make demo` sets all up and runs it.

The 3x3 convolutions of a small ResNet are replaced by kernels that the search invents: none is given to it; it knows
what patterns are worth as far as 1,200 others in another network taught it. Each is timed and, if quick enough,
trained for seconds. Then some kernels along the front, the original and the hand-designed kernels that are best in this
network are trained longer, and again with another seed but for the poorer half of those found; all with one recipe and
the same seeds. Validation data (a part of the training data) choose the kernel that the demo ends with: the fastest
that is as accurate as the hand-designed depthwise-separable one. Only then is the test split read, for the table: an
accuracy is the mean of both trainings.

Run again with the same folder, it goes on where it stopped; `--seed` makes another study.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table

import canvas
import canvas.study
from canvas import backends, latency, roofline
from canvas.data import Data, load_data
from canvas.executor import usable_cores
from canvas.models import resnet8
from canvas.objectives import hypervolume
from canvas.report import write_report
from canvas.train import accuracy
from canvas.train_and_time import rung
from canvas.trial import twins_in

BACKEND = backends.usual()  # what networks are timed with
# What holds whole windows in memory is slow to train, however quick native code runs it: hence the limit on memory.
BUDGET = canvas.Budget(flops=0.25, params=1.0, memory=3.0, latency={"native": 0.4, "eager": 0.5}[BACKEND])
# In PyTorch each primitive is an operation, whose overhead counts on layers as small as these.
MOST_PRIMITIVES = {"native": 7, "eager": 5}[BACKEND]
RUNG = 1_500  # images that a candidate is trained on first; the best third goes on
SCORE = "soft_accuracy"  # what kernels are chosen by: of short trainings it tells more than the accuracy
MARGIN = 0.06  # whoever learned so much less there than the best is too poor, however fast
RIVAL = "depthwise_separable"  # what the kernel found is compared with ...
RIVALS = (RIVAL, "shift_pointwise", "bsconv_u")  # ... and the other hand-designed kernels on the front of this network
DEEP = 0.03  # hypervolumes are measured from the original's latency and so much less than its accuracy
FASTEST = 1.5  # the least speed-up that the demo promises

Metrics = dict[str, Any]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Searches for a faster kernel on Fashion-MNIST.")
    parser.add_argument("--seed", type=int, default=0, help="decides candidates, weights and order of images")
    parser.add_argument("--minutes", type=float, default=3.5, help="of searching; the finals take another two or more")
    parser.add_argument("--images", type=int, default=6_000, help="that each candidate is trained on")
    parser.add_argument("--final-images", type=int, default=16_000, help="that the best are trained on")
    parser.add_argument("--finalists", type=int, default=12, help="trained on them; the better half twice")
    parser.add_argument("--folder", type=Path, default=Path("demo"))
    return parser.parse_args()


def search(console: Console, options: argparse.Namespace, strategy: str = "guided") -> canvas.Study:
    """Runs the search; the study holds all candidates."""
    targets = canvas.targets(resnet8(), torch.zeros(1, 1, 28, 28))
    study = canvas.Study(
        options.folder / "study.db",
        targets,
        budget=BUDGET,
        seed=options.seed,
        strategy=strategy,
        objectives=(SCORE, "latency"),
        lookahead=4,
        rungs=[rung(RUNG)],
        margin=MARGIN,
        max_primitives=MOST_PRIMITIVES,
    )
    left = options.minutes - study.minutes_spent
    if left > 0 and "references" not in study.settings:
        console.print(f"[bold]1. Search[/bold]: {len(targets)} convolutions, {options.minutes:g} minutes")
        recipe = canvas.Recipe(images=options.images, batch=64, lr=0.12)
        evaluate = canvas.TrainAndTime("resnet8", "fashion-mnist", recipe, rungs=[RUNG], limit=BUDGET.latency[1])
        study.run(evaluate, minutes=left, time_limit=60)
    return study


def finalists(study: canvas.Study, count: int) -> dict[str, canvas.Kernel]:
    """Candidates along the front, by name."""
    complete = {trial.kernel.name: trial for trial in study.trials if trial.state == "complete"}
    if not complete:
        sys.exit("demo: no candidate was fast enough and could be trained; give it more time: --minutes 6")
    return {name: complete[name].kernel for name in along({name: t.metrics for name, t in complete.items()}, count)}


def final_minutes(study: canvas.Study, options: argparse.Namespace, count: int) -> float:
    """How long the finals of so many kernels will take, by how long candidates were trained."""
    seconds = [trial.metrics["seconds_training"] for trial in study.trials if trial.state == "complete"]
    trainings = count + (count + 1) // 2 + 2 * (1 + len(RIVALS))
    rounds = math.ceil(trainings / usable_cores())
    return rounds * statistics.mean(seconds) * options.final_images / options.images / 60


def along(networks: Mapping[str, Metrics], count: int) -> list[str]:
    """Of these networks one after the other that which adds most to the hypervolume of those before; where none adds
    anything, the most accurate."""
    left = {name: (-metrics[SCORE], metrics["latency_ratio"]) for name, metrics in networks.items()}
    corner = (DEEP + min(lost for lost, _ in left.values()), 1.0)
    chosen: dict[str, tuple[float, float]] = {}
    while left and len(chosen) < count:
        known = list(chosen.values())
        best = max(left, key=lambda name: (hypervolume([*known, left[name]], corner), -left[name][0]))
        chosen[best] = left.pop(best)
    return list(chosen)


def train_longer(
    console: Console,
    options: argparse.Namespace,
    study: canvas.Study,
    entries: dict[str, canvas.Kernel | None],
    turn: int,
) -> dict[str, Metrics]:
    """Trains networks on more images, each turn with its own seed, and keeps them. Returns their metrics by name."""
    known = study.settings.get("references", {})
    names = {name: f"{name} ({turn + 1})" if turn else name for name in entries}
    missing = {names[name]: kernel for name, kernel in entries.items() if names[name] not in known}
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
    return {name: study.settings["references"][names[name]] for name in entries}


def final_line(name: str, metrics: Metrics) -> str:
    return f"{name[:28]:28} {metrics['accuracy']:.4f} on validation data, {metrics['seconds']:.0f} s"


def networks(folder: Path, kernel: canvas.Kernel | None) -> list[torch.nn.Module]:
    """Those of both turns."""
    name = f"{kernel.hash if kernel else 'original'}.pt"
    return [torch.load(folder / f"turn{turn}" / name, weights_only=False) for turn in (0, 1)]


def timed(folder: Path, kernel: canvas.Kernel | None, data: Data, original: torch.nn.Module) -> Metrics:
    """Latency beside the original on a machine that now does nothing else, and what else needs no data."""
    network = networks(folder, kernel)[0]
    example = torch.randn(32, *data.shape)
    timing = latency.compare(network, original, example, BACKEND, seconds=1.5)
    return {
        "latency_ms": timing.median_ms,
        "latency_ratio": timing.ratio,
        "flops": roofline.flops(network, example[:1]),
        "params": sum(p.numel() for p in network.parameters()),
    }


def tested(folder: Path, kernel: canvas.Kernel | None, data: Data) -> Metrics:
    """Test accuracy of both turns, and their mean."""
    found = [accuracy(net, data.normalise(data.test.images), data.test.labels) for net in networks(folder, kernel)]
    return {"accuracy": statistics.mean(found), "accuracies": found}


def best_of(found: Sequence[str], validation: dict[str, float], rows: dict[str, Metrics]) -> str:
    """The fastest that is as accurate on validation data as the hand-designed rival; if none is, the most accurate."""
    good = [name for name in found if validation[name] >= validation[RIVAL]]
    if not good:
        return max(found, key=lambda name: validation[name])
    return min(good, key=lambda name: rows[name]["latency_ratio"])


def volumes(found: Sequence[str], rows: dict[str, Metrics], scale: Callable[[float], float]) -> float:
    """The hypervolume of what was found relative to that of the rivals: how far they go beyond a corner at the
    original's latency, which is measured on this scale."""
    corner = (DEEP - rows["original"]["accuracy"], scale(1.0))
    mine, theirs = (
        hypervolume([(-rows[name]["accuracy"], scale(rows[name]["latency_ratio"])) for name in names], corner)
        for names in (found, RIVALS)
    )
    return mine / max(1e-9, theirs)


def table(rows: dict[str, Metrics], best: str) -> Table:
    title = "Fashion-MNIST test split, mean of two trainings ± half their difference"
    result = Table(title=title, caption=f"latency of 32 images, {BACKEND}, one thread", box=box.SIMPLE)
    for heading in ("network", "accuracy", "ms", "ratio", "MFLOPs", "k params"):
        result.add_column(heading, justify="left" if heading == "network" else "right")
    for name, row in sorted(rows.items(), key=lambda item: item[1]["latency_ratio"]):
        figures = (row["latency_ms"], row["latency_ratio"], row["flops"] / 1e6)
        half = (max(row["accuracies"]) - min(row["accuracies"])) / 2
        result.add_row(
            f"{name} (found)" if name == best else name,
            f"{row['accuracy']:.4f} ± {half:.4f}",
            *(f"{figure:.2f}" for figure in figures),
            f"{row['params'] / 1e3:.0f}",
        )
    return result


def said(rows: dict[str, Metrics], name: str) -> str:
    row, beyond = rows[name], 100 * (rows[name]["accuracy"] - rows["original"]["accuracy"])
    return f"{1 / row['latency_ratio']:.2f} times as fast, accuracy {row['accuracy']:.4f} ({beyond:+.2f} points)"


def main() -> None:
    options = arguments()
    console = Console()
    start = time.monotonic()
    options.folder.mkdir(parents=True, exist_ok=True)
    data = load_data("fashion-mnist")
    study = search(console, options)
    found = finalists(study, options.finalists)
    given: dict[str, canvas.Kernel | None] = {"original": None, **{name: canvas.zoo()[name] for name in RIVALS}}
    console.print(
        f"[bold]2. Finals[/bold]: {len(found)} kernels and {len(RIVALS)} hand-designed ones, as this machine trains"
        f" about {final_minutes(study, options, len(found)):.0f} minutes (--final-images for less)"
    )
    turns = [train_longer(console, options, study, {**given, **found}, 0)]
    found = {name: found[name] for name in along({name: turns[0][name] for name in found}, (len(found) + 1) // 2)}
    entries = {**given, **found}
    turns.append(train_longer(console, options, study, entries, 1))
    validation = {name: statistics.mean(turn[name]["accuracy"] for turn in turns) for name in entries}
    torch.set_num_threads(1)
    original = networks(options.folder, None)[0]
    rows = {name: timed(options.folder, kernel, data, original) for name, kernel in entries.items()}
    best = best_of(list(found), validation, rows)
    rows = {name: {**rows[name], **tested(options.folder, kernel, data)} for name, kernel in entries.items()}
    ratio, in_doublings = volumes(list(found), rows, float), volumes(list(found), rows, math.log2)
    [twin] = twins_in(study, [found[best]])
    result = {
        "best": {**rows[best], "hash": found[best].hash, "text": str(found[best]), "twin": twin},
        "original": rows["original"],
        RIVAL: rows[RIVAL],
        "found": {name: {**rows[name], "text": str(found[name])} for name in found},
        "hand_designed": {name: rows[name] for name in RIVALS},
        "hypervolume_ratio": ratio,
        "hypervolume_ratio_log": in_doublings,
        "candidates": len(study.trials),
        "seconds": round(time.monotonic() - start, 1),
        "seed": options.seed,
    }
    (options.folder / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    marks = {name: {**turns[0][name], **rows[name], "accuracy": validation[name]} for name in entries}
    write_report(study, options.folder / "report.html", marks)
    console.print(table(rows, best))
    console.print(str(found[best]), highlight=False, markup=False)
    if twin:
        console.print(f"It does what the hand-designed {twin} does: found again, from nothing.")
    console.print(f"Beside the 3x3 convolution, the kernel found is {said(rows, best)}.")
    console.print(f"The hand-designed {RIVAL} is {said(rows, RIVAL)}.")
    console.print(
        f"The front found has {ratio:.2f} times the hypervolume of that of the hand-designed kernels"
        f" ({in_doublings:.2f} times where each halving of latency counts the same)."
    )
    if 1 / rows[best]["latency_ratio"] < FASTEST or rows["original"]["accuracy"] - rows[best]["accuracy"] > 0.015:
        console.print("That is less than hoped for: a longer search (--minutes) or another --seed may do better.")
    for name in ("report.html", "study.db", "result.json"):
        console.print(options.folder / name, highlight=False)


if __name__ == "__main__":
    main()
