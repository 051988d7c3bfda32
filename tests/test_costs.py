"""Costs are exact for any extents and strides: each axis rounds up by itself, whichever of them a kernel strides.

What is counted symbolically (binding's prices) against what the interpreter counts, what parameters hold, and the same
kernel with height and width exchanged. `fuzz/interpreter.cpp` holds the same laws on kernels of any kind.
"""

import re
from functools import cache
from math import prod

import numpy as np
import pytest
import torch

import canvas
from canvas import Infeasible, Kernel, Layer
from sampled import Case, Sampled, bound_tightly, each, input_shape, output_shape
from shuffling import substituted, taken_apart

# Strides that divide no extent, one of them or all; images of one position, or one row.
PLACES = {
    1: (Layer(8, 12, (9,), stride=2), Layer(12, 8, (1,), stride=2), Layer(4, 8, (7,), stride=3), Layer(8, 8, (5,))),
    2: (
        Layer(8, 12, (5, 7), stride=2),
        Layer(12, 8, (1, 1), stride=2),
        Layer(8, 8, (1, 5), stride=3),
        Layer(4, 8, (7, 4), stride=3),
        Layer(8, 4, (6, 3), stride=2),
        Layer(8, 16, (4, 7), stride=4),
        Layer(8, 8, (3, 5)),
    ),
    3: (Layer(4, 8, (3, 4, 5), stride=2), Layer(8, 4, (1, 2, 3), stride=2), Layer(4, 4, (5, 3, 4), stride=3)),
}
COUNT = {1: 60, 2: 150, 3: 20}
# Strides in turn, repeated, undone, of weights along positions, of one position against another, of a channel axis.
TEXTS = {
    "in_turn": """
  a = relu(subsample(x, W: s))
  b = fold(unfold(a, H: 3), max: [h])
  return fc(subsample(b, H: s), [C] -> [K])""",
    "undone": """
  a = upsample(sigmoid(subsample(x, W: s)), W: s)
  return fc(subsample(mul(x, a), H: s, W: s), [C] -> [K])""",
    "twice": """
  a = fold(abs(subsample(tanh(subsample(x, H: s)), H: s)), mean: [H])
  return fc(subsample(mul(relu(x), a), H: s, W: s), [C] -> [K])""",
    "weights_along_rows": """
  a = fc(subsample(x, W: s), [W] -> [W = W/s])
  return fc(subsample(relu(a), H: s), [C] -> [K])""",
    "columns_against_columns": """
  a = rename(subsample(x, W: s), [W] -> [V = W/s])
  b = softmax(contract(x, a, [C]), [V])
  c = contract(a, relu(b), [V])
  return fc(subsample(c, H: s, W: s), [C] -> [K])""",
    "channels_of_rows": """
  a = fc(subsample(x, H: s), [C] -> [m = H/s])
  b = subsample(relu(a), W: s)
  return fc(softmax(b, [m, W]), [m] -> [K])""",
}
HEAD = "kernel {}(x[C, H, W]) -> [K, H/s, W/s]:"
NOTHING = np.zeros(0)


@cache
def cases() -> tuple[Case, ...]:
    """Each kernel on every place that takes it, without data."""
    found = []
    for dimensions, layers in PLACES.items():
        sampled = canvas.sample(list(layers), COUNT[dimensions], seed=3, weights={"subsample": 4.0})
        for kernel in sampled:
            origin = Sampled(kernel, layers, "sampled, seed 3")
            found += [Case(origin, bound_tightly(kernel, layer), NOTHING, {}) for layer in layers]
    for name, body in TEXTS.items():
        origin = Sampled(canvas.parse(HEAD.format(name) + body), PLACES[2], name)
        for layer in PLACES[2]:
            try:
                found.append(Case(origin, origin.kernel.bind([layer])[0], NOTHING, {}))
            except Infeasible:  # H/s/s is not whole everywhere
                assert name == "twice"
    return tuple(found)


def strides_one_axis(case: Case) -> bool:
    lines = taken_apart(str(case.sampled.kernel)).lines
    return any(line.primitive == "subsample" and line.arguments in (["H: s"], ["W: s"]) for line in lines)


def test_the_kernels_stride_one_axis_where_strides_do_not_divide():
    layers = [case.bound.layer for case in cases() if strides_one_axis(case)]
    assert sum(any(extent % layer.stride for extent in layer.spatial) for layer in layers) > 50
    assert {case.sampled.origin for case in cases()} >= TEXTS.keys()


def test_operations_and_parameters_are_those_that_are_there():
    def check(case: Case) -> None:
        assert case.bound.flops == case.bound.counted_flops()
        assert case.bound.params == sum(prod(logical) for _, logical, _ in case.bound.parameters())

    each(cases(), check)


def exchanged(kernel: Kernel) -> Kernel:
    """Height and width change places in all lines."""
    head, body = str(kernel).split("\n", 1)
    other = {"H": "W", "W": "H", "h": "w", "w": "h"}
    return canvas.parse(head + "\n" + re.sub(r"\b[HWhw]\b", lambda name: other[name[0]], body))


def test_height_and_width_may_change_places():
    """All costs stay, memory with them."""

    def check(case: Case) -> None:
        layer, bound = case.bound.layer, case.bound
        sized = canvas.parse(substituted(case.sampled.kernel, bound.sizes))
        turned = Layer(layer.c_in, layer.c_out, layer.spatial[::-1], stride=layer.stride)
        other = exchanged(sized).bind([turned])[0]
        assert (bound.flops, bound.params, bound.memory) == (other.flops, other.params, other.memory)

    each([case for case in cases() if len(case.bound.layer.spatial) == 2], check)


@pytest.mark.parametrize("axes", ["HW", "WH"])
def test_costs_of_a_small_example(axes):
    """Counted by hand: 3 channels of 5 x 7 positions, of which a stride of 2 along the second axis leaves 5 x 4."""
    first, second = axes
    kernel = canvas.parse(
        "kernel one(x[C, H, W]) -> [K, H/s, W/s]:\n"
        f"  a = subsample(x, {second}: s)\n  b = relu(a)\n  c = subsample(b, {first}: s)\n  return fc(c, [C] -> [K])"
    )
    bound = kernel.bind([Layer(3, 2, (5, 7) if axes == "HW" else (7, 5), stride=2)])[0]
    assert bound.flops == 3 * 5 * 4 + 2 * 3 * 2 * 3 * 4
    assert bound.params == 3 * 2
    assert bound.memory == 4 * (3 * 5 * 7 + 3 * 5 * 4)  # x and a


def test_modules_of_such_kernels_are_what_is_interpreted():
    def check(case: Case) -> None:
        rng = np.random.default_rng(0)
        parameters = {name: rng.standard_normal(logical) for name, logical, _ in case.bound.parameters()}
        case = Case(case.sampled, case.bound, rng.standard_normal(input_shape(case.bound.layer, 2)), parameters)
        assert case.expected.shape == output_shape(case.bound.layer, 2)
        with torch.no_grad():
            np.testing.assert_allclose(case.module()(torch.from_numpy(case.x)), case.expected, rtol=1e-9, atol=1e-9)

    each([case for case in cases() if case.sampled.origin in TEXTS], check)
