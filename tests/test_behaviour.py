"""Kernels that do the same, whatever they are written as; and searches that ask for none of them twice."""

import itertools

import numpy as np
import pytest

from canvas import Layer, _core, parse, sample, zoo
from canvas.hand_designed import twins

ONE, BOTH = [Layer(64, 64, (8, 8))], [Layer(64, 64, (8, 8)), Layer(64, 128, (8, 8), stride=2)]
POINTWISE = "fc({}, [C] -> [K])"
# What is not proportional where its input is.
CURVED = ("bias", "sigmoid", "tanh", "gelu", "silu", "exp", "sin", "softmax", "norm", "div", "sqrt")


def kernel(*steps: str):
    """Of the steps a, b, ... the last is the result."""
    named = [f"  {name} = {step}\n" for name, step in zip("abcdefgh", steps[:-1], strict=False)]
    return parse(f"kernel k(x[C, H, W]) -> [K, H/s, W/s]:\n{''.join(named)}  return {steps[-1]}\n")


SHIFTED = kernel("shift(x, H: 3, W: 3, over: [C])", "subsample(a, H: s, W: s)", POINTWISE.format("b"))
TRIPLED = kernel(
    "add(x, x)", "add(a, x)", "shift(b, H: 3, W: 3, over: [C])", "subsample(c, H: s, W: s)", POINTWISE.format("d")
)
RECTIFIED = kernel(
    "relu(x)", "add(a, x)", "shift(b, H: 3, W: 3, over: [C])", "subsample(c, H: s, W: s)", POINTWISE.format("d")
)


def test_a_multiple_does_the_same():
    assert _core.behaviour(TRIPLED, BOTH) == _core.behaviour(SHIFTED, BOTH) is not None


def test_what_takes_too_much_to_compute_is_told_apart_by_its_form_alone():
    wide = kernel(
        "unfold(x, H: 7, W: 7)",
        "unfold(a, H: i = 7, W: j = 7)",
        "unfold(b, H: k = 7, W: l = 7)",
        "fc(c, [h, w, i, j, k, l] -> [], per: [C])",
        POINTWISE.format("subsample(d, H: s, W: s)"),
    )
    assert _core.behaviour(wide, ONE) is None


def test_what_is_no_change_where_no_input_is_negative_is_one_elsewhere():
    assert _core.behaviour(RECTIFIED, BOTH) != _core.behaviour(SHIFTED, BOTH)
    assert _core.behaviour(RECTIFIED, BOTH, nonnegative=True) == _core.behaviour(SHIFTED, BOTH, nonnegative=True)


def test_kernels_that_differ_in_some_layers_alone_differ():
    """Two steps before every second position is taken are one step after it, but for layers that take them all."""
    early = kernel("subsample(x, H: s, W: s)", "shift(a, H: 3, W: 3, over: [C])", POINTWISE.format("b"))
    late = kernel(
        "shift(x, H: 3, W: 3, over: [C])",
        "shift(a, H: 3, W: 3, over: [C])",
        "subsample(b, H: s, W: s)",
        POINTWISE.format("c"),
    )
    strided = [BOTH[1]]
    assert _core.behaviour(early, strided) == _core.behaviour(late, strided)
    assert _core.behaviour(early, BOTH) != _core.behaviour(late, BOTH)


def test_sizes_that_are_alike_for_few_channels_alone_differ():
    grouped = (
        "split(a, [C] -> [i = {0}, g = C/{0}])",
        "fc(b, [i] -> [o = {0}*K/C], per: [g])",
        "merge(c, [g, o] -> [K])",
    )
    several = [
        kernel("subsample(x, H: s, W: s)", *(step.format(count) for step in grouped)) for count in (2, 4, 8, 16, 32)
    ]
    dense = kernel("subsample(x, H: s, W: s)", POINTWISE.format("a"))
    found = [_core.behaviour(one, BOTH) for one in (*several, dense) if _core.behaviour(one, BOTH)]
    assert len(found) == len(set(found)) >= 5


def test_all_of_the_zoo_differ():
    convolutions = [one for one in zoo().values() if all(one.serves(layer) for layer in BOTH)]
    found = [known for one in convolutions if (known := _core.behaviour(one, BOTH)) is not None]
    assert len(set(found)) == len(found) > 0.8 * len(convolutions)


def test_a_hand_designed_twin_is_named():
    windows = [
        kernel("fc(x, [C] -> [K])", f"unfold(a, {order})", "subsample(b, H: s, W: s)", "fc(c, [h, w] -> [], per: [K])")
        for order in ("H: 3, W: 3", "W: 3, H: 3")
    ]
    mine = kernel("fc(x, [C] -> [m = C/4])", "unfold(a, H: 3)", "subsample(b, H: s, W: s)", "fc(c, [m, h] -> [K])")
    assert twins([*windows, TRIPLED, RECTIFIED, mine], BOTH) == ["bsconv_u", "bsconv_u", "shift_pointwise", "", ""]
    assert twins([RECTIFIED, mine], BOTH, nonnegative=True) == ["shift_pointwise", ""]


def parameter(shape, random):
    """Numbers that depend on the extents, in whichever order they come; axes as long as each other are exchangeable."""
    order = np.argsort(shape, kind="stable")
    found = random.standard_normal([shape[axis] for axis in order])
    for axis in range(1, found.ndim):
        if found.shape[axis - 1] == found.shape[axis]:
            found = found + found.swapaxes(axis - 1, axis)
    return np.ascontiguousarray(found.transpose(np.argsort(order, kind="stable")))


def outputs(one, layer, seed):
    """Of one image, in units of their norm."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((1, layer.c_in, *layer.spatial))
    given = {name: parameter(shape, random) for name, shape, *_ in one.parameters(layer)}
    y = one.interpret(layer, x, given).ravel()
    return y / np.linalg.norm(y)


def test_kernels_that_do_the_same_on_the_small_layers_do_so_on_others():
    """Of short kernels many do the same; proportional ones need no factor within."""
    kernels = sample(ONE, 300, seed=3, max_primitives=5, concise=False, weights=dict.fromkeys(CURVED, 0))
    alike: dict[int, list] = {}
    for one in kernels:
        if (found := _core.behaviour(one, ONE)) is not None:
            alike.setdefault(found, []).append(one)
    pairs = [pair for group in alike.values() for pair in itertools.pairwise(group)]
    assert len(pairs) >= 10
    large = Layer(32, 64, (9, 9))
    for one, other in pairs:
        first, second = outputs(one, large, 5), outputs(other, large, 5)
        assert min(np.abs(first - second).max(), np.abs(first + second).max()) < 1e-9, f"{one}\n{other}"


@pytest.mark.parametrize("strategy", ["random", "evolution", "guided"])
def test_a_search_asks_for_nothing_twice_but_for_what_is_shorter(strategy):
    def repetitions(distinct):
        search, shortest, found = _core.Search(ONE, strategy=strategy, lookahead=1, distinct=distinct, **limits), {}, 0
        for index in range(60):
            candidate = search.ask()
            known, length = _core.behaviour(candidate.kernel, ONE), len(candidate.kernel.primitives)
            found += known is not None and length >= shortest.get(known, 99)
            shortest[known] = min(length, shortest.get(known, 99))
            search.tell(index, [length, int(candidate.hash[:4], 16) / 65536])
        return found

    limits = {"max_primitives": 5, "concise": False, "seed": 2}
    assert repetitions("result") == 0
    assert strategy == "random" or repetitions("form") > 0


def test_where_nothing_new_is_to_be_found_a_search_goes_on():
    few = {"max_primitives": 3, "min_reach": 1, "full_flow": False, "trainable": False, "concise": False}
    search, seen = _core.Search(ONE, distinct="result", strategy="evolution", seed=1, **few), set()
    for index in range(100):
        candidate = search.ask()
        seen.add(_core.behaviour(candidate.kernel, ONE))
        search.tell(index, [float(index)])
    assert len(seen) < 100


def test_an_unknown_way_to_tell_kernels_apart_is_refused():
    with pytest.raises(ValueError, match="distinct must be 'form', 'result' or 'nonnegative', got 'name'"):
        _core.Search(ONE, distinct="name")
