"""Training one network. Called by the judging of candidates, the command line and users' scripts.

The same recipe serves the original network, the hand-designed kernels and every candidate. Validation data comes out of
the training data; the test split is never touched here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from canvas.data import Data, Images
from canvas.errors import Diverged, UserError
from canvas.example import channels_last, evaluating
from canvas.loaders import Loaders
from canvas.quick_backward import QuickBackward

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
    judge: bool = True,
) -> dict[str, float]:
    """Trains a model in place; the global random stream is left as it was.

    Args:
        model: takes images [N, C, H, W] as floats, gives one logit a class. It stays on its device.
        data: its training part is split into training and validation data, the same way for every recipe seed; or
            `canvas.loaders.Loaders`.
        recipe: by default `Recipe()`.
        report: called about fifty times with the fraction done and {"loss"}; what it raises ends the training.
        judge: measure the accuracy on the validation data.

    Returns:
        {"accuracy" and "soft_accuracy": on the validation data, see `judged`, "loss": mean of the last tenth of the
        steps, "training_soft_accuracy": the mean probability given to the right classes of the images of the last
        quarter of the steps, as they were trained on, "seconds"}.

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
        metrics = _fit(model, itertools.islice(batches, steps), steps, data.normalise, recipe, report)
        if judge:
            metrics |= judged(model, ((data.normalise(images.to(device)), labels) for images, labels in held))
    return {**metrics, "seconds": time.perf_counter() - start}


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


def _fit(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    steps: int,
    normalise: Callable[[Tensor], Tensor],
    recipe: Recipe,
    report: Report | None,
) -> dict[str, float]:
    device = next(model.parameters()).device
    optimizer = _optimizer(model, recipe)
    model.train()
    often, last, late = max(1, steps // 50), steps - max(1, steps // 10), steps - max(1, steps // 4)
    lost: list[float] = []  # in the last tenth
    sure: list[Tensor] = []  # in the last quarter
    for step, (images, labels) in enumerate(batches):
        inputs = channels_last(normalise(images.to(device)))
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate((step + 0.5) / steps)
        with QuickBackward() if device.type == "cpu" else contextlib.nullcontext():
            logits = model(inputs)
        losses = F.cross_entropy(logits, labels.to(device), reduction="none")
        loss = losses.mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if step >= late:
            sure.append((-losses.detach()).exp().mean())
        value = float(loss.detach()) if step % often == 0 or step >= last else 0.0
        if not math.isfinite(value):
            raise Diverged(f"the loss became {value} at step {step + 1} of {steps}")
        if step >= last:
            lost.append(value)
        if report is not None and step % often == 0:
            report((step + 1) / steps, {"loss": value})
    return {"loss": sum(lost) / len(lost), "training_soft_accuracy": float(sum(sure)) / len(sure)}


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
        Diverged: a logit is not finite.

    Example:
        >>> accuracy(nn.Flatten(), torch.eye(3).view(3, 3, 1, 1), torch.tensor([0, 1, 0]))
        0.6666666666666666
    """
    return judged(model, _in_turn(images, labels, batch))["accuracy"]


@torch.no_grad()
def judged(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """How well a model classifies.

    Args:
        model: as for `accuracy`.
        batches: pairs of normalised images and labels.

    Returns:
        {"accuracy", "soft_accuracy": the mean of the probabilities (softmax of the logits) that it gives to the right
        classes, which is the accuracy to be expected of classes drawn by them}. Of short trainings the latter tells
        more about which kernel is better: it also counts how sure the model is.

    Raises:
        Diverged: a logit is not finite.

    Example:
        >>> judged(nn.Flatten(), [(torch.tensor([[0.0, 0.0], [0.0, 9.0]]), torch.tensor([0, 1]))])["accuracy"]
        1.0
    """
    right, sure, seen = 0, 0.0, 0
    with evaluating(model):
        for images, labels in batches:
            device = next((p.device for p in model.parameters()), images.device)
            logits = model(channels_last(images.to(device)))
            if not bool(logits.isfinite().all()):
                raise Diverged("the trained network gives outputs that are not numbers")
            given = logits.double().softmax(1).gather(1, labels.to(device).view(-1, 1))
            right, sure = right + int((logits.argmax(1).cpu() == labels.cpu()).sum()), sure + float(given.sum())
            seen += len(labels)
    return {"accuracy": right / seen, "soft_accuracy": sure / seen}
