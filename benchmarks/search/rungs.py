"""What stopping candidates early is worth, on the table of kernels that `table.py` made. Writes JSON.

    python benchmarks/search/rungs.py [--seeds 20] [--budget 10 25 50] [--out FILE]

Candidates come as the sampler draws them, the same for every rule; a rule (`stopping.py`) sees a candidate's accuracy
after each quarter of its training, and its FLOPs, and stops it, or not. One worker; the cost is what was trained, of
stopped candidates too. Once so many whole trainings have been paid for: the hypervolume of the front that is handed
over, of those trained to the end, as in `run.py`; mean over the seeds, and the 95 % intervals of the difference to no
stopping at all, and to the default search (`guided`, which stops none), seed by seed. `guided` is also run with a
study's rule.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import run
import stopping
import table

from canvas._core import Search
from canvas.objectives import beats

Row = dict[str, Any]
DEFAULT = "guided", "none", "never"


class Source:
    """Candidates of the table as a strategy asks for them."""

    def __init__(self, strategy: str, seed: int, known: dict[str, Row], lookahead: int = 2) -> None:
        self.known, self.seed = known, seed
        self.search = Search(
            table.layers(),
            table.BUDGET,
            seed=seed,
            strategy=strategy,
            lookahead=lookahead,
            only=set(known),
            **table.LIMITS,
        )

    def ask(self) -> tuple[int, Row]:
        candidate = self.search.ask()
        return candidate.index, self.known[candidate.hash]

    def tell(self, trial: stopping.Trial) -> None:
        """As a study does: of what was stopped the cost is known."""
        cost = trial.row["cost"]
        if trial.step == stopping.WHOLE:
            self.search.tell(trial.index, [-trial.row["curves"][self.seed % 2][-1], cost])
        else:
            self.search.tell(trial.index, None, [float("nan"), cost])


@functools.cache
def drawn(seed: int, count: int, file: Path) -> list[Row]:
    """So many of the table's kernels in the order that the sampler gives them."""
    source = Source("random", seed, rows(file), lookahead=count)
    return [source.ask()[1] for _ in range(count)]


@functools.cache
def rows(file: Path) -> dict[str, Row]:
    """The table's kernels by hash: their accuracy, their cost, and both curves, each of all quarters."""
    held = json.loads(file.read_text(encoding="utf-8"))["kernels"]
    points = run.points(held, "flops")
    return {
        row["hash"]: {
            "accuracy": statistics.fmean(points[row["hash"]][0]),
            "cost": points[row["hash"]][1],
            "curves": [[*seed["accuracies"], seed["accuracy"]] for seed in row["seeds"]],
        }
        for row in held
        if row["hash"] in points
    }


def shares(done: list[tuple[float, Row]], budgets: list[int], seed: int, whole: float) -> list[float]:
    """Which share of the whole table's hypervolume is reached, once each budget is spent."""
    found = []
    for budget in budgets:
        trained = [row for spent, row in done if spent <= budget + 1e-9]
        told = [[-row["curves"][seed % 2][-1], row["cost"]] for row in trained]
        front = [
            row for row, point in zip(trained, told, strict=True) if not any(beats(other, point) for other in told)
        ]
        found.append(run.hypervolume((row["accuracy"], row["cost"]) for row in front) / whole)
    return found


def measured(
    strategy: str, rule: Callable[[], stopping.Rule], seeds: int, budgets: list[int], file: Path
) -> list[list[float]]:
    """The shares of each seed."""
    known, found = rows(file), []
    whole = run.hypervolume((row["accuracy"], row["cost"]) for row in known.values())
    for seed in range(seeds):
        if strategy == "random":
            ask, tell = (
                stopping.in_order(drawn(seed, min(len(known) // 2, 4 * max(budgets) + 64), file)),
                lambda trial: None,
            )
        else:
            source = Source(strategy, seed, known)
            ask, tell = source.ask, source.tell
        done = stopping.replay(rule(), ask, tell, max(budgets), seed)
        found.append(shares(done, budgets, seed, whole))
    return found


def less(one: list[list[float]], other: list[list[float]], at: int) -> list[float]:
    """The interval of the difference of two, seed by seed."""
    return run.interval([a[at] - b[at] for a, b in zip(one, other, strict=True)])


def main() -> None:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, default=20)
    options.add_argument("--budget", type=int, nargs="+", default=[10, 25, 50], help="whole trainings")
    options.add_argument("--file", type=Path, default=table.FILE)
    options.add_argument("--out", type=Path, help="JSON; by default printed")
    asked = options.parse_args()
    rules = stopping.rules()
    runs = {("random", *name): rule for name, rule in rules.items()}
    runs |= {("guided", *name): rule for name, rule in rules.items() if name[0] in ("none", "a study's")}
    found = {}
    for name, rule in runs.items():
        start = time.process_time()
        found[name] = measured(name[0], rule, asked.seeds, asked.budget, asked.file)
        print(f"{', '.join(name)}: {time.process_time() - start:.0f} s", file=sys.stderr)
    result = []
    for at, budget in enumerate(asked.budget):
        for (strategy, rule, when), of_seeds in found.items():
            entry: dict[str, Any] = {"budget": budget, "search": strategy, "rule": rule, "stops": when}
            entry |= {
                "share": statistics.fmean(one[at] for one in of_seeds),
                "gain": less(of_seeds, found["random", "none", "never"], at),
                "default_gains": less(found[DEFAULT], of_seeds, at),
            }
            result.append(entry)
            gains = " ".join(f"{low:+.3f} to {high:+.3f}" for low, high in (entry["gain"], entry["default_gains"]))
            print(f"{budget:4} {strategy:7} {rule:30} {when:26} {entry['share']:.3f}  {gains}", file=sys.stderr)
    text = json.dumps({"kernels": len(rows(asked.file)), "seeds": asked.seeds, "rules": result}, indent=1)
    if asked.out:
        asked.out.write_text(text + "\n", encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
