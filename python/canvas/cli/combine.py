"""The command `canvas combine`: a kernel for each stage of a study's network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from canvas.cli import options
from canvas.cli.options import Flops, Json, Latency, Memory, Params
from canvas.cli.printing import console, put, table
from canvas.cli.search import Cpus, Gpus, Kind, MemoryLimit, TimeLimit, Workers, evaluation, starting
from canvas.errors import StudyError, UserError
from canvas.progress import figures


def combine(
    study: options.StudyPlace,
    by: Annotated[
        str, typer.Option("--by", metavar="stage|shape|layer", help="Which layers take the same kernel.")
    ] = "stage",
    flops: Flops = None,
    params: Params = None,
    memory: Memory = None,
    latency: Latency = None,
    kernel: Annotated[
        list[str] | None,
        typer.Option(
            "--kernel", metavar="front|zoo|NAME|FILE.canvas", help="What to choose from (default: front; repeatable)."
        ),
    ] = None,
    original: Annotated[bool, typer.Option(help="A stage may keep its own layers.")] = True,
    trainings: Annotated[int, typer.Option("--trainings", min=0, help="How many mixtures to train.")] = 24,
    finalists: Annotated[int, typer.Option("--finalists", min=1, help="How many to train again, another seed.")] = 3,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.pt", help="Write the trained network there.")
    ] = None,
    workers: Workers = None,
    time_limit: TimeLimit = None,
    memory_limit: MemoryLimit = None,
    executor: Kind = None,
    cpus: Cpus = None,
    gpus: Gpus = None,
    as_json: Json = False,
) -> None:
    """Chooses a kernel for each stage of a study's network, within a budget; the study's is the default.

    Trains mixtures as the study trained its candidates, learns from each which to train next, and trains the best again
    with another seed; the best single kernel stands beside it. Called again, it goes on where it was stopped.

    Examples:
    canvas combine study.db --latency 0.4
    canvas combine study.db --latency 0.4 --by layer --trainings 48 -o best.pt
    canvas combine study.db --flops 0.3 --kernel front --kernel zoo --no-original --json
    """
    from canvas.combine import combine as combined
    from canvas.models import save_network, saved_network
    from canvas.study import Study

    opened = Study.open(study)
    if "run" not in opened.settings:
        raise StudyError(f"{opened.path}: was run from Python, which alone knows how to evaluate; use canvas.combine")
    budget = options.budget(flops=flops, params=params, memory=memory, latency=latency)
    evaluate = evaluation({**opened.settings, "rung": [], "keep": True}, opened.path, budget or opened.budget)[0]
    kernels = None if kernel is None else _choice(opened, kernel)
    asked = {"workers": workers, "time_limit": time_limit, "executor": executor, "cpus": cpus, "gpus": gpus}
    limits: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    limits |= {"memory_limit": 1e9 * memory_limit} if memory_limit else {}
    try:
        found = combined(
            opened, evaluate, budget, by, kernels, original, trainings, finalists, progress=_line, **limits
        )
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        raise
    if output is not None:
        assert found.network is not None
        save_network(saved_network(found.network), output)
    network = str(output or found.network)
    if as_json:
        uniform = found.uniform and {"kernel": found.uniform[0], "metrics": found.uniform[1]}
        return put({"stages": found.names, "metrics": found.metrics, "uniform": uniform, "network": network})
    rows = table("stage", "kernel", words=("kernel",))
    for stage, name in found.names.items():
        rows.add_row(stage, name)
    console().print(rows)
    print(f"the mixture: {figures(found.metrics)} (means of two trainings)")
    if found.uniform is not None:
        print(f"best single kernel, {found.uniform[0]}: {figures(found.uniform[1])}")
    print(network)


def _line(names: str, metrics: Any) -> None:
    print(f"{names}: {figures(metrics) if metrics else 'failed'}", file=sys.stderr)


def _choice(study: Any, names: list[str]) -> list[Any]:
    """The kernels that --kernel names."""
    front = [trial.kernel for trial in study.front()] if "front" in names else []
    chosen = [*front, *starting([name for name in names if name != "front"])]
    if not chosen:
        raise UserError("--kernel front: no candidate was completed yet; name others, or resume the study")
    return chosen
