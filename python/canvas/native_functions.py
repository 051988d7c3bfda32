"""Functions that pieces of native code have in common are compiled once on a machine. `native_compiler` calls it.

A source's functions are named by what they do (`src/canvas/native/writer.cpp`), and nearly all of a compile is theirs.
Each that a library has is lent: the function's file in the cache is a link to that library. Who borrows it is compiled
with a pointer in its place, which is set when it is loaded, and knows by itself whom to ask. What cannot be had is
compiled anew.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import re
from collections.abc import Container, Mapping
from pathlib import Path

FUNCTION = re.compile(r"^static __attribute__\(\(noinline\)\) void (\w+_\d+)(\(.*\)) \{\n(?: .*\n)*\}\n", re.MULTILINE)
NAME = re.compile(r"\b(?:tile|pass|pack)_\d+\b")
TABLE = "borrowed"  # a text in each library: a line for each function that it borrows, its name and who lends it


def file_of(*texts: str) -> str:
    """The name of the file in the cache for what these make.

    Example:
        >>> file_of("g++", "int one;")
        '624222c9181b930123ff2cfc55a8cb49.so'
    """
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:32] + ".so"


def files(source: str, mark: str) -> dict[str, str]:
    """The functions of a source and the files that lend them.

    Args:
        source: of `_core.native_source` or `_core.NativeNetwork.source`.
        mark: what else decides what becomes of a text: compiler and flags.

    Returns:
        File names by the functions' names; equal ones where the functions are equal, and what they call.

    Example:
        >>> files("int one;", "g++")
        {}
    """
    found = list(FUNCTION.finditer(source))
    head = source[: found[0].start()] if found else ""
    return {function[1]: file_of(mark, head, function[0]) for function in found}


def borrowing(source: str, borrowed: Mapping[str, str]) -> tuple[str, set[str]]:
    """The source with pointers in place of borrowed functions, and without those that nothing else calls.

    Args:
        source: as for `files`.
        borrowed: the files of functions that are lent.

    Returns:
        The text, and the functions that the library will have itself.

    Example:
        >>> borrowing("int one;", {})
        ('int one;', set())
    """
    found = list(FUNCTION.finditer(source))
    if not found:
        return source, set()
    rest = source[found[-1].end() :]
    called, own, parts, table = set(NAME.findall(rest)), set(), [], ""
    for function in reversed(found):  # who calls stands behind whom it calls
        name, arguments = function[1], function[2]
        if name not in called:
            continue
        if name in borrowed:
            parts.append(f'extern "C" {{ void (*{name}_lent){arguments}; }}\n#define {name} {name}_lent\n')
            table += f"{name} {borrowed[name]}\\n"
            continue
        own.add(name)
        called.update(NAME.findall(function[0]))
        kind = 'extern "C" __attribute__((noinline, visibility("protected")))'
        parts.append(function[0].replace("static __attribute__((noinline))", kind, 1))
    told = f'extern "C" {{ extern const char {TABLE}[] = "{table}"; }}\n'
    return source[: found[0].start()] + "".join(reversed(parts)) + rest + told, own


def lent(library: Path, functions: Mapping[str, str]) -> dict[str, str]:
    """Those of these functions, and their files, that a library can borrow: not from one that another process has just
    put in its place."""
    found = {}
    for name, file in functions.items():
        with contextlib.suppress(OSError):
            lender = library.with_name(file)
            if lender.resolve().name != library.name:
                _address(lender, name)
                found[name] = file
    return found


def lend(library: Path, functions: Mapping[str, str], own: Container[str]) -> None:
    """Lends the functions that a library has itself. A link is there whole or not at all."""
    for name, file in functions.items():
        part = library.with_name(f".{file}.{os.getpid()}")
        if name in own:
            with contextlib.suppress(OSError):  # then another compiles it once more
                part.symlink_to(library.name)
                part.replace(library.with_name(file))


def joined(library: Path, borrowers: frozenset[int] = frozenset()) -> ctypes.CDLL:
    """Loads a library, those of which it borrows, and so on, and gives it what it borrows.

    Raises:
        OSError: one cannot be loaded, lacks a function, or borrows from itself or from `borrowers`.
    """
    loaded = ctypes.CDLL(str(library))
    if loaded._handle in borrowers:
        raise OSError(f"{library} borrows from itself")
    if loaded._handle not in _JOINED:
        try:
            table = ctypes.string_at(ctypes.addressof(ctypes.c_char.in_dll(loaded, TABLE))).decode()
        except ValueError:  # it has no functions
            table = ""
        for line in table.splitlines():
            name, file = line.split()
            ctypes.c_void_p.in_dll(loaded, f"{name}_lent").value = _address(
                library.with_name(file), name, borrowers | {loaded._handle}
            )
        _JOINED.add(loaded._handle)
    return loaded


_JOINED: set[int] = set()  # libraries stay loaded as long as the process


def _address(library: Path, name: str, borrowers: frozenset[int] = frozenset()) -> int | None:
    try:
        return ctypes.cast(getattr(joined(library, borrowers), name), ctypes.c_void_p).value
    except AttributeError as error:  # another library in its place
        raise OSError(f"{library} has no {name}") from error
