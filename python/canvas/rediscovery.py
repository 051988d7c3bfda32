"""How many samples the unaided sampler needs until it draws a hand-designed kernel. `canvas rediscover` calls it.

A kernel is hit when the sampler gives a kernel with its hash: the same canonical form, whatever its text. Each seed is
a stream of samples of its own; all kernels of one signature are looked for in the same streams.
"""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

from canvas._core import Infeasible, Kernel, Layer, Samples
from canvas.errors import UserError
from canvas.executor import usable_cores

CONFIDENCE = 0.95
LARGEST_BATCH = 1000
# What a kernel is looked for on, by its signature. Extents that many numbers divide, so that tiles fit.
LAYERS: dict[str, tuple[Layer, ...]] = {
    "conv2d": (Layer(64, 64, (32, 32)), Layer(64, 128, (32, 32), stride=2)),
    "linear": (Layer(64, 64, ()), Layer(64, 128, ())),  # before tokens, whose layers take linear kernels too
    "tokens": (Layer(64, 64, tokens=64), Layer(64, 128, tokens=64)),
    "conv1d": (Layer(64, 64, (64,)), Layer(64, 128, (64,), stride=2)),
    "conv3d": (Layer(64, 64, (8, 8, 8)), Layer(64, 128, (8, 8, 8), stride=2)),
}


@dataclass(frozen=True)
class Rediscovery:
    """What became of one kernel.

    Attributes:
        name, hash, primitives: of the kernel; the last is the length of its canonical form.
        tries: by seed, the sampler's tries until the kernel came, or all of them.
        seconds: by seed, the CPU seconds that these took.
        hits: how many seeds found it.
    """

    name: str
    hash: str
    primitives: int
    tries: tuple[int, ...]
    seconds: tuple[float, ...]
    hits: int

    @property
    def tries_per_hit(self) -> tuple[float, float, float]:
        """(estimate, low, high) of the tries to a hit; (inf, low, inf) where there was none.

        Tries to a hit are geometric, nearly exponential: of n hits in T tries the mean is T / n, and its interval of
        95 % is T / gamma quantiles, those of n + 1 and n events (Cox 1953). Without a hit, `low` holds with 95 %.
        """
        total = sum(self.tries)
        if not self.hits:
            return math.inf, total / gamma_quantile(1, CONFIDENCE), math.inf
        tail = (1 - CONFIDENCE) / 2
        low = total / gamma_quantile(self.hits + 1, 1 - tail)
        return total / self.hits, low, total / gamma_quantile(self.hits, tail)


def gamma_quantile(events: int, probability: float) -> float:
    """The time by which a Poisson process of rate 1 has had so many events with this probability.

    Args:
        events: at least 1.
        probability: between 0 and 1.

    Returns:
        The quantile of the gamma distribution of that integer shape, to a relative 1e-12.

    Example:
        >>> round(gamma_quantile(1, 0.95), 3)
        2.996
    """

    def below(time: float) -> float:
        term, total = math.exp(-time), 0.0
        for event in range(events):
            total += term
            term *= time / (event + 1)
        return 1 - total

    low, high = 0.0, 1.0
    while below(high) < probability:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) < probability else (low, middle)
    return high


def signature_of(kernel: Kernel) -> str:
    """The key of `LAYERS` whose layers the kernel serves.

    Args:
        kernel: any.

    Returns:
        Such as "conv2d".

    Raises:
        UserError: it serves none of them.

    Example:
        >>> signature_of(canvas.zoo()["mlp_mixer"])
        'tokens'
    """
    reasons = []
    for name, layers in LAYERS.items():
        if all(kernel.serves(layer) for layer in layers):
            try:
                kernel.bind(list(layers))
                return name
            except Infeasible as error:
                reasons.append(str(error))
    reason = reasons[0] if reasons else "its signature is none of " + ", ".join(LAYERS)
    raise UserError(f"rediscover {kernel.name}: cannot be looked for: {reason}")


def rediscover(
    kernels: dict[str, Kernel],
    samples: int = 20_000,
    seeds: Sequence[int] = range(5),
    workers: int | None = None,
    progress: Callable[[str], None] = lambda line: None,
    **limits: Any,
) -> list[Rediscovery]:
    """Draws samples until each of the kernels has come, or so many are drawn.

    Args:
        kernels: what to look for, by name; nothing of them is told to the sampler.
        samples: distinct plausible kernels to draw for each seed and signature, at most.
        seeds: of the streams; more of them make the interval narrower.
        workers: processes; by default one a core. The result does not depend on it, but for the seconds.
        progress: called with a line when a stream has ended.
        limits: as for `canvas.sample`.

    Returns:
        One for each kernel, in their order.

    Raises:
        UserError: a kernel serves no layer, or is longer than the limits allow.
        ValueError: a limit is unknown or out of range.

    Example:
        >>> found = rediscover({"mobilenet": canvas.zoo()["depthwise_separable"]}, samples=2_000, seeds=[0])
        >>> found[0].primitives
        4
    """
    most = limits.get("max_primitives", 10)
    lengths = {name: len(kernel.canonical()) for name, kernel in kernels.items()}
    for name, length in lengths.items():
        if length > most:
            raise UserError(f"rediscover {name}: has {length} primitives; raise --limit max_primitives={most}")
    kinds = {name: signature_of(kernel) for name, kernel in kernels.items()}
    wanted = {
        kind: [kernels[name].hash for name in kinds if kinds[name] == kind] for kind in dict.fromkeys(kinds.values())
    }
    for kind in wanted:
        Samples(list(LAYERS[kind]), **limits)  # its faults come before the processes
    found: dict[tuple[str, int], dict[str, tuple[int, float, bool]]] = {}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers or usable_cores(), mp_context=context) as pool:
        streams = {
            pool.submit(_stream, kind, hashes, samples, seed, limits): (kind, seed)
            for kind, hashes in wanted.items()
            for seed in seeds
        }
        for future in as_completed(streams):
            kind, seed = streams[future]
            found[kind, seed] = future.result()
            came = sum(hit for _, _, hit in found[kind, seed].values())
            progress(f"{kind}, seed {seed}: {came} of {len(wanted[kind])} kernels came")
    results = []
    for name, kernel in kernels.items():
        tries, seconds, hits = zip(*(found[kinds[name], seed][kernel.hash] for seed in seeds), strict=True)
        results.append(Rediscovery(name, kernel.hash, lengths[name], tries, seconds, sum(hits)))
    return results


def hits(samples: Samples, hashes: Collection[str], end: Callable[[int], bool]) -> Iterator[tuple[str, int]]:
    """The kernels of a stream that are looked for, as they come.

    Args:
        samples: the stream, from its beginning.
        hashes: of the kernels that are looked for.
        end: told how many kernels were drawn, says whether to stop.

    Yields:
        A hash, and the stream's tries until it came, to 1 % or less. Stops where all have come or nothing new is left.

    Example:
        >>> stream = canvas.Samples(list(LAYERS["linear"]), seed=1)
        >>> low_rank = canvas.zoo()["low_rank_linear"].hash
        >>> [hash == low_rank for hash, _ in hits(stream, [low_rank], lambda drawn: drawn >= 5_000)]
        [True]
    """
    left = {f"k{digest[:8]}": digest for digest in hashes}  # a sample's name begins with its hash
    drawn, most = 0, LARGEST_BATCH
    while left and not end(drawn):
        try:
            kernels = samples.take(max(1, min(drawn // 100, most)))
        except Infeasible:
            if most == 1:
                return
            most = 1  # what came before nothing new was left is taken one by one
            continue
        drawn += len(kernels)
        for kernel in kernels:
            digest = left.get(kernel.name)
            if digest and kernel.hash == digest:
                del left[kernel.name]
                yield digest, samples.counts["tried"]


def _stream(
    kind: str, hashes: list[str], count: int, seed: int, limits: dict[str, Any]
) -> dict[str, tuple[int, float, bool]]:
    """By hash: the tries and CPU seconds until it came, or all of them; and whether it came."""
    samples = Samples(list(LAYERS[kind]), seed=seed, **limits)
    start = time.process_time()
    found = {
        digest: (tries, time.process_time() - start, True)
        for digest, tries in hits(samples, hashes, lambda drawn: drawn >= count)
    }
    end = (samples.counts["tried"], time.process_time() - start, False)
    return {**dict.fromkeys(hashes, end), **found}
