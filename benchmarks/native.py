"""Native code against the best of the other backends. Appends a row of JSON a line; what is there is not run again.

    python benchmarks/native.py layers OUT.jsonl [--sampled 200] [--kernel NAME ...] [--batch 1 32] [--tune]
    python benchmarks/native.py layers OUT.jsonl --against native-bf16 --kernel dense found ...
    python benchmarks/native.py networks OUT.jsonl [--batch 1 32]

"layers": each kernel is bound to a layer of each stage of ResNet-18 (a sampled one to the layer of one stage in turn),
its free sizes as large as the convolution's FLOPs allow. "networks": ResNet-18 with each of four kernels in place of
its 3x3 convolutions. The same module (as lowered, the same weights) is prepared for each backend, outputs are compared,
calls are timed in turns (up to ten short ones at a time); medians. One that is three times slower than the best is
timed once. With several threads each turn begins with a rest, in which others' threads go to sleep, and a call that is
not timed, which wakes its own.

`ratio` is the best other backend's time over native's, `peak` the share of what the machine's arithmetic would allow,
`predicted` what the generator's count of cycles says; the rank correlation at the end tells how well that ranks.
Kernels run in a process of their own, which is ended where one takes more than `--limit` s.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import canvas
from canvas import backends, native_network, roofline
from canvas.kernel import module_from_source
from canvas.models import resnet18
from canvas.objectives import rank_correlation

STAGES = {"stage 1": (64, 32), "stage 2": (128, 16), "stage 3": (256, 8), "stage 4": (512, 4)}
OTHERS = ["eager", "onnxruntime", "openvino"]
HOPELESS = 3.0  # times the best: timed once
TURN = 0.5  # ms that a backend is given at a time, at least, or ten calls
REST = 0.005  # seconds before a turn of several threads: those of OpenMP and ONNX Runtime spin for so long at most
# From a search: a bottleneck, then windows along one axis at a time with a relu between, and a grouped convolution.
FOUND = """kernel found(x[C, H, W]) -> [K, H/s, W/s]:
  a = fc(x, [C] -> [m = C/4])
  b = relu(unfold(a, H: 3))
  c = subsample(unfold(b, W: 3), H: s, W: s)
  d = split(c, [m] -> [g = 4, i = C/16])
  e = fc(d, [i, h, w] -> [k = K/4], per: [g])
  return merge(e, [g, k] -> [K])
"""
IN_NETWORKS = ("involution", "shift_pointwise", "found", "depthwise_separable")
Case = tuple[str, str, int]  # kernel, stage or "resnet18", batch


def timed(calls: dict[str, Any], x: torch.Tensor, seconds: float, clock: Callable[[], float]) -> dict[str, float]:
    """Medians in ms of calls in turns; of several calls each where these are short."""

    def once(name: str, calls_in_turn: int = 1) -> float:
        if torch.get_num_threads() > 1:
            time.sleep(REST)
            calls[name](x)
        start = clock()
        for _ in range(calls_in_turn):
            calls[name](x)
        return (clock() - start) * 1e3 / calls_in_turn

    times = {name: [min(once(name), once(name))] for name in calls}
    several = max(1, min(10, round(TURN / min(first for [first] in times.values()))))
    least = min(first for name, [first] in times.items() if name != "native")
    turns = [name for name, [first] in times.items() if name == "native" or first <= HOPELESS * least]
    end = time.perf_counter() + seconds
    while len(times["native"]) < 6 or (time.perf_counter() < end and len(times["native"]) < 200):
        for name in turns:
            times[name].append(once(name, several))
    return {name: statistics.median(taken[1:] or taken) for name, taken in times.items()}


def compared(module: nn.Module, x: torch.Tensor, flops: float, asked: argparse.Namespace) -> dict[str, Any]:
    """A module on all backends."""
    calls, refused, compile_seconds = {}, {}, 0.0
    for name in ("native", *asked.against):
        start = time.perf_counter()
        try:
            calls[name] = backends.find("native-tuned" if asked.tune and name == "native" else name).prepare(module, x)
        except Exception as error:  # a backend's converter may raise anything
            refused[name] = f"{type(error).__name__}: {error}"[:200]
        if name == "native":
            compile_seconds = time.perf_counter() - start
    start = time.perf_counter()
    with torch.no_grad():
        wanted = module(x)
        errors = {
            name: float((call(x) - wanted).norm() / wanted.norm().clamp(min=1e-30))
            for name, call in calls.items()
            if name.startswith("native")
        }
    checked = time.perf_counter() - start
    times = timed(calls, x, asked.seconds, time.process_time if asked.cpu else time.perf_counter)
    best = min((other for other in asked.against if other in times), key=lambda other: times[other])
    floor = flops * x.shape[0] / roofline.peak_flops(asked.threads, torch.device("cpu")) * 1e3
    written = native_network.write(module, x, threads=asked.threads)
    return {
        "ms": times,
        "best": best,
        "ratio": times[best] / times["native"],
        "peak": floor / times["native"],
        "floor": floor,
        "predicted": written.cycles[0] * x.shape[0] + written.cycles[1],
        "error": errors["native"],
        "errors": errors,
        "compile_seconds": compile_seconds,
        "check_seconds": checked,
        "refused": refused,
    }


def kernels_of(asked: argparse.Namespace) -> dict[str, canvas.Kernel]:
    """By name: of the zoo, sampled."""
    zoo = canvas.zoo()
    if asked.part == "networks":
        zoo = zoo | {"found": canvas.parse(FOUND)}
        return {name: zoo[name] for name in asked.kernel or IN_NETWORKS}
    zoo = zoo | {"found": canvas.parse(FOUND)} if asked.kernel else zoo
    kernels = {name: zoo[name] for name in (zoo if asked.kernel is None else asked.kernel)}
    layers = [canvas.Layer(channels, channels, (extent, extent)) for channels, extent in STAGES.values()]
    sampled = canvas.sample(layers, asked.sampled, seed=asked.seed, budget=canvas.Budget(flops=1.0))
    return kernels | {f"sampled {number}": kernel for number, kernel in enumerate(sampled)}


def cases(kernels: dict[str, canvas.Kernel], asked: argparse.Namespace) -> list[Case]:
    """What is to be run, in order."""
    if asked.part == "networks":
        return [(name, "resnet18", batch) for batch in asked.batch for name in kernels]
    result = []
    for number, name in enumerate(kernels):
        stages = [stage for stage in STAGES if stage in asked.stage]
        if name.startswith("sampled"):
            stages = [stages[number % len(stages)]]
        for stage in stages:
            channels, extent = STAGES[stage]
            try:
                kernels[name].bind([canvas.Layer(channels, channels, (extent, extent))], canvas.Budget(flops=1.0))
            except canvas.Infeasible:
                continue
            result += [(name, stage, batch) for batch in asked.batch]
    return result


def row(kernel: canvas.Kernel, case: Case, asked: argparse.Namespace) -> dict[str, Any]:
    """One case."""
    _, stage, batch = case
    torch.manual_seed(0)
    start = time.perf_counter()
    if stage == "resnet18":
        x = torch.randn(batch, 3, 32, 32)
        module = canvas.replace(resnet18(), kernel, example=x[:1], budget=canvas.Budget(flops=1.0)).eval()
        flops = roofline.flops(module, x[:1])
    else:
        channels, extent = STAGES[stage]
        [bound] = kernel.bind([canvas.Layer(channels, channels, (extent, extent))], canvas.Budget(flops=1.0))
        if bound.memory * batch > 2e9:
            return {"skipped": "more than 2 GB"}
        x = torch.randn(batch, channels, extent, extent).to(memory_format=torch.channels_last)
        module, flops = module_from_source(bound.source()).eval(), bound.flops
    lowered = time.perf_counter() - start
    return {"text": str(kernel), "lower_seconds": lowered} | compared(module, x, flops, asked)


def work(asked: argparse.Namespace, link: Connection) -> None:
    """The process that runs cases: takes one, gives its row."""
    torch.set_num_threads(asked.threads)
    kernels = kernels_of(asked)
    link.send(cases(kernels, asked))
    while True:
        case = link.recv()
        try:
            link.send(row(kernels[case[0]], case, asked))
        except Exception as error:  # a kernel that no backend takes must not end the others
            link.send({"skipped": f"{type(error).__name__}: {error}"[:300]})


class Worker:
    """Runs cases in a process that is made anew after it had to be ended."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked = asked
        self.start()

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.link, other = context.Pipe()
        self.process = context.Process(target=work, args=(self.asked, other), daemon=True)
        self.process.start()
        other.close()
        self.cases: list[Case] = self.link.recv()

    def run(self, case: Case) -> dict[str, Any]:
        self.link.send(case)
        try:
            if self.link.poll(self.asked.limit):
                return dict(self.link.recv())
            reason = f"more than {self.asked.limit} s"
        except EOFError:
            reason = "the process ended"
        self.process.kill()
        self.process.join()
        self.start()
        return {"skipped": reason}


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures over rows of one batch."""
    figures = ("compile_seconds", "lower_seconds", "check_seconds")
    return {
        "rows": len(rows),
        "geomean": statistics.geometric_mean(r["ratio"] for r in rows),
        "median_peak": statistics.median(r["peak"] for r in rows),
        "slower": sum(r["ratio"] < 1 for r in rows),
        **{f"median_{name}": statistics.median(r[name] for r in rows) for name in figures},
        "median_evaluation": statistics.median(sum(r[name] for name in figures) for r in rows),
        "spearman": rank_correlation(*(np.array([part(r) for r in rows]) for part in (_predicted, _native))),
        "spearman_floor": rank_correlation(*(np.array([part(r) for r in rows]) for part in (_floor, _native))),
        "largest_error": max(r["error"] for r in rows),
    }


def _predicted(made: dict[str, Any]) -> float:
    return float(made["predicted"])


def _floor(made: dict[str, Any]) -> float:
    return float(made["floor"])


def _native(made: dict[str, Any]) -> float:
    return float(made["ms"]["native"])


def told(asked: argparse.Namespace) -> None:
    """The summary of a file, and every row in which native loses."""
    rows = [json.loads(line) for line in asked.out.read_text(encoding="utf-8").splitlines()]
    skipped = {r["skipped"] for r in rows if "skipped" in r}
    rows = [r for r in rows if "skipped" not in r]
    for r in sorted(rows, key=lambda r: float(r["ratio"])):
        if r["ratio"] < 1:
            print(f"{r['ratio']:5.2f} of {r['best']:12} {r['stage']}, batch {r['batch']:2}  {r['kernel']}")
    result: dict[str, Any] = {"skipped": sorted(skipped)}
    for batch in sorted({r["batch"] for r in rows}):
        result[f"batch {batch}"] = summary([r for r in rows if r["batch"] == batch])
    sampled = [r for r in rows if r["kernel"].startswith("sampled")]
    for batch in sorted({r["batch"] for r in sampled}):
        result[f"sampled, batch {batch}"] = summary([r for r in sampled if r["batch"] == batch])
    json.dump(result, sys.stdout, indent=1)
    print()


def main() -> None:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("part", choices=["layers", "networks"])
    options.add_argument("out", type=Path, help="a row a line")
    options.add_argument("--kernel", nargs="*", help="hand-designed kernels; by default all")
    options.add_argument("--against", nargs="+", default=OTHERS, help="other backends")
    options.add_argument("--sampled", type=int, default=0)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--stage", nargs="+", default=list(STAGES), choices=list(STAGES))
    options.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--seconds", type=float, default=0.15, help="for each case, at least five rounds")
    options.add_argument("--limit", type=float, help="seconds for a case; by default 60 for a layer, 300 for a network")
    options.add_argument("--minutes", type=float, default=1e9, help="for all; what is left is run when called again")
    options.add_argument("--tune", action="store_true", help="time variants of native code first")
    options.add_argument("--cpu", action="store_true", help="processor time, on a busy machine; with one thread")
    asked = options.parse_args()
    asked.limit = asked.limit or (300 if asked.part == "networks" else 60)
    end = time.perf_counter() + 60 * asked.minutes
    keys = ("kernel", "stage", "batch")
    done = set()
    if asked.out.exists():
        lines = asked.out.read_text(encoding="utf-8").splitlines()
        done = {tuple(json.loads(line)[key] for key in keys) for line in lines}
    worker = Worker(asked)
    with asked.out.open("a", encoding="utf-8") as file:
        for case in worker.cases:
            if case in done or time.perf_counter() > end:
                continue
            made = dict(zip(keys, case, strict=True)) | worker.run(case)
            file.write(json.dumps(made) + "\n")
            file.flush()
            figures = made.get("skipped") or f"{made['ratio']:6.2f}x {made['ms']['native']:8.3f} ms, {made['best']:12}"
            print(f"{figures} {made['stage']} batch {made['batch']:3} {made['kernel']}", flush=True)
    worker.process.kill()
    told(asked)


if __name__ == "__main__":
    main()
