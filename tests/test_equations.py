"""Sizes that a kernel forces are found and filled in; sizes that cannot be equal are named. All through the parser."""

import re

import pytest

import canvas
from canvas import KernelError, Layer

HEAD = "kernel test(x[C, H, W]) -> [K, H/s, W/s]:\n"


def parse(*lines: str) -> canvas.Kernel:
    return canvas.parse(HEAD + "".join(f"  {line}\n" for line in lines))


def sizes(kernel: canvas.Kernel) -> dict[str, str]:
    """The size of every axis that the text makes, by name."""
    made = re.findall(r"-> \[(.*?)\]", str(kernel).split("\n", 1)[1])
    entries = [entry.strip() for listed in made for entry in listed.split(",") if entry.strip()]
    return {re.match(r"\w+", entry)[0]: entry.split("= ")[-1] for entry in entries}


def variables(kernel: canvas.Kernel) -> set[str]:
    return set(kernel.bind([Layer(64, 64, (4, 4))])[0].sizes)


def kernel_parts(kernel: canvas.Kernel, name: str, layer: Layer) -> list[tuple[int, int]]:
    """The first two extents of a parameter, for several budgets."""
    found = []
    for share in (2.0, 0.5, 0.2):
        bound = kernel.bind([layer], canvas.Budget(params=share))[0]
        found.append({name: logical for name, logical, _ in bound.parameters()}[name][:2])
    return found


def test_a_merge_forces_the_size_of_a_part():
    """g * k = K: one of the two follows from the other, everywhere."""
    kernel = parse(
        "a = split(x, [C] -> [g, c = C/g])",
        "b = fc(a, [c] -> [m = k], per: [g])",
        "p = subsample(b, H: s, W: s)",
        "return merge(p, [g, m] -> [K])",
    )
    assert len(variables(kernel)) == 1
    assert {name: sizes(kernel)[name] for name in "gcm"} == {"g": "K/k", "c": "C*k/K", "m": "k"}
    assert {groups * channels for groups, channels in kernel_parts(kernel, "b", Layer(16, 16, (4, 4)))} == {16}


def test_the_result_forces_the_size_of_its_axis():
    kernel = parse("f = fc(x, [C] -> [m])", "p = subsample(f, H: s, W: s)", "return fc(p, [m] -> [K = n])")
    assert sizes(kernel) == {"m": "m", "K": "K"}
    assert variables(kernel) == {"m"}


def test_a_split_into_two_equal_parts_forces_a_square_and_there_is_none():
    with pytest.raises(KernelError, match=r"split C3.*"):
        parse("a = split(x, [C] -> [a = q, b = q])", "p = subsample(a, H: s, W: s)", "return fc(p, [a, b] -> [K])")


def test_a_square_is_taken_where_there_is_one():
    kernel = parse(
        "f = fc(x, [C] -> [m = C*C])",
        "a = split(f, [m] -> [a = q, b = q])",
        "p = subsample(a, H: s, W: s)",
        "return fc(p, [a, b] -> [K])",
    )
    assert sizes(kernel)["a"] == sizes(kernel)["b"] == "C"
    assert variables(kernel) == set()


def test_a_constant_square_is_taken():
    kernel = parse(
        "f = fc(x, [C] -> [m = 49])",
        "a = split(f, [m] -> [a = q, b = q])",
        "p = subsample(a, H: s, W: s)",
        "return fc(p, [a, b] -> [K])",
    )
    assert sizes(kernel)["a"] == sizes(kernel)["b"] == "7"


def test_what_is_added_has_one_size():
    kernel = parse(
        "a = fc(x, [C] -> [m = C/r])",
        "b = fc(x, [C] -> [m = q])",
        "c = add(a, b)",
        "p = subsample(c, H: s, W: s)",
        "return fc(p, [m] -> [K])",
    )
    assert len(variables(kernel)) == 1
    assert set(re.findall(r"m = ([^\]]+)", str(kernel))) == {sizes(kernel)["m"]}


def test_equations_meet_across_lines():
    """g*m = K and m = C/r leave one variable free."""
    kernel = parse(
        "a = fc(x, [C] -> [g, m])",
        "b = fc(x, [C] -> [m = C/r])",
        "c = mul(a, b)",
        "p = subsample(c, H: s, W: s)",
        "return merge(p, [g, m] -> [K])",
    )
    assert len(variables(kernel)) == 1
    assert {groups * channels for groups, channels in kernel_parts(kernel, "a", Layer(8, 16, (4, 4)))} == {16}


def test_forced_sizes_make_two_texts_one_kernel():
    free = parse(
        "f = fc(x, [C] -> [m = n])",
        "g = fc(f, [m] -> [c = q])",
        "a = add(g, fc(x, [C] -> [c = C/2]))",
        "p = subsample(a, H: s, W: s)",
        "return fc(p, [c] -> [K])",
    )
    said = parse(
        "f = fc(x, [C] -> [m = n])",
        "g = fc(f, [m] -> [c = C/2])",
        "a = add(g, fc(x, [C] -> [c = C/2]))",
        "p = subsample(a, H: s, W: s)",
        "return fc(p, [c] -> [K])",
    )
    assert free == said


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["p = subsample(x, H: s, W: s)", "return fc(p, [C] -> [K = C])"], r"verify: .*C must equal K.*"),
        (["a = fc(x, [C] -> [m = 3])", "b = fc(x, [C] -> [m = 5])", "c = add(a, b)"], r"3 must equal 5"),
        (["a = split(x, [C] -> [p = 2, q = C/3])"], r"split C3: 2\*C/3 must equal C"),
        (["a = fc(x, [C] -> [a = q, b = q])", "m = merge(a, [a, b] -> [c = 12])"], r"merge C3: q\*q must equal 12"),
        (["a = fc(x, [C] -> [m = C/r])", "b = fc(x, [C] -> [m = C/q])", "c = fc(x, [C] -> [m = K])", "d = add(a, b)",
          "e = add(d, c)", "f = fc(x, [C] -> [m = C])", "g = add(e, f)"], r"K and C|C and K"),
        (["p = subsample(x, H: s, W: s)", "f = fc(p, [C] -> [K])", "return add(f, fc(x, [C] -> [K]))"], "must equal H"),
    ],
)  # fmt: skip
def test_sizes_that_cannot_be_equal_are_named(lines, message):
    with pytest.raises(KernelError, match=message) as caught:
        parse(*lines)
    assert re.match(r"<text>:\d+:\d+: ", str(caught.value)), "the place"


def test_sizes_past_64_bits_are_an_error_not_a_wrap():
    lines = [
        "a = fc(x, [C] -> [m = 4000000000*n])",
        "b = fc(a, [m] -> [g = 4000000000, h = 4000000000])",
        "c = merge(b, [g, h] -> [K])",
    ]
    with pytest.raises(KernelError):
        parse(*lines)
