"""The built-in networks and the loading of a user's."""

import pytest
import torch

from canvas.errors import UserError
from canvas.models import BUILT_IN, load_model


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("channels", [1, 3])
def test_built_in_models_take_any_channels_and_classes(name, channels):
    model = load_model(name, num_classes=7, in_channels=channels).eval()
    assert model(torch.zeros(1, channels, 28, 28)).shape == (1, 7)


def test_resnet8_halves_the_resolution_twice_in_its_stem_and_in_two_stages():
    model = load_model("resnet8").eval()
    x = model.stem(torch.zeros(1, 1, 28, 28))
    assert x.shape == (1, 64, 7, 7)
    assert model.stages(x).shape == (1, 256, 2, 2)


def test_a_users_function_gives_the_model(tmp_path):
    file = tmp_path / "net.py"
    (tmp_path / "neighbour_of_net.py").write_text("WIDTH = 3\n")
    file.write_text(
        "from torch import nn\nfrom neighbour_of_net import WIDTH\ndef build():\n    return nn.Linear(2, WIDTH)\n"
    )
    assert load_model(f"{file}:build").out_features == 3


@pytest.mark.parametrize(
    ("text", "spec", "message"),
    [
        (None, "net.py:f", "model file '{dir}/net.py': no such file; give an existing PATH.py:FUNCTION"),
        (
            "x = 1\n1 / 0\n",
            "net.py:f",
            "model file '{dir}/net.py:2': running the file raised ZeroDivisionError: division by zero",
        ),
        (
            "x = (\n",
            "net.py:f",
            "model file '{dir}/net.py:1': running the file raised SyntaxError: '(' was never closed (net.py, line 1)",
        ),
        ("import sys\nsys.exit(3)\n", "net.py:f", "model file '{dir}/net.py:2': running the file raised SystemExit: 3"),
        ("def g():\n    pass\n", "net.py:f", "model file '{dir}/net.py': no function 'f'; it has g"),
        ("f = 3\n", "net.py:f", "model file '{dir}/net.py': no function 'f'; it has no function"),
        (
            "def g():\n    raise ValueError('no weights\\nhere')\ndef f():\n    return g()\n",
            "net.py:f",
            "model file '{dir}/net.py:2': calling f() raised ValueError: no weights",
        ),
        (
            "def f():\n    return 3\n",
            "net.py:f",
            "model file '{dir}/net.py': f() must return a torch.nn.Module, got int",
        ),
    ],
)
def test_a_bad_model_file_is_one_clear_error(tmp_path, text, spec, message):
    if text is not None:
        (tmp_path / "net.py").write_text(text)
    with pytest.raises(UserError) as caught:
        load_model(f"{tmp_path}/{spec}")
    assert str(caught.value) == message.format(dir=tmp_path)


@pytest.mark.parametrize("spec", ["resnet9", "net.py", "net:f", ""])
def test_an_unknown_model_lists_the_known(spec):
    with pytest.raises(UserError, match=r"resnet8, resnet20, resnet18, resnet18_imagenet.*PATH.py:FUNCTION"):
        load_model(spec)
