"""Calls of native code: from several threads, with weights that changed, and with whatever is added."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import canvas
from canvas import Layer, native_compiler
from canvas.native import NativeKernel
from canvas.native_network import NativeNetwork

pytestmark = pytest.mark.skipif(native_compiler.compiler() is None, reason="no C++ compiler")


def agrees(native, module, *inputs):
    with torch.no_grad():
        torch.testing.assert_close(native(*inputs), module(*inputs), rtol=1e-4, atol=1e-5)


def test_a_kernel_computes_with_the_weights_that_its_module_has():
    torch.manual_seed(0)
    module, x = canvas.zoo()["depthwise_separable"].module(Layer(8, 16, (8, 8))), torch.randn(2, 8, 8, 8)
    native = NativeKernel(module).eval()
    agrees(native, module, x)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    native(x).square().sum().backward()
    optimizer.step()
    agrees(native, module, x)
    module.load_state_dict({name: value * 3 for name, value in module.state_dict().items()})
    agrees(native, module, x)
    for number in range(30):  # others take the memory of those before
        for _ in range(2):
            values = {name: torch.full_like(value, number) for name, value in module.state_dict().items()}
            module.load_state_dict(values, assign=True)
            del values
        agrees(native, module, x)
    native.absorb(torch.full((16,), 2.0), torch.ones(16))
    agrees(native, lambda x: 2 * module(x) + 1, x)


def test_weights_made_in_inference_mode_are_taken():
    with torch.inference_mode():
        module, x = canvas.zoo()["pointwise"].module(Layer(8, 8, (4, 4))).eval(), torch.randn(2, 8, 4, 4)
        agrees(NativeKernel(module).eval(), module, x)


@pytest.mark.parametrize("kind", [NativeKernel, lambda module: NativeNetwork(module, torch.zeros(1, 8, 6, 6))])
def test_threads_may_call_at_once(kind):
    torch.manual_seed(0)
    module = canvas.zoo()["involution"].module(Layer(8, 8, (6, 6))).eval()
    inputs = [torch.randn(images, 8, 6, 6) for images in (1, 3)]
    native, before = kind(module), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            wanted = [native(x) for x in inputs]

        def equal(number):
            with torch.inference_mode():
                return sum(torch.equal(native(inputs[number % 2]), wanted[number % 2]) for _ in range(200))

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(equal, range(4))) == [200] * 4
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    "addend",
    [
        torch.randn(2, 8, 4, 4, dtype=torch.float64),
        torch.ones(8, 1, 1, dtype=torch.int64),
        torch.randn(1, 4),
        torch.randn(3, 1, 8, 4, 4),
        2,
    ],
    ids=["float64", "int64", "a row", "larger", "a number"],
)
def test_what_is_added_may_be_of_any_type_and_shape(addend):
    torch.manual_seed(0)
    module, x = canvas.zoo()["pointwise"].module(Layer(8, 8, (4, 4))).eval(), torch.randn(2, 8, 4, 4)
    native = NativeKernel(module).eval()
    native.adds = True
    agrees(native, lambda x, addend: module(x) + addend, x, addend)
