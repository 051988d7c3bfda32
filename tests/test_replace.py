"""Kernels in networks: whatever PyTorch does with a network it does with one that holds kernels."""

import copy
import math
import subprocess
import sys
import traceback

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from canvas import Budget, Layer, UserError, parse, sample, zoo
from canvas.kernel import draw, module_from_source
from canvas.layers import Fitted, Target, merged, replace, targets
from canvas.models import BUILT_IN, resnet8

IMAGE = torch.zeros(1, 1, 28, 28)
LAYERS = merged(targets(resnet8(), IMAGE))
SEPARABLE = zoo()["depthwise_separable"]
# No quotients: near zero they magnify rounding, and what is compared here is precisions.
BUDGET = Budget(flops=1.0, params=1.0)
SAMPLED = sample(LAYERS, 30, seed=11, budget=BUDGET, weights={"div": 0.0})
CHOSEN = (
    "asymmetric", "dense", "depthwise_separable", "efficient_attention", "grouped_shuffle", "involution", "low_rank",
    "outlook_attention", "pointwise", "shift_pointwise", "squeeze_excitation",
)  # fmt: skip
KERNELS = {name: zoo()[name] for name in CHOSEN} | {kernel.name: kernel for kernel in SAMPLED[:3]}


def images(model, batch=2, extent=32):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, next(model.parameters()).shape[1], extent, extent, generator=generator)


def kernels_in(model):
    return [m for m in model.modules() if type(m).__module__ == "canvas.generated"]


def first(output):
    return output if isinstance(output, torch.Tensor) else output.last_hidden_state


def hugging_face(name):
    transformers = pytest.importorskip("transformers")
    stages = {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 2]}
    keywords = {
        "ResNet": {**stages, "layer_type": "basic"},
        "MobileNetV2": {"depth_multiplier": 0.25},
        "RegNet": {**stages, "groups_width": 8},
    }[name]
    config = getattr(transformers, f"{name}Config")(**keywords)
    return getattr(transformers, f"{name}Model")(config)


@pytest.mark.parametrize("name", ["ResNet", "MobileNetV2", "RegNet"])
def test_networks_of_transformers_take_every_kernel(name):
    torch.manual_seed(0)
    model = hugging_face(name)
    x = images(model, extent=64)
    example = {"pixel_values": x}
    found, expected = targets(model, example), first(model.eval()(x)).shape
    assert len(found) == {"ResNet": 6, "MobileNetV2": 17, "RegNet": 3}[name]
    for label, kernel in KERNELS.items():
        new = replace(model.train(), kernel, found)
        assert len(kernels_in(new)) == len(found) and first(new(x)).shape == expected, label
        first(new(x)).square().mean().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for k in kernels_in(new) for p in k.parameters()), (
            label
        )
        assert first(new.eval()(x)).isfinite().all(), label
    assert not kernels_in(model)


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_networks_take_kernels_and_stay_as_they_were(name):
    model = BUILT_IN[name]()
    before, x = copy.deepcopy(model.state_dict()), images(model, extent=16)
    for kernel in (SEPARABLE, SAMPLED[0]):
        new = replace(model, kernel, example=x)
        assert new(x).shape == new.eval()(x).shape == (2, model.head.out_features)
    assert list(model.state_dict()) == list(before) and not kernels_in(model)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def deviations(model, x):
    """Of the last feature map, and of each stage before it."""
    seen = []
    hooks = [m.register_forward_hook(lambda _m, _i, y: seen.append(float(y.detach().std()))) for m in model.stages]
    model(x)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("kernel", SAMPLED, ids=lambda kernel: kernel.name)
def test_a_replaced_network_starts_at_the_originals_scale_and_trains(kernel):
    torch.manual_seed(0)
    model, x, labels = resnet8(), torch.randn(32, 1, 28, 28), torch.arange(32) % 10
    new = replace(model, kernel, budget=BUDGET, example=x)
    for mine, original in zip(deviations(new, x), deviations(model, x), strict=True):
        assert original / 4 < mine < original * 4
    before = [p.detach().clone() for p in new.parameters()]
    optimizer = torch.optim.SGD(new.parameters(), lr=0.03, momentum=0.9)
    for _ in range(3):
        loss = F.cross_entropy(new(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert math.isfinite(float(loss))
    assert any(not torch.equal(p, old) for p, old in zip(new.parameters(), before, strict=True))


@pytest.mark.parametrize("name", KERNELS)
def test_copies_state_formats_and_precisions(name):
    """Deep copies, state_dict, channels last, double and autocast, in eval mode."""
    torch.manual_seed(0)
    new = replace(resnet8(), KERNELS[name], example=IMAGE)
    x = torch.randn(4, 1, 28, 28)
    new(x)
    new.eval()
    expected = new(x)
    assert torch.equal(copy.deepcopy(new)(x), expected)
    other = replace(resnet8(), KERNELS[name], example=IMAGE).eval()
    assert not torch.equal(other(x), expected)
    other.load_state_dict(new.state_dict())
    assert torch.equal(other(x), expected)
    torch.testing.assert_close(copy.deepcopy(new).double()(x.double()).float(), expected, rtol=1e-3, atol=1e-3)
    last = copy.deepcopy(new).to(memory_format=torch.channels_last)
    torch.testing.assert_close(last(x.to(memory_format=torch.channels_last)), expected, rtol=1e-3, atol=1e-3)
    with torch.autocast("cpu", torch.bfloat16):
        output = new(x)
    assert (output.float() - expected).norm() < 0.2 * expected.norm()


def test_a_saved_network_opens_in_a_fresh_process(tmp_path):
    x = torch.randn(2, 1, 28, 28)
    saved = {name: replace(resnet8(), kernel, example=IMAGE).eval() for name, kernel in KERNELS.items()}
    torch.save((saved, x, {name: new(x).detach() for name, new in saved.items()}), tmp_path / "net.pt")
    check = (
        "import sys, torch\nsaved, x, expected = torch.load(sys.argv[1], weights_only=False)\n"
        "for name, new in saved.items():\n"
        "    torch.testing.assert_close(new(x), expected[name], rtol=1e-3, atol=1e-4)\n"
    )
    subprocess.run([sys.executable, "-c", check, str(tmp_path / "net.pt")], check=True, timeout=60)


def test_torch_compile_of_one_kernel():
    module = zoo()["involution"].module(Layer(8, 8, (5, 5))).eval()
    x = torch.randn(1, 8, 5, 5)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), module(x))


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_takes_any_resolution_and_batch(name):
    new = replace(resnet8(), KERNELS[name], example=IMAGE).eval()
    for shape in ((1, 1, 28, 28), (3, 1, 45, 32), (2, 1, 16, 64)):
        assert new(torch.randn(shape)).shape == (shape[0], 10)


def test_weights_of_narrow_strided_convolutions_get_gradients():
    """Channels last, in a process of its own: oneDNN writes past its buffer here unless the emitted code avoids it."""
    text = """kernel narrow(x[C, H, W]) -> [K, H/s, W/s]:
  a = fc(x, [C] -> [c = 3])
  b = subsample(fc(a, [c] -> [K]), H: s, W: s)
  m = fc(fold(a, mean: [H, W]), [c] -> [K])
  return add(b, m)
"""
    source = parse(text).source(Layer(16, 64, (14, 14), stride=2))
    check = f"{source}\nx = torch.randn(32, 16, 14, 14).contiguous(memory_format=torch.channels_last)\n"
    check += "for _ in range(5):\n    Module()(x).sum().backward()\n"
    subprocess.run([sys.executable, "-c", check], check=True, timeout=60)


class Awkward(nn.Module):
    """Containers in containers, a module used twice, a bias, a module that is never used."""

    def __init__(self):
        super().__init__()
        self.list = nn.ModuleList([nn.ModuleDict({"a": nn.Conv2d(8, 8, 3, padding=1)})])
        self.twice = nn.Conv2d(8, 8, 5, padding="same")
        self.alias = self.twice
        self.down = nn.Sequential(nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1, groups=4, bias=False)))
        self.never = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x):
        return self.down(self.alias(self.twice(self.list[0]["a"](x)).relu()))


def test_sharing_containers_and_biases_survive():
    model, x = Awkward(), torch.randn(2, 8, 10, 12)
    new = replace(model, SEPARABLE, example=x)
    assert isinstance(new.twice, Fitted) and new.alias is new.twice
    assert torch.equal(new.twice.bias, model.twice.bias) and new.twice.bias is not model.twice.bias
    assert isinstance(new.never, nn.Conv2d) and new.down[0][0] in kernels_in(new)
    assert new(x).shape == model(x).shape and isinstance(model.twice, nn.Conv2d)
    new(x).sum().backward()
    assert new.twice.bias.grad is not None


@pytest.mark.parametrize(("window", "stride", "padding"), [(3, 1, 0), (3, 2, 0), (5, 2, 1), (5, 1, "valid")])
def test_a_convolution_with_less_padding_keeps_its_output_shape(window, stride, padding):
    conv = nn.Conv2d(8, 12, window, stride, padding)
    for extent in (9, 10):
        x = torch.randn(2, 8, extent, extent + 3)
        assert replace(conv, SEPARABLE, example=x)(x).shape == conv(x).shape


def test_only_the_given_targets_are_replaced():
    model = resnet8()
    new = replace(model, SEPARABLE, targets(model, IMAGE)[1:2])
    assert kernels_in(new) == [new.stages[0][0].conv2]


def test_type_mode_and_memory_format_follow_the_convolution():
    model = resnet8().double().eval().to(memory_format=torch.channels_last)
    new = replace(model, SEPARABLE, example=IMAGE.double())
    assert {p.dtype for p in new.parameters()} == {torch.float64}
    assert not any(m.training for m in new.modules())
    assert new.stages[2][0].conv1.result.is_contiguous(memory_format=torch.channels_last)
    assert replace(model.train(), SEPARABLE, example=IMAGE.double()).stages[0][0].conv1.training


def test_a_binding_serves_its_own_layers_alone():
    model = resnet8()
    found = targets(model, IMAGE)
    binding = zoo()["grouped_shuffle"].bind(merged(found), Budget(flops=0.5))
    new = replace(model, binding, found)
    assert new(IMAGE.expand(2, -1, -1, -1)).shape == (2, 10)
    assert sum(p.numel() for k in kernels_in(new) for p in k.parameters()) == binding.params
    with pytest.raises(UserError, match=r"the binding has no layer like that of stages\.1\.0\.conv1"):
        replace(model, SEPARABLE.bind(merged(found[:2])), found)


def test_faults_of_replace():
    with pytest.raises(UserError, match="give targets, or an example"):
        replace(resnet8(), SEPARABLE)
    with pytest.raises(UserError, match=r"no module 'stages\.9'"):
        replace(resnet8(), SEPARABLE, [Target("stages.9", Layer(8, 8))])
    with pytest.raises(UserError, match=r"'pool' is no conv2d layer but AdaptiveAvgPool2d"):
        replace(resnet8(), SEPARABLE, [Target("pool", Layer(8, 8))])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
@pytest.mark.parametrize("name", KERNELS)
def test_cuda(name):
    new = replace(resnet8().cuda(), KERNELS[name], example=IMAGE.cuda())
    assert {p.device.type for p in new.parameters()} == {"cuda"}
    new(IMAGE.cuda().expand(2, -1, -1, -1)).sum().backward()


def test_a_kernel_makes_modules_without_further_imports_and_torch_comes_late():
    check = (
        "import sys, canvas\nkernel = canvas.zoo()['dense']\nassert 'torch' not in sys.modules\n"
        "print(kernel.module(canvas.Layer(8, 8)))"
    )
    done = subprocess.run([sys.executable, "-c", check], check=True, timeout=60, capture_output=True, text=True)
    assert done.stdout == "Dense()\n"


def test_a_fault_in_generated_code_shows_its_source_line():
    source = SEPARABLE.source(Layer(8, 8)).replace("return F.conv2d(d, self.result)", "return d.no_such_method()")
    module = module_from_source(source)
    with pytest.raises(AttributeError) as caught:
        module(torch.zeros(1, 8, 5, 5))
    assert "return d.no_such_method()" in "".join(traceback.format_exception(caught.value))


def test_drawing_without_graphviz_says_what_to_install(monkeypatch, tmp_path):
    import graphviz

    assert "<svg" in draw(SEPARABLE, tmp_path / "k.svg") and "<svg" in (tmp_path / "k.svg").read_text()
    with pytest.raises(UserError, match=r"picture '.*/none/k.svg': cannot be written"):
        draw(SEPARABLE, tmp_path / "none" / "k.svg")
    monkeypatch.setattr(graphviz.backend.dot_command, "DOT_BINARY", "no-such-dot")
    with pytest.raises(UserError, match="apt install graphviz"):
        draw(SEPARABLE)


@pytest.mark.parametrize("bias", [False, True])
def test_models_may_ask_a_replaced_layer_for_its_type(bias):
    """As T5 of transformers does."""

    class Asks(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 8, bias=bias)

        def forward(self, x):
            return self.fc(x.to(self.fc.weight.dtype, copy=True)).relu()

    x = torch.randn(2, 5, 8)
    found = targets(Asks(), x, kinds="linear", include_head=True)
    kernel = parse("kernel l(x[T, C]) -> [T, K]:\n  a = fc(x, [C] -> [m = C/4])\n  return fc(a, [m] -> [K])")
    model = replace(Asks(), kernel, found).double()
    assert model.fc.weight.dtype == torch.float64
    assert model.fc.weight.numel() == 0
    assert model(x.double()).dtype == torch.float64
    assert not any("weight" in name for name in model.state_dict())


def test_a_model_that_cannot_be_copied_says_what_it_keeps():
    model = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())
    model[0].kept, x = model[0].weight * 2, torch.zeros(1, 8, 6, 6)
    for call in (lambda: targets(model, x), lambda: replace(model, zoo()["dense"], example=x)):
        with pytest.raises(UserError, match=r"cannot be copied, since it keeps a computed tensor, 0\.kept: remove it"):
            call()


def test_a_kernels_module_can_be_scripted():
    module, x = SEPARABLE.module(Layer(8, 8, (5, 5))), torch.randn(1, 8, 5, 5)
    torch.testing.assert_close(torch.jit.script(module)(x), module(x))


def test_a_layer_whose_kernel_has_no_parameters_has_no_weight():
    assert not hasattr(Fitted(nn.Identity(), None, 1, 2), "weight")
    assert Fitted(nn.Identity(), torch.zeros(3), 0, 0).weight.dtype == torch.float32
