"""Writes docs/lowering.md, the table of lowering rules, from the core's own table.

Run it after a rule was added or changed; tests/test_lowering.py fails where the page is out of date. Every example on
the page is emitted: the rule fires on it when it alone is applied.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from canvas import _core

PAGE = Path(__file__).resolve().parents[1] / "docs" / "lowering.md"

HEAD = """# Lowering

Written by `tools/lowering_reference.py` from the rules' own table (`src/canvas/lower/rules.cpp`); do not edit.

A kernel's primitives are lowered into core forms (`src/canvas/ir/core.h`), these are rewritten, and the emitter turns
what is left into PyTorch. In the table `x` and `y` are values, `p` is a parameter, `u` a window (what `unfold` makes),
`f` a function of elements. Each rule keeps the interpreter's value: `tests/test_lowering.py` applies it alone to its
example and to sampled kernels and compares in float64.

`Kernel.module(layer, lower=False)` and `Kernel.source(layer, rules=[...])` apply none of them, or those named alone;
`BoundLayer.lowering_counts()` says how often each fires. What depends on parameters alone is folded at inference
(`python/canvas/folding.py`): batch norms, constants, and convolutions of one input that are added.

| rule | before | after | where |
|---|---|---|---|
"""


def page() -> str:
    """The whole page.

    Returns:
        Markdown.

    Example:
        >>> page().startswith("# Lowering")
        True
    """
    rules = _core.lowering_rules()
    rows = [f"| `{r['name']}` | {_cell(r['before'])} | {_cell(r['after'])} | {r['condition']} |\n" for r in rules]
    return HEAD + "".join(rows) + "\n## Examples\n" + "".join(_example(rule) for rule in rules)


def _cell(text: str) -> str:
    return f"`{text}`" if "(" in text and " " not in text.split("(")[0] else text


def _example(rule: dict[str, Any]) -> str:
    kind = " (of the emitter)" if rule["emitter"] else ""
    return f"\n### {rule['name']}{kind}\n\n```canvas\n{kernel_text(rule)}```\n"


def kernel_text(rule: dict[str, Any]) -> str:
    """The kernel on which a rule fires.

    Args:
        rule: an entry of `lowering_rules()`.

    Returns:
        Its text.

    Example:
        >>> kernel_text({"name": "r", "example": "  return fc(x, [C] -> [K])"})
        'kernel r(x[C, H, W]) -> [K, H/s, W/s]:\\n  return fc(x, [C] -> [K])\\n'
    """
    return f"kernel {rule['name']}(x[C, H, W]) -> [K, H/s, W/s]:\n{rule['example']}\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
