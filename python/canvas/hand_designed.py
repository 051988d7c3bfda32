"""What is in the zoo: `zoo/*.canvas`, the kernels that people designed, each with the paper that it comes from.

The head of a file is its record. The first line is `# title; authors; year; source`, where a source is `arXiv` and its
number or the journal; the comment below it begins with one sentence on what the kernel does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from canvas._core import Kernel, Layer, behaviour, parse

_HEAD = re.compile(r"# ([^;\n]+); ([^;\n]+); (\d{4}); ([^;\n]+)\n((?:#.*\n)+)")


@dataclass(frozen=True)
class Entry:
    """A kernel of the zoo and where it comes from.

    Attributes:
        name: the file's and the kernel's.
        kernel: the kernel.
        title: of the paper.
        authors: as the paper is cited.
        year: of its first publication.
        source: `arXiv 1704.04861`, or the journal or conference.
        summary: one sentence on what the kernel does.
    """

    name: str
    kernel: Kernel
    title: str
    authors: str
    year: int
    source: str
    summary: str


def read_entry(text: str, name: str) -> Entry:
    """Reads one file of the zoo.

    Args:
        text: its content.
        name: its name without `.canvas`.

    Returns:
        The entry.

    Raises:
        KernelError: the kernel is not legal.
        ValueError: the head lacks the paper or the summary.

    Example:
        >>> text = "# Mix; A; 2020; arXiv 2001.1\\n# Mixes.\\nkernel mix(x[C]) -> [K]:\\n  return fc(x, [C] -> [K])"
        >>> read_entry(text, "mix").year
        2020
    """
    head = _HEAD.match(text)
    if head is None:
        raise ValueError(
            f"{name}.canvas: its first line must be `# title; authors; year; source`, the next one a summary"
        )
    title, authors, year, source, note = head.groups()
    words = " ".join(line.lstrip("#").strip() for line in note.splitlines())
    summary = re.split(r"(?<=\.) ", words, maxsplit=1)[0]
    return Entry(name, parse(text, f"{name}.canvas"), title, authors, int(year), source, summary)


@cache
def entries() -> tuple[Entry, ...]:
    """The zoo, by name.

    Returns:
        All entries, sorted by their names.

    Example:
        >>> next(entry.source for entry in entries() if entry.name == "mobilenet")
        'arXiv 1704.04861'
    """
    files = sorted((Path(__file__).parent / "zoo").glob("*.canvas"), key=lambda file: file.stem)
    return tuple(read_entry(file.read_text(encoding="utf-8"), file.stem) for file in files)


def zoo() -> dict[str, Kernel]:
    """The hand-designed kernels, by name; `canvas zoo` lists them with their papers.

    Returns:
        A new dictionary from each kernel's name to the kernel.

    Example:
        >>> "depthwise_separable" in zoo()
        True
    """
    return {entry.name: entry.kernel for entry in entries()}


def twins(kernels: Sequence[Kernel], layers: Sequence[Layer], nonnegative: bool = False) -> list[str]:
    """Which hand-designed kernel does what each of these does, or a multiple of it.

    Args:
        kernels: any that serve the layers.
        layers: of the network.
        nonnegative: no layer has negative inputs.

    Returns:
        For each kernel the name of its twin, or "".

    Example:
        >>> doubled = "add(x, x)", "fc(a, [C] -> [K])", "subsample(b, H: s, W: s)"
        >>> text = "  a = {}\\n  b = {}\\n  return {}\\n".format(*doubled)
        >>> twins([parse("kernel k(x[C, H, W]) -> [K, H/s, W/s]:\\n" + text)], [Layer(64, 64)])
        ['pointwise']
    """
    serving = {name: one for name, one in zoo().items() if all(one.serves(layer) for layer in layers)}
    known = {behaviour(one, layers, nonnegative): name for name, one in serving.items()}
    known.pop(None, None)
    return [known.get(behaviour(kernel, layers, nonnegative), "") for kernel in kernels]
