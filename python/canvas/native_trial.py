"""Times variants of native code. `native_tuner` runs it as a program of its own: a variant that crashes or hangs takes
nothing else with it. It imports nothing of Canvas and starts in hundredths of a second.

It reads a JSON object from its input and writes one a line: {"begun": variant} before a variant runs for the first time
(-1 when all have), at the end {"seconds": [of each], "nests": [[of each nest], of each]}; the latter are empty for
variants without clocks.
"""

from __future__ import annotations

import array
import ctypes
import json
import statistics
import sys
import time
from typing import Any

PATTERN = array.array("f", [((7 * i) % 31 - 15) / 32 for i in range(1021)]).tobytes()


def floats(count: int) -> Any:
    """So many numbers, at a multiple of 64 bytes."""
    room = ctypes.create_string_buffer(4 * count + 64)
    skipped = -ctypes.addressof(room) % 64
    for start in range(0, 4 * count, len(PATTERN)):
        part = PATTERN[: 4 * count - start]
        ctypes.memmove(ctypes.addressof(room) + skipped + start, part, len(part))
    return room, ctypes.c_void_p(ctypes.addressof(room) + skipped)


class Variant:
    """A library that is ready to run."""

    def __init__(self, made: dict[str, Any], asked: dict[str, Any]) -> None:
        self.library = ctypes.CDLL(made["library"])
        parameters = [floats(count) for count in made["parameters"]]
        self.kept = [floats(count) for count in (asked["input"], asked["output"], made["constants"])]
        self.kept.append(floats(0) if not made["scratch"] else floats(made["scratch"] * asked["threads"]))
        ctypes.memset(self.kept[3][1], 0, 4 * made["scratch"] * asked["threads"])
        pointers = (ctypes.c_void_p * max(1, len(parameters)))(*[pointer for _, pointer in parameters])
        self.library.prepare(pointers, self.kept[2][1])
        self.size = ctypes.c_long(asked["images"]), ctypes.c_int(asked["threads"])
        self.nests: list[list[float]] = []
        self.seconds: list[float] = []
        self.clocks = (ctypes.c_double * made["nests"]).in_dll(self.library, "clocks") if made["nests"] else []

    def run(self, clock: Any) -> None:
        """Once."""
        for nest in range(len(self.clocks)):
            self.clocks[nest] = 0.0
        x, y, c, s = (pointer for _, pointer in self.kept)
        start = clock()
        self.library.run(x, ctypes.c_void_p(), y, c, s, *self.size)
        self.seconds.append(clock() - start)
        self.nests.append(list(self.clocks))


def main() -> None:
    """The program."""
    asked = json.load(sys.stdin)
    clock = time.thread_time if asked["threads"] == 1 else time.perf_counter
    variants = []
    for number, made in enumerate(asked["variants"]):
        print(json.dumps({"begun": number}), flush=True)
        variants.append(Variant(made, asked))
        variants[-1].run(clock)
    print(json.dumps({"begun": -1}), flush=True)
    end = time.perf_counter() + asked["seconds"] * len(variants)
    for round_number in range(200):
        if round_number > 4 and time.perf_counter() > end:
            break
        for variant in variants:
            variant.run(clock)
    seconds = [statistics.median(variant.seconds[1:]) for variant in variants]
    nests = [[statistics.median(times) for times in zip(*variant.nests[1:], strict=True)] for variant in variants]
    print(json.dumps({"seconds": seconds, "nests": nests}), flush=True)


if __name__ == "__main__":
    main()
