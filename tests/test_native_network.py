"""A whole network as native code computes what PyTorch does; what it lacks is named and left to the way by kernels."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import canvas
from canvas import _core, native
from canvas.backends import BACKENDS
from canvas.errors import UserError
from canvas.models import resnet8, resnet18, resnet20
from canvas.native_network import NativeNetwork, write
from canvas.onnx_graph import Unsupported

needs_compiler = pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler")


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


@needs_compiler
@pytest.mark.parametrize(
    ("build", "kernel", "size"),
    [
        (resnet8, "depthwise_separable", 28),
        (resnet8, "involution", 28),
        (resnet8, None, 28),
        (resnet20, "grouped", 32),
        (resnet20, "shift_pointwise", 32),
        (resnet18, "depthwise_separable", 32),
    ],
)
def test_networks_compute_the_same(build, kernel, size):
    torch.manual_seed(0)
    x = torch.randn(32, 1 if build is resnet8 else 3, size, size)
    model = build() if kernel is None else canvas.replace(build(), canvas.zoo()[kernel], example=x[:1])
    agrees(seasoned(model), x, (1, 32, 5), 1e-4)


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
        self.norm, self.mix, self.out = nn.LayerNorm(channels), nn.Linear(channels, 3 * channels), nn.Linear(channels, 5)

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
    "identity": nn.Identity(),
}


@needs_compiler
@pytest.mark.parametrize("name", LAYERS)
def test_layers_compute_the_same(name):
    torch.manual_seed(1)
    agrees(seasoned(LAYERS[name]), torch.randn(3, 6, 8, 9), (3, 1, 4))
