"""Each lowering rule keeps the interpreter's value by itself, and fires: on its example, and on sampled kernels."""

import importlib.util
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from canvas import Layer, _core, parse
from canvas.kernel import module_from_source
from sampled import Case, cases, each, one_each

RULES = {rule["name"]: rule for rule in _core.lowering_rules()}
MOST = 12  # sampled kernels for each rule

spec = importlib.util.spec_from_file_location(
    "lowering_reference", Path(__file__).resolve().parents[1] / "tools" / "lowering_reference.py"
)
assert spec and spec.loader
reference = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference)


def error(bound, x, parameters, expected, rules) -> float:
    """Of the module emitted with these rules alone, against the interpreter; relative to the largest value."""
    source = bound.source(rules)
    module = module_from_source(source).double()
    own = dict(module.named_parameters())
    assert set(own) == set(parameters)
    with torch.no_grad():
        for name, value in parameters.items():
            own[name].copy_(torch.from_numpy(value.reshape(tuple(own[name].shape))))
        got = module(torch.from_numpy(x)).numpy()
    assert got.shape == expected.shape, source
    return float(np.abs(got - expected).max() / max(1e-30, np.abs(expected).max()))


@cache
def firing() -> dict[str, list[Case]]:
    """The sampled kernels on which each rule fires while all are applied; for some rules there are none."""
    found: dict[str, list[Case]] = {name: [] for name in RULES}
    for case in one_each():
        for name in case.bound.lowering_counts():
            found[name].append(case)
    return found


def instance(name: str, seed: int) -> tuple[str, Layer]:
    """The example of a rule with windows of other sizes, and a layer; both as they are for seed 0."""
    text = reference.kernel_text(RULES[name])
    if seed == 0:
        return text, Layer(8, 8, (7, 5))
    rng = np.random.default_rng(seed)
    high, wide = rng.choice([1, 3, 5], 2)
    for part, size in (("H: 3", high), ("h = 3", high), ("W: 3", wide), ("w = 3", wide)):
        text = text.replace(part, part[:-1] + str(size))
    text = text.replace("t = 9", f"t = {high * wide}").replace("C*9", f"C*{high * wide}")
    c_in, c_out = rng.choice([8, 12, 16], 2)
    extents = rng.integers(3, 9, 2)
    return text, Layer(int(c_in), int(c_out), tuple(map(int, extents)), stride=int(rng.integers(1, 3)))


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("seed", range(6))
def test_each_rule_fires_on_its_example_and_keeps_its_value(name, seed):
    text, layer = instance(name, seed)
    bound = parse(text).bind([layer])[0]
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, layer.c_in, *layer.spatial))
    parameters = {key: rng.standard_normal(shape) for key, shape, _ in bound.parameters()}
    expected = bound.interpret(x, parameters)
    assert bound.lowering_counts([name]).get(name, 0) >= 1
    assert bound.lowering_counts([]) == {}
    for rules in ([], [name], None):
        assert error(bound, x, parameters, expected, rules) <= 1e-11, rules


@pytest.mark.parametrize("name", RULES)
def test_each_rule_alone_keeps_the_value_of_sampled_kernels(name):

    def check(case: Case) -> None:
        for rules in ([name], [other for other in RULES if other != name]):
            assert error(case.bound, case.x, case.parameters, case.expected, rules) <= 1e-9, (rules, case.source)

    each(firing()[name][:MOST], check)


def test_direct_emission_computes_what_the_interpreter_does():
    def check(case: Case) -> None:
        assert error(case.bound, case.x, case.parameters, case.expected, []) <= 1e-9, case.bound.source([])

    each(cases()[::7], check)


@pytest.mark.parametrize("steps", [3, 9, 12])
def test_a_long_chain_of_contractions_is_shortened(steps):
    names = ["C", *(f"m{step}" for step in range(1, steps)), "K"]
    made = ["", *(f"m{step} = 32*C" for step in range(1, steps)), "K"]
    lines = [f"  y{i} = fc(y{i - 1}, [{names[i - 1]}] -> [{made[i]}])" for i in range(1, steps + 1)]
    text = "kernel k(x[C, H, W]) -> [K, H/s, W/s]:\n  y0 = subsample(x, H: s, W: s)\n" + "\n".join(lines)
    bound = parse(f"{text}\n  return y{steps}\n").bind([Layer(2, 3, (4, 4))])[0]
    rng = np.random.default_rng(steps)
    x = rng.standard_normal((2, 2, 4, 4))
    parameters = {key: rng.standard_normal(shape) / 8 for key, shape, _ in bound.parameters()}
    source = bound.source(["contract_order"])
    assert source.count("einsum") + source.count("matmul") >= steps - 1, source  # products of parameters, then one of x
    assert error(bound, x, parameters, bound.interpret(x, parameters), ["contract_order"]) <= 1e-11


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match=r"there is no lowering rule 'fuse_all'; see docs/lowering\.md"):
        parse(reference.kernel_text(RULES["taps"])).source(Layer(8, 8, (6, 6)), rules=["fuse_all"])


def test_a_module_can_be_emitted_directly():
    kernel = parse(reference.kernel_text(RULES["convolution"]))
    torch.manual_seed(0)
    lowered, direct = kernel.module(Layer(8, 8)), kernel.module(Layer(8, 8), lower=False)
    assert "F.conv2d(x, self.result, padding=1)" in type(lowered).source
    assert "torch.stack" in type(direct).source and "padding=1" not in type(direct).source


# Bodies of kernels x[C, H, W] -> [K, H/s, W/s], and what their emitted text must and must not contain.
SHAPES = {
    "a window and its centre added": (
        "  v = subsample(x, H: s, W: s)\n  return fc(add(unfold(v, H: 3, W: 3), v), [C, h, w] -> [K])",
        ["padding=1"],
        ["stack", "for i"],
    ),
    "a bias on windows": (
        "  u = bias(unfold(subsample(x, H: s, W: s), H: 3, W: 3), [C])\n  return fc(u, [C, h, w] -> [K])",
        ["padding=1"],
        ["stack", "for i"],
    ),
    "the mean of a window and its centre": (
        "  v = subsample(x, H: s, W: s)\n  return fc(fold(add(unfold(v, H: 3, W: 3), v), mean: [h, w]), [C] -> [K])",
        ["F.avg_pool2d"],
        ["stack", "for i"],
    ),
    "the maximum of a window less its centre": (
        "  v = subsample(x, H: s, W: s)\n  return fc(fold(sub(unfold(v, H: 3, W: 3), v), max: [h, w]), [C] -> [K])",
        ["F.max_pool2d"],
        ["stack", "for i"],
    ),
    "a function of windows": (
        "  v = subsample(x, H: s, W: s)\n  u = relu(sub(unfold(v, H: 3, W: 3), v))\n  return fc(u, [C, h, w] -> [K])",
        ["for i in range(3) for j in range(3)", "F.conv2d"],
        ["stack"],
    ),
    "windows scaled by what is around": (
        "  v = subsample(x, H: s, W: s)\n  return fc(mul(unfold(v, H: 3, W: 3), fold(v, mean: [C])), [C, h, w] -> [K])",
        ["padding=1"],
        ["stack", "for i"],
    ),
    "a window and a shift of it": (
        "  u = unfold(relu(subsample(x, H: s, W: s)), W: 3)\n  return fc(add(u, shift(u, H: 1)), [C, w] -> [K])",
        ["F.conv2d"],
        ["stack", "for i"],
    ),
    "a shift of windows less others of an image": (
        "  v = fold(subsample(x, H: s, W: s), mean: [H])\n  u = unfold(subsample(x, H: s, W: s), W: 3)\n"
        "  return fc(sub(shift(u, H: 1), unfold(v, W: 3)), [C, w] -> [K])",
        ["F.conv2d"],
        ["stack", "for i"],
    ),
    "windows of which one axis is contracted": (
        "  u = unfold(relu(subsample(x, H: s, W: s)), H: 3, W: 3)\n"
        "  return fc(mul(fc(u, [w] -> [], per: [C]), u), [C, h, w] -> [K])",
        ["groups=32"],
        ["stack"],
    ),
    "merged windows added more than once": (
        "  v = subsample(x, H: s, W: s)\n  u = merge(unfold(v, H: 3, W: 3), [h, w] -> [t = 9])\n"
        "  return fc(add(add(v, u), u), [C, t] -> [K])",
        ["padding=1"],
        ["stack", "for i", "flatten"],
    ),
    "the maximum along one axis": (
        "  v = subsample(x, H: s, W: s)\n  return fc(fold(unfold(v, W: 3), max: [w]), [C] -> [K])",
        ["F.max_pool2d(", "(1, 3)"],
        ["stack", "flatten"],
    ),
    "a product of windows summed over channels": (
        "  u = unfold(subsample(x, H: s, W: s), H: 3, W: 3)\n  return fc(contract(relu(u), u, [C]), [h, w] -> [K])",
        ["padding=1"],
        ["stack", "for i"],
    ),
    "weights of each image": (
        "  f = fc(fold(x, mean: [H, W]), [C] -> [K, C, h = 3, w = 3])\n"
        "  return contract(unfold(subsample(x, H: s, W: s), H: 3, W: 3), f, [C, h, w])",
        ["groups=x.shape[0]"],
        ["stack", "for i", "einsum"],
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_no_window_is_stored_where_arithmetic_can_do_without(name):
    body, wanted, unwanted = SHAPES[name]
    kernel = parse(f"kernel k(x[C, H, W]) -> [K, H/s, W/s]:\n{body}\n")
    source = kernel.source(Layer(32, 32, (8, 8)))
    forward = source[source.index("def forward") :]
    assert all(text in forward for text in wanted), forward
    assert not any(text in forward for text in unwanted), forward
    rng = np.random.default_rng(0)
    for stride in (1, 2):
        bound = kernel.bind([Layer(6, 5, (7, 4), stride)])[0]
        x, parameters = rng.standard_normal((2, 6, 7, 4)), {}
        for key, shape, _ in bound.parameters():
            parameters[key] = rng.standard_normal(shape)
        assert error(bound, x, parameters, bound.interpret(x, parameters), None) <= 1e-11


def test_a_neighbourhood_shift_is_made_once_for_all_that_read_it():
    kernel = parse(
        "kernel k(x[C, H, W]) -> [K, H/s, W/s]:\n  t = shift(x, H: 3, W: 3, over: [C])\n"
        "  return fc(mul(subsample(t, H: s, W: s), fold(t, mean: [H, W])), [C] -> [K])"
    )
    assert kernel.source(Layer(32, 32, (8, 8))).count("groups=32") == 1


# What makes a value of `x` and changes nothing, and for which strides of the layer.
NOTHING = {
    "a stride of 1": ("upsample(subsample(x, H: s, W: s), H: s, W: s)", [1]),
    "a stride of 1 along one axis of two": ("upsample(subsample(upsample(x, H: 2), H: 2, W: s), W: s)", [1]),
    "a stride of what was repeated": ("subsample(upsample(x, H: 2, W: 3), W: 3, H: 2)", [1, 2]),
    "a merge of what was split": ("merge(split(x, [C] -> [g9 = 4, c9 = C/4]), [g9, c9] -> [C])", [1, 2]),
    "a split of what was merged": ("split(merge(x, [H, W] -> [q9 = H*W]), [q9] -> [H, W])", [1, 2]),
    "one after the other": (
        "upsample(merge(split(subsample(x, W: s), [C] -> [g9 = 4, c9 = C/4]), [g9, c9] -> [C]), W: s)",
        [1],
    ),
}


def numbered(source: str) -> str:
    """The code of a module, its values numbered as they come."""
    code = source[source.index("def __init__") :]
    numbers: dict[str, int] = {}
    return re.sub(r"\bv\d+", lambda found: f"v{numbers.setdefault(found[0], len(numbers))}", code)


@pytest.mark.parametrize("name", NOTHING)
def test_what_changes_nothing_is_not_emitted(name):
    made, strides = NOTHING[name]
    bodies = [body for body, _, _ in SHAPES.values()]
    bodies += [reference.kernel_text(rule).split("\n", 1)[1] for rule in RULES.values()]
    head = "kernel k(x[C, H, W]) -> [K, H/s, W/s]:\n"
    for body in bodies:
        inside = re.sub(r"\bx\b", "v9", body)
        texts = [f"{head}{body}\n", f"{head}  v9 = {made}\n{inside}\n"]
        for stride in strides:
            plain, other = (numbered(parse(text).source(Layer(8, 8, (8, 6), stride))) for text in texts)
            assert plain == other, body


def test_what_changes_something_is_emitted():
    for line in (
        "upsample(subsample(x, H: 2), H: 2)",
        "shift(shift(x, H: 1), H: -1)",
        "split(merge(x, [H, W] -> [q = H*W]), [q] -> [W, H])",
    ):
        text = f"kernel k(x[C, H, W]) -> [K, H/s, W/s]:\n  v = {line}\n"
        text += "  return fc(subsample(v, H: s, W: s), [C] -> [K])\n"
        bound = parse(text).bind([Layer(4, 4, (4, 4), stride=2)])[0]
        assert "drop_identity" not in bound.lowering_counts(), line


def test_the_page_is_the_table():
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(), "run tools/lowering_reference.py"
