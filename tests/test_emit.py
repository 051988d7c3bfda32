"""The emitted PyTorch module equals the interpreter, takes any layout, type and resolution, and has the fast shape."""

import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from canvas._core import Layer, parse, sample
from canvas.kernel import module_from_source

KERNELS = {
    "dense": """
  d = fc(unfold(x, H: 3, W: 3), [C, h, w] -> [K])
  return subsample(d, H: s, W: s)""",
    "dilated": """
  d = fc(unfold(x, H: 3, W: 5, dilation: 2), [C, h, w] -> [K])
  return subsample(d, H: s, W: s)""",
    "grouped_shuffle": """
  a = split(x, [C] -> [g = 4, c = C/4])
  u = unfold(a, H: 3, W: 3)
  d = fc(u, [c, h, w] -> [k = K/4], per: [g])
  m = merge(d, [k, g] -> [K])
  return subsample(m, H: s, W: s)""",
    "unfold_then_split": """
  a = split(unfold(x, H: 3, W: 3), [C] -> [g = 4, c = C/4])
  d = fc(a, [c, h, w] -> [k = K/4], per: [g])
  return subsample(merge(d, [g, k] -> [K]), H: s, W: s)""",
    "depthwise_separable": """
  d = fc(unfold(x, H: 3, W: 3), [h, w] -> [], per: [C])
  p = subsample(d, H: s, W: s)
  return fc(p, [C] -> [K])""",
    "low_rank": """
  a = fc(x, [C] -> [m = C/2])
  u = unfold(subsample(a, H: s, W: s), H: 3, W: 3)
  return fc(u, [m, h, w] -> [K])""",
    "bottleneck": """
  a = relu(fc(x, [C] -> [m = C/2]))
  b = gelu(fc(unfold(a, H: 3, W: 3), [m, h, w] -> [n = C/2]))
  return fc(subsample(b, H: s, W: s), [n] -> [K])""",
    "asymmetric": """
  a = fc(unfold(x, H: 3), [C, h] -> [m = K])
  b = fc(unfold(a, W: 3), [m, w] -> [K])
  return subsample(b, H: s, W: s)""",
    "im2col": """
  m = merge(unfold(x, H: 3, W: 3), [C, h, w] -> [q = C*9])
  return subsample(fc(m, [q] -> [K]), H: s, W: s)""",
    "windows_crossed": """
  d = fc(unfold(x, W: 3, H: 5), [C, w, h] -> [K])
  return subsample(d, H: s, W: s)""",
    "window_of_window": """
  v = unfold(unfold(x, H: 3), H: i = 3)
  return subsample(fc(v, [C, h, i] -> [K]), H: s, W: s)""",
    "involution": """
  p = subsample(x, H: s, W: s)
  z = fc(p, [C] -> [g = 4, h = 3, w = 3])
  u = unfold(split(p, [C] -> [g = 4, c = C/4]), H: 3, W: 3)
  y = fold(mul(u, z), sum: [h, w])
  return fc(merge(y, [g, c] -> [C]), [C] -> [K])""",
    "involution_strided_late": """
  z = fc(x, [C] -> [g = 4, h = 3, w = 3])
  u = unfold(split(x, [C] -> [g = 4, c = C/4]), H: 3, W: 3, dilation: 2)
  y = merge(fold(mul(u, z), sum: [h, w]), [g, c] -> [C])
  return fc(subsample(y, H: s, W: s), [C] -> [K])""",
    "local_attention": """
  q = fc(x, [C] -> [m = C/2])
  k = unfold(fc(x, [C] -> [m = C/2]), H: 3, W: 3)
  a = softmax(contract(q, k, [m]), [h, w])
  y = contract(a, unfold(x, H: 3, W: 3), [h, w])
  return fc(subsample(y, H: s, W: s), [C] -> [K])""",
    "token_attention": """
  t = merge(x, [H, W] -> [t = H*W])
  a = softmax(fc(t, [C] -> [m = C/2]), [t])
  y = contract(contract(t, a, [t]), a, [m])
  return subsample(fc(split(y, [t] -> [H = H, W = W]), [C] -> [K]), H: s, W: s)""",
    "squeeze_excite": """
  d = fc(unfold(x, H: 3, W: 3), [C, h, w] -> [K])
  a = relu(fc(fold(d, mean: [H, W]), [K] -> [t = K/2]))
  e = sigmoid(fc(a, [t] -> [K]))
  return subsample(mul(d, e), H: s, W: s)""",
    "channel_attention": """
  u = unfold(fold(x, mean: [H, W]), C: 3)
  g = sigmoid(fc(u, [c] -> []))
  return subsample(fc(mul(x, g), [C] -> [K]), H: s, W: s)""",
    "softmax_gate": """
  b = softmax(fc(x, [C] -> [K]), [K])
  return subsample(mul(fc(x, [C] -> [K]), b), H: s, W: s)""",
    "spatial_softmax": """
  t = softmax(fc(x, [C] -> [m = C/2]), [H, W])
  y = contract(contract(x, t, [H, W]), t, [m])
  return subsample(fc(y, [C] -> [K]), H: s, W: s)""",
    "shift": """
  a = shift(shift(x, H: 1), W: -2)
  return subsample(fc(a, [C] -> [K]), H: s, W: s)""",
    "shift_out": """
  a = add(shift(x, H: 100), shift(x, W: -1, H: 2))
  return subsample(fc(a, [C] -> [K]), H: s, W: s)""",
    "neighbourhood": """
  a = shift(x, H: 3, W: 3, over: [C])
  return subsample(fc(a, [C] -> [K]), H: s, W: s)""",
    "neighbourhood_crossed": """
  a = shift(split(x, [C] -> [g = 2, c = C/2]), W: 3, H: 5, over: [c])
  return subsample(fc(a, [g, c] -> [K]), H: s, W: s)""",
    "residual": """
  d = fc(unfold(x, H: 3, W: 3), [h, w] -> [], per: [C])
  return subsample(fc(add(relu(d), x), [C] -> [K]), H: s, W: s)""",
    "pools": """
  u = unfold(x, H: 3, W: 3)
  a = add(fold(u, mean: [h, w]), fold(u, max: [h, w]))
  b = sub(a, fold(unfold(x, H: 3), sum: [h]))
  return subsample(fc(b, [C] -> [K]), H: s, W: s)""",
    "pools_dilated": """
  u = unfold(x, H: 3, W: 3, dilation: 2)
  a = mul(fold(u, mean: [h, w]), fold(u, max: [h, w]))
  b = add(a, fold(unfold(x, H: 3), max: [C, h]))
  return subsample(fc(b, [C] -> [K]), H: s, W: s)""",
    "one_filter": """
  a = fc(unfold(x, H: 3, W: 3), [h, w] -> [])
  return subsample(fc(a, [C] -> [K]), H: s, W: s)""",
    "two_filters": """
  a = fc(unfold(x, H: 3, W: 3), [h, w] -> [f = 2])
  return subsample(fc(a, [C, f] -> [K]), H: s, W: s)""",
    "shared_groups": """
  q = split(x, [C] -> [g = 4, c = C/4])
  a = fc(unfold(q, H: 3, W: 3), [c, h, w] -> [k = K/4])
  return subsample(merge(a, [g, k] -> [K]), H: s, W: s)""",
    "butterfly": """
  q = split(x, [C] -> [g = 4, c = C/4])
  a = fc(q, [g] -> [k = K/4])
  b = fc(a, [c] -> [t = 4], per: [k])
  return subsample(merge(b, [t, k] -> [K]), H: s, W: s)""",
    "weight_per_window": """
  a = fc(unfold(x, H: 3, W: 3), [C] -> [k = K], per: [h])
  b = fc(a, [h, w] -> [], per: [k])
  return subsample(fc(b, [k] -> [K]), H: s, W: s)""",
    "affine": """
  a = bias(scale(x, [C]), [C])
  u = scale(unfold(a, H: 3, W: 3), [C, h, w])
  b = scale(fc(fold(u, sum: [h, w]), [C] -> [K]), [K])
  return subsample(b, H: s, W: s)""",
    "activations": """
  a = exp(neg(x))
  b = sqrt(add(abs(x), sin(x)))
  c = tanh(silu(square(x)))
  return subsample(fc(mul(a, sub(b, c)), [C] -> [K]), H: s, W: s)""",
    "awkward_names": """
  half = relu(fc(x, [C] -> [forward = C]))
  half_ = fc(half, [forward] -> [K])
  F = scale(half_, [K])
  return subsample(F, H: s, W: s)""",
}
# These have weights along H or W: one resolution only.
FIXED = {
    "mixing": """
  b = fc(fc(x, [H] -> [H]), [W] -> [W], per: [C])
  return subsample(fc(b, [C] -> [K]), H: s, W: s)""",
    "global_context": """
  a = fc(fc(x, [H, W] -> [t = 4]), [C] -> [m = C/2])
  c = fc(a, [t, m] -> [K])
  return subsample(mul(fc(x, [C] -> [K]), c), H: s, W: s)""",
    "weight_per_position": """
  a = fc(unfold(x, H: 3, W: 3), [h, w] -> [], per: [H, W])
  return subsample(fc(a, [C] -> [K]), H: s, W: s)""",
    "position_bias": """
  return subsample(bias(fc(x, [C] -> [K]), [H]), H: s, W: s)""",
}
OTHER_SHAPES = {
    "one_dimension": (
        "kernel k(x[C, W]) -> [K, W/s]:\n  d = fc(unfold(x, W: 5), [w] -> [], per: [C])\n"
        "  return fc(subsample(d, W: s), [C] -> [K])",
        Layer(8, 16, (9,), stride=2),
    ),
    "three_dimensions": (
        "kernel k(x[C, D, H, W]) -> [K, D/s, H/s, W/s]:\n  u = unfold(x, D: 3, H: 3, W: 3)\n"
        "  d = add(fc(u, [C, d, h, w] -> [K]), fc(x, [C] -> [K]))\n  return subsample(d, D: s, H: s, W: s)",
        Layer(4, 6, (3, 4, 5), stride=2),
    ),
}
LAYERS = [
    Layer(8, 16, (6, 6)),
    Layer(8, 8, (7, 9), stride=2),
    Layer(16, 8, (6, 8), stride=2),
    Layer(8, 16, (5, 7), stride=3),
]


def kernel(name):
    body = (KERNELS | FIXED)[name]
    return parse(f"kernel {name}(x[C, H, W]) -> [K, H/s, W/s]:{body}\n", name)


def forward_of(source):
    return source[source.index("def forward") :]


def module_and_arrays(made, layer, seed=0):
    """A float64 module with random weights, and the same weights as the interpreter wants them."""
    torch.manual_seed(seed)
    module = module_from_source(made.source(layer)).double()
    arrays = {}
    for name, logical, stored in made.parameters(layer):
        parameter = getattr(module, name)
        assert tuple(parameter.shape) == tuple(stored)
        assert len(stored) <= 4
        torch.nn.init.normal_(parameter)
        arrays[name] = parameter.detach().numpy().reshape(logical)
    assert set(arrays) == {name for name, _ in module.named_parameters()}
    return module, arrays


def assert_equal_to_interpreter(made, layer, batch):
    module, arrays = module_and_arrays(made, layer)
    x = torch.randn(batch, layer.c_in, *layer.spatial, dtype=torch.float64)
    want = np.asarray(made.interpret(layer, x.numpy(), arrays))
    assert want.shape == (batch, layer.c_out, *(-(-extent // layer.stride) for extent in layer.spatial))
    scale = max(1.0, np.abs(want).max())
    got = module(x)
    assert got.shape == want.shape
    assert np.abs(got.detach().numpy() - want).max() / scale < 1e-9
    got.square().sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    if len(layer.spatial) == 2:
        turned = module.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
        assert np.abs(turned.detach().numpy() - want).max() / scale < 1e-9
    single = module.float()(x.float()).detach().numpy()
    assert np.abs(single - want).max() / scale < 1e-4


@pytest.mark.parametrize("layer", LAYERS, ids=str)
@pytest.mark.parametrize("name", [*KERNELS, *FIXED])
def test_emitted_equals_interpreted(name, layer):
    assert_equal_to_interpreter(kernel(name), layer, batch=1 if layer.stride == 1 else 3)


@pytest.mark.parametrize("name", OTHER_SHAPES)
def test_emitted_equals_interpreted_in_other_dimensions(name):
    text, layer = OTHER_SHAPES[name]
    assert_equal_to_interpreter(parse(text), layer, batch=2)


@pytest.mark.parametrize("layer", [Layer(8, 16, (5, 7), stride=2), Layer(6, 12, (6, 6))], ids=str)
def test_sampled_kernels_emit_what_they_mean(layer):
    for made in sample([layer], 40, seed=7):
        assert_equal_to_interpreter(made, layer, batch=2)


@pytest.mark.parametrize(
    "name", ["grouped_shuffle", "involution", "squeeze_excite", "neighbourhood", "token_attention"]
)
def test_gradients_against_finite_differences(name):
    layer = Layer(4, 4, (3, 4), stride=2)
    module, _ = module_and_arrays(kernel(name), layer)
    x = torch.randn(2, 4, 3, 4, dtype=torch.float64, requires_grad=True)
    names, weights = zip(*module.named_parameters(), strict=True)

    def call(x, *weights):
        return torch.func.functional_call(module, dict(zip(names, weights, strict=True)), (x,))

    assert gradcheck(call, (x, *weights))


@pytest.mark.parametrize("name", KERNELS)
def test_any_resolution_and_reduced_precision(name):
    layer = Layer(8, 8, (6, 6), stride=2)
    source = kernel(name).source(layer)
    other = Layer(8, 8, (9, 7), stride=2)
    torch.manual_seed(0)
    module = module_from_source(source)
    same = module_from_source(kernel(name).source(other))
    same.load_state_dict(module.state_dict())
    x = torch.randn(2, 8, 9, 7)
    torch.testing.assert_close(module(x), same(x))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert module(x).shape == (2, 8, 5, 4)
    assert module.bfloat16()(x.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("name", FIXED)
def test_weights_along_space_name_the_resolution_that_they_need(name):
    module = module_from_source(kernel(name).source(Layer(8, 8, (6, 6))))
    with pytest.raises(ValueError, match=r"has weights along H and takes H = 6, got 8"):
        module(torch.zeros(1, 8, 8, 6))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("last", ["y", "softmax(y, [b])", "fold(unfold(y, H: 3), max: [h])"])
def test_an_axis_may_be_the_shorter_the_wider_the_image(last, stride):
    made = parse(f"""kernel shorter(x[C, H, W]) -> [K, H/s, W/s]:
  y = fc(subsample(x, H: s, W: s), [C] -> [a = W, b])
  return merge({last}, [a, b] -> [K])
""")
    layer = Layer(8, 12, (4, 6), stride=stride)
    assert_equal_to_interpreter(made, layer, batch=2)
    with pytest.raises(ValueError, match=r"has weights along W and takes W = 6, got 4"):
        module_from_source(made.source(layer))(torch.zeros(1, 8, 4, 4))


def test_source_needs_torch_alone(tmp_path):
    file = tmp_path / "kernel.py"
    file.write_text(kernel("neighbourhood").source(Layer(8, 16, (6, 6), stride=2)))
    script = "import sys, torch, kernel; print(kernel.Module()(torch.zeros(1, 8, 6, 6)).shape, 'canvas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "torch.Size([1, 16, 3, 3]) False\n"


def test_dense_kernel_source():
    source = kernel("dense").source(Layer(16, 32, (8, 8), stride=2))
    assert source.endswith(
        """
    def __init__(self):
        super().__init__()
        self.d = nn.Parameter(torch.randn(32, 16, 3, 3) * 0.0833333)

    def forward(self, x):
        return F.conv2d(x, self.d, stride=2, padding=1)


Module = Dense
"""
    )


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("im2col", ["return F.conv2d(x, self.v3, stride=2, padding=1)"]),
        ("low_rank", ["a = F.conv2d(x, self.a, stride=2)", "return F.conv2d(a, self.result, padding=1)"]),
        (
            "depthwise_separable",
            ["d = F.conv2d(x, self.d, stride=2, padding=1, groups=16)", "return F.conv2d(d, self.result)"],
        ),
        (
            "grouped_shuffle",
            [
                "d = F.conv2d(x, self.d, stride=2, padding=1, groups=4)",
                "return d.unflatten(1, (4, 8)).transpose(1, 2).flatten(1, 2)",
            ],
        ),
        (
            "asymmetric",
            ["a = F.conv2d(x, self.a, padding=(1, 0))", "return F.conv2d(a, self.b, stride=2, padding=(0, 1))"],
        ),
    ],
)
def test_usual_kernels_read_as_written_by_hand(name, lines):
    body = forward_of(kernel(name).source(Layer(16, 32, (8, 8), stride=2)))
    statements = [line.strip() for line in body.splitlines()[1:] if line.startswith("        ")]
    assert [re.sub(r"self\.v\d+", "self.v3", line) for line in statements] == lines


@pytest.mark.parametrize("name", ["involution", "local_attention"])
def test_windows_of_activations_are_never_stored(name):
    body = forward_of(kernel(name).source(Layer(16, 16, (8, 8))))
    assert "unfold(" not in body
    assert not re.search(r"stack\(\[\w+\[[^\]]*\] for", body)  # a stack of slices would be the windows themselves


def test_start_keeps_the_variance():
    layer = Layer(32, 32, (16, 16))
    for name in ("dense", "depthwise_separable", "bottleneck"):
        torch.manual_seed(0)
        y = module_from_source(kernel(name).source(layer))(torch.randn(8, 32, 16, 16))
        assert 0.5 < y.std().item() < 1.5


def test_dot_names_every_primitive():
    dot = kernel("depthwise_separable").dot()
    assert dot.startswith('digraph "depthwise_separable" {')
    assert dot.count("->") - dot.count("-> [") == len(kernel("depthwise_separable")) + 1
    assert dot.count('fillcolor="#fef3c7"') == 2
