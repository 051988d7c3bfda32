"""The commands that look at something: targets, sample, show, watch, check, report, zoo."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from canvas import _core
from canvas.cli import options
from canvas.cli.options import LIMIT_HELP, Flops, Input, Json, Kinds, Layers, Limits, Memory, Params, Seed
from canvas.cli.printing import (
    bound_table,
    console,
    costs,
    entry_fields,
    extents,
    fail,
    layer_fields,
    put,
    size_fields,
    study_fields,
    summary,
    table,
)
from canvas.errors import NoStudy, UserError
from canvas.progress import figures


def targets(
    model: Annotated[str, typer.Argument(metavar="NAME|PATH.py:FUNCTION")],
    input: Input = None,
    kind: Kinds = None,
    kernel: Annotated[
        str | None, typer.Option("--kernel", metavar="NAME|FILE.canvas", help="Show how this kernel is bound to them.")
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            "--budget",
            metavar="NAME=LIMIT",
            help="For --kernel: flops, params, memory or latency (as `canvas calibrate` predicts it, or such as 12ms), "
            "each.flops … for every layer by itself; " + LIMIT_HELP,
        ),
    ] = None,
    backend: Annotated[
        str | None, typer.Option("--backend", help="For latency=: calibrated for this (default: native, else eager).")
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="For latency=: of the backend.")] = 1,
    share: Annotated[
        str, typer.Option("--share", help="Who takes the same sizes: layer, shape (as in a search) or network.")
    ] = "shape",
    multiple_of: Annotated[int, typer.Option("--multiple-of", min=1, help="Free channels come in multiples.")] = 1,
    as_json: Json = False,
) -> None:
    """Lists the layers of a model that a kernel can replace; with --kernel, the sizes and costs that it has on each.

    Examples:
    canvas targets resnet18
    canvas targets nets.py:build --input 3x64x64 --json
    canvas targets nets.py:vit --input 3x32x32 --kind conv --kind linear
    canvas targets nets.py:gpt2 --input ids:16 --kind linear
    canvas targets resnet18 --kernel low_rank --budget flops=0.3 --budget params=2M
    canvas targets resnet18 --kernel low_rank --budget latency=0.7
    """
    if budget and kernel is None:
        raise UserError("--budget: say which kernel to bind: --kernel NAME|FILE.canvas, such as --kernel low_rank")
    found = find_targets(model, input, kind)
    fields: dict[str, Any] = {"targets": [{"name": target.name, **layer_fields(target.layer)} for target in found]}
    if kernel is not None:
        limits, chosen = options.named_budget(budget or []), options.named_kernel(kernel)
        served = [target for target in found if chosen.serves(target.layer)] or found
        try:
            layers = [target.layer for target in served]
            prices = None
            if limits.latency is not None:
                from canvas import backends, cost_model

                path = cost_model.default_path(backend or backends.usual(), threads)
                model_of_cost = cost_model.CostModel.load(path)
                prices = cost_model.prices(chosen, layers, model_of_cost, multiple_of=multiple_of)
            binding = chosen.bind(layers, limits, share=share, multiple_of=multiple_of, prices=prices)
        except _core.Infeasible:
            raise
        except ValueError as error:
            raise UserError(str(error)) from error
        names = [target.name for target in served]
        return put({**fields, "binding": costs(binding)}) if as_json else bound_table(names, binding, limits, prices)
    if as_json:
        return put(fields)
    rows = table("layer", "kind", "in", "out", "extent", "stride", "groups", "MFLOPs", "parameters", "count")
    for target in found:
        layer = target.layer
        numbers = (
            layer.kind,
            layer.c_in,
            layer.c_out,
            extents(layer),
            layer.stride,
            layer.groups,
            f"{layer.flops / 1e6:.2f}",
            f"{layer.params:,}",
            layer.count,
        )
        rows.add_row(target.name, *map(str, numbers))
    console().print(rows)


def sample(
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME|PATH.py:FUNCTION", help="Whose layers to serve.")
    ] = None,
    layer: Layers = None,
    count: Annotated[int, typer.Option("--count", min=1, help="How many kernels.")] = 5,
    seed: Seed = 0,
    input: Input = None,
    kind: Kinds = None,
    flops: Flops = None,
    params: Params = None,
    memory: Memory = None,
    limit: Limits = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE.html", help="Draw their costs, the zoo's beside them, instead."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Samples kernels that fit a model, or layers, all different.

    Examples:
    canvas sample --model resnet18 --count 5 --seed 0
    canvas sample --model resnet8 --flops 0.2:0.5 --params 0.5 --json
    canvas sample --model nets.py:gpt2 --input ids:16 --kind linear --limit mix_tokens=false
    canvas sample --layer 768,3072,T=197 --layer 3072,768,T=197 --params 0.5
    canvas sample --model resnet18 --count 10000 --plot landscape.html
    """
    from canvas.session import rules_of

    if (model is None) == (not layer):
        raise UserError("say what to sample for: either --model or --layer")
    if model is None:
        layers = [options.layer(text) for text in layer or []]
    else:
        from canvas.layers import merged

        layers = merged(find_targets(model, input, kind))
    budget = options.budget(flops=flops, params=params, memory=memory)
    given = options.limits(limit or [])
    rules = rules_of({"limits": given})
    try:
        kernels = _core.sample(layers, count, seed=seed, budget=budget, **given)
    except _core.Infeasible:
        raise
    except ValueError as error:
        raise UserError(str(error)) from error
    if plot is not None:
        from canvas.hand_designed import zoo as marked
        from canvas.landscape import write_landscape

        bindings = [kernel.bind(layers, budget, **rules) for kernel in kernels]
        path = write_landscape(bindings, layers, plot, marked())
        return put({"plot": str(path)}) if as_json else print(path)
    if as_json:
        return put(
            {
                "kernels": [
                    {"hash": kernel.hash, "text": str(kernel), **costs(kernel.bind(layers, budget, **rules))}
                    for kernel in kernels
                ]
            }
        )
    for kernel in kernels:
        binding = kernel.bind(layers, budget, **rules)
        print(f"# {kernel.hash[:12]}  {binding.flops / 1e6:.2f} MFLOPs, {binding.params:,} parameters\n{kernel}")


def show(
    file: Annotated[
        str, typer.Argument(metavar="FILE.db|URL|FILE.canvas", help="- is a kernel on the standard input.")
    ],
    layer: Annotated[
        str | None, typer.Option("--layer", metavar="LAYER", help=f"For a kernel: its costs on {options.LAYER}.")
    ] = None,
    draw: Annotated[
        Path | None, typer.Option("--draw", metavar="FILE.svg", help="For a kernel: write its picture.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Shows a study (also one that is running), or a kernel.

    Examples:
    canvas show study.db
    canvas show study.db --json
    canvas show low_rank.canvas --layer 64,128,32x32,2 --draw low_rank.svg
    canvas show mixer.canvas --layer 768,768,T=197
    """
    if file.endswith(".canvas") or file == "-":
        _show_kernel(file, layer, draw, as_json)
    elif layer or draw:
        raise UserError(f"{file}: --layer and --draw are for a kernel, a FILE.canvas")
    else:
        try:
            _show_study(file, as_json)
        except NoStudy as error:
            raise UserError(f"{error}; show takes a study or a FILE.canvas (`canvas zoo NAME` prints one)") from error


def _show_study(file: str, as_json: bool) -> None:
    from canvas.study import Study

    study = Study.open(file)
    if as_json:
        return put(study_fields(study))
    rows = table("#", "state", "origin", "metrics", "hash", "reason")
    for trial in study.trials:
        rows.add_row(str(trial.index), trial.state, trial.origin, figures(trial.metrics), trial.hash[:12], trial.reason)
    console().print(rows)
    summary(study)


def _show_kernel(file: str, layer: str | None, draw: Path | None, as_json: bool) -> None:
    kernel = options.kernel(file)
    bound = kernel.bind([options.layer(layer)]) if layer else None
    if draw:
        import canvas.kernel  # noqa: F401  (gives kernels their method draw)

        kernel.draw(draw)
    if as_json:
        return put({"name": kernel.name, "hash": kernel.hash, "text": str(kernel), **(costs(bound) if bound else {})})
    print(str(kernel).rstrip())
    if bound:
        sizes = ", ".join(f"{name} = {value}" for name, value in sorted(bound[0].sizes.items()))
        rows = table("", "kernel", "original", "ratio")
        for name in ("flops", "params", "memory"):
            value, original = getattr(bound, name), getattr(bound[0].layer, name)
            rows.add_row(name, f"{value:,}", f"{original:,}", f"{value / original:.3f}")
        console().print(f"\non {bound[0].layer!r}" + (f" with {sizes}" if sizes else ""), rows, sep="\n")


def check(
    files: Annotated[list[str], typer.Argument(metavar="FILE.canvas...", help="- is the standard input.")],
    layer: Layers = None,
    as_json: Json = False,
) -> int:
    """Checks kernel files, and that they serve layers: prints OK or what is wrong; as JSON also which sizes are forced,
    which are free, and what layers must meet.

    Examples:
    canvas check kernels/*.canvas
    canvas check mixer.canvas --layer 768,768,T=197
    canvas show study.db --json | jq -r .candidates[0].text | canvas check -
    """
    results = []
    layers = [options.layer(text) for text in layer or []]
    for file in files:
        try:
            kernel = options.kernel(file)
            if layers:
                _serve(file, kernel, layers)
            results.append({"file": file, "ok": True, "name": kernel.name, "hash": kernel.hash, **size_fields(kernel)})
            if not as_json:
                print(f"{file}: OK ({kernel.name}, {kernel.hash[:12]})")
        except (UserError, _core.KernelError) as error:
            results.append({"file": file, "ok": False, "error": str(error)})
            fail(str(error))
    if as_json:
        put({"files": results})
    return 0 if all(result["ok"] for result in results) else 2


def _serve(file: str, kernel: Any, layers: list[Any]) -> None:
    """A fault unless the kernel can be bound to the layers."""
    try:
        kernel.bind(layers)
    except _core.Infeasible as error:
        raise UserError(f"{file}: {error}") from error


def zoo(name: Annotated[str | None, typer.Argument()] = None, as_json: Json = False) -> None:
    """Lists the hand-designed kernels and their papers, or prints one kernel.

    Examples:
    canvas zoo
    canvas zoo --json | jq -r '.kernels[] | select(.year > 2021) | .name'
    canvas zoo depthwise_separable > mine.canvas
    """
    from canvas.hand_designed import entries

    found = {entry.name: entry for entry in entries()}
    if name is not None and name not in found:
        raise UserError(f"zoo: no kernel '{name}'; there are {', '.join(sorted(found))}")
    chosen = found if name is None else {name: found[name]}
    if as_json:
        return put({"kernels": [entry_fields(entry) for entry in chosen.values()]})
    if name is not None:
        return print(str(found[name].kernel).rstrip())
    rows = table("kernel", "year", "paper", "source", "primitives", words=("paper", "source"))
    for entry in found.values():
        rows.add_row(entry.name, str(entry.year), entry.title, entry.source, str(len(entry.kernel)))
    console().print(rows)


def report(
    study: options.StudyPlace,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.html")] = Path("report.html"),
    as_json: Json = False,
) -> None:
    """Writes a study as one HTML file that opens offline.

    Examples:
    canvas report study.db -o report.html
    canvas report postgresql://me@host/lab?study=first -o report.html
    """
    from canvas.report import write_report
    from canvas.study import Study

    path = write_report(Study.open(study), output)
    put({"report": str(path)}) if as_json else print(path)


def watch(
    study: options.StudyPlace,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="Between two looks.")] = 2.0,
    as_json: Json = False,
) -> None:
    """Shows how a study goes on that runs in another terminal, or on another machine; ends when it is at its goal, or
    by Ctrl-C. With --json, one line for each change.

    Examples:
    canvas watch study.db
    canvas watch 'postgresql://me@host/lab?study=first' --seconds 10
    canvas watch study.db --json | jq .told
    """
    from canvas.progress import console_progress
    from canvas.study import Study

    shown = None
    with console_progress(not as_json) as show:
        while True:
            status = Study.open(study).status()
            fields = {"told": status.told, "failed": status.failed, "running": len(status.running)}
            if as_json and fields != shown:
                front = [{"index": trial.index, "hash": trial.hash, "metrics": trial.metrics} for trial in status.front]
                print(json.dumps({**fields, "front": front}), flush=True)
            show(status)
            shown = fields
            if status.fraction >= 1 and not status.running:
                return
            time.sleep(seconds)


def find_targets(model: str, input: str | None, kinds: list[str] | None) -> list[Any]:
    """The targets of a model that is named on the command line."""
    from canvas.layers import targets
    from canvas.models import load_model

    example, built_in = options.model_example(model, input)
    return targets(load_model(model, **built_in), example, kinds=kinds or ("conv",))
