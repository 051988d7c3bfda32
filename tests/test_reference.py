"""The documents on primitives say what the code says: the reference is up to date, the guide quotes real files."""

import importlib.util
import re
from pathlib import Path

import pytest

from canvas import _core

ROOT = Path(__file__).resolve().parents[1]
GUIDE = (ROOT / "docs" / "add_a_primitive.md").read_text(encoding="utf-8")
SOURCES = {
    path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "src" / "canvas" / "prims").iterdir())
}

spec = importlib.util.spec_from_file_location("language_reference", ROOT / "tools" / "language_reference.py")
assert spec and spec.loader
reference = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference)


def test_the_reference_is_up_to_date():
    written = reference.PAGE.read_text(encoding="utf-8")
    assert written == reference.page(), "run python tools/language_reference.py"


@pytest.mark.parametrize("primitive", _core.primitives(), ids=lambda primitive: primitive["name"])
def test_every_example_uses_its_primitive_and_runs(primitive):
    assert primitive["example"].startswith(primitive["name"] + "(")
    assert reference.result_of(primitive["example"]).startswith("[")


def quoted() -> list[tuple[str, str]]:
    """Each block of C++ in the guide with the file that was named last above it."""
    found, file = [], ""
    for part in re.split(r"^```cpp\n(.*?)^```$", GUIDE, flags=re.MULTILINE | re.DOTALL):
        names = re.findall(r"`src/canvas/prims/([\w.]+)`", part)
        file = names[-1] if names else file
        found.append((file, part))
    return [(file, block) for file, block in found[1::2]]


@pytest.mark.parametrize(("file", "block"), quoted(), ids=lambda value: value.split("(")[0].strip()[:40])
def test_the_guide_quotes_the_files_that_it_names(file, block):
    assert block in SOURCES[file], f"{file} has no longer:\n{block}"


def test_adding_a_primitive_touches_one_file_and_one_line():
    """No file outside prims/ names one, but for the sampler's closing steps, the search for shorter ones, mutation's
    cheap insertions, the contraction that a crossover puts between its parents, idioms, what weights absorb, and
    products that lowering takes out of sums.
    """
    names = {primitive["name"] for primitive in _core.primitives()}
    shorter = {"contract", "fold", "stack"}
    closing = {"add", "mul", "fc", "merge", "subsample", "upsample"} | shorter
    allowed = {"growth.cpp": {"fc"}, "growth_end.cpp": closing, "closing.cpp": shorter, "mutation.cpp": None}
    allowed["idioms.cpp"] = None
    allowed |= {"enumerate.cpp": closing, "crossover.cpp": {"fc"}, "rules_sum.cpp": {"mul"}}
    allowed["absorbed.cpp"] = {"fc", "scale", "neg", "add", "sub", "mul", "contract", "unfold"}
    for path in sorted((ROOT / "src" / "canvas").rglob("*.cpp")):
        if path.parent.name == "prims":
            continue
        text = path.read_text(encoding="utf-8")
        used = {name for name in names if re.search(rf"\b{name}_primitive\b", text)}
        if path.name in allowed:
            assert allowed[path.name] is None or used <= allowed[path.name], path
        else:
            assert not used, path
