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


@pytest.mark.parametrize("ending", ["pt2", pytest.param("onnx", marks=pytest.mark.skipif(not ONNX, reason="no ONNX"))])
def test_a_network_is_loaded_without_canvas_and_computes_the_same(network, ending, tmp_path):
    path = export(network, EXAMPLE, tmp_path / f"network.{ending}")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    if ending == "pt2":
        torch.testing.assert_close(torch.export.load(path).module()(EXAMPLE), network(EXAMPLE))


def test_source_of_the_kernels_goes_into_the_original_with_its_weights(network, tmp_path):
    path = export(network, EXAMPLE, tmp_path / "kernels.py")
    text = path.read_text()
    assert "import canvas" not in text and text.count("import torch\n") == 1
    fresh = runpy.run_path(str(path))["install"](resnet8()).eval()
    fresh.load_state_dict(network.state_dict())
    torch.testing.assert_close(fresh(EXAMPLE), network(EXAMPLE))


def test_a_file_that_computes_something_else_is_refused_and_not_left(network, tmp_path, monkeypatch):
    wrong = exporting.LOADERS[".pt2"].replace("torch.save(", "result = result * 1.01\ntorch.save(")
    monkeypatch.setitem(exporting.LOADERS, ".pt2", wrong)
    with pytest.raises(WrongOutput, match=r"network.pt2: off by 0.01 \(relative\)"):
        export(network, EXAMPLE, tmp_path / "network.pt2")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported_is_named(network, tmp_path):
    class Branch(torch.nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(UserError, match=r"torch\.export refuses the network: "):
        export(Branch(), EXAMPLE, tmp_path / "branch.pt2")
    assert not list(tmp_path.iterdir())
