"""Writes the table of docs/sampling.md that counts kernels by length; `--check` only says whether it is up to date.

Run it after a change of what primitives propose, of the canonical form or of plausibility. Names of kinds of layers
(`conv2d`) have it count these rows alone and leave the others as they are; the tests run it so, with `--check`.
"""

from __future__ import annotations

import sys
from collections import Counter

import canvas
from canvas.rediscovery import LAYERS
from page_table import update

NAMES = ("fc", "merge", "add", "mul", "subsample", "unfold", "relu")
LONGEST = 4
ANYTHING = {"min_reach": 1, "min_weighted": 0, "concise": False, "full_flow": False, "live": False, "trainable": False}


def counts(kind: str, limits: dict[str, object]) -> str:
    """The number of kernels of each length, as cells."""
    weights = {p["name"]: float(p["name"] in NAMES) for p in canvas.primitives()}
    layers = list(LAYERS[kind])
    kernels = canvas.enumerate_kernels(layers, max_primitives=LONGEST, max_variables=1, weights=weights, **limits)
    found = Counter(len(kernel) for kernel in kernels)
    return " | ".join(f"{found[length]:,}" for length in range(1, LONGEST + 1))


def table(known: str, kinds: list[str]) -> str:
    """A row for each kind of layer: all that is legal, then all that is plausible; those not asked for as they were."""
    lengths = " | ".join(str(length) for length in range(1, LONGEST + 1))
    rows = [f"| layers | legal: {lengths} | plausible: {lengths} |", "|---" * (2 * LONGEST + 1) + "|"]
    before = {row.split()[1]: row for row in known.splitlines() if " " in row}
    for kind in LAYERS:
        if kind in kinds or kind not in before:
            rows.append(f"| {kind} | {counts(kind, {**ANYTHING, 'min_primitives': 1})} | {counts(kind, {})} |")
        else:
            rows.append(before[kind])
    return "\n".join(rows) + "\n"


def main() -> int:
    """Writes or checks the page; 1 where the page is not what is counted."""
    kinds = [argument for argument in sys.argv[1:] if argument in LAYERS] or list(LAYERS)
    return update("sampling.md", "enumeration_table.py", lambda known: table(known, kinds), "the counts have changed")


if __name__ == "__main__":
    sys.exit(main())
