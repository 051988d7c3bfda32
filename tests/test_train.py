"""Training: deterministic by its seed, honest about accuracy, loud when it diverges. The data are made here."""

import math
import pickle
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from canvas import latency, zoo
from canvas.cost_model import CostModel, default_path
from canvas.data import Data, Images
from canvas.errors import Diverged, UserError
from canvas.layers import merged, targets
from canvas.loaders import loaders
from canvas.mixture import Mixture
from canvas.models import resnet8
from canvas.objectives import rung_point
from canvas.train import Recipe, _augment, accuracy, judged, train
from canvas.train_and_time import TrainAndTime
from canvas.workload import NATIVE, OPERATIONS

SEPARABLE = zoo()["depthwise_separable"]


def stripes(count=400, channels=1):
    """Two classes that are easy to tell: horizontal and vertical stripes, with noise."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 2
    wave = (torch.arange(12) // 2 % 2 * 120).view(1, 1, 1, 12).expand(count, channels, 12, 12)
    images = torch.where(labels.view(-1, 1, 1, 1) == 0, wave, wave.transpose(2, 3))
    images = images + torch.randint(130, images.shape, generator=generator)
    return Data("stripes", Images(images.to(torch.uint8), labels), ("across", "down"), no_test)


def no_test():
    raise AssertionError("the test split was touched")


class Small(nn.Sequential):
    def __init__(self, seed=0):
        torch.manual_seed(seed)
        super().__init__(
            nn.Conv2d(1, 8, 3, 2, 1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, 1, 1),
            nn.Flatten(),
            nn.Linear(288, 2),
        )


QUICK = Recipe(images=800, batch=16, lr=0.02)


def test_training_learns_and_is_deterministic_by_its_seed():
    results, weights = [], []
    for recipe in (QUICK, QUICK, Recipe(images=800, batch=16, lr=0.02, seed=1)):
        model = Small()
        metrics = train(model, stripes(), recipe)
        results.append((metrics["accuracy"], metrics["loss"]))
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert results[0][0] > 0.9 and math.isfinite(results[0][1]) and metrics["seconds"] > 0
    assert results[0] == results[1] and torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_training_leaves_the_global_random_stream_alone():
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(144, 2))
    stream = torch.get_rng_state()
    train(model, stripes(), Recipe(images=100, flip=True, crop=2))
    assert torch.equal(torch.get_rng_state(), stream)


def test_a_loss_that_is_not_finite_is_divergence():
    with pytest.raises(Diverged, match=r"the loss became (nan|inf) at step \d+ of 25"):
        train(Small(), stripes(), Recipe(images=400, batch=16, lr=1e6))


@pytest.mark.parametrize("logit", [math.nan, math.inf])
def test_outputs_that_are_not_numbers_are_divergence(logit):
    class Nothing(nn.Module):
        def forward(self, x):
            return torch.full((len(x), 2), logit)

    with pytest.raises(Diverged, match="not numbers"):
        accuracy(Nothing(), torch.zeros(3, 1, 2, 2), torch.zeros(3, dtype=torch.long))


def test_what_a_report_raises_ends_the_training():
    seen = []

    class Enough(Exception):
        pass

    def report(done, metrics):
        seen.append(done)
        assert set(metrics) == {"loss"}
        if done > 0.5:
            raise Enough

    with pytest.raises(Enough):
        train(Small(), stripes(), QUICK, report)
    assert seen == sorted(seen) and 0 < seen[0] < 0.5 < seen[-1] < 0.6


def test_accuracy_is_the_fraction_right_whatever_the_batch():
    logits = torch.randn(103, 4, 1, 1)
    labels = torch.randint(4, (103,))
    expected = float((logits.flatten(1).argmax(1) == labels).float().mean())
    model = nn.Sequential(nn.Flatten(), nn.Dropout()).train()
    for batch in (1, 50, 103, 500):
        assert accuracy(model, logits, labels, batch) == pytest.approx(expected)
    assert model.training and model[1].training


def test_soft_accuracy_is_what_classes_drawn_by_the_outputs_get():
    logits, labels = torch.randn(4_000, 4, 1, 1), torch.randint(4, (4_000,))
    model = nn.Flatten()
    found = judged(model, [(logits[:1_500], labels[:1_500]), (logits[1_500:], labels[1_500:])])
    drawn = torch.distributions.Categorical(logits=logits.flatten(1)).sample((100,))
    assert found["soft_accuracy"] == pytest.approx(float((drawn == labels).float().mean()), abs=0.01)
    sharp = judged(model, [(1e4 * logits, labels)])
    assert sharp["soft_accuracy"] == pytest.approx(sharp["accuracy"], abs=0.01) == found["accuracy"]


def test_training_soft_accuracy_is_of_the_last_quarter_as_it_was_trained_on():
    given, model = stripes(), Small()
    labels, outputs = given.split(QUICK.validation)[0].labels, []
    model.register_forward_hook(lambda model, inputs, logits: outputs.append(logits.detach().clone()))
    found = train(model, given, Recipe(images=320, batch=16, lr=0.02), judge=False)
    assert set(found) == {"loss", "training_soft_accuracy", "seconds"} and len(outputs) == 20
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))[240:320].split(16)
    given = [logits.softmax(1)[range(16), labels[part]] for logits, part in zip(outputs[15:], order, strict=True)]
    assert found["training_soft_accuracy"] == pytest.approx(float(torch.cat(given).mean()), rel=1e-5)


def test_the_learning_rate_rises_once_and_falls_to_zero():
    recipe = Recipe(lr=0.5, warmup=0.25)
    rates = [recipe.rate(done / 100) for done in range(101)]
    assert max(rates) == rates[25] == 0.5 and rates[0] == rates[100] == 0
    assert rates[:26] == sorted(rates[:26]) and rates[25:] == sorted(rates[25:], reverse=True)
    assert Recipe(warmup=0).rate(0) > 0


@pytest.mark.parametrize("fault", [{"images": 0}, {"batch": 1}, {"lr": -1}, {"momentum": 1.0}, {"validation": 1.5}])
def test_a_recipe_that_makes_no_sense_is_refused(fault):
    with pytest.raises(UserError, match=f"recipe {next(iter(fault))}: needs"):
        Recipe(**fault)


def test_augmentation_only_mirrors_and_shifts():
    images = torch.arange(1, 5 * 2 * 6 * 6 + 1).view(5, 2, 6, 6) % 251
    generator = torch.Generator().manual_seed(1)
    flipped = _augment(images, Recipe(flip=True), generator)
    assert all(torch.equal(a, b) or torch.equal(a, b.flip(2)) for a, b in zip(flipped, images, strict=True))
    assert not torch.equal(flipped, images)
    shifted = _augment(images, Recipe(crop=2), generator)
    padded = nn.functional.pad(images, [2] * 4)
    for got, whole in zip(shifted, padded, strict=True):
        places = [whole[:, y : y + 6, x : x + 6] for y in range(5) for x in range(5)]
        assert any(torch.equal(got, place) for place in places)


def test_train_and_time_judges_a_candidate_the_same_way_twice():
    evaluate = pickle.loads(pickle.dumps(TrainAndTime("resnet8", stripes(100), Recipe(images=64, batch=16), batch=4)))
    reports = []
    stream = torch.get_rng_state()
    first = evaluate(SEPARABLE, seed=3, report=lambda done, metrics: reports.append((done, metrics)))
    assert torch.equal(torch.get_rng_state(), stream)
    assert {"accuracy", "latency_ms", "latency_ratio", "flops", "params", "seconds"} <= set(first)
    assert reports[0][0] == reports[1][0] == 0 and "loss" in reports[-1][1]
    assert "latency_ms" not in reports[0][1] and "latency_ms" in reports[1][1], "what is predicted comes first"
    second = evaluate(SEPARABLE, seed=3)
    assert all(first[key] == second[key] for key in ("accuracy", "loss", "flops", "params"))
    plain = evaluate(None, seed=3)
    assert plain["params"] == sum(p.numel() for p in resnet8(2).parameters())
    assert first["flops"] < plain["flops"] and first["params"] < plain["params"]


def test_a_mixture_of_one_kernel_is_judged_as_the_kernel():
    found = targets(resnet8(2), torch.zeros(1, 1, 12, 12))
    binding = SEPARABLE.bind(merged(found))
    evaluate = TrainAndTime("resnet8", stripes(100), Recipe(images=64, batch=16), batch=4)
    alone, mixed = (evaluate(one, 3) for one in (binding, Mixture(found, {t.name: binding for t in found})))
    assert all(alone[name] == mixed[name] for name in ("accuracy", "loss", "flops", "params"))


def test_what_is_far_beyond_the_limit_is_not_timed_precisely(monkeypatch):
    given = []
    compare = latency.compare
    monkeypatch.setattr(latency, "compare", lambda *a, **k: given.append(k["hopeless"]) or compare(*a, **k))
    for limit in (None, 0.5, 4.0):
        TrainAndTime("resnet8", stripes(100), Recipe(images=16, batch=16), batch=4, limit=limit)(SEPARABLE, 3)
    assert given == [1.5, 0.6, 1.5]


def test_train_and_time_starts_from_the_weights_that_it_is_given():
    model = Small(seed=7)
    evaluate = TrainAndTime(model, stripes(100), Recipe(images=32, batch=16, lr=1e-9), batch=4)
    before = [p.clone() for p in model.parameters()]
    expected = accuracy(model, stripes(100).normalise(stripes(100).split()[1].images), stripes(100).split()[1].labels)
    assert 0 <= evaluate(None, seed=0)["accuracy"] - expected + 1 <= 2  # it ran on a copy
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize(
    ("backend", "workload", "counted"), [("eager", OPERATIONS, "flops"), ("native", NATIVE, "cycles")]
)
def test_train_and_time_predicts_first_where_it_is_asked_to(tmp_path, monkeypatch, backend, workload, counted):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UserError, match="make one with: canvas calibrate"):
        TrainAndTime("resnet8", stripes(100), backend=backend, predict=True)
    costs = np.array([1e-9 * name.endswith(counted) for name in workload.figures])
    CostModel(backend, 1, costs, 1.5, 0.9, 20).save(default_path(backend, 1))
    evaluate = TrainAndTime("resnet8", stripes(100), Recipe(images=16, batch=16), backend, batch=4, predict=True)
    reports = []
    metrics = evaluate(SEPARABLE, seed=3, report=lambda done, metrics: reports.append(metrics))
    predicted = {"latency_predicted", "latency_predicted_low", "seconds_latency_predicted"}
    assert reports[0].keys() == {"flops", "params", *predicted}
    assert 0 < metrics["latency_predicted"] < 1, "less work, and nothing else costs"
    assert metrics["latency_predicted_low"] == metrics["latency_predicted"] / 1.5
    assert "latency_predicted" not in evaluate(None, seed=3)


@pytest.mark.parametrize(("backend", "predicted"), [("native", True), ("eager", False)])
def test_rungs_come_before_compiling_where_latency_is_predicted(backend, predicted):
    recipe = Recipe(images=32, batch=16)
    evaluate = TrainAndTime("resnet8", stripes(100), recipe, backend, batch=4, rungs=[16])
    reports = []
    metrics = evaluate(SEPARABLE, seed=3, report=lambda done, metrics: reports.append(metrics))
    assert ("latency_predicted" in metrics) == predicted
    first = next(report for report in reports if "training_soft_accuracy_16" in report)
    assert ("latency_ratio" in first) != predicted
    assert rung_point(first, "training_soft_accuracy_16", ["accuracy", "latency"]) == rung_point(
        metrics, "training_soft_accuracy_16", ["accuracy", "latency"]
    ), "the rung compares by what it knew"


def striped_loaders():
    """The stripes as a pair of DataLoaders."""
    images, labels = stripes().train
    sets = [TensorDataset(images[part].float() / 255, labels[part]) for part in (slice(40, None), slice(40))]
    return DataLoader(sets[0], batch_size=16, shuffle=True, drop_last=True), DataLoader(sets[1], batch_size=16)


def test_a_pair_of_dataloaders_is_trained_on_and_deterministic_by_the_seed():
    given, found = loaders(striped_loaders), []
    assert given.shape == (1, 12, 12) and given.classes == ("class 0", "class 1")
    for seed in (0, 0, 1):
        model, state = Small(), torch.get_rng_state()
        metrics = train(model, given, Recipe(images=800, lr=0.02, seed=seed))
        assert torch.equal(torch.get_rng_state(), state)
        found.append((metrics["accuracy"], metrics["loss"]))
    assert found[0] == found[1] != found[2]
    assert found[0][0] > 0.9


def test_a_candidate_is_judged_on_dataloaders():
    evaluate = TrainAndTime(Small(), striped_loaders, QUICK)
    metrics = pickle.loads(pickle.dumps(evaluate))(SEPARABLE, seed=0)
    assert metrics["accuracy"] > 0.8 and metrics["latency_ms"] > 0
    assert evaluate(SEPARABLE, seed=0)["loss"] == evaluate(SEPARABLE, seed=0)["loss"] == metrics["loss"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (7, "needs a pair of DataLoaders (training, validation), got int"),
        (([], []), "the training DataLoader gives no batch"),
        (([torch.zeros(2, 1, 4, 4)], []), "the training DataLoader must give pairs of tensors"),
        (([(torch.zeros(2, 1, 4, 4), torch.zeros(3))], []), "the training DataLoader must give pairs of tensors"),
    ],
)
def test_loaders_that_will_not_do(given, message):
    with pytest.raises(UserError, match=re.escape(message)):
        train(Small(), loaders(given), QUICK)
