"""Functions that pieces of native code share are compiled once; whatever befalls who lends them, results are right."""

import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

import canvas
from canvas import Layer, native_compiler, native_functions
from canvas.native_network import NativeNetwork

pytestmark = pytest.mark.skipif(native_compiler.compiler() is None, reason="no C++ compiler")

OWN = re.compile(r"void (\w+_\d+)\(")  # definitions
KERNELS = ("depthwise_separable", "shift_pointwise", "involution")


def network(name):
    """Networks that differ in one layer."""
    torch.manual_seed(0)
    kernel = canvas.zoo()[name].module(Layer(24, 16, (6, 6)))
    layers = nn.Conv2d(8, 24, 3, padding=1), nn.ReLU(), kernel, nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, 10)
    return nn.Sequential(*layers).eval(), torch.randn(4, 8, 6, 6)


def results(name):
    model, x = network(name)
    return NativeNetwork(model, x)(x)


@pytest.fixture
def compiles(tmp_path, monkeypatch):
    """An empty cache; the functions of each text that is compiled."""
    made = []

    def compiled(source, to, before=native_compiler.compiled):
        made.append(set(OWN.findall(source)))
        return before(source, to)

    monkeypatch.setattr(native_compiler, "compiled", compiled)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return made


def alone(name, tmp_path, monkeypatch):
    """What a network computes whose code borrows nothing."""
    with monkeypatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path / f"alone {name}"))
        return results(name)


def elsewhere(tmp_path, monkeypatch):
    """The cache in another place, so that nothing in it is loaded yet."""
    shutil.copytree(tmp_path / "cache", tmp_path / "copy", symlinks=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "copy"))
    return native_compiler.cache_folder()


def lenders(folder: Path) -> list[Path]:
    return [link for link in folder.iterdir() if link.is_symlink()]


def test_no_function_is_compiled_twice_and_all_compute_the_same(compiles, tmp_path, monkeypatch):
    wanted = [alone(name, tmp_path, monkeypatch) for name in KERNELS]
    whole = list(compiles)
    compiles.clear()
    for name, right in zip(KERNELS, wanted, strict=True):
        assert torch.equal(results(name), right)
    assert len(set.union(*compiles)) == sum(map(len, compiles))  # each function once
    assert set.union(*compiles) == set.union(*whole)
    assert all(len(own) < len(all_) for own, all_ in zip(compiles[1:], whole[1:], strict=True))
    compiles.clear()
    for name, right in zip(KERNELS, wanted, strict=True):
        assert torch.equal(results(name), right)
    assert compiles == []


@pytest.mark.parametrize("fault", ["gone", "dangling", "broken", "another"])
def test_what_is_lent_no_more_is_compiled_anew(fault, compiles, tmp_path, monkeypatch):
    """Both for code that was made before and for code that is made now."""
    wanted = {name: alone(name, tmp_path, monkeypatch) for name in KERNELS}
    whole = compiles[1]
    for name in KERNELS[:2]:
        results(name)
    folder = elsewhere(tmp_path, monkeypatch)
    other = folder / "other.so"
    native_compiler.compiled('extern "C" int answer() { return 42; }', other)
    for link in lenders(folder):
        lender = link.resolve()
        if fault == "broken" and lender.exists():
            lender.unlink()
            lender.write_bytes(b"no library")
        elif fault == "dangling":
            lender.unlink(missing_ok=True)
        elif fault != "broken":
            link.unlink()
        if fault == "another":
            link.symlink_to(other.name)
    compiles.clear()
    for name in (*KERNELS[1:], KERNELS[0]):
        assert torch.equal(results(name), wanted[name])
    assert compiles[0] == whole


def test_a_cache_that_takes_no_links_costs_time_alone(compiles, tmp_path, monkeypatch):
    def full(*_):
        raise OSError("no space left on device")

    wanted = [alone(name, tmp_path, monkeypatch) for name in KERNELS]
    monkeypatch.setattr(Path, "symlink_to", full)
    for name, right in zip(KERNELS, wanted, strict=True):
        assert torch.equal(results(name), right)
    assert not lenders(native_compiler.cache_folder())


def test_functions_are_lent_to_the_same_compiler_processor_and_surroundings_alone():
    model, x = network(KERNELS[0])
    source = canvas.native_network.write(model, x).source
    usual = native_functions.files(source, "g++ 12 -O1")
    assert len(usual) > 2
    assert not set(usual.values()) & set(native_functions.files(source, "g++ 12 -O2").values())
    assert not set(usual.values()) & set(native_functions.files("typedef int wider;\n" + source, "g++ 12 -O1").values())
    assert set(usual.values()) == set(native_functions.files(source + "// another entry\n", "g++ 12 -O1").values())


@pytest.mark.parametrize("fault", ["while it is compiled", "before"])
def test_no_library_borrows_from_itself(fault, compiles, tmp_path, monkeypatch):
    """Two processes compile the same: what one has put in its place is not what the other borrows from."""
    wanted = alone(KERNELS[0], tmp_path, monkeypatch)
    results(KERNELS[0])
    folder = elsewhere(tmp_path, monkeypatch)
    [library] = [path for path in folder.iterdir() if path.is_file() and not path.is_symlink()]
    model, x = network(KERNELS[0])
    source = canvas.native_network.write(model, x).source
    program, flags = native_compiler._command()
    mark = "\0".join((program, native_compiler.version(program), *flags))
    functions = native_functions.files(source, mark)
    if fault == "before":  # it owns none of them
        text, own = native_functions.borrowing(source, functions)
        assert not own
        native_compiler.compiled(text, library)
    else:
        assert native_functions.lent(library, functions) == {}
    assert torch.equal(results(KERNELS[0]), wanted)


def test_what_a_killed_compile_left_is_removed(tmp_path):
    left = tmp_path / ".making" / "left"
    left.mkdir(parents=True)
    (left / "kernel.cpp").touch()
    native_compiler.compiled("int one;", tmp_path / "one.so")
    assert left.exists()  # it may be at work
    os.utime(left, (0, 0))
    native_compiler.compiled("int one;", tmp_path / "one.so")
    assert not (tmp_path / ".making").exists()
