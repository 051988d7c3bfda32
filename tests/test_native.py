"""Native code computes what the interpreter does; what follows a kernel is computed with it; nothing is lost."""

import copy
import os

import numpy as np
import pytest
import torch
from torch import nn

import canvas
from canvas import Layer, _core, native, native_compiler, native_endings, parse
from canvas.backends import BACKENDS
from canvas.errors import UserError
from canvas.folding import fold
from canvas.models import resnet8
from canvas.native import NativeKernel
from sampled import Case, each, one_each

STEP = int(os.environ.get("CANVAS_NATIVE_STEP", "16"))  # every so many kernels; 1: all

needs_compiler = pytest.mark.skipif(native_compiler.compiler() is None, reason="no C++ compiler")


def computed(case: Case, threads: int) -> np.ndarray:
    """What native code makes of the case's input."""
    module = NativeKernel(case.module(torch.float32)).eval()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.no_grad():
            return module(torch.from_numpy(case.x).float()).numpy()
    finally:
        torch.set_num_threads(before)


def off(got: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(got - wanted).max() / max(1e-30, np.abs(wanted).max()))


def emulated(width: int, registers: int, bf16: bool = False) -> native_compiler.Target:
    """A processor with other vectors, as this one runs its code; wider ones than its own take long to optimise."""
    own = native_compiler.target()
    return native_compiler.Target(own.flags if width <= own.width else (*own.flags, "-O0"), width, registers, bf16)


@needs_compiler
def test_sampled_kernels_compute_what_the_interpreter_does():
    def check(case: Case) -> None:
        for threads in (1, 2):
            got = computed(case, threads)
            assert got.shape == case.expected.shape
            assert off(got, case.expected) <= 1e-4, f"{threads} threads"

    each(one_each()[::STEP], check)


@needs_compiler
def test_parts_of_a_merge_may_have_the_names_of_what_is_summed():
    text = """kernel again(x[C]) -> [K]:
      v = fc(x, [C] -> [b = C/4, a = 4])
      w = fc(add(split(x, [C] -> [a = 4, b = C/4]), v), [a, b] -> [K])
      return add(w, merge(fc(v, [b] -> [c = K/4], per: [a]), [a, c] -> [K]))
    """
    module, x = parse(text).module(Layer(12, 8, (), tokens=3)).eval(), torch.randn(2, 3, 12)
    with torch.no_grad():
        torch.testing.assert_close(NativeKernel(module)(x), module(x), rtol=1e-4, atol=1e-5)


@needs_compiler
@pytest.mark.parametrize("width", [1, 4, 16])
def test_any_width_of_vectors_computes_the_same(width, monkeypatch):
    machine = native_compiler.target()
    monkeypatch.setattr(native_compiler, "target", lambda: native_compiler.Target(machine.flags, width, 32))
    for name in ("involution", "shift_pointwise", "cross_covariance_attention"):
        layer = Layer(20, 12, (7, 5))
        module = canvas.zoo()[name].module(layer).eval()
        x = torch.randn(2, 20, 7, 5)
        with torch.no_grad():
            assert off(NativeKernel(module)(x).numpy(), module(x).numpy()) <= 1e-5, name


@needs_compiler
@pytest.mark.parametrize("width", [8, 16])
@pytest.mark.parametrize(
    "name", ["non_local", "window_attention", "axial_attention", "lambda_layer", "outlook_attention"]
)
@pytest.mark.parametrize("extents", [(24, 20), (6, 4)])
def test_attention_computes_the_same_in_blocks_and_at_once(name, width, extents, monkeypatch):
    """Its pairs of positions go beyond the cache, or do not."""
    machine = native_compiler.target()
    monkeypatch.setattr(native_compiler, "target", lambda: native_compiler.Target(machine.flags, width, 32))
    module = canvas.zoo()[name].module(Layer(16, 24, extents)).eval()
    x = torch.randn(2, 16, *extents)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            with torch.no_grad():
                for images in (2, 1):
                    assert off(NativeKernel(module)(x[:images]).numpy(), module(x[:images]).numpy()) <= 2e-5
    finally:
        torch.set_num_threads(before)


IN_PLANES = {"cross_covariance_attention": True, "permute_mlp": True, "mlp_mixer": False, "spatial_gating_unit": False}


@needs_compiler
@pytest.mark.parametrize("width", [4, 16])
@pytest.mark.parametrize("extents", [(7, 5), (33, 18)])
@pytest.mark.parametrize("name", IN_PLANES)
def test_what_is_stored_the_other_way_round_is_copied_right(name, width, extents, monkeypatch):
    """A contraction along positions wants them as neighbours: squares of vectors are transposed, and what is left."""
    made = emulated(width, 32)
    monkeypatch.setattr(native_compiler, "target", lambda: made)
    tokens = extents[0] * extents[1]
    module = canvas.zoo()[name].module(Layer(20, 20, extents) if IN_PLANES[name] else Layer(20, 20, tokens=tokens))
    x = torch.randn(2, 20, *extents) if IN_PLANES[name] else torch.randn(2, tokens, 20)
    with torch.no_grad():
        assert off(NativeKernel(module.eval())(x).numpy(), module(x).numpy()) <= 2e-5


ONE = ("relu", "gelu", "silu", "sigmoid", "tanh", "abs", "exp", "neg", "sin", "sqrt", "square")
FUNCTIONS = dict.fromkeys(ONE, "v") | dict.fromkeys(("add", "sub", "mul", "div", "max", "min"), "v, m")


@needs_compiler
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_exact_over_their_range(name):
    text = (
        "kernel k(x[C, H, W]) -> [K, H/s, W/s]:\n  v = subsample(x, H: s, W: s)\n  m = sigmoid(v)\n"
        f"  y = {name}({FUNCTIONS[name]})\n  z = add(m, y)\n  return fc(z, [C] -> [K])\n"
    )
    bound = parse(text).bind([Layer(1, 1, (40, 21))])[0]
    x = np.linspace(-20, 20, 840).reshape(1, 1, 40, 21)
    parameters = {name: np.ones(shape) for name, shape, _ in bound.parameters()}
    module = canvas.kernel.module_from_source(bound.source()).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(1)
        got = NativeKernel(module)(torch.from_numpy(x).float()).numpy()
    np.testing.assert_allclose(got, bound.interpret(x, parameters), rtol=2e-6, atol=2e-6)


@needs_compiler
@pytest.mark.parametrize(("name", "largest"), [("sin", 8000), ("sin", 1e6), ("sqrt", 1e30), ("gelu", 1e30)])
def test_functions_are_exact_for_large_numbers(name, largest):
    """Reduced to their range, or by their bits."""
    kernel = parse(f"kernel k(x[T, C]) -> [T, K]:\n  return {name}(fc(x, [C] -> [K]))")
    module = kernel.module(Layer(1, 1, tokens=4000)).eval()
    x = torch.linspace(0, 1, 4000).reshape(1, 4000, 1) ** 2 * largest
    x[:, ::2] *= 1e-30 if name == "sqrt" else -1
    with torch.no_grad():
        next(module.parameters()).fill_(1)
        got = NativeKernel(module)(x).double()
        wanted = module.double()(x.double())
    errors = (got - wanted).abs() / wanted.abs().clamp(min=0 if name == "sqrt" else 1)
    assert errors.max() <= (1e-6 if name == "gelu" else 2e-7)


@needs_compiler
@pytest.mark.parametrize("name", ["relu", "gelu", "silu", "sigmoid", "tanh"])
def test_functions_keep_what_is_no_number(name):
    module = parse(f"kernel k(x[T, C]) -> [T, K]:\n  return {name}(fc(x, [C] -> [K]))").module(Layer(1, 1, tokens=20))
    x = torch.zeros(1, 20, 1)
    x[0, 3] = torch.nan
    with torch.no_grad():
        torch.testing.assert_close(NativeKernel(module.eval())(x), module(x), equal_nan=True)


@needs_compiler
@pytest.mark.parametrize("name", ["replk", "slak"])
@pytest.mark.parametrize("extents", [(4, 3), (9, 20), (1, 1)])
@pytest.mark.parametrize("stride", [1, 2])
def test_windows_beyond_the_image_cost_what_they_meet(name, extents, stride):
    """Of a window of 31 or 51 an image of 4 meets 7 at most: the rest is neither stored nor computed."""
    layer = Layer(16, 16, extents, stride=stride)
    module = canvas.zoo()[name].module(layer).eval()
    x = torch.randn(2, 16, *extents)
    with torch.no_grad():
        assert off(NativeKernel(module)(x).numpy(), module(x).numpy()) <= 1e-5
    kernel, sizes = native.kernel_of(module)
    cycles = [
        _core.native_source(kernel, sizes | {"H": height, "W": width}, 16, 32)[-1][0] / (height * width)
        for height, width in (extents, (64, 64))
    ]
    assert extents != (4, 3) or cycles[0] < cycles[1] / 2


@needs_compiler
@pytest.mark.parametrize("name", ["depthwise_separable", "grouped", "involution"])
def test_a_network_computes_the_same_and_leaves_no_norm_and_no_relu_behind_kernels(name):
    torch.manual_seed(0)
    x = torch.randn(3, 1, 28, 28)
    network = canvas.replace(resnet8(), canvas.zoo()[name], example=x)
    with torch.no_grad():
        for _ in range(3):
            network(x)
        network.eval()
        wanted = network(x)
        got = BACKENDS["native"].prepare(network, x)(x)
    torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-4, check_stride=False)
    traced = fold(native.with_native_kernels(copy.deepcopy(network)))
    native_endings.join_endings(traced)
    kernels = [module for module in traced.modules() if isinstance(module, NativeKernel)]
    assert len(kernels) >= 6 and all(kernel.scale is not None for kernel in kernels)
    assert sum(kernel.relu for kernel in kernels) >= 6 and sum(kernel.adds for kernel in kernels) >= 3
    by_pytorch = traced(x)  # there are gradients to take
    assert by_pytorch.requires_grad
    torch.testing.assert_close(by_pytorch.detach(), wanted, rtol=1e-3, atol=1e-4, check_stride=False)


@needs_compiler
def test_a_bias_is_part_of_the_kernel():
    torch.manual_seed(0)
    x = torch.randn(2, 8, 6, 6)
    model = canvas.replace(
        nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU()), canvas.zoo()["dense"], example=x
    ).eval()
    nn.init.normal_(model[0].bias)
    with torch.no_grad():
        wanted = model(x)
        got = BACKENDS["native"].prepare(model, x)(x)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5, check_stride=False)


def test_what_is_added_along_positions_is_no_bias():
    kernel = NativeKernel(canvas.zoo()["dense"].module(Layer(8, 8, (8, 8))))
    assert kernel.by_channel(torch.zeros(8, 1, 1)) and kernel.by_channel(torch.zeros(1, 8, 1, 1))
    assert not any(map(kernel.by_channel, (torch.zeros(8), torch.zeros(1, 1, 8), torch.zeros(8, 8, 8))))


IN_BLOCKS = """kernel k(x[C, H, W]) -> [K, H/s, W/s]:
  v = silu(bias(subsample(unfold(x, W: 5, H: 5), H: s, W: s), [C, w, h]))
  u = fc(v, [C, w, h] -> [c = K/4])
  return fc(u, [c] -> [K])
"""


@pytest.mark.parametrize(
    ("kernel", "channels", "extent"), [(IN_BLOCKS, 256, 8), (None, 512, 4)], ids=["window", "axial_deeplab"]
)
def test_blocks_leave_enough_positions_to_share_weights(kernel, channels, extent):
    """Counted in cycles a block costs little: what it saves, the way to memory, is not counted."""
    layer = Layer(channels, channels, (extent, extent))
    bound = (parse(kernel) if kernel else canvas.zoo()["axial_deeplab"]).bind([layer])[0]
    kernel, sizes = native.kernel_of(canvas.kernel.module_from_source(bound.source()))
    cycles = [
        _core.native_source(kernel, sizes, 16, 32, choices={"cache": elements})[-1][0]
        for elements in (24 * 1024, 10**9)
    ]
    assert cycles[0] <= 1.5 * cycles[1]


def small() -> tuple[nn.Module, torch.Tensor]:
    return canvas.zoo()["depthwise_separable"].module(Layer(8, 8, (6, 6))), torch.randn(2, 8, 6, 6)


@needs_compiler
def test_gradients_and_other_types_are_left_to_pytorch():
    module, x = small()
    kernel = NativeKernel(module)
    torch.testing.assert_close(kernel(x), module(x))
    kernel(x).sum().backward()
    assert all(p.grad is not None for p in module.parameters())
    with torch.no_grad():
        assert copy.deepcopy(kernel).double()(x.double()).dtype == torch.float64


@needs_compiler
@needs_compiler
@pytest.mark.parametrize("name", ["depthwise_separable", "involution"])
def test_compiled_graphs_hold_native_kernels_whole(name):
    layers = [Layer(8, 16, (7, 6), stride=2), Layer(16, 16, (4, 3))]
    model = nn.Sequential(*(canvas.zoo()[name].module(layer) for layer in layers)).eval()
    x = torch.randn(3, 8, 7, 6)
    twin = copy.deepcopy(native.with_native_kernels(copy.deepcopy(model)))
    graphs = []

    def backend(graph, inputs):
        graphs.append([node.target for node in graph.graph.nodes if node.op == "call_function"])
        return graph

    with torch.no_grad():
        wanted = model(x)
        got = torch.compile(twin, backend=backend, fullgraph=True)(x)
        assert torch.ops.canvas.native in [getattr(target, "overloadpacket", target) for target in graphs[0]]
        lowered = torch.compile(twin, backend="aot_eager", fullgraph=True)(x)  # shapes and strides without values
    assert torch.allclose(got, wanted, atol=1e-5)
    assert torch.allclose(lowered, wanted, atol=1e-5)
    x.requires_grad_()
    twin(x).sum().backward()
    assert x.grad.abs().sum() > 0


@needs_compiler
def test_the_operator_keeps_the_rules_of_pytorch():
    layer = Layer(8, 12, (5, 4))
    kernel = NativeKernel(canvas.zoo()["dense"].module(layer)).eval()
    linear = NativeKernel(parse("kernel l(x[C]) -> [K]:\n  return fc(x, [C] -> [K])").module(Layer(8, 12, ())))
    for module, x in ((kernel, torch.randn(2, 8, 5, 4)), (linear, torch.randn(2, 3, 8)), (linear, torch.randn(8))):
        torch.library.opcheck(torch.ops.canvas.native, (x, None, module.number))


def test_a_wrong_shape_is_refused():
    module, _ = small()
    with torch.no_grad(), pytest.raises(UserError, match=r"inputs of shape \['N', 8, 6, 6\], got \[2, 8, 7, 6\]"):
        NativeKernel(module)(torch.zeros(2, 8, 7, 6))


def test_another_module_is_refused():
    with pytest.raises(UserError, match="Linear is no kernel's module"):
        NativeKernel(nn.Linear(2, 2))


SOURCE = 'extern "C" int answer() { return 42; }\n'


@needs_compiler
def test_nothing_is_compiled_twice(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert native_compiler.load(SOURCE).answer() == 42
    monkeypatch.setattr(native_compiler, "compiled", None)
    assert native_compiler.load(SOURCE).answer() == 42
    assert [file.suffix for file in native_compiler.cache_folder().iterdir()] == [".so"]


@needs_compiler
def test_a_broken_file_in_the_cache_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "whole"))
    native_compiler.load(SOURCE)
    [whole] = native_compiler.cache_folder().iterdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "broken"))
    native_compiler.cache_folder().mkdir(parents=True)
    broken = native_compiler.cache_folder() / whole.name
    broken.write_bytes(b"no library")
    assert native_compiler.load(SOURCE).answer() == 42 and broken.stat().st_size > 100


@needs_compiler
def test_a_cache_that_cannot_be_written_costs_time_alone(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert native_compiler.load(SOURCE).answer() == 42


@needs_compiler
def test_a_full_cache_costs_time_alone(tmp_path, monkeypatch):
    """The compiler cannot write the shared object there, though its source still went in."""
    program = tmp_path / "c++"
    full = f'case "$*" in *{tmp_path}/cache*) echo "ld: final link failed: No space left on device" >&2; exit 1;; esac'
    program.write_text(f'#!/bin/sh\n{full}\nexec {native_compiler.compiler()} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("CXX", str(program))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert native_compiler.load(SOURCE).answer() == 42
    assert list(native_compiler.cache_folder().iterdir()) == []


@needs_compiler
def test_code_for_another_processor_is_not_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    native_compiler.load(SOURCE)
    monkeypatch.setattr(native_compiler, "target", lambda: native_compiler.Target(("-O1",), 4, 16))
    native_compiler.load(SOURCE)
    assert len(list(native_compiler.cache_folder().iterdir())) == 2


@needs_compiler
@pytest.mark.parametrize("script", ["kill -9 $$", "echo broken >&2; exit 1", "exit 0"])
def test_a_compile_that_fails_is_told_and_leaves_nothing(script, tmp_path, monkeypatch):
    program = tmp_path / "c++"
    program.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exit 0\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("CXX", str(program))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(UserError, match=r"native code: .*c\+\+ failed"):
        native_compiler.load(SOURCE)
    assert list(native_compiler.cache_folder().iterdir()) == []


def test_without_a_compiler_the_backend_says_so(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    module, x = small()
    with pytest.raises(UserError, match=r"there is no C\+\+ compiler; install g\+\+"):
        BACKENDS["native"].prepare(module, x)


def test_sizes_are_checked():
    kernel = canvas.zoo()["dense"]
    with pytest.raises(ValueError, match="dense has no size 'r'"):
        _core.native_source(kernel, {"C": 8, "r": 2}, 8, 16)
    with pytest.raises(ValueError, match="has no size"):
        _core.native_source(kernel, {"C": 8}, 8, 16)
    with pytest.raises(ValueError, match="a vector holds"):
        _core.native_source(kernel, {"C": 8}, 7, 16)
