"""The canonical form against the interpreter: kernels that random rewrites make, right or wrong, and that have one form
compute the same.

`CANVAS_REWRITES=100000 pytest tests/test_canonical.py` is the long run: so many pairs of equal forms. Or in parts, each
with other random numbers: `CANVAS_REWRITES=12500 CANVAS_REWRITES_PART=0` to 7.
"""

import os
import random
from functools import cache

import numpy as np
import pytest

import canvas
from rewriting import rewritten
from sampled import SEED, input_shape, population
from shuffling import WEIGHTED, substituted, taken_apart
from test_laws import matched

REWRITES = int(os.environ.get("CANVAS_REWRITES", "400"))
PART = os.environ.get("CANVAS_REWRITES_PART", "0")


def parsed(text: str) -> canvas.Kernel | None:
    try:
        return canvas.parse(text)
    except canvas.KernelError:
        return None


@cache
def fixed(number: int) -> tuple[canvas.Kernel, canvas.Layer] | None:
    """A kernel of the population in canonical form on one of its layers, its free sizes written as numbers."""
    sampled = population()[number]
    layer = sampled.layers[number % len(sampled.layers)]
    sizes = sampled.kernel.bind([layer])[0].sizes
    kernel = parsed(substituted(sampled.kernel, {name: min(size, 2) for name, size in sizes.items()}))
    try:
        return kernel and kernel.bind([layer]) and (kernel.canonical(), layer)
    except canvas.Infeasible:
        return None


@pytest.mark.timeout(0 if REWRITES > 5000 else 300)
def test_rewrites_with_one_form_compute_the_same():
    rng = random.Random(f"{SEED} rewrites {PART}")
    pairs = refused = apart = 0
    steps = set()
    while pairs < REWRITES:
        chosen = fixed(rng.randrange(len(population())))
        if not chosen:
            continue
        form, layer = chosen
        text = rewritten(str(form), rng)
        other = text and parsed(str(text))
        if not other:
            refused += 1
            continue
        if other.hash != form.hash:
            apart += 1
            continue
        again, names = other.canonical_with_names()
        assert str(again) == str(form)
        numbers = np.random.default_rng(pairs)
        values = {name: numbers.standard_normal(logical) for name, logical, _ in form.parameters(layer)}
        x = numbers.standard_normal(input_shape(layer))
        expected = form.interpret(layer, x, values)
        got = other.interpret(layer, x, matched(text, other, form, names, values))
        np.testing.assert_allclose(
            got, expected, rtol=1e-8, atol=1e-8 * np.abs(expected).max() + 1e-300, err_msg=f"{form}\n{text}"
        )
        pairs += 1
        steps |= {line.primitive for line in taken_apart(str(form)).lines}
    print(f"{pairs} pairs of one form compute the same; {apart} rewrites have another form, {refused} are not legal")
    assert apart > pairs / 20, "wrong rewrites are among them"
    if REWRITES >= 400:
        assert len(steps) > 25 and set(WEIGHTED) <= steps
