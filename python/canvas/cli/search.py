"""The commands `canvas search` and `canvas resume`: from options to a running study."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from canvas.cli import options
from canvas.cli.options import Flops, Json, Kinds, Latency, Limits, Memory, Model, Params, Seed
from canvas.cli.printing import put, study_fields, summary
from canvas.errors import NoStudy, StudyError, UserError
from canvas.store import place_of

Candidates = Annotated[int | None, typer.Option("--candidates", min=1, help="Stop when the study has so many in all.")]
Minutes = Annotated[
    float | None, typer.Option("--minutes", min=0, callback=options.a_number, help="Stop asking after so many minutes.")
]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Worker processes (default: one per core).")]
TimeLimit = Annotated[
    float | None, typer.Option("--time-limit", min=0.1, help="Seconds that a candidate may take (default: 600).")
]
MemoryLimit = Annotated[
    float | None, typer.Option("--memory-limit", min=0.1, help="Gigabytes that a worker may hold (default: its share).")
]
Kind = Annotated[
    str | None, typer.Option("--executor", metavar="local|ray", help="Where candidates are evaluated (default: local).")
]
Cpus = Annotated[float | None, typer.Option("--cpus", min=0.01, help="On Ray: of a node, for each worker.")]
Gpus = Annotated[float | None, typer.Option("--gpus", min=0, help="On Ray: of a node, for each worker.")]
Compare = Annotated[
    list[str] | None,
    typer.Option("--compare", metavar="NAME", help="Evaluate this too, when all is done: original, or one of the zoo."),
]


def search(
    model: Model,
    data: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="NAME|PATH|PATH.py:FUNCTION",
            help="fashion-mnist, cifar10, cifar100, a folder, or what gives two DataLoaders.",
        ),
    ],
    study: Annotated[
        str, typer.Option("--study", metavar="FILE.db|URL", help=f"The study to make: a file, or {options.URL}.")
    ],
    kind: Kinds = None,
    candidates: Candidates = None,
    minutes: Minutes = None,
    seed: Seed = 0,
    workers: Workers = None,
    strategy: Annotated[
        str, typer.Option("--strategy", metavar="guided|evolution|random", help="How candidates are chosen.")
    ] = "guided",
    start: Annotated[
        list[str] | None,
        typer.Option("--start", metavar="zoo|NAME|FILE.canvas", help="Begin with these kernels (repeatable)."),
    ] = None,
    prior: Annotated[
        list[str] | None,
        typer.Option(
            "--prior",
            metavar="canvas|none|STUDY",
            help="What it has learned before: canvas is what comes with Canvas (default); repeatable.",
        ),
    ] = None,
    lookahead: Annotated[
        int, typer.Option("--lookahead", min=1, help="How many candidates may be under way at once.")
    ] = 8,
    flops: Flops = None,
    params: Params = None,
    memory: Memory = None,
    latency: Latency = None,
    objective: Annotated[list[str] | None, typer.Option("--objective", help="(default: accuracy, latency)")] = None,
    recipe: Annotated[
        list[str] | None, typer.Option("--recipe", metavar="NAME=VALUE", help="Of the training, such as images=20000.")
    ] = None,
    rung: Annotated[
        list[int] | None,
        typer.Option("--rung", min=1, metavar="IMAGES", help="Train on so many first; the best third goes on."),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(
            "--margin", min=0, metavar="ACCURACY", help="Whoever is so far below the best on a rung ends there."
        ),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option("--backend", help="What the latency is measured with, or auto (default: native, else eager)."),
    ] = None,
    predict: Annotated[
        bool | None,
        typer.Option(
            help="Drop what `canvas calibrate` predicts to be too slow, unmeasured (default: native code's own count)."
        ),
    ] = None,
    keep: Annotated[bool, typer.Option(help="Keep the front's trained networks, for `canvas export`.")] = True,
    networks: Annotated[
        Path | None,
        typer.Option("--networks", metavar="FOLDER", help="Where (default: FILE.networks; for a URL NAME.networks)."),
    ] = None,
    limit: Limits = None,
    time_limit: TimeLimit = None,
    memory_limit: MemoryLimit = None,
    executor: Kind = None,
    cpus: Cpus = None,
    gpus: Gpus = None,
    compare: Compare = None,
    as_json: Json = False,
) -> None:
    """Searches for kernels that keep a model accurate and make it faster. Ctrl-C stops it; `canvas resume` goes on.

    Examples:
    canvas search --model resnet8 --data fashion-mnist --study study.db --minutes 5
    canvas search --model nets.py:build --data images/ --study study.db --candidates 200 --flops 0.5 --latency 0.7
    canvas search --model resnet20 --data cifar10 --study study.db --minutes 60 --recipe images=50000 --rung 5000
    canvas search --model resnet8 --data fashion-mnist --study s.db --candidates 40 --compare original
    canvas search --model resnet8 --data fashion-mnist --study s.db --minutes 30 --start zoo --strategy guided
    canvas search --model nets.py:build --data images/ --study s.db --minutes 30 --prior canvas --prior earlier.db
    canvas search --model nets.py:vit --data cifar10 --study s.db --minutes 60 --kind linear
    canvas search --model resnet20 --data cifar10 --study s.db --minutes 60 --executor ray --gpus 0.5 --lookahead 32
    """
    from canvas.backends import usual
    from canvas.executor import check_executor
    from canvas.objectives import metric
    from canvas.prior import CANVAS
    from canvas.study import Study
    from canvas.train_and_time import rung as rung_metric

    if candidates is None and minutes is None:
        raise UserError("say how long to search: --candidates N or --minutes M")
    check_executor(executor or "local", cpus, gpus)
    place = place_of(study)
    with contextlib.suppress(NoStudy):
        Study.open(place)
        raise StudyError(f"{place}: holds a study already; go on with `canvas resume {place}`, or name another one")
    if networks is None and not isinstance(place, Path):
        networks = Path(f"{place.stem}.networks")
    note: dict[str, Any] = {
        "model": _absolute(model),
        "data": _absolute(data),
        "kinds": kind or ["conv"],
        "recipe": options.pairs("--recipe", recipe or []),
        "rung": sorted(rung or []),
        "backend": backend or usual(),
        "predict": predict,
        "keep": keep,
        "folder": networks and str(networks.resolve()),
        "run": {
            "candidates": candidates,
            "minutes": minutes,
            "workers": workers,
            "time_limit": time_limit,
            "memory_limit": memory_limit,
            "executor": executor,
            "cpus": cpus,
            "gpus": gpus,
            "compare": compare,
        },
    }
    _named(compare or [])  # its faults come before the search
    objectives = objective or ["accuracy", "latency"]
    budget = options.budget(flops=flops, params=params, memory=memory, latency=latency)
    evaluate, targets, known = evaluation(note, place, budget)
    note |= known
    unknown = [name for name in objectives if metric(dict.fromkeys(evaluate.METRICS, 0.0), name) is None]
    if unknown:
        raise UserError(f"--objective {unknown[0]}: is not measured; there are latency, {', '.join(evaluate.METRICS)}")
    made = Study(
        place,
        targets,
        budget=budget,
        objectives=objectives,
        seed=seed,
        strategy=strategy,
        lookahead=lookahead,
        start=starting(start or []),
        prior=[source for source in prior or [CANVAS] if source != "none"],
        rungs=[rung_metric(images) for images in note["rung"]],
        margin=margin,
        note=note,
        **options.limits(limit or []),
    )
    _run(made, evaluate, as_json)


def resume(
    study: options.StudyPlace,
    candidates: Candidates = None,
    minutes: Minutes = None,
    workers: Workers = None,
    time_limit: TimeLimit = None,
    memory_limit: MemoryLimit = None,
    executor: Kind = None,
    cpus: Cpus = None,
    gpus: Gpus = None,
    compare: Compare = None,
    as_json: Json = False,
) -> None:
    """Goes on with a study that was stopped or killed, to its goal or to another one.

    Without options: to the goal, and with the limits, that it had. Candidates that were under way are evaluated again.

    Examples:
    canvas resume study.db
    canvas resume study.db --candidates 400
    canvas resume study.db --minutes 30 --workers 4 --time-limit 120
    canvas resume 'postgresql://me@host/lab?study=first' --executor ray
    """
    from canvas.executor import check_executor
    from canvas.study import Study

    opened = Study.open(study)
    if "run" not in opened.settings:
        raise StudyError(f"{opened.path}: was run from Python, which alone knows how to evaluate; go on with it there")
    given = {
        "workers": workers,
        "time_limit": time_limit,
        "memory_limit": memory_limit,
        "executor": executor,
        "cpus": cpus,
        "gpus": gpus,
        "compare": compare,
    }
    run = {**opened.settings["run"], **{name: value for name, value in given.items() if value is not None}}
    if executor == "local":
        run |= {"cpus": cpus, "gpus": gpus}
    if candidates is not None or minutes is not None:
        spent = opened.minutes_spent
        run |= {"candidates": candidates, "minutes": None if minutes is None else spent + minutes}
    _named(run["compare"] or [])
    check_executor(run.get("executor") or "local", run.get("cpus"), run.get("gpus"))
    opened.note("run", run)
    _run(opened, evaluation(opened.settings, opened.path, opened.budget)[0], as_json)


def _absolute(spec: str) -> str:
    """A path that still holds when the study is resumed in another folder; a name stays a name."""
    path, colon, function = spec.rpartition(":") if ".py:" in spec else (spec, "", "")
    return str(Path(path).resolve()) + colon + function if Path(path).exists() else spec


def evaluation(settings: dict[str, Any], study: Any, budget: Any) -> tuple[Any, list[Any], dict[str, Any]]:
    """How candidates are evaluated, the layers to replace, and what a study notes: the recipe, an input's shape."""
    import torch

    from canvas import backends
    from canvas.data import load_data
    from canvas.layers import targets
    from canvas.models import load_model
    from canvas.train import Recipe
    from canvas.train_and_time import TrainAndTime

    try:
        recipe = Recipe(**settings["recipe"])
    except TypeError as error:
        raise UserError(f"--recipe: {error}; there are {', '.join(asdict(Recipe()))}") from error
    if settings["backend"] != backends.AUTO:
        backends.find(settings["backend"])  # known, or a fault now
    data = load_data(settings["data"])
    model = load_model(settings["model"], num_classes=len(data.classes), in_channels=data.shape[0])
    found = targets(model, torch.zeros(1, *data.shape), kinds=settings.get("kinds", ("conv",)))
    names = (settings["model"], settings["data"])
    keep = None
    if settings.get("keep", False):
        keep = settings.get("folder") or str(study.with_suffix(".networks").resolve())
    evaluate = TrainAndTime(
        *names,
        recipe,
        settings["backend"],
        keep=keep,
        rungs=settings["rung"],
        targets=found,
        predict=settings.get("predict", False),
        limit=None if budget is None or not isinstance(budget.latency, tuple) else budget.latency[1],
    )
    return evaluate, found, {"recipe": asdict(recipe), "input": "x".join(map(str, data.shape))}


def _run(study: Any, evaluate: Any, as_json: bool) -> None:
    """Runs a study to its goal, then compares, then prints how it stands."""
    run = study.settings["run"]
    names = ("workers", "time_limit", "executor", "cpus", "gpus")
    limits = {name: run[name] for name in names if run.get(name) is not None}
    limits |= {"memory_limit": 1e9 * run["memory_limit"]} if run["memory_limit"] else {}
    minutes = None if run["minutes"] is None else max(0.0, run["minutes"] - study.minutes_spent)
    try:
        study.run(evaluate, run["candidates"], minutes, **limits)
        missing = [name for name in run["compare"] or [] if name not in study.settings.get("references", {})]
        if missing:
            print(f"for comparison: {', '.join(missing)}", file=sys.stderr)
            study.compare(evaluate, _named(missing), **limits)
    except KeyboardInterrupt:
        print(f"stopped; go on with: canvas resume {study.path}", file=sys.stderr)
        raise
    put(study_fields(study)) if as_json else summary(study)
    hold_found(study)


def hold_found(study: Any) -> None:
    """A search of which nothing came says why: all failed, or which latency budget was missed, and by how much."""
    trials = study.trials
    if not trials or any(trial.state == "complete" for trial in trials):
        return
    pruned = [trial.metrics for trial in trials if trial.state == "pruned"]
    known = (metrics.get("latency_ratio", metrics.get("latency_predicted_low")) for metrics in pruned)
    ratios = [ratio for ratio in known if ratio is not None]
    if ratios and study.budget is not None and isinstance(study.budget.latency, tuple):
        limit = study.budget.latency[1]
        raise UserError(
            f"no candidate met the budget --latency {limit:g}: the nearest needs {min(ratios):.3f} of the original's;"
            f" raise the budget by a factor of {min(ratios) / limit:.3g}, or search longer"
        )
    (reason, count), *_ = Counter(trial.reason for trial in trials).most_common(1)
    raise UserError(f"all {len(trials)} candidates failed, {count} of them so: {reason}")


def starting(names: list[str]) -> list[Any]:
    """What --start names: the whole zoo, one of it, or a file."""
    from canvas import zoo

    found = [list(zoo().values()) if name == "zoo" else [options.named_kernel(name)] for name in names]
    return [kernel for kernels in found for kernel in kernels]


def _named(names: list[str]) -> dict[str, Any]:
    """What --compare names: None for the original, else a kernel of the zoo."""
    from canvas import zoo

    kernels = {"original": None, **zoo()}
    for name in names:
        if name not in kernels:
            raise UserError(f"--compare {name}: no such kernel; there are {', '.join(kernels)}")
    return {name: kernels[name] for name in names}
