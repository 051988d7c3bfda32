"""Stand-in evaluations for the tests of executor, study and command line: quick, deterministic, or badly behaved on
purpose."""

import ctypes
import gc
import hashlib
import math
import os
import signal
import time
from pathlib import Path

from canvas.errors import Diverged, UserError
from canvas.worker import Pruned


def quick(binding, seed, report):
    """Metrics made from the kernel's hash alone."""
    digest = hashlib.sha256(f"{binding.kernel.hash}{seed}".encode()).digest()
    report(0.0, {"latency_ratio": 0.1 + digest[0] / 256})
    return {"accuracy": digest[1] / 256, "latency_ratio": 0.1 + digest[0] / 256, "flops": float(digest[2])}


def predicting(binding, seed, report):
    """As `quick`, and predicts the latency first, in half of the cases far too low."""
    metrics = quick(binding, seed, lambda *_: None)
    report(0.0, {"latency_predicted_low": metrics["latency_ratio"] * (0.1 if metrics["flops"] > 128 else 1.0)})
    report(0.1, {"latency_ratio": metrics["latency_ratio"]})
    return metrics


def slow(binding, seed, report):
    """As `quick`, but lasts 0.1 to 0.3 s, so that candidates end out of order."""
    metrics = quick(binding, seed, report)
    time.sleep(0.1 + metrics["flops"] / 1280)
    return metrics


def killing(raylet, folder, binding, seed, report):
    """As `slow`; but once there is a file "now" in the folder, the first that runs on the node of this raylet (its
    process) kills that, and others wait until it has."""
    process = os.getpid()
    while process not in (raylet, 1):
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])  # its parent
    end = time.monotonic() + 60
    while (folder / "now").exists() and not (folder / "killed").exists() and time.monotonic() < end:
        if process == raylet:
            (folder / "killed").touch()
            os.kill(raylet, signal.SIGKILL)
            time.sleep(60)
        time.sleep(0.02)
    return slow(binding, seed, report)


def climbing(binding, seed, report):
    """As `slow`, and reports on its way what it will nearly reach."""
    metrics = slow(binding, seed, report)
    report(0.3, {"early": round(metrics["accuracy"], 1)})
    return metrics


def infinite(binding, seed, report):
    """As `quick`, and reports on its way a number that is not finite for a third of the kernels."""
    metrics = quick(binding, seed, report)
    report(0.3, {"early": math.inf if metrics["flops"] % 3 == 0 else metrics["accuracy"]})
    return metrics


def diverges(binding, seed, report):
    raise Diverged("the loss is nan")


class EveryThird:
    """As `quick`, but two of three candidates come to a bad end."""

    def __call__(self, binding, seed, report):
        metrics = quick(binding, seed, report)
        if metrics["flops"] % 3 == 0:
            return metrics
        if metrics["flops"] % 3 == 1:
            ctypes.string_at(0)
        return metrics | {"accuracy": float("nan")}


def crash(report):
    ctypes.string_at(0)


def leave(report):
    print("no licence for this", flush=True)
    os._exit(7)


def hang(report):
    report(0.5, {"latency_ratio": 0.5})
    while True:
        time.sleep(10)


def chatters(report):
    """Without end, and is heard from all the time."""
    while True:
        report(0.5, {})
        time.sleep(0.001)


def nap(report):
    time.sleep(0.3)
    return {"accuracy": 0.5}


def hog(report):
    held = []
    while True:
        held.append(bytearray(os.urandom(1) * (8 << 20)))


def greedy(report):
    return {"accuracy": len(bytearray(1 << 60))}


def raises(report):
    return {}["no such\nthing"]


def nan(report):
    return {"accuracy": float("nan"), "loss": 2.0}


def pruned(report):
    report(0.1, {"latency_ratio": 0.9})
    raise Pruned("too slow")


def good(report):
    return {"accuracy": 0.5}


def frozen(report):
    return {"objects": gc.get_freeze_count()}


def fault(report):
    raise UserError("the data folder is gone")


def text(report):
    return {"accuracy": "high"}


def killed_once(marker, report):
    """Killed as from outside, the first time it is called."""
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return {"accuracy": 0.25}
    os.kill(os.getpid(), signal.SIGKILL)


def killed_always(report):
    os.kill(os.getpid(), signal.SIGKILL)


def environment(report):
    """What a worker was given, and how many candidates it had."""
    environment.calls = getattr(environment, "calls", 0) + 1
    return {"threads": float(os.environ["OMP_NUM_THREADS"]), "calls": environment.calls, "pid": os.getpid()}


def call(function, *arguments, report):
    """One evaluation that behaves as each candidate says."""
    return function(*arguments, report=report)


class Unloadable:
    def __setstate__(self, state):
        raise RuntimeError("this cannot be loaded here")

    def __getstate__(self):
        return {"some": "state"}

    def __call__(self, report):
        return {}


def quick_or_original(binding, seed, report):
    """As `quick`, and fixed metrics for the network as it is."""
    return {"accuracy": 0.9, "latency_ratio": 1.0} if binding is None else quick(binding, seed, report)


def share_of_flops(binding, seed, report):
    """How much of the original layers' FLOPs the bound kernel needs."""
    flops = binding.flops / sum(b.layer.flops * b.layer.count for b in (binding[i] for i in range(len(binding))))
    report(0.0, {"latency_ratio": 0.9})
    return {"accuracy": 0.5, "latency_ratio": 0.9, "flops": flops}


def mood(hash):
    """What `Unruly` makes of a kernel: 0 crashes, 1 is NaN, 2 hangs, 3 hogs memory, 4 and more are as they should."""
    return hashlib.sha256(hash.encode()).digest()[5] % 6


class Unruly:
    """As `quick`, but many candidates come to one bad end or another; or, quietly, merely fail."""

    def __init__(self, quietly=False):
        self.quietly = quietly

    def __call__(self, binding, seed, report):
        end = mood(binding.kernel.hash)
        if end > 3:
            return quick(binding, seed, report)
        if self.quietly:
            raise Diverged("as said")
        if end == 1:
            return quick(binding, seed, report) | {"accuracy": float("nan")}
        return {0: crash, 2: hang, 3: hog}[end](report)


def share(kernel, layer, what):
    """From 0 to 1, of a kernel on a layer; of the layer itself (None) 0."""
    text = f"{kernel}{layer.c_in} {layer.c_out} {layer.stride} {what}"
    return 0.0 if kernel is None else hashlib.sha256(text.encode()).digest()[0] / 255


def additive(candidate, seed, report):
    """Accuracy and latency to which every layer adds its part, of a binding or a mixture."""
    if hasattr(candidate, "parts"):
        held = [(part and part.kernel.hash, t.layer) for t in candidate.targets for part in [candidate.parts[t.name]]]
    else:
        held = [(candidate.kernel.hash, candidate[i].layer) for i in range(len(candidate))]
    count = sum(layer.count for _, layer in held)
    lost = sum(layer.count * share(kernel, layer, "accuracy") for kernel, layer in held) / count
    saved = sum(layer.count * share(kernel, layer, "latency") for kernel, layer in held) / count
    report(0.0, {"latency_ratio": 1 - 0.9 * saved})
    return {"accuracy": 0.9 - lost / 2, "latency_ratio": 1 - 0.9 * saved}
