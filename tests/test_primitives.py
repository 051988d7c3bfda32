"""The meaning of single primitives: against PyTorch, at the edges of their definitions, in unusual uses."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import canvas
from canvas import Layer, _core
from canvas.kernel import module_from_source
from test_emit import LAYERS, assert_equal_to_interpreter

HEAD = "kernel {}(x[C, H, W]) -> [K, H/s, W/s]:\n"
END = "  return fc(subsample(y, H: s, W: s), [C] -> [K])\n"
# Each ends in a value y [C, H, W].
UNUSUAL = {
    "neighbourhood_over_groups": """
  a = split(x, [C] -> [g = 2, c = C/2])
  y = merge(shift(a, c: 3, W: 3, over: [g]), [g, c] -> [C])""",
    "neighbourhood_of_one_axis": "  y = shift(x, W: 7, over: [C])",
    "shift_of_channels": "  y = shift(shift(x, C: 1), C: -2, H: 1)",
    "dilated_channels": "  y = fc(unfold(x, C: 3, dilation: 2), [c] -> [])",
    "dilated_channels_and_space": "  y = fold(unfold(x, C: 3, W: 3, dilation: 2), sum: [c, w])",
    "windows_of_groups": """
  a = split(x, [C] -> [g = 4, c = C/4])
  y = merge(fold(unfold(a, g: q = 3, c: r = 5, dilation: 2), mean: [q, r]), [g, c] -> [C])""",
    "softmax_of_mixed_axes": "  y = softmax(x, [C, W])",
    "softmax_of_all": "  u = softmax(unfold(x, H: 3), [C, H, W, h])\n  y = fold(u, sum: [h])",
    "folds_of_mixed_axes": "  a = fold(unfold(x, H: 3, W: 3), max: [C, h])\n  y = mul(x, fold(a, mean: [H, w]))",
    "fold_of_all": "  y = sub(x, fold(x, mean: [C, H, W]))",
    "contract_with_batch_axes": """
  a = split(x, [C] -> [g = 2, c = C/2])
  b = rename(a, [c] -> [d = C/2])
  w = contract(a, b, [H, W])
  y = merge(contract(w, b, [d]), [g, c] -> [C])""",
    "contract_per_row": """
  a = contract(x, rename(x, [C] -> [d = C]), [W])
  y = contract(a, rename(x, [C] -> [d = C]), [d])""",
    "select_of_groups": """
  a = split(x, [C] -> [g = 4, c = C/4])
  b = stack(select(a, g: 3), select(a, g: 1), relu(select(a, g: 0)), select(a, g: 3), [g])
  y = merge(b, [c, g] -> [C])""",
    "select_of_fast_axis": """
  a = split(x, [C] -> [c = C/4, g = 4])
  y = merge(stack(select(a, g: 3), select(a, g: 2), select(a, g: 1), select(a, g: 0), [p]), [c, p] -> [C])""",
    "select_of_space": "  y = add(select(x, H: 1), mul(select(x, H: 0, W: 2), x))",
    "select_of_windows": "  u = unfold(x, H: 3, W: 3)\n  y = sub(select(u, h: 0, w: 2), select(u, h: 2, w: 0))",
    "partial": """
  a = split(x, [C] -> [g = 4, c = C/4])
  b = fc(unfold(select(a, g: 0), H: 3, W: 3), [c, h, w] -> [c = C/4])
  y = merge(update(a, b, g: 0), [g, c] -> [C])""",
    "partial_last": """
  a = split(x, [C] -> [g = 4, c = C/4])
  y = merge(update(update(a, relu(select(a, g: 2)), g: 1), select(a, g: 0), g: 3), [g, c] -> [C])""",
    "update_of_fast_axis": """
  a = split(x, [C] -> [c = C/4, g = 4])
  y = merge(update(a, select(a, g: 3), g: 1), [c, g] -> [C])""",
    "update_of_space": "  y = update(update(x, fold(x, max: [H]), H: 0), fold(x, mean: [W]), W: 3)",
    "stack_of_two_branches": """
  a = fc(x, [C] -> [m = C/2])
  b = fc(unfold(a, H: 3, W: 3), [h, w] -> [], per: [m])
  y = merge(stack(a, b, [g]), [g, m] -> [C])""",
    "stack_without_channels": """
  a = stack(fold(x, mean: [C]), fold(x, max: [C]), [g])
  y = mul(x, sigmoid(fc(unfold(a, H: 3, W: 3), [g, h, w] -> [])))""",
    "stack_of_scalars": "  y = mul(x, fold(stack(fold(x, mean: [C, H, W]), fold(x, max: [C, H, W]), [g]), sum: [g]))",
    "stack_of_eight": """
  a = fc(x, [C] -> [m = C/8])
  b = stack(a, neg(a), abs(a), relu(a), sin(a), tanh(a), square(a), a, [g])
  y = merge(b, [g, m] -> [C])""",
    "upsample_of_the_stride": "  y = upsample(fold(unfold(subsample(x, H: s, W: s), H: 3), mean: [h]), H: s, W: s)",
    "upsample_of_one_axis": "  y = add(x, upsample(subsample(relu(x), W: s), W: s))",
    "upsample_of_channels": """
  a = fc(x, [C] -> [m = C/4])
  y = add(x, rename(upsample(a, m: 4), [m] -> [C]))""",
    "upsample_far": "  a = upsample(fold(x, mean: [H]), W: 9)\n  y = mul(x, fold(a, max: [W]))",
    "norms": """
  a = add(norm(x, layer: [C]), norm(x, rms: [C, H]))
  y = add(a, add(norm(x, l1: [H, W]), norm(x, l2: [W])))""",
    "norm_of_groups": """
  a = split(x, [C] -> [g = 2, c = C/2])
  y = merge(bias(scale(norm(a, layer: [c, H, W]), [g, c]), [g, c]), [g, c] -> [C])""",
    "norm_of_windows": "  y = fold(norm(unfold(x, H: 3, W: 3), l2: [h, w]), max: [h, w])",
    "extrema": "  y = max(min(x, shift(x, H: 1)), min(fold(x, mean: [C]), neg(x)))",
    "quotients": "  y = div(div(x, exp(x)), add(fold(square(x), sum: [C]), sigmoid(x)))",
    "linear_attention": """
  q = exp(fc(x, [C] -> [m = C/2]))
  k = exp(fc(x, [C] -> [m = C/2]))
  n = contract(contract(k, x, [H, W]), q, [m])
  y = div(n, contract(fold(k, sum: [H, W]), q, [m]))""",
    "outer_product": "  a = mul(fc(x, [C] -> [m = C/4]), fc(x, [C] -> [n = 4]))\n  y = merge(a, [n, m] -> [C])",
}


def parsed(name: str, body: str) -> canvas.Kernel:
    return canvas.parse(HEAD.format(name) + body.lstrip("\n") + "\n" + END)


def applied(body: str, x: np.ndarray) -> np.ndarray:
    """What the body makes of x [N, C, H, W]: y, seen through an identity matrix."""
    layer = Layer(x.shape[1], x.shape[1], x.shape[2:])
    return parsed("single", body).interpret(layer, x, {"result": np.eye(x.shape[1])})


@pytest.mark.parametrize("layer", LAYERS, ids=str)
@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_uses_are_emitted_as_they_are_interpreted(name, layer):
    assert_equal_to_interpreter(parsed(name, UNUSUAL[name]), layer, batch=2)


@pytest.mark.parametrize("name", UNUSUAL)
def test_other_resolutions_run_and_are_right(name):
    kernel = parsed(name, UNUSUAL[name])
    module = module_from_source(kernel.source(Layer(8, 16, (6, 6), stride=2))).double()
    same = module_from_source(kernel.source(Layer(8, 16, (9, 7), stride=2))).double()
    same.load_state_dict(module.state_dict())
    x = torch.randn(2, 8, 9, 7, dtype=torch.float64)
    torch.testing.assert_close(module(x), same(x))


@pytest.mark.parametrize("name", ["partial", "stack_of_two_branches", "upsample_of_the_stride", "norms", "quotients"])
def test_the_compiler_takes_the_whole_module(name):
    module = module_from_source(parsed(name, UNUSUAL[name]).source(Layer(8, 16, (7, 6), stride=2)))
    x = torch.randn(2, 8, 7, 6)
    torch.testing.assert_close(torch.compile(module, backend="aot_eager", fullgraph=True)(x), module(x))


REFERENCES = {
    "norm(x, layer: [C, H, W])": lambda x: F.layer_norm(x, x.shape[1:], eps=1e-6),
    "norm(x, layer: [W])": lambda x: F.layer_norm(x, x.shape[-1:], eps=1e-6),
    "norm(x, rms: [H, W])": lambda x: F.rms_norm(x, x.shape[2:], eps=1e-6),
    "norm(x, l1: [C])": lambda x: F.normalize(x, p=1, dim=1),
    "norm(x, l2: [C])": lambda x: F.normalize(x, p=2, dim=1),
    "max(x, neg(x))": lambda x: torch.maximum(x, -x),
    "min(x, fold(x, mean: [C]))": lambda x: torch.minimum(x, x.mean(1, keepdim=True)),
    "div(x, exp(x))": lambda x: x / x.exp(),
    "upsample(subsample(x, H: 2, W: 3), H: 2, W: 3)": lambda x: F.interpolate(x[:, :, ::2, ::3], scale_factor=(2, 3)),
}


@pytest.mark.parametrize("call", REFERENCES)
def test_primitives_are_what_pytorch_has_under_their_names(call):
    x = np.random.default_rng(0).standard_normal((2, 4, 6, 9))
    expected = REFERENCES[call](torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(applied(f"  y = {call}", x), expected, rtol=1e-4, atol=1e-6)


def test_stack_and_merge_concatenate():
    kernel = canvas.parse(
        "kernel two(x[C, H, W]) -> [K, H, W]:\n  a = stack(x, relu(x), [g])\n  b = merge(a, [g, C] -> [c = C*2])\n"
        "  return fc(b, [c] -> [K])"
    )
    x = np.random.default_rng(0).standard_normal((1, 3, 2, 2))
    got = kernel.interpret(Layer(3, 6, (2, 2)), x, {"result": np.eye(6)})
    np.testing.assert_array_equal(got, np.concatenate([x, x.clip(0)], 1))


def test_upsample_by_the_stride_gives_back_the_extent():
    x = np.arange(7.0).reshape(1, 1, 7)
    kernel = canvas.parse(
        "kernel up(x[C, W]) -> [K, W]:\n  a = subsample(x, W: s)\n  return fc(upsample(a, W: s), [C] -> [K])"
    )
    got = kernel.interpret(Layer(1, 1, (7,)), x, {"result": np.ones((1, 1))})
    np.testing.assert_array_equal(got.ravel(), np.arange(7.0))
    kernel = canvas.parse(
        "kernel up(x[C, W]) -> [K, W/s]:\n  a = upsample(subsample(x, W: s), W: s)\n"
        "  return fc(subsample(add(a, shift(a, W: 1)), W: s), [C] -> [K])"
    )
    got = kernel.interpret(Layer(1, 1, (7,), stride=3), x, {"result": np.ones((1, 1))})
    np.testing.assert_array_equal(got.ravel(), [0.0, 6.0, 6.0])  # 0 0 0 3 3 3 6, and 0 right of the end


HAZARDS = {
    "exp(x)": "exp",
    "sqrt(x)": "sqrt",
    "div(x, x)": "div",
    "div(fold(x, sum: [C]), x)": "div",
    "norm(x, layer: [C])": "norm",
    "norm(x, rms: [C])": "norm",
    "norm(x, l1: [C])": "norm",
    "norm(x, l2: [C])": "norm",
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("fill", [0.0, 1e-3, -1e-3, 30.0, -30.0, 1e4])
@pytest.mark.parametrize("call", HAZARDS)
def test_safe_definitions_stay_finite_with_finite_slopes(call, fill, dtype):
    kernel = parsed("hazard", f"  y = {call}")
    module = module_from_source(kernel.source(Layer(4, 4, (3, 3)))).to(dtype)
    x = torch.full((1, 4, 3, 3), fill, dtype=dtype, requires_grad=True)
    with torch.no_grad():
        module.result.copy_(torch.eye(4).reshape(module.result.shape))
    y = module(x)
    y.sum().backward()
    assert torch.isfinite(y).all() and torch.isfinite(x.grad).all()
    np.testing.assert_allclose(
        y.detach().double().numpy(), applied(f"  y = {call}", x.detach().double().numpy()), rtol=1e-4, atol=1e-4
    )


def test_safe_definitions_are_those_of_the_table():
    assert {definition["name"] for definition in _core.safe_definitions()} == set(HAZARDS.values())


def test_the_quotient_goes_to_zero_with_the_divisor():
    x = np.array([0.0, 1e-4, -1e-4, 0.01, -0.01, 0.5, -4.0]).reshape(1, 1, 1, 7)
    got = applied("  y = div(sigmoid(mul(x, fold(x, mean: [C, H, W]))), x)", x).ravel()
    over = 1 / (1 + np.exp(-x * x.mean()))
    np.testing.assert_allclose(got, (over * x / np.maximum(x * x, 1e-4)).ravel(), rtol=1e-12)
    assert got[0] == 0 and abs(got).max() <= 100


def test_a_position_must_exist_on_every_layer():
    text = HEAD.format("parts") + (
        "  a = split(x, [C] -> [g, c = C/g])\n  b = select(a, g: 3)\n"
        "  return fc(subsample(b, H: s, W: s), [c] -> [K])\n"
    )
    kernel = canvas.parse(text)
    assert kernel.bind([Layer(8, 8, (4, 4))])[0].sizes["g"] in (4, 8)
    with pytest.raises(canvas.Infeasible, match="an axis g longer than the position 3 of b"):
        kernel.bind([Layer(6, 8, (4, 4)), Layer(4, 8, (4, 4)), Layer(2, 8, (4, 4))])


def test_a_stride_that_does_not_divide_merged_positions_is_refused():
    kernel = canvas.parse(
        "kernel flat(x[C, H, W]) -> [K, H/s, W/s]:\n  t = merge(x, [H, W] -> [t = H*W])\n"
        "  y = split(subsample(t, t: s), [t] -> [H/s, W])\n  return fc(subsample(y, W: s), [C] -> [K])"
    )
    kernel.bind([Layer(4, 4, (4, 5), stride=2)])
    with pytest.raises(canvas.Infeasible, match="a factor that divides axis t"):
        kernel.bind([Layer(4, 4, (3, 5), stride=2)])


# Bodies that end in a value y [C, H, W].
SAME = [
    ("y = relu(x)", "r = rename(x, [C] -> [q = C])\n  y = rename(relu(r), [q] -> [C])"),
    (
        "y = relu(x)",
        "r = rename(rename(x, [H] -> [a = H]), [W] -> [H = W])\n  t = rename(relu(r), [H] -> [W])\n"
        "  y = rename(t, [a] -> [H])",
    ),
    (
        "y = fc(unfold(x, H: 3), [h] -> [])",
        "u = unfold(rename(x, [H] -> [a = H]), a: b = 3)\n  y = rename(fc(u, [b] -> []), [a] -> [H])",
    ),
    ("y = add(x, neg(x))", "r = rename(x, [W] -> [v = W])\n  y = rename(add(r, neg(r)), [v] -> [W])"),
    ("y = relu(x)", "y = max(relu(x), relu(x))"),
    ("y = min(x, neg(x))", "y = min(neg(x), x)"),
    ("y = select(stack(x, relu(x), [g]), g: 1)", "y = select(stack(x, relu(x), [other]), other: 1)"),
]
DIFFERENT = [
    ("y = mul(x, fold(mul(x, x), sum: [W]))", "y = mul(x, fold(mul(x, rename(x, [W] -> [v = W])), sum: [v, W]))"),
    ("y = max(x, neg(x))", "y = min(x, neg(x))"),
    ("y = norm(x, l1: [C])", "y = norm(x, l2: [C])"),
    ("y = update(x, select(x, H: 0), H: 1)", "y = update(x, select(x, H: 1), H: 0)"),
    ("y = select(stack(x, relu(x), [g]), g: 1)", "y = select(stack(relu(x), x, [g]), g: 1)"),
    ("y = max(max(x, neg(x)), sin(x))", "y = max(x, neg(x))"),
    ("y = max(max(x, neg(x)), sin(x))", "y = max(x, sin(x))"),
]


def identity(body: str) -> str:
    return canvas.parse(f"kernel k(x[C, H, W]) -> [K, H, W]:\n  {body}\n  return fc(y, [C] -> [K])").hash


@pytest.mark.parametrize(("left", "right"), SAME)
def test_the_same_kernel_has_one_canonical_form(left, right):
    assert identity(left) == identity(right)


@pytest.mark.parametrize(("left", "right"), DIFFERENT)
def test_other_kernels_have_other_canonical_forms(left, right):
    assert identity(left) != identity(right)
