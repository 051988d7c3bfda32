"""Writes the table of docs/sampling.md that counts kernels by length; `--check` only says whether it is up to date.

Run it after a change of what primitives propose, of the canonical form or of plausibility. The tests run it with
`--check`.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import canvas
from canvas.rediscovery import LAYERS

PAGE = Path(__file__).parents[1] / "docs" / "sampling.md"
BEGIN, END = "<!-- table: tools/enumeration_table.py -->\n", "<!-- end of table -->\n"
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


def table() -> str:
    """A row for each kind of layer: all that is legal, then all that is plausible."""
    lengths = " | ".join(str(length) for length in range(1, LONGEST + 1))
    rows = [f"| layers | legal: {lengths} | plausible: {lengths} |", "|---" * (2 * LONGEST + 1) + "|"]
    for kind in LAYERS:
        rows.append(f"| {kind} | {counts(kind, {**ANYTHING, 'min_primitives': 1})} | {counts(kind, {})} |")
    return "\n".join(rows) + "\n"


def main() -> int:
    """Writes or checks the page; 1 where the page is not what is counted."""
    text = PAGE.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        print(f"docs/sampling.md: {BEGIN.strip()} and {END.strip()} must stand around the table", file=sys.stderr)
        return 1
    wanted = before + begin + table() + end + after
    if "--check" in sys.argv and wanted != text:
        print("docs/sampling.md: the counts have changed; run python tools/enumeration_table.py", file=sys.stderr)
        return 1
    PAGE.write_text(wanted, encoding="utf-8") if wanted != text else None
    return 0


if __name__ == "__main__":
    sys.exit(main())
