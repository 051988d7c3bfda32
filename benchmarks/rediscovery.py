"""How long unaided sampling takes to come to the zoo's kernels of at most 10 primitives. Writes JSON and a table.

    python benchmarks/rediscovery.py --out FILE.json [--seconds 60] [--seeds 5] [--threads 1] [--kind conv2d]
                                     [--idioms 0] [--table]

A stream is one seed on the layers of one kind of kernel, so many CPU-seconds long, and is checked against all kernels
of that kind at once. Each stream's hits are written when it ends: a run that was cut off, or has more --seeds, goes on
with the streams that are not in the file. --seconds must stay what it was. A kernel's figure is tries (and CPU-seconds)
to the first hit: all that were spent, over the streams that hit, with an interval of 95 % (`canvas.rediscovery`).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import canvas
from canvas.rediscovery import LAYERS, Rediscovery, hits, signature_of

LONGEST = 10


def wanted() -> dict[str, dict[str, str]]:
    """By kind of layers: the hashes of the kernels to be found, and their names."""
    found: dict[str, dict[str, str]] = {}
    for name, kernel in canvas.zoo().items():
        if len(kernel.canonical()) <= LONGEST:
            found.setdefault(signature_of(kernel), {})[kernel.hash] = name
    return found


def stream(
    kind: str, names: dict[str, str], seed: int, seconds: float, threads: int, **limits: float
) -> dict[str, Any]:
    """What a seed's samples come to in so many CPU-seconds: by name, tries and CPU-seconds until the first hit."""
    samples = canvas.Samples(list(LAYERS[kind]), seed=seed, threads=threads, max_primitives=LONGEST, **limits)
    start = time.process_time()
    found = {
        names[digest]: (tries, round(time.process_time() - start, 3))
        for digest, tries in hits(samples, names, lambda drawn: time.process_time() - start >= seconds)
    }
    counts = samples.counts
    spent = round(time.process_time() - start, 2)
    return {"tried": counts["tried"], "kept": counts["kept"], "seconds": spent, "hits": found}


def outcomes(streams: dict[str, dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The streams by kind."""
    found: dict[str, list[dict[str, Any]]] = {}
    for key, one in streams.items():
        found.setdefault(key.split()[0], []).append(one)
    return found


def table(streams: dict[str, dict[str, Any]]) -> str:
    """Markdown: the kernels by the tries that they take; a bound for those that no stream came to."""
    zoo, rows = canvas.zoo(), []
    for kind, names in wanted().items():
        runs = outcomes(streams).get(kind, [])
        if not runs:
            continue
        rate = sum(run["tried"] for run in runs) / sum(run["seconds"] for run in runs)
        for digest, name in names.items():
            ends = [run["hits"].get(name, (run["tried"], run["seconds"])) for run in runs]
            hits = sum(name in run["hits"] for run in runs)
            tries = tuple(end[0] for end in ends)
            length = len(zoo[name].canonical())
            one = Rediscovery(name, digest, length, tries, tuple(end[1] for end in ends), hits)
            rows.append((one.tries_per_hit[1 if not hits else 0], one, kind, rate, len(runs)))
    lines = [
        "| kernel | kind | primitives | seeds that hit | tries to a hit | 95 % | CPU-seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for _, one, kind, rate, runs in sorted(rows, key=lambda row: (not row[1].hits, row[0], row[1].name)):
        estimate, low, high = one.tries_per_hit
        shown = (
            f"{estimate:,.0f} | {low:,.0f} to {high:,.0f} | {estimate / rate:,.1f}"
            if one.hits
            else f"over {low:,.0f} | - | over {low / rate:,.0f}"
        )
        lines.append(f"| `{one.name}` | {kind} | {one.primitives} | {one.hits} of {runs} | {shown} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="is read first, where it is there")
    parser.add_argument("--seconds", type=float, default=60.0, help="CPU time of each stream")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of each stream; changes the time alone")
    parser.add_argument("--kind", action="append", choices=sorted(LAYERS), help="may be repeated (default: all)")
    parser.add_argument("--idioms", type=float, help="0: every step is drawn by itself; a file of its own then")
    parser.add_argument("--table", action="store_true", help="draw nothing, print the table")
    options = parser.parse_args()
    streams: dict[str, dict[str, Any]] = json.loads(options.out.read_text()) if options.out.exists() else {}
    limits = {} if options.idioms is None else {"idioms": options.idioms}
    for seed in range(0 if options.table else options.seeds):
        for kind, names in wanted().items():
            key = f"{kind} {seed}"
            if key in streams or (options.kind and kind not in options.kind):
                continue
            streams[key] = stream(kind, names, seed, options.seconds, options.threads, **limits)
            options.out.write_text(json.dumps(streams, indent=1) + "\n")
            print(f"{key}: {len(streams[key]['hits'])} of {len(names)}, {streams[key]['tried']} tries", flush=True)
    print(table(streams))


if __name__ == "__main__":
    main()
