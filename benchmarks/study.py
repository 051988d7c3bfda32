"""How long a study of many candidates takes to ask, tell and resume, as JSON: `python benchmarks/study.py OUT.json`.

The study's own session runs against a stand-in for the workers that answers at once, so that only the driver's part is
measured: the search, what keeps candidates from going on behind a rung, the file (each ask and each tell is a
transaction that is on the disk when it returns) and what progress shows; to resume, all from opening the file to the
first ask, for each stored candidate; to view, what `canvas watch` does at each look. Not measured: what is sent to
worker processes, and trained networks, which are files. Up to each size the file is filled without waiting for the
disk; then candidates are timed. With `--sampled` it is filled with what the sampler draws, which is soon done, while
asking for so many takes a quarter of an hour; then to resume leaves out that one candidate of 64 is asked for anew.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import canvas
from canvas.executor import Outcome
from canvas.session import Session
from canvas.store import ASK, TELL, Store
from canvas.study import Study

RUNG = "accuracy_early"
BUDGET = canvas.Budget(flops=0.5)
LAYERS = [canvas.Layer(64, 64, (16, 16), count=4), canvas.Layer(64, 128, (16, 16), stride=2)]


def result(key: int, text: str) -> Outcome:
    """What comes of a kernel: some fail."""
    digest = hashlib.sha256(text.split("(", 1)[1].encode()).digest()
    metrics = {"accuracy": int.from_bytes(digest[:4], "big") / 2**32, "latency_ratio": 0.1 + digest[4] / 256}
    metrics[RUNG] = 0.7 * metrics["accuracy"] + digest[6] / 1024
    return Outcome(key, "failed" if digest[5] < 16 else "complete", "", metrics)


class Instant:
    """Evaluates when it is waited for: metrics made from the kernel's text alone."""

    def __init__(self) -> None:
        self.running: dict[int, float] = {}
        self.tasks: list[tuple[int, str]] = []

    @property
    def free(self) -> int:
        return 2 - len(self.tasks)

    def submit(self, key: int, arguments: tuple[Any, ...]) -> None:
        self.tasks.append((key, arguments[0]))
        self.running[key] = 0.0

    def wait(self, seconds: float) -> list[Outcome]:
        outcomes = [result(key, text) for key, text in self.tasks]
        self.tasks, self.running = [], {}
        return outcomes


class Timed:
    """Milliseconds that an object's method takes, on the clock and of CPU."""

    def __init__(self, thing: Any, method: str) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self.call = getattr(thing, method)
        setattr(thing, method, self)

    def __call__(self, *arguments: Any) -> Any:
        start, cpu = time.perf_counter(), time.process_time()
        result = self.call(*arguments)
        if result is not None or arguments:  # an ask that gave none is none
            self.wall.append(1e3 * (time.perf_counter() - start))
            self.cpu.append(1e3 * (time.process_time() - cpu))
        return result


def spread(*parts: Timed) -> dict[str, float]:
    """Of the sums of a candidate's parts."""
    found = {}
    for clock in ("wall", "cpu"):
        ordered = sorted(sum(times) for times in zip(*(getattr(part, clock) for part in parts), strict=True))
        found |= {f"{clock}_median": ordered[len(ordered) // 2], f"{clock}_p99": ordered[int(0.99 * len(ordered))]}
        found[f"{clock}_most"] = ordered[-1]
    return {name: round(value, 3) for name, value in found.items()}


HASTE = "PRAGMA synchronous = OFF", "SELECT set_config('synchronous_commit', 'off', false)"
SIZE = (
    "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
    ("SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relnamespace = current_schema::regnamespace"),
)


def fill(store: Store, size: int) -> None:
    """Brings a study to so many candidates that the search did not ask for."""
    records = store.records()
    held, asked, told = {record.hash for record in records}, [], []
    for kernel in canvas.sample(LAYERS, size + len(records), seed=7, budget=BUDGET):
        if kernel.hash not in held and len(held) < size:
            outcome = result(len(held), str(kernel))
            row = {"number": len(held), "hash": kernel.hash, "text": str(kernel), "origin": "random"}
            asked.append(row | {"asked": time.time()})
            metrics = json.dumps(outcome.metrics)
            told.append({"number": len(held), "state": outcome.state, "reason": "", "metrics": metrics, "told": 0.0})
            held.add(kernel.hash)
    store.database.write((ASK, asked), (TELL, told))


def measure(path: Path | str, size: int, timed: int, sampled: bool) -> dict[str, Any]:
    """A study is brought to `size` candidates, resumed, and asked and told `timed` more."""
    served = not isinstance(path, Path)
    with Store(path, "drive") as store:  # filled quickly; in earnest only what is timed
        if sampled:
            fill(store, size)
        else:
            store.database.connection.execute(HASTE[0]) if not served else store.database.read(HASTE[1])
            Session(store, Instant(), lambda status: None, size, None).go()
    start, cpu = time.perf_counter(), time.process_time()
    with Store(path, "drive") as store:
        session = Session(store, Instant(), lambda status: None, size + timed, None)
        session._bars(size)  # those of the stored ones are counted once
        resumed, resumed_cpu = time.perf_counter() - start, time.process_time() - cpu
        status, ask = Timed(session, "_status"), (Timed(session, "_next"), Timed(session, "_bars"))
        told = Timed(store, "tell"), Timed(session, "_tell")
        session.go()
        stored = float(store.database.read(SIZE[served])[0][0])
    view, view_cpu = time.perf_counter(), time.process_time()
    Study.open(path).status()
    view, view_cpu = time.perf_counter() - view, time.process_time() - view_cpu
    return {
        "ask_ms": spread(*ask),
        "tell_ms": spread(*told),
        "status_ms": spread(status),
        "resume_s": {"wall": round(resumed, 2), "cpu": round(resumed_cpu, 2)},
        "resume_ms_a_candidate": {"wall": round(1e3 * resumed / size, 3), "cpu": round(1e3 * resumed_cpu / size, 3)},
        "view_s": {"wall": round(view, 2), "cpu": round(view_cpu, 2)},
        "stored_mb": round(stored / 1e6, 1),
        "memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--timed", type=int, default=500, help="candidates timed at each size")
    parser.add_argument("--sampled", action="store_true", help="fill it with what the sampler draws")
    parser.add_argument("--folder", type=Path, default=None, help="where the study lies; its disk counts")
    parser.add_argument("--url", help="of a new study in PostgreSQL, instead of a file")
    asked = parser.parse_args()
    result: dict[str, Any] = {"machine": platform.machine(), "timed": asked.timed, "sizes": {}}
    if asked.sampled:
        replay = Session._replay
        Session._replay = lambda session, record, check: replay(session, record, False)
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        path = asked.url or Path(folder) / "study.db"
        Study(path, LAYERS, budget=BUDGET, seed=1, rungs=[RUNG])
        for size in asked.sizes:
            result["sizes"][str(size)] = measure(path, size, asked.timed, asked.sampled)
            asked.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
