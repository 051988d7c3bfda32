"""The command doctor: what is here of all that Canvas can use, and how to get the rest."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
from pathlib import Path

from rich.markup import escape

from canvas.cli.options import Json
from canvas.cli.printing import console, put, table


def doctor(as_json: Json = False) -> None:
    """Says what of all that Canvas can use is on this machine, and how to get the rest.

    Examples:
    canvas doctor
    canvas doctor --json | jq '.[] | select(.found == null)'
    """
    rows = [*_machine(), *_backends(), *_extras(), *_tools(), *_data()]
    if as_json:
        return put([dict(zip(("what", "found", "hint"), row, strict=True)) for row in rows])
    shown = table("what", "found", "", words=("found", ""))
    for what, found, hint in rows:
        shown.add_row(what, escape(found or "-"), "" if found else escape(hint))
    console().print(shown)


Row = tuple[str, "str | None", str]


def _machine() -> list[Row]:
    import torch

    import canvas

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    return [
        ("canvas", f"{canvas.__version__} in {Path(canvas.__file__).parent}", ""),
        ("Python", platform.python_version(), ""),
        ("PyTorch", torch.__version__, ""),
        ("processor", f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} cores, {platform.machine()}", ""),
        ("GPU", gpu, "none that PyTorch can use; everything works without"),
    ]


def _backends() -> list[Row]:
    import torch

    from canvas import backends, cost_model, native_compiler
    from canvas.errors import UserError

    rows: list[Row] = []
    for name, backend in backends.BACKENDS.items():
        try:
            backends.need(name, *backend.packages)
            versions = _versions(backend.packages)
            if name == "native":
                program = native_compiler.compiler()
                found = program and " ".join((program, *native_compiler.target().flags))
                rows.append(("backend native", found, "apt install g++, or name one by CXX"))
            else:
                rows.append((f"backend {name}", versions or f"part of PyTorch {torch.__version__}", ""))
        except UserError:
            rows.append((f"backend {name}", None, f"pip install 'canvas-kas[{name}]'"))
        models = sorted(cost_model.default_path(name, 1).parent.glob(f"{name}-*.json"))
        hint = f"canvas calibrate --backend {name}"
        rows.append((f"cost model {name}", ", ".join(f"threads: {_threads(path)}" for path in models) or None, hint))
    return rows


def _versions(packages: tuple[str, ...]) -> str:
    """Of packages that are here; some come in a distribution of another name (onnxruntime-gpu)."""
    found = []
    for package in packages:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{package} installed")
    return ", ".join(found)


def _threads(path: Path) -> str:
    return path.stem.rpartition("-")[2]


def _extras() -> list[Row]:
    rows: list[Row] = []
    for name, packages in {"postgresql": ("sqlalchemy", "psycopg"), "ray": ("ray",)}.items():
        here = all(importlib.util.find_spec(package) for package in packages)
        rows.append((f"extra {name}", _versions(packages) if here else None, f"pip install 'canvas-kas[{name}]'"))
    return rows


def _tools() -> list[Row]:
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++"))), None)
    return [
        ("dot", shutil.which("dot"), "install Graphviz for pictures of kernels"),
        ("C++ compiler", compiler, "Inductor needs one on a CPU: install g++"),
    ]


def _data() -> list[Row]:
    from canvas.data import FORMATS, locate
    from canvas.errors import UserError

    rows: list[Row] = []
    for name in FORMATS:
        try:
            rows.append((f"data {name}", str(locate(name)), ""))
        except UserError as error:
            rows.append((f"data {name}", None, str(error).rpartition("; ")[2]))
    return rows
