"""Steps that commute are put into one order: kernels that differ in nothing else have one hash, others do not."""

import numpy as np
import pytest

import canvas
from canvas import _core
from families import Family, same
from test_laws import parameter_axes

HEAD = "kernel k(x[C, H, W]) -> [K, H/s, W/s]:\n"


def kernel(body: str) -> canvas.Kernel:
    return canvas.parse(HEAD + "".join(f"  {line.strip()}\n" for line in body.strip().split(";")))


SAME = {
    "a stride before or after an activation": (
        "a = subsample(x, H: s, W: s); return fc(relu(a), [C] -> [K])",
        "a = fc(relu(x), [C] -> [K]); return subsample(a, H: s, W: s)",
    ),
    "a stride in two steps": (
        "a = subsample(x, H: s, W: s); return fc(a, [C] -> [K])",
        "a = subsample(x, H: s); b = fc(a, [C] -> [K]); return subsample(b, W: s)",
    ),
    "an activation that keeps zero, before or after a window": (
        "u = unfold(relu(x), H: 3, W: 3); p = subsample(u, H: s, W: s); return fc(p, [C, h, w] -> [K])",
        "u = unfold(x, H: 3, W: 3); p = subsample(relu(u), H: s, W: s); return fc(p, [C, h, w] -> [K])",
    ),
    "windows one after the other": (
        "u = unfold(x, H: 3, W: 3); p = subsample(u, H: s, W: s); return fc(p, [C, h, w] -> [K])",
        "u = unfold(unfold(x, W: 3), H: 3); p = subsample(u, H: s, W: s); return fc(p, [C, h, w] -> [K])",
    ),
    "contractions along different axes": (
        "a = fc(x, [C] -> [m = C/4]); u = unfold(a, H: 3, W: 3); d = fc(u, [h] -> []);"
        " e = fc(d, [m] -> [K]); f = fc(e, [w] -> []); return subsample(f, H: s, W: s)",
        "a = fc(x, [C] -> [m = C/4]); u = unfold(a, H: 3, W: 3); d = fc(u, [w] -> []); f = fc(d, [h] -> []);"
        " e = fc(f, [m] -> [K]); return subsample(e, H: s, W: s)",
    ),
    "the mean of a mix is the mix of means": (
        "m = fold(x, mean: [H, W]); g = sigmoid(fc(m, [C] -> [K])); p = subsample(fc(x, [C] -> [K]), H: s, W: s);"
        " return mul(p, g)",
        "g = sigmoid(fold(fc(x, [C] -> [K]), mean: [H, W])); y = mul(fc(x, [C] -> [K]), g);"
        " return subsample(y, H: s, W: s)",
    ),
    "a stride after two branches": (
        "a = fc(x, [C] -> [K]); b = fc(relu(x), [C] -> [K]); return subsample(add(a, b), H: s, W: s)",
        "p = subsample(x, H: s, W: s); a = fc(p, [C] -> [K]); b = fc(relu(p), [C] -> [K]); return add(a, b)",
    ),
    "a window before or after a sum": (
        "u = unfold(x, H: 3, W: 3); r = unfold(relu(x), H: 3, W: 3); p = subsample(sub(u, r), H: s, W: s);"
        " return fc(p, [C, h, w] -> [K])",
        "u = unfold(sub(x, relu(x)), H: 3, W: 3); p = subsample(u, H: s, W: s); return fc(p, [C, h, w] -> [K])",
    ),
    "weights along an axis that only the other factor has": (
        "a = relu(x); b = split(x, [C] -> [c1 = 2, c2 = C/2]); d = fc(mul(a, b), [c1] -> [], per: [C, c2]);"
        " return subsample(fc(gelu(d), [C, c2] -> [K]), H: s, W: s)",
        "a = split(x, [C] -> [c1 = 2, c2 = C/2]); b = relu(x); d = fc(mul(a, b), [c1] -> [], per: [C, c2]);"
        " return fc(gelu(subsample(d, H: s, W: s)), [C, c2] -> [K])",
    ),
    "groups that only one factor has, before or after the product": (
        "g = sigmoid(fold(x, mean: [C])); y = mul(split(x, [C] -> [a = 2, b = C/2]), g);"
        " z = fc(y, [b] -> [k = K/2], per: [a]); return subsample(merge(z, [k, a] -> [K]), H: s, W: s)",
        "g = sigmoid(fold(x, mean: [C])); y = split(mul(x, g), [C] -> [a = 2, b = C/2]);"
        " z = fc(y, [b] -> [k = K/2], per: [a]); return subsample(merge(z, [k, a] -> [K]), H: s, W: s)",
    ),
    "a split in two steps": (
        "y = split(x, [C] -> [a = 2, b = 2, c = C/4]); z = relu(fc(y, [c] -> [k = K/4], per: [a, b]));"
        " return subsample(merge(z, [k, a, b] -> [K]), H: s, W: s)",
        "y = split(split(x, [C] -> [g = 4, c = C/4]), [g] -> [a = 2, b = 2]);"
        " z = relu(fc(y, [c] -> [k = K/4], per: [a, b])); m = merge(z, [a, b] -> [n = 4]);"
        " return subsample(merge(m, [k, n] -> [K]), H: s, W: s)",
    ),
    "an activation of what is not negative": (
        "a = sigmoid(subsample(x, H: s, W: s)); return fc(a, [C] -> [K])",
        "a = relu(subsample(abs(sigmoid(x)), H: s, W: s)); return fc(a, [C] -> [K])",
    ),
    "an activation of sums and products of what is not negative": (
        "a = mul(fold(square(x), mean: [H, W]), add(relu(x), exp(x))); return subsample(fc(a, [C] -> [K]), H: s, W: s)",
        "a = relu(mul(fold(square(x), mean: [H, W]), abs(add(relu(x), exp(x)))));"
        " return subsample(fc(a, [C] -> [K]), H: s, W: s)",
    ),
    "names of windows that never meet": (
        "u = unfold(x, H: 3); r = fc(relu(u), [h] -> [], per: [C]); a = fc(u, [h] -> [], per: [C]);"
        " return subsample(fc(mul(a, r), [C] -> [K]), H: s, W: s)",
        "u = unfold(x, H: h = 3); v = unfold(x, H: g = 3); r = fc(relu(u), [h] -> [], per: [C]);"
        " a = fc(v, [g] -> [], per: [C]); return subsample(fc(mul(a, r), [C] -> [K]), H: s, W: s)",
    ),
    "sums of sums": (
        "p = subsample(x, H: s, W: s); a = fc(p, [C] -> [K]); b = fc(relu(p), [C] -> [K]); c = fc(sin(p), [C] -> [K]);"
        " return add(a, add(b, add(c, fold(c, mean: [H]))))",
        "p = subsample(x, H: s, W: s); a = fc(p, [C] -> [K]); b = fc(relu(p), [C] -> [K]); c = fc(sin(p), [C] -> [K]);"
        " return add(add(c, a), add(fold(c, mean: [H]), b))",
    ),
    "the largest of the same": (
        "m = max(x, sin(x)); return subsample(fc(m, [C] -> [K]), H: s, W: s)",
        "m = max(sin(x), max(x, sin(x))); return subsample(fc(m, [C] -> [K]), H: s, W: s)",
    ),
    "one mean or two": (
        "m = fold(x, mean: [H, W]); return mul(subsample(fc(x, [C] -> [K]), H: s, W: s), fc(m, [C] -> [K]))",
        "m = fold(fold(x, mean: [W]), mean: [H]);"
        " return mul(subsample(fc(x, [C] -> [K]), H: s, W: s), fc(m, [C] -> [K]))",
    ),
    "a mean of a contraction": (
        "u = unfold(subsample(x, H: s, W: s), H: 3); return fc(fold(u, mean: [h]), [C] -> [K])",
        "u = unfold(subsample(x, H: s, W: s), H: 3); return fold(fc(u, [C] -> [K]), mean: [h])",
    ),
    "a factor that has none of the axes of a sum": (
        "u = unfold(x, H: 3, W: 3); g = sigmoid(fold(x, mean: [H, W])); y = fc(mul(u, g), [h, w] -> [], per: [C]);"
        " return subsample(fc(y, [C] -> [K]), H: s, W: s)",
        "u = unfold(x, H: 3, W: 3); g = sigmoid(fold(x, mean: [H, W])); y = mul(fc(u, [h, w] -> [], per: [C]), g);"
        " return subsample(fc(y, [C] -> [K]), H: s, W: s)",
    ),
    "filters of one channel along two axes": (
        "u = unfold(x, H: 3, W: 3); y = fc(fc(u, [h] -> [], per: [C]), [w] -> [], per: [C]);"
        " return subsample(fc(scale(y, [C]), [C] -> [K]), H: s, W: s)",
        "u = scale(unfold(x, H: 3, W: 3), [C]); y = fc(fc(u, [w] -> [], per: [C]), [h] -> [], per: [C]);"
        " return subsample(fc(y, [C] -> [K]), H: s, W: s)",
    ),
    "a stride of both operands, or of what is made of them": (
        "u = unfold(x, H: 3, W: 3); a = subsample(u, H: s, W: s); b = subsample(x, H: s, W: s);"
        " return fc(mul(a, relu(mul(a, b))), [C, h, w] -> [K])",
        "u = unfold(x, H: 3, W: 3); y = subsample(mul(u, relu(mul(u, x))), H: s, W: s); return fc(y, [C, h, w] -> [K])",
    ),
    "a window of one factor in two places": (
        "g = sigmoid(fold(x, mean: [H, W])); u = unfold(mul(x, g), H: 3, W: 3);"
        " return fc(subsample(u, H: s, W: s), [C, h, w] -> [K])",
        "g = sigmoid(fold(x, mean: [H, W])); u = mul(subsample(unfold(x, H: 3, W: 3), H: s, W: s), g);"
        " return fc(u, [C, h, w] -> [K])",
    ),
}

DIFFERENT = {
    "a window of one summand alone": (
        "g = sigmoid(fold(x, mean: [H, W])); u = unfold(add(x, g), H: 3, W: 3);"
        " return fc(subsample(u, H: s, W: s), [C, h, w] -> [K])",
        "g = sigmoid(fold(x, mean: [H, W])); u = add(unfold(x, H: 3, W: 3), g);"
        " return fc(subsample(u, H: s, W: s), [C, h, w] -> [K])",
    ),
    "names of windows that meet": (
        "u = unfold(x, H: h = 3); v = unfold(x, H: h = 3); y = fc(mul(u, sin(v)), [h, C] -> [K]);"
        " return subsample(y, H: s, W: s)",
        "u = unfold(x, H: h = 3); v = unfold(x, H: g = 3); y = fc(mul(u, sin(v)), [h, g, C] -> [K]);"
        " return subsample(y, H: s, W: s)",
    ),
    "a mean and a sum": (
        "m = fold(fold(x, mean: [W]), sum: [H]);"
        " return mul(subsample(fc(x, [C] -> [K]), H: s, W: s), fc(m, [C] -> [K]))",
        "m = fold(x, mean: [H, W]); return mul(subsample(fc(x, [C] -> [K]), H: s, W: s), fc(m, [C] -> [K]))",
    ),
    "differences of differences": (
        "y = sub(x, sub(relu(x), sin(x))); return subsample(fc(y, [C] -> [K]), H: s, W: s)",
        "y = sub(sub(x, relu(x)), sin(x)); return subsample(fc(y, [C] -> [K]), H: s, W: s)",
    ),
    "an activation that makes something of zero": (
        "u = unfold(sigmoid(x), H: 3, W: 3); p = subsample(u, H: s, W: s); return fc(p, [C, h, w] -> [K])",
        "u = unfold(x, H: 3, W: 3); p = subsample(sigmoid(u), H: s, W: s); return fc(p, [C, h, w] -> [K])",
    ),
    "an activation on the other side of a contraction": (
        "a = subsample(x, H: s, W: s); return fc(relu(a), [C] -> [K])",
        "a = subsample(x, H: s, W: s); return relu(fc(a, [C] -> [K]))",
    ),
    "a stride before or after the window along its axis": (
        "u = unfold(subsample(x, H: s, W: s), H: 3, W: 3); return fc(u, [C, h, w] -> [K])",
        "u = subsample(unfold(x, H: 3, W: 3), H: s, W: s); return fc(u, [C, h, w] -> [K])",
    ),
    "the largest of a mix is not the mix of the largest": (
        "m = fold(x, max: [H, W]); g = fc(m, [C] -> [K]); y = fc(x, [C] -> [K]);"
        " return mul(subsample(y, H: s, W: s), g)",
        "g = fold(fc(x, [C] -> [K]), max: [H, W]); p = subsample(fc(x, [C] -> [K]), H: s, W: s); return mul(p, g)",
    ),
    "an activation of what may be negative": (
        "a = relu(tanh(x)); return subsample(fc(a, [C] -> [K]), H: s, W: s)",
        "a = tanh(x); return subsample(fc(a, [C] -> [K]), H: s, W: s)",
    ),
    "a window of one factor alone": (
        "u = unfold(x, H: 3, W: 3); p = subsample(mul(u, relu(x)), H: s, W: s); return fc(p, [C, h, w] -> [K])",
        "u = unfold(mul(x, relu(x)), H: 3, W: 3); p = subsample(u, H: s, W: s); return fc(p, [C, h, w] -> [K])",
    ),
    "a bias before a window with zeros around": (
        "u = unfold(bias(x, [C]), H: 3, W: 3); p = subsample(u, H: s, W: s); return fc(p, [C, h, w] -> [K])",
        "u = bias(unfold(x, H: 3, W: 3), [C]); p = subsample(u, H: s, W: s); return fc(p, [C, h, w] -> [K])",
    ),
}


@pytest.mark.parametrize("pair", SAME.values(), ids=SAME.keys())
def test_what_commutes_has_one_form(pair):
    one, other = map(kernel, pair)
    assert str(one.canonical()) == str(other.canonical())
    assert one.hash == other.hash
    for form in (one, other):
        check_values(form)


@pytest.mark.parametrize("pair", DIFFERENT.values(), ids=DIFFERENT.keys())
def test_what_does_not_commute_keeps_its_own(pair):
    one, other = map(kernel, pair)
    assert one.hash != other.hash
    for form in (one, other):
        check_values(form)


def check_values(original: canvas.Kernel) -> None:
    """The canonical form computes the same, each parameter taken for what it was."""
    form, names = original.canonical_with_names()
    layer = _core.Layer(8, 12, (7, 5), stride=2)
    rng = np.random.default_rng(3)
    mine = {name: rng.standard_normal(shape) for name, shape, _ in original.parameters(layer)}
    before, after = parameter_axes(original), parameter_axes(form)
    theirs = {}
    for name, *_ in form.parameters(layer):
        axes = before[names[name]]
        moved = [axes.index(axis) for axis in after[name]] if set(axes) == set(after[name]) else range(len(axes))
        theirs[name] = mine[names[name]].transpose(moved)
    x = rng.standard_normal((1, 8, 7, 5))
    np.testing.assert_allclose(
        form.interpret(layer, x, theirs), original.interpret(layer, x, mine), rtol=1e-9, atol=1e-9
    )


VIEWS = {
    "of what is summed over, in parts": (
        "y = split(subsample(x, H: s, W: s), [C] -> [a = 2, b = C/2]); return fc(relu(y), [a, b] -> [K])",
        "return fc(relu(subsample(x, H: s, W: s)), [C] -> [K])",
    ),
    "of what is summed over, as one": (
        "u = unfold(subsample(x, H: s, W: s), H: 3, W: 3); return fc(merge(u, [h, w, C] -> [n = 9*C]), [n] -> [K])",
        "u = unfold(subsample(x, H: s, W: s), H: 3, W: 3); return fc(u, [C, h, w] -> [K])",
    ),
    "of what is made, as one": (
        "y = relu(fc(subsample(x, H: s, W: s), [C] -> [a = 2, b = K/2])); return merge(y, [b, a] -> [K])",
        "return relu(fc(subsample(x, H: s, W: s), [C] -> [K]))",
    ),
    "of what is made, in parts": (
        "y = split(fc(subsample(x, H: s, W: s), [C] -> [m = 2*C]), [m] -> [a = 2, b = C]);"
        " return fc(mul(y, sigmoid(select(y, a: 1))), [a, b] -> [K])",
        "y = fc(subsample(x, H: s, W: s), [C] -> [a = 2, b = C]);"
        " return fc(mul(y, sigmoid(select(y, a: 1))), [a, b] -> [K])",
    ),
}
NOT_TAKEN_IN = {
    "parts of which one is summed over": (
        "y = split(subsample(x, H: s, W: s), [C] -> [a = 2, b = C/2]);"
        " return merge(fc(y, [b] -> [k = K/2]), [a, k] -> [K])",
        "return fc(subsample(x, H: s, W: s), [C] -> [K])",
    ),
    "parts that a step between works along": (
        "y = split(subsample(x, H: s, W: s), [C] -> [a = 2, b = C/2]); return fc(softmax(y, [a]), [a, b] -> [K])",
        "return fc(softmax(subsample(x, H: s, W: s), [C]), [C] -> [K])",
    ),
}


@pytest.mark.parametrize("pair", VIEWS.values(), ids=VIEWS.keys())
def test_weights_take_views_in(pair):
    """One form, and the parameters are the same numbers in another shape: so each text's family is its form's."""
    one, other = map(kernel, pair)
    assert str(one.canonical()) == str(other.canonical())
    layer = _core.Layer(4, 6, (4, 5), stride=2)
    families = [Family(text, layer, 2, 8) for text in (one, other, one.canonical())]
    assert len({family.size for family in families}) == 1
    assert same(families[0], families[1]) and same(families[0], families[2])


@pytest.mark.parametrize("pair", NOT_TAKEN_IN.values(), ids=NOT_TAKEN_IN.keys())
def test_weights_do_not_take_in_what_others_see(pair):
    one, other = map(kernel, pair)
    assert one.hash != other.hash


def test_the_zoo_has_different_forms_and_none_with_a_view_that_weights_take_in():
    forms = {name: text.canonical() for name, text in canvas.zoo().items()}
    assert len({form.hash for form in forms.values()}) == len(forms)
    for name in ("involution", "partial_convolution"):
        assert "taken apart" not in str(canvas.implausible(forms[name]))


def test_an_order_that_would_need_too_many_axes_is_left():
    """A value has at most 16 axes; where the smaller of two contractions would come last, it has 17 on the way."""
    parts = [f"a{i}" for i in range(14)]
    cut = ", ".join([f"{part} = 2" for part in parts[:-1]] + [f"{parts[-1]} = C/8192"])
    small, large = "fc(y, [a0, a1] -> [e = 3])", "fc(z, [a2] -> [f = 2, g = 5])"
    one = kernel(
        f"y = relu(split(x, [C] -> [{cut}])); z = {small}; v = {large};"
        f" return fc(subsample(relu(v), H: s, W: s), [e, f, g, {', '.join(parts[3:])}] -> [K])"
    )
    form = one.canonical()
    assert str(form.canonical()) == str(form)
    assert [line.split("(")[0].split()[-1] for line in str(form).splitlines()[1:4]] == ["split", "relu", "fc"]


def test_weights_keep_the_axis_along_which_they_differ():
    """One of two factors alone has it: neither may leave the contraction, though that sums over the other's axis."""
    made = kernel(
        "p = subsample(x, H: s, W: s); a = fc(p, [C] -> [m = 5]); b = shift(p, H: 3, W: 3, over: [C]);"
        " c = fc(mul(a, b), [m] -> [d = K/C], per: [C]); return merge(c, [d, C] -> [K])"
    )
    form = made.canonical()
    assert form.hash == made.hash == form.canonical().hash
    layer = canvas.Layer(3, 6, (4, 4), stride=2)
    assert form.bind([layer]).flops == made.bind([layer]).flops
