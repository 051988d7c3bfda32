"""Holds the source tree to its layers: who may include whom, how long a file may be, no path of one machine.

`make check` runs it on the repository, tests/test_tools.py on small trees. It reads the tree and never changes it.
Each fault is one line, `file:line: what is wrong; what to do`, and any fault makes the exit status 1.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# The folders of src/canvas/, lowest layer first. A folder may include itself and the folders of lower lines, and no
# other folder of its own line.
LAYERS = [
    ["base"],
    ["size"],
    ["ir"],
    ["prims"],
    ["text"],
    ["eval", "analyze"],
    ["solve", "lower"],
    ["emit", "sample"],
    ["native", "search"],
]

WARN_LINES = 400
MOST_LINES = 450
LONG_FILES: dict[str, int] = {}  # path: the lines it may have instead of MOST_LINES

CPP_SUFFIXES = {".h", ".cpp", ".def"}
SOURCE_SUFFIXES = CPP_SUFFIXES | {".py"}
MADE_FOLDERS = {".git", ".venv", "build", "data", "demo", "dist"}  # at the root; skipped where git cannot be asked

RANK = {folder: rank for rank, layer in enumerate(LAYERS) for folder in layer}
INCLUDE = re.compile(r'\s*#\s*include\s*(?:"([^"]*)"|<([^>]*)>)')
STANDARD_HEADER = re.compile(r"[a-z0-9_]+")  # no dot and no slash: <vector>, <cstdint>
MACHINE_PATH = re.compile(r"(?<![\w.<$})~-])/(?:work|root|home)\b")


def main(root: Path) -> int:
    """Checks the tree under root, prints every fault and warning, and returns the exit status.

    Args:
        root: the repository's root folder.

    Returns:
        0 when nothing is wrong (warnings allowed), else 1.

    Example:
        >>> main(Path("."))
        0
    """
    faults: list[str] = []
    warnings: list[str] = []
    paths = list(files(root))
    for path in paths:
        name = path.relative_to(root).as_posix()
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue  # pictures and the like
        faults += machine_path_faults(name, lines)
        if path.suffix in CPP_SUFFIXES and name.startswith("src/"):
            faults += include_faults(name, lines)
        if path.suffix in SOURCE_SUFFIXES:
            message = f"{name}:{len(lines)}: {len(lines)} lines; split it: a file this long holds two ideas"
            most = LONG_FILES.get(name, MOST_LINES)
            if len(lines) > most:
                faults.append(f"{message} (at most {most})")
            elif len(lines) >= WARN_LINES:
                warnings.append(f"{message} (should be under {WARN_LINES})")
    print(*(f"warning: {warning}" for warning in warnings), *faults, sep="\n", end="\n" if warnings or faults else "")
    print(f"{len(paths)} files, {len(faults)} faults, {len(warnings)} warnings")
    return 1 if faults else 0


def files(root: Path) -> Iterator[Path]:
    """Yields the files of the tree that git does not ignore; without git, all but those in folders that tools make."""
    if (root / ".git").exists() and shutil.which("git"):
        command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        candidates = [root / name for name in listed.split("\0") if name]
    else:
        tops = [top for top in sorted(root.iterdir()) if top.name not in MADE_FOLDERS]
        candidates = [
            path for top in tops for path in [top, *sorted(top.rglob("*"))] if "__pycache__" not in path.parts
        ]
    return (path for path in candidates if path.is_file())


def include_faults(name: str, lines: list[str]) -> Iterator[str]:
    """Yields a fault for each #include of the core's file `name` that its layer does not allow."""
    folder = folder_of(name.removeprefix("src/"))
    if folder is None:
        yield f"{name}:1: stands in no layer; move it into one, or list its folder in tools/check_layers.py"
        return
    for number, line in enumerate(lines, start=1):
        if match := INCLUDE.match(line):
            quoted, angled = match.groups()
            fault = angled_fault(angled) if angled is not None else quoted_fault(folder, quoted)
            if fault:
                yield f"{name}:{number}: {fault}"


def angled_fault(header: str) -> str | None:
    """Says what is wrong with `#include <header>` in the core, None when it is of the C++ standard library."""
    if STANDARD_HEADER.fullmatch(header):
        return None
    return f"<{header}> is not of the C++ standard library; the core needs nothing else (Python belongs in bindings/)"


def quoted_fault(folder: str, header: str) -> str | None:
    """Says what is wrong with `#include "header"` in layer folder `folder`, None when it is allowed."""
    target = folder_of(header)
    if target is None:
        return f'"{header}" is in no layer; write "canvas/FOLDER/FILE", FOLDER as listed in tools/check_layers.py'
    if target == folder or RANK[target] < RANK[folder]:
        return None
    where = "a higher layer than" if RANK[target] > RANK[folder] else "beside, not below,"
    return f'"{header}": {target}/ is {where} {folder}/; move what both need down, or this code up'


def folder_of(path: str) -> str | None:
    """Returns the layer folder of "canvas/FOLDER/…", None when it is in none."""
    parts = path.split("/")
    return parts[1] if len(parts) > 2 and parts[0] == "canvas" and parts[1] in RANK and ".." not in parts else None


def machine_path_faults(name: str, lines: list[str]) -> Iterator[str]:
    """Yields a fault for each line that names a folder of one machine."""
    for number, line in enumerate(lines, start=1):
        if match := MACHINE_PATH.search(line):
            yield f"{name}:{number}: {match.group()} is a path of one machine; use a relative path or a variable"


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parents[1]))
