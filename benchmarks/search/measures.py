"""What a short training says of the accuracy after a long one, by what is measured after it. Writes JSON.

    python benchmarks/search/measures.py OUT.json FOLDER ... [--images 1500 6000]
    python benchmarks/search/measures.py OUT.json --sampled 60 [--images 1500]

Each folder is one that `examples/demo.py` leaves: its finalists were trained on many images. They are trained anew on
few, with another seed, and validated on as many images as that (or all that there are). Told for each measure: its
correlation, within each folder's kernels, with the mean validation accuracy of the long trainings, and the 95 %
interval of how much more that is than the accuracy's (bootstrap over kernels). It goes on where it was stopped.

With `--sampled`, kernels that the sampler gives within the demo's budget take the finalists' place, and the accuracy
after 6,000 images, as the demo's search trains, that of the long trainings; correlations are of ranks then, since some
of these learn next to nothing, and told once more for the better half.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
import demo

import canvas
from canvas.data import Data, load_data
from canvas.errors import Diverged
from canvas.layers import merged
from canvas.models import resnet8
from canvas.objectives import rank_correlation
from canvas.train import Recipe, train

SAMPLED = -1  # what stands for the seed of a kernel that no search found
OTHER = 77  # added to the demo's seed: weights and order of images are not those of the long trainings
MEASURES = ("accuracy", "soft_accuracy", "cross_entropy", "training_loss", "training_soft_accuracy")


def finalists(folder: Path) -> list[tuple[int, canvas.Kernel, float]]:
    """Of each kernel that was trained longer: the seed, the kernel, its mean accuracy."""
    study = canvas.Study.open(folder / "study.db")
    kernels = {trial.kernel.name: trial.kernel for trial in study.trials if trial.state == "complete"}
    found: dict[str, list[float]] = {}
    for name, metrics in study.settings["references"].items():
        found.setdefault(name.split(" (")[0], []).append(metrics["accuracy"])
    seed = int(study.settings["seed"])
    return [(seed, kernels[name], statistics.mean(values)) for name, values in found.items() if name in kernels]


def sampled(
    count: int, known: set[tuple[int, str]], data: Data, targets: Any
) -> Iterator[tuple[int, canvas.Kernel, float]]:
    """As `finalists`, of kernels that the sampler gives but for those that are known."""
    layers = merged(targets)
    for kernel in canvas.sample(layers, count, 0, demo.BUDGET, max_primitives=demo.MOST_PRIMITIVES):
        if (SAMPLED, kernel.hash) not in known:
            recipe = Recipe(images=6_000, batch=64, lr=0.12)
            with contextlib.suppress(Diverged):
                yield SAMPLED, kernel, train(network(kernel, 0, data, targets), data, recipe)["accuracy"]


def network(kernel: canvas.Kernel, seed: int, data: Data, targets: Any) -> torch.nn.Module:
    torch.manual_seed(seed)
    model = resnet8(in_channels=data.shape[0])
    return canvas.replace(model, kernel, targets, demo.BUDGET, torch.zeros(1, *data.shape))


def short(kernel: canvas.Kernel, seed: int, images: int, data: Data, targets: Any) -> dict[str, float]:
    """The measures after one training, more is better."""
    judged = network(kernel, seed, data, targets)
    trained = train(judged, data, Recipe(images=images, batch=64, lr=0.12, seed=seed), judge=False)
    held = data.split(Recipe().validation)[1]
    with torch.no_grad():
        logits = torch.cat([judged.eval()(part) for part in data.normalise(held.images[:images]).split(250)])
    lost = F.cross_entropy(logits, held.labels[:images], reduction="none")
    return {
        "accuracy": float((logits.argmax(1) == held.labels[:images]).float().mean()),
        "soft_accuracy": float((-lost).exp().mean()),
        "cross_entropy": -float(lost.mean()),
        "training_loss": -trained["loss"],
        "training_soft_accuracy": trained["training_soft_accuracy"],
    }


def within(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Values less the mean of their group."""
    return values - np.array([values[groups == group].mean() for group in groups])


def summary(rows: list[dict[str, Any]], images: list[int]) -> list[dict[str, Any]]:
    groups = np.array([row["seed"] for row in rows])
    final = within(np.array([row["final"] for row in rows]), groups)
    correlated = rank_correlation if (groups == SAMPLED).any() else lambda a, b: float(np.corrcoef(a, b)[0, 1])
    better = final >= np.median(final)
    lines = []
    for count in images:
        values = {m: within(np.nan_to_num([row[str(count)][m] for row in rows]), groups) for m in MEASURES}
        random = np.random.default_rng(0)
        draws = [random.integers(0, len(rows), len(rows)) for _ in range(2_000)]
        for name, measured in values.items():
            gains = [correlated(measured[d], final[d]) - correlated(values["accuracy"][d], final[d]) for d in draws]
            line = {"images": count, "measure": name, "correlation": correlated(measured, final)}
            line["better half"] = correlated(measured[better], final[better])
            lines.append({**line, "gain": [float(bound) for bound in np.percentile(gains, [2.5, 97.5])]})
    return lines


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--sampled", type=int, default=0)
    parser.add_argument("--images", nargs="+", type=int, default=[1_500, 6_000])
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = json.loads(options.out.read_text(encoding="utf-8"))["rows"] if options.out.exists() else []
    data, targets = load_data("fashion-mnist"), canvas.targets(resnet8(), torch.zeros(1, 1, 28, 28))
    known = {(row["seed"], row["kernel"]) for row in rows}
    long = itertools.chain(*map(finalists, options.folders), sampled(options.sampled, known, data, targets))
    for seed, kernel, final in long:
        if (seed, kernel.hash) in known:
            continue
        found = {str(count): short(kernel, seed + OTHER, count, data, targets) for count in options.images}
        rows.append({"seed": seed, "kernel": kernel.hash, "final": final, **found})
        options.out.write_text(json.dumps({"rows": rows}, indent=1) + "\n", encoding="utf-8")
    lines = summary(rows, options.images)
    options.out.write_text(json.dumps({"summary": lines, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    print("| images | measure | correlation | better half | more than accuracy (95 %) |\n|---|---|---|---|---|")
    for line in lines:
        low, high = line["gain"]
        told = f"{line['correlation']:.2f} | {line['better half']:.2f} | {low:+.2f} to {high:+.2f}"
        print(f"| {line['images']:,} | {line['measure']} | {told} |")


if __name__ == "__main__":
    main()
