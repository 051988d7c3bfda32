"""The machine's compiler makes shared objects of the core's C++ source, for this machine's processor, and keeps them in
a cache. Called by `native` and `native_network`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from canvas import native_functions
from canvas.errors import UserError, one_line

SECONDS = 600  # that a compile may take: a whole network on a slow machine takes minutes
# The vectors are written out. -fexpensive-optimizations makes multiply-adds one instruction (6 %); what -O2 does beyond
# this takes a third as long again and gains 1 % (measured).
FLAGS = ("-O1", "-fexpensive-optimizations", "-fschedule-insns2", "-fno-exceptions", "-fno-asynchronous-unwind-tables")
OPTIONS = (*FLAGS, "-shared", "-fPIC", "-fopenmp", "-fno-math-errno", "-w")
PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True)
class Target:
    """What code is written for.

    Attributes:
        flags: of the compiler.
        width: floats in a vector.
        registers: how many vectors the processor holds.
        bf16: whether it multiplies pairs of bf16.
    """

    flags: tuple[str, ...]
    width: int
    registers: int
    bf16: bool = False


_AVX512 = ("-march=x86-64-v4", "-mprefer-vector-width=512")
PROCESSORS = {
    "sse2": Target((), 4, 16),
    "avx2": Target(("-march=x86-64-v3",), 8, 16),
    "avx512": Target(_AVX512, 16, 32),
    "avx512-bf16": Target((*_AVX512, "-mavx512bf16"), 16, 32, True),
    "neon": Target((), 4, 32),  # each 64-bit Arm has it
}


@functools.cache
def target() -> Target:
    """This machine's processor, as the system describes it: what a compiler takes for native may be wrong."""
    return PROCESSORS[_named()]


def _named() -> str:
    if platform.machine() in ("aarch64", "arm64"):
        return "neon"
    try:
        found = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    has = set(found[1].split()) if found else set()
    if {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"} <= has:
        return "avx512-bf16" if "avx512_bf16" in has else "avx512"
    return "avx2" if {"avx2", "fma", "bmi2"} <= has else "sse2"


def processor(name: str | None) -> Target:
    """A processor that code can be written for; this machine's where none is named.

    Raises:
        UserError: there is none of this name.

    Example:
        >>> processor("neon").width
        4
    """
    if name is not None and name not in PROCESSORS:
        raise UserError(f"native code: knows no processor '{name}'; use one of {', '.join(PROCESSORS)}")
    return target() if name is None else PROCESSORS[name]


def reads_bf16(precision: str, machine: Target | None = None) -> bool:
    """What the core is told of a precision.

    Args:
        precision: "fp32"; or "bf16": contractions read weights and what these meet in 16 bits. Sums and all else are
            float32.
        machine: if not this one.

    Raises:
        UserError: there is no such precision, or the processor does not multiply such numbers.

    Example:
        >>> reads_bf16("fp32")
        False
    """
    if precision not in PRECISIONS:
        raise UserError(f"native code: knows no precision '{precision}'; use {' or '.join(PRECISIONS)}")
    if precision == "bf16" and not (machine or target()).bf16:
        raise UserError("native code: bf16 needs a processor with AVX-512 BF16, which this one lacks; use fp32")
    return precision == "bf16"


def compiler() -> str | None:
    """The C++ compiler: $CXX, else g++; None where there is none."""
    return shutil.which(os.environ.get("CXX") or "g++")


def cache_folder(what: str = "native") -> Path:
    """Where things of a kind, here shared objects, are kept: below $XDG_CACHE_HOME, or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "canvas" / what


def load(source: str) -> ctypes.CDLL:
    """Compiles C++ source for this machine, unless the cache has it, and loads it.

    Args:
        source: a text of `_core.native_source`.

    Returns:
        The library. It is kept under a hash of text, flags and compiler, so that one made for another processor is
        never taken, and borrows the functions that libraries made before have (`native_functions`). Where the cache
        cannot be written it is made in a folder of its own, and lost afterwards.

    Raises:
        UserError: there is no compiler, or it refuses the text.

    Example:
        >>> load('extern "C" int two() { return 2; }').two()
        2
    """
    program, flags = _command()
    mark = "\0".join((program, version(program), *flags))
    kept = cache_folder() / native_functions.file_of(mark, source)
    with contextlib.suppress(OSError):  # it is not there yet, or broken, or one whose functions it borrows is
        return native_functions.joined(kept)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        functions = native_functions.files(source, mark)
        text, own = native_functions.borrowing(source, native_functions.lent(kept, functions))
        compiled(text, kept)
        native_functions.lend(kept, functions, own)
        return native_functions.joined(kept)
    except OSError:  # a full or read-only disk
        with tempfile.TemporaryDirectory(prefix="canvas-native-") as folder:
            return ctypes.CDLL(str(compiled(source, Path(folder) / kept.name)))


def compiled(source: str, to: Path) -> Path:
    """Makes a shared object of C++ source, in a folder of its own, and moves it to its place at once: what was cut off
    leaves nothing, or, where this process is killed, what a later one removes.

    Args:
        source: a text of `_core.native_source`.
        to: the file, in a folder that is there.

    Returns:
        The file.

    Raises:
        UserError: as `load`.
        OSError: the folder cannot be written.

    Example:
        >>> compiled('extern "C" int two() { return 2; }', Path("two.so"))  # doctest: +SKIP
        PosixPath('two.so')
    """
    program, flags = _command()
    with _place(to.parent / ".making") as place:
        text, made = place / "kernel.cpp", place / "kernel.so"
        text.write_text(source, encoding="utf-8")
        try:
            command, language = [program, *flags, str(text), "-o", str(made)], os.environ | {"LC_ALL": "C"}
            run = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env=language)
        except subprocess.TimeoutExpired:
            raise UserError(f"native code: {program} took more than {SECONDS} s for a kernel") from None
        if run.returncode != 0 and os.strerror(errno.ENOSPC) in run.stderr:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if run.returncode != 0 or not made.exists():
            raise UserError(
                f"native code: {program} failed ({run.returncode}): {one_line(Exception(run.stderr))[:300]}"
            )
        made.replace(to)
    return to


@contextlib.contextmanager
def _place(making: Path) -> Iterator[Path]:
    """A folder to compile in, within one that is there meanwhile; what killed processes left there is removed."""
    while True:
        making.mkdir(exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # another process was ready, and removed it
            place = Path(tempfile.mkdtemp(dir=making))
            break
    try:
        for left in making.iterdir():
            with contextlib.suppress(OSError):  # another process removes it
                if time.time() - left.stat().st_mtime > 2 * SECONDS:
                    shutil.rmtree(left)
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        with contextlib.suppress(OSError):  # others are at work
            making.rmdir()


def _command() -> tuple[str, tuple[str, ...]]:
    program = compiler()
    if program is None:
        raise UserError("native code: there is no C++ compiler; install g++ (apt install g++) or name one by CXX")
    return program, (*OPTIONS, *target().flags)


@functools.cache
def version(program: str) -> str:
    """What a compiler says that it is."""
    return subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout.split("\n")[0]
