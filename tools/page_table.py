"""A table within a page of docs/, between a line that names the tool that writes it and `<!-- end of table -->`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
END = "<!-- end of table -->\n"


def update(page: str, tool: str, table: Callable[[str], str], outdated: str) -> int:
    """Writes the table; with `--check` on the command line only says whether it is up to date.

    Args:
        page: the file's name in docs/.
        tool: the script's name in tools/.
        table: makes the table of the one that is there.
        outdated: what is wrong where the two differ.

    Returns:
        0, or 1 where the page has no place for the table or `--check` finds another one there.

    Example:
        >>> update("zoo.md", "zoo_table.py", lambda known: known, "it cannot differ from itself")
        0
    """
    path, mark = DOCS / page, f"<!-- table: tools/{tool} -->\n"
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(mark)
    known, end, after = rest.partition(END)
    if not begin or not end:
        print(f"docs/{page}: the lines {mark.strip()} and {END.strip()} must stand around the table", file=sys.stderr)
        return 1
    wanted = before + begin + table(known) + end + after
    if "--check" in sys.argv and wanted != text:
        print(f"docs/{page}: {outdated}; run python tools/{tool}", file=sys.stderr)
        return 1
    path.write_text(wanted, encoding="utf-8") if wanted != text else None
    return 0
