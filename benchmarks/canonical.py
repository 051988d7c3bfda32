"""How strong the canonical form is: of kernels with different hashes, how many compute the same family. Writes JSON.

    python benchmarks/canonical.py [--kernels 1000] [--seconds 600] [--limit max_primitives=6] [--seed 0] [--out FILE]

Kernels are sampled for a convolution under the usual limits, so all hashes differ. On a small layer each gets a
fingerprint of facts that a family has however it is parametrised (tests/families.py); those that share one are compared
by fitting the parameters of each to the other's results, on that layer and on a second one (stride 1, other extents,
other free sizes). `share` is the part of the kernels that an earlier one computes as well. A fit can miss that two
families are one; `recall` is how often it finds a kernel's own parameters again, from others.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests")]

import canvas  # noqa: E402
from families import Family, fits, same  # noqa: E402

LAYERS = [canvas.Layer(16, 16, (8, 8)), canvas.Layer(16, 32, (8, 8), stride=2)]
SMALL = (canvas.Layer(4, 8, (5, 4), stride=2), 2, 8)  # layer, free sizes, images
SECOND = (canvas.Layer(12, 4, (7, 6)), 4, 2)  # C, K, their halves and quarters all differ, and K is the smaller here
LARGER = ((canvas.Layer(8, 16, (5, 4), stride=2), 2, 4), (canvas.Layer(16, 8, (7, 6)), 4, 1))  # where parts are small


class Comparison:
    """A kernel on the layers that it is compared on; the first gives the fingerprint."""

    def __init__(self, kernel: canvas.Kernel) -> None:
        try:
            self.places: tuple[Any, ...] = (SMALL, SECOND)
            self.families = [Family(kernel, *place) for place in self.places]
        except (canvas.Infeasible, canvas.KernelError):
            self.places = LARGER
            self.families = [Family(kernel, *place) for place in self.places]
        self.kernel = kernel
        self.key = (self.places is LARGER, self.families[0].fingerprint)

    def same(self, other: Comparison) -> bool:
        return all(same(a, b) for a, b in zip(self.families[::-1], other.families[::-1], strict=True))


def measured(kernels: list[canvas.Kernel], recalls: int, seconds: float) -> dict[str, Any]:
    """The share of kernels that compute what an earlier one computes, and these pairs; of as many as time allows."""
    start = time.process_time()
    classes: dict[Any, list[Comparison]] = defaultdict(list)
    pairs, left_out, compared = [], Counter[str](), 0
    for kernel in kernels:
        if time.process_time() - start > seconds:
            break
        try:
            one = Comparison(kernel)
            for other in classes[one.key]:
                compared += 1
                if one.same(other):
                    pairs.append((str(other.kernel), str(kernel)))
                    break
            else:
                classes[one.key].append(one)
        except (canvas.Infeasible, canvas.KernelError, torch.linalg.LinAlgError) as error:
            left_out[str(error).split(":")[0]] += 1
    known = [one.families[0] for group in classes.values() for one in group]
    known = known[:: max(1, len(known) // recalls)]
    found = sum(fits(family, family) for family in known if family.size)
    families = sum(map(len, classes.values()))
    return {
        "kernels": families + len(pairs),
        "families": families,
        "share": round(len(pairs) / max(1, families + len(pairs)), 5),
        "compared": compared,
        "left_out": sum(left_out.values()),
        "recall": round(found / max(1, sum(1 for family in known if family.size)), 3),
        "cpu_seconds": round(time.process_time() - start, 1),
        "pairs": pairs,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kernels", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=600.0, help="CPU time after which no other kernel is taken up")
    parser.add_argument("--recalls", type=int, default=60, help="kernels whose own parameters are fitted")
    parser.add_argument("--limit", action="append", default=[], metavar="NAME=NUMBER", help="may be repeated")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    limits = {name: int(value) for name, value in (limit.split("=") for limit in options.limit)}
    kernels = canvas.sample(LAYERS, options.kernels, seed=options.seed, **limits)
    text = json.dumps(
        {"limits": limits, "seed": options.seed, **measured(kernels, options.recalls, options.seconds)}, indent=1
    )
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
