"""What a study on a Ray cluster gives for its workers, as JSON: `python benchmarks/cluster.py OUT.json`.

A cluster of several nodes is made on this machine. The real search, store and executor run; an evaluation sleeps, so
that many workers need no cores, and what is measured is what the driver and the cluster add. For each number of
workers: candidates a second beside what so many sleepers can give, and the driver's CPU seconds beside those that the
workers slept. Counting begins when every worker has had a candidate, so that none still starts. With `--lose`, one node
is killed when half is done; the others have room for its workers. Then the rate is given for both halves as well.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}  # or what else runs starves the workers

from ray.cluster_utils import Cluster

import canvas
from canvas.study import Study

LAYERS = [canvas.Layer(64, 64, (16, 16), count=4), canvas.Layer(64, 128, (16, 16), stride=2)]
NODE = {"object_store_memory": 80 << 20}


class Sleeper:
    """An evaluation that takes so many seconds and no work."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self, binding: Any, seed: int, report: Any) -> dict[str, float]:
        time.sleep(self.seconds)
        digest = int(binding.kernel.hash[:8], 16)
        metrics = {"accuracy": digest % 1009 / 1009, "latency_ratio": 0.1 + digest % 97 / 97, "process": os.getpid()}
        return metrics | {"node": float(os.environ.get("RAY_RAYLET_PID", 0))}


class Enough(Exception):
    """All is measured."""


def measure(
    workers: int, seconds: float, rounds: int, executor: str, lose: Callable[[float], None] | None
) -> dict[str, Any]:
    """So many workers, each with so many candidates after its first."""
    seen: list[tuple[int, float, float]] = []
    disturbed: list[tuple[int, threading.Thread]] = []  # where in `seen`

    def look(status: Any) -> None:
        if lose and not disturbed and seen and seen[-1][0] >= seen[0][0] + workers * rounds / 2:
            node = next(trial.metrics["node"] for trial in reversed(status.trials) if trial.metrics)
            disturbed.append((len(seen), threading.Thread(target=lose, args=(node,))))
            disturbed[0][1].start()
        if seen or len({trial.metrics.get("process") for trial in status.trials} - {None}) == workers:
            seen.append((status.told, time.perf_counter(), time.process_time()))
        if seen and seen[-1][0] >= seen[0][0] + workers * rounds:
            raise Enough

    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Enough):
        path, budget = Path(folder) / "study.db", canvas.Budget(flops=0.5)
        study = Study(path, LAYERS, budget=budget, seed=1, lookahead=2 * workers)
        study.run(Sleeper(seconds), 10**6, workers=workers, progress=look, executor=executor)
    found = figures(seen, workers, seconds)
    for at, thread in disturbed:
        thread.join()
        for name, part in (("before", seen[:at]), ("after", seen[at - 1 :])):
            found[name] = figures(part, workers, seconds)["candidates_per_second"]
    return found


def figures(seen: list[tuple[int, float, float]], workers: int, seconds: float) -> dict[str, Any]:
    """Of what was told by when, on the clock and of the driver's CPU."""
    (told, start, cpu), (last, end, cpu_end) = seen[0], seen[-1]
    rate = (last - told) / (end - start)
    return {
        "workers": workers,
        "candidates_per_second": round(rate, 3),
        "of_what_sleepers_can": round(rate * seconds / workers, 4),
        "driver_ms_per_candidate": round(1e3 * (cpu_end - cpu) / (last - told), 2),
        "driver_share": round((cpu_end - cpu) / ((last - told) * seconds), 5),
        "driver_core": round((cpu_end - cpu) / (end - start), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=1.0, help="that a candidate takes")
    parser.add_argument("--rounds", type=int, default=8, help="candidates of each worker")
    parser.add_argument("--executor", choices=["ray", "local"], default="ray")
    parser.add_argument("--lose", action="store_true", help="kill a node in the middle")
    asked = parser.parse_args()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **NODE})
    count, cpus = asked.nodes + asked.lose * len(asked.workers), -(-max(asked.workers) // asked.nodes)
    nodes = [cluster.add_node(num_cpus=cpus, **NODE) for _ in range(count)]
    cluster.wait_for_nodes()
    os.environ["RAY_ADDRESS"] = cluster.address
    result: dict[str, Any] = {"machine": platform.machine(), "nodes": asked.nodes, "seconds": asked.seconds, "runs": []}

    def lose(raylet: float) -> None:
        (node,) = (node for node in nodes if node.all_processes["raylet"][0].process.pid == raylet)
        nodes.remove(node)
        cluster.remove_node(node, allow_graceful=False)

    for workers in asked.workers:
        lost = lose if asked.lose else None
        result["runs"].append(measure(workers, asked.seconds, asked.rounds, asked.executor, lost))
        asked.out.write_text(json.dumps(result, indent=1) + "\n")
    cluster.shutdown()


if __name__ == "__main__":
    main()
