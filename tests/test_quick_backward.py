"""Depthwise convolutions as they are trained compute what PyTorch's own do, and so do their gradients."""

import pytest
import torch
from torch import nn

from canvas.quick_backward import QuickBackward, conv2d


def results(layer, x, weights):
    x = x.clone().requires_grad_()
    y = layer(x)
    layer.zero_grad()
    (y * weights[: y.numel()].view_as(y)).sum().backward()
    return y.detach(), x.grad, *(p.grad.clone() for p in layer.parameters())


@pytest.mark.parametrize("extents", [(2, 2), (1, 3), (4, 7), (5, 2)], ids=str)
@pytest.mark.parametrize("window", [3, 4, (7, 1), (1, 5), (5, 7)], ids=str)
@pytest.mark.parametrize(
    "options", [{}, {"stride": 2}, {"dilation": 2}, {"dilation": (3, 1)}, {"bias": False}], ids=str
)
def test_results_and_gradients_are_pytorch_s(window, extents, options):
    torch.manual_seed(0)
    windows, apart = (w if isinstance(w, tuple) else (w, w) for w in (window, options.get("dilation", 1)))
    padding = tuple(d * (w // 2) for w, d in zip(windows, apart, strict=True))
    layer = nn.Conv2d(6, 6, window, padding=padding, groups=6, **options).double()
    x, weights = torch.randn(3, 6, *extents).double(), torch.randn(3 * 6 * 64).double()
    with QuickBackward():
        found = results(layer, x, weights)
    for one, other in zip(found, results(layer, x, weights), strict=True):
        torch.testing.assert_close(one, other)


def test_what_is_slow_goes_another_way_and_what_is_not_stays(monkeypatch):
    asked = []
    real = torch.nn.functional.conv2d

    def counted(x, weight, bias, *rest, **more):
        asked.append((tuple(x.shape), tuple(weight.shape[2:])))
        return real(x, weight, bias, *rest, **more)

    monkeypatch.setattr("canvas.quick_backward.F.conv2d", counted)
    x = torch.randn(2, 6, 2, 2)
    conv2d(x, torch.randn(6, 1, 7, 7), padding=3, groups=6)
    conv2d(x, torch.randn(6, 1, 3, 3), padding=2, dilation=2, groups=6)
    conv2d(x, torch.randn(6, 1, 1, 3), padding=(0, 1), groups=6)
    conv2d(x, torch.randn(6, 2, 3, 3), padding=1, groups=3)
    conv2d(x, torch.randn(6, 1, 3, 3), padding="same", groups=6)
    assert asked == [
        ((2, 6, 4, 4), (3, 3)),  # of 7 steps only 3 ever reach the image
        ((8, 6, 1, 1), (1, 1)),  # four images of one position each, of which one step sees something
        ((2, 6, 2, 2), (1, 3)),
        ((2, 6, 2, 2), (3, 3)),
        ((2, 6, 2, 2), (3, 3)),
    ]
