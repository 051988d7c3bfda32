"""Training one network and judging one candidate. Called by workers, the command line and users' scripts.

The same recipe serves the original network, the hand-designed kernels and every candidate. Validation data comes out of
the training data; the test split is never touched here.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from canvas import backends, latency, layers, roofline
from canvas.cost_model import CostModel, default_path
from canvas.data import Data, Images, load_data
from canvas.errors import Diverged, UserError
from canvas.example import channels_last, evaluating
from canvas.loaders import Loaders, loaders
from canvas.mixture import Mixture
from canvas.models import load_model, save_network

HOPELESS = 1.5  # times the original's latency: where no limit is told, no budget is that wide
TIMED = 0.1  # seconds that a window of rounds lasts while a candidate is timed; there are more where they differ
BEYOND = 1.2  # times the limit on latency: nothing finer need be known of what is slower

Report = Callable[[float, "dict[str, float]"], None]  # called with the fraction done and the metrics so far; may raise


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: SGD with Nesterov momentum, the learning rate up to `lr` and down to zero once.

    The defaults suit a network of the size of `resnet8` on Fashion-MNIST for 10,000 to 100,000 images.

    Attributes:
        images: training samples seen (more than the training data holds: several passes).
        batch: images in a step.
        lr: the highest learning rate, reached after the fraction `warmup` of all steps.
        momentum: of SGD.
        weight_decay: on parameters of two and more dimensions.
        flip: mirror half of the images left to right.
        crop: shift the images by up to so many pixels (0: not at all).
        validation: the part of the training data that is held back to measure accuracy.
        seed: order of the images, augmentation, dropout.
    """

    images: int = 34_000
    batch: int = 32
    lr: float = 0.03
    warmup: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 5e-4
    flip: bool = False
    crop: int = 0
    validation: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, kind = getattr(self, field.name), {"float": (float, int)}.get(str(field.type), type(field.default))
            if not isinstance(value, kind) or (isinstance(value, bool) and field.type != "bool"):
                raise UserError(f"recipe {field.name}: must be of type {field.type}, got {value!r}")
        for name, low, high in (("images", 1, 1e12), ("batch", 2, 1e6), ("lr", 1e-12, 1e6), ("crop", 0, 1000)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise UserError(f"recipe {name}: needs at least {low:g} and at most {high:g}, got {value}")
        for name in ("momentum", "weight_decay", "warmup", "validation"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"recipe {name}: needs a number from 0 up to 1, got {getattr(self, name)}")

    def rate(self, done: float) -> float:
        """The learning rate when the fraction `done` of the steps is over."""
        return self.lr * (done / self.warmup if done < self.warmup else (1 - done) / (1 - self.warmup))


def train(
    model: nn.Module,
    data: Data | Loaders,
    recipe: Recipe | None = None,
    report: Report | None = None,
    judged_on: int | None = None,
) -> dict[str, float]:
    """Trains a model in place; the global random stream is left as it was.

    Args:
        model: takes images [N, C, H, W] as floats, gives one logit a class. It stays on its device.
        data: its training part is split into training and validation data, the same way for every recipe seed; or
            `canvas.loaders.Loaders`.
        recipe: by default `Recipe()`.
        report: called about fifty times with the fraction done and {"loss"}; what it raises ends the training.
        judged_on: validation images, the first so many; by default all.

    Returns:
        {"accuracy": on the validation data, "loss": mean of the last tenth of the steps, "seconds"}.

    Raises:
        Diverged: the loss is not finite.

    Example:
        >>> metrics = train(resnet8(), load_data("fashion-mnist"), Recipe(images=10_000))
        >>> metrics["accuracy"] > 0.75
        True
    """
    recipe = recipe or Recipe()
    start = time.perf_counter()
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(recipe.seed)
        if isinstance(data, Data):
            training, validation = data.split(recipe.validation)
            steps = max(1, round(recipe.images / recipe.batch))
            batches, held = _shuffled(training, recipe, steps), _in_turn(*validation)
        else:
            steps, batches, held = data.parts(recipe.images)
        loss = _fit(model, itertools.islice(batches, steps), steps, data.normalise, recipe, report)
        held = _first(held, judged_on) if judged_on else held
        found = _accuracy(model, ((data.normalise(images.to(device)), labels) for images, labels in held))
    return {"loss": loss, "accuracy": found, "seconds": time.perf_counter() - start}


def _shuffled(training: Images, recipe: Recipe, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of so many steps, augmented."""
    generator = torch.Generator().manual_seed(recipe.seed)
    passes = math.ceil(steps * recipe.batch / len(training))
    order = torch.cat([torch.randperm(len(training), generator=generator) for _ in range(passes)])
    for step in range(steps):
        picked = order[step * recipe.batch : (step + 1) * recipe.batch]
        yield _augment(training.images[picked], recipe, generator), training.labels[picked]


def _in_turn(images: Tensor, labels: Tensor, batch: int = 250) -> Iterator[tuple[Tensor, Tensor]]:
    for begin in range(0, len(labels), batch):
        yield images[begin : begin + batch], labels[begin : begin + batch]


def _first(batches: Iterable[tuple[Tensor, Tensor]], count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Of these batches as many as hold `count` images."""
    for images, labels in batches:
        yield images[:count], labels[:count]
        count -= len(labels)
        if count <= 0:
            return


def _fit(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    steps: int,
    normalise: Callable[[Tensor], Tensor],
    recipe: Recipe,
    report: Report | None,
) -> float:
    device = next(model.parameters()).device
    optimizer = _optimizer(model, recipe)
    model.train()
    total, counted, often = 0.0, 0, max(1, steps // 50)
    for step, (images, labels) in enumerate(batches):
        inputs = channels_last(normalise(images.to(device)))
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate((step + 0.5) / steps)
        loss = F.cross_entropy(model(inputs), labels.to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        looked = step % often == 0 or step >= steps - max(1, steps // 10)
        value = float(loss.detach()) if looked else 0.0
        if not math.isfinite(value):
            raise Diverged(f"the loss became {value} at step {step + 1} of {steps}")
        if step >= steps - max(1, steps // 10):
            total, counted = total + value, counted + 1
        if report is not None and step % often == 0:
            report((step + 1) / steps, {"loss": value})
    return total / counted


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    weights = [p for p in model.parameters() if p.requires_grad and p.dim() >= 2]
    others = [p for p in model.parameters() if p.requires_grad and p.dim() < 2]
    groups = [{"params": weights, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0)


def _augment(images: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    count, _, height, width = images.shape
    if recipe.flip:
        flipped = torch.rand(count, generator=generator) < 0.5
        images = torch.where(flipped.view(-1, 1, 1, 1), images.flip(3), images)
    if recipe.crop:
        padded = F.pad(images, [recipe.crop] * 4)
        top, left = torch.randint(2 * recipe.crop + 1, (2, count, 1, 1), generator=generator)
        rows = top + torch.arange(height).view(1, -1, 1)
        columns = left + torch.arange(width).view(1, 1, -1)
        images = padded[torch.arange(count).view(-1, 1, 1), :, rows, columns].permute(0, 3, 1, 2)
    return images


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor, batch: int = 250) -> float:
    """The fraction of images whose highest logit is their label's, in eval mode (the mode is restored).

    Args:
        model: gives one logit a class.
        images: normalised floats [N, C, H, W] (`Data.normalise`).
        labels: class numbers [N].
        batch: images in a forward pass.

    Returns:
        A number from 0 to 1.

    Raises:
        Diverged: a logit is not a number.

    Example:
        >>> accuracy(nn.Flatten(), torch.eye(3).view(3, 3, 1, 1), torch.tensor([0, 1, 0]))
        0.6666666666666666
    """
    return _accuracy(model, _in_turn(images, labels, batch))


@torch.no_grad()
def _accuracy(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    right, seen = 0, 0
    with evaluating(model):
        for images, labels in batches:
            device = next((p.device for p in model.parameters()), images.device)
            logits = model(channels_last(images.to(device)))
            if bool(logits.isnan().any()):
                raise Diverged("the trained network gives outputs that are not numbers")
            right, seen = right + int((logits.argmax(1).cpu() == labels.cpu()).sum()), seen + len(labels)
    return right / seen


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
        rungs: before the recipe, train a copy by the same recipe on so many images only, for each, and report its
            accuracy on as many validation images as "accuracy_IMAGES": what `Study(rungs=...)` ends a candidate by.
        limit: the budget's on latency, as a fraction of the original's: what is far beyond it is not timed precisely.

    Example:
        >>> evaluate = TrainAndTime("resnet8", "fashion-mnist", Recipe(images=10_000))
        >>> sorted(evaluate(kernel, seed=0))
        ['accuracy', 'flops', 'latency_ms', 'latency_ratio', 'loss', 'params', 'seconds', ...]
    """

    METRICS = ("accuracy", "loss", "latency_ms", "latency_ratio", "flops", "params", "seconds")

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

    def __call__(self, candidate: Any, seed: int, report: Report | None = None) -> dict[str, float]:
        """Judges one candidate.

        Args:
            candidate: a Kernel, a Binding or a Mixture; None: the model as it is.
            seed: of the weights' initial values, the order of images and the augmentation.
            report: called with the fraction done and the metrics so far: first (at 0) with all but the accuracy.

        Returns:
            {"accuracy", "loss", "latency_ms", "latency_low_ms", "latency_high_ms", "latency_ratio",
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
                short = train(copy.deepcopy(network), data, dataclasses.replace(recipe, images=images), None, images)
                metrics[f"accuracy_{images}"] = short["accuracy"]
                metrics[f"seconds_accuracy_{images}"] = short["seconds"]
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
            torch.manual_seed(seed)
            original = self.original(data)
            example = torch.randn(self.batch, *data.shape).to(next(original.parameters()).device)
            if candidate is None:
                network = original
            elif isinstance(candidate, Mixture):
                network = candidate.apply(original)
            else:
                network = layers.replace(original, candidate, self.targets, None, example)
        return network, original, example

    def _predicted(self, network: nn.Module, original: nn.Module, example: Tensor) -> dict[str, float]:
        """The latency by the cost model, where it is to be predicted."""
        if self.model_of_cost is None:
            return {}
        start = time.perf_counter()
        try:
            ratio = self.model_of_cost.predict(network, example) / self.model_of_cost.predict(original, example)
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
