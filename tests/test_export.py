"""Files that need no Canvas: they compute what the network does, and what does not is never left behind."""

import importlib.util
import runpy

import pytest
import torch

import canvas
from canvas import export as exporting
from canvas.errors import UserError, WrongOutput
from canvas.export import export
from canvas.models import resnet8

EXAMPLE = torch.randn(2, 1, 28, 28)
ONNX = all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    made = canvas.replace(resnet8(), canvas.zoo()["low_rank"], example=EXAMPLE)
    with torch.no_grad():
        for _ in range(5):
            made(EXAMPLE)  # batch norms leave their first state
    return made.eval()


ENDINGS = ["pt2", pytest.param("onnx", marks=pytest.mark.skipif(not ONNX, reason="no ONNX"))]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_network_is_loaded_without_canvas_and_computes_the_same(network, ending, tmp_path):
    path = export(network, EXAMPLE, tmp_path / f"network.{ending}")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    if ending == "pt2":
        torch.testing.assert_close(torch.export.load(path).module()(EXAMPLE), network(EXAMPLE))


class Named(torch.nn.Module):
    """Outputs by name, one of them whole numbers."""

    def forward(self, x):
        return {"scores": 2 * x, "best": x.argmax(1), "parts": (x.relu(), x.exp())}


@pytest.mark.parametrize("ending", ENDINGS)
def test_outputs_may_be_of_any_structure(ending, tmp_path):
    assert export(Named(), EXAMPLE, tmp_path / f"named.{ending}").exists()


def test_source_of_the_kernels_goes_into_the_original_with_its_weights(network, tmp_path):
    path = export(network, EXAMPLE, tmp_path / "kernels.py")
    text = path.read_text()
    assert "import canvas" not in text and text.count("import torch\n") == 1
    fresh = runpy.run_path(str(path))["install"](resnet8()).eval()
    fresh.load_state_dict(network.state_dict())
    torch.testing.assert_close(fresh(EXAMPLE), network(EXAMPLE))


class Shared(torch.nn.Module):
    """One convolution under two names."""

    def __init__(self):
        super().__init__()
        self.a = self.b = torch.nn.Conv2d(8, 8, 3, padding=1, bias=False)

    def forward(self, x):
        return self.b(self.a(x).relu())


IMAGE, TOKENS = torch.randn(2, 8, 9, 9), torch.randn(2, 5, 16)
ORIGINALS = {
    "a bias": (lambda: torch.nn.Sequential(torch.nn.Conv2d(8, 8, 3, padding=1)), "low_rank", IMAGE),
    "a margin": (lambda: torch.nn.Sequential(torch.nn.Conv2d(8, 8, 3, bias=False)), "low_rank", IMAGE),
    "linear layers": (
        lambda: torch.nn.TransformerEncoderLayer(16, 2, 32, batch_first=True),
        "block_diagonal_linear",
        TOKENS,
    ),
    "shared": (Shared, "low_rank", IMAGE),
    "the layer alone": (lambda: torch.nn.Conv2d(8, 8, 3, padding=1, bias=False), "low_rank", IMAGE),
    "half precision": (lambda: torch.nn.Sequential(torch.nn.Conv2d(8, 8, 3, padding=1)).half(), "low_rank", IMAGE),
}


@pytest.mark.parametrize("original, kernel, example", ORIGINALS.values(), ids=ORIGINALS)
def test_source_replaces_every_layer_that_a_kernel_replaced(original, kernel, example, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "_loaded", lambda *_: [])  # a fresh process takes seconds
    example = example.to(next(original().parameters()).dtype)
    network = canvas.replace(original(), canvas.zoo()[kernel], example=example).eval()
    path = export(network, example, tmp_path / "kernels.py")
    fresh = runpy.run_path(str(path))["install"](original().eval())
    assert [name for name, _ in fresh.named_modules()] == [name for name, _ in network.named_modules()]
    fresh.load_state_dict(network.state_dict())
    torch.testing.assert_close(fresh(example), network(example))


def test_source_keeps_what_a_network_may_read_of_its_layers(tmp_path):
    original = torch.nn.Sequential(torch.nn.Conv2d(8, 8, 3, padding=1))
    network = canvas.replace(original, canvas.zoo()["low_rank"], example=IMAGE)
    (tmp_path / "kernels.py").write_text(exporting.python_source(network))
    (layer,) = runpy.run_path(str(tmp_path / "kernels.py"))["install"](original)
    assert layer.training and layer.kernel_size == (3, 3) and layer.out_channels == 8


def test_source_that_leaves_a_layer_out_is_refused(network, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "_INSTALL", exporting._INSTALL.replace("in KERNELS:", "in KERNELS[1:]:"))
    with pytest.raises(WrongOutput, match=r"kernels.py: its kernels cannot be installed: "):
        export(network, EXAMPLE, tmp_path / "kernels.py")
    assert not list(tmp_path.iterdir())


def test_a_file_that_computes_something_else_is_refused_and_not_left(network, tmp_path, monkeypatch):
    wrong = exporting.LOADERS[".pt2"].replace("leaves =", "result = result * 1.01\nleaves =")
    monkeypatch.setitem(exporting.LOADERS, ".pt2", wrong)
    with pytest.raises(WrongOutput, match=r"network.pt2: off by 0.01 \(relative\)"):
        export(network, EXAMPLE, tmp_path / "network.pt2")
    assert not list(tmp_path.iterdir())


def test_a_refusal_tells_its_cause_without_colours():
    def refuse():
        raise RuntimeError("see the log") from ValueError("\x1b[31mno\x1b[0m such operator")

    with pytest.raises(UserError, match=r"^ONNX refuses the network: ValueError: no such operator$"):
        exporting._attempt("ONNX", refuse)


def test_what_cannot_be_exported_is_named(network, tmp_path):
    class Branch(torch.nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(UserError, match=r"torch\.export refuses the network: "):
        export(Branch(), EXAMPLE, tmp_path / "branch.pt2")
    for ending in ("pt2", "onnx", "py"):
        with pytest.raises(UserError, match=r"not accept an input of the shape 2x3x28x28 .*\(--input CxHxW\)"):
            export(network, torch.zeros(2, 3, 28, 28), tmp_path / f"network.{ending}")
    assert not list(tmp_path.iterdir())
