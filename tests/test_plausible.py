"""What the sampler holds for plausible: the flow analysis against the interpreter, the moments against PyTorch, and
each limit by a kernel that breaks it alone."""

import math
import statistics
from pathlib import Path

import numpy as np
import pytest
import torch

import canvas
from canvas import Layer, _core
from canvas.kernel import module_from_source
from sampled import SEED, input_shape

ANY = {"min_reach": 1, "min_weighted": 0, "concise": False, "full_flow": False, "live": False, "trainable": False}
# name: a layer of 8 channels, how many kernels, other limits
LAYERS = {
    "2-d": (Layer(8, 8, (7, 7)), 120, {}),
    "2-d, halved": (Layer(8, 8, (4, 8)), 40, {"weights": {"subsample": 8.0, "upsample": 4.0}}),
    "2-d, parts": (Layer(8, 8, (7, 7)), 80, {"weights": {"split": 6.0, "select": 3.0, "update": 30.0, "stack": 3.0}}),
    "1-d": (Layer(8, 8, (21,)), 80, {}),
    "3-d": (Layer(8, 8, (5, 5, 5)), 10, {"max_primitives": 6}),
    "tokens": (Layer(8, 8, tokens=21), 60, {}),
    "linear": (Layer(8, 8, ()), 60, {}),
}


def cases(name: str) -> list:
    layer, count, limits = LAYERS[name]
    kernels = canvas.sample([layer], count, seed=SEED, **{**ANY, **limits})
    if name == "2-d, halved":  # extents that tiles fill
        kernels += [kernel for kernel in canvas.zoo().values() if kernel.serves(layer)]
    return [(kernel, kernel.bind([layer])[0]) for kernel in kernels]


def ran(bound, x: np.ndarray) -> np.ndarray:
    """[N, channels, positions...] of the kernel with random parameters."""
    rng = np.random.default_rng(SEED)
    parameters = {name: rng.standard_normal(shape) for name, shape, _ in bound.parameters()}
    result = bound.interpret(x, parameters)
    return np.moveaxis(result, -1, 1) if bound.layer.tokens else result


def images(layer: Layer, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random ones, and a view of them as [N, channels, positions...]."""
    x = np.random.default_rng(SEED).standard_normal(input_shape(layer, count))
    return x, np.moveaxis(x, -1, 1) if layer.tokens else x


def channels_by_nan(bound) -> list[int]:
    x, view = images(bound.layer, 8)
    for c in range(8):
        view[c, c] = np.nan
    reached = np.isnan(ran(bound, x)).reshape(8, 8, -1).any(2)  # [input channel, output channel]
    return [sum(1 << c for c in range(8) if reached[c, k]) for k in range(8)]


def widths(seen: np.ndarray) -> tuple[int, ...]:
    """Along each axis, from the first position seen to the last."""
    return tuple(int(np.ptp(where)) + 1 if len(where) else 0 for where in seen.nonzero())


@pytest.mark.parametrize("name", LAYERS)
def test_the_flow_is_what_nan_reaches(name):
    summaries = 0
    for kernel, bound in cases(name):
        flow = bound.flow()
        assert flow["channels"] == channels_by_nan(bound), kernel
        extents = bound.layer.spatial or (bound.layer.tokens and (bound.layer.tokens,)) or ()
        assert len(flow["reach"]) == len(extents)
        if not extents:
            continue
        x, view = images(bound.layer, 1)
        view[(0, slice(None), *(extent // 2 for extent in extents))] = np.nan
        seen = np.isnan(ran(bound, x)[0])  # [output channel, positions...]
        summaries += flow["summary"]
        if flow["summary"]:  # it alone reaches every position, but for those that a shift behind it fills with zeros
            assert seen.reshape(8, -1).mean(1).max() > 0.6, kernel
            assert all(reach <= extent for reach, extent in zip(flow["reach"], extents, strict=True))
        else:
            assert flow["reach"] == widths(seen.any(0)), kernel
    assert summaries or name in ("3-d", "linear")  # of a few small ones none may have one


def test_a_summary_of_all_positions_is_no_reach_of_its_own():
    """Where one position of a flat input is changed, or another one far from it, a summary answers alike."""
    layer = Layer(8, 8, (63,))
    exact = found = 0
    for kernel in canvas.sample([layer], 300, seed=SEED, **ANY):
        bound = kernel.bind([layer])[0]
        flow = bound.flow()
        if not flow["summary"] or flow["reach"][0] > 19:
            continue
        x, _ = images(layer, 3)
        x[:] = x[:1, :, :1]
        change = np.random.default_rng(0).standard_normal(8)
        x[1, :, 31] += change
        x[2, :, 10] += change
        result = ran(bound, x)
        answers = np.abs(result[1] - result[2]).max(0) > 1e-9
        (width,) = widths(answers[21:42])
        assert width <= flow["reach"][0], kernel
        found += 1
        exact += width == flow["reach"][0]
    assert found >= 30 and exact >= 0.9 * found  # a relu or a maximum may hide a change


@pytest.mark.parametrize("name", ["2-d", "1-d", "tokens", "linear"])
def test_moments_are_near_what_a_network_has(name):
    torch.manual_seed(SEED)
    layer, _, limits = LAYERS[name]
    off = []
    for kernel in canvas.sample([layer], 60, seed=SEED + 1, **limits):
        bound = kernel.bind([layer])[0]
        module = module_from_source(bound.source()).double()
        with torch.no_grad():
            measured = module(torch.randn(input_shape(layer, 64), dtype=torch.float64)).std().item()
        assert math.isfinite(measured)
        off.append(abs(math.log2(max(measured, 1e-9) / bound.moments()[-1][2])))
    assert statistics.median(off) < 0.75
    assert statistics.quantiles(off, n=5)[-1] < 2  # products of values of one origin are further off


HEAD = "kernel k(x[C, H, W]) -> [K, H/s, W/s]:\n  u = unfold(subsample(x, H: s, W: s), H: 3, W: 3)\n"
PLAIN = "  return fc(u, [C, h, w] -> [K])\n"
# limit: a value of it that lets the kernel pass, part of the reason, the kernel's lines below HEAD
BROKEN = {
    "max_weighted": (
        5,
        "more weighted primitives",
        """
  a = fc(u, [h, w] -> [], per: [C])
  b = fc(relu(a), [C] -> [b = C])
  c = fc(relu(b), [b] -> [c = C])
  d = fc(relu(c), [c] -> [d = C])
  return fc(relu(d), [d] -> [K])""",
    ),
    "min_reach": (1, "too little", "  return fc(select(u, w: 1), [C, h] -> [K])"),
    "full_flow": (
        False,
        "some input channels never reach",
        """
  y = split(u, [C] -> [g = 2, c = C/2])
  return merge(fc(y, [c, h, w] -> [k = K/2], per: [g]), [g, k] -> [K])""",
    ),
    "live": (
        False,
        "nothing depends on its parameter z",
        """
  y = split(u, [C] -> [g = 2, c = C/2])
  z = fc(relu(select(y, g: 0)), [c, h, w] -> [c = C/2])
  a = select(relu(update(fold(y, max: [h, w]), z, g: 0)), g: 1)
  return fc(mul(a, fold(u, mean: [C, h, w])), [c] -> [K])""",
    ),
    "concise": (False, "a contraction absorbs the scale before it", "  return fc(scale(u, [C]), [C, h, w] -> [K])"),
}
UNTRAINABLE = {
    "z is constant at": "  z = sub(u, u)\n  return fc(z, [C, h, w] -> [K])",
    "y is constant at": "  y = relu(neg(square(u)))\n  return fc(y, [C, h, w] -> [K])",
    "z is saturated at": """
  z = tanh(fold(square(square(u)), sum: [C, h, w]))
  return fc(mul(fold(u, mean: [h, w]), z), [C] -> [K])""",
    "all but constant": """
  y = fold(softmax(fc(u, [C, h, w] -> [K]), [K]), mean: [H, W])
  return mul(y, norm(fc(u, [C, h, w] -> [K]), l1: [H, W]))""",
    "explodes": "  y = fc(u, [C, h, w] -> [K])\n  return add(y, square(square(square(square(y)))))",
}


@pytest.mark.parametrize("limit", BROKEN)
def test_each_limit_is_broken_by_a_kernel_that_breaks_it_alone(limit):
    allowed, reason, text = BROKEN[limit]
    kernel = canvas.parse(HEAD + text)
    assert reason in canvas.implausible(kernel)
    assert canvas.implausible(kernel, **{limit: allowed}) is None


@pytest.mark.parametrize("reason", UNTRAINABLE)
def test_what_does_not_train_is_told_by_moments(reason):
    kernel = canvas.parse(HEAD + UNTRAINABLE[reason])
    assert reason in canvas.implausible(kernel)
    assert canvas.implausible(kernel, trainable=False) is None


def test_limits_that_a_plain_convolution_breaks_where_asked():
    kernel = canvas.parse(HEAD + PLAIN)
    assert canvas.implausible(kernel, numeric=True) is None
    assert "fewer weighted" in canvas.implausible(kernel, min_weighted=2)
    assert canvas.implausible(kernel, max_reach=3) is None
    assert "too much" in canvas.implausible(kernel, max_reach=1)
    assert "too little" in canvas.implausible(kernel, min_reach=4)


def test_max_reach_leaves_out_summaries():
    kernel = canvas.parse(HEAD + "  return fc(mul(u, sigmoid(fold(x, mean: [H, W]))), [C, h, w] -> [K])\n")
    assert kernel.bind([Layer(8, 8, (7, 9))])[0].flow()["reach"] == (3, 3)
    assert canvas.implausible(kernel) is None
    assert "too much" in canvas.implausible(kernel, max_reach=3)


def test_the_forward_pass_sees_what_moments_cannot():
    """x - x by a detour: the moments take the two for independent."""
    kernel = canvas.parse(
        HEAD
        + "  y = merge(split(u, [C] -> [g = 2, c = C/2]), [g, c] -> [C])\n  return fc(sub(u, y), [C, h, w] -> [K])\n"
    )
    relaxed = {"concise": False}
    assert canvas.implausible(kernel, **relaxed) is None
    assert "all but constant" in canvas.implausible(kernel, numeric=True, **relaxed)


TAKEN = {
    "a bias before a softmax": "  return fc(softmax(bias(u, [C]), [h, w]), [C, h, w] -> [K])\n",
    "a bias before layer normalisation": "  return fc(norm(bias(u, [h, w]), layer: [C]), [C, h, w] -> [K])\n",
    "a scale before a normalisation": "  return fc(norm(scale(u, [h, w]), rms: [C]), [C, h, w] -> [K])\n",
}
KEPT = {
    "a bias along the softmax": "  return fc(softmax(bias(u, [h, w]), [h, w]), [C, h, w] -> [K])\n",
    "a bias before another normalisation": "  return fc(norm(bias(u, [h, w]), rms: [C]), [C, h, w] -> [K])\n",
    "a scale along the normalisation": "  return fc(norm(scale(u, [C]), rms: [C]), [C, h, w] -> [K])\n",
    "a scale before a softmax": "  return fc(softmax(scale(u, [C]), [h, w]), [C, h, w] -> [K])\n",
}


def test_parameters_that_the_next_step_takes_away_are_superfluous():
    for text in TAKEN.values():
        assert "takes the parameter's effect away" in canvas.implausible(canvas.parse(HEAD + text))
    for text in KEPT.values():
        assert canvas.implausible(canvas.parse(HEAD + text)) is None


def test_weights_for_what_is_dropped_are_superfluous():
    made = "  a = relu(fc(u, [C, h, w] -> [g = 4, c = C/4]))\n"
    one = canvas.parse(HEAD + made + "  return fc(select(a, g: 0), [c] -> [K])\n")
    assert canvas.implausible(one) == "a contraction makes what is dropped"
    both = canvas.parse(HEAD + made + "  return fc(mul(select(a, g: 0), select(a, g: 1)), [c] -> [K])\n")
    assert canvas.implausible(both) is None


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"min_weighted": 5}, "min_weighted must be from 0 to max_weighted, got 5 and 4"),
        ({"min_reach": -1}, "the reach must satisfy"),
        ({"min_reach": 5, "max_reach": 3}, "1 <= min_reach <= max_reach <= .*, got 5 and 3"),
        ({"max_reach": 10**6}, "the reach must satisfy"),
    ],
)
def test_contradicting_limits_are_value_errors(limits, message):
    layer = Layer(8, 8, (7, 7))
    with pytest.raises(ValueError, match=message):
        canvas.sample([layer], 1, **limits)
    with pytest.raises(ValueError, match=message):
        canvas.implausible(canvas.parse(HEAD + PLAIN), **limits)


def test_sampled_kernels_keep_the_limits():
    layer = Layer(8, 8, (9, 9))
    for kernel in canvas.sample([layer], 40, seed=SEED, min_reach=1, max_reach=5, numeric=True, min_weighted=2):
        flow = kernel.bind([layer])[0].flow()
        assert 1 <= min(flow["reach"]) <= max(flow["reach"]) <= 5
        assert not flow["summary"] and not flow["dead"]
        assert sum(primitive in ("fc", "scale", "bias") for primitive in kernel.primitives) >= 2


def test_every_limit_is_explained():
    text = (Path(__file__).parents[1] / "docs" / "sampling.md").read_text()
    with pytest.raises(ValueError, match="there are") as caught:
        _core.sample([Layer(8, 8)], 1, no_such_limit=1)
    names = str(caught.value).split("there are ")[1].split(", ")
    assert len(names) > 12
    assert [name for name in names if f"| `{name}` |" not in text] == []
