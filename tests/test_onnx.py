"""ONNX without PyTorch's exporter: what ONNX Runtime makes of it is what the interpreter and eager PyTorch say."""

import importlib.util

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import canvas
from canvas import folding
from canvas.models import resnet8
from canvas.onnx_graph import Unsupported, onnx_bytes, write_onnx
from canvas.onnx_table import FOR_OPENVINO
from sampled import Case, each, one_each

needs_onnx = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime")), reason="no ONNX Runtime"
)


def run(data: bytes, *inputs: torch.Tensor) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return session.run(None, {slot.name: x.numpy() for slot, x in zip(session.get_inputs(), inputs, strict=True)})[0]


@needs_onnx
def test_every_sampled_kernel_is_written_and_computes_what_the_interpreter_does():
    def check(case: Case) -> None:
        module = case.module(torch.float32).eval()
        x = torch.from_numpy(case.x).float()
        got = run(write_onnx(module, [x]), x)
        assert got.shape == case.expected.shape
        error = np.abs(got - case.expected).max() / max(1e-30, np.abs(case.expected).max())
        assert error <= 1e-3, f"relative error {error:.2e}\n{case.source}"

    each(one_each()[::3], check)


class Usual(nn.Module):
    """Layers that networks are made of."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1),
            nn.BatchNorm2d(8),
            nn.ReLU6(),
            nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4, bias=False),
            nn.Hardswish(),
            nn.MaxPool2d(3, 2, 1),
            nn.AvgPool2d(2),
            nn.GELU(),
            nn.Upsample(scale_factor=2),
            nn.Dropout(0.5),
        )
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = self.features(x)
        left, right = torch.cat([x, -x], 1).chunk(2, dim=1)
        tokens = (left * 2 + right.abs() - 1).flatten(2).transpose(1, 2)
        return self.head(self.norm(tokens).mean(1)).softmax(-1)


@needs_onnx
@pytest.mark.parametrize("kernel", [None, "grouped_shuffle", "involution", "repvgg"])
def test_a_network_is_written_without_tracing(kernel, monkeypatch):
    monkeypatch.setattr(torch.onnx, "export", None)
    x = torch.randn(3, 1, 28, 28)
    torch.manual_seed(0)
    network = resnet8() if kernel is None else canvas.replace(resnet8(), canvas.zoo()[kernel], example=x)
    with torch.no_grad():
        for _ in range(3):
            network(x)
    network.eval()
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(run(onnx_bytes(network, [x]), x)), network(x), rtol=1e-3, atol=1e-4)


@needs_onnx
def test_usual_layers_are_in_the_table():
    torch.manual_seed(0)
    network, x = Usual().eval(), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(run(write_onnx(network, [x]), x)), network(x), rtol=1e-4, atol=1e-5)


class InPlace(nn.Module):
    def forward(self, x):
        y = x * 2
        nn.functional.relu(y, inplace=True)
        z = y.sum((2, 3), keepdim=True)
        y.add_(z)
        y.sigmoid_()
        return y.mean(1) + z.sum(1)


@needs_onnx
@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize(("size", "options"), [(3, {"stride": 1, "dilation": 2}), (2, {"dilation": 3}), (3, {})])
@pytest.mark.parametrize("lead", [(2, 3), (3,)])
def test_dilated_maxima_are_slices_for_openvino(dims, size, options, lead):
    x = torch.randn(*lead, *(11, 8, 9)[:dims])
    model = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)[dims - 1](size, **options)
    data = write_onnx(model, [x], table=FOR_OPENVINO)
    assert (b"MaxPool" in data) == ("dilation" not in options)
    np.testing.assert_array_equal(run(data, x), model(x).numpy())


class Parts(nn.Module):
    """Parts of a transposed value, some of which need no transposing."""

    def forward(self, x):
        last = x.permute(0, 2, 3, 1)[:, :, None]
        taps = [last[..., i] + last[:, :, :, 1:2, i] * last[:, :1, :, :2, -1:].sum() for i in range(3)]
        return sum(taps) + x.permute(0, 3, 2, 1)[:, :, 1:, :1].sum((1, 2, 3), keepdim=True)


@needs_onnx
def test_a_part_of_what_is_transposed_is_cut_out_before():
    x = torch.randn(2, 4, 5, 6)
    np.testing.assert_allclose(run(write_onnx(Parts(), [x]), x), Parts()(x).numpy(), rtol=1e-5, atol=1e-5)

    class Taps(nn.Module):
        def forward(self, x):
            last = x.permute(0, 2, 3, 1)[:, :, None]
            return last[..., 0] * last[..., 1]

    data = write_onnx(Taps(), [x])
    assert b"Transpose" not in data
    np.testing.assert_allclose(run(data, x), Taps()(x).numpy(), rtol=1e-6)


@needs_onnx
def test_what_is_changed_in_place_stays_changed():
    x = torch.randn(2, 3, 4, 4)
    np.testing.assert_allclose(run(write_onnx(InPlace(), [x]), x), InPlace()(x).numpy(), rtol=1e-5)


class Call(nn.Module):
    """A function as a network."""

    def __init__(self, function):
        super().__init__()
        self.forward = function


CALLS = {  # what PyTorch takes in an order or with options of its own
    "power": lambda x: 2**x + x**3,
    "constants of other types": lambda x: (x * (torch.arange(5) > 2) + torch.arange(5)) * torch.tensor(2.0).double(),
    "a sum over no dimensions": lambda x: x + x.sum(()),
    "a type that it has": lambda x: F.softmax(x, 1, dtype=torch.float32),
}


@needs_onnx
@pytest.mark.parametrize("name", CALLS)
def test_calls_compute_the_same(name):
    torch.manual_seed(0)
    network, x = Call(CALLS[name]).eval(), torch.rand(2, 4, 6, 5)
    with torch.no_grad():
        np.testing.assert_allclose(run(write_onnx(network, [x]), x), network(x).numpy(), rtol=1e-5, atol=1e-6)


def constant_changed(x):
    y = torch.ones(2, 3)
    y.add_(x)
    return y * 2


def part_changed(x):
    y = x * 1
    y[:, :2].add_(1)
    return y


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (constant_changed, "torch function add, which changes a constant"),
        (part_changed, "changed in place by way of"),
        (lambda x: x.sum(axis=1), "unexpected keyword argument 'axis'"),
        (lambda x: F.softmax(x, 1, dtype=torch.float64), "torch function softmax that gives other than float32"),
        (lambda x: x * torch.ones(3).double(), "torch function mul that gives other than float32 numbers"),
        (lambda x: x.view(torch.int32) * 1.0, "torch function view that gives other than float32 numbers"),
        (lambda x: F.adaptive_avg_pool1d(x, 1), "adaptive pooling to more than one position, or without a batch"),
        (lambda x: F.interpolate(x[:, None], scale_factor=3.1), "interpolation nearest"),
        (lambda x: x[True], "indexing by a tensor, a list or a truth value"),
    ],
)
def test_what_would_be_recorded_wrongly_is_refused(function, message):
    with pytest.raises(Unsupported, match=message):
        write_onnx(Call(function), [torch.zeros(2, 3)])


class Odd(nn.Module):
    def forward(self, x):
        return x.cumsum(1)


@needs_onnx
@pytest.mark.skipif(not importlib.util.find_spec("onnxscript"), reason="no onnxscript")
def test_what_the_table_lacks_is_refused_and_left_to_pytorch():
    x = torch.randn(2, 3)
    with pytest.raises(Unsupported, match="torch function cumsum"):
        write_onnx(Odd(), [x])
    np.testing.assert_allclose(run(onnx_bytes(Odd(), [x]), x), x.cumsum(1).numpy(), rtol=1e-5)


class Branches(nn.Module):
    """RepVGG's block, with branches that cannot be merged beside it."""

    def __init__(self, dims: int = 2) -> None:
        super().__init__()
        conv = {1: nn.Conv1d, 2: nn.Conv2d}[dims]
        norm = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d}[dims]
        self.wide, self.point = conv(8, 8, 3, padding=1, groups=2, bias=False), conv(8, 8, 1, groups=2)
        self.norms = nn.ModuleList(norm(8) for _ in range(2))
        self.far = conv(8, 8, 3, padding=2, dilation=2)

    def forward(self, x):
        y = self.norms[0](self.wide(x)) + self.norms[1](self.point(x)) + x
        return torch.relu(y) + self.far(x)


@pytest.mark.parametrize("dims", [1, 2])
def test_branches_that_are_added_become_one_convolution(dims):
    torch.manual_seed(0)
    network, x = Branches(dims), torch.randn(4, 8, *(9, 7)[:dims])
    with torch.no_grad():
        for _ in range(3):
            network(x)
        network.eval()
        wanted = network(x)
        folded = folding.fold(network)
        torch.testing.assert_close(folded(x), wanted, rtol=1e-4, atol=1e-5)
    convolutions = [
        node
        for node in folded.graph.nodes
        if node.target in folding.CONVOLUTIONS
        or (node.op == "call_module" and isinstance(folded.get_submodule(node.target), (nn.Conv1d, nn.Conv2d)))
    ]
    assert len(convolutions) == 2, folded.code


MERGES = {  # left and right convolution, and whether they can be one
    "other windows": ({"kernel_size": 5, "padding": 2}, {"kernel_size": 3, "padding": 1}, True),
    "one inside, dilated": ({"kernel_size": 3, "padding": 2, "dilation": 2}, {"kernel_size": 1}, True),
    "other dilations": ({"kernel_size": 3, "padding": 2, "dilation": 2}, {"kernel_size": 3, "padding": 1}, False),
    "strided": ({"kernel_size": 3, "padding": 1, "stride": 2}, {"kernel_size": 1, "stride": 2}, True),
    "other groups": ({"kernel_size": 3, "padding": 1, "groups": 2}, {"kernel_size": 1}, False),
}


@pytest.mark.parametrize("name", MERGES)
def test_which_convolutions_are_merged(name):
    left, right, together = MERGES[name]

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(4, 4, **left), nn.Conv2d(4, 4, **right)

        def forward(self, x):
            return self.b(x) + self.a(x)

    torch.manual_seed(0)
    network, x = Two().eval(), torch.randn(2, 4, 9, 8)
    with torch.no_grad():
        wanted = network(x)
        folded = folding.fold(network)
        torch.testing.assert_close(folded(x), wanted, rtol=1e-4, atol=1e-5)
    assert ("add" not in folded.code.replace("padding", "")) == together, folded.code
