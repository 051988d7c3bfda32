"""The kernel language: every message and every printed form is golden, and no text does worse than raise KernelError.

Cases are kernel texts: those in cases/errors/ end in "# error: " and the message, those in cases/valid/ in "#> " lines,
the printed form.
"""

import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import canvas
from canvas import _core

HERE = Path(__file__).parent
ERRORS = sorted((HERE / "cases" / "errors").glob("*.canvas"))
VALID = sorted((HERE / "cases" / "valid").glob("*.canvas"))
LANGUAGE = HERE.parent / "docs" / "language.md"
HEAD = "kernel k(x[C, H, W]) -> [K, H/s, W/s]:\n"
LIMIT = 1 << 20


def read(path: Path) -> str:
    return path.read_bytes().decode()  # line ends as they stand


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", LANGUAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def message(text: str, name: str = "<text>") -> str:
    with pytest.raises(canvas.KernelError) as caught:
        canvas.parse(text, name)
    return str(caught.value)


def check_print(kernel) -> None:
    printed = str(kernel)
    again = canvas.parse(printed)
    assert str(again) == printed
    assert again.hash == kernel.hash
    assert canvas.parse(str(kernel.canonical())).hash == kernel.hash


@pytest.mark.parametrize("path", ERRORS, ids=lambda path: path.stem)
def test_error_message_is_golden(path):
    text = read(path)
    expected = [line.removeprefix("# error: ") for line in text.splitlines() if line.startswith("# error: ")]
    assert len(expected) == 1
    assert message(text, path.name).split("\n")[0] == f"{path.name}:{expected[0]}"


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_printed_form_is_golden(path):
    text = read(path)
    kernel = canvas.parse(text, path.name)
    assert str(kernel) == "".join(line[3:] + "\n" for line in text.splitlines() if line.startswith("#> "))
    check_print(kernel)


def test_every_constraint_has_a_case():
    labels = {label for primitive in _core.primitives() for label in primitive["constraints"]}
    missing = {label for label in labels if not any(f": {label}: " in read(path) for path in ERRORS)}
    assert not missing


def test_every_primitive_has_a_case():
    missing = {p["name"] for p in _core.primitives() if not any(f"{p['name']}(" in read(path) for path in VALID)}
    assert not missing


def test_message_shows_the_line_and_the_place():
    assert message(HEAD + "\ta = relu(x)\r\n\tb = unfold(a, H: 4)  # größer\r\n", "net.canvas") == (
        "net.canvas:3:6: unfold C2: the window must be odd, got 4; use 3 or 5\n"
        "   b = unfold(a, H: 4)  # gr??er\n"
        "       ^"
    )


def test_message_leaves_out_a_line_that_would_bury_it():
    text = HEAD + "  a = relu(" + " " * 10_000 + "y)\n"
    assert message(text) == (
        "<text>:2:10012: name: a value must be defined before it is used, got 'y'; did you mean x?"
    )


def test_lone_surrogates_are_bad_characters():
    assert "got the character \\xed" in message(HEAD + "  a = \udcff(x)\n")
    assert message("kernel", "caf\udce9.canvas").startswith("caf\\udce9.canvas:1:7: ")


def test_names_survive_printing():
    kernel = canvas.parse(HEAD + "  p = subsample(x, H: s, W: s)\n  last = fc(relu(p), [C] -> [K])\n  return last\n")
    layer = canvas.Layer(4, 8, (6, 6))
    assert [name for name, *_ in kernel.parameters(layer)] == ["result"]
    assert canvas.parse(str(kernel)).parameters(layer) == kernel.parameters(layer)


def test_sampled_kernels_print_and_parse():
    for kernel in canvas.sample([canvas.Layer(16, 32, (8, 8), stride=2)], 50, seed=1):
        check_print(kernel)


@pytest.mark.parametrize(
    "noise", ["\0", "a", "(", "[", "x = relu(x)\n", "# \n", "\r", "é", "9", "-", "relu("], ids=lambda noise: repr(noise)
)
def test_hundred_megabytes_give_one_error(noise):
    text = noise * (100_000_000 // len(noise))
    assert message(text).startswith("<text>: text: a kernel text has at most 1 MB (1048576 bytes), got ")


FILLINGS = {
    "bytes": "\0",
    "name": "a",
    "digits": "9",
    "brackets": "(",
    "calls": "relu(",
    "lists": "[",
    "statements": "a = relu(x)\n",
    "returns": "return x\n",
    "axes": "fc(x, [" + "C, " * 100_000,
    "values": "relu(" + "x, " * 100_000,
    "items": "unfold(x, " + "H: 3, " * 100_000,
    "factors": "a = fc(x, [C] -> [m = " + "2*" * 200_000,
    "divisors": "a = fc(x, [C] -> [m = " + "C/C/" * 200_000,
    "variables": "a = fc(x, [C] -> [m = " + "*".join(f"a{i}" for i in range(100_000)),
    "blank lines": "\n",
    "blanks": " ",
    "comments": "#\n",
    "arrows": "->",
}


@pytest.mark.parametrize("filling", FILLINGS.values(), ids=FILLINGS.keys())
def test_a_megabyte_of_anything_gives_one_error(filling):
    for head in ("", HEAD, HEAD + "  a = "):
        text = (head + filling * (LIMIT // len(filling)))[:LIMIT]
        assert "\n" not in message(text).split("\n  ")[0]


def test_statements_past_the_limit():
    lines = [f"  v{i + 1} = relu({f'v{i}' if i else 'x'})\n" for i in range(20_000)]
    assert message(HEAD + "".join(lines)).startswith("<text>:4098:11: relu: a kernel has at most 4096 primitives")
    lines[4094:] = ["  p = subsample(v4094, H: s, W: s)\n  return fc(p, [C] -> [K])\n"]
    kernel = canvas.parse(HEAD + "".join(lines))
    assert len(kernel) == 4096
    assert str(canvas.parse(str(kernel))) == str(kernel)


def only_kernel_errors(text: str) -> None:
    try:
        kernel = canvas.parse(text)
    except canvas.KernelError as error:
        first = str(error).split("\n")[0]
        assert first.startswith("<text>:") and "internal error" not in first and first.isprintable() and first.isascii()
    else:
        check_print(kernel)


PIECES = sorted({piece for path in VALID for piece in re.findall(r"\w+|->|\S|\s+", read(path))})
ODDITIES = ["\0", "\t", "\r\n", "é", "\ud800", "9" * 30, "2147483648", "-1", "0", "+", "a" * 65, "relu(" * 70]


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
@settings(max_examples=300, deadline=None)
@example("")
@example("\ufeff")
@example("kernel")
def test_noise_raises_kernel_error_alone(text):
    only_kernel_errors(text)
    only_kernel_errors(HEAD + "  a = " + text)


@given(st.lists(st.sampled_from(PIECES + ODDITIES), max_size=60))
@settings(max_examples=300, deadline=None)
def test_words_of_the_language_in_any_order_raise_kernel_error_alone(pieces):
    only_kernel_errors(HEAD + "  a = " + " ".join(pieces))


@st.composite
def mutants(draw) -> str:
    pieces = re.findall(r"\w+|->|\S|\s+", draw(st.sampled_from([read(path) for path in VALID])))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(pieces)))
        end = min(len(pieces), at + draw(st.integers(0, 3)))
        new = draw(st.lists(st.sampled_from(PIECES + ODDITIES), max_size=3))
        pieces[at:end] = draw(st.sampled_from([new, pieces[at:end] * 2, []]))
    return "".join(pieces)


@given(mutants())
@settings(max_examples=1000, deadline=None)
def test_mutants_raise_kernel_error_alone(text):
    only_kernel_errors(text)


EXAMPLES = re.findall(r"^\|[^|]*\|[^|]*\| `(.*)` \| `(\[.*\])` \|$", LANGUAGE.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize(("call", "shape"), EXAMPLES, ids=[call for call, _ in EXAMPLES])
def test_documented_calls_have_the_documented_result(call, shape):
    lines = ["u = unfold(x, H: 3, W: 3)", "y = split(x, [C] -> [g, c = C/g])", f"return {call}"]
    used = [line for line in lines if line[0] == "r" or re.search(rf"\b{line[0]}\b", call)]
    text = "kernel k(x[C, H, W]) -> [K, T/s]:\n" + "".join(f"  {line}\n" for line in used)
    assert f"verify: the result must have the axes [K, T/s], got {shape}; " in message(text)


def test_documented_calls_cover_every_primitive():
    assert {call.split("(")[0] for call, _ in EXAMPLES} == {primitive["name"] for primitive in _core.primitives()}


@pytest.mark.parametrize("block", blocks("canvas"), ids=lambda block: re.search(r"kernel (\w+)", block)[1])
def test_documented_kernels_parse(block):
    check_print(canvas.parse(block))


def test_documented_error_is_what_is_raised():
    (shown,) = blocks("error")
    assert message(HEAD.replace("k(", "even(") + "  u = unfold(x, H: 4, W: 3)\n", "net.canvas") + "\n" == shown
