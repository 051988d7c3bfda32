"""The laws of kernels, each over several hundred sampled ones: language, canonical form, legality, cost, seeds."""

import os
import random
import re
import subprocess
import sys

import numpy as np
import pytest

import canvas
from canvas import Budget, Layer, _core
from sampled import (
    FLAT,
    SEED,
    SETTINGS,
    Case,
    Sampled,
    cases,
    coverage,
    each,
    input_shape,
    output_shape,
    population,
)
from shuffling import WEIGHTED, Text, entries, shuffled, substituted, taken_apart

SHUFFLES = 4


def test_the_population_holds_every_primitive_and_enough_kernels():
    assert len(population()) >= 300
    used = {name for sampled in population() for name in sampled.kernel.primitives}
    assert used == {primitive["name"] for primitive in canvas.primitives()}
    variables = {len(case.bound.sizes) for case in cases()}
    assert {0, 1, 2} <= variables
    assert sum(max(case.bound.sizes.values(), default=1) > 1 for case in cases()) > 50, "groups and ranks above 1"


def test_the_population_uses_every_attribute_of_every_primitive():
    """Each mode, and each optional attribute given and not given; the table is printed (pytest -rP shows it)."""
    found = coverage()
    expected = set()
    for primitive in canvas.primitives():
        name = primitive["name"]
        optional = re.findall(r"optionally (\w+):", primitive["usage"])
        expected |= {f"{name} {mode}" for mode in primitive["modes"]} or {name} | {f"{name} {key}" for key in optional}
    print(f"{len(population())} kernels; of them use")
    print("\n".join(f"{count:6} {use}" for use, count in sorted(found.items())))
    assert set(found) == expected
    assert min(found.values()) >= 2


def test_what_is_printed_parses_to_the_same_kernel():
    def check(sampled: Sampled) -> None:
        again = canvas.parse(str(sampled.kernel))
        assert str(again) == str(sampled.kernel)
        assert again.hash == sampled.kernel.hash

    each(population(), check)


def test_the_canonical_form_is_its_own():
    def check(sampled: Sampled) -> None:
        form = sampled.kernel.canonical()
        assert str(form.canonical()) == str(form)
        assert form.hash == sampled.kernel.hash
        assert form == sampled.kernel

    each(population(), check)


def test_sampled_kernels_are_canonical_and_distinct():
    def check(sampled: Sampled) -> None:
        assert str(sampled.kernel.canonical()) == str(sampled.kernel)

    each([sampled for sampled in population() if sampled.origin.startswith("'")], check)
    for name in SETTINGS:
        hashes = [sampled.kernel.hash for sampled in population() if sampled.origin.startswith(f"'{name}'")]
        assert len(set(hashes)) == len(hashes)


def test_names_and_order_do_not_matter_to_the_canonical_form():
    """Renamed values, axes and variables, swapped operands, reordered lines, and what the algebra takes away."""

    def check(sampled: Sampled) -> None:
        form = sampled.kernel.canonical()
        for seed in range(SHUFFLES):
            other = str(shuffled(str(form), random.Random(f"{SEED} {seed} {form.hash}")))
            again = canvas.parse(other)
            assert str(again.canonical()) == str(form), f"shuffled as\n{other}gives\n{again.canonical()}"
            assert again.hash == form.hash, other

    each(population(), check)


def axes_of_values(kernel: canvas.Kernel) -> dict[str, list[str]]:
    """The axes of every value but the result in order, as the picture's edges show them."""
    names = ["x", *(line.value for line in taken_apart(str(kernel)).lines)]
    names[0] = re.search(r"\((\w+)", str(kernel))[1]
    found = {}
    for value, axes in re.findall(r'v(\d+) -> v\d+ \[label=" (\[.*?\]) "\]', kernel.dot()):
        found[names[int(value)]] = [re.match(r"\w+", entry)[0] for entry in entries(axes)]
    return found


def parameter_axes(kernel: canvas.Kernel) -> dict[str, list[tuple[str, str]]]:
    """The axes of every parameter by its name, each with the list that it comes from."""
    values = axes_of_values(kernel)
    found = {}
    for line in taken_apart(str(kernel)).lines:
        if line.primitive not in WEIGHTED:
            continue
        lists = {"per": [], "to": []}
        for argument in line.arguments:
            if argument.startswith("per"):
                lists["per"] = entries(argument[len("per: ") :])
            elif "->" in argument:
                lists["from"], lists["to"] = map(entries, argument.split(" -> "))
            else:
                lists["from"] = entries(argument)
        operand = values[line.operands[0]]
        ordered = [("per", axis) for axis in operand if axis in lists["per"]]
        ordered += [("to", re.match(r"\w+", entry)[0]) for entry in lists["to"]]
        found[line.value] = ordered + [("from", axis) for axis in operand if axis in lists["from"]]
    return found


def matched(text: Text, kernel: canvas.Kernel, form: canvas.Kernel, names: dict, values: dict) -> dict:
    """The parameters of `form`, the canonical form of the shuffled `kernel`, as parameters of `kernel`."""
    theirs, ours = parameter_axes(kernel), parameter_axes(form)
    found = {}
    for name, value in values.items():
        renamed = [(kind, text.axes.get(axis, axis)) for kind, axis in ours[name]]
        found[names[name]] = value.transpose([renamed.index(axis) for axis in theirs[names[name]]])
    return found


def test_equal_canonical_forms_give_equal_values():
    def check(sampled: Sampled) -> None:
        form, layer = sampled.kernel.canonical(), sampled.layers[-1]
        # With sizes for the layer put in: what shuffling adds costs something, so others may be the best of the text.
        sized = canvas.parse(substituted(form, form.bind([layer])[0].sizes)).canonical()
        text = shuffled(str(sized), random.Random(f"{SEED} values {form.hash}"))
        kernel = canvas.parse(str(text))
        again, names = kernel.canonical_with_names()
        rng = np.random.default_rng(len(str(text)))
        values = {name: rng.standard_normal(logical) for name, logical, _ in again.parameters(layer)}
        x = rng.standard_normal(input_shape(layer))
        expected = again.interpret(layer, x, values)
        got = kernel.interpret(layer, x, matched(text, kernel, again, names, values))
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max(), err_msg=str(text))

    each(population(), check)


def test_sampled_kernels_bind_to_their_layers_together_and_alone():
    def check(sampled: Sampled) -> None:
        binding = sampled.kernel.bind(list(sampled.layers))
        assert binding.flops == sum(bound.flops for bound in binding)
        assert binding.params == sum(bound.params for bound in binding)
        assert binding.memory == max(bound.memory for bound in binding)
        for layer in sampled.layers:
            assert sampled.kernel.bind([layer])[0].layer == layer

    each(population(), check)


FLAT_NETWORK = [Layer(16, 16, (8, 8), count=2), Layer(16, 32, (8, 8), stride=2), Layer(32, 32, (4, 4))]
TOKEN_NETWORK = [Layer(16, 64, tokens=9, count=2), Layer(64, 16, tokens=9)]


@pytest.mark.parametrize(
    ("layers", "limits"),
    [
        (FLAT_NETWORK, {"flops": 0.5}),
        (FLAT_NETWORK, {"params": (0.1, 0.5)}),
        (FLAT_NETWORK, {"memory": 1.5}),
        (FLAT_NETWORK, {"flops": (0.2, 0.8), "params": 0.6, "memory": 4.0}),
        (TOKEN_NETWORK, {"flops": (0.2, 0.8), "params": 0.6, "memory": 4.0}),
        ([*TOKEN_NETWORK, Layer(16, 16, ())], {"flops": 0.5, "params": (0.1, 0.5)}),
    ],
)
def test_sampled_kernels_fit_their_budget(layers, limits):
    budget = Budget(**limits)
    original = {
        "flops": sum(layer.flops * layer.count for layer in layers),
        "params": sum(layer.params * layer.count for layer in layers),
        "memory": max(layer.memory for layer in layers),
    }
    for kernel in canvas.sample(layers, 75, seed=SEED, budget=budget):
        binding = kernel.bind(layers, budget)
        for name in limits:
            low, high = getattr(budget, name)
            use = getattr(binding, name) / original[name]
            assert low * (1 - 1e-9) <= use <= high * (1 + 1e-9), f"{name} {use}, seed {SEED}\n{kernel}"


def test_what_says_that_it_keeps_its_axes_does():
    keeping = {primitive["name"] for primitive in _core.primitives() if "keeps its axes" in primitive["properties"]}
    seen = set()

    def check(sampled: Sampled) -> None:
        axes = axes_of_values(sampled.kernel)
        for line in taken_apart(str(sampled.kernel)).lines[:-1]:
            if line.primitive not in keeping or line.value not in axes:
                continue
            assert axes[line.value] == axes[line.operands[0]], line
            seen.add(line.primitive)

    each(population(), check)
    assert seen == keeping


def test_shape_operations_and_parameters_are_what_the_interpreter_counts():
    def check(case: Case) -> None:
        assert case.expected.shape == output_shape(case.bound.layer, len(case.x))
        assert case.bound.counted_flops() == case.bound.flops
        assert sum(value.size for value in case.parameters.values()) == case.bound.params

    each(cases(), check)


def test_the_same_seed_gives_the_same_kernels():
    first = [str(kernel) for kernel in canvas.sample(list(FLAT), 60, seed=7)]
    assert [str(kernel) for kernel in canvas.sample(list(FLAT), 60, seed=7)] == first
    assert [str(kernel) for kernel in canvas.sample(list(FLAT), 40, seed=7)] == first[:40]
    assert [str(kernel) for kernel in canvas.sample(list(FLAT), 60, seed=8)] != first


def test_another_process_samples_the_same_kernels():
    program = (
        "import canvas\nlayers = [canvas.Layer(8, 8, (6, 6)), canvas.Layer(8, 16, (6, 4), stride=2)]\n"
        "print(''.join(map(str, canvas.sample(layers, 40, seed=7))))"
    )
    printed = set()
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        run = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        printed.add(run.stdout.strip())
    assert printed == {"".join(map(str, canvas.sample(list(FLAT[:2]), 40, seed=7))).strip()}


def test_made_names_stay_clear_of_the_signatures():
    """The canonical form calls windows h and w and other axes c1, c2; a signature may have these names itself."""
    kernel = canvas.parse(
        "kernel own(x[c1 = C, h = H, w = W]) -> [c2 = K, h = H/s, w = W/s]:\n"
        "  u = unfold(x, h: a = 3, w: b = 3)\n  f = fc(u, [c1, a, b] -> [m = 2*C])\n"
        "  p = subsample(f, h: s, w: s)\n  return fc(p, [m] -> [c2 = K])"
    )
    form = kernel.canonical()
    assert str(form.canonical()) == str(form)
    assert form.hash == kernel.hash
