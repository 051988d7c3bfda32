"""Writes a network with kernels in it to a file that needs no Canvas. `canvas export` calls it.

The ending says which: `.pt2` (torch.export: PyTorch alone), `.onnx` (any ONNX runtime), `.py` (readable source of the
kernels, which need PyTorch alone, and the function that puts them into the network). What is written is loaded in a
fresh process that does not import Canvas, and its outputs are compared, before the file takes its name.
"""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from canvas.errors import UserError, WrongOutput, one_line
from canvas.example import Example, call, floats, relative_error
from canvas.onnx_graph import onnx_bytes

TOLERANCE = 1e-3  # relative error of the outputs (2-norm)

# Run on the written file, the inputs and where the outputs go.
LOADERS = {
    ".pt2": """
import sys, torch
file, inputs, outputs = sys.argv[1:]
result = torch.export.load(file).module()(*torch.load(inputs))
torch.save(list(result) if isinstance(result, (tuple, list)) else [result], outputs)
""",
    ".onnx": """
import sys, torch, onnxruntime
file, inputs, outputs = sys.argv[1:]
session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
feed = {slot.name: value.numpy() for slot, value in zip(session.get_inputs(), torch.load(inputs))}
torch.save([torch.from_numpy(value) for value in session.run(None, feed)], outputs)
""",
    ".py": """
import runpy, sys, torch
file, inputs, outputs = sys.argv[1:]
classes = runpy.run_path(file)["KERNELS"]
results = []
for name, (state, value) in torch.load(inputs)[0].items():
    module = classes[name]()
    module.load_state_dict(state)
    results.append(module.eval()(value))
torch.save(results, outputs)
""",
}


def export(model: nn.Module, example: Example, path: str | os.PathLike[str]) -> Path:
    """Writes a network in eval mode, checked in a fresh process without Canvas.

    Args:
        model: with or without kernels in it; left as it is.
        example: its inputs: a tensor or a tuple. A `.pt2` or `.onnx` takes inputs of these shapes.
        path: the file to write; it ends in `.pt2`, `.onnx` or `.py`.

    Returns:
        The path.

    Raises:
        UserError: another ending, a package is missing, the network cannot be exported, or the file not written.
        WrongOutput: the loaded file does not compute what the network does; nothing is left under `path`.

    Example:
        >>> fast = canvas.replace(model, canvas.zoo()["depthwise_separable"], example=torch.zeros(1, 3, 32, 32))
        >>> export(fast, torch.zeros(1, 3, 32, 32), "fast.pt2")  # doctest: +SKIP
    """
    target = Path(path)
    writers: dict[str, Callable[..., Any]] = {".pt2": _write_pt2, ".onnx": _write_onnx, ".py": _write_python}
    if target.suffix not in writers:
        raise UserError(f"{target}: name a file that ends in {', '.join(writers)}")
    if isinstance(example, dict):
        raise UserError("export: takes models of positional inputs; give the example as a tuple")
    if not target.parent.is_dir():
        raise UserError(f"{target}: the folder {target.parent} does not exist; create it first")
    inputs = example if isinstance(example, tuple) else (example,)
    ready = copy.deepcopy(model).eval()
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".canvas-export-") as folder:
        file = Path(folder) / target.name
        with torch.no_grad():
            given, wanted = writers[target.suffix](ready, inputs, file)
        _check(file, given, wanted, Path(folder))
        file.replace(target)
    return target


def _write_pt2(model: nn.Module, inputs: tuple[Any, ...], file: Path) -> tuple[Any, list[torch.Tensor]]:
    torch.export.save(_attempt("torch.export", lambda: torch.export.export(model, inputs)), file)
    return inputs, floats(call(model, inputs))


def _write_onnx(model: nn.Module, inputs: tuple[Any, ...], file: Path) -> tuple[Any, list[torch.Tensor]]:
    from canvas.backends import need

    need("export to ONNX", "onnx", "onnxscript", "onnxruntime")
    file.write_bytes(_attempt("ONNX", lambda: onnx_bytes(model, inputs)))
    return inputs, floats(call(model, inputs))


def _write_python(model: nn.Module, inputs: tuple[Any, ...], file: Path) -> tuple[Any, list[torch.Tensor]]:
    """Each kernel's module is checked by itself, on what it is given inside the network."""
    kernels = {name: module for name, module in model.named_modules() if hasattr(type(module), "source")}
    if not kernels:
        raise UserError(f"{file.name}: the network holds no kernel; export it as .pt2 or .onnx")
    seen: dict[str, tuple[Any, torch.Tensor]] = {}

    def watch(name: str) -> Callable[..., None]:
        return lambda module, given, made: (
            seen.setdefault(name, ((module.state_dict(), given[0].clone()), made)) and None
        )

    hooks = [module.register_forward_hook(watch(name)) for name, module in kernels.items()]
    try:
        call(model, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    file.write_text(python_source(kernels), encoding="utf-8")
    return ({name: given for name, (given, _) in seen.items()},), [made for _, made in seen.values()]


def python_source(kernels: dict[str, Any]) -> str:
    """One class for each distinct module, `KERNELS` from names in the network to classes, and `install(network)`.

    Args:
        kernels: modules with kernels in them, by their names in the network.

    Returns:
        Python that needs torch alone.

    Example:
        >>> "def install(network" in python_source({"conv": kernel.module(canvas.Layer(8, 8))})
        True
    """
    classes: dict[str, str] = {}
    heads: dict[str, None] = {}  # lines above the classes, each once
    bodies = []
    for module in kernels.values():
        source = type(module).source
        if source in classes:
            continue
        name = f"{type(module).__name__}{len(classes) + 1}"
        classes[source] = name
        head, body = re.split(r"^(?=class )", source, maxsplit=1, flags=re.MULTILINE)
        heads |= dict.fromkeys(head.splitlines())
        body = re.sub(r"^class \w+", f"class {name}", body.rpartition("\n\n\nModule =")[0])
        bodies.append(body.rstrip())
    table = "".join(f"    {json.dumps(place)}: {classes[type(module).source]},\n" for place, module in kernels.items())
    return "\n".join(filter(None, heads)) + "\n\n\n" + "\n\n\n".join(bodies) + _INSTALL.format(table=table)


_INSTALL = '''


KERNELS = {{
{table}}}


def install(network: nn.Module) -> nn.Module:
    """Puts the kernels into the original network, in place; load the trained weights afterwards."""
    for name, kernel in KERNELS.items():
        parent, _, last = name.rpartition(".")
        setattr(network.get_submodule(parent), last, kernel())
    return network
'''


def _attempt(what: str, export: Callable[[], Any]) -> Any:
    try:
        return export()
    except Exception as error:  # an exporter may raise anything on a network that it does not know
        raise UserError(f"{what} refuses the network: {type(error).__name__}: {one_line(error)[:300]}") from error


def _check(file: Path, given: Any, wanted: list[torch.Tensor], folder: Path) -> None:
    """Loads the file in a fresh process and compares."""
    torch.save(given, folder / "inputs")
    program = LOADERS[file.suffix] + "assert 'canvas' not in sys.modules\n"
    command = [sys.executable, "-c", program, str(file), str(folder / "inputs"), str(folder / "outputs")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WrongOutput(f"{file.name}: cannot be loaded without Canvas: {done.stderr.strip().splitlines()[-1]}")
    got = torch.load(folder / "outputs")
    for have, want in zip(got, wanted, strict=True):
        error = relative_error(have.detach().double(), want.double())
        if not error <= TOLERANCE:
            raise WrongOutput(f"{file.name}: off by {error:.2g} (relative) once loaded, more than {TOLERANCE:g}")
