"""Chooses among variants of native code by timing them: images together, blocks, and for each nest its tile.

`native_network` calls it where it is asked to tune, and asks it for what was chosen before. Variants run in a process
of their own (`native_trial`): one that crashes or hangs is passed over. What was chosen is kept beside the shared
objects, for this processor; a file that is broken or cannot be written costs time alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from canvas import native_compiler
from canvas.errors import UserError
from canvas.machine_lock import machine_lock

if TYPE_CHECKING:
    from canvas.native_network import Written

Choices = dict[str, int]
CLOCKS = re.compile(r"^double clocks\[(\d+)\]", re.MULTILINE)
TRIAL = Path(__file__).with_name("native_trial.py")
SECONDS = 60  # that the timing of some variants may take
EACH = 0.03  # seconds for a variant, at least five rounds
LEAST = 0.98  # of the time of the first guess: what gains less is chance
# Choices for all of a network, and those of which each nest takes its own. The first guess is the best rank.
WHOLE: tuple[Choices, ...] = (
    *({"together": images} for images in (1, 2, 4, 8)),
    *({"cache": elements} for elements in (12 * 1024, 96 * 1024)),
)
BY_NEST: tuple[Choices, ...] = (
    *({"tile": rank} for rank in range(1, 7)),
    *({"straight": products} for products in (48, 800)),
    {"order": 1},
    {"borders": 0},
)


def chosen(emit: Callable[[Choices], Written], images: int, threads: int, tune: bool) -> Written:
    """A network by the choices that were kept, else, where it is to be tuned, by those that are quickest.

    Args:
        emit: writes the network's source for some choices.
        images, threads: of the runs that are to be quick.
        tune: else nothing is run.

    Returns:
        What `emit` writes; by its first guess where that is best, or nothing is known.

    Raises:
        UserError: there is no compiler.

    Example:
        >>> chosen(emit, images=32, threads=1, tune=True).source  # doctest: +SKIP
    """
    first = emit({})
    text = "\0".join((first.source, str((images, threads, native_compiler.target())), _processor()))
    kept = native_compiler.cache_folder() / (hashlib.sha256(text.encode()).hexdigest()[:32] + ".tuned.json")
    with contextlib.suppress(
        OSError, ValueError, TypeError, KeyError, AttributeError
    ):  # not there, broken, or of another version
        known = {
            str(name): int(value) for name, value in json.loads(kept.read_text(encoding="utf-8"))["choices"].items()
        }
        return emit(known) if known else first
    if not tune:
        return first
    with tempfile.TemporaryDirectory(prefix="canvas-tuning-") as folder:
        made, seconds = _Tuner(emit, images, threads, Path(folder)).run()
    with contextlib.suppress(OSError):  # a full or read-only disk
        if not seconds:  # nothing could be timed
            return first
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps({"choices": made, "seconds": seconds}) + "\n", encoding="utf-8")
        part.replace(kept)
    return emit(made)


def _processor() -> str:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line for line in lines if line.startswith(("model name", "CPU part")))
    return platform.processor()


class _Tuner:
    def __init__(self, emit: Callable[[Choices], Written], images: int, threads: int, folder: Path) -> None:
        self.emit, self.images, self.threads, self.folder = emit, images, threads, folder
        self.libraries: dict[str, Path | None] = {}  # by source; None: refused by the compiler

    def run(self) -> tuple[Choices, list[float]]:
        """The quickest choices found, and the seconds of the first guess and of those."""
        whole = self._quickest([{}, *WHOLE])
        nests = self._nests(whole)
        best, seconds = {}, self._timed([{}, whole, nests])
        known = [index for index, time in enumerate(seconds) if time is not None]
        if 0 in known:
            index = min(known, key=lambda index: seconds[index] or 0.0)
            if (seconds[index] or 0.0) < LEAST * (seconds[0] or 0.0):
                best = ({}, whole, nests)[index]
        return best, [time for time in seconds if time is not None]

    def _quickest(self, variants: list[Choices]) -> Choices:
        seconds = self._timed(variants)
        if seconds[0] is None:
            return {}
        index = min((index for index, time in enumerate(seconds) if time), key=lambda index: seconds[index] or 0.0)
        return variants[index] if (seconds[index] or 0.0) < LEAST * seconds[0] else {}

    def _nests(self, whole: Choices) -> Choices:
        """The choices with those that each nest of its own is quickest with."""
        variants = [{}, *BY_NEST]
        _, nests = self._trial([whole | variant | {"clocks": 1} for variant in variants])
        made = dict(whole)
        if not nests or nests[0] is None:
            return made
        for number, first in enumerate(nests[0]):
            times = [(of[number], variant) for of, variant in zip(nests, variants, strict=True) if of is not None]
            least, variant = min(times, key=lambda pair: pair[0])
            if least < LEAST * first:
                made |= {f"{name} {number}": value for name, value in variant.items()}
        return made

    def _timed(self, variants: list[Choices]) -> list[float | None]:
        return self._trial(variants)[0]

    def _trial(self, variants: list[Choices]) -> tuple[list[float | None], list[list[float] | None]]:
        """Seconds of each variant and of its nests; None for those that cannot be had. Equal sources run once."""
        written = [self.emit(variant) for variant in variants]
        sources = list(dict.fromkeys(made.source for made in written))
        self._compile([source for source in sources if source not in self.libraries])
        runs = [next(made for made in written if made.source == source) for source in sources]
        runs = [made for made in runs if self.libraries[made.source] is not None]
        results: dict[str, tuple[float, list[float]]] = {}
        while runs:
            begun, found = self._child(runs)
            if found:
                results = {made.source: pair for made, pair in zip(runs, found, strict=True)}
                break
            if begun < 0:  # it is not a variant's first run that fails
                break
            del runs[begun]
        pairs = [results.get(made.source) for made in written]
        return [pair and pair[0] for pair in pairs], [pair and pair[1] for pair in pairs]

    def _compile(self, sources: Iterable[str]) -> None:
        def one(source: str) -> tuple[str, Path | None]:
            try:
                return source, native_compiler.compiled(
                    source, self.folder / f"{hashlib.sha256(source.encode()).hexdigest()[:32]}.so"
                )
            except UserError:
                if native_compiler.compiler() is None:
                    raise
                return source, None

        with ThreadPoolExecutor(max(1, self.threads)) as pool:
            self.libraries |= dict(pool.map(one, sources))

    def _child(self, runs: list[Written]) -> tuple[int, list[tuple[float, list[float]]]]:
        """The results; where none came, the variant whose first run was the last, or -1."""
        asked = {
            "variants": [self._described(made) for made in runs],
            "input": self.images * math.prod(runs[0].inputs),
            "output": self.images * math.prod(runs[0].outputs),
            "images": self.images,
            "threads": self.threads,
            "seconds": EACH,
        }
        command = [sys.executable, "-I", "-S", str(TRIAL)]
        settings = os.environ | {"OMP_NUM_THREADS": str(self.threads)}
        pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
        with (
            machine_lock(),
            subprocess.Popen(command, env=settings, stdin=pipe, stdout=pipe, stderr=nowhere) as run,
        ):
            try:
                output, _ = run.communicate(json.dumps(asked).encode(), timeout=SECONDS)
            except subprocess.TimeoutExpired:
                run.kill()
                output, _ = run.communicate()
        begun = -1
        for line in output.splitlines():
            with contextlib.suppress(ValueError):  # cut off
                told = json.loads(line)
                if "seconds" in told:
                    return -1, list(zip(told["seconds"], told["nests"], strict=True))
                begun = told["begun"]
        return begun, []

    def _described(self, made: Written) -> dict[str, Any]:
        return {
            "library": str(self.libraries[made.source]),
            "parameters": [value.numel() for value in made.parameters],
            "constants": made.constants,
            "scratch": made.scratch,
            "nests": int(found[1]) if (found := CLOCKS.search(made.source)) else 0,
        }
