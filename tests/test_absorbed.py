"""Steps that weights could do as well: the sampler passes them over, and the shorter kernel computes the same family of
functions, as a fit of each one's parameters to the other's results says."""

import pytest

import canvas
from canvas import Layer
from families import Family, same

HEAD = "kernel k(x[C, H, W]) -> [K, H/s, W/s]:\n  p = subsample(x, H: s, W: s)\n  u = unfold(p, H: 3, W: 3)\n"
LAYER = Layer(3, 4, (4, 5), stride=2)
PLAIN = "  return fc(u, [C, h, w] -> [K])"
DEEP = "  z = fc(u, [h, w] -> [], per: [C])\n"
# name: reason, kernel, the shorter one
TAKEN = {
    "a sign before weights": ("the sign", "  return fc(neg(u), [C, h, w] -> [K])", PLAIN),
    "a sign after weights": ("the sign", "  return neg(fc(u, [C, h, w] -> [K]))", PLAIN),
    "a sign in a product": (
        "the sign",
        "  return fc(mul(neg(relu(u)), u), [C, h, w] -> [K])",
        "  return fc(mul(relu(u), u), [C, h, w] -> [K])",
    ),
    "a scale in a product": (
        "the scale before",
        "  return fc(mul(scale(p, [C]), u), [C, h, w] -> [K])",
        "  return fc(mul(p, u), [C, h, w] -> [K])",
    ),
    "a scale after a product": (
        "the scale after",
        "  return scale(mul(fc(u, [C, h, w] -> [K]), fold(relu(p), mean: [C])), [K])",
        "  return mul(fc(u, [C, h, w] -> [K]), fold(relu(p), mean: [C]))",
    ),
    "windows and what they are of": ("windows and what", "  return fc(add(u, p), [C, h, w] -> [K])", PLAIN),
    "windows and what they are of, activated": (
        "windows and what",
        "  return fc(add(relu(p), relu(u)), [C, h, w] -> [K])",
        "  return fc(relu(u), [C, h, w] -> [K])",
    ),
    "a shortcut beside weights": (
        "the sum with what it reads",
        DEEP + "  return fc(relu(add(z, p)), [C] -> [K])",
        DEEP + "  return fc(relu(z), [C] -> [K])",
    ),
    "weights beside wider ones": (
        "the one beside it",
        "  return add(fc(u, [C, h, w] -> [K]), fc(p, [C] -> [K]))",
        PLAIN,
    ),
    "twice the same": ("the sum before it", "  return fc(add(u, u), [C, h, w] -> [K])", PLAIN),
    "windows and their means": (
        "the sum before it",
        "  return fc(add(u, fold(u, mean: [w])), [C, h, w] -> [K])",
        PLAIN,
    ),
    "windows and what one weight a channel makes of them": (
        "the sum before it",
        "  z = add(u, fc(u, [h] -> [], per: [C]))\n  return fc(shift(z, H: 3, over: [C]), [C, h, w] -> [K])",
        "  return fc(shift(u, H: 3, over: [C]), [C, h, w] -> [K])",
    ),
    "a difference that could be a sum": (
        "the order of a difference",
        "  return sub(fc(relu(p), [C] -> [K]), fc(u, [C, h, w] -> [K]))",
        "  return add(fc(relu(p), [C] -> [K]), fc(u, [C, h, w] -> [K]))",
    ),
    "a difference the other way round": (
        "the order of a difference",
        "  return fc(sub(p, u), [C, h, w] -> [K])",
        "  return fc(sub(u, p), [C, h, w] -> [K])",
    ),
}
# What looks like it, and the kernel that it is not.
KEPT = {
    "windows without what they are of": ("  return fc(sub(u, p), [C, h, w] -> [K])", PLAIN),
    "a shortcut around an activation": (
        DEEP + "  return fc(add(relu(z), p), [C] -> [K])",
        DEEP + "  return fc(relu(z), [C] -> [K])",
    ),
    "windows and another value": ("  return fc(add(u, relu(p)), [C, h, w] -> [K])", PLAIN),
    "windows that are summed up by one weight a channel": (
        "  return fc(fold(relu(add(u, p)), sum: [h, w]), [C] -> [K])",
        "  return fc(fold(relu(u), sum: [h, w]), [C] -> [K])",
    ),
    "windows and their largest": ("  return fc(add(u, fold(u, max: [w])), [C, h, w] -> [K])", PLAIN),
    "windows and their means, activated": (
        "  return fc(relu(add(u, fold(u, mean: [w]))), [C, h, w] -> [K])",
        "  return fc(relu(u), [C, h, w] -> [K])",
    ),
    "channels and their mean before one weight a channel": (
        "  z = fc(add(u, fold(u, mean: [C])), [h, w] -> [], per: [C])\n  return fc(relu(z), [C] -> [K])",
        "  z = fc(u, [h, w] -> [], per: [C])\n  return fc(relu(z), [C] -> [K])",
    ),
    "a sign before an activation": (
        "  return fc(silu(neg(u)), [C, h, w] -> [K])",
        "  return fc(silu(u), [C, h, w] -> [K])",
    ),
}


def family(text: str) -> Family:
    return Family(canvas.parse(HEAD + text), LAYER, 2, 8)


@pytest.mark.parametrize("case", TAKEN.values(), ids=TAKEN.keys())
def test_what_weights_absorb_is_passed_over_and_the_shorter_kernel_does_the_same(case):
    reason, long, short = case
    assert reason in canvas.implausible(canvas.parse(HEAD + long))
    assert canvas.implausible(canvas.parse(HEAD + short)) is None
    assert same(family(long), family(short))


@pytest.mark.parametrize("case", KEPT.values(), ids=KEPT.keys())
def test_what_weights_cannot_do_is_kept(case):
    kept, other = case
    assert canvas.implausible(canvas.parse(HEAD + kept)) is None
    assert not same(family(kept), family(other))
