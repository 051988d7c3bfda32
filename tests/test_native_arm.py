"""Code for NEON computes what PyTorch does, and holds its sums in registers: cross-compiled, and run by QEMU."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import canvas
from canvas import Layer, native_compiler
from canvas.export_native import export_native, files
from canvas.models import ResNet
from canvas.native_network import write
from test_native_network import seasoned

COMPILER, DISASSEMBLER = shutil.which("aarch64-linux-gnu-g++"), shutil.which("aarch64-linux-gnu-objdump")
EMULATOR = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
NEON = native_compiler.PROCESSORS["neon"]
pytestmark = pytest.mark.skipif(
    None in (COMPILER, DISASSEMBLER, EMULATOR),
    reason="no cross compiler or emulator for Arm (apt install g++-aarch64-linux-gnu qemu-user)",
)


def command(*parts) -> str:
    done = subprocess.run([str(part) for part in parts], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def agrees(program: Path, folder: Path, model: nn.Module, x: torch.Tensor) -> None:
    """Fewer images than threads and more, as many as the code computes at once and others."""
    libraries = Path(command(COMPILER, "-print-file-name=libc.so.6").strip()).resolve().parents[1]
    for images, threads in ((1, 1), (1, 2), (3, 2)):
        given = x[:images]
        (folder / "in").write_bytes(given.numpy().tobytes())
        command(EMULATOR, "-L", libraries, program, folder / "weights.bin", folder / "in", folder / "out", threads)
        with torch.no_grad():
            wanted = model(given)
        got = torch.from_numpy(np.fromfile(folder / "out", dtype=np.float32)).reshape(wanted.shape)
        assert float((got - wanted).abs().max() / wanted.abs().max()) <= 1e-5, f"{images} images, {threads} threads"


# Windows, shifts; attention, functions, sums along vectors, squares of vectors that are transposed.
KERNELS = ("shift_pointwise", "involution", "non_local", "convnext", "cross_covariance_attention")


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_compute_the_same(name, tmp_path):
    torch.manual_seed(0)
    module, x = canvas.zoo()[name].module(Layer(20, 20, (7, 5))).eval(), torch.randn(3, 20, 7, 5)
    made = write(module, x[:2], channels_last=False, machine=NEON)
    for file, content in files(made, NEON).items():
        (tmp_path / file).write_bytes(content)
    flags = (*native_compiler.FLAGS, "-fopenmp", "-fno-math-errno", "-Wall", "-Werror")
    command(COMPILER, *flags, tmp_path / "main.cpp", tmp_path / "network.cpp", "-o", tmp_path / "example")
    agrees(tmp_path / "example", tmp_path, module, x)


@pytest.mark.skipif(shutil.which("cmake") is None, reason="no CMake")
@pytest.mark.skipif(native_compiler.compiler() is None, reason="no C++ compiler")
def test_a_project_computes_the_same_and_keeps_its_sums_in_registers(tmp_path):
    torch.manual_seed(0)
    x = torch.randn(3, 3, 12, 16)
    model = seasoned(ResNet((16,), 1, num_classes=16)).eval()
    folder = export_native(model, x[:2], tmp_path / "fast", processor="neon")
    target = ("-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64", f"-DCMAKE_CXX_COMPILER={COMPILER}")
    command("cmake", "-S", folder, "-B", tmp_path / "build", *target)
    command("cmake", "--build", tmp_path / "build")
    agrees(tmp_path / "build" / "example", folder, model, x)
    text = command(DISASSEMBLER, "-d", "--no-show-raw-insn", tmp_path / "build" / "libnetwork.a")
    tiles = [part for part in text.split("\n\n") if "tile_" in part.partition("\n")[0] and "fmla" in part]
    assert tiles and not any(re.search(r"q\d+, \[sp", tile) for tile in tiles)
    assert all(re.search(r"fmla\tv\d+\.4s, v\d+\.4s, v\d+\.s\[", tile) for tile in tiles)  # by element: none is copied
