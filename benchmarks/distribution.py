"""What a sampler gives: the share of distinct kernels, and how long, how deep and made of what they are. Writes JSON.

    python benchmarks/distribution.py [--kernels 100000] [--limit max_primitives=12] [--seed 0] [--out FILE]

Sampled for ResNet-18's layers on 32 x 32 images under the usual limits, in one stream. `distinct` is the share of new
kernels among those that were plausible and affordable; depth is the length of the longest path from input to result.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests")]

import canvas  # noqa: E402
from canvas._core import Search  # noqa: E402
from canvas.layers import merged  # noqa: E402
from canvas.models import resnet18  # noqa: E402
from shuffling import taken_apart  # noqa: E402


def depth(kernel: canvas.Kernel) -> int:
    """Primitives on the longest path."""
    depths: dict[str, int] = {}
    for line in taken_apart(str(kernel)).lines:
        depths[line.value] = 1 + max(depths.get(operand, 0) for operand in line.operands)
    return max(depths.values())


def shares(counts: Counter[Any], total: int) -> dict[str, float]:
    return {str(key): round(count / total, 4) for key, count in sorted(counts.items())}


def measured(layers: list[canvas.Layer], count: int, seed: int, limits: dict[str, Any]) -> dict[str, Any]:
    """Shares of kernels by length, by depth, and by which primitives they have."""
    search = Search(layers, seed=seed, strategy="random", lookahead=10**9, **limits)
    lengths, depths, used = Counter[int](), Counter[int](), Counter[str]()
    start, spent = time.process_time(), 0.0
    for _ in range(count):
        kernel = search.ask().kernel
        spent += time.process_time() - start
        lengths[len(kernel)] += 1
        depths[depth(kernel)] += 1
        used.update(set(kernel.primitives))
        start = time.process_time()
    fates = search.counts
    return {
        "kernels": count,
        "distinct": round(fates["kept"] / (fates["kept"] + fates["duplicate"]), 4),
        "fates": fates,
        "sampling_cpu_seconds": round(spent, 1),
        "lengths": shares(lengths, count),
        "depths": shares(depths, count),
        "primitives": dict(sorted(shares(used, count).items(), key=lambda entry: -entry[1])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kernels", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", action="append", default=["max_primitives=12"], metavar="NAME=NUMBER")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    limits: dict[str, Any] = {}
    for name, _, value in (limit.partition("=") for limit in options.limit):
        limits[name] = float(value) if "." in value else int(value)
    layers = merged(canvas.targets(resnet18(), torch.zeros(1, 3, 32, 32)))
    text = json.dumps(
        {"limits": limits, "seed": options.seed, **measured(layers, options.kernels, options.seed, limits)}
    )
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
