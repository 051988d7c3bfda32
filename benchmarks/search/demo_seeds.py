"""The demo for several seeds, and what the README says of them. Writes JSON; goes on where it was stopped.

    python benchmarks/search/demo_seeds.py OUT.json [--seeds 10] [--folder demo_seeds]

Each seed is `examples/demo.py --seed S` in a process and a folder of its own, one after the other, on two cores that do
nothing else. Of each: the front found against that of the hand-designed kernels trained with the same recipe and seeds
(ratio of hypervolumes), and the kernel with which the demo ends beside depthwise-separable. In the end: how many fronts
found are larger, and how many of the kernels are both faster and no less accurate than depthwise-separable. With
`--table` it prints the README's rows.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

DEMO = Path(__file__).parents[2] / "examples" / "demo.py"
RIVAL = "depthwise_separable"


def one(seed: int, folder: Path) -> dict[str, Any]:
    """One seed's demo, run unless it is there."""
    result = folder / "result.json"
    if not result.exists():
        subprocess.run([sys.executable, DEMO, "--seed", str(seed), "--folder", folder], check=True)
    return json.loads(result.read_text(encoding="utf-8"))


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    ratios = [run["hypervolume_ratio"] for run in runs]
    return {
        "seeds": len(runs),
        "front_larger": sum(ratio > 1 for ratio in ratios),
        "hypervolume_ratio_median": statistics.median(ratios),
        "front_larger_log": sum(run["hypervolume_ratio_log"] > 1 for run in runs),
        "hypervolume_ratio_log_median": statistics.median(run["hypervolume_ratio_log"] for run in runs),
        "faster_at_its_accuracy": sum(beats(run["found"].values(), run[RIVAL]) for run in runs),
        "seconds_median": statistics.median(run["seconds"] for run in runs),
    }


def beats(found: Any, rival: dict[str, Any]) -> bool:
    """Whether one of the front is faster and no less accurate."""
    return any(one["latency_ratio"] < rival["latency_ratio"] and one["accuracy"] >= rival["accuracy"] for one in found)


def row(run: dict[str, Any]) -> str:
    cells = [run["seed"], f"{run['original']['accuracy']:.3f}"]
    for name in ("best", RIVAL):
        lost = 100 * (run["original"]["accuracy"] - run[name]["accuracy"])
        cells += [f"{lost:.2f}", f"{1 / run[name]['latency_ratio']:.2f}"]
    cells += [f"{run[ratio]:.2f}" for ratio in ("hypervolume_ratio", "hypervolume_ratio_log")] + [run["candidates"]]
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("out", type=Path)
    options.add_argument("--seeds", type=int, default=10)
    options.add_argument("--folder", type=Path, default=Path("demo_seeds"))
    options.add_argument("--table", action="store_true", help="print the README's rows")
    asked = options.parse_args()
    runs: list[dict[str, Any]] = []
    for seed in range(asked.seeds):
        runs.append(one(seed, asked.folder / str(seed)))
        asked.out.write_text(json.dumps({"summary": summary(runs), "runs": runs}, indent=1) + "\n", encoding="utf-8")
    print(*map(row, runs), sep="\n") if asked.table else print(json.dumps(summary(runs), indent=1))


if __name__ == "__main__":
    main()
