"""What the command line prints: one-line faults, JSON, tables, and how a study stands."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from canvas._core import Amount
from canvas.funnel import stages
from canvas.progress import figures
from canvas.trial import twins_in

if TYPE_CHECKING:
    from canvas.hand_designed import Entry
    from canvas.rediscovery import Rediscovery


def fail(message: str) -> int:
    """Says what is wrong; gives the exit status."""
    print(f"canvas: error: {message.rstrip()}", file=sys.stderr)
    return 2


def put(value: Any) -> None:
    """Prints JSON."""
    print(json.dumps(value, indent=2, allow_nan=False))


def console() -> Console:
    """For tables on stdout, wide enough where there is no terminal."""
    return Console(width=None if sys.stdout.isatty() else 200, highlight=False)


def table(*columns: str, words: Collection[str] = ()) -> Table:
    """An empty table with right-aligned columns but the first and those that hold words."""
    result = Table(box=None, pad_edge=False, header_style="bold")
    for i, column in enumerate(columns):
        result.add_column(column, justify="right" if i and column not in words else "left", overflow="fold")
    return result


def layer_fields(layer: Any) -> dict[str, Any]:
    """A layer for JSON."""
    sizes = ("kind", "c_in", "c_out", "spatial", "tokens", "stride", "window", "groups", "count")
    names = (*sizes, "flops", "params", "memory")
    return {name: list(value) if isinstance(value := getattr(layer, name), tuple) else value for name in names}


def extents(layer: Any) -> str:
    """Where a layer is applied: "32x32", "197 tokens", or nothing."""
    return "x".join(map(str, layer.spatial)) if layer.tokens is None else f"{layer.tokens} tokens"


def entry_fields(entry: Entry) -> dict[str, Any]:
    """A kernel of the zoo for JSON."""
    names = ("name", "title", "authors", "year", "source", "summary")
    return {name: getattr(entry, name) for name in names} | {"hash": entry.kernel.hash, "text": str(entry.kernel)}


def rediscovery_fields(result: Rediscovery) -> dict[str, Any]:
    """What became of one kernel that was looked for, for JSON."""
    names = ("name", "hash", "primitives", "tries", "seconds", "hits")
    bounds = [bound if math.isfinite(bound) else None for bound in result.tries_per_hit]
    return {name: getattr(result, name) for name in names} | dict(
        zip(("tries_per_hit", "low", "high"), bounds, strict=True)
    )


def size_fields(kernel: Any) -> dict[str, Any]:
    """What a kernel's sizes leave open, for JSON; conditions are null where numbers are too large to say."""
    sizes = kernel.sizes
    try:
        return {"forced": sizes.forced, "free": sizes.free, "conditions": sizes.conditions}
    except ValueError:
        return {"forced": {}, "free": [], "conditions": None}


def costs(binding: Any) -> dict[str, Any]:
    """A binding for JSON."""
    layers = [
        {"layer": layer_fields(bound.layer), **_totals(bound), "sizes": dict(bound.sizes)}
        for bound in map(binding.__getitem__, range(len(binding)))
    ]
    return {**_totals(binding), "gap": binding.gap, "layers": layers}


def _totals(thing: Any) -> dict[str, Any]:
    latency = {"latency_ms": 1e3 * thing.latency} if thing.latency else {}
    return {name: getattr(thing, name) for name in ("flops", "params", "memory")} | latency


def bound_table(names: Sequence[str], binding: Any, budget: Any, prices: Any = None) -> None:
    """Prints a binding layer by layer: sizes, costs, and what part of the budget (without a limit: of the original)
    each takes."""
    layers = [binding[i] for i in range(len(binding))]
    originals = {
        name: sum(getattr(bound.layer, name) * bound.layer.count for bound in layers) for name in ("flops", "params")
    }
    if prices is not None:
        originals["latency"] = prices.original
    allowed, measured = {}, {}
    for name, original in originals.items():
        limit = getattr(budget, name)
        amount = isinstance(limit, Amount)
        allowed[name] = original if limit is None else limit.high if amount else limit[1] * original
        measured[name] = "of the original" if limit is None else "of the budget"
    time = [] if prices is None else ["predicted ms", measured["latency"]]
    rows = table(
        "layer", "in", "out", "extent", "stride", "count", "sizes",
        "MFLOPs", measured["flops"], "parameters", measured["params"], "memory", *time,
    )  # fmt: skip
    for name, bound in zip(names, layers, strict=True):
        layer = bound.layer
        sizes = ", ".join(f"{variable} = {value}" for variable, value in sorted(bound.sizes.items()))
        shape = (layer.c_in, layer.c_out, extents(layer), layer.stride, layer.count)
        rows.add_row(name, *map(str, shape), sizes or "-", *_used(bound, layer.count, allowed))
    rows.add_row("all", *[""] * 6, *_used(binding, 1, allowed))
    out = console()
    out.print(rows)
    if binding.gap > 0:
        out.print(f"no other sizes use more than {binding.gap:.2g} of this more")


def _used(thing: Any, count: int, allowed: dict[str, float]) -> list[str]:
    used = {name: getattr(thing, name) * count for name in allowed}
    share = {name: f"{100 * amount / allowed[name]:.1f} %" for name, amount in used.items()}
    cells = [f"{used['flops'] / 1e6:.2f}", share["flops"], f"{used['params']:,}", share["params"]]
    cells.append(f"{thing.memory / 1e3:,.0f} kB")
    return cells if "latency" not in used else [*cells, f"{1e3 * used['latency']:.3f}", share["latency"]]


def study_fields(study: Any) -> dict[str, Any]:
    """A study for JSON: its candidates in the order asked."""
    names = ("index", "hash", "text", "origin", "state", "reason", "metrics")
    candidates = [{name: getattr(trial, name) for name in names} for trial in study.trials]
    for candidate in candidates:
        candidate["metrics"] = {
            name: value if math.isfinite(value) else None for name, value in candidate["metrics"].items()
        }
    front = study.front()
    return {
        "candidates": candidates,
        "front": [trial.index for trial in front],
        "twins": twins_in(study, [trial.kernel for trial in front]),
        "counts": study.counts,
        "settings": study.settings,
    }


def summary(study: Any) -> None:
    """Prints how a study stands: its funnel, its front, its best kernel."""
    out = console()
    out.print("\n" + ", ".join(f"{name} {count:,}" for name, count in study.counts.items()))
    passed = table("stage", "came", "passed", "seconds each", "rank correlation")
    for stage in stages(study):
        seconds = "" if stage.seconds is None else f"{stage.seconds:.2f}"
        if stage.compiling is not None:
            seconds += f", compiling {stage.compiling:.2f}"
        ranked = "" if stage.correlation is None else f"{stage.correlation:+.2f}"
        passed.add_row(stage.name, f"{stage.entered:,}", f"{stage.left:,}", seconds, ranked)
    out.print(passed)
    front = study.front()
    if not front:
        return out.print("no candidate was completed yet")
    rows = table("front", "metrics", "FLOPs", "parameters", "hash", "does what", words=("does what",))
    known = twins_in(study, [trial.kernel for trial in front])
    entries = [(f"#{t.index}", t.metrics, t.hash[:12], twin) for t, twin in zip(front, known, strict=True)]
    entries += [(name, metrics, "", "") for name, metrics in study.settings.get("references", {}).items()]
    mixtures = study.settings.get("mixtures", {}).get("best", [])
    entries += [(f"mixture {i}", one["metrics"], one["hash"][:12], "") for i, one in enumerate(mixtures, 1)]
    for name, metrics, *words in entries:
        numbers = (f"{metrics[key]:,.0f}" if key in metrics else "" for key in ("flops", "params"))
        rows.add_row(name, figures(metrics), *numbers, *words)
    out.print(rows, "", front[0].text.rstrip(), sep="\n", markup=False)
    for i, one in enumerate(mixtures, 1):
        names = ", ".join(f"{stage}: {name}" for stage, name in one["names"].items())
        out.print(f"mixture {i}, by {one['by']}: {names}", markup=False)
    if study.settings.get("learned_from"):
        out.print(f"began with what it learned from: {', '.join(study.settings['learned_from'])}", markup=False)
    if "timed" in study.settings:
        out.print(f"latency: of {study.settings['timed']}", markup=False)
    if "networks" in study.settings:
        out.print(f"trained networks by hash: {study.settings['networks']}", soft_wrap=True, markup=False)
