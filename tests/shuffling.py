"""Rewrites a kernel's text into another text of the same kernel: other names, other order. For laws.

Works on printed kernels (one primitive a line), by text alone: it shares nothing with the parser that it tests.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from typing import Any

COMMUTING = ("add", "mul", "max", "min", "contract")
WEIGHTED = ("fc", "scale", "bias")
LIST = re.compile(r"\[[^\]]*\]")


@dataclass
class Line:
    """`value = primitive(operands, rest...)`; arguments other than operands are kept as text, defaults written out."""

    value: str
    primitive: str
    operands: list[str]
    arguments: list[str]


@dataclass
class Text:
    """A printed kernel taken apart."""

    head: str
    lines: list[Line]
    axes: dict[str, str] = field(default_factory=dict)  # what renaming did, old -> new
    values: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        body = ""
        for line in self.lines:
            left = "return" if line is self.lines[-1] else f"{line.value} ="
            body += f"  {left} {line.primitive}({', '.join(line.operands + line.arguments)})\n"
        return f"{self.head}\n{body}"


def split_outside(text: str) -> list[str]:
    """At the commas that stand in no bracket."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "[") - (letter == "]")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def entries(listed: str) -> list[str]:
    """`[a, b = C/r]` -> its entries."""
    return [entry.strip() for entry in listed.strip()[1:-1].split(",") if entry.strip()]


def full_axis(entry: str) -> str:
    """`C/r` -> `C = C/r`: every new axis with its own name."""
    return entry if "=" in entry else f"{re.match(r'[A-Za-z_]+[0-9]*', entry)[0]} = {entry}"


def taken_apart(text: str) -> Text:
    head, *rows = text.strip().split("\n")
    lines = []
    for row in rows:
        left, call = re.fullmatch(r"  (return|\w+ =) (\w+\(.*\))", row).groups()
        primitive, inside = re.fullmatch(r"(\w+)\((.*)\)", call).groups()
        parts = split_outside(inside)
        operands = [part for part in parts if re.fullmatch(r"\w+", part)]
        arguments = []
        for part in parts[len(operands) :]:
            if "->" in part:
                old, new = part.split("->")
                part = f"{old.strip()} -> [{', '.join(map(full_axis, entries(new)))}]"
            elif primitive == "unfold" and "=" not in part and not part.startswith("dilation"):
                axis, window = part.split(": ")
                part = f"{axis}: {axis.lower()} = {window}"
            arguments.append(part)
        lines.append(Line("result" if left == "return" else left[:-2], primitive, operands, arguments))
    return Text(head, lines)


def map_axes(argument: str, rename) -> str:
    """The argument with every axis name in it renamed."""
    if "->" in argument:
        old, new = argument.split(" -> ")
        made = [entry.split(" = ") for entry in entries(new)]
        return f"{map_axes(old, rename)} -> [{', '.join(f'{rename(name)} = {size}' for name, size in made)}]"
    key, found, listed = argument.partition(": [")
    if found or argument.startswith("["):
        names = ", ".join(map(rename, entries(f"[{listed}" if found else argument)))
        return f"{key}: [{names}]" if found else f"[{names}]"
    axis, amount = argument.split(": ")
    if axis == "dilation":
        return argument
    made, found, window = amount.partition(" = ")
    return f"{rename(axis)}: {rename(made)} = {window}" if found else f"{rename(axis)}: {amount}"


def axis_names(text: Text) -> list[str]:
    found: dict[str, None] = {}

    def note(name: str) -> str:
        found[name] = None
        return name

    for line in text.lines:
        for argument in line.arguments:
            map_axes(argument, note)
    return list(found)


def rename(text: Text, rng: random.Random) -> None:
    """Other names for values and axes; those of the signature stay, they are the kernel's interface."""
    fixed = set(re.findall(r"\w+", " ".join(LIST.findall(text.head))))
    free = [name for name in axis_names(text) if name not in fixed]
    new = rng.sample(
        [f"q{i}" for i in range(50)] + [name for name in ("H_", "x", "v1", "h2") if name not in fixed], len(free)
    )
    text.axes = dict(zip(free, new, strict=True))
    values = [line.value for line in text.lines[:-1]]
    text.values = dict(
        zip(values, rng.sample([f"w{i}" for i in range(90)] + ["h", "C", "K"], len(values)), strict=True)
    )
    for line in text.lines:
        line.operands = [text.values.get(name, name) for name in line.operands]
        line.value = text.values.get(line.value, line.value)
        line.arguments = [map_axes(argument, lambda name: text.axes.get(name, name)) for argument in line.arguments]


def rename_variables(text: Text, rng: random.Random) -> None:
    """Other names for the dynamic variables: whatever a size names beside the layer's own."""
    own = {"C", "K", "D", "H", "W", "T", "s"}
    sizes = [
        size for line in text.lines for a in line.arguments if " -> " in a for size in re.findall(r"= ([^,\]]+)", a)
    ]
    found = sorted({name for size in sizes for name in re.findall(r"[A-Za-z_]\w*", size)} - own)
    new = dict(zip(found, rng.sample(["n", "g", "r", "z", "big", "o"], len(found)), strict=True))
    for line in text.lines:
        line.arguments = [
            re.sub(r"(?<== )[^,\]]+", lambda m: re.sub(r"[A-Za-z_]\w*", lambda n: new.get(n[0], n[0]), m[0]), argument)
            if " -> " in argument
            else argument
            for argument in line.arguments
        ]


def swap(text: Text, rng: random.Random) -> None:
    """Operands of commuting primitives, and what is listed in no order."""
    for line in text.lines:
        if line.primitive in COMMUTING and rng.random() < 0.5:
            line.operands.reverse()
        spread = any(argument.startswith("over") for argument in line.arguments)
        if line.primitive in ("split", "merge") or spread:
            continue
        if line.primitive in ("unfold", "subsample", "upsample", "select", "shift"):
            last = [argument for argument in line.arguments if argument.startswith("dilation")]
            items = [argument for argument in line.arguments if argument not in last]
            line.arguments = rng.sample(items, len(items)) + last
        else:
            shuffled = lambda m: "[" + ", ".join(rng.sample(e := entries(m[0]), len(e))) + "]"  # noqa: E731
            line.arguments = [LIST.sub(shuffled, argument) for argument in line.arguments]


def reorder(text: Text, rng: random.Random) -> None:
    """Lines in another order in which each still follows what it reads."""
    waiting, done, known = text.lines[:-1], [], {re.search(r"\((\w+)", text.head)[1]}
    while waiting:
        line = rng.choice([line for line in waiting if known.issuperset(line.operands)])
        waiting.remove(line)
        done.append(line)
        known.add(line.value)
    text.lines = [*done, text.lines[-1]]


def decorate(text: Text, rng: random.Random) -> None:
    """Adds what the algebra takes away again: a negation twice, a relu twice, a value computed twice."""
    at = rng.randrange(len(text.lines))
    line = text.lines[at]
    slot = rng.randrange(len(line.operands))
    source = line.operands[slot]
    new = [Line("twice1", "neg", [source], []), Line("twice2", "neg", ["twice1"], [])]
    maker = next((other for other in text.lines if other.value == source), None)
    if maker and maker.primitive not in WEIGHTED and rng.random() < 0.7:
        new = [Line("twice2", maker.primitive, list(maker.operands), list(maker.arguments))]
        if maker.primitive in ("relu", "abs") and rng.random() < 0.5:
            new = [Line("twice2", maker.primitive, [source], [])]
    if any(other is not line and source in other.operands for other in text.lines) or new[0].operands == [source]:
        line.operands[slot] = "twice2"
        text.lines[at:at] = new


def shuffled(text: str, rng: random.Random) -> Text:
    """Another text of the same kernel."""
    apart = taken_apart(text)
    for change in (decorate, rename, rename_variables, swap, reorder):
        change(apart, rng)
    return apart


VARIABLE = r"[A-Za-z_]\w*"


def substituted(kernel: Any, values: dict[str, int]) -> str:
    """The kernel's text with its dynamic variables written as numbers."""
    text = taken_apart(str(kernel))
    for line in text.lines:
        for i, argument in enumerate(line.arguments):
            if " -> " in argument:
                old, new = argument.split(" -> ")
                made = [entry.split(" = ") for entry in entries(new)]
                made = [
                    f"{name} = {re.sub(VARIABLE, lambda m: str(values.get(m[0], m[0])), size)}" for name, size in made
                ]
                line.arguments[i] = f"{old} -> [{', '.join(made)}]"
    return str(text)
