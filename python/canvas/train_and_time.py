"""Judging one candidate: it is put into the model, timed, and trained. Called by workers, the command line and users.

What is cheap comes first, and each figure is reported as soon as it is known, so that a study can end the candidate
there: the predicted latency, short trainings, the latency, the whole training.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from canvas import backends, latency, layers, roofline
from canvas.cost_model import CostModel, default_path
from canvas.data import Data, load_data
from canvas.errors import UserError
from canvas.loaders import Loaders, loaders
from canvas.mixture import Mixture
from canvas.models import load_model, save_network
from canvas.train import Recipe, Report, train

HOPELESS = 1.5  # times the original's latency: where no limit is told, no budget is that wide
TIMED = 0.1  # seconds that a window of rounds lasts while a candidate is timed; there are more where they differ
BEYOND = 1.2  # times the limit on latency: nothing finer need be known of what is slower


def rung(images: int) -> str:
    """The metric that says what a candidate learned of so many images.

    Example:
        >>> rung(5000)
        'training_soft_accuracy_5000'
    """
    return f"training_soft_accuracy_{images}"


@functools.lru_cache(maxsize=2)
def _cached_data(spec: str) -> Data | Loaders:
    return load_data(spec)


class TrainAndTime:
    """Judges a candidate: puts it into the model, times the network, trains it. Picklable; called in worker processes.

    Args:
        model: a module (its weights are the starting point), or a spec as for `load_model`, rebuilt in each worker.
        data: a spec as for `load_data` (read once in each process), the data themselves, a pair of DataLoaders
            (training, validation), or a function that makes such a pair, called once in each process.
        recipe: of the training; its seed is replaced by the candidate's.
        backend: what the latency is measured with: a name in `backends.BACKENDS`, or "auto", see `latency.compare`; by
            default `backends.usual()`, which is native code where there is a compiler.
        batch: images in a timed forward pass.
        threads: of PyTorch's, for training and timing both.
        keep: a folder for the trained networks, one file each: `original.pt`, or the kernel's (the mixture's) hash and
            `.pt` (`torch.load(file, weights_only=False)`). `Study.run` leaves those of the front there.
        predict: first predict the latency, and report it as "latency_predicted" and "latency_predicted_low" (the least
            that is likely): a study ends a candidate whose least is over its latency budget before anything is
            compiled or timed, and rungs come before that too. True: by the cost model that `canvas calibrate` made for
            the backend and threads. None: for native code, where it takes the whole network, by the cycles that it
            counts, else not at all.
        targets: what the candidate replaces, as `canvas.targets` gives it; by default all that it serves.
        rungs: before the recipe, train a copy by the same recipe on so many images only, for each, and report what it
            learned, `train`'s training_soft_accuracy, as "training_soft_accuracy_IMAGES": what `Study(rungs=...)` ends
            a candidate by.
        limit: the budget's on latency, as a fraction of the original's: what is far beyond it is not timed precisely.

    Example:
        >>> evaluate = TrainAndTime("resnet8", "fashion-mnist", Recipe(images=10_000))
        >>> sorted(evaluate(kernel, seed=0))
        ['accuracy', 'flops', 'latency_ms', 'latency_ratio', 'loss', 'params', 'seconds', ...]
    """

    METRICS = ("accuracy", "soft_accuracy", "loss", "latency_ms", "latency_ratio", "flops", "params", "seconds")

    def __init__(
        self,
        model: nn.Module | str,
        data: Any,
        recipe: Recipe | None = None,
        backend: str | None = None,
        batch: int = 32,
        threads: int = 1,
        keep: str | None = None,
        rungs: Sequence[int] = (),
        targets: Sequence[layers.Target] | None = None,
        predict: bool | None = None,
        limit: float | None = None,
    ) -> None:
        self.model, self.data, self.recipe = model, data, recipe or Recipe()
        device = next(model.parameters()).device.type if isinstance(model, nn.Module) else "cpu"
        self.backend = backend or backends.usual(device)
        self.batch, self.threads, self.keep = batch, threads, keep
        self.rungs, self.targets = tuple(rungs), targets
        self.hopeless = HOPELESS if limit is None else min(HOPELESS, BEYOND * limit)
        self.predict, self.model_of_cost = predict, None
        if predict:
            self.model_of_cost = CostModel.load(default_path(self.backend, threads))
        elif predict is None and self.backend != backends.AUTO:
            self.model_of_cost = CostModel.of_cycles(self.backend, threads)
        self.originally: float | None = None  # what is predicted for the original, which every candidate is held to

    def __call__(self, candidate: Any, seed: int, report: Report | None = None) -> dict[str, float]:
        """Judges one candidate.

        Args:
            candidate: a Kernel, a Binding or a Mixture; None: the model as it is.
            seed: of the weights' initial values, the order of images and the augmentation.
            report: called with the fraction done and the metrics so far, whenever there is another; while training,
                with its loss.

        Returns:
            {"accuracy", "soft_accuracy", "loss", "latency_ms", "latency_low_ms", "latency_high_ms", "latency_ratio",
            "latency_ratio_low", "latency_ratio_high", "flops" and "params" (of the whole network), "seconds" (all in
            all; "seconds_latency_ratio", "seconds_training" and so on tell what each stage took, "seconds_compiling"
            what part of the first was compiling)}.

        Raises:
            EvaluationError: the network diverged or its timing cannot be true.
        """
        start = time.perf_counter()
        if isinstance(self.data, str):
            data = _cached_data(self.data)
        elif isinstance(self.data, (Data, Loaders)):
            data = self.data
        else:
            data = self.data = loaders(self.data)
        with roofline.fixed_threads(self.threads):
            network, original, example = self._networks(candidate, seed, data)
            metrics = {
                "flops": roofline.flops(network, example[:1]),
                "params": float(sum(p.numel() for p in network.parameters())),
            }
            told = report or (lambda done, metrics: None)
            predicted = {} if candidate is None else self._predicted(network, original, example)
            if not predicted:
                metrics |= self._timed(network, original, example)
            metrics |= predicted
            told(0.0, dict(metrics))
            recipe = dataclasses.replace(self.recipe, seed=seed)
            for images in self.rungs:
                shorter = dataclasses.replace(recipe, images=images)
                short = train(copy.deepcopy(network), data, shorter, judge=False)
                metrics[rung(images)] = short["training_soft_accuracy"]
                metrics[f"seconds_{rung(images)}"] = short["seconds"]
                told(0.0, dict(metrics))
            if predicted:  # what a rung ends was neither compiled nor timed
                metrics |= self._timed(network, original, example)
                told(0.0, dict(metrics))
            metrics |= train(network, data, recipe, report and (lambda done, more: report(done, {**metrics, **more})))
            metrics["seconds_training"] = metrics["seconds"]
            if self.keep is not None:
                kernel = getattr(candidate, "kernel", candidate)
                save_network(network, Path(self.keep) / f"{'original' if kernel is None else kernel.hash}.pt")
        return {**metrics, "seconds": time.perf_counter() - start}

    @property
    def timed(self) -> str:
        """What the latency is of, in words."""
        return f"{self.batch} images, backend {self.backend}, {self.threads} thread{'s' * (self.threads > 1)}"

    def original(self, data: Data | Loaders) -> nn.Module:
        """The network before any replacement, in a copy of its own."""
        if isinstance(self.model, str):
            return load_model(self.model, num_classes=len(data.classes), in_channels=data.shape[0])
        return copy.deepcopy(self.model)

    def _networks(self, candidate: Any, seed: int, data: Data | Loaders) -> tuple[nn.Module, nn.Module, Tensor]:
        """The network with the candidate in it, the original, and example images."""
        with torch.random.fork_rng():
            shape, _ = data.shape, data.classes  # loaders draw numbers when they are first asked
            torch.manual_seed(seed)
            original = self.original(data)
            example = torch.randn(self.batch, *shape).to(next(original.parameters()).device)
            if candidate is None:
                network = original
            elif isinstance(candidate, Mixture):
                network = candidate.apply(original)
            else:
                network = layers.replace(original, candidate, self.targets, None, example[:1])
        return network, original, example

    def _predicted(self, network: nn.Module, original: nn.Module, example: Tensor) -> dict[str, float]:
        """The latency by the cost model, where it is to be predicted."""
        if self.model_of_cost is None:
            return {}
        start = time.perf_counter()
        try:
            if self.originally is None:
                self.originally = self.model_of_cost.predict(original, example)
            ratio = self.model_of_cost.predict(network, example) / self.originally
        except UserError:
            if self.predict:
                raise
            return {}
        return {
            "latency_predicted": ratio,
            "latency_predicted_low": ratio / self.model_of_cost.spread,
            "seconds_latency_predicted": time.perf_counter() - start,
        }

    def _timed(self, network: nn.Module, original: nn.Module, example: Tensor) -> dict[str, float]:
        """The latency as it is measured."""
        start = time.perf_counter()
        timing = latency.compare(
            network, original, example, self.backend, threads=self.threads, seconds=TIMED, hopeless=self.hopeless
        )
        return {
            "latency_ms": timing.median_ms,
            "latency_low_ms": timing.low_ms,
            "latency_high_ms": timing.high_ms,
            "latency_ratio": timing.ratio,
            "latency_ratio_low": timing.ratio_low,
            "latency_ratio_high": timing.ratio_high,
            "seconds_latency_ratio": time.perf_counter() - start,
            "seconds_compiling": timing.compile_seconds,
        }
