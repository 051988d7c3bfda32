"""What windows would multiply by padding at the border of an image is left out of native code, and nothing else is."""

import random
from collections.abc import Sequence
from unittest import mock

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import canvas
from canvas import Layer, native_compiler, native_tuner
from canvas.native_network import NativeNetwork, Written, write
from test_native_network import agrees

needs_compiler = pytest.mark.skipif(native_compiler.compiler() is None, reason="no C++ compiler")
MACHINES = {"avx2": native_compiler.PROCESSORS["avx2"], "avx512": native_compiler.PROCESSORS["avx512"]}


def written(name: str, extent: int, images: int = 32, channels: int = 64, **choices: int) -> dict[str, Written]:
    """A kernel's layer for each kind of processor."""
    module = canvas.zoo()[name].module(Layer(channels, channels, (extent, extent)))
    x = torch.zeros(images, channels, extent, extent).to(memory_format=torch.channels_last)
    with mock.patch.object(native_tuner, "chosen", lambda emit, *_: emit(choices)):
        return {key: write(module, x, machine=machine) for key, machine in MACHINES.items()}


# The part of their products that windows of three have within an image of 4 x 4: 10 of 12 along an axis, dilated 8.
@pytest.mark.parametrize(
    ("name", "images", "inside"), [("dense", 32, 25 / 36), ("dense", 1, 10 / 12), ("dilated", 32, 16 / 36)]
)
def test_small_images_cost_what_lies_within_them(name, images, inside):
    made, flat = [written(name, 4, images, 256, borders=borders) for borders in (1, 0)]
    for key in MACHINES:
        share = made[key].cycles[0] / flat[key].cycles[0]
        assert inside < share < 1.1 * inside, key


def test_what_gains_little_is_left_as_it_is():
    for name, extent in (("dense", 64), ("depthwise_separable", 16), ("pointwise", 4)):
        flat = written(name, extent, borders=0)
        assert all(made.source == flat[key].source for key, made in written(name, extent).items()), name


def test_borders_share_weights_and_functions():
    """The first row and the last one have as many steps: the same functions, from other places of the same weights."""
    flat, made = written("dense", 4, borders=0), written("dense", 4)
    for key in MACHINES:
        assert made[key].constants == flat[key].constants
        assert made[key].source.count("void tile_") <= 4 * flat[key].source.count("void tile_")


CHANNELS, MOST = 8, 40  # of an image, and of what is made of it, at most
LARGEST = 16  # of its extents then


class Windows(nn.Module):
    """Windows of parts of an image, side by side."""

    def __init__(self, layers: list[tuple[nn.Module, Sequence[int]]]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layer for layer, _ in layers)
        self.extents = [extents for _, extents in layers]

    def forward(self, x):
        made = [layer(x[:, :, :h, :w]) for layer, (h, w) in zip(self.layers, self.extents, strict=True)]
        sizes = [(y, (MOST - y.shape[1], LARGEST - y.shape[2], LARGEST - y.shape[3])) for y in made]
        return torch.cat([F.pad(y, (0, w, 0, h, 0, c)) for y, (c, h, w) in sizes], 1)


def window(draw: random.Random) -> tuple[nn.Module, list[int]]:
    """A convolution or a pooling, and the extents of its images."""
    extents, size = [draw.choices(range(first, last), k=2) for first, last in ((2, 10), (1, 8))]
    stride, dilation = draw.choices((1, 1, 2, 3), k=2), draw.choices((1, 1, 2, 3), k=2)
    kind = draw.choice(("dense", "dense", "few", "depthwise", "grouped", "max", "mean"))
    dilation = [1, 1] if kind in ("max", "mean") else dilation
    spans = [d * (k - 1) for d, k in zip(dilation, size, strict=True)]
    padding = [
        draw.randint(0, k // 2 if kind in ("max", "mean") else span) for k, span in zip(size, spans, strict=True)
    ]
    made = [(h + 2 * p - span) / s for h, p, span, s in zip(extents, padding, spans, stride, strict=True)]
    if not all(1 < some <= LARGEST for some in made):
        return window(draw)
    if kind in ("max", "mean"):
        return {"max": nn.MaxPool2d, "mean": nn.AvgPool2d}[kind](size, stride, padding), extents
    groups = {"depthwise": CHANNELS, "grouped": 2}.get(kind, 1)
    out = {"few": 2, "depthwise": CHANNELS, "grouped": 16}.get(kind, MOST)
    return nn.Conv2d(CHANNELS, out, size, stride, padding, dilation, groups), extents


@needs_compiler
@pytest.mark.parametrize("seed", range(4))
def test_windows_of_any_kind_compute_the_same(seed):
    draw = random.Random(seed)
    torch.manual_seed(seed)
    agrees(Windows([window(draw) for _ in range(12)]), torch.randn(8, CHANNELS, 9, 9), (1, 8, 11))


@needs_compiler
@pytest.mark.parametrize("choices", [{"order": 1}, {"tile": 1}, {"together": 1}, {"together": 2}, {"straight": 48}])
def test_any_way_of_tiles_computes_the_same(choices, monkeypatch):
    monkeypatch.setattr(native_tuner, "chosen", lambda emit, *_: emit(choices))
    torch.manual_seed(0)
    layers = [
        (nn.Conv2d(CHANNELS, MOST, 3, padding=2, dilation=2), (4, 4)),
        (nn.Conv2d(CHANNELS, 32, 5, 2, padding=2), (7, 6)),
        (nn.Conv2d(CHANNELS, 24, (1, 7), padding=(0, 3)), (3, 5)),
        (nn.Conv2d(CHANNELS, 24, (7, 1), padding=(3, 0)), (4, 3)),
    ]
    agrees(Windows(layers), torch.randn(8, CHANNELS, 9, 9), (8, 3))


@needs_compiler
@pytest.mark.parametrize("name", ["dense", "dilated", "involution", "asymmetric", "grouped"])
@pytest.mark.parametrize("width", [4, 16])
@pytest.mark.parametrize(("extents", "stride"), [((4, 4), 1), ((2, 5), 1), ((5, 3), 2)])
def test_kernels_compute_the_same(name, width, extents, stride, monkeypatch):
    machine = native_compiler.target()
    monkeypatch.setattr(native_compiler, "target", lambda: native_compiler.Target(machine.flags, width, 32))
    torch.manual_seed(0)
    module = canvas.zoo()[name].module(Layer(16, 32, extents, stride=stride)).eval()
    x = torch.randn(8, 16, *extents)
    with torch.no_grad():
        torch.testing.assert_close(NativeNetwork(module, x)(x), module(x), rtol=1e-4, atol=1e-5, check_stride=False)


LINE = """kernel line(x[C, W]) -> [K, W/s]:
  return fc(subsample(unfold(x, W: 5), W: s), [C, w] -> [K])
"""
SOLID = """kernel solid(x[C, D, H, W]) -> [K, D/s, H/s, W/s]:
  return fc(subsample(unfold(x, D: 3, H: 3, W: 3), D: s, H: s, W: s), [C, d, h, w] -> [K])
"""
MERGED = """kernel merged(x[C, H, W]) -> [K, H/s, W/s]:
  v = merge(unfold(x, W: 3), [w, C] -> [c = 3*C])
  return fc(subsample(unfold(v, H: 3), H: s, W: s), [c, h] -> [K])
"""


@needs_compiler
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("text", "extents"), [(LINE, (4,)), (LINE, (1,)), (SOLID, (3, 4, 2)), (MERGED, (4, 3)), (MERGED, (2, 5))]
)
def test_windows_along_any_axes_compute_the_same(text, extents, stride):
    torch.manual_seed(0)
    module = canvas.parse(text).module(Layer(16, 24, extents, stride=stride)).eval()
    agrees(module, torch.randn(8, 16, *extents), (8, 1, 3))


def test_a_long_signal_is_cut_at_its_ends_alone():
    """Stretches begin with what is alike: one that began with each tile would take a million times a million steps."""
    kernel = canvas.parse(
        "kernel c(x[C, W]) -> [K, W/s]:\n  return fc(unfold(subsample(x, W: s), W: 3), [C, w] -> [K])"
    )
    sources = [
        canvas._core.native_source(kernel, {"C": 16, "K": 16, "W": extent, "s": 1}, 8, 16)[0].count("static void tile")
        for extent in (3_000, 1_000_000)
    ]
    assert sources[0] == sources[1]
