"""Writes the table of docs/zoo.md from the heads of the zoo's files; `--check` only says whether it is up to date.

Run it after adding a kernel: `python tools/zoo_table.py`. The tests run it with `--check`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from canvas.hand_designed import entries

PAGE = Path(__file__).parents[1] / "docs" / "zoo.md"
BEGIN, END = "<!-- table: tools/zoo_table.py -->\n", "<!-- end of table -->\n"


def table() -> str:
    """The zoo as a Markdown table, oldest papers first."""
    rows = ["| kernel | year | what it does | paper |", "|---|---|---|---|"]
    for entry in sorted(entries(), key=lambda entry: (entry.year, entry.name)):
        summary = entry.summary.removesuffix(".").replace("|", r"\|")
        rows.append(f"| `{entry.name}` | {entry.year} | {summary} | {entry.title} ({entry.authors}; {entry.source}) |")
    return "\n".join(rows) + "\n"


def main() -> int:
    """Writes or checks the page; 1 where the page is not what the files say."""
    text = PAGE.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        print(f"docs/zoo.md: the lines {BEGIN.strip()} and {END.strip()} must stand around the table", file=sys.stderr)
        return 1
    wanted = before + begin + table() + end + after
    if "--check" in sys.argv and wanted != text:
        print("docs/zoo.md: the table is not what the zoo's files say; run python tools/zoo_table.py", file=sys.stderr)
        return 1
    PAGE.write_text(wanted, encoding="utf-8") if wanted != text else None
    return 0


if __name__ == "__main__":
    sys.exit(main())
