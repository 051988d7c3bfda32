"""The repository's own tools find what they are there to find."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

spec = importlib.util.spec_from_file_location("check_layers", REPOSITORY / "tools" / "check_layers.py")
assert spec and spec.loader
check_layers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check_layers)

GOOD = {
    "src/canvas/base/hash.h": "#pragma once\n#include <cstdint>\n",
    "src/canvas/ir/kernel.cpp": '#include "canvas/ir/kernel.h"\n\n#include <vector>\n\n#include "canvas/base/hash.h"\n',
    "src/canvas/prims/all.cpp": '#include "canvas/prims/prims.def"\n',
    "bindings/module.cpp": '#include <nanobind/nanobind.h>\n#include "canvas/search/search.h"\n',
    "README.md": "See https://example.org/home and tools/work.\n",
}

BAD = [
    (
        "src/canvas/base/hash.h",
        '#pragma once\n#include "canvas/ir/kernel.h"\n',
        'src/canvas/base/hash.h:2: "canvas/ir/kernel.h": ir/ is a higher layer than base/; '
        "move what both need down, or this code up",
    ),
    (
        "src/canvas/eval/interpret.cpp",
        '#include "canvas/analyze/flops.h"',
        'src/canvas/eval/interpret.cpp:1: "canvas/analyze/flops.h": analyze/ is beside, not below, eval/; '
        "move what both need down, or this code up",
    ),
    (
        "src/canvas/ir/kernel.cpp",
        "\n  #  include <nanobind/nanobind.h>",
        "src/canvas/ir/kernel.cpp:2: <nanobind/nanobind.h> is not of the C++ standard library; "
        "the core needs nothing else (Python belongs in bindings/)",
    ),
    (
        "src/canvas/ir/kernel.cpp",
        '#include "../../bindings/module.h"',
        'src/canvas/ir/kernel.cpp:1: "../../bindings/module.h" is in no layer; '
        'write "canvas/FOLDER/FILE", FOLDER as listed in tools/check_layers.py',
    ),
    (
        "src/canvas/util/misc.h",
        "#pragma once\n",
        "src/canvas/util/misc.h:1: stands in no layer; move it into one, or list its folder in tools/check_layers.py",
    ),
    (
        "docs/usage.md",
        "fine\ndata lies in " + "/" + "home/me/data\n",
        "docs/usage.md:2: " + "/" + "home is a path of one machine; use a relative path or a variable",
    ),
    (
        "python/canvas/long.py",
        "x = 1\n" * 451,
        "python/canvas/long.py:451: 451 lines; split it: a file this long holds two ideas (at most 450)",
    ),
]


def write(root: Path, tree: dict[str, str]) -> None:
    for name, text in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def test_a_clean_tree_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, GOOD)
    assert check_layers.main(tmp_path) == 0
    assert capsys.readouterr().out == f"{len(GOOD)} files, 0 faults, 0 warnings\n"


@pytest.mark.parametrize(("name", "text", "message"), BAD, ids=lambda value: str(value).split("\n")[0][:40])
def test_one_fault_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, message: str
) -> None:
    write(tmp_path, GOOD | {name: text})
    assert check_layers.main(tmp_path) == 1
    assert capsys.readouterr().out.splitlines()[0] == message


def test_a_longish_file_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, GOOD | {"src/canvas/ir/long.cpp": "\n" * 400})
    assert check_layers.main(tmp_path) == 0
    assert capsys.readouterr().out.startswith("warning: src/canvas/ir/long.cpp:400: 400 lines")


def test_fuzzing_is_skipped_without_clang(tmp_path: Path) -> None:
    command = [sys.executable, str(REPOSITORY / "tools" / "fuzz.py")]
    done = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "fuzz: no clang++ with libFuzzer here, skipped; on Debian: apt-get install clang libclang-rt-dev\n"
    )
