"""The enumerator, and the sampler against it: on few primitives sampling comes to exactly the kernels that are listed.

`CANVAS_SUPPORT=400 pytest tests/test_enumerate.py` is the long run: so many streams of samples for kernels of up to
four primitives of the larger sets.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import canvas
from sampled import FLAT, LINE, LINEAR, SOLID, TOKENS

STREAMS = int(os.environ.get("CANVAS_SUPPORT", "0"))
ALWAYS = ("fc", "merge", "add", "mul", "subsample")  # a kernel may be closed with these whatever the weights say
ANYTHING = {"min_reach": 1, "min_weighted": 0, "concise": False, "full_flow": False, "live": False, "trainable": False}
PLAUSIBLE = ("unfold", "relu", "split", "shift", "fold")
SMALL = {  # layers, primitives beside ALWAYS, limits
    "2-d": (FLAT, PLAUSIBLE, {}),
    "1-d": (LINE, (*PLAUSIBLE, "contract", "sigmoid"), {}),
    "3-d": (SOLID, PLAUSIBLE, {}),
    "tokens": (TOKENS, ("relu",), {"max_variables": 1}),
    "linear": (LINEAR, ("relu",), {"max_variables": 1}),
    "2-d, anything legal": (FLAT, ("unfold", "relu"), {**ANYTHING, "max_variables": 1}),
}
FEWER = {
    "2-d": (FLAT, ("unfold", "relu"), {"max_variables": 1}),
    "1-d": (LINE, ("unfold", "relu", "shift"), {"max_variables": 1}),
    "3-d": (SOLID, ("unfold", "relu"), {"max_variables": 1}),
    "tokens": (TOKENS, ("relu",), {"max_variables": 1}),
    "linear": (LINEAR, ("relu",), {"max_variables": 1}),
}


def only(names: tuple[str, ...]) -> dict[str, float]:
    """The usual weights of these, 0 for all others."""
    return {p["name"]: p["weight"] if p["name"] in names else 0.0 for p in canvas.primitives()}


def drawn(layers: tuple[canvas.Layer, ...], wanted: set[str], streams: int, limits: dict) -> dict[str, canvas.Kernel]:
    """What streams of samples give until all that is wanted has come."""
    found: dict[str, canvas.Kernel] = {}
    for seed in range(streams):
        samples = canvas.Samples(list(layers), seed=seed, **limits)
        try:
            while not found.keys() >= wanted:
                (kernel,) = samples.take(1)
                found[kernel.hash] = kernel
        except canvas.Infeasible:  # 2000 tries in a row gave nothing new
            pass
    return found


def compare(setting: tuple, most: int, streams: int) -> None:
    layers, names, limits = setting
    limits = {**limits, "weights": only((*ALWAYS, *names)), "max_primitives": most}
    listed = {kernel.hash: kernel for kernel in canvas.enumerate_kernels(list(layers), **limits)}
    found = drawn(layers, set(listed), streams, limits)
    beside = "\n".join(str(found[digest]) for digest in found.keys() - listed.keys())
    missed = "\n".join(str(listed[digest]) for digest in listed.keys() - found.keys())
    assert not beside, f"sampled, but not listed:\n{beside}"
    assert not missed, f"listed, but not sampled in {streams} streams:\n{missed}"
    assert len(listed) > 3


@pytest.mark.parametrize("setting", SMALL.values(), ids=SMALL.keys())
def test_sampling_comes_to_what_is_listed_and_nothing_else(setting):
    compare(setting, 3, 8)


@pytest.mark.parametrize("setting", FEWER.values(), ids=FEWER.keys())
def test_sampling_comes_to_what_is_listed_up_to_four_primitives(setting):
    compare(setting, 4, 100)


@pytest.mark.skipif(not STREAMS, reason="CANVAS_SUPPORT=400 runs it")
@pytest.mark.timeout(0)
@pytest.mark.parametrize("setting", SMALL.values(), ids=SMALL.keys())
def test_sampling_comes_to_what_is_listed_up_to_four_of_more_primitives(setting):
    compare(setting, 4, STREAMS)


def test_what_is_listed_is_canonical_distinct_in_order_and_plausible():
    limits = {"max_primitives": 4, "weights": only((*ALWAYS, "unfold", "relu"))}
    kernels = canvas.enumerate_kernels(list(FLAT), **limits)
    assert [(len(kernel), kernel.hash) for kernel in kernels] == sorted({(len(k), k.hash) for k in kernels})
    for kernel in kernels:
        assert str(kernel.canonical()) == str(kernel)
        assert canvas.implausible(kernel) is None
        kernel.bind(list(FLAT))


def test_budgets_and_limits_leave_kernels_out():
    limits = {"max_primitives": 4, "weights": only((*ALWAYS, "unfold", "relu"))}
    every = {kernel.hash for kernel in canvas.enumerate_kernels(list(FLAT), **limits)}
    cheap = canvas.enumerate_kernels(list(FLAT), canvas.Budget(flops=0.3), **limits)
    few = canvas.enumerate_kernels(list(FLAT), **{**limits, "max_weighted": 1})
    for some in (cheap, few):
        assert some and {kernel.hash for kernel in some} < every


def test_longer_kernels_than_can_be_enumerated_are_refused():
    with pytest.raises(ValueError, match="at most 6 primitives are enumerated; give max_primitives, got 10"):
        canvas.enumerate_kernels(list(FLAT))


def test_the_table_of_counts_is_up_to_date():
    tool = Path(__file__).parents[1] / "tools" / "enumeration_table.py"
    run = subprocess.run([sys.executable, tool, "--check", "conv2d", "conv1d"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_a_temperature_moves_shares_and_not_the_support():
    """At 4 the weights of a relu and a tanh, 10 to 1, are 1.8 to 1."""
    limits = {"max_primitives": 4, "weights": only((*ALWAYS, "unfold", "relu", "tanh"))}
    hashes = [{k.hash for k in canvas.enumerate_kernels(list(LINE), temperature=t, **limits)} for t in (0.5, 4.0)]
    assert hashes[0] == hashes[1]

    def share(temperature: float) -> float:
        weights = only((*ALWAYS, "unfold", "relu", "tanh"))
        kernels = canvas.sample(list(LINE), 150, weights=weights, temperature=temperature)
        return sum("tanh" in kernel.primitives for kernel in kernels) / 150

    cold, usual, hot = share(0.5), share(1.0), share(4.0)
    assert cold < usual < hot and hot > 2 * usual
    with pytest.raises(ValueError, match="the temperature must be a number above 0, got -1"):
        canvas.sample(list(LINE), 1, temperature=-1)
