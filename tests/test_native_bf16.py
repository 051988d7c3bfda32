"""Native code that reads bf16: exact where bf16 is, else off by no more than bf16's eight bits of mantissa explain.

A number rounded to eight bits is off by 2^-8 of itself at most (`HALF`). So a product of two is off by 2 HALF + HALF^2,
a sum of products by as much of the sum of their magnitudes; sums themselves are float32.
"""

import copy
import os

import numpy as np
import pytest
import torch
from torch import nn

import canvas
from canvas import Layer, _core, native, native_compiler
from canvas.backends import find
from canvas.errors import UserError
from canvas.models import resnet8, resnet18
from canvas.native import NativeKernel
from canvas.native_network import NativeNetwork
from sampled import Case, each, one_each
from test_native import emulated
from test_native_network import seasoned

STEP = int(os.environ.get("CANVAS_NATIVE_STEP", "16"))  # as in test_native.py
HALF = 2.0**-8
OTHERS = 1e-5  # sums in float32
# Vectors and registers of what the code is written for. By 16 the processor multiplies pairs, where it can.
MACHINES = {"16": (16, 32), "8": (8, 16), "4": (4, 32)}
OWN = str(native_compiler.target().width)  # vectors that a processor has not take long to compile for it
pytestmark = pytest.mark.skipif(native_compiler.compiler() is None, reason="no C++ compiler")


@pytest.fixture(params=MACHINES)
def machine(request, monkeypatch):
    """Native code is written for it."""
    made = emulated(*MACHINES[request.param], True)
    monkeypatch.setattr(native_compiler, "target", lambda: made)


def multiplies_pairs(module: nn.Module, precision: str = "bf16") -> bool:
    kernel, sizes = native.kernel_of(module)
    machine = native_compiler.target()
    bf16 = native_compiler.reads_bf16(precision)
    return "dot<V>(a" in _core.native_source(kernel, sizes, machine.width, machine.registers, bf16=bf16)[0]


@torch.no_grad()
def whole_numbers(module: nn.Module, largest: int) -> nn.Module:
    for parameter in module.parameters():
        parameter.copy_(torch.randint(-largest, largest + 1, parameter.shape))
    return module.eval()


# Kernels without rounding on whole numbers, and such that what stands between contractions has eight bits.
EXACT = ("dense", "dilated", "pointwise", "grouped", "shift_pointwise", "depthwise_separable", "asymmetric")
LAYERS = (Layer(256, 136, (5, 3)), Layer(136, 256, (6, 9), stride=2), Layer(128, 256, (4, 4)))


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_what_bf16_holds_is_computed_exactly(name, layer, machine):
    torch.manual_seed(0)
    module = whole_numbers(canvas.zoo()[name].module(layer), 3 if name == "dense" else 1)
    x = torch.randint(-3, 4, (3, layer.c_in, *layer.spatial)).float()
    if name == "asymmetric":
        x = (x == 3).float() * (torch.rand(x.shape) < 0.1)
    with torch.no_grad():
        for images in (3, 1):
            got = NativeKernel(module, "bf16")(x[:images])
            assert torch.equal(got, NativeKernel(module)(x[:images]))
            assert torch.allclose(got, module(x[:images]))
    assert multiplies_pairs(module)


@pytest.mark.parametrize("name", ["dense", "dilated", "pointwise", "grouped"])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_contraction_is_off_by_the_rounding_of_its_factors(name, stride, machine):
    torch.manual_seed(0)
    module = canvas.zoo()[name].module(Layer(256, 272, (7, 6), stride=stride)).eval()
    x = torch.randn(3, 256, 7, 6)
    with torch.no_grad():
        off = (NativeKernel(module, "bf16")(x) - module(x)).abs()
        magnitudes = copy.deepcopy(module)
        for parameter in magnitudes.parameters():
            parameter.abs_()
        bound = magnitudes(x.abs())
    assert (off <= (2 * HALF + HALF**2 + OTHERS) * bound).all()
    assert off.mean() > 1e-5 * bound.mean()  # it was rounded


@pytest.mark.parametrize("channels", [7, 15, 33])
def test_odd_channels_are_left_in_float32(channels, machine):
    module = canvas.zoo()["pointwise"].module(Layer(channels, 1024, (4, 4))).eval()
    x = torch.randn(2, channels, 4, 4)
    assert not multiplies_pairs(module)
    with torch.no_grad():
        torch.testing.assert_close(NativeKernel(module, "bf16")(x), module(x), rtol=1e-4, atol=1e-5)


def test_float32_stays_float32():
    for name in ("dense", "depthwise_separable", "involution"):
        module = canvas.zoo()[name].module(Layer(256, 256, (4, 4)))
        assert not multiplies_pairs(module, "fp32")


def test_numbers_that_are_none_stay_so(machine):
    """The largest numbers become infinite, those that are none no infinity and no zero."""
    module = canvas.zoo()["pointwise"].module(Layer(256, 256, (4, 4))).eval()
    x = torch.randn(1, 256, 4, 4)
    for bits in (0x7FFFFFFF, -1, 0x7F800001, 0x7FC00000):
        x[0, 5, 1, 2] = torch.tensor(bits, dtype=torch.int32).view(torch.float32)
        with torch.no_grad():
            missing = NativeKernel(module, "bf16")(x).isnan().all(1)
        assert missing[0, 1, 2] and missing.sum() == 1
    x[0, 5, 1, 2] = torch.inf
    with torch.no_grad():
        assert not NativeKernel(module, "bf16")(x)[0, :, 1, 2].isfinite().any()


def explained(case: Case) -> float:
    """What the interpreter's result does when all inputs and weights are off by as much as bf16 rounds, up or down."""
    random = np.random.default_rng(0)

    def moved(values: np.ndarray) -> np.ndarray:
        return values * (1 + HALF * random.choice([-1.0, 1.0], values.shape))

    results = [
        case.bound.interpret(moved(case.x), {name: moved(value) for name, value in case.parameters.items()})
        for _ in range(3)
    ]
    return max(float(np.abs(result - case.expected).max()) for result in results)


def test_sampled_kernels_are_off_by_what_rounding_explains(machine):
    def check(case: Case) -> None:
        module = NativeKernel(case.module(torch.float32), "bf16").eval()
        with torch.no_grad():
            off = np.abs(module(torch.from_numpy(case.x).float()).numpy() - case.expected).max()
        assert off <= 3 * explained(case) + 1e-4 * np.abs(case.expected).max()

    emulated = str(native_compiler.target().width) != OWN
    each(one_each()[:: STEP * (4 if emulated else 1)], check)


@pytest.mark.parametrize(
    ("machine", "build", "kernel"),
    [
        *((machine, resnet8, "involution" if machine == OWN else "depthwise_separable") for machine in MACHINES),
        *((OWN, resnet18, kernel) for kernel in ("depthwise_separable", None)),
    ],
    indirect=["machine"],
)
def test_networks_are_off_by_what_rounding_explains(build, kernel, machine):
    torch.manual_seed(0)
    x = torch.randn(32, 1 if build is resnet8 else 3, 32, 32)
    model = build() if kernel is None else canvas.replace(build(), canvas.zoo()[kernel], example=x[:1])
    model = seasoned(model).eval()
    moved = copy.deepcopy(model)
    before = torch.get_num_threads()
    try:
        network = NativeNetwork(model, x, precision="bf16")
        with torch.no_grad():
            for value in (*moved.parameters(), y := x.clone()):
                value *= 1 + HALF * torch.randn(value.shape).sign()
            wanted = model(x)
            explained = (moved(y) - wanted).norm() / wanted.norm()
            for images, threads in ((32, 1), (5, 2), (1, 2), (1, 1)):
                torch.set_num_threads(threads)
                off = (network(x[:images]) - wanted[:images]).norm() / wanted[:images].norm()
                assert 1e-4 < off <= 2 * explained
    finally:
        torch.set_num_threads(before)


def test_fewer_cycles_are_counted_where_pairs_are_multiplied(machine):
    def cycles(module: nn.Module) -> list[float]:
        return [
            find(name).workload.trace(module, torch.zeros(1, 128, 8, 8), 1)[0] for name in ("native", "native-bf16")
        ]

    fp32, bf16 = cycles(nn.Conv2d(128, 128, 3))
    assert bf16 < 0.7 * fp32
    assert len(set(cycles(nn.ReLU()))) == 1


def test_an_unknown_precision_is_refused():
    module = canvas.zoo()["dense"].module(Layer(8, 8, (4, 4)))
    for make in (
        NativeKernel,
        lambda module, precision: NativeNetwork(module, torch.zeros(1, 8, 4, 4), precision=precision),
    ):
        with pytest.raises(UserError, match="native code: knows no precision 'fp16'; use fp32 or bf16"):
            make(module, "fp16")


def test_a_processor_without_it_is_named(monkeypatch):
    monkeypatch.setattr(native_compiler, "target", lambda: native_compiler.Target((), 8, 16))
    with pytest.raises(UserError, match="bf16 needs a processor with AVX-512 BF16, which this one lacks; use fp32"):
        find("native-bf16").prepare(canvas.zoo()["dense"].module(Layer(8, 8, (4, 4))), torch.zeros(1, 8, 4, 4))


def test_the_backend_falls_back_to_kernels_of_the_same_precision(machine):
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = canvas.zoo()["pointwise"].module(Layer(256, 256, (4, 4)))

        def forward(self, x):
            return self.layer(x.sort(1).values)

    model, x = Odd().eval(), torch.randn(2, 256, 4, 4)
    with pytest.warns(UserWarning, match="compiles kernel by kernel"):
        run = find("native-bf16").prepare(model, x)
    with torch.no_grad():
        off = float((run(x) - model(x)).abs().max() / model(x).abs().max())
    assert 1e-4 < off < 4 * HALF
