"""The options that several commands have, and the reading of their values: layers, shapes, budgets, NAME=VALUE pairs,
kernel files. Called by the command line alone."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from canvas import _core
from canvas.errors import UserError

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]
Model = Annotated[
    str,
    typer.Option(
        "--model", metavar="NAME|PATH.py:FUNCTION", help="resnet8, resnet20, resnet18, resnet18_imagenet, or your own."
    ),
]
Input = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="CxHxW|TxC|ids:T",
        help="Shape of one input: an image (default: as a built-in model has, else 3x32x32), tokens, or token ids.",
    ),
]
Kinds = Annotated[
    list[str] | None,
    typer.Option("--kind", metavar="KIND", help="conv (the default), conv1d, conv2d, conv3d, linear; may be repeated."),
]
URL = "postgresql://USER@HOST/DATABASE?study=NAME"
StudyPlace = Annotated[str, typer.Argument(metavar="FILE.db|URL", help=f"A file, or {URL}.")]
LAYER = "C,K (linear), C,K,T=TOKENS, C,K,W, C,K,HxW or C,K,DxHxW, then ,STRIDE"
Layers = Annotated[list[str] | None, typer.Option("--layer", metavar="LAYER", help=f"{LAYER}, such as 64,128,32x32,2.")]
LONGEST = 2_000_000  # bytes read of a kernel file: more than any kernel has
LIMIT_HELP = "At most this fraction of the original's, or LOW:HIGH; with a unit (k, M, G, T) an amount: 300M."
Flops = Annotated[str | None, typer.Option("--flops", metavar="LIMIT", help=LIMIT_HELP)]
Params = Annotated[str | None, typer.Option("--params", metavar="LIMIT", help=LIMIT_HELP)]
Memory = Annotated[str | None, typer.Option("--memory", metavar="LIMIT", help=LIMIT_HELP)]
Latency = Annotated[
    str | None,
    typer.Option(
        "--latency",
        metavar="LIMIT",
        help="Of the whole network, measured: at most this fraction of the original's, or LOW:HIGH.",
    ),
]
Limits = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        metavar="NAME=VALUE",
        help="On the kernels sampled, such as max_primitives=6, or a primitive's weight: softmax=0 forbids it.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1, help="The same seed gives the same kernels.")]


def a_number(value: float | None) -> float | None:
    """Called on options: to some versions of Typer, NaN is within all limits.

    Raises:
        BadParameter: it is NaN.

    Example:
        >>> a_number(0.5)
        0.5
    """
    if value is not None and math.isnan(value):
        raise typer.BadParameter("needs a number, got nan")
    return value


def layer(text: str) -> Any:
    """A layer as C,K,HxW or C,K,HxW,STRIDE, with as many extents as a convolution has; C,K is a linear layer, C,K,T=N
    one with N tokens.

    Raises:
        UserError: it is not of this form, or no layer has such sizes.

    Example:
        >>> layer("16,32,14x14,2").stride, layer("16,32,T=197").tokens
        (2, 197)
    """
    try:
        c_in, c_out, *rest = text.split(",")
        sizes: dict[str, Any] = {"c_in": int(c_in), "c_out": int(c_out), "spatial": ()}
        if rest and rest[0].startswith("T="):
            sizes["tokens"] = int(rest.pop(0)[2:]) or -1  # 0 is no number of tokens
        elif rest:
            sizes["spatial"] = tuple(int(extent) for extent in rest.pop(0).split("x"))
            sizes |= {"stride": int(rest.pop(0))} if rest else {}
        if rest:
            raise ValueError
    except ValueError as error:
        raise UserError(f"layer '{text}': needs {LAYER}, such as 64,128,32x32,2") from error
    try:
        return _core.Layer(**sizes)
    except TypeError as error:  # what the core's integers do not hold
        raise UserError(f"layer '{text}': a size is out of range") from error
    except ValueError as error:
        raise UserError(f"layer '{text}': {error}") from error


def example(text: str) -> Any:
    """One input of zeros: of the shape CxHxW, or TxC, or whatever the model takes; `ids:T` are whole numbers, as
    language models take.

    Raises:
        UserError: it is not of this form, or too large.

    Example:
        >>> example("3x32x32").shape, example("ids:16").dtype
        (torch.Size([1, 3, 32, 32]), torch.int64)
    """
    import torch

    parts = text.removeprefix("ids:").split("x")
    if not all(part.isdecimal() and part.strip("0") for part in parts):
        raise UserError(f"input '{text}': needs CxHxW or TxC, such as 3x32x32, or ids:T, such as ids:16")
    kind = torch.long if text.startswith("ids:") else torch.float32
    try:
        return torch.zeros(1, *map(int, parts), dtype=kind)
    except (TypeError, ValueError, RuntimeError) as error:  # more than an integer, or memory, holds
        raise UserError(f"input '{text}': is too large for this machine's memory; give a smaller one") from error


def model_example(model: str, input: str | None) -> tuple[Any, dict[str, int]]:
    """One input for a model that is named on the command line, and what a built-in model must be made with to take it.

    Raises:
        UserError: `input` is not of the form CxHxW, TxC or ids:T.

    Example:
        >>> model_example("resnet8", None)[1]
        {'in_channels': 1}
    """
    from canvas.models import BUILT_IN, IMAGES

    made = example(input or IMAGES.get(model, "3x32x32"))
    return made, {"in_channels": made.shape[1]} if model in BUILT_IN else {}


def budget(**limits: str | None) -> Any:
    """A budget from LIMIT or LOW:HIGH texts, or None if there is none of them. A number with a unit is an amount, but
    of latency only fractions are taken.

    Raises:
        UserError: a text is not of this form.

    Example:
        >>> budget(flops="0.5", params="0.1:0.4", memory=None).params
        (0.1, 0.4)
        >>> budget(flops="300M").flops
        Amount(3e+08)
    """
    values = {
        name: _limit(f"--{name}", text, {} if name == "latency" else UNITS)
        for name, text in limits.items()
        if text is not None
    }
    return _core.Budget(**values) if values else None


def named_budget(texts: Sequence[str]) -> Any:
    """A budget from NAME=LIMIT texts; a name with `each.` before it is for every layer by itself.

    Raises:
        UserError: a text is not of this form.

    Example:
        >>> named_budget(["flops=0.5", "each.memory=2"]).each.memory
        (0.0, 2.0)
    """
    given: dict[bool, dict[str, Any]] = {False: {}, True: {}}
    for text in ",".join(texts).split(",") if texts else ():
        name, sign, limit = text.partition("=")
        single = name.startswith("each.")
        if not sign or (name.removeprefix("each.") not in ("flops", "params", "memory") and name != "latency"):
            raise UserError(
                f"--budget '{text}': needs NAME=LIMIT; names are flops, params, memory, latency, each.flops, …"
            )
        units = SECONDS if name == "latency" else UNITS
        given[single][name.removeprefix("each.")] = _limit(f"--budget {name}", limit, units)
    each = {"each": _core.Budget(**given[True])} if given[True] else {}
    return _core.Budget(**given[False], **each)


UNITS = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
SECONDS = {"ms": 1e-3, "s": 1.0}


def _limit(option: str, text: str, known: dict[str, float] = UNITS) -> Any:
    """One limit: a fraction, a pair of fractions, or an amount."""
    parts = text.split(":")
    endings = [next((unit for unit in known if part.endswith(unit)), "") for part in parts]
    units = [known.get(ending) for ending in endings]
    try:
        numbers = [
            float(part.removesuffix(end)) * (known.get(end, 1.0)) for part, end in zip(parts, endings, strict=True)
        ]
        low, high = numbers if len(numbers) == 2 else (0.0, *numbers)
    except (ValueError, TypeError):
        low, high = 0.0, -1.0
    mixed = any(units) and not all(
        unit or number == 0 for unit, number in zip(units, (low, high)[-len(units) :], strict=True)
    )
    if mixed or not 0 <= low <= high or not 0 < high < float("inf"):
        amount = f" an amount, such as {'12ms' if known is SECONDS else '300M'}," if known else ""
        raise UserError(
            f"budget {option} '{text}': needs a fraction of the original's, such as 0.5,{amount} or LOW:HIGH"
        )
    if any(units):
        return _core.Amount(high, low=low)
    return (low, high) if len(parts) == 2 else high


def pairs(option: str, texts: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE texts; a value that reads as a number or a truth value becomes one.

    Raises:
        UserError: a text is not of this form.

    Example:
        >>> pairs("--recipe", ["images=20000", "lr=0.1", "flip=false"])
        {'images': 20000, 'lr': 0.1, 'flip': False}
    """
    result = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name.isidentifier():
            raise UserError(f"{option} '{text}': needs NAME=VALUE")
        result[name] = _value(value)
    return result


def limits(texts: Sequence[str]) -> dict[str, Any]:
    """What `--limit` says, as keywords of `canvas.sample`; the names of primitives are weights.

    Raises:
        UserError: a text is not of the form NAME=VALUE, or a primitive's weight no number.

    Example:
        >>> limits(["max_primitives=6", "softmax=0"])
        {'max_primitives': 6, 'weights': {'softmax': 0.0}}
    """
    given = pairs("--limit", texts)
    weights = {primitive["name"]: given.pop(primitive["name"], None) for primitive in _core.primitives()}
    try:
        chosen = {name: float(value) for name, value in weights.items() if value is not None}
    except ValueError as error:
        raise UserError(f"--limit: a primitive's weight is a number, 0 forbids it ({error})") from error
    return given | ({"weights": chosen} if chosen else {})


def _value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def text_of(path: str) -> str:
    """What a file holds; `-` is the standard input.

    Raises:
        UserError: it cannot be read, or is not UTF-8.

    Example:
        >>> text_of("no such file")
        Traceback (most recent call last):
        canvas.errors.UserError: no such file: cannot be read: No such file or directory
    """
    try:
        with contextlib.nullcontext(sys.stdin.buffer) if path == "-" else open(path, "rb") as file:
            content = file.read(LONGEST + 1)
        if len(content) > LONGEST:
            raise UserError(f"{path}: not a kernel: holds more than {LONGEST // 1_000_000} MB")
        return content.decode()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a kernel: byte {error.start} is not UTF-8 text") from error


def kernel(path: str) -> Any:
    """The kernel in a file; `-` is the standard input.

    Raises:
        UserError: the file cannot be read.
        KernelError: its text is no kernel.

    Example:
        >>> kernel("low_rank.canvas").name  # doctest: +SKIP
        'low_rank'
    """
    return _core.parse(text_of(path), "<stdin>" if path == "-" else path)


def named_kernel(name: str) -> Any:
    """A kernel of the zoo, or of a file that ends in .canvas (`-`: the standard input).

    Raises:
        UserError: there is none of that name.
        KernelError: the file holds no kernel.

    Example:
        >>> named_kernel("low_rank").name
        'low_rank'
    """
    from canvas import zoo

    if name == "-" or name.endswith(".canvas"):
        return kernel(name)
    if name not in zoo():
        raise UserError(f"kernel '{name}': not in the zoo; give a FILE.canvas or one of {', '.join(zoo())}")
    return zoo()[name]
