"""Finding the convolutions of any network, and replacing them."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from canvas._core import Layer
from canvas.errors import UserError
from canvas.kernel import module_from_source
from canvas.models import resnet8
from canvas.layers import Biased, Target, merged, replace, targets
from standins import SEPARABLE, Bound, Separable

IMAGE = torch.zeros(1, 1, 28, 28)


class Awkward(nn.Module):
    """Containers in containers, a module used twice, modes and buffers that must survive, a dict of inputs."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.list = nn.ModuleList(
            [nn.ModuleDict({"a": nn.Conv2d(8, 8, 3, padding=1, bias=True), "n": nn.BatchNorm2d(8)})]
        )
        self.twice = nn.Conv2d(8, 8, 5, padding="same")
        self.alias = self.twice
        self.down = nn.Sequential(nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1, groups=4, bias=False)))
        self.never = nn.Conv2d(8, 8, 3, padding=1)
        self.drop = nn.Dropout(0.5)
        self.drop.eval()

    def forward(self, x, scale):
        self.calls += 1
        x = self.list[0]["n"](self.list[0]["a"](x * scale))
        return self.down(self.alias(self.drop(self.twice(x)).relu()))


def awkward_inputs(batch=2):
    return {"x": torch.randn(batch, 8, 10, 12), "scale": torch.ones(())}


def test_resnet8_has_six_targets_in_forward_order():
    found = targets(resnet8(), IMAGE)
    assert [t.layer.stride for t in found] == [1, 1, 2, 1, 2, 1]
    assert [tuple(t.layer.spatial) for t in found] == [(14, 14)] * 3 + [(7, 7)] * 2 + [(4, 4)]
    assert [layer.count for layer in merged(found)] == [2, 1, 1, 1, 1]


def test_nested_shared_and_grouped_convolutions_are_found_once():
    found = targets(Awkward(), awkward_inputs())
    assert found == [
        Target("list.0.a", Layer(8, 8, (10, 12))),
        Target("twice", Layer(8, 8, (10, 12), window=5, count=2)),
        Target("down.0.0", Layer(8, 16, (10, 12), stride=2, groups=4)),
    ]


def test_a_tuple_of_inputs_and_the_choice_of_windows():
    example = tuple(awkward_inputs().values())
    assert [t.name for t in targets(Awkward(), example, window=[5])] == ["twice"]


def test_looking_for_targets_leaves_no_trace():
    model = Awkward().train()
    model.drop.eval()
    before, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    inputs, stream = awkward_inputs(), torch.get_rng_state()
    targets(model, inputs)
    assert torch.equal(torch.get_rng_state(), stream)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert [m.training for m in model.modules()] == modes
    assert not any(m._forward_hooks for m in model.modules())


@pytest.mark.parametrize(
    ("conv", "keywords", "kept"),
    [
        (nn.Conv2d(8, 8, 3, padding=1), {}, True),
        (nn.Conv2d(8, 24, 7, 2, 3), {}, True),
        (nn.Conv2d(8, 8, 3, padding=1, groups=8), {}, True),
        (nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"), {}, True),
        (nn.Conv2d(8, 8, 3), {}, False),
        (nn.Conv2d(8, 8, 3, padding=2, dilation=2), {}, False),
        (nn.Conv2d(8, 8, (1, 3), padding=(0, 1)), {}, False),
        (nn.Conv2d(8, 8, 2), {}, False),
        (nn.Conv2d(8, 8, 3, (1, 2), 1), {}, False),
        (nn.Conv2d(8, 8, 3, 3, 1), {}, False),
        (nn.Conv2d(8, 8, 1), {}, False),
        (nn.Conv2d(8, 8, 1), {"include_pointwise": True}, True),
        (nn.Conv2d(4, 8, 3, padding=1), {}, False),
        (nn.Conv2d(4, 8, 3, padding=1), {"include_stem": True}, True),
        (nn.ConvTranspose2d(8, 8, 3, padding=1), {}, False),
    ],
    ids=lambda value: str(value).replace(" ", "") if isinstance(value, nn.Module) else None,
)
def test_which_convolutions_count(conv, keywords, kept):
    example = torch.zeros(1, conv.in_channels, 9, 9)
    if not kept:
        with pytest.raises(UserError, match="nothing to replace"):
            targets(conv, example, **keywords)
        return
    found = targets(conv, example, **keywords)
    assert [t.name for t in found] == [""]
    new = replace(conv, Separable(), found)
    assert new(example).shape == conv(example).shape


def test_an_example_that_does_not_fit_is_the_users_fault():
    with pytest.raises(UserError, match=r"does not accept the example input \(RuntimeError"):
        targets(resnet8(), torch.zeros(1, 3, 28, 28))


def test_replacing_leaves_the_original_and_keeps_shapes_sharing_and_biases():
    model = Awkward()
    before = copy.deepcopy(model.state_dict())
    new = replace(model, Separable(), example=awkward_inputs())
    assert isinstance(new.twice, Biased) and new.alias is new.twice
    assert torch.equal(new.twice.bias, model.twice.bias)
    assert isinstance(new.never, nn.Conv2d) and type(new.down[0][0]).__name__ == "DepthwiseSeparable"
    assert new(**awkward_inputs()).shape == model.eval()(**awkward_inputs()).shape
    assert list(model.state_dict()) == list(before) and isinstance(model.twice, nn.Conv2d)


def test_only_the_given_targets_are_replaced():
    model = resnet8()
    new = replace(model, Separable(), targets(model, IMAGE)[1:2])
    assert [name for name, m in new.named_modules() if type(m).__name__ == "DepthwiseSeparable"] == ["stages.0.0.conv2"]


def test_type_mode_and_memory_format_follow_the_convolution():
    model = resnet8().double().eval().to(memory_format=torch.channels_last)
    new = replace(model, Separable(), example=IMAGE.double())
    assert {p.dtype for p in new.parameters()} == {torch.float64}
    assert not any(m.training for m in new.modules())
    pointwise = new.stages[2][0].conv1.pointwise
    assert pointwise.is_contiguous(memory_format=torch.channels_last)
    assert replace(model.train(), Separable(), example=IMAGE.double()).stages[0][0].conv1.training


def test_a_binding_serves_targets_of_equal_sizes():
    model = resnet8()
    found = targets(model, IMAGE)
    binding = [Bound(layer) for layer in merged(found)]
    assert replace(model, binding, found)(IMAGE.expand(2, -1, -1, -1)).shape == (2, 10)
    with pytest.raises(UserError, match=r"the binding has no layer like that of stages.0.0.conv1"):
        replace(model, binding[1:], found)


def test_faults_of_replace():
    with pytest.raises(UserError, match="give targets, or an example"):
        replace(resnet8(), Separable())
    with pytest.raises(UserError, match=r"no module 'stages\.9'"):
        replace(resnet8(), Separable(), [Target("stages.9", Layer(8, 8))])


def test_a_replaced_network_trains_saves_and_copies(tmp_path):
    torch.manual_seed(0)
    new = replace(resnet8(), Separable(), example=IMAGE)
    optimizer = torch.optim.SGD(new.parameters(), lr=0.01)
    x = torch.randn(4, 1, 28, 28)
    new(x).square().mean().backward()
    assert all(p.grad is not None for p in new.parameters())
    optimizer.step()
    new.eval()
    expected = new(x)
    assert torch.equal(copy.deepcopy(new)(x), expected)
    other = replace(resnet8(), Separable(), example=IMAGE).eval()
    other.load_state_dict(new.state_dict())
    assert torch.equal(other(x), expected)
    torch.save((new, x, expected.detach()), tmp_path / "net.pt")
    check = (
        "import sys, torch\nnew, x, expected = torch.load(sys.argv[1], weights_only=False)\n"
        "torch.testing.assert_close(new(x), expected, rtol=1e-4, atol=1e-5)\n"
    )
    subprocess.run([sys.executable, "-c", check, str(tmp_path / "net.pt")], check=True, timeout=60)


def test_autocast_and_channels_last():
    new = replace(resnet8(), Separable(), example=IMAGE).eval()
    x = torch.randn(4, 1, 28, 28)
    expected = new(x)
    last = copy.deepcopy(new).to(memory_format=torch.channels_last)
    torch.testing.assert_close(last(x.to(memory_format=torch.channels_last)), expected, rtol=1e-4, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        output = new(x)
    assert output.dtype == torch.bfloat16
    assert (output.float() - expected).norm() < 0.1 * expected.norm()


def test_torch_compile_of_one_module():
    module = module_from_source(Bound(Layer(8, 8)).source()).eval()
    x = torch.randn(1, 8, 5, 5)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), module(x))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_cuda():
    new = replace(resnet8().cuda(), Separable(), example=IMAGE.cuda())
    assert {p.device.type for p in new.parameters()} == {"cuda"}
    assert new(IMAGE.cuda().expand(2, -1, -1, -1)).shape == (2, 10)


def test_a_fault_in_generated_code_shows_its_source_line():
    broken = SEPARABLE.replace("return F.conv2d(d, self.pointwise)", "return d.no_such_method()")
    module = module_from_source(Bound(Layer(8, 8), broken).source())
    import traceback

    try:
        module(torch.zeros(1, 8, 5, 5))
    except AttributeError:
        assert "return d.no_such_method()" in traceback.format_exc()
    else:
        pytest.fail("ran")


def test_drawing_without_graphviz_says_what_to_install(monkeypatch, tmp_path):
    import graphviz

    from canvas.kernel import draw

    class Dotted:
        def dot(self):
            return "digraph { a -> b }"

    assert "<svg" in draw(Dotted(), tmp_path / "k.svg") and "<svg" in (tmp_path / "k.svg").read_text()
    with pytest.raises(UserError, match=r"picture '.*/none/k.svg': cannot be written"):
        draw(Dotted(), tmp_path / "none" / "k.svg")
    monkeypatch.setattr(graphviz.backend.dot_command, "DOT_BINARY", "no-such-dot")
    with pytest.raises(UserError, match="apt install graphviz"):
        draw(Dotted())
