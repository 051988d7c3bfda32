"""Random rewrites of a kernel's text, right and wrong ones: what the canonical form calls equal must compute the same.

Each takes a text apart as `shuffling` does and changes its algebra: two steps change places, a step goes through a
joint, one step becomes two. None asks whether that is allowed; the interpreter says afterwards.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from copy import deepcopy

from shuffling import WEIGHTED, Line, Text, shuffled, taken_apart

JOINTS = ("add", "sub", "mul", "div", "max", "min")
BY_ITEM = ("unfold", "subsample", "upsample", "shift", "select")
NOT_NEGATIVE = ("relu", "abs", "sigmoid", "exp", "sqrt", "square", "softmax")


def maker(text: Text, value: str) -> Line | None:
    """The line that gives a value its name."""
    return next((line for line in text.lines if line.value == value), None)


def users(text: Text, value: str) -> int:
    return sum(line.operands.count(value) for line in text.lines)


def inner(text: Text, line: Line) -> list[Line]:
    """The lines that make its operands, each for it alone."""
    made = [maker(text, value) for value in line.operands]
    return [one for one in made if one is not None and users(text, one.value) == 1]


def exchange(text: Text, rng: random.Random) -> bool:
    """Two steps in a row in the other order."""
    pairs = [
        (before, line)
        for line in text.lines
        if len(line.operands) == 1
        for before in inner(text, line)
        if len(before.operands) == 1
    ]
    if not pairs:
        return False
    first, second = rng.choice(pairs)
    first.primitive, second.primitive = second.primitive, first.primitive
    first.arguments, second.arguments = second.arguments, first.arguments
    return True


def push(text: Text, rng: random.Random) -> bool:
    """A step without weights after a joint becomes one before it, on each operand or on one alone."""
    found = [
        (joint, line)
        for line in text.lines
        if len(line.operands) == 1 and line.primitive not in WEIGHTED
        for joint in inner(text, line)
        if joint.primitive in JOINTS
    ]
    if not found:
        return False
    joint, step = rng.choice(found)
    operands = list(joint.operands)
    for slot in rng.choice([[0], [1], [0, 1], [0, 1]]):
        name = f"pushed{slot}"
        text.lines.insert(text.lines.index(joint), Line(name, step.primitive, [operands[slot]], list(step.arguments)))
        operands[slot] = name
    step.primitive, step.operands, step.arguments = joint.primitive, operands, joint.arguments
    text.lines.remove(joint)
    return True


def pull(text: Text, rng: random.Random) -> bool:
    """A step without weights before a joint becomes one after it; where both operands have it, both lose it."""
    found = [
        (line, before)
        for line in text.lines
        if line.primitive in JOINTS
        for before in inner(text, line)
        if len(before.operands) == 1 and before.primitive not in WEIGHTED
    ]
    if not found:
        return False
    joint, step = rng.choice(found)
    operands = []
    for one in (maker(text, value) if users(text, value) == 1 else None for value in joint.operands):
        alike = one is not None and (one.primitive, one.arguments) == (step.primitive, step.arguments)
        operands.append(one.operands[0] if alike else None)
        if alike and one is not step:
            text.lines.remove(one)
    joint_operands = [new or old for new, old in zip(operands, joint.operands, strict=True)]
    text.lines.remove(step)
    text.lines.insert(text.lines.index(joint), Line(step.value, joint.primitive, joint_operands, joint.arguments))
    joint.primitive, joint.operands, joint.arguments = step.primitive, [step.value], step.arguments
    return True


def divide(text: Text, rng: random.Random) -> bool:
    """A step along several axes becomes two."""
    found = [
        line
        for line in text.lines
        if line.primitive in BY_ITEM and len(line.arguments) > 1 and not any("over" in a for a in line.arguments)
    ]
    if not found:
        return False
    line = rng.choice(found)
    dilation = [argument for argument in line.arguments if argument.startswith("dilation")]
    items = rng.sample(rest := [a for a in line.arguments if a not in dilation], len(rest))
    if len(items) < 2:
        return False
    new = Line("divided", line.primitive, line.operands, items[:1] + dilation)
    text.lines.insert(text.lines.index(line), new)
    line.operands, line.arguments = ["divided"], items[1:] + dilation
    return True


def guard(text: Text, rng: random.Random) -> bool:
    """A relu or a modulus more."""
    line = rng.choice([line for line in text.lines if line.primitive in NOT_NEGATIVE] or text.lines)
    if line is text.lines[-1]:
        return False
    text.lines.insert(text.lines.index(line) + 1, Line("guarded", rng.choice(["relu", "abs"]), [line.value], []))
    for other in text.lines:
        if other.value != "guarded":
            other.operands = ["guarded" if name == line.value else name for name in other.operands]
    return True


REWRITES: tuple[Callable[[Text, random.Random], bool], ...] = (exchange, exchange, push, pull, divide, guard)


def rewritten(text: str, rng: random.Random) -> Text | None:
    """Another text after a rewrite or two, with other names and in another order; nothing where none applies."""
    apart = taken_apart(text)
    before = deepcopy(apart.lines)
    for change in rng.sample(REWRITES, rng.randint(1, 2)):
        kept = deepcopy(apart)
        if not change(apart, rng):
            apart = kept
    return shuffled(str(apart), rng) if apart.lines != before else None
