"""What modules do, as the cost model sees it, and what it learns of that; times are made here, not measured."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import canvas
from canvas import Amount, Budget, Layer, cost_model
from canvas.cost_model import FIGURES, KINDS, CostModel, trace
from canvas.errors import UserError
from canvas.kernel import module_from_source
from canvas.models import resnet8
from canvas.objectives import rank_correlation

LAYER = Layer(8, 12, (6, 4))
SHAPE = (len(KINDS), len(FIGURES))


def figure(work, kind, name):
    return work[KINDS.index(kind), FIGURES.index(name)]


def made(count=60, seed=0):
    """Work of so many modules and what it takes at costs that are known."""
    rng = np.random.default_rng(seed)
    work, costs = rng.lognormal(size=(count, *SHAPE)), rng.random(SHAPE) * (rng.random(SHAPE) < 0.5)
    return work, costs


def test_a_convolution_is_its_products_and_its_traffic():
    work = trace(nn.Conv2d(8, 12, 3, padding=1, bias=False), torch.zeros(2, 8, 6, 4))
    assert figure(work, "dense", "calls") == 1
    assert figure(work, "dense", "flops") == 2 * 2 * 12 * 24 * 8 * 9
    assert figure(work, "dense", "near") == 4 * (2 * 8 * 24 + 2 * 12 * 24 + 8 * 12 * 9)
    assert work.sum() == work[KINDS.index("dense")].sum()


@pytest.mark.parametrize(("groups", "kind"), [(1, "dense"), (2, "grouped"), (8, "depthwise")])
def test_convolutions_are_told_apart(groups, kind):
    assert figure(trace(nn.Conv2d(8, 8, 3, groups=groups), torch.zeros(1, 8, 5, 5)), kind, "calls") == 1


def test_what_does_not_fit_the_cache_counts_apart():
    work = trace(nn.ReLU(), torch.zeros(2**20))
    assert (figure(work, "map", "near"), figure(work, "map", "far")) == (0, 2 * 4 * 2**20)


def test_products_of_matrices_and_softmax():
    def attend(x):
        return torch.softmax(x @ x.transpose(1, 2), -1) @ x

    class Attention(nn.Module):
        def forward(self, x):
            return attend(x)

    work = trace(Attention(), torch.zeros(3, 5, 7))
    assert figure(work, "matmul", "flops") == 2 * 3 * 5 * 5 * 7 * 2
    assert figure(work, "softmax", "calls") == 1


def test_batch_norms_after_convolutions_are_folded():
    model = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
    assert figure(trace(model, torch.zeros(1, 4, 3, 3)), "reduce", "calls") == 0
    assert model[0].weight.device.type == "cpu", "the model is left as it is"


@pytest.mark.parametrize("name", ["dense", "depthwise_separable", "grouped_shuffle", "low_rank"])
def test_linear_kernels_are_traced_at_their_own_operations(name):
    kernel = canvas.zoo()[name]
    flops = kernel.bind([LAYER])[0].flops
    assert trace(kernel.module(LAYER), torch.zeros(1, 8, 6, 4))[:, FIGURES.index("flops")].sum() == flops


def test_what_cannot_run_without_data_is_named():
    class Peeks(nn.Module):
        def forward(self, x):
            return x * float(x.sum())

    with pytest.raises(UserError, match=r"the module cannot be traced without data: RuntimeError: .*meta"):
        trace(Peeks(), torch.zeros(3))


def test_costs_are_found_again():
    work, costs = made()
    times = (work * costs).sum((1, 2))
    model = CostModel.fit(work, times, "eager", 1)
    unseen, _ = made(seed=1)
    predicted = (unseen * model.seconds).sum((1, 2))
    np.testing.assert_allclose(predicted, (unseen * costs).sum((1, 2)), rtol=0.05)
    assert model.correlation > 0.99 and model.spread < 1.05 and (model.seconds >= 0).all()


def test_noise_shows_in_spread_and_correlation():
    work, costs = made(200)
    noise = np.random.default_rng(2).lognormal(sigma=1.0, size=200)
    model = CostModel.fit(work, (work * costs).sum((1, 2)) * noise, "eager", 1)
    assert model.spread > 2 and model.correlation < 0.95


def test_few_modules_are_refused():
    with pytest.raises(UserError, match="at least 10 timed modules, got 4"):
        CostModel.fit(np.ones((4, *SHAPE)), np.ones(4), "eager", 1)


def test_ranks_are_compared():
    assert rank_correlation(np.array([1.0, 2, 3, 4]), np.array([1.0, 4, 9, 16])) == pytest.approx(1)
    assert rank_correlation(np.array([1.0, 2, 3]), np.array([3.0, 2, 1])) == pytest.approx(-1)
    assert rank_correlation(np.array([1.0, 2, 2, 3]), np.array([1.0, 2, 3, 4])) == pytest.approx(0.9486833)


def test_a_model_is_kept(tmp_path):
    work, costs = made()
    model = CostModel.fit(work, (work * costs).sum((1, 2)), "eager", 2)
    path = tmp_path / "new" / "eager-2.json"
    model.save(path)
    again = CostModel.load(path)
    np.testing.assert_array_equal(again.seconds, model.seconds)
    assert (again.backend, again.threads, again.modules) == ("eager", 2, 60)
    network = resnet8()
    assert again.predict(network, torch.zeros(2, 1, 28, 28)) > 0


@pytest.mark.parametrize("text", ["", "{}", "[1]", json.dumps({"format": 1, "kinds": [], "figures": []})])
def test_another_file_is_no_model(tmp_path, text):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(UserError, match="no cost model of this version; make one anew with: canvas calibrate"):
        CostModel.load(tmp_path / "m.json")


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(UserError, match=r"no cost model at .*; make one with: canvas calibrate"):
        CostModel.load(tmp_path / "m.json")


def test_calibration_times_sampled_kernels(monkeypatch):
    seen = []

    def instant(candidate, baseline, example, backend, **options):
        seen.append((candidate, backend, options["threads"]))
        return type("Timing", (), {"median_ms": 1e3 * trace(candidate, example)[:, 1].sum()})()

    monkeypatch.setattr(cost_model.latency, "compare", instant)
    model = cost_model.calibrate("eager", threads=2, kernels=12, batch=2)
    assert len(seen) == model.modules == 12
    assert all(backend == "eager" and threads == 2 for _, backend, threads in seen)


def by_flops(per_flop=1e-9, per_call=0.0):
    costs = np.zeros(SHAPE)
    costs[:, FIGURES.index("flops")] = per_flop
    costs[:, FIGURES.index("calls")] = per_call
    return CostModel("eager", 1, costs, 1.5, 0.9, 20)


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        (
            "low_rank",
            [Layer(16, 24, (6, 6), stride=2, count=3), Layer(16, 16, (6, 6)), Layer(16, 16, (6, 6), window=5)],
        ),
        ("low_rank_linear", [Layer(16, 24, tokens=5), Layer(16, 8, ())]),
    ],
)
def test_prices_of_options_are_what_the_model_predicts_of_their_modules(name, layers):
    kernel, model, batch = canvas.zoo()[name], by_flops(1e-9, 1e-6), 4
    priced = cost_model.prices(kernel, layers, model, batch)
    bound = kernel.bind(layers, Budget(latency=0.8), prices=priced)
    assert 0 < bound.latency <= 0.8 * priced.original
    for one in (bound[i] for i in range(len(layers))):
        layer = one.layer
        shape = layer.spatial or ((layer.tokens,) if layer.tokens else ())
        example = torch.zeros(batch, layer.c_in, *shape) if layer.spatial else torch.zeros(batch, *shape, layer.c_in)
        assert one.latency == pytest.approx(model.predict(module_from_source(one.source()), example))
    assert bound.latency == pytest.approx(sum(bound[i].latency * layers[i].count for i in range(len(layers))))


def test_the_originals_price_counts_windows_groups_and_counts():
    layers = [
        Layer(8, 8, (4, 4), count=2),
        Layer(8, 8, (4, 4), window=5),
        Layer(8, 8, (4, 4), groups=4),
        Layer(8, 6, ()),
    ]
    kernel = canvas.zoo()["low_rank"]
    priced = cost_model.prices(kernel, layers, by_flops(1.0), batch=1)
    assert priced.original == sum(layer.flops * layer.count for layer in layers)


def test_of_many_sizes_some_are_priced_and_only_these_are_chosen():
    kernel = canvas.parse("kernel one(x[C]) -> [K]:\n  a = fc(x, [C] -> [m])\n  return fc(relu(a), [m] -> [K])")
    layer = Layer(8, 8, ())
    priced = cost_model.prices(kernel, [layer], by_flops(), batch=1, most=5)
    bound = kernel.bind([layer], Budget(latency=Amount(1e-9 * 33 * 600)), prices=priced)
    assert bound[0].sizes["m"] == 512 and not bound.complete
    assert [one.sizes["m"] for one in kernel.options(layer, 5)] == [1, 256, 512, 768, 1024]
