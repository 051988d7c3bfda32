"""Writes the table of docs/zoo.md from the heads of the zoo's files; `--check` only says whether it is up to date.

Run it after adding a kernel: `python tools/zoo_table.py`. The tests run it with `--check`.
"""

from __future__ import annotations

import sys

from canvas.hand_designed import entries
from page_table import update


def table() -> str:
    """The zoo as a Markdown table, oldest papers first."""
    rows = ["| kernel | year | what it does | paper |", "|---|---|---|---|"]
    for entry in sorted(entries(), key=lambda entry: (entry.year, entry.name)):
        summary = entry.summary.removesuffix(".").replace("|", r"\|")
        rows.append(f"| `{entry.name}` | {entry.year} | {summary} | {entry.title} ({entry.authors}; {entry.source}) |")
    return "\n".join(rows) + "\n"


def main() -> int:
    """Writes or checks the page; 1 where the page is not what the files say."""
    return update("zoo.md", "zoo_table.py", lambda _: table(), "the table is not what the zoo's files say")


if __name__ == "__main__":
    sys.exit(main())
