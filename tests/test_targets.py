"""Finding the convolutions of any network."""

import copy

import pytest
import torch
from torch import nn

from canvas import Layer, UserError, zoo
from canvas.layers import Target, merged, replace, targets
from canvas.models import resnet8

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
    assert [tuple(t.layer.spatial) for t in found] == [(7, 7)] * 3 + [(4, 4)] * 2 + [(2, 2)]
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
        (nn.Conv2d(8, 8, 3), {}, True),
        (nn.Conv2d(8, 8, 5, 2, 1), {}, True),
        (nn.Conv2d(8, 8, 3, padding="valid"), {}, True),
        (nn.Conv2d(8, 8, 3, padding=(0, 1)), {}, False),
        (nn.Conv2d(8, 8, 3, padding=2), {}, False),
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
    new = replace(conv, zoo()["depthwise_separable"], found)
    assert new(example).shape == conv(example).shape


def test_an_example_that_does_not_fit_is_the_users_fault():
    with pytest.raises(UserError, match=r"does not accept the example input \(RuntimeError"):
        targets(resnet8(), torch.zeros(1, 3, 28, 28))


class Raises(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.conv, self.error = nn.Conv2d(8, 8, 3, padding=1), error

    def forward(self, x):
        self.conv(x)
        raise self.error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("bad\nsecond line"), r"\(ValueError: bad\)$"),
        (KeyError("mask"), r"\(KeyError: 'mask'\)$"),
        (NotImplementedError(), r"\(NotImplementedError: \)$"),
    ],
)
def test_a_model_that_raises_is_the_users_fault_and_stays_clean(error, message):
    model = nn.Sequential(nn.BatchNorm2d(8), Raises(error))
    with pytest.raises(UserError, match=r"model: does not accept the example input " + message) as caught:
        targets(model, torch.zeros(2, 8, 5, 5))
    assert type(caught.value.__cause__) is type(error)
    assert model[0].num_batches_tracked == 0 and not model[1].conv._forward_hooks


class OddPadding(nn.Conv2d):
    """Pads by itself: its output is not what its attributes say."""

    def forward(self, x):
        return super().forward(nn.functional.pad(x, (0, 1, 0, 1)))


@pytest.mark.parametrize(
    ("model", "example"),
    [
        (nn.Linear(8, 8), torch.zeros(2, 8)),
        (nn.Identity(), {"input": torch.zeros(1)}),
        (nn.Sequential(nn.Conv2d(8, 8, 3, padding=1)), torch.zeros(8, 5, 5)),
        (OddPadding(8, 8, 3, 1, 0), torch.zeros(1, 8, 5, 5)),
    ],
    ids=["no convolution", "no module", "no batch", "pads by itself"],
)
def test_nothing_to_replace_says_what_is_looked_for(model, example):
    with pytest.raises(UserError, match=r"nothing to replace: no convolution with an odd .*include_stem"):
        targets(model, example)


def test_a_dict_of_inputs_must_have_the_models_names():
    with pytest.raises(UserError, match=r"does not accept the example input \(TypeError.*unexpected keyword"):
        targets(Awkward(), {**awkward_inputs(), "y": 1})
    with pytest.raises(UserError, match=r"does not accept the example input \(TypeError"):
        targets(Awkward(), (torch.zeros(1, 8, 5, 5),))


def test_without_padding_the_layer_is_what_lies_within_the_margin():
    [found] = targets(nn.Conv2d(8, 8, 5, 2, 1), torch.zeros(1, 8, 11, 12))
    assert found.layer == Layer(8, 8, (9, 10), stride=2, window=5)


class Signed(nn.Module):
    """A layer behind a relu, and one behind a batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.behind_relu, self.behind_norm = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x):
        y = self.norm(self.stem(x))
        return self.behind_relu(y.relu()) + self.behind_norm(y)


@pytest.mark.parametrize("make", [torch.zeros, torch.randn])
def test_which_layers_have_no_negative_inputs(make):
    assert [target.nonnegative for target in targets(Signed(), make(2, 3, 8, 8))] == [True, False]
