"""Writes a study as one HTML file that opens offline: Pareto plot, kernels of the front, funnel, table of all
candidates.

Called by `canvas report` and by users. The page's looks and scripts are in `report.html`; here it is filled in.
"""

from __future__ import annotations

import html
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from canvas.errors import UserError, writing
from canvas.funnel import Stage, stages
from canvas.objectives import MAXIMISED, metric
from canvas.study import Study
from canvas.trial import Trial

# Columns of the table: metric or attribute, heading.
COLUMNS = {
    "index": "#",
    "state": "state",
    "origin": "origin",
    "accuracy": "accuracy",
    "latency_ratio": "latency, of original",
    "latency_ms": "latency, ms",
    "flops": "FLOPs",
    "params": "parameters",
    "seconds": "seconds",
    "hash": "hash",
    "reason": "reason",
}
TEXT_COLUMNS = ("state", "origin", "hash", "reason")
NAMES = {
    "soft_accuracy": "probability of the right class",
    "latency_ratio": "latency, fraction of the original's",
    "latency_ms": "latency, ms",
    "flops": "FLOPs",
}
# The funnel in the order in which candidates are dropped: name in Study.counts, words, whether it is good to arrive
# there.
FUNNEL = (
    ("tried", "tried by the sampler", False),
    ("illegal", "illegal", False),
    ("duplicate", "duplicate", False),
    ("over_budget", "over the budget", False),
    ("implausible", "implausible", False),
    ("outranked", "outranked by another, as the model expects", False),
    ("kept", "kept", True),
    ("pruned", "pruned (too slow)", False),
    ("failed", "failed", False),
    ("trained", "trained", True),
)


def write_report(
    study: Study, path: str | os.PathLike[str], references: Mapping[str, Mapping[str, float]] | None = None
) -> Path:
    """Writes the report of a study, finished or not.

    Args:
        study: what to report.
        path: the HTML file to write.
        references: metrics of what to compare with, by name, such as {"original": {"accuracy": 0.87, "latency_ratio":
            1}}; by default those that `Study.compare` stored.

    Returns:
        The path.

    Raises:
        UserError: the file cannot be written.
        StudyError: the study cannot be read.

    Example:
        >>> write_report(Study.open("study.db"), "report.html")  # doctest: +SKIP
    """
    from plotly.offline import get_plotlyjs

    trials, front = study.trials, study.front()
    mixtures = study.settings.get("mixtures", {}).get("best", [])
    if references is None:
        references = study.settings.get("references", {})
    references = {**references, **{f"mixture {i}": one["metrics"] for i, one in enumerate(mixtures, 1)}}
    parts = {
        "title": html.escape(f"Canvas: {study.path.stem}"),
        "subtitle": html.escape(_subtitle(study, trials)),
        "tiles": _tiles(study, trials, front, references),
        "kernels": "\n".join(_kernel(trial) for trial in front) or '<p class="soft">None yet.</p>',
        "mixtures": "\n".join(_mixture(i, one) for i, one in enumerate(mixtures, 1)),
        "funnel": _funnel(study.counts),
        "stages": _stages(stages(study)),
        "settings": _settings(study.settings),
        "data": json.dumps(_data(study, trials, front, references), allow_nan=False).replace("<", "\\u003c"),
        "plotly": get_plotlyjs(),
    }
    page = Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    page = re.sub(r"\{\{(\w+)\}\}", lambda mark: parts[mark[1]], page)
    target = Path(path)
    with writing(target):
        target.write_text(page, encoding="utf-8")
    return target


def _data(
    study: Study, trials: Sequence[Trial], front: Sequence[Trial], references: Mapping[str, Any]
) -> dict[str, Any]:
    """What the page's script needs."""
    y, *others = study.objectives
    x = others[0] if others else "index"
    best = {trial.index for trial in front}
    rows = []
    for trial in trials:
        row = {"index": trial.index, "x": _value(trial, x), "y": _value(trial, y), "front": trial.index in best}
        row |= {name: _finite(value) for name, value in trial.metrics.items()}
        row |= {name: getattr(trial, name) for name in ("state", "origin", "hash", "reason", "text")}
        rows.append(row)
    marks = [{"name": name, "x": _reference(m, x), "y": _reference(m, y)} for name, m in references.items()]
    keys = [key for key in COLUMNS if any(row.get(key) not in (None, "") for row in rows)]
    keys += [name for name in study.objectives if name not in keys and any(name in row for row in rows)]
    complete = [trial for trial in trials if trial.state == "complete"]
    return {
        "x": _axis(x, complete),
        "y": _axis(y, complete),
        "up": y in MAXIMISED,
        "rows": rows,
        "references": [mark for mark in marks if mark["x"] is not None and mark["y"] is not None],
        "columns": [{"key": key, "name": COLUMNS.get(key, key), "text": key in TEXT_COLUMNS} for key in keys],
    }


def _value(trial: Trial, objective: str) -> float | None:
    """Where a candidate stands on an axis; None if it was not completed."""
    if objective == "index":
        return trial.index
    return _reference(trial.metrics, objective) if trial.state == "complete" else None


def _reference(metrics: Mapping[str, float], objective: str) -> float | None:
    name = metric(metrics, objective)
    return None if name is None else _finite(metrics[name])


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _axis(objective: str, complete: Sequence[Trial]) -> str:
    name = (metric(complete[0].metrics, objective) if complete else None) or objective
    return NAMES.get(name, name)


def _subtitle(study: Study, trials: Sequence[Trial]) -> str:
    settings = study.settings
    parts = [f"{settings[name]}" for name in ("model", "data") if settings.get(name)]
    parts += [f"{len(trials)} candidates", f"{settings['strategy']}", f"seed {settings['seed']}"]
    return " · ".join(parts)


def _tiles(study: Study, trials: Sequence[Trial], front: Sequence[Trial], references: Mapping[str, Any]) -> str:
    tiles = [(str(len(trials)), "candidates"), (str(sum(trial.state == "complete" for trial in trials)), "trained")]
    tiles.append((str(len(front)), "on the front"))
    if front and "accuracy" in front[0].metrics:
        tiles.append((f"{front[0].metrics['accuracy']:.1%}", "best accuracy"))
    ratios = [trial.metrics["latency_ratio"] for trial in front if trial.metrics.get("latency_ratio")]
    if ratios:
        tiles.append((f"{1 / min(ratios):.1f}\u00d7", "fastest of the front, against the original"))
    if "accuracy" in references.get("original", {}):
        tiles.append((f"{references['original']['accuracy']:.1%}", "accuracy of the original"))
    return "".join(
        f'<div class="tile"><b>{number}</b><span class="soft">{words}</span></div>' for number, words in tiles
    )


def _kernel(trial: Trial) -> str:
    """One kernel of the front: text, picture, cost of each layer."""
    figures = ", ".join(
        f"{COLUMNS.get(name, name)} {value:.4g}" for name, value in trial.metrics.items() if name in COLUMNS
    )
    head = f'Candidate {trial.index} <span class="hash soft">{html.escape(trial.hash[:16])}</span>'
    text = f'<p class="soft">{html.escape(figures)}</p><pre>{html.escape(trial.text)}</pre>'
    details = f"<details><summary>cost of each layer</summary>{_costs(trial.binding)}</details>"
    return f'<div class="card kernel"><div><h3>{head}</h3>{text}{details}</div>{_picture(trial)}</div>'


def _mixture(number: int, found: Mapping[str, Any]) -> str:
    """One answer of `canvas combine`: the kernel of each stage, and how it compares with the best single kernel."""
    budget = ", ".join(f"{name} {limit}" for name, limit in found["budget"].items() if limit)
    lines = {"mixture": found["metrics"]}
    if found["uniform"]:
        lines[found["uniform"][0] + " alone"] = found["uniform"][1]
    told = "; ".join(
        f"{name}: " + ", ".join(f"{COLUMNS[key]} {metrics[key]:.4g}" for key in COLUMNS if key in metrics)
        for name, metrics in lines.items()
    )
    rows = "".join(
        f'<tr><td class="text">{html.escape(stage)}</td><td class="text"><code>{html.escape(name)}</code></td></tr>'
        for stage, name in found["names"].items()
    )
    head = f'Mixture {number}, by {html.escape(found["by"])} <span class="soft">within {html.escape(budget)}</span>'
    table = f'<table><thead><tr><th class="text">stage</th><th class="text">kernel</th></tr></thead>{rows}</table>'
    return f'<div class="card"><h3>{head}</h3><p class="soft">{html.escape(told)}</p>{table}</div>'


def _picture(trial: Trial) -> str:
    import canvas.kernel  # noqa: F401  (gives kernels their method draw)

    try:
        svg = trial.kernel.draw()
    except UserError as error:
        return f'<p class="soft">No picture: {html.escape(str(error))}</p>'
    return f'<div class="picture">{svg[svg.index("<svg") :]}</div>'


def _costs(binding: Any) -> str:
    """FLOPs, parameters and memory of each layer, beside the original's."""
    head = "".join(f"<th>{name}</th>" for name in ("FLOPs", "of original", "parameters", "of original", "memory, kB"))
    rows = []
    for i in range(len(binding)):
        bound, layer = binding[i], binding[i].layer
        sizes = ", ".join(f"{name} = {value}" for name, value in sorted(bound.sizes.items()))
        places = "\u00d7".join(map(str, layer.spatial)) or (f"{layer.tokens} tokens" if layer.tokens else "")
        name = f"{layer.c_in} → {layer.c_out}" + (f", {places}" if places else "")
        name += f", stride {layer.stride}" if layer.stride > 1 else ""
        name += f", {layer.count} times" if layer.count > 1 else ""
        cells = f"<td>{bound.flops:,.0f}</td><td>{bound.flops / layer.flops:.2f}</td><td>{bound.params:,.0f}</td>"
        cells += f"<td>{bound.params / layer.params:.2f}</td><td>{bound.memory / 1000:,.0f}</td>"
        rows.append(f'<tr><td class="text">{name}</td>{cells}<td class="text">{html.escape(sizes)}</td></tr>')
    total = (
        f'<tr><th class="text">network</th><th>{binding.flops:,.0f}</th><th></th><th>{binding.params:,.0f}</th></tr>'
    )
    return (
        f'<table><thead><tr><th class="text">layer</th>{head}<th class="text">free sizes</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody><tfoot>{total}</tfoot></table>"
    )


def _funnel(counts: Mapping[str, int]) -> str:
    most = max([1, *counts.values()])
    bars = []
    for key, words, good in FUNNEL:
        if key in counts:
            width = 80 * counts[key] / most
            kind = ' class="kept"' if good else ""
            bars.append(f"<span>{words}</span><div><i{kind} style='width: {width:.2f}%'></i>{counts[key]:,}</div>")
    return "".join(bars)


def _stages(found: Sequence[Stage]) -> str:
    heads = "".join(f"<th>{name}</th>" for name in ("came", "passed", "seconds each", "rank correlation"))
    rows = ""
    for stage in found:
        seconds = "" if stage.seconds is None else f"{stage.seconds:.2f}"
        ranked = "" if stage.correlation is None else f"{stage.correlation:+.2f}"
        cells = "".join(f"<td>{cell}</td>" for cell in (f"{stage.entered:,}", f"{stage.left:,}", seconds, ranked))
        rows += f'<tr><td class="text">{html.escape(stage.name)}</td>{cells}</tr>'
    return f'<table><thead><tr><th class="text">stage</th>{heads}</tr></thead><tbody>{rows}</tbody></table>'


def _settings(settings: Mapping[str, Any]) -> str:
    left_out = ("references", "mixtures", "layers", "targets", "prior")
    rows = ""
    for name, value in settings.items():
        if name not in left_out and value not in (None, {}, []):
            code = f"<code>{html.escape(json.dumps(value))}</code>"
            rows += f'<tr><td class="text">{html.escape(name)}</td><td class="text reason">{code}</td></tr>'
    return f"<table><tbody>{rows}</tbody></table>"
