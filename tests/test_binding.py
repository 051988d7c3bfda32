"""Binding against a brute-force oracle: every combination of values is written into the text as numbers, and bound."""

import itertools
import math
import pickle
import random
import re

import pytest

import canvas
from canvas import Budget, Infeasible, Kernel, Layer
from sampled import SEED, population
from shuffling import substituted

COSTS = ("flops", "params", "memory")
PARTS = {"fire", "ghost", "inception_next", "mixconv", "octave"}  # of the zoo; need two parts of channels, or three
MOST = 12  # channels in the oracle's networks, hence the largest value of a variable


def total(layers: list[Layer]) -> dict[str, float]:
    return {
        "flops": sum(layer.flops * layer.count for layer in layers),
        "params": sum(layer.params * layer.count for layer in layers),
        "memory": max(layer.memory for layer in layers),
    }


def uses(kernel: Kernel, layers: list[Layer]) -> dict[tuple[int, ...], dict[str, float]]:
    """What the kernel uses of each cost, for every legal combination of its variables' values."""
    names = sorted(kernel.bind([Layer(720, 720, (4,) * len(layers[0].spatial))])[0].sizes)
    original = total(layers)
    found = {}
    for values in itertools.product(range(1, MOST + 1), repeat=len(names)):
        chosen = dict(zip(names, values, strict=True))
        try:
            binding = canvas.parse(substituted(kernel, chosen)).bind(layers)
        except ValueError:
            continue
        found[values] = {cost: getattr(binding, cost) / original[cost] for cost in COSTS}
    return found


def misses(use: dict[str, float], budget: Budget) -> dict[str, float]:
    """By which factor each cost is outside its range; 1 inside."""
    found = {}
    for cost in COSTS:
        if (limits := getattr(budget, cost)) is not None:
            low, high = limits
            found[cost] = max(1.0, use[cost] / high, low / use[cost] if use[cost] else math.inf)
    return found


def capacity(use: dict[str, float]) -> float:
    return math.sqrt(use["flops"] * use["params"])


def random_network(rng: random.Random) -> list[Layer]:
    channels = rng.choice([(4, 8, 12), (6, 12), (8, 4), (12, 9, 6)])
    return [
        Layer(
            rng.choice(channels),
            rng.choice(channels),
            (rng.randint(3, 7), rng.randint(3, 7)),
            rng.choice([1, 1, 2]),
            count=rng.randint(1, 3),
        )
        for _ in range(rng.randint(1, 3))
    ]


def random_budget(rng: random.Random) -> Budget:
    limits = {}
    for cost in rng.sample(COSTS, rng.randint(1, 3)):
        high = math.exp(rng.uniform(-2, 2)) * (4 if cost == "memory" else 1)
        limits[cost] = (high * rng.uniform(0, 0.8), high) if rng.random() < 0.2 else high
    return Budget(**limits)


def check_against_oracle(kernel: Kernel, layers: list[Layer], budget: Budget, found: dict) -> bool:
    """Whether it binds; fails where it is not what the oracle says."""
    legal = [use for use in found.values() if max(misses(use, budget).values()) <= 1]
    try:
        binding = kernel.bind(layers, budget, share="network")
    except Infeasible as error:
        assert not legal, f"{error}, but these fit: {legal}"
        if not found:
            return False
        cost, factor = re.search(r"budget (\w+) .* by a factor of ([\d.e+]+)", str(error)).groups()
        nearest = min(max(misses(use, budget).values()) for use in found.values())
        assert float(factor) == pytest.approx(nearest, rel=0.01), "the nearest miss"
        assert any(misses(use, budget)[cost] == pytest.approx(nearest) for use in found.values()), cost
        return False
    use = {cost: getattr(binding, cost) / total(layers)[cost] for cost in COSTS}
    assert legal, f"bound to {use}, the oracle finds nothing"
    assert max(misses(use, budget).values()) <= 1 + 1e-9
    assert capacity(use) == pytest.approx(max(map(capacity, legal)), rel=1e-9)
    chosen = tuple(size for _, size in sorted(binding[0].sizes.items()))
    assert all(bound.sizes == binding[0].sizes for bound in binding), "one value for the whole network"
    assert capacity(found[chosen]) == pytest.approx(capacity(use))
    return True


def test_bind_finds_the_optimum_or_says_truly_why_there_is_none():
    rng = random.Random(SEED)
    bound = refused = 0
    flat = [s.kernel for s in population() if len(s.layers[0].spatial) == 2]
    by_variables = {1: [], 2: []}
    for kernel in flat:
        by_variables.get(len(kernel.bind([Layer(720, 720, (4, 4))])[0].sizes), []).append(kernel)
    chosen = by_variables[1][:60] + by_variables[2][:20]
    assert len(by_variables[2]) >= 8
    for kernel in chosen:
        layers = random_network(rng)
        found = uses(kernel, layers)
        for _ in range(4):
            budget = random_budget(rng)
            try:
                fits = check_against_oracle(kernel, layers, budget, found)
            except AssertionError as error:
                limits = {cost: getattr(budget, cost) for cost in COSTS}
                raise AssertionError(f"{error}\nseed {SEED}, {layers}, {limits}\n{kernel}") from error
            bound, refused = bound + fits, refused + (not fits)
    assert bound > 50
    assert refused > 50


def test_what_is_infeasible_fits_once_the_budget_is_raised_by_the_factor_named():
    layers = [Layer(64, 64, (8, 8)), Layer(64, 128, (8, 8), stride=2)]
    for kernel in canvas.zoo().values():
        if not kernel.serves(layers[0]):
            continue
        with pytest.raises(Infeasible, match=r"budget (flops|params) must be at most 0\.001 of the original") as caught:
            kernel.bind(layers, Budget(flops=0.001, params=0.001))
        factor = float(re.search(r"raise the budget by a factor of ([\d.e+]+)", str(caught.value))[1]) * 1.01
        assert kernel.bind(layers, Budget(flops=0.001 * factor, params=0.001 * factor))
        with pytest.raises(Infeasible):
            kernel.bind(layers, Budget(flops=0.001 * factor * 0.98, params=0.001 * factor * 0.98))


def test_a_floor_that_nothing_reaches_is_named_as_such():
    with pytest.raises(
        Infeasible, match=r"flops must be at least 5 of the original, .*; lower that floor by a factor of"
    ):
        canvas.zoo()["depthwise_separable"].bind([Layer(8, 8)], Budget(flops=(5, 6)))


def test_the_reason_names_the_layer_or_variable_when_sizes_cannot_be_whole():
    shuffle = canvas.zoo()["grouped_shuffle"]
    assert shuffle.bind([Layer(7, 13)])[0].sizes == {"g": 1}
    fixed = canvas.parse(
        "kernel four(x[C, H, W]) -> [K, H/s, W/s]:\n  a = split(x, [C] -> [g = 4, c = C/4])\n"
        "  p = subsample(a, H: s, W: s)\n  return fc(p, [g, c] -> [K])"
    )
    with pytest.raises(Infeasible, match=r"C/4 on the layer 7 -> 13, 32x32, stride 1"):
        fixed.bind([Layer(8, 8), Layer(7, 13)])


@pytest.mark.parametrize("channels", [(7, 13), (13, 7), (31, 31), (1, 1), (1, 2)])
def test_prime_channels_bind_with_what_divides_them(channels):
    layer = Layer(*channels, (5, 3))
    for name, kernel in canvas.zoo().items():
        if name in PARTS or not kernel.serves(layer):
            continue
        bound = kernel.bind([layer])[0]
        assert bound.params > 0, name
        assert bound.counted_flops() == bound.flops


@pytest.mark.parametrize(
    "arguments",
    [
        {"c_in": 0}, {"c_out": -1}, {"c_in": 2**40}, {"spatial": (0, 4)}, {"spatial": (2,) * 4},
        {"spatial": (), "stride": 2}, {"spatial": (), "window": 3}, {"spatial": (), "groups": 3},
        {"tokens": -1}, {"tokens": 2**40}, {"tokens": 5, "spatial": (4,)}, {"tokens": 5, "stride": 2},
        {"spatial": (2**40,)},
        {"stride": 0}, {"window": 2}, {"window": -3}, {"groups": 3}, {"groups": 0}, {"count": 0}, {"count": -(2**40)},
    ],
)  # fmt: skip
def test_a_bad_layer_is_a_value_error(arguments):
    with pytest.raises(ValueError, match=r"a layer.*got"):
        Layer(**{"c_in": 8, "c_out": 8, **arguments})


@pytest.mark.parametrize(
    "limit", [0, -1, math.nan, math.inf, -math.inf, (0.5, 0.1), (-0.1, 0.5), (math.nan, 1), (0, 0)]
)
@pytest.mark.parametrize("cost", [*COSTS, "latency"])
def test_a_bad_budget_is_a_value_error_that_names_it(cost, limit):
    with pytest.raises(ValueError, match=f"budget {cost} must be a positive fraction"):
        Budget(**{cost: limit})


def test_a_huge_budget_is_no_limit():
    kernel, layer = canvas.zoo()["low_rank"], Layer(8, 8)
    assert kernel.bind([layer], Budget(flops=2.0**40)).flops == kernel.bind([layer]).flops


def test_costs_of_huge_layers_do_not_wrap():
    layer = Layer(2**31, 2**31, (2**31,) * 3)
    assert layer.flops == pytest.approx(2 * 27 * 2.0**155)
    assert layer.params == 27 * 2**62
    with pytest.raises(Infeasible):
        canvas.zoo()["dense"].bind([Layer(2**31, 2**31, (2**20, 2**20))])
    with pytest.raises(Infeasible):
        canvas.zoo()["dense"].bind([Layer(2**31, 2**31, (32, 32))], Budget(flops=0.5))


def test_no_layers_and_layers_of_other_dimensions_are_errors():
    dense = canvas.zoo()["dense"]
    with pytest.raises(ValueError, match="at least one layer"):
        dense.bind([])
    for layer in (Layer(8, 8, (16,)), Layer(8, 8, ()), Layer(8, 8, tokens=4)):
        assert not dense.serves(layer)
        with pytest.raises(Infeasible, match="layers") as caught:
            dense.bind([Layer(8, 8), layer])
    assert str(caught.value) == (
        "kernel 'dense': bind: layers that a kernel (x[C, H, W]) -> [K, H/s, W/s] serves, got the layer 8 -> 8,"
        " 4 tokens, which needs (x[T, C]) -> [T, K]; leave out the layers for which kernel.serves(layer) is false"
    )


LINEAR, TOKENS = Layer(8, 4, ()), Layer(8, 4, tokens=3)
LINE, FLAT, SOLID = ((Layer(8, 4, (5, 6, 7)[:n]), Layer(8, 4, (5, 6, 7)[:n], 2)) for n in (1, 2, 3))


@pytest.mark.parametrize(
    ("signature", "body", "layers"),
    [
        ("(x[C]) -> [K]", "fc(x, [C] -> [K])", [LINEAR, TOKENS]),
        ("(x[T, C]) -> [T, K]", "fc(x, [C] -> [K])", [TOKENS]),
        ("(x[C, T]) -> [K, T]", "fc(x, [C] -> [K])", []),  # tokens come first
        ("(x[T, C]) -> [K, T]", "fc(x, [C] -> [K])", []),
        ("(x[C, W]) -> [K, W/s]", "fc(subsample(x, W: s), [C] -> [K])", LINE),
        ("(x[C, W]) -> [K, W]", "fc(x, [C] -> [K])", LINE[:1]),
        ("(x[C, H]) -> [K, H/s]", "fc(subsample(x, H: s), [C] -> [K])", []),  # one extent is W
        ("(x[a = C, b = W]) -> [c = K, b = W/s]", "fc(subsample(x, b: s), [a] -> [c = K])", LINE),
        ("(x[C, H, W]) -> [K, H/s, W/s]", "fc(subsample(x, H: s, W: s), [C] -> [K])", FLAT),
        ("(x[C, W, H]) -> [K, W/s, H/s]", "fc(subsample(x, H: s, W: s), [C] -> [K])", []),
        ("(x[C, D, H, W]) -> [K, D/s, H/s, W/s]", "fc(subsample(x, D: s, H: s, W: s), [C] -> [K])", SOLID),
    ],
)
def test_which_layers_a_signature_serves(signature, body, layers):
    kernel = canvas.parse(f"kernel k{signature}:\n  return {body}")
    for layer in (LINEAR, TOKENS, *LINE, *FLAT, *SOLID):
        assert kernel.serves(layer) == (layer in layers), layer
        if layer in layers:
            assert kernel.bind([layer]).params == 8 * 4
        else:
            with pytest.raises(Infeasible, match="bind: layers that a kernel"):
                kernel.bind([layer])


def test_costs_of_linear_layers_and_tokens():
    linear = canvas.parse("kernel l(x[C]) -> [K]:\n  return fc(x, [C] -> [K])")
    mixer = canvas.parse("kernel m(x[T, C]) -> [T, K]:\n  return fc(x, [C] -> [K])")
    alone, tokens = Layer(6, 10, ()), Layer(6, 10, tokens=7, count=2)
    assert (alone.flops, alone.params, alone.memory) == (120, 60, 4 * 16)
    assert (tokens.flops, tokens.params, tokens.memory) == (7 * 120, 60, 7 * 4 * 16)
    for kernel in (linear, mixer):
        binding = kernel.bind([tokens])
        assert (binding.flops, binding.params, binding.memory) == (2 * 7 * 120, 2 * 60, tokens.memory)
        assert binding[0].counted_flops() == binding[0].flops == tokens.flops
    assert linear.bind([alone, tokens]).flops == alone.flops + 2 * tokens.flops
    with pytest.raises(Infeasible, match=r"the layer 6 -> 10, which needs \(x\[C\]\) -> \[K\]"):
        mixer.bind([alone])


@pytest.mark.parametrize("layer", [Layer(8, 4), Layer(8, 4, (5,), 2), Layer(8, 4, ()), Layer(8, 4, tokens=5, count=3)])
def test_a_layer_is_its_repr_and_survives_pickling(layer):
    assert eval(repr(layer)) == layer == pickle.loads(pickle.dumps(layer))
    assert hash(eval(repr(layer))) == hash(layer)


def test_layers_of_one_and_three_dimensions():
    line = canvas.parse(
        "kernel line(x[C, W]) -> [K, W/s]:\n  u = unfold(x, W: 3)\n"
        "  p = subsample(u, W: s)\n  return fc(p, [C, w] -> [K])"
    )
    layer = Layer(6, 10, (9,), stride=2)
    assert line.bind([layer]).flops == layer.flops == 2 * 6 * 10 * 3 * 5
    assert line.bind([layer]).params == layer.params
    solid = canvas.parse(
        "kernel solid(x[C, D, H, W]) -> [K, D/s, H/s, W/s]:\n  u = unfold(x, D: 3, H: 3, W: 3)\n"
        "  p = subsample(u, D: s, H: s, W: s)\n  return fc(p, [C, d, h, w] -> [K])"
    )
    layer = Layer(4, 6, (3, 5, 4), stride=2, count=3)
    assert solid.bind([layer]).flops == 3 * layer.flops
    assert solid.bind([layer])[0].params == layer.params


def test_windows_that_only_a_contraction_reads_take_no_memory():
    layer = canvas.Layer(16, 16, (8, 8), stride=2)

    def memory(body: str) -> int:
        text = f"kernel k(x[C, H, W]) -> [K, H/s, W/s]:\n  u = unfold(x, H: 3, W: 3)\n  {body}\n"
        return canvas.parse(text).bind([layer]).memory

    contracted = memory("return fc(subsample(u, H: s, W: s), [C, h, w] -> [K])")
    assert contracted == 4 * (16 * 8 * 8 + 16 * 4 * 4)  # the input and the result
    summed = memory("return fc(fold(subsample(u, H: s, W: s), sum: [h, w]), [C] -> [K])")
    assert summed == 4 * (9 * 16 * 8 * 8 + 9 * 16 * 4 * 4)  # all windows, and those that are kept
