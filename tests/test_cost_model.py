"""What the cost model learns of what networks do; times are made here, not measured."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import canvas
from canvas import Amount, Budget, Layer, cost_model
from canvas.cost_model import CostModel
from canvas.errors import UserError
from canvas.kernel import module_from_source
from canvas.models import resnet8
from canvas.objectives import rank_correlation
from canvas.workload import ENDS, NATIVE, OPERATIONS

LAYER = Layer(8, 12, (6, 4))
COUNT = len(OPERATIONS.figures)


def made(count=60, seed=0):
    """Work of so many modules and what it takes at costs that are known."""
    rng = np.random.default_rng(seed)
    work, costs = rng.lognormal(size=(count, COUNT)), rng.random(COUNT) * (rng.random(COUNT) < 0.5)
    return work, costs


def test_costs_are_found_again():
    work, costs = made()
    times = work @ costs
    model = CostModel.fit(work, times, "eager", 1)
    unseen, _ = made(seed=1)
    np.testing.assert_allclose(unseen @ model.seconds, unseen @ costs, rtol=0.05)
    assert model.correlation > 0.99 and model.spread < 1.05 and (model.seconds >= 0).all()


def test_noise_shows_in_spread_and_correlation():
    work, costs = made(200)
    noise = np.random.default_rng(2).lognormal(sigma=1.0, size=200)
    model = CostModel.fit(work, work @ costs * noise, "eager", 1)
    assert model.spread > 2 and model.correlation < 0.95


def test_few_modules_are_refused():
    with pytest.raises(UserError, match="at least 10 timed modules, got 4"):
        CostModel.fit(np.ones((4, COUNT)), np.ones(4), "eager", 1)


def test_ranks_are_compared():
    assert rank_correlation(np.array([1.0, 2, 3, 4]), np.array([1.0, 4, 9, 16])) == pytest.approx(1)
    assert rank_correlation(np.array([1.0, 2, 3]), np.array([3.0, 2, 1])) == pytest.approx(-1)
    assert rank_correlation(np.array([1.0, 2, 2, 3]), np.array([1.0, 2, 3, 4])) == pytest.approx(0.9486833)


def test_a_model_is_kept(tmp_path):
    work, costs = made()
    model = CostModel.fit(work, work @ costs, "eager", 2)
    path = tmp_path / "new" / "eager-2.json"
    model.save(path)
    again = CostModel.load(path)
    np.testing.assert_array_equal(again.seconds, model.seconds)
    assert (again.backend, again.threads, again.modules) == ("eager", 2, 60)
    network = resnet8()
    assert again.predict(network, torch.zeros(2, 1, 28, 28)) > 0


OLDER = json.dumps({"format": 1, "backend": "eager", "kinds": ["dense"], "figures": ["calls"], "seconds": [[1.0]]})


@pytest.mark.parametrize("text", ["", "{}", "[1]", json.dumps({"format": 2, "backend": "eager", "figures": []}), OLDER])
def test_another_file_is_no_model(tmp_path, text):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(UserError, match=r"no cost model of this version; make one anew with: canvas calibrate -o /"):
        CostModel.load(tmp_path / "m.json")


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(UserError, match=r"no cost model at .*; make one with: canvas calibrate -o .*m.json"):
        CostModel.load(tmp_path / "m.json")


def test_calibration_times_sampled_kernels(monkeypatch):
    seen = []

    def instant(candidate, baseline, example, backend, **options):
        seen.append((candidate, backend, options["threads"]))
        return type("Timing", (), {"median_ms": 1e3 * NATIVE.trace(candidate, example, 1)[0]})()

    monkeypatch.setattr(cost_model.latency, "compare", instant)
    model = cost_model.calibrate("eager", threads=2, kernels=12, batch=2)
    assert len(seen) == model.modules == 12
    assert all(backend == "eager" and threads == 2 for _, backend, threads in seen)


def by_flops(per_flop=1e-9, per_call=0.0):
    each = {"flops": per_flop, "calls": per_call} | dict.fromkeys(ENDS, 1e-3)
    costs = np.array([each.get(name.split()[-1], 0.0) for name in OPERATIONS.figures])
    return CostModel("eager", 1, costs, 1.5, 0.9, 20)


def by_cycles():
    return CostModel("native", 1, np.array([1e-9, *[1e-3] * len(ENDS)]), 1.5, 0.9, 20)


def test_within_a_network_nothing_is_stored_anew():
    module, example = nn.Conv2d(4, 8, 1), torch.zeros(2, 4, 3, 3)
    for model in (by_flops(), by_cycles()):
        stored = model.predict(module, example) - model.predict(module, example, alone=False)
        assert stored == pytest.approx(1e-3 * 4 * 2 * 9 * (4 + 8))


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
@pytest.mark.parametrize(
    ("model", "most"), [(by_flops(1e-9, 1e-6), 0.8), (by_cycles(), 0.95)], ids=["operations", "native"]
)
def test_prices_of_options_are_what_the_model_predicts_of_their_modules(name, layers, model, most):
    kernel, batch = canvas.zoo()[name], 4
    priced = cost_model.prices(kernel, layers, model, batch)
    bound = kernel.bind(layers, Budget(latency=most), prices=priced)
    assert 0 < bound.latency <= most * priced.original
    for one in (bound[i] for i in range(len(layers))):
        layer = one.layer
        shape = layer.spatial or ((layer.tokens,) if layer.tokens else ())
        example = torch.zeros(batch, layer.c_in, *shape) if layer.spatial else torch.zeros(batch, *shape, layer.c_in)
        assert one.latency == pytest.approx(model.predict(module_from_source(one.source()), example, alone=False))
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


def test_what_a_part_costs_is_learned_of_the_others():
    work, costs = made(80)
    times, parts = work @ costs, np.arange(80) % 4
    predicted = cost_model.left_out(work, times, parts)
    times[parts == 2] *= 100
    np.testing.assert_array_equal(cost_model.left_out(work, times, parts)[parts == 2], predicted[parts == 2])
    assert (predicted >= 0).all() and cost_model.spread(predicted, work @ costs) < 1.05


def test_no_layer_is_left_out_whole():
    """Kernels take turns on the layers: were the parts taken in turn too, each would be a layer."""
    work, costs = made(100)
    layer = np.arange(100) % len(cost_model.LAYERS)
    times = work @ costs + 10.0 * work.sum(1) * (layer == 0)
    seen = np.column_stack([work, work.sum(1) * (layer == 0)])
    assert CostModel.fit(seen, times, "eager", 1).spread < 1.05
    assert cost_model.spread(cost_model.left_out(seen, times, layer), times) > 2
