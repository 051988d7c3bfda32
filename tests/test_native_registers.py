"""Native code for few registers (AVX2: 16 vectors of 8 floats): what its tiles hold, and how loops around them run."""

import re

import pytest
import torch

from canvas import Layer, _core, native, native_compiler, parse
from canvas.native import NativeKernel

POINTWISE = parse("kernel k(x[C, H, W]) -> [K, H, W]:\n  return fc(x, [C] -> [K])")

needs_compiler = pytest.mark.skipif(native_compiler.compiler() is None, reason="no C++ compiler")


def text_of(layer: Layer, width: int, registers: int) -> str:
    kernel, sizes = native.kernel_of(POINTWISE.module(layer))
    return _core.native_source(kernel, sizes, width, registers)[0]


@needs_compiler
@pytest.mark.parametrize(("channels", "turn"), [(64, 4), (45, 3), (70, 2), (67, 1)])
def test_where_registers_are_few_a_loop_takes_several_steps_at_a_time(channels, turn, monkeypatch):
    machine = native_compiler.target()
    layer = Layer(channels, 48, (5, 8))
    for registers, by in ((32, 1), (16, turn)):
        step = "r0++" if by == 1 else f"r0 += {by}"
        assert f"for (long r0 = 0; r0 < {channels}; {step})" in text_of(layer, 8, registers)
    few = native_compiler.Target(machine.flags, 8, 16)
    monkeypatch.setattr(native_compiler, "target", lambda: few)
    module, x = POINTWISE.module(layer).eval(), torch.randn(2, channels, 5, 8)
    with torch.no_grad():
        torch.testing.assert_close(NativeKernel(module)(x), module(x), rtol=1e-5, atol=1e-5)


def test_sixteen_registers_hold_twelve_sums_and_what_a_step_of_them_reads():
    text = text_of(Layer(64, 96, (8, 8)), 8, 16)
    assert "V a3_2 = {};" in text  # four rows of three vectors
    assert "V a3_3 = {};" not in text
    assert "V a4_2 = {};" not in text


def test_a_line_of_weights_is_asked_for_once():
    for width, registers in ((8, 16), (16, 32)):
        text = text_of(Layer(512, 512, (4, 4)), width, registers)
        asked = [int(at) for at in re.findall(r"__builtin_prefetch\(g2 \+ (\d+)", text)]
        assert asked
        assert all(at % 16 == 0 for at in asked)  # floats in a line


@pytest.mark.parametrize(("layer", "shared"), [(Layer(512, 512, (4, 4)), "v"), (Layer(64, 64, (32, 32)), "q")])
def test_threads_share_the_positions_of_an_image_or_where_these_are_few_its_channels(layer, shared):
    """Sixteen positions are three tiles: one of two threads would have two of these."""
    loops = re.findall(r"for \(long (\w+) = (\d+) \* t / n; \w+ < \d+ \* \(t \+ 1\) / n", text_of(layer, 8, 16))
    assert {name for name, _ in loops} == {shared}
