"""Tuning changes how quickly native code runs, never what it computes; whatever befalls a trial, code comes of it."""

import json

import pytest
import torch

import canvas
from canvas import Layer, _core, native_compiler, native_tuner
from canvas.backends import find
from canvas.errors import UserError
from canvas.native_network import NativeNetwork, write

pytestmark = pytest.mark.skipif(native_compiler.compiler() is None, reason="no C++ compiler")


def layer(name="depthwise_separable"):
    torch.manual_seed(0)
    return canvas.zoo()[name].module(Layer(32, 32, (8, 8))).eval(), torch.randn(4, 32, 8, 8)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and few variants that are timed for as short as can be."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(native_tuner, "WHOLE", ({"together": 1},))
    monkeypatch.setattr(native_tuner, "BY_NEST", ({"tile": 1},))
    monkeypatch.setattr(native_tuner, "EACH", 0.0)
    return tmp_path / "cache" / "canvas" / "native"


def trial(tmp_path, monkeypatch, script):
    """Another program in place of the trial; `made` is what it was asked, `own` the name of the real one."""
    program = tmp_path / "trial.py"
    head = f"import json, os, runpy, sys, time\nown = {str(native_tuner.TRIAL)!r}\n"
    program.write_text(head + script)
    monkeypatch.setattr(native_tuner, "TRIAL", program)


def agrees(network, module, x):
    with torch.no_grad():
        wanted, got = module(x), network(x)
    assert float((got - wanted).abs().max() / wanted.abs().max()) <= 1e-5


@pytest.mark.parametrize("name", ["involution", "depthwise_separable", "non_local", "window_attention", "dense"])
def test_no_choice_changes_what_is_computed(name, monkeypatch):
    module, x = layer(name)
    for choices in (
        {"tile": 1, "order": 1, "straight": 48, "together": 2},
        {"tile": 2, "cache": 1024, "clocks": 1},
        {"tile": 3, "straight": 800, "together": 8},
        {"tile": 1000, "straight": 1, "cache": 1},
    ):
        monkeypatch.setattr(native_tuner, "chosen", lambda emit, *_, choices=choices: emit(choices))
        agrees(NativeNetwork(module, x), module, x)


def test_an_unknown_choice_is_refused():
    with pytest.raises(ValueError, match="native code has no choice 'speed'"):
        _core.native_source(
            canvas.zoo()["dense"], {"C": 8, "K": 8, "H": 4, "W": 4, "s": 1}, 8, 16, choices={"speed": 1}
        )


LATER_IS_QUICKER = """
made = json.load(sys.stdin)["variants"]
times = [1 / (1 + number) for number in range(len(made))]
print(json.dumps({"seconds": times, "nests": [[t] * of["nests"] for t, of in zip(times, made)]}))
"""


def test_what_was_chosen_is_kept_and_serves_without_tuning(cache, tmp_path, monkeypatch):
    module, x = layer()
    trial(tmp_path, monkeypatch, LATER_IS_QUICKER)
    agrees(NativeNetwork(module, x, tune=True), module, x)
    [kept] = cache.glob("*.tuned.json")
    choices = json.loads(kept.read_text())["choices"]
    assert choices
    monkeypatch.setattr(native_tuner, "_Tuner", None)
    for tune in (True, False):
        assert write(module, x, tune=tune).source == write_with(module, x, choices, monkeypatch)
    agrees(find("native-tuned").prepare(module, x), module, x)


def write_with(module, x, choices, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(native_tuner, "chosen", lambda emit, *_: emit(choices))
        return write(module, x).source


def test_without_tuning_nothing_is_run_and_nothing_kept(cache, monkeypatch):
    module, x = layer()
    monkeypatch.setattr(native_tuner, "_Tuner", None)
    agrees(NativeNetwork(module, x), module, x)
    assert not list(cache.glob("*.json"))


@pytest.mark.parametrize("text", ["", "[1, 2]", '{"choices": {"speed": 1}}', '{"choices": {"tile": "many"}}', "\0\xff"])
def test_a_broken_file_is_made_anew(text, cache):
    module, x = layer()
    NativeNetwork(module, x, tune=True)
    [kept] = cache.glob("*.tuned.json")
    whole = json.loads(kept.read_text()).keys()
    kept.write_text(text)
    agrees(NativeNetwork(module, x), module, x)  # passed over
    assert kept.read_text() == text
    agrees(NativeNetwork(module, x, tune=True), module, x)
    assert json.loads(kept.read_text()).keys() == whole


def test_a_cache_that_cannot_be_written_costs_time_alone(cache):
    cache.parents[1].write_text("no folder")
    module, x = layer()
    agrees(NativeNetwork(module, x, tune=True), module, x)


CRASHES = """
made = json.load(sys.stdin)
for number, variant in enumerate(made["variants"]):
    print(json.dumps({"begun": number}), flush=True)
    if number > 0:
        os.kill(os.getpid(), 11)
print(json.dumps({"seconds": [1.0], "nests": [[1.0] * made["variants"][0]["nests"]]}))
"""


def test_variants_that_crash_are_passed_over(cache, tmp_path, monkeypatch):
    trial(tmp_path, monkeypatch, CRASHES)
    module, x = layer()
    agrees(NativeNetwork(module, x, tune=True), module, x)
    [kept] = cache.glob("*.tuned.json")
    assert json.loads(kept.read_text())["choices"] == {}  # all others crashed


@pytest.mark.parametrize(
    "script",
    [
        "os.kill(os.getpid(), 9)",
        "time.sleep(60)",
        "print('no json')",
        'print(json.dumps({"begun": -1}), flush=True); os._exit(3)',
        "",
    ],
)
def test_a_trial_that_is_killed_or_hangs_leaves_the_first_guess(script, cache, tmp_path, monkeypatch):
    trial(tmp_path, monkeypatch, script + "\n")
    monkeypatch.setattr(native_tuner, "SECONDS", 1)
    module, x = layer()
    agrees(NativeNetwork(module, x, tune=True), module, x)
    assert not list(cache.glob("*.tuned.json"))  # nothing was learnt


def test_without_a_compiler_tuning_says_so(cache, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    module, x = layer()
    with pytest.raises(UserError, match=r"there is no C\+\+ compiler; install g\+\+"):
        NativeNetwork(module, x, tune=True)


@pytest.mark.parametrize(("name", "value"), [("together", 0), ("cache", -1)])
def test_a_choice_that_cannot_be_is_refused(name, value):
    with pytest.raises(ValueError, match=f"cannot choose {value} for '{name}'"):
        _core.native_source(
            canvas.zoo()["pointwise"], {"C": 8, "K": 8, "H": 4, "W": 4, "s": 1}, 8, 16, choices={name: value}
        )
