"""A whole network as native code computes what PyTorch does; what it lacks is named and left to the way by kernels."""

import os
import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import canvas
from canvas import _core, native, native_compiler
from canvas.backends import BACKENDS
from canvas.errors import UserError
from canvas.models import resnet8, resnet18, resnet20
from canvas.native_network import NativeNetwork, write
from canvas.onnx_graph import Unsupported

needs_compiler = pytest.mark.skipif(native_compiler.compiler() is None, reason="no C++ compiler")


def agrees(model: nn.Module, example: torch.Tensor, batches: tuple[int, ...], tolerance: float = 1e-5) -> None:
    """One and two threads, each batch twice: what a run leaves behind must not matter to the next."""
    model = model.eval()
    before = torch.get_num_threads()
    try:
        network = NativeNetwork(model, example)
        for images in batches:
            x = torch.randn(images, *example.shape[1:])
            with torch.no_grad():
                wanted = model(x)
            for threads in (1, 2, 1):
                torch.set_num_threads(threads)
                got = network(x)
                assert got.shape == wanted.shape
                off = float((got - wanted).abs().max() / wanted.abs().max())
                assert off <= tolerance, f"{images} images, {threads} threads: {off:.1e}"
    finally:
        torch.set_num_threads(before)


def seasoned(model: nn.Module) -> nn.Module:
    """With batch norms that do something."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
    return model


NETWORKS = [
    (resnet8, "depthwise_separable", 28),
    (resnet8, "involution", 28),
    (resnet20, "grouped", 32),
    (resnet18, "depthwise_separable", 32),
]
if os.environ.get("CANVAS_NATIVE_STEP") == "1":  # as in test_native.py
    kernels = (None, "shift_pointwise", "ghost", "non_local", "squeeze_excitation", "window_attention")
    NETWORKS += [(build, kernel, 32) for build in (resnet18, resnet20) for kernel in kernels]


@needs_compiler
@pytest.mark.parametrize(("build", "kernel", "size"), NETWORKS)
def test_networks_compute_the_same(build, kernel, size):
    torch.manual_seed(0)
    x = torch.randn(32, 1 if build is resnet8 else 3, size, size)
    model = build() if kernel is None else canvas.replace(build(), canvas.zoo()[kernel], example=x[:1])
    agrees(seasoned(model), x, (1, 32, 5), 1e-4)


@needs_compiler
@pytest.mark.parametrize("channels", [4, 5, 40])
@pytest.mark.parametrize("name", ["depthwise_separable", "dense", "non_local"])
@pytest.mark.parametrize("extents", [(16, 17), (1, 6), (5, 1), (1, 1)])
def test_inputs_may_lie_otherwise_than_the_example(name, channels, extents):
    """In planes or channels last, and as a project takes and gives them."""
    module = canvas.zoo()[name].module(canvas.Layer(channels, channels, extents)).eval()
    x = torch.randn(2, channels, *extents)
    with torch.no_grad():
        wanted = module(x)
    layouts = [x.contiguous(memory_format=layout) for layout in (torch.contiguous_format, torch.channels_last)]
    for example in layouts:
        network = NativeNetwork(module, example)
        for given in (*layouts, layouts[1], layouts[0]):  # what a call has seen must not be taken for another
            got = network(given)
            assert got.is_contiguous(memory_format=torch.channels_last)
            torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5, check_stride=False)
            one = given[1:]
            torch.testing.assert_close(network(one), wanted[1:], rtol=1e-4, atol=1e-5, check_stride=False)
    made = write(module, x, channels_last=False)
    y = torch.empty(wanted.shape)
    native.Compiled(made.source, made.parameters, made.constants, made.scratch).run(x, None, y, 2)
    torch.testing.assert_close(y, wanted, rtol=1e-4, atol=1e-5)


MERGED = """kernel k(x[C, H, W]) -> [K, H/s, W/s]:
  v = merge(unfold(x, W: 5), [w, C] -> [c = 5*C])
  y = subsample({}, H: s, W: s)
  return fc(y, [{}] -> [K])
"""


@needs_compiler
@pytest.mark.parametrize("extents", [(7, 5), (3, 3), (1, 2)])
@pytest.mark.parametrize("channels", [16, 3])
@pytest.mark.parametrize("used", [("softmax(v, [c])", "c"), ("add(x, fold(v, sum: [c]))", "C")], ids=["softmax", "sum"])
def test_windows_that_are_merged_with_channels_are_whole(used, extents, channels):
    """They run on beyond the channels: through all taps, and into the margin that the last position reaches alone."""
    module = canvas.parse(MERGED.format(*used)).module(canvas.Layer(channels, 8, extents)).eval()
    x = torch.randn(2, channels, *extents)
    with torch.no_grad():
        wanted = module(x)
    made = write(module, x, channels_last=False)
    y = torch.empty(wanted.shape)
    native.Compiled(made.source, made.parameters, made.constants, made.scratch).run(x, None, y, 2)
    torch.testing.assert_close(y, wanted, rtol=1e-4, atol=1e-5)


class Gate(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(channels, 3, 1), nn.Conv2d(3, channels, 1)

    def forward(self, x):
        return x * self.up(F.relu(self.down(x.mean((2, 3), keepdim=True)))).sigmoid()


class Attention(nn.Module):
    """Two heads over the positions of an image, with a layer norm, as transformers have it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm, self.mix, self.out = (
            nn.LayerNorm(channels),
            nn.Linear(channels, 3 * channels),
            nn.Linear(channels, 5),
        )

    def forward(self, x):
        x = x.flatten(2).transpose(1, 2)
        n, t, c = x.shape
        q, k, v = (part.reshape(n, t, 2, c // 2).transpose(1, 2) for part in self.mix(self.norm(x)).chunk(3, -1))
        x = x + ((q @ k.transpose(-2, -1)) * 0.3).softmax(-1).matmul(v).transpose(1, 2).reshape(n, t, c)
        return F.gelu(self.out(x)).mean(1)


class Parts(nn.Module):
    """Channels in parts, put together in another order."""

    def forward(self, x):
        a, b = x.chunk(2, 1)
        return torch.cat([F.silu(b), F.hardswish(a) - x[:, 1:4], F.pad(a[:, :, 1:, ::2], (0, 4, 1, 0))], 1)


class Call(nn.Module):
    """A function as a network."""

    def __init__(self, function):
        super().__init__()
        self.forward = function


LAYERS = {
    "strided, dilated": nn.Sequential(nn.Conv2d(6, 8, 3, 2, 2, 2), nn.Conv2d(8, 8, 3, 1, 0, groups=8), nn.Tanh()),
    "grouped": nn.Sequential(nn.Conv2d(6, 8, 3, padding=1, groups=2), nn.BatchNorm2d(8), nn.ReLU()),
    "multiplied": nn.Conv2d(6, 12, (1, 3), padding=(0, 1), groups=6),
    "patches": nn.Sequential(nn.Conv2d(6, 8, 4, 4), nn.Flatten(), nn.Linear(32, 7)),
    "one channel": nn.Sequential(nn.Conv2d(6, 1, 3, padding=1), nn.Conv2d(1, 6, 1)),
    "lowest": nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.Conv2d(6, 4, 3, padding=1)),
    "both margins": nn.Sequential(nn.Conv2d(6, 6, 1), Gate(6), nn.MaxPool2d(2, 1, 1)),
    "means": nn.Sequential(nn.AvgPool2d(3, 2, 1), nn.AvgPool2d(3, 1, 1, count_include_pad=False)),
    "global": nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(6, 9, 3, padding=1), nn.Flatten()),
    "attention": Attention(6),
    "parts": Parts(),
    "one part": Call(lambda x: torch.cat([x], 1)),
    "identity": nn.Identity(),
    "sizes": Call(lambda x: x.view(x.shape[0], -1, x.size(-1)) / x.shape[1] + x.flatten(2).amax((1, 2))[:, None, None]),
}


def changed(x):
    """In place, by way of views of what nothing else uses."""
    y = torch.cat([x, -x], 1).flatten(2)
    y.mul_(0.5)
    F.relu(y, True)
    z = y[:, 3:7].add_(y.sum(1, True))
    return F.hardtanh(z, -1.0, 2.0, True)


LAYERS["in place"] = Call(changed)


@needs_compiler
@pytest.mark.parametrize("name", LAYERS)
def test_layers_compute_the_same(name):
    torch.manual_seed(1)
    agrees(seasoned(LAYERS[name]), torch.randn(3, 6, 8, 9), (3, 1, 4))


class Sorted(nn.Module):
    """A convolution, and what native code lacks."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(6, 6, 3, padding=1)

    def forward(self, x):
        return self.conv(x).sort(1).values


@needs_compiler
def test_a_network_that_is_not_one_piece_is_compiled_by_kernels_and_says_why():
    torch.manual_seed(0)
    x = torch.randn(2, 6, 8, 9)
    model = canvas.replace(Sorted(), canvas.zoo()["grouped"], example=x).eval()
    with pytest.warns(UserWarning, match="compiles kernel by kernel: the network has torch function sort"):
        run = BACKENDS["native"].prepare(model, x)
    with torch.no_grad():
        torch.testing.assert_close(run(x), model(x), rtol=1e-4, atol=1e-5, check_stride=False)


@needs_compiler
def test_inputs_come_as_a_tensor_or_a_tuple():
    x = torch.randn(2, 6, 8, 9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = BACKENDS["native"].prepare(nn.ReLU(), (x,))
    torch.testing.assert_close(run((x,)), x.relu())
    torch.testing.assert_close(run(x.to(memory_format=torch.channels_last)), x.relu())


@pytest.mark.parametrize(
    ("model", "shape", "message"),
    [
        (nn.Sequential(nn.Flatten(0), nn.Unflatten(0, (9, -1))), (2, 18), "images that are no longer the first"),
        (nn.Softmax(0), (2, 18), "softmax over images"),
        (nn.LSTM(3, 3), (2, 4, 3), "lstm"),
        (nn.MaxPool2d(2, ceil_mode=True), (1, 1, 9, 9), "pooling with options"),
        (nn.Conv2d(2, 3, 1, 4, 1), (1, 2, 1, 1), "a convolution of a single position to more"),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(model, shape, message):
    with pytest.raises(Unsupported, match=message):
        write(model, torch.zeros(shape))


def point(x):
    """A convolution of each position by itself."""
    return F.conv2d(x, torch.arange(1.0, 17).view(4, 4, 1, 1))


def cleared(x):
    y = x.clone()
    y[:, 0] = 0
    return y


def elsewhere(x):
    y, z = x * 2, x * 3
    torch.add(x, 1, out=y)
    return y + z


def part_changed(x):
    y = x * 1
    y[:, :2].add_(1)
    return y


def whole_changed(x):
    y = x * 1
    z = y[:, :2]
    y.add_(1)
    return z * 1


def copy_changed(x):
    y = x * 2
    z = y.contiguous().flatten(1)
    z *= 3
    return y + 1


REFUSED = {  # functions of an input of 2 x 4 x 6 x 5 numbers, and what the refusal says
    "a number to a power": (lambda x: 2**x, "a power other than 2 and 0.5"),
    "a scaled sum": (lambda x: torch.add(point(x), point(x), alpha=2.0), "Add with options"),
    "a scaled sum, in place": (lambda x: point(x).add_(point(x), alpha=2.0), "Add with options"),
    "a scaled difference": (lambda x: torch.sub(point(x), point(x), alpha=2.0), "Sub with options"),
    "a scaled difference, turned": (lambda x: torch.rsub(point(x), point(x), alpha=2.0), "Sub with options"),
    "the number of images": (lambda x: x / x.shape[0], "a use of the number of images other than as a size"),
    "the number of all elements": (lambda x: x / x.numel(), "a use of the number of images other than as a size"),
    "as many channels": (lambda x: x.repeat(1, 20, 1, 1)[:, : len(x)], "a use of the number of images other than"),
    "a number of images": (lambda x: x.view(2, -1), "images that are no longer the first dimension"),
    "images along two dimensions": (lambda x: x.sum(1) + x[:, :1], "images that are no longer the first dimension"),
    "a dropout": (lambda x: F.dropout(x, 0.5), "a dropout that does not stop in eval mode"),
    "a sum over no dimensions": (lambda x: x + x.sum(()), "a reduction over images"),
    "a new dimension": (lambda x: x[:, True], "indexing by a tensor, a list or a truth value"),
    "a part that is set": (cleared, "torch function setitem, which changes what it is given"),
    "a part that is changed": (part_changed, "changed in place by way of another"),
    "a whole that is changed": (whole_changed, "changed in place by way of another"),
    "what may be a copy": (copy_changed, "changed in place by way of another"),
    "a sum put elsewhere": (elsewhere, "torch function add, which changes what it is given"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_recorded_wrongly_is_refused(name):
    function, message = REFUSED[name]
    function(torch.ones(2, 4, 6, 5))
    with pytest.raises(Unsupported, match=message):
        write(Call(function), torch.zeros(2, 4, 6, 5))


def test_other_numbers_and_devices_are_left_to_pytorch():
    for example in (torch.zeros(2, 3, dtype=torch.float64), torch.zeros(2, 3, device="meta")):
        with pytest.raises(Unsupported, match="other than float32 numbers with a batch, on the CPU"):
            write(nn.ReLU(), example)


FEWER_THREADS = """
import torch
from torch import nn
from canvas.native_network import NativeNetwork

torch.set_num_threads(3)
model = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1)).eval()
for images in (1, 2, 5):
    x = torch.randn(images, 8, 9, 9)
    with torch.no_grad():
        torch.testing.assert_close(NativeNetwork(model, x)(x), model(x), rtol=1e-4, atol=1e-5)
"""


@needs_compiler
@pytest.mark.parametrize("limit", ["1", "2"])
def test_fewer_threads_than_asked_for_compute_the_same(limit):
    environment = {**os.environ, "OMP_THREAD_LIMIT": limit, "OMP_NUM_THREADS": "3"}
    subprocess.run([sys.executable, "-c", FEWER_THREADS], env=environment, check=True)


@needs_compiler
def test_another_input_is_refused():
    network = NativeNetwork(nn.ReLU(), torch.zeros(2, 3, 4, 5))
    network(torch.zeros(2, 3, 4, 5))
    with pytest.raises(UserError, match=r"inputs of shape \['N', 3, 4, 5\], got \[2, 3, 5, 4\]"):
        network(torch.zeros(2, 3, 5, 4))
    with pytest.raises(UserError, match=r"takes float32 on the CPU, got torch\.float64 on cpu"):
        network(torch.zeros(2, 3, 4, 5, dtype=torch.float64))


def test_a_layer_of_other_operands_is_refused():
    network = _core.NativeNetwork([("c", 4, "channel"), ("h", 3, "spatial")])
    for call, message in [
        (lambda: network.map("relu", [7]), "the network has no value 7"),
        (lambda: network.view(0, ["c"], [("a", 3, "channel"), ("b", 2, "channel")]), "a view of other elements"),
        (lambda: network.view(0, ["none"], [("a", 3, "channel")]), "there is no axis none"),
        (lambda: network.parameter("p", [("c", 4, "channel"), ("c", 4, "channel")]), "axis c is there twice"),
        (lambda: network.parameter("p", [("c", 0, "channel")]), "axis c has no whole size above 0"),
        (lambda: network.parameter("p", [("c", 2, "colour")]), "an axis has no role 'colour'"),
        (lambda: network.map("add", [0, network.parameter("p", [("c", 2, "channel")])]), "axis c has two sizes"),
        (lambda: network.source(0, ["c"], 8, 16), "the result has other axes"),
        (lambda: network.source(network.map("none", [0]), ["c", "h"], 8, 16), "knows no function 'none'"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


def test_what_stands_twice_is_computed_once():
    network = _core.NativeNetwork([("x", 8, "channel")])
    total = network.map("add", [network.map("exp", [0]), network.map("exp", [0])])
    other = network.map("add", [network.map("exp", [0]), network.map("sin", [0])])
    assert network.source(total, ["x"], 8, 16)[0].count("bounded_power<V>(") == 1
    assert network.source(other, ["x"], 8, 16)[0].count("bounded_power<V>(") == 1


def test_long_chains_are_planned_or_refused_and_never_overflow_the_stack():
    network, long, nested = _core.NativeNetwork([("x", 8, "channel")]), 0, 0
    for _ in range(5000):
        long, nested = network.map("add", [long, network.map("abs", [long])]), network.map("neg", [nested])
    assert network.source(long, ["x"], 8, 16)[0]
    with pytest.raises(ValueError, match="more than 1024 operations in a row"):
        network.source(nested, ["x"], 8, 16)
