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
NETWORKS = {"conv": LAYERS, "odd": ODD, "tokens": TOKENS}
LEAST_KEPT = {"conv": 0.88, "odd": 0.75, "tokens": 0.5}  # a mix of all channels takes all of a linear layer's budget


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
def test_every_kernel_fits_and_few_tries_are_wasted(network):
    samples = canvas.Samples(NETWORKS[network], seed=1, budget=BUDGET, max_primitives=12)
    kernels = samples.take(200)
    assert len({kernel.hash for kernel in kernels}) == 200
    for kernel in kernels:
        kernel.bind(NETWORKS[network], BUDGET)
        assert canvas.implausible(kernel, concise=False) is None  # that is asked of what was grown
    counts = samples.counts
    assert counts["tried"] == sum(count for fate, count in counts.items() if fate != "tried")
    assert counts["implausible"] == sum(samples.reasons.values())
    assert counts["illegal"] == 0
    assert counts["kept"] > LEAST_KEPT[network] * counts["tried"], (counts, samples.reasons)


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
