"""The commands bench (latency of kernels), calibrate (predicted latency), export (files without Canvas), rediscover
(how soon samples hit kernels)."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from canvas.cli import options
from canvas.cli.options import Flops, Input, Json, Kinds, Limits, Model, Params
from canvas.cli.printing import console, put, rediscovery_fields, table
from canvas.cli.view import find_targets
from canvas.errors import UserError


def bench(
    kernels: Annotated[list[str], typer.Argument(metavar="NAME|FILE.canvas...", help="Of the zoo, or files.")],
    model: Model,
    input: Input = None,
    kind: Kinds = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(
            "--backend",
            help="eager, native, inductor, onnxruntime, openvino; all of these (the default); auto; native-tuned,"
            " native-bf16.",
        ),
    ] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Images in a forward pass.")] = 32,
    threads: Annotated[int, typer.Option("--threads", min=1)] = 1,
    seconds: Annotated[float, typer.Option("--seconds", min=0.01, help="Of timing for each pair of networks.")] = 1.0,
    flops: Flops = None,
    params: Params = None,
    as_json: Json = False,
) -> None:
    """Times a network with kernels in it on each backend, beside the original network.

    Columns: time; ratio to the original on the same backend, with its 95 % interval; ratio to the original on the
    backend that is quickest for it; share of the roofline, the least time that the machine needs; seconds of compiling
    the network, and their share of its whole measurement. With auto, kernel and original run on the backend that is
    quickest for each.

    Examples:
    canvas bench depthwise_separable --model resnet18
    canvas bench mine.canvas low_rank --model resnet8 --backend eager --backend openvino --batch 1 --json
    """
    from canvas import backends
    from canvas.bench import Row
    from canvas.bench import bench as measured
    from canvas.bench import fields as fields_of
    from canvas.models import load_model

    named = {name: options.named_kernel(name) for name in kernels}
    names = list(backends.BACKENDS) if not backend or "all" in backend else list(dict.fromkeys(backend))
    for name in names:
        if name != backends.AUTO:
            backends.find(name)
    found = find_targets(model, input, kind)
    example, built_in = options.model_example(model, input)
    example = batched(example, batch)
    network = load_model(model, **built_in)

    def told(row: Row) -> None:
        print(f"{row.kernel} on {row.backend}: {row.reason or 'timed'}", file=sys.stderr)

    budget = options.budget(flops=flops, params=params)
    rows = measured(named, network, example, found, names, budget, threads, seconds, told)
    if as_json:
        return put({"model": model, "batch": batch, "threads": threads, "rows": fields_of(rows)})
    shown = table(
        "kernel",
        "backend",
        "ms",
        "original, ms",
        "ratio",
        "interval",
        "to best",
        "of roofline",
        "compiled in",
        words=("backend",),
    )
    for entry in fields_of(rows):
        if "reason" in entry:
            shown.add_row(entry["kernel"], entry["backend"], *["-"] * 7)
            continue
        interval = f"{entry['ratio_low']:.3f} - {entry['ratio_high']:.3f}"
        figures = [f"{entry[name]:.2f}" for name in ("median_ms", "baseline_ms")]
        figures += [
            f"{entry['ratio']:.3f}",
            interval,
            f"{entry['ratio_to_best']:.3f}",
            f"{100 * entry['roofline_share']:.0f} %",
            f"{entry['compile_seconds']:.2f} s, {100 * entry['compile_seconds'] / entry['seconds']:.0f} %",
        ]
        which = " / ".join(dict.fromkeys(entry["backends"]))
        shown.add_row(entry["kernel"], which if entry["backend"] != backends.AUTO else f"auto: {which}", *figures)
    console().print(shown)


def calibrate(
    backend: Annotated[
        str | None,
        typer.Option(
            "--backend", help="eager, native, inductor, onnxruntime or openvino (default: native, else eager)."
        ),
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1)] = 1,
    kernels: Annotated[int, typer.Option("--kernels", min=10, help="How many sampled kernels to time.")] = 150,
    seed: options.Seed = 0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.json", help="Default: the user's cache folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Learns what operations cost on this machine, so that latency can be predicted without running; a minute or two.

    It times sampled kernels in single layers. Prints how well those left out of the fit are predicted: their rank
    correlation, and the factor by which 95 % of them are off at most.

    Examples:
    canvas calibrate
    canvas calibrate --backend onnxruntime --threads 2 --json
    """
    from canvas import backends, cost_model

    backend = backend or backends.usual()
    path = output or cost_model.default_path(backend, threads)
    model = cost_model.calibrate(
        backend, threads, kernels, seed=seed, progress=lambda line: print(line, file=sys.stderr)
    )
    model.save(path)
    if as_json:
        names = ("backend", "threads", "modules", "correlation", "spread")
        return put({name: getattr(model, name) for name in names} | {"file": str(path)})
    print(f"{path}: {model.modules} modules, rank correlation {model.correlation:.3f}, within {model.spread:.2f} times")


def rediscover(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME...", help="Of the zoo; by default all.")] = None,
    samples: Annotated[int, typer.Option("--samples", min=1, help="Kernels to draw for each seed, at most.")] = 20_000,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many streams of samples.")] = 5,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Processes (default: one per core).")] = None,
    limit: Limits = None,
    as_json: Json = False,
) -> None:
    """Draws unaided samples until hand-designed kernels come; says how many tries and seconds that took.

    The interval holds the expected tries to a hit with 95 %. Without a name, all of the zoo that are short enough.

    Examples:
    canvas rediscover depthwise_separable involution
    canvas rediscover mlp_mixer --samples 200000 --seeds 8 --json
    """
    from canvas.hand_designed import zoo
    from canvas.rediscovery import rediscover as looked_for

    given = options.limits(limit or [])
    known, most = zoo(), given.get("max_primitives", 10)
    unknown = [name for name in names or [] if name not in known]
    if unknown:
        raise UserError(f"rediscover: no kernel '{unknown[0]}'; there are {', '.join(known)}")
    short = [name for name, kernel in known.items() if len(kernel.canonical()) <= most]
    chosen = {name: known[name] for name in names or short}
    try:
        found = looked_for(chosen, samples, range(seeds), workers, lambda line: print(line, file=sys.stderr), **given)
    except ValueError as error:
        raise UserError(str(error)) from error
    if as_json:
        return put({"kernels": [rediscovery_fields(result) for result in found]})
    rows = table("kernel", "primitives", "seeds that hit", "tries per hit", "from", "to", "CPU s per hit")
    for result in found:
        tries, low, high = result.tries_per_hit
        numbers = (f"{tries:,.0f}", f"{low:,.0f}", f"{high:,.0f}", f"{sum(result.seconds) / max(1, result.hits):.3g}")
        shown = numbers if result.hits else ("-", f"{low:,.0f}", "-", "-")
        rows.add_row(result.name, str(result.primitives), f"{result.hits} of {len(result.tries)}", *shown)
    console().print(rows)


def export(
    network: Annotated[
        str,
        typer.Argument(
            metavar="FILE.db|URL|FILE.pt|NAME|PATH.py:FUNCTION",
            help="The best network of a study, a saved network, or a model.",
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.pt2|.onnx|.py", help="The file to write.")
    ] = None,
    native: Annotated[
        Path | None, typer.Option("--native", metavar="FOLDER", help="Write a C++ project instead: a new folder.")
    ] = None,
    kernel: Annotated[
        str | None, typer.Option("--kernel", metavar="NAME|FILE.canvas", help="Put this kernel in first (untrained).")
    ] = None,
    input: Input = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Images that it takes at once.")] = 1,
    precision: Annotated[
        str, typer.Option("--precision", help="Of --native: fp32, or bf16 where that is quicker.")
    ] = "fp32",
    processor: Annotated[
        str | None,
        typer.Option("--processor", help="Of --native, if not this: sse2, avx2, avx512, avx512-bf16 or neon."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Writes a network with kernels in it to a file that needs no Canvas, and checks that file in a fresh process.

    .pt2 is loaded by PyTorch (torch.export.load), .onnx by ONNX Runtime, .py is readable source of the kernels. With
    --native it is a C++ project (CMakeLists.txt, a header, the source, the weights, an example) for this processor or
    that of --processor. A FILE.pt is what torch.save wrote, such as the networks that a search keeps; only open files
    that you trust.

    Examples:
    canvas export study.db -o best.onnx
    canvas export demo/original.pt --input 1x28x28 -o original.onnx
    canvas export resnet18 --kernel depthwise_separable -o fast.py
    canvas export resnet18 --kernel depthwise_separable --native fast
    canvas export resnet18 --kernel depthwise_separable --native fast --processor neon
    """
    from canvas.example import outputs
    from canvas.export import export as written
    from canvas.export_native import export_native
    from canvas.layers import replace
    from canvas.models import load_model, saved_network

    if (output is None) == (native is None):
        raise UserError("export: name a file by -o, or a folder by --native")
    if native is None and (processor is not None or precision != "fp32"):
        raise UserError("export: --precision and --processor are of --native; give that, or leave them out")
    if network.endswith(".db") or "://" in network:
        network, loaded, shape = _best(network)
        example, _ = options.model_example(network, input or shape)
    else:
        example, built_in = options.model_example(network, input)
        loaded = saved_network(network) if network.endswith(".pt") else load_model(network, **built_in)
    outputs(copy.deepcopy(loaded), example)  # a wrong shape is told as such
    if kernel is not None:
        loaded = replace(loaded, options.named_kernel(kernel), example=example)
    given = batched(example, batch)
    path = (
        written(loaded, given, output)
        if output
        else export_native(loaded, given, str(native), precision=precision, processor=processor)
    )
    put({"file": str(path)}) if as_json else print(path)


def _best(place: str) -> tuple[str, Any, str | None]:
    """What a study was made for, its best network, and the shape of an input, which not every study knows."""
    from canvas.study import Study

    study = Study.open(place)
    if study.best is None:
        raise UserError(f"{study.path}: no candidate was completed yet; resume it")
    return study.settings.get("model", ""), study.best.model(), study.settings.get("input")


def batched(example: Any, batch: int) -> Any:
    """So many inputs like the one given, floats drawn at random."""
    example = example.expand(batch, *example.shape[1:]).contiguous()
    return example.normal_() if example.is_floating_point() else example
