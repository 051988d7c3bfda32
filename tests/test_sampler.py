"""The sampler's list: the same on any number of threads and in any parts; and what becomes of its tries."""

import pytest

import canvas

LAYERS = [
    canvas.Layer(64, 64, (32, 32), count=4),
    canvas.Layer(64, 128, (32, 32), stride=2),
    canvas.Layer(128, 128, (16, 16), count=3),
]
ODD = [canvas.Layer(48, 96, (7, 9), stride=2), canvas.Layer(96, 96, (4, 5))]  # strides that do not divide
TOKENS = [canvas.Layer(96, 384, tokens=50), canvas.Layer(384, 96, tokens=50)]
BUDGET = canvas.Budget(flops=(0.02, 1.0), params=1.0)
NETWORKS = {
    "conv": LAYERS,
    "odd": ODD,
    "tokens": TOKENS,
    "linear": [canvas.Layer(96, 384, ()), canvas.Layer(384, 96, ())],
    "line": [canvas.Layer(16, 24, (30,), stride=3), canvas.Layer(24, 24, (10,), count=2)],
    "solid": [canvas.Layer(8, 8, (6, 6, 6)), canvas.Layer(8, 16, (6, 6, 6), stride=2)],
}
ANYTHING = {"min_reach": 1, "min_weighted": 0, "concise": False, "full_flow": False, "live": False, "trainable": False}
SETTINGS = {
    "usual": {},
    "anything legal": ANYTHING,
    "short": {"max_primitives": 6},
    "narrow": {"max_width": 1, "max_variables": 0},
    "few weighted": {"max_weighted": 2},
    "many weighted": {"min_weighted": 3},
    "few primitives": {"weights": {"split": 0.0, "shift": 0.0, "fold": 0.0, "mul": 0.0}},
}
LEAST_GOOD = 0.99  # of the tries that are no duplicates


def hashes(kernels: list[canvas.Kernel]) -> list[str]:
    return [kernel.hash for kernel in kernels]


@pytest.mark.parametrize("network", NETWORKS)
def test_threads_and_parts_change_nothing(network):
    layers = NETWORKS[network]
    expected = hashes(canvas.sample(layers, 150, seed=5, budget=BUDGET))
    assert hashes(canvas.sample(layers, 150, seed=5, budget=BUDGET, threads=3)) == expected
    parts = canvas.Samples(layers, seed=5, budget=BUDGET, threads=2)
    assert hashes([kernel for count in (0, 1, 40, 109) for kernel in parts.take(count)]) == expected
    assert hashes(canvas.sample(layers, 20, seed=6, budget=BUDGET)) != expected[:20]


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_every_kernel_fits_and_hardly_a_try_is_wasted(network, setting):
    limits = {"max_primitives": 12, **SETTINGS[setting]}
    samples = canvas.Samples(NETWORKS[network], seed=1, budget=BUDGET, **limits)
    kernels = samples.take(400)
    assert len({kernel.hash for kernel in kernels}) == 400
    for kernel in kernels[:100]:
        kernel.bind(NETWORKS[network], BUDGET)
        assert canvas.implausible(kernel, **{**limits, "concise": False}) is None  # that is asked of what was grown
    counts = samples.counts
    assert counts["tried"] == sum(count for fate, count in counts.items() if fate != "tried")
    assert counts["implausible"] == sum(samples.reasons.values())
    assert counts["illegal"] == 0
    assert counts["kept"] >= LEAST_GOOD * (counts["tried"] - counts["duplicate"]), (counts, samples.reasons)


def test_ends_that_are_taken_back_are_counted():
    samples = canvas.Samples(ODD, seed=1, budget=BUDGET, max_primitives=12)
    samples.take(400)
    assert sum(samples.taken_back.values()) >= 8 * (samples.counts["implausible"] + samples.counts["over_budget"])
    assert samples.taken_back["its canonical form is too long"] > 0
    assert samples.taken_back["over_budget"] > 0


def test_an_end_of_the_space_loses_nothing_that_came_before():
    few = ("fc", "merge", "add", "mul", "subsample", "unfold")
    limits = {"max_primitives": 3, "weights": {p["name"]: float(p["name"] in few) for p in canvas.primitives()}}
    samples = canvas.Samples(LAYERS, seed=1, **limits)
    with pytest.raises(canvas.Infeasible, match="2000 tries in a row"):
        samples.take(10**6)
    listed = {kernel.hash for kernel in canvas.enumerate_kernels(LAYERS, **limits)}
    assert {kernel.hash for kernel in samples.take(len(listed))} == listed


def test_lengths_are_spread():
    kernels = canvas.sample(LAYERS, 400, seed=2, budget=BUDGET, max_primitives=12)
    lengths = [len(kernel) for kernel in kernels]
    assert sum(length >= 9 for length in lengths) > 100
    assert sum(length <= 6 for length in lengths) > 40


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"threads": 0}, "at least one thread, got 0"), ({"count": -1}, "must not be negative, got -1")],
)
def test_bad_arguments_are_value_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        canvas.sample(LAYERS, **{"count": 1, **arguments})
