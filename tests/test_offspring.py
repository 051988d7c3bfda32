"""Kernels made of given ones: completed, mutated and crossed, with all that sampled ones promise."""

import pytest

import canvas
from sampled import FLAT, TOKENS
from shuffling import taken_apart

BUDGET = canvas.Budget(flops=(0.02, 1.0), params=1.0)
NETWORK = [canvas.Layer(16, 16, (8, 8)), canvas.Layer(16, 32, (8, 8), stride=2)]
ZOO = canvas.zoo()
PARENT, OTHER = ZOO["mobilenet"], ZOO["squeeze_excitation"]
MAKERS = {
    "complete": lambda count, **given: canvas.complete(PARENT, 2, NETWORK, count, **given),
    "mutate": lambda count, **given: canvas.mutate(PARENT, NETWORK, count, **given),
    "crossover": lambda count, **given: canvas.crossover(PARENT, OTHER, NETWORK, count, **given),
}


@pytest.mark.parametrize(("make", "least"), list(zip(MAKERS.values(), (35, 35, 4), strict=True)), ids=MAKERS.keys())
def test_offspring_is_canonical_distinct_plausible_and_within_the_budget(make, least):
    kernels = make(40, seed=3, budget=BUDGET, max_primitives=12)
    assert len(kernels) == len({kernel.hash for kernel in kernels}) >= least
    for kernel in kernels:
        assert str(kernel.canonical()) == str(kernel)
        assert canvas.implausible(kernel) is None, kernel
        use = kernel.bind(NETWORK, BUDGET)
        assert use.params <= sum(layer.params for layer in NETWORK)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
def test_the_same_seed_gives_the_same_offspring(make):
    first = [str(kernel) for kernel in make(4, seed=5)]
    assert [str(kernel) for kernel in make(4, seed=5)] == first
    assert [str(kernel) for kernel in make(2, seed=5)] == first[:2]
    assert [str(kernel) for kernel in make(4, seed=6)] != first


def calls(kernel: canvas.Kernel) -> list[str]:
    return [line.primitive for line in taken_apart(str(kernel)).lines]


def test_completions_hold_what_they_begin_with():
    beginning = calls(PARENT)[:2]
    for kernel in canvas.complete(PARENT, 2, list(FLAT), 30, seed=1):
        assert all(name in calls(kernel) for name in beginning), kernel
    whole = canvas.complete(PARENT, len(PARENT), list(FLAT), 3, seed=1, max_primitives=len(PARENT))
    assert [kernel.hash for kernel in whole] == [PARENT.hash]


def test_crossing_brings_together_what_the_parents_have_apart():
    one = canvas.parse(
        "kernel one(x[C, H, W]) -> [K, H/s, W/s]:\n  u = unfold(subsample(tanh(x), H: s, W: s), H: 3, W: 3)\n"
        "  return fc(u, [C, h, w] -> [K])"
    )
    other = canvas.parse(
        "kernel other(x[C, H, W]) -> [K, H/s, W/s]:\n  u = unfold(subsample(x, H: s, W: s), H: 3, W: 3)\n"
        "  return sin(fc(u, [C, h, w] -> [K]))"
    )
    children = canvas.crossover(one, other, list(FLAT), 5)
    assert any({"tanh", "sin"} <= set(calls(child)) for child in children)


def test_sizes_of_one_name_become_one():
    one, other = ZOO["low_rank"], ZOO["tucker"]
    assert len(one.sizes.free) == 1 and len(other.sizes.free) == 2
    for child in canvas.crossover(one, other, NETWORK, 20, max_variables=1):
        assert len(child.sizes.free) <= 1


def test_faults_are_named():
    with pytest.raises(ValueError, match="from 0 to 5 primitives, got 6"):
        canvas.complete(PARENT, 6, NETWORK, 1)
    with pytest.raises(ValueError, match="kernel 'mobilenet' does not serve the layers"):
        canvas.mutate(PARENT, list(TOKENS), 1)
    with pytest.raises(ValueError, match="must not be negative, got -1"):
        canvas.crossover(PARENT, OTHER, NETWORK, -1)
    with pytest.raises(ValueError, match="no limit is called 'depth'"):
        canvas.mutate(PARENT, NETWORK, 1, depth=3)
    with pytest.raises(canvas.Infeasible, match="2000 tries in a row gave no new kernel"):
        canvas.mutate(PARENT, NETWORK, 1, budget=canvas.Budget(flops=1e-9))
