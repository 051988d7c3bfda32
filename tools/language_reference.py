"""Writes docs/primitives.md, the reference of the language's primitives, from the core's own table.

Run it after a primitive was added or changed; tests/test_reference.py fails where the page is out of date. Every
example on the page is executed: its result is what the parser says of it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from canvas import KernelError, _core

PAGE = Path(__file__).resolve().parents[1] / "docs" / "primitives.md"

HEAD = """# The primitives

Written by `tools/language_reference.py` from the primitives' own table; do not edit. [language.md](language.md) tells
how kernels are written.

In the examples `x` is `[C, H, W]`, `u` is `unfold(x, H: 3, W: 3)` and `y` is `split(x, [C] -> [g, c = C/g])`. Formulas
leave out the axes that pass through as they are; `|c|` is the size of axis c. *Sampled* is the weight with which the
sampler draws a primitive unless told otherwise.
"""

SAFE = """## Safe definitions

What could overflow, or has no finite slope somewhere, has a definition of its own, the same in the interpreter and in
every emitter.

| function | definition | |
|---|---|---|
"""


def result_of(call: str) -> str:
    """The axes of what a call makes.

    Args:
        call: a call on x, u and y as the page's head defines them.

    Returns:
        The axes as a text has them.

    Raises:
        KernelError: the call is not legal.

    Example:
        >>> result_of("fold(x, mean: [H])")
        '[C, W]'
    """
    values = {"u": "unfold(x, H: 3, W: 3)", "y": "split(x, [C] -> [g, c = C/g])"}
    lines = [f"  {name} = {made}\n" for name, made in values.items() if re.search(rf"\b{name}\b", call)]
    # No example makes these axes, so the message says what it makes.
    text = "kernel example(x[C, H, W]) -> [K, T/s]:\n" + "".join(lines) + f"  return {call}\n"
    try:
        _core.parse(text)
    except KernelError as error:
        found = re.search(r"verify: the result must have the axes \[K, T/s\], got (\[.*?\]);", str(error))
        if not found:
            raise
        return found[1]
    raise AssertionError(f"{call} has the axes [K, T/s]")


def section(primitive: dict[str, Any]) -> str:
    """One primitive's part of the page."""
    lines = [f"## {primitive['name']}\n", f"{primitive['summary'][0].upper()}{primitive['summary'][1:]}.\n"]
    lines += ["```", primitive["usage"], primitive["formula"], "```\n"]
    lines += [f"- *{label}*: {text}" for label, text in primitive["constraints"].items()]
    facts = list(primitive["properties"])
    if primitive["weighted"]:
        facts.append("has a parameter")
    lines += [f"- {', '.join(facts)}"] if facts else []
    lines += [f"- sampled: {primitive['weight']:g}"]
    lines += [f"- `{primitive['example']}` makes `{result_of(primitive['example'])}`\n"]
    return "\n".join(lines)


def page() -> str:
    """The whole page."""
    rows = "".join(
        f"| `{entry['name']}` | `{entry['formula']}` | {entry['reason']} |\n" for entry in _core.safe_definitions()
    )
    return "\n".join([HEAD, *map(section, _core.primitives()), SAFE + rows])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
