"""What a candidate of the demo's search costs, stage by stage, in seconds of processor time. Writes JSON.

    python benchmarks/search/candidate.py OUT.json [--candidates 12] [--beside FOLDER] [--seed 0]

Kernels that the sampler gives under the demo's budget go through all stages: prediction, a rung, compiling, timing,
the whole training; none is ended early, one that fails is left out. Each of them is timed alone as well, in the place
of one convolution of the network: lowered, compiled, checked and timed, with an empty cache. `--beside` names another
copy of the repository, built; it judges the same kernels in turns with this one. Each copy has a process and a cache of
its own, which grows from candidate to candidate as in a search; every clock is that of the processor, compilers
included. "rest" is making the networks, counting, and collecting garbage; what is timed lasts as long as its windows.
Given are medians and means.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[2]
RUNG, IMAGES, LIMIT = 1_500, 6_000, 0.4  # the demo's
BUDGET = {"flops": 0.25, "params": 1.0, "memory": 3.0}


def processor_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def serve() -> None:
    """Judges kernels, a text a line."""
    import torch

    import canvas
    from canvas import latency, roofline, worker
    from canvas.errors import EvaluationError
    from canvas.kernel import module_from_source
    from canvas.layers import merged
    from canvas.models import resnet8

    time.perf_counter = processor_seconds
    roofline._waited = lambda: 0.0  # it is not in these seconds
    layers = merged(canvas.targets(resnet8(), torch.zeros(1, 1, 28, 28)))
    recipe = canvas.Recipe(images=IMAGES, batch=64, lr=0.12)
    evaluate = canvas.TrainAndTime("resnet8", "fashion-mnist", recipe, rungs=[RUNG], limit=LIMIT)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    alone, x = torch.nn.Conv2d(64, 64, 3, padding=1, bias=False), torch.zeros(32, 64, 7, 7).normal_()
    for line in sys.stdin:
        binding = canvas.parse(json.loads(line)).bind(layers, canvas.Budget(**BUDGET))
        start = processor_seconds()
        try:
            found = evaluate(binding, 0, report=lambda done, metrics: None)
        except EvaluationError as error:  # it diverged, say
            print(json.dumps({"failed": str(error)}), flush=True)
            continue
        getattr(worker, "tidy", gc.collect)()
        spent = processor_seconds() - start
        rung = next(name for name in found if name.endswith(f"_{RUNG}"))
        costs = {
            "predicting": found.get("seconds_latency_predicted", 0.0),
            "rung": found[f"seconds_{rung}"],
            "compiling": found["seconds_compiling"],
            "timing": found["seconds_latency_ratio"] - found["seconds_compiling"],
            "training": found["seconds_training"],
            "all": spent,
        }
        costs["rest"] = 2 * spent - sum(costs.values())
        usual = os.environ["XDG_CACHE_HOME"]
        with tempfile.TemporaryDirectory() as empty:
            os.environ["XDG_CACHE_HOME"] = empty
            module, start = module_from_source(binding[0].source()), processor_seconds()
            timing = latency.compare(module, alone, x, evaluate.backend, seconds=0.1, hopeless=1.5)
            single = {"compiling": timing.compile_seconds, "all": processor_seconds() - start}
            os.environ["XDG_CACHE_HOME"] = usual
        told = {name: found[name] for name in ("accuracy", rung, "latency_ratio")}
        print(json.dumps({"network": costs, "kernel": single, "found": told}), flush=True)


class Copy:
    """A copy of the repository with a process that judges."""

    def __init__(self, folder: Path, cache: str) -> None:
        settings = os.environ | {
            "PYTHONPATH": str(folder / "python"),
            "XDG_CACHE_HOME": cache,
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, __file__, "--serve"]
        self.process = subprocess.Popen(
            command, env=settings, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def judge(self, text: str) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        print(json.dumps(text), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians and means over the kernels, of each copy."""
    made: dict[str, Any] = {}
    for name in rows[0]:
        if name == "text":
            continue
        for what in ("network", "kernel"):
            values = {stage: [row[name][what][stage] for row in rows] for stage in rows[0][name][what]}
            made[f"{name}, {what}"] = {
                stage: {"median": round(statistics.median(of), 4), "mean": round(statistics.fmean(of), 4)}
                for stage, of in values.items()
            }
    return made


def main() -> None:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("out", type=Path, nargs="?")
    options.add_argument("--candidates", type=int, default=12)
    options.add_argument("--beside", type=Path)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.serve:
        serve()
        return
    import torch

    import canvas
    from canvas.layers import merged
    from canvas.models import resnet8

    layers = merged(canvas.targets(resnet8(), torch.zeros(1, 1, 28, 28)))
    budget = canvas.Budget(**BUDGET)
    kernels = [
        canvas.zoo()["depthwise_separable"],  # the first is not counted: it pays for what is made once
        *canvas.sample(layers, asked.candidates, asked.seed, budget, max_primitives=7),
    ]
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        folders = {"this": HERE} | ({"beside": asked.beside.resolve()} if asked.beside else {})
        copies = {name: Copy(folder, f"{place}/{name}") for name, folder in folders.items()}
        for number, kernel in enumerate(kernels):
            turns = list(copies.items())[:: 1 if number % 2 else -1]
            row = {"text": str(kernel)} | {name: copy.judge(str(kernel)) for name, copy in turns}
            if number == 0 or any("failed" in row[name] for name in copies):
                continue
            rows.append(row)
            asked.out.write_text(json.dumps({"summary": summary(rows), "rows": rows}, indent=1) + "\n", "utf-8")
            print(number, {name: row[name]["network"] for name in copies}, file=sys.stderr)
        for copy in copies.values():
            copy.process.stdin.close()
            copy.process.wait()
    print(json.dumps(summary(rows), indent=1))


if __name__ == "__main__":
    main()
