"""What networks make backends do, as figures: shapes alone decide, and nothing is run."""

import numpy as np
import pytest
import torch
from torch import nn

import canvas
from canvas import Layer, backends, native_network
from canvas.errors import UserError
from canvas.kernel import module_from_source
from canvas.models import resnet8
from canvas.workload import ENDS, NATIVE, OPERATIONS

LAYER = Layer(8, 12, (6, 4))


def trace(module, example):
    return OPERATIONS.trace(module, example, 1)


def figure(work, kind, part=""):
    return work[OPERATIONS.figures.index(f"{kind} {part}".strip())]


def total(work, part):
    return sum(figure(work, *name.split()) for name in OPERATIONS.figures if name.endswith(f" {part}"))


def test_a_convolution_is_its_products_and_its_traffic():
    work = trace(nn.Conv2d(8, 12, 3, padding=1, bias=False), torch.zeros(2, 8, 6, 4))
    assert figure(work, "dense", "calls") == 1
    assert figure(work, "dense", "flops") == 2 * 2 * 12 * 24 * 8 * 9
    assert figure(work, "dense", "near") == 4 * (2 * 8 * 24 + 2 * 12 * 24 + 8 * 12 * 9)
    assert (figure(work, "input"), figure(work, "output")) == (4 * 2 * 8 * 24, 4 * 2 * 12 * 24)
    others = [name for name in OPERATIONS.figures if not name.startswith(("dense", "input", "output"))]
    assert not any(figure(work, *name.split()) for name in others)


@pytest.mark.parametrize(("groups", "kind"), [(1, "dense"), (2, "grouped"), (8, "depthwise")])
def test_convolutions_are_told_apart(groups, kind):
    assert figure(trace(nn.Conv2d(8, 8, 3, groups=groups), torch.zeros(1, 8, 5, 5)), kind, "calls") == 1


def test_what_does_not_fit_the_cache_counts_apart():
    work = trace(nn.ReLU(), torch.zeros(2**20))
    assert (figure(work, "map", "near"), figure(work, "map", "far")) == (0, 2 * 4 * 2**20)


def test_products_of_matrices_and_softmax():
    def attend(x):
        return torch.softmax(x @ x.transpose(1, 2), -1) @ x

    class Attention(nn.Module):
        def forward(self, x):
            return attend(x)

    work = trace(Attention(), torch.zeros(3, 5, 7))
    assert figure(work, "matmul", "flops") == 2 * 3 * 5 * 5 * 7 * 2
    assert figure(work, "softmax", "calls") == 1


def test_batch_norms_after_convolutions_are_folded():
    model = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
    assert figure(trace(model, torch.zeros(1, 4, 3, 3)), "reduce", "calls") == 0
    assert model[0].weight.device.type == "cpu", "the model is left as it is"


@pytest.mark.parametrize("name", ["dense", "depthwise_separable", "grouped_shuffle", "low_rank"])
def test_linear_kernels_are_traced_at_their_own_operations(name):
    kernel = canvas.zoo()[name]
    flops = kernel.bind([LAYER])[0].flops
    assert total(trace(kernel.module(LAYER), torch.zeros(1, 8, 6, 4)), "flops") == flops


def test_what_cannot_run_without_data_is_named():
    class Peeks(nn.Module):
        def forward(self, x):
            return x * float(x.sum())

    with pytest.raises(UserError, match=r"the module cannot be traced without data: RuntimeError: .*meta"):
        trace(Peeks(), torch.zeros(3))


@pytest.mark.parametrize("name", ["dense", "involution", "large_kernel_attention"])
def test_the_same_network_twice_is_twice_the_operations(name):
    layer = Layer(8, 8, (6, 4))
    module = canvas.zoo()[name].module(layer)
    once, twice = (trace(nn.Sequential(*[module] * times), torch.zeros(2, 8, 6, 4)) for times in (1, 2))
    operations = len(once) - len(ENDS)
    np.testing.assert_array_equal(twice[:operations], 2 * once[:operations])
    np.testing.assert_array_equal(twice[operations:], once[operations:])


@pytest.mark.parametrize(
    ("shape", "apart"),
    [((2, 16, 32, 32), True), ((2, 16, 32, 31), False), ((2, 3, 32, 32), False), ((2, 9, 4, 16, 16), True)],
)
@pytest.mark.parametrize("workload", [OPERATIONS, NATIVE])
def test_ends_whose_channels_are_pages_apart_count_apart(workload, shape, apart):
    work = workload.trace(nn.ReLU(), torch.zeros(shape), 1)
    size = 4 * np.prod(shape)
    assert list(work[-4:]) == [0, size, 0, size] if apart else [size, 0, size, 0]


@pytest.mark.parametrize("name", list(backends.BACKENDS))
def test_every_backends_figures_are_named_finite_and_never_negative(name):
    workload = backends.find(name).workload
    work = workload.trace(resnet8(), torch.zeros(2, 1, 28, 28), 1)
    assert len(set(workload.figures)) == len(workload.figures) == len(work)
    assert np.isfinite(work).all() and (work >= 0).all() and work.any()


def test_native_code_is_the_cycles_that_its_generator_counts():
    module = canvas.zoo()["depthwise_separable"].module(LAYER)
    made = native_network.write(module, torch.zeros(5, 8, 6, 4))
    work = NATIVE.trace(module, torch.zeros(5, 8, 6, 4), 1)
    assert work[0] == 5 * made.cycles[0] + made.cycles[1] > 0


@pytest.mark.parametrize("name", ["low_rank", "involution"])
def test_native_code_is_judged_by_shapes_alone(name):
    source = canvas.zoo()[name].source(LAYER)
    with torch.device("meta"):
        module, example = module_from_source(source), torch.zeros(3, 8, 6, 4)
    wanted = NATIVE.trace(module_from_source(source), torch.randn(3, 8, 6, 4), 1)
    np.testing.assert_array_equal(NATIVE.trace(module, example, 1), wanted)
    assert all(value.is_meta for value in module.parameters()), "the module is left as it is"


def test_more_channels_take_native_code_more_cycles():
    cycles = [NATIVE.trace(nn.Conv2d(c, c, 3), torch.zeros(1, c, 9, 9), 1)[0] for c in (16, 32, 64, 128)]
    assert cycles == sorted(set(cycles))


def test_what_native_code_lacks_is_named():
    with pytest.raises(UserError, match=r"native code cannot be predicted: the network has other inputs than one"):
        NATIVE.trace(nn.Bilinear(2, 2, 2), (torch.zeros(1, 2), torch.zeros(1, 2)), 1)
    with pytest.raises(UserError, match=r"native code cannot be predicted: the network has .*cumsum"):
        NATIVE.trace(Sums(), torch.zeros(2, 3), 1)


class Sums(nn.Module):
    def forward(self, x):
        return x.cumsum(1)
