"""The C++ project builds with CMake and computes what PyTorch does; what is wrong is told and leaves nothing."""

import json
import shutil
import subprocess

import numpy as np
import pytest
import torch
from torch import nn

import canvas
from canvas import native_compiler, native_network
from canvas.cli import main
from canvas.errors import UserError, WrongOutput
from canvas.export_native import export_native
from canvas.models import ResNet
from small_disk import tmpfs

pytestmark = pytest.mark.skipif(native_compiler.compiler() is None, reason="no C++ compiler")
EXAMPLE = torch.randn(4, 3, 9, 8)


def model() -> nn.Module:
    torch.manual_seed(0)
    return canvas.replace(ResNet((8, 16), 1), canvas.zoo()["depthwise_separable"], example=EXAMPLE).eval()


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return export_native(model(), EXAMPLE, tmp_path_factory.mktemp("export") / "fast")


@pytest.fixture(scope="module")
def example(project):
    """The project's own program, as CMake builds it."""
    if shutil.which("cmake") is None:
        pytest.skip("no CMake")
    build = project.parent / "build"
    for command in (["cmake", "-S", project, "-B", build], ["cmake", "--build", build]):
        subprocess.run(command, check=True, capture_output=True)
    return build / "example"


def run(*command) -> subprocess.CompletedProcess:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("images", "threads"), [(1, 1), (1, 2), (7, 2), (6, 1)])
def test_the_project_computes_what_pytorch_does(project, example, tmp_path, images, threads):
    x = torch.randn(images, *EXAMPLE.shape[1:])
    (tmp_path / "in").write_bytes(x.numpy().tobytes())
    done = run(example, project / "weights.bin", tmp_path / "in", tmp_path / "out", threads)
    assert done.returncode == 0 and done.stdout.startswith(f"{images} images in "), done.stderr
    with torch.no_grad():
        wanted = model()(x)
    got = np.fromfile(tmp_path / "out", dtype=np.float32).reshape(wanted.shape)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_bf16_is_exported(tmp_path, monkeypatch):
    machine = native_compiler.target()
    made = native_compiler.Target(machine.flags, machine.width, machine.registers, True)
    monkeypatch.setattr(native_compiler, "target", lambda: made)
    folder = export_native(model(), EXAMPLE, tmp_path / "bf16", precision="bf16")
    assert "dot<V>(a" in (folder / "network.cpp").read_text()


def test_results_with_positions_lie_as_pytorch_stores_them(tmp_path):
    folder = export_native(nn.Conv2d(6, 5, 3, 2), torch.randn(2, 6, 7, 8), tmp_path / "conv")
    assert "[images, 6, 7, 8] to [images, 5, 3, 3]" in (folder / "network.h").read_text()


def test_the_program_names_what_is_wrong(project, example, tmp_path):
    whole = (project / "weights.bin").read_bytes()
    (tmp_path / "short").write_bytes(whole[:-4])
    (tmp_path / "long").write_bytes(whole + whole[:4])
    (tmp_path / "in").write_bytes(EXAMPLE.numpy().tobytes())
    (tmp_path / "part").write_bytes(EXAMPLE.numpy().tobytes()[:-4])
    weights, given, out = project / "weights.bin", tmp_path / "in", tmp_path / "out"
    for arguments, message in [
        ((tmp_path / "none", given, out), "none: the weights cannot be opened"),
        ((tmp_path / "short", given, out), "short: the weights are those of another network"),
        ((tmp_path / "long", given, out), "long: the weights are those of another network"),
        ((weights, tmp_path / "none", out), "none: cannot be opened"),
        ((weights, tmp_path / "part", out), "part: no whole number of images"),
        ((weights, given, tmp_path / "none" / "out"), "out: cannot be written"),
        ((weights, given), "give WEIGHTS INPUT OUTPUT [THREADS]"),
    ]:
        done = run(example, *arguments)
        assert done.returncode == 1 and message in done.stderr


def test_it_compiles_without_openmp_and_without_warnings(project, tmp_path):
    sources = [project / "main.cpp", project / "network.cpp"]
    done = run(
        native_compiler.compiler(),
        "-std=c++17",
        "-O0",
        "-Wall",
        "-Wno-psabi",
        "-Wno-unknown-pragmas",
        *sources,
        "-o",
        tmp_path / "example",
    )
    assert done.returncode == 0 and not done.stderr
    (tmp_path / "in").write_bytes(EXAMPLE.numpy().tobytes())
    done = run(tmp_path / "example", project / "weights.bin", tmp_path / "in", tmp_path / "out", 2)
    with torch.no_grad():
        wanted = model()(EXAMPLE)
    got = np.fromfile(tmp_path / "out", dtype=np.float32).reshape(wanted.shape)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("processor", ["avx512", "neon"])
def test_the_project_may_be_for_another_processor(processor, tmp_path):
    """It is compiled and run here all the same; without warnings, inputs in planes included."""
    machine = native_compiler.PROCESSORS[processor]
    folder = export_native(nn.Conv2d(8, 8, 1), torch.randn(2, 8, 9, 8), tmp_path / "other", processor=processor)
    source = (folder / "network.cpp").read_text()
    assert f" v{machine.width} V;" in source and f" v{2 * machine.width} V;" not in source
    assert f'set(NETWORK_PROCESSOR "{" ".join(machine.flags)}" ' in (folder / "CMakeLists.txt").read_text()
    done = run(
        native_compiler.compiler(),
        *("-std=c++17", "-Wall", "-Wno-psabi", "-fopenmp", "-fsyntax-only", folder / "network.cpp"),
    )
    assert done.returncode == 0 and not done.stderr


def test_bf16_is_for_processors_that_multiply_it(tmp_path):
    with pytest.raises(UserError, match=r"bf16 needs a processor with AVX-512 BF16"):
        export_native(model(), EXAMPLE, tmp_path / "bf16", precision="bf16", processor="neon")
    folder = export_native(model(), EXAMPLE, tmp_path / "bf16", precision="bf16", processor="avx512-bf16")
    assert "dot<V>(a" in (folder / "network.cpp").read_text()


class Sorted(nn.Module):
    def forward(self, x):
        return x.sort(1).values


def test_what_native_code_lacks_is_named(tmp_path):
    with pytest.raises(
        UserError, match=r"native code lacks torch function sort; export the network as \.onnx or \.pt2"
    ):
        export_native(Sorted(), EXAMPLE, tmp_path / "sorted")
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "mine").write_text("kept")
    with pytest.raises(UserError, match="is there already and not empty; name another folder"):
        export_native(nn.ReLU(), EXAMPLE, tmp_path)
    with pytest.raises(UserError, match="is there already and not empty"):
        export_native(nn.ReLU(), EXAMPLE, tmp_path / "mine")
    with pytest.raises(UserError, match=r"the folder .*none does not exist; create it first"):
        export_native(nn.ReLU(), EXAMPLE, tmp_path / "none" / "folder")
    assert [file.read_text() for file in tmp_path.iterdir()] == ["kept"]


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path):
    with tmpfs(tmp_path / "disk", "size=64k") as disk:
        with pytest.raises(UserError, match=r"fast: cannot be written \(No space left on device\)"):
            export_native(model(), EXAMPLE, disk / "fast")
        assert not list(disk.iterdir())


def test_a_project_that_computes_something_else_is_not_left(tmp_path, monkeypatch):
    written = native_network.write(nn.ReLU(), EXAMPLE, channels_last=False)
    written.source = written.source.replace("relu<", "negative<")
    monkeypatch.setattr("canvas.export_native.write", lambda *_, **__: written)
    with pytest.raises(WrongOutput, match=r"export --native: off by .* more than 0\.001"):
        export_native(nn.ReLU(), EXAMPLE, tmp_path / "wrong")
    assert not list(tmp_path.iterdir())


def test_without_a_compiler_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match=r"there is no C\+\+ compiler to check it; install g\+\+"):
        export_native(nn.ReLU(), EXAMPLE, tmp_path / "fast")


def test_the_command_writes_it_and_names_what_is_missing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("canvas.export_native._check", lambda *_: None)
    place = str(tmp_path / "fast")
    assert main(["export", "resnet8", "--native", place, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": place} and (tmp_path / "fast" / "main.cpp").exists()
    assert main(["export", "resnet8", "--native", str(tmp_path / "other"), "--precision", "fp16"]) != 0
    assert "knows no precision 'fp16'" in capsys.readouterr().err
    assert main(["export", "resnet8", "--native", str(tmp_path / "other"), "--processor", "vax"]) != 0
    assert "knows no processor 'vax'; use one of sse2, avx2, avx512" in capsys.readouterr().err
    for arguments in ([], ["-o", "x.onnx", "--native", place]):
        assert main(["export", "resnet8", *arguments]) != 0
        assert "name a file by -o, or a folder by --native" in capsys.readouterr().err
