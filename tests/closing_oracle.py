"""The least number of primitives that complete a partial kernel, by breadth-first search over what primitives propose.

It has its own shape rules and its own account of what each primitive proposes on given axes, whatever its random
choices, and of which values the sampler joins; it shares nothing with the core. A value is the set of its axes.
`tests/test_closing.py` calls this.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations

from shuffling import Line, entries, taken_apart

STATIC = set("CKDHWTs")
MOST_AXES = 7

Size = tuple[Fraction, tuple[tuple[str, int], ...]]
Axis = tuple[str, Size, str]  # name, size, role: channel, spatial, window
Value = frozenset[Axis]


def size(text: str) -> Size:
    """2*C/g -> the number 2 and the powers of C and g."""
    number, powers = Fraction(1), {}
    top, *bottom = text.strip().split("/")
    for sign, factors in ((1, top.split("*")), (-1, bottom)):
        for factor in factors:
            if factor.isdigit():
                number *= Fraction(int(factor)) ** sign
            else:
                powers[factor] = powers.get(factor, 0) + sign
    return number, tuple(sorted((name, power) for name, power in powers.items() if power))


def times(a: Size, b: Size, sign: int = 1) -> Size:
    powers = dict(a[1])
    for name, power in b[1]:
        powers[name] = powers.get(name, 0) + sign * power
    return a[0] * b[0] ** sign, tuple(sorted((name, power) for name, power in powers.items() if power))


def number(value: int) -> Size:
    return Fraction(value), ()


def constant(of: Size) -> bool:
    return not of[1]


def is_part(of: Size) -> bool:
    """May be the parts of a split: a small number or a free size."""
    if constant(of):
        return 1 < of[0] <= 16
    return of[0] == 1 and len(of[1]) == 1 and of[1][0][1] == 1 and of[1][0][0] not in STATIC


class Signature:
    def __init__(self, head: str) -> None:
        given, made = re.findall(r"\[([^\]]*)\]", head)
        self.given, self.result = (self.axes(text) for text in (given, made))
        self.channel = next(axis for axis in self.result if axis[2] == "channel")
        self.wanted = {name: of for name, of, role in self.result if role == "spatial"}

    def axes(self, text: str) -> Value:
        found = set()
        for entry in text.split(","):
            name, _, of = entry.strip().partition(" = ")
            own = size(of or name)
            role = "channel" if {"C", "K"} & {variable for variable, _ in own[1]} else "spatial"
            found.add((re.match(r"\w+", name)[0], own, role))
        return frozenset(found)


def listed(argument: str) -> list[tuple[str, Size]]:
    """`[g, c = C/g]` with sizes."""
    found = []
    for entry in entries(argument):
        name, _, of = entry.partition(" = ")
        found.append((re.match(r"\w+", name)[0], size(of or name)))
    return found


def shape(line: Line, operands: list[Value]) -> Value:
    """The axes of what a line makes."""
    first = operands[0]
    by_name = {axis[0]: axis for axis in first}
    arguments = [a for a in line.arguments if not a.startswith("dilation")]
    if line.primitive in ("split", "merge", "rename", "fc"):
        old, new = next(a for a in arguments if " -> " in a).split(" -> ")
        gone = entries(old)
        roles = {by_name[name][2] for name in gone}
        role = "channel" if line.primitive == "fc" or len(roles) > 1 else roles.pop()
        kept = {axis for axis in first if axis[0] not in gone}
        return frozenset(kept | {(name, of, role) for name, of in listed(new)})
    if line.primitive == "unfold":
        made = [re.fullmatch(r"\w+: (\w+) = (.+)", a).groups() for a in arguments]
        return first | {(name, size(of), "window") for name, of in made}
    if line.primitive in ("subsample", "upsample"):
        sign = 1 if line.primitive == "upsample" else -1
        factors = {name: size(of) for name, of in (a.split(": ") for a in arguments)}
        return frozenset((n, times(of, factors.get(n, number(1)), sign), role) for n, of, role in first)
    if line.primitive in ("select", "fold", "contract"):
        joined = {axis[0]: axis for value in reversed(operands) for axis in value}
        text = [a.partition(": [")[2] or a.strip("[") for a in arguments] if line.primitive != "select" else []
        gone = {name for a in text for name in entries(f"[{a}" if a.endswith("]") else f"[{a}]")}
        gone |= {a.split(":")[0] for a in arguments} if line.primitive == "select" else set()
        return frozenset(axis for name, axis in joined.items() if name not in gone)
    if line.primitive == "stack":
        return first | {(entries(arguments[0])[0], number(len(operands)), "channel")}
    if line.primitive in ("add", "sub", "mul", "div", "max", "min"):
        return frozenset({axis[0]: axis for value in reversed(operands) for axis in value}.values())
    return first  # shift, scale, bias, norm, softmax, update, activations


def beginning(text: str, length: int) -> tuple[Signature, list[Value], list[int]]:
    """Signature, values and the loose ones of a printed kernel's first `length` primitives."""
    apart = taken_apart(text)
    signature = Signature(apart.head)
    values, names, used = [signature.given], [re.search(r"\((\w+)", apart.head)[1]], set()
    for line in apart.lines[:length]:
        operands = [names.index(name) for name in line.operands]
        used |= set(operands)
        values.append(shape(line, [values[i] for i in operands]))
        names.append(line.value)
    return signature, values, [i for i in range(len(values)) if i not in used]


class Completion:
    """Breadth first: what can be made of loose values, with all others at hand."""

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self.failed: set[tuple] = set()

    def within(self, loose: tuple[Value, ...], others: frozenset[Value], steps: int) -> bool:
        if len(loose) == 1 and self.same(loose[0], self.signature.result):
            return True
        stackable = any(loose.count(value) > 2 for value in loose)
        if steps == 0 or (len(loose) > steps + 1 and not (steps > 1 and (stackable or steps > 2))):
            return False
        key = (tuple(sorted(loose, key=hash)), others, steps)
        if key in self.failed:
            return False
        for used, made in self.moves(loose, others, steps):
            rest = list(loose)
            for value in used:
                rest.remove(value)
            if self.within((*rest, made), others | set(used), steps - 1):
                return True
        self.failed.add(key)
        return False

    def same(self, a: Value, b: Value) -> bool:
        return {axis[:2] for axis in a} == {axis[:2] for axis in b}

    def moves(self, loose: tuple[Value, ...], others: frozenset[Value], steps: int) -> Iterator[tuple]:
        """The loose values that a primitive uses up, and what it makes."""
        at_hand = set(loose) | others
        fresh = f"?{steps}"
        for value in sorted(set(loose), key=sorted):
            for made in self.unary(value, at_hand, fresh):
                yield (value,), made
        if len(loose) <= steps - 1:
            for value in others:
                for made in self.unary(value, at_hand, fresh):
                    yield (), made
        for a, b in combinations(range(len(loose)), 2):
            for made in self.joins(loose[a], loose[b]):
                yield (loose[a], loose[b]), made
        for value in set(loose):
            for other in at_hand:
                for made in self.joins(value, other):
                    yield (value,), made
            for count in range(1, min(8, loose.count(value)) + 1):
                yield (value,) * count, value | {(fresh, number(max(2, count)), "channel")}

    def unary(self, value: Value, at_hand: set[Value], fresh: str) -> Iterator[Value]:
        channel = self.signature.channel
        channels = [axis for axis in value if axis[2] == "channel"]
        windows = [axis for axis in value if axis[2] == "window"]
        spatial = [axis for axis in value if axis[2] == "spatial"]
        rest = value - set(channels) - set(windows)
        made = (fresh, size("C"), "channel")
        if channels or windows:
            yield rest | {channel}
        if channels:
            yield rest | {made}
            if len(channels) == 1:
                yield rest | {channels[0]}
            names = {axis[0] for axis in value}
            partners = {
                axis[0]: axis for one in at_hand for axis in one if axis[2] != "spatial" and axis[0] not in names
            }
            for count in range(1, len(partners) + 1):
                for chosen in combinations(partners.values(), count):
                    yield rest | {(name, of, "channel") for name, of, _ in chosen}
        if windows:
            yield value - set(windows)
            for window in windows if len(windows) > 1 else []:
                yield value - {window}
        if len(channels) > 1:
            for one in channels:
                yield value - set(windows) - {one} | {made}
                if not windows:
                    yield value - {one}  # fold
        for one in channels:
            if len(channels) > 1 or is_part(one[1]):
                yield value - {one}  # fold, select
            yield value - {one} | {made}  # rename
            if not constant(one[1]):
                parts = {(fresh + "g", number(2), "channel"), (fresh + "c", times(one[1], number(2), -1), "channel")}
                yield value - {one} | parts
        for a, b in combinations(channels + windows, 2):
            product = times(a[1], b[1])
            is_result = product == channel[1] and channel[0] not in {axis[0] for axis in value}
            yield value - {a, b} | {(channel[0] if is_result else fresh, product, "channel")}
        if not windows and spatial:
            yield value - set(spatial)
            for one in spatial if len(spatial) > 1 else []:
                yield value - {one}
            for chosen in [spatial, *([axis] for axis in spatial)]:
                yield value | {(axis[0].lower(), number(3), "window") for axis in chosen}
        yield from self.resampled(value)

    def resampled(self, value: Value) -> Iterator[Value]:
        stride, half, up = {}, {}, {}
        for name, of, role in value:
            if role != "spatial" or name not in self.signature.wanted:
                continue
            excess = times(of, self.signature.wanted[name], -1)
            if dict(excess[1]).get("s", 0) > 0:
                stride[name] = times(of, size("s"), -1)
            if excess[0].denominator == 1:
                half[name] = times(of, number(2), -1)
            else:
                up[name] = times(of, number(excess[0].denominator))
        for change in (stride, half, up):
            if change:
                yield frozenset((name, change.get(name, of), role) for name, of, role in value)

    def joins(self, a: Value, b: Value) -> Iterator[Value]:
        sizes_a, sizes_b = ({axis[0]: axis[1] for axis in value} for value in (a, b))
        both = frozenset(({axis[0]: axis for axis in b} | {axis[0]: axis for axis in a}).values())
        wanted = {axis[:2] for axis in self.signature.result}
        nested = sizes_a.items() <= sizes_b.items() or sizes_b.items() <= sizes_a.items()
        if nested or (sizes_a.items() | sizes_b.items()) <= wanted:
            yield both
        if any(sizes_b.get(name, of) != of for name, of in sizes_a.items()):
            return
        common = [axis for axis in a if axis[0] in sizes_b and axis[2] != "spatial"]
        windows = {axis[0] for axis in common if constant(axis[1])}
        for gone in [windows, *({axis[0]} for axis in common if not constant(axis[1]))]:
            made = frozenset(axis for axis in both if axis[0] not in gone)
            if gone and len(made) <= MOST_AXES:
                yield made


def least(text: str, length: int, most: int) -> int:
    """Of the beginning of a printed kernel: how few primitives complete it, or most + 1 where more are needed."""
    signature, values, loose = beginning(text, length)
    others = frozenset(values[i] for i in range(len(values)) if i not in loose)
    completion = Completion(signature)
    for steps in range(length == 0, most + 1):
        if completion.within(tuple(values[i] for i in loose), others, steps):
            return steps
    return most + 1
