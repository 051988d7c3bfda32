"""Backends compute what the module does, and batch norms are folded into convolutions before they see it."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from canvas import backends, latency, zoo
from canvas.backends import BACKENDS
from canvas.errors import UserError
from canvas.folding import fold
from canvas.latency import compare
from canvas.layers import replace
from canvas.models import resnet8

EXAMPLE = torch.zeros(4, 1, 28, 28)


def settled(model):
    """Batch norms with statistics that are not the initial ones."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 2)
                nn.init.normal_(module.bias)
    return model.eval()


class Functional(nn.Module):
    """Convolutions by function, with weights computed from parameters, then a batch norm."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 18))
        self.scale = nn.Parameter(torch.randn(4, 1))
        self.bias = nn.Parameter(torch.randn(4))
        self.first, self.second = nn.BatchNorm2d(4), nn.BatchNorm2d(4, affine=False)

    def forward(self, x):
        y = self.first(F.conv2d(x, (self.weight * self.scale).view(4, 2, 3, 3), padding=1))
        return self.second(F.conv2d(y, weight=self.weight[:, :4].reshape(4, 4, 1, 1), bias=self.bias).clone() + y)


@pytest.mark.parametrize("make", [resnet8, lambda: replace(resnet8(), zoo()["depthwise_separable"], example=EXAMPLE)])
def test_folding_keeps_the_function_and_leaves_no_batch_norm(make):
    model, x = settled(make()), torch.randn(4, 1, 28, 28)
    expected = model(x)
    folded = fold(model)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    torch.testing.assert_close(folded(x), expected, rtol=1e-3, atol=1e-3)


def test_folding_of_functional_convolutions_and_constants():
    model, x = settled(Functional()), torch.randn(3, 2, 6, 6)
    expected = model(x)
    folded = fold(model)
    assert [name for name, _ in folded.named_modules() if name] == ["second"]  # it follows a sum
    torch.testing.assert_close(folded(x), expected, rtol=1e-4, atol=1e-4)


def test_a_convolution_used_twice_or_seen_elsewhere_is_not_folded():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.a, self.b = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

        def forward(self, x):
            y = self.conv(self.a(self.conv(x)))
            return self.b(y) + y

    model, x = settled(Twice()), torch.randn(2, 3, 4, 4)
    expected = model(x)
    torch.testing.assert_close(fold(model)(x), expected, rtol=1e-4, atol=1e-4)


def test_a_model_that_cannot_be_traced_is_timed_as_it_is():
    class Branch(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    model = Branch().eval()
    assert fold(model) is model


def test_an_unknown_backend_lists_the_known():
    with pytest.raises(
        UserError, match="backend 'tpu': unknown; use one of eager, native, inductor, onnxruntime, openvino"
    ):
        compare(nn.Flatten(), nn.Flatten(), EXAMPLE, backend="tpu")


def test_a_backend_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="not installed: onnx, onnxscript, onnxruntime; pip install"):
        compare(nn.Flatten(), nn.Flatten(), EXAMPLE, backend="onnxruntime")


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_computes_what_the_module_does(name):
    for package in {"onnxruntime": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino",)}.get(name, ()):
        pytest.importorskip(package)
    small = settled(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())).train()
    x = torch.randn(2, 3, 8, 8)
    run = BACKENDS[name].prepare(small, x)
    assert small.training and small[1].running_mean.abs().sum() > 0
    other = torch.randn(2, 3, 8, 8)
    [got] = latency.floats(run(other))
    torch.testing.assert_close(got, small.eval()(other), rtol=1e-3, atol=1e-4, check_stride=False)
