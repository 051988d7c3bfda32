"""Writes a network with kernels in it to a file that needs no Canvas. `canvas export` calls it.

The ending says which: `.pt2` (torch.export: PyTorch alone), `.onnx` (any ONNX runtime), `.py` (readable source of the
kernels, which need PyTorch alone, and the function that puts them into the network). What is written is loaded in a
fresh process that does not import Canvas, and the network's outputs are compared, before the file takes its name.
"""

from __future__ import annotations

import copy
import inspect
import json
import os
import re
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from canvas.errors import UserError, WrongOutput, one_line
from canvas.example import Example, call, floats, outputs, relative_error
from canvas.fitted import GEOMETRY, Fitted, leave_fast_paths
from canvas.onnx_graph import onnx_bytes

TOLERANCE = 1e-3  # relative error of the outputs (2-norm)
_ELSE = "export it in another format"

# Run on the written file, the inputs and where the outputs go.
LOADERS = {
    ".pt2": """
import sys, torch
file, inputs, outputs = sys.argv[1:]
result = torch.export.load(file).module()(*torch.load(inputs))
leaves = torch.utils._pytree.tree_leaves(result)
torch.save([leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()], outputs)
""",
    ".onnx": """
import sys, torch, onnxruntime
file, inputs, outputs = sys.argv[1:]
session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
feed = {slot.name: value.numpy() for slot, value in zip(session.get_inputs(), torch.load(inputs))}
torch.save([torch.from_numpy(value) for value in session.run(None, feed) if value.dtype.kind == "f"], outputs)
""",
    ".py": """
import runpy, sys, torch
file, inputs, outputs = sys.argv[1:]
runpy.run_path(file)
torch.save([], outputs)
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
        UserError: another ending, a package is missing, the network does not accept the example or cannot be exported.
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
    wanted = outputs(copy.deepcopy(model), inputs)  # of a copy: it may keep what it computed first
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".canvas-export-") as folder:
        file = Path(folder) / target.name
        with torch.no_grad():
            writers[target.suffix](ready, inputs, file)
            got = _loaded(file, inputs, Path(folder))
            if target.suffix == ".py":
                got = _installed(file, ready, inputs)
        _compare(file, got, wanted)
        file.replace(target)
    return target


def _write_pt2(model: nn.Module, inputs: tuple[Any, ...], file: Path) -> None:
    torch.export.save(_attempt("torch.export", lambda: torch.export.export(model, inputs)), file)


def _write_onnx(model: nn.Module, inputs: tuple[Any, ...], file: Path) -> None:
    from canvas.backends import need

    need("export to ONNX", "onnx", "onnxscript", "onnxruntime")
    file.write_bytes(_attempt("ONNX", lambda: onnx_bytes(model, inputs)))


def _write_python(model: nn.Module, inputs: tuple[Any, ...], file: Path) -> None:
    if not _kernels(model):
        raise UserError(f"{file.name}: the network holds no kernel; export it as .pt2 or .onnx")
    file.write_text(python_source(model), encoding="utf-8")


def _kernels(model: nn.Module) -> list[tuple[list[str], nn.Module]]:
    """The modules that stand in for layers, each once, with all names that it has in the network."""
    names: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
    bodies = {module.body for module in names if isinstance(module, Fitted)}
    return [
        (places, module)
        for module, places in names.items()
        if isinstance(module, Fitted) or (hasattr(type(module), "source") and module not in bodies)
    ]


def python_source(network: nn.Module) -> str:
    """One class for each distinct kernel, `KERNELS` from names in the network to what makes them, `install(network)`.

    Args:
        network: with kernels in it.

    Returns:
        Python that needs torch alone.

    Example:
        >>> "def install(network" in python_source(kernel.module(canvas.Layer(8, 8)))
        True
    """
    classes: dict[str, str] = {}
    heads: dict[str, None] = {}  # lines above the classes, each once
    bodies, rows = [], []
    found = _kernels(network)
    for places, module in found:
        kernel: Any = module.body if isinstance(module, Fitted) else module
        source = type(kernel).source
        if source not in classes:
            classes[source] = name = f"{type(kernel).__name__}{len(classes) + 1}"
            head, body = re.split(r"^(?=class )", source, maxsplit=1, flags=re.MULTILINE)
            heads |= dict.fromkeys(filter(None, head.splitlines()))
            body = re.sub(r"^class \w+", f"class {name}", body.rpartition("\n\n\nModule =")[0])
            bodies.append(body.rstrip())
        made = f"{classes[source]}()"
        if isinstance(module, Fitted):
            made = f"Fitted({made}, layer.bias, {module.margin}, {module.dims})"
        rows.append(f"    ({json.dumps(places)}, lambda layer: {made}),\n")
    helpers: list[Any] = []
    if any(isinstance(module, Fitted) for _, module in found):
        helpers.append(Fitted)
        heads["from torch import Tensor"] = None
    leave = ""
    if any(isinstance(module, (nn.TransformerEncoder, nn.TransformerEncoderLayer)) for module in network.modules()):
        helpers.append(leave_fast_paths)
        leave = "        leave_fast_paths(network, {kernel})\n"
    bodies += [inspect.getsource(helper).rstrip() for helper in helpers]
    bodies.append(_INSTALL.format(table="".join(rows), geometry=" ".join(GEOMETRY), leave=leave))
    return "\n".join(heads) + "\n\n\n" + "\n\n\n".join(bodies)


_INSTALL = '''KERNELS = [  # the names of a layer in the network, what stands in for it
{table}]

GEOMETRY = "{geometry}".split()


def install(network: nn.Module) -> nn.Module:
    """Puts the kernels in place of the original network's layers, each under all its names; load the trained weights
    afterwards.

    The network is changed in place and returned. One that is itself such a layer is not: its kernel is returned.
    """
    for names, make in KERNELS:
        layer = network.get_submodule(names[0])
        kernel = make(layer).to(layer.weight).train(layer.training)
        for name in GEOMETRY:  # a network may read them
            if hasattr(layer, name) and not hasattr(kernel, name):
                setattr(kernel, name, getattr(layer, name))
        for parent, _, last in (name.rpartition(".") for name in names):
            if not last:
                return kernel
            setattr(network.get_submodule(parent), last, kernel)
{leave}    return network
'''


def _attempt(what: str, export: Callable[[], Any]) -> Any:
    try:
        return export()
    except Exception as error:  # an exporter may raise anything on a network that it does not know
        cause = error.__cause__ or error
        reason = re.sub(r"\x1b\[[\d;]*m", "", one_line(cause))  # without colours
        raise UserError(f"{what} refuses the network: {type(cause).__name__}: {reason[:300]}") from error


def _loaded(file: Path, inputs: tuple[Any, ...], folder: Path) -> list[torch.Tensor]:
    """What the file computes in a fresh process; of source, which is loaded alone, nothing."""
    torch.save(inputs, folder / "inputs")
    program = LOADERS[file.suffix] + "assert 'canvas' not in sys.modules\n"
    command = [sys.executable, "-c", program, str(file), str(folder / "inputs"), str(folder / "outputs")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        *_, reason = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise WrongOutput(f"{file.name}: cannot be loaded without Canvas: {reason}; {_ELSE}")
    made: list[torch.Tensor] = torch.load(folder / "outputs")
    return made


def _installed(file: Path, model: nn.Module, inputs: tuple[Any, ...]) -> list[torch.Tensor]:
    """What the network computes with the kernels of the written source, put in where the original's layers were."""
    try:
        network: nn.Module = runpy.run_path(str(file))["install"](_without_kernels(model))
        network.load_state_dict(model.state_dict())
        return floats(call(network, inputs))
    except Exception as error:  # of the user's network as well
        raise WrongOutput(f"{file.name}: its kernels cannot be installed: {one_line(error)[:300]}; {_ELSE}") from error


def _without_kernels(model: nn.Module) -> nn.Module:
    """A copy with layers that cannot be called, but have all that `install` asks, in place of the original's."""
    twin = copy.deepcopy(model)
    for names, module in _kernels(twin):
        layer = nn.Module().train(module.training)
        weight = next(module.parameters(), torch.empty(0))
        fields = {name: getattr(module, name) for name in GEOMETRY if hasattr(module, name)}
        vars(layer).update(fields, weight=torch.empty_like(weight), bias=getattr(module, "bias", None))
        for parent, _, last in (name.rpartition(".") for name in names):
            if not last:
                return layer
            setattr(twin.get_submodule(parent), last, layer)
    return twin


def _compare(file: Path, got: list[torch.Tensor], wanted: list[torch.Tensor]) -> None:
    if [have.shape for have in got] != [want.shape for want in wanted]:
        made, right = ([tuple(value.shape) for value in values] for values in (got, wanted))
        raise WrongOutput(f"{file.name}: gives {made} once loaded, not {right}; {_ELSE}")
    for have, want in zip(got, wanted, strict=True):
        error = relative_error(have.detach().double(), want.double())
        if not error <= TOLERANCE:
            raise WrongOutput(
                f"{file.name}: off by {error:.2g} (relative) once loaded, more than {TOLERANCE:g}; {_ELSE}"
            )
