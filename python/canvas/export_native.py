"""Writes a network as a C++ project that needs neither Python nor Canvas. `canvas export --native` calls it.

The folder holds CMakeLists.txt, network.h, network.cpp, weights.bin and an example main.cpp. It is compiled and run on
the example, and the result compared, before the folder takes its name.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from canvas import native_compiler
from canvas.backends import ROUNDING
from canvas.errors import UserError, WrongOutput, one_line
from canvas.example import Example, evaluating, relative_error
from canvas.export import TOLERANCE
from canvas.native_network import Written, write
from canvas.onnx_graph import Unsupported

TOLERANCES = {"fp32": TOLERANCE, "bf16": ROUNDING["native-bf16"]}
PARTS = Path(__file__).with_name("native_project")


def export_native(
    model: nn.Module,
    example: Example,
    folder: str | os.PathLike[str],
    threads: int = 1,
    precision: str = "fp32",
    processor: str | None = None,
) -> Path:
    """Writes a network in eval mode as a C++ project, checked by running it.

    Args:
        model: with or without kernels in it; left as it is.
        example: an input. The project takes any number of images of its shape; it is quickest for as many.
        folder: to be made, or empty.
        threads: that the example's images are likely to be shared out among.
        precision: "fp32" or "bf16", see `native_compiler.reads_bf16`.
        processor: that the code is for, one of `native_compiler.PROCESSORS`, if not this machine's. It is checked here
            all the same, more slowly.

    Returns:
        The folder.

    Raises:
        UserError: there is no compiler, the network does what native code lacks, the folder is not empty or cannot be
            written, there is no such processor.
        WrongOutput: the project does not compute what the network does; nothing is left.

    Example:
        >>> export_native(canvas.models.resnet8(), torch.zeros(1, 1, 28, 28), "fast")  # doctest: +SKIP
    """
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target}: is there already and not empty; name another folder")
    if not target.absolute().parent.is_dir():
        raise UserError(f"{target}: the folder {target.parent} does not exist; create it first")
    if not isinstance(example, Tensor):
        raise UserError("export --native: takes models of one tensor; give the example as a tensor")
    compiler = native_compiler.compiler()
    if compiler is None:
        raise UserError("export --native: there is no C++ compiler to check it; install g++ or name one by CXX")
    machine = native_compiler.processor(processor)
    try:
        written = write(model, example, channels_last=False, threads=threads, precision=precision, machine=machine)
    except Unsupported as refusal:
        raise UserError(f"export --native: native code lacks {refusal}; export the network as .onnx or .pt2") from None
    flags = machine.flags if machine == native_compiler.target() else ()  # else what this machine cannot run
    with evaluating(model), torch.no_grad():
        wanted = model(example)
    try:
        with tempfile.TemporaryDirectory(dir=target.absolute().parent, prefix=".canvas-export-") as place:
            project = Path(place) / "project"
            project.mkdir()
            for name, content in files(written, machine).items():
                (project / name).write_bytes(content)
            with tempfile.TemporaryDirectory(prefix="canvas-export-") as bench:
                _check(project, Path(bench), [compiler, *flags], example, wanted, TOLERANCES[precision])
            project.replace(target)
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror}); choose another place") from error
    return target


def files(written: Written, machine: native_compiler.Target | None = None) -> dict[str, bytes]:
    """The files of the project, by name.

    Args:
        written: the network, its input and output as PyTorch stores them.
        machine: that it is for, if not this one.

    Returns:
        Their contents.

    Example:
        >>> sorted(files(write(resnet8(), torch.zeros(1, 1, 28, 28), channels_last=False)))
        ['CMakeLists.txt', 'main.cpp', 'network.cpp', 'network.h', 'weights.bin']
    """
    sizes = [value.numel() for value in written.parameters]
    starts = [sum(sizes[:index]) for index in range(len(sizes))] or [0]
    numbers = {
        "FLAGS": " ".join((machine or native_compiler.target()).flags),
        "INPUTS": _shape(written.inputs),
        "OUTPUTS": _shape(written.outputs),
        "INPUT": str(torch.Size(written.inputs).numel()),
        "OUTPUT": str(torch.Size(written.outputs).numel()),
        "CONSTANTS": str(written.constants),
        "SCRATCH": str(written.scratch),
        "WEIGHTS": str(sum(sizes)),
        "STARTS": ", ".join(map(str, starts)),
    }

    def filled(name: str) -> str:
        text = (PARTS / name).read_text(encoding="utf-8")
        for key, value in numbers.items():
            text = text.replace(f"@{key}@", value)
        return text

    source = written.source.replace('extern "C" void ', "static void ") + filled("runtime.cpp")
    texts = {name: filled(name) for name in ("CMakeLists.txt", "main.cpp", "network.h")} | {"network.cpp": source}
    weights = b"".join(value.cpu().numpy().astype("<f4").tobytes() for value in written.parameters)
    return {name: text.encode() for name, text in texts.items()} | {"weights.bin": weights}


def _shape(sizes: Sequence[int]) -> str:
    return "".join(f", {size}" for size in sizes)


def _check(project: Path, place: Path, compiler: list[str], example: Tensor, wanted: Tensor, tolerance: float) -> None:
    """Compiles the project, runs its example and compares."""
    program, given, made = (place / name for name in ("example", "input.bin", "output.bin"))
    flags = ("-O2", "-std=c++17", "-fopenmp", "-fno-math-errno")
    sources = [str(project / name) for name in ("main.cpp", "network.cpp")]
    given.write_bytes(example.detach().contiguous().numpy().tobytes())
    for command in (
        [*compiler, *flags, *sources, "-o", str(program)],
        [str(program), str(project / "weights.bin"), str(given), str(made)],
    ):
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=native_compiler.SECONDS)
        if run.returncode:
            raise WrongOutput(
                f"export --native: {Path(command[0]).name} failed: {one_line(Exception(run.stderr))[:300]}"
            )
    got = torch.frombuffer(bytearray(made.read_bytes()), dtype=torch.float32)
    error = relative_error(got.double(), wanted.flatten().double())
    if not error <= tolerance:
        raise WrongOutput(f"export --native: off by {error:.2g} (relative), more than {tolerance:g}")
