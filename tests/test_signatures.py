"""Kernels of every signature by themselves: hand-written edge cases, the sampler's rules, shapes that a module takes.

The laws over sampled kernels (test_laws, test_laws_torch) hold them too; networks are in test_replace_kinds.
"""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from canvas import Layer, parse, sample
from canvas._core import Search
from canvas.kernel import module_from_source
from sampled import SEED, input_shape, output_shape

BODIES = {
    "(x[C]) -> [K]": {
        "plain": "  return fc(x, [C] -> [K])",
        "low_rank": "  return fc(gelu(bias(scale(fc(x, [C] -> [m = C/2]), [m]), [m])), [m] -> [K])",
        "shuffled": """  y = split(x, [C] -> [g = 4, c = C/4])
  return merge(fc(y, [c] -> [k = K/4], per: [g]), [k, g] -> [K])""",
        "gated": """  a = fold(split(x, [C] -> [g = 2, c = C/2]), max: [g])
  return mul(fc(x, [C] -> [K]), sigmoid(fc(a, [c] -> [K])))""",
        "butterfly": """  y = fc(split(x, [C] -> [g = 4, c = C/4]), [g] -> [k = K/4])
  return merge(fc(y, [c] -> [t = 4], per: [k]), [t, k] -> [K])""",
        "memory": "  return fc(softmax(fc(x, [C] -> [m = 5]), [m]), [m] -> [K])",
        "channel_window": "  return fc(unfold(x, C: 3), [C, c] -> [K])",
    },
    "(x[T, C]) -> [T, K]": {
        "plain": "  return fc(x, [C] -> [K])",
        "windowed": "  return fc(unfold(x, T: 3), [C, t] -> [K])",
        "depthwise": "  return fc(relu(fc(unfold(x, T: 5, dilation: 2), [t] -> [], per: [C])), [C] -> [K])",
        "shifted": "  return fc(shift(x, T: 3, over: [C]), [C] -> [K])",
        "global": "  return fc(mul(x, sigmoid(fold(x, mean: [T]))), [C] -> [K])",
        "local_attention": """  q = fc(x, [C] -> [m])
  k = unfold(fc(x, [C] -> [m]), T: 3)
  v = unfold(fc(x, [C] -> [K]), T: 3)
  return contract(softmax(contract(q, k, [m]), [t]), v, [t])""",
        "pooled": "  return fc(sub(fold(unfold(x, T: 3), mean: [t]), x), [C] -> [K])",
        "attention": """  a = softmax(fc(x, [C] -> [m = 4]), [T])
  return fc(contract(contract(a, x, [T]), a, [m]), [C] -> [K])""",
    },
    "(x[C, W]) -> [K, W/s]": {
        "windowed": "  return fc(subsample(unfold(x, W: 5), W: s), [C, w] -> [K])",
        "shifted": "  return fc(subsample(shift(x, W: 3, over: [C]), W: s), [C] -> [K])",
    },
    "(x[C, D, H, W]) -> [K, D/s, H/s, W/s]": {
        "windowed": "  return fc(subsample(unfold(x, D: 3, H: 3, W: 3), D: s, H: s, W: s), [C, d, h, w] -> [K])",
        "shifted": "  return fc(subsample(shift(x, D: 3, H: 3, W: 3, over: [C]), D: s, H: s, W: s), [C] -> [K])",
        "factored": """  a = fc(unfold(x, D: 3), [d] -> [], per: [C])
  b = fc(unfold(a, H: 3, W: 3), [h, w] -> [], per: [C])
  return fc(subsample(b, D: s, H: s, W: s), [C] -> [K])""",
    },
}
LAYERS = {
    "(x[C]) -> [K]": [Layer(8, 16, ()), Layer(16, 8, tokens=5)],
    "(x[T, C]) -> [T, K]": [Layer(8, 16, tokens=6), Layer(16, 8, tokens=5), Layer(8, 8, tokens=1)],
    "(x[C, W]) -> [K, W/s]": [Layer(8, 16, (6,)), Layer(16, 8, (7,), stride=2), Layer(8, 8, (6,), stride=2)],
    "(x[C, D, H, W]) -> [K, D/s, H/s, W/s]": [Layer(4, 8, (4, 5, 6)), Layer(8, 4, (3, 4, 5), stride=2)],
}
CASES = [(signature, name) for signature, bodies in BODIES.items() for name in bodies]
FIXED = "kernel mixing(x[T, C]) -> [T, K]:\n  return bias(fc(fc(x, [T] -> [T]), [C] -> [K]), [T])"


def kernel(signature, name):
    return parse(f"kernel {name}{signature}:\n{BODIES[signature][name]}\n")


def module_and_arrays(made, layer, dtype=torch.float64):
    torch.manual_seed(0)
    module = module_from_source(made.source(layer)).to(dtype)
    shapes = {name: logical for name, logical, _ in made.parameters(layer)}
    own = dict(module.named_parameters())
    return module, {name: own[name].detach().double().numpy().reshape(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize(("signature", "name"), [*CASES, ("(x[T, C]) -> [T, K]", None)])
@pytest.mark.parametrize("batch", [1, 3])
def test_emitted_equals_interpreted(signature, name, batch):
    made = parse(FIXED) if name is None else kernel(signature, name)
    for layer in LAYERS[signature]:
        module, arrays = module_and_arrays(made, layer)
        x = torch.randn(input_shape(layer, batch), dtype=torch.float64)
        want = made.interpret(layer, x.numpy(), arrays)
        got = module(x)
        assert got.shape == want.shape == output_shape(layer, batch)
        np.testing.assert_allclose(got.detach().numpy(), want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", [name for signature, name in CASES if signature == "(x[C]) -> [K]"])
def test_a_linear_kernel_takes_any_leading_axes(name):
    made, layer = kernel("(x[C]) -> [K]", name), Layer(8, 16, ())
    module, arrays = module_and_arrays(made, layer)
    for leading in [(), (3,), (2, 1), (2, 3, 2, 2)]:
        x = torch.randn(*leading, 8, dtype=torch.float64)
        want = made.interpret(layer, x.numpy(), arrays)
        assert want.shape == (*leading, 16)
        np.testing.assert_allclose(module(x).detach().numpy(), want, rtol=1e-9, atol=1e-9)
        strided = x.transpose(0, -2).contiguous().transpose(0, -2) if len(leading) > 1 else x
        np.testing.assert_allclose(module(strided).detach().numpy(), want, rtol=1e-9, atol=1e-9)
    assert module(torch.zeros(0, 8, dtype=torch.float64)).shape == (0, 16)
    if name != "channel_window":  # which reads the channels by slices
        with pytest.raises(RuntimeError):
            module(torch.zeros(2, 32, dtype=torch.float64))  # four rows of 8, were they not two of 32


def test_what_does_not_count_dimensions_reads_as_written_by_hand():
    body = kernel("(x[C]) -> [K]", "plain").source(Layer(8, 16, ())).split("forward(self, x):\n")[1]
    assert body.split("\n")[0].strip() == "return F.linear(x, self.result)"
    assert "reshape" not in kernel("(x[C]) -> [K]", "low_rank").source(Layer(8, 16, tokens=4))
    source = kernel("(x[C]) -> [K]", "shuffled").source(Layer(8, 16, tokens=4))
    assert "x = x.reshape(-1, shape[-1])\n" in source and source.count("reshape") == 2
    assert "T =" not in source, "one source for any number of tokens"


@pytest.mark.parametrize(
    ("signature", "name"),
    [
        ("(x[C]) -> [K]", "shuffled"),
        ("(x[T, C]) -> [T, K]", "local_attention"),
        ("(x[T, C]) -> [T, K]", "windowed"),
        ("(x[C, W]) -> [K, W/s]", "shifted"),
        ("(x[C, D, H, W]) -> [K, D/s, H/s, W/s]", "factored"),
    ],
)
def test_gradients_against_finite_differences(signature, name):
    layer = LAYERS[signature][1]
    module, _ = module_and_arrays(kernel(signature, name), layer)
    names, weights = zip(*module.named_parameters(), strict=True)
    x = torch.randn(input_shape(layer, 2), dtype=torch.float64, requires_grad=True)

    def call(x, *weights):
        return torch.func.functional_call(module, dict(zip(names, weights, strict=True)), (x,))

    assert gradcheck(call, (x, *weights), fast_mode=True)


def test_weights_along_the_tokens_name_the_number_that_they_need():
    module = module_from_source(parse(FIXED).source(Layer(8, 8, tokens=6)))
    assert module(torch.zeros(2, 6, 8)).shape == (2, 6, 8)
    with pytest.raises(ValueError, match=r"Mixing has weights along T and takes T = 6, got 7"):
        module(torch.zeros(2, 7, 8))


@pytest.mark.parametrize(
    ("layer", "shape", "needed"),
    [
        (Layer(8, 8, ()), (2, 9), r"\[8\]"),
        (Layer(8, 8, ()), (), r"\[\.\.\., c_in\]"),
        (Layer(8, 8, tokens=4), (4, 8), r"\[N, tokens, c_in\]"),
        (Layer(8, 8, (5,)), (8, 5), r"\[N, c_in, \*spatial\]"),
        (Layer(8, 8, ()), (0, 8), "the batch is empty"),
    ],
)
def test_the_interpreter_names_the_shape_that_it_needs(layer, shape, needed):
    signature = {"linear": "(x[C]) -> [K]", "conv1d": "(x[C, W]) -> [K, W/s]"}[layer.kind]
    made = kernel("(x[T, C]) -> [T, K]" if layer.tokens else signature, "windowed" if layer.spatial else "plain")
    with pytest.raises(ValueError, match=needed):
        made.interpret(layer, np.zeros(shape), {name: np.zeros(shape) for name, shape, _ in made.parameters(layer)})


def reach(made, layer):
    """From the first to the last token that sees the middle one."""
    module, _ = module_and_arrays(made, layer)
    x = torch.randn(input_shape(layer, batch=20), dtype=torch.float64)  # a relu may hide a change in a few
    moved = x.clone()
    moved[:, layer.tokens // 2] += torch.randn(layer.c_in)
    seen = ((module(x) - module(moved)).abs().amax((0, 2)) > 1e-9).nonzero()
    return int(seen.max() - seen.min()) + 1 if len(seen) else 0


def test_the_signature_follows_from_the_layers():
    tokens, linear = Layer(8, 16, tokens=9), Layer(8, 16, ())
    for layers, limits, signature in [
        ([tokens], {}, "(x[T, C]) -> [T, K]"),
        ([tokens, linear], {}, "(x[C]) -> [K]"),
        ([linear], {}, "(x[C]) -> [K]"),
        ([tokens], {"mix_tokens": False}, "(x[C]) -> [K]"),
        ([Layer(8, 16, (9,))], {"mix_tokens": False}, "(x[C, W]) -> [K, W/s]"),
    ]:
        for made in sample(layers, 10, seed=SEED, **limits):
            assert signature in str(made)
            assert all(made.serves(layer) for layer in layers)


def test_tokens_are_mixed_as_far_as_asked():
    layer = Layer(8, 16, tokens=9)
    free = [reach(made, layer) for made in sample([layer], 30, seed=SEED)]
    assert 1 in free and max(free) > 3
    assert all(reach(made, layer) >= 3 for made in sample([layer], 15, seed=SEED, min_reach=3))


@pytest.mark.parametrize("layer", [Layer(16, 32, tokens=9), Layer(16, 32, ()), Layer(16, 32, (9,), stride=2)])
def test_a_search_evolves_kernels(layer):
    runs = []
    for _ in range(2):
        search = Search([layer], None, 3, "evolution", 1)
        found = []
        for index in range(40):
            candidate = search.ask()
            search.tell(index, [candidate.binding.flops, -candidate.binding.params])
            found.append(candidate)
        runs.append([str(candidate.kernel) for candidate in found])
        assert {candidate.origin for candidate in found} >= {"random", "mutation"}
        assert all(candidate.kernel.serves(layer) for candidate in found)
    assert runs[0] == runs[1]
