"""How few primitives complete a partial kernel: the sampler's answer against breadth-first search.

`CANVAS_CLOSINGS=1000 CANVAS_CLOSING_STEPS=3 pytest tests/test_closing.py` is the long run.
"""

import os
import random
from collections import Counter

import pytest

import canvas
from closing_oracle import least
from sampled import FLAT, LINE, SEED, TOKENS

CLOSINGS = int(os.environ.get("CANVAS_CLOSINGS", "160"))
STEPS = int(os.environ.get("CANVAS_CLOSING_STEPS", "2"))
LONGEST = 4
SETTINGS = (
    (FLAT, {"max_width": 5, "max_weighted": 6}),
    (FLAT, {"max_width": 4, "weights": {"split": 4.0, "stack": 4.0, "contract": 4.0, "update": 4.0, "select": 2.0}}),
    (FLAT, {"weights": {"subsample": 4.0, "upsample": 3.0, "fold": 4.0}}),
    (LINE, {"max_width": 5, "weights": {"fold": 4.0, "mul": 3.0}}),
    (TOKENS, {"max_width": 5, "min_reach": 3, "weights": {"contract": 5.0, "softmax": 2.0}}),
)
ANYTHING = {"full_flow": False, "trainable": False, "min_reach": 1}


def beginnings(count: int) -> list[tuple[canvas.Kernel, int]]:
    """Kernels and how many of their first primitives are kept: at most LONGEST."""
    found = []
    for number, (layers, limits) in enumerate(SETTINGS):
        share = -(-count // len(SETTINGS))
        kernels = canvas.sample(list(layers), share, seed=SEED + number, max_primitives=9, **{**ANYTHING, **limits})
        rng = random.Random(number)
        found += [(kernel, rng.randint(0, min(LONGEST, len(kernel) - 1))) for kernel in kernels]
    return found


@pytest.mark.timeout(0 if CLOSINGS > 500 or STEPS > 2 else 300)
def test_completions_are_as_short_as_breadth_first_search_finds():
    seen = Counter()
    for kernel, length in beginnings(CLOSINGS):
        expected = least(str(kernel), length, STEPS)
        got = kernel.closing_steps(length)
        assert min(got, STEPS + 1) == expected, f"{got}, the search says {expected}, after {length} of\n{kernel}"
        seen[expected] += 1
    assert all(seen[steps] > CLOSINGS // 20 for steps in range(1, STEPS + 1)), seen


def test_shorter_ways_than_one_by_one_are_found():
    head = "kernel k(x[C, H, W]) -> [K, H/s, W/s]:\n"
    mixed = head + "  a = fc(x, [C] -> [K])\n  return subsample(a, H: s, W: s)\n"
    assert canvas.parse(mixed).closing_steps(1) == 1
    stacked = head + (
        "  a = subsample(x, H: s, W: s)\n  b = relu(a)\n  c = gelu(a)\n  d = silu(a)\n"
        "  e = stack(b, c, d, [g])\n  return fc(e, [g, C] -> [K])\n"
    )
    assert canvas.parse(stacked).closing_steps(4) == 2


def test_lengths_that_the_kernel_has_not_are_refused():
    kernel = canvas.zoo()["low_rank"]
    assert [kernel.closing_steps(length) for length in (0, len(kernel))] == [2, 0]
    for length in (-1, len(kernel) + 1):
        with pytest.raises(ValueError, match=f"from 0 to {len(kernel)} primitives, got {length}"):
            kernel.closing_steps(length)
