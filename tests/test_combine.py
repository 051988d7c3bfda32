"""Mixtures of kernels: what they cost, that the best is found, that a run that was stopped goes on as if it had not."""

import itertools
import json
import math

import numpy as np
import pytest
import torch

import canvas
import evaluations
from canvas import _core
from canvas.additive import Additive
from canvas.combine import MixtureJudge, Trainer, Tried, combine, tried_of
from canvas.errors import UserError
from canvas.layers import Target, merged, replace, targets
from canvas.mixture import Mixture, bind_served, mixture_hash, stages
from canvas.mixture_space import Space
from canvas.models import resnet8
from canvas.report import write_report
from canvas.store import Store
from canvas.study import Study

FOUND = [
    Target("a", _core.Layer(16, 16, (14, 14))),
    Target("b", _core.Layer(16, 16, (14, 14))),
    Target("c", _core.Layer(16, 32, (14, 14), stride=2)),
    Target("d", _core.Layer(32, 32, (7, 7))),
    Target("e", _core.Layer(32, 64, (7, 7), stride=2)),
]
BUDGET = canvas.Budget(latency=0.55)
ZOO = canvas.zoo()
GIVEN = [ZOO[name] for name in ("low_rank", "depthwise_separable", "shift_pointwise", "grouped", "low_rank_linear")]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A finished study of layers that have names."""
    study = Study(tmp_path_factory.mktemp("study") / "study.db", FOUND, seed=3, prior=())
    study.run(evaluations.additive, candidates=24, workers=2, progress=False)
    return study


def copied(study, tmp_path):
    path = tmp_path / "study.db"
    path.write_bytes(study.path.read_bytes())
    return Study.open(path)


def test_stages_are_layers_of_one_extent_of_one_shape_or_single():
    def named(by):
        return {name: [target.name for target in own] for name, own in stages(FOUND, by).items()}

    assert named("stage") == {"14x14": ["a", "b"], "7x7": ["c", "d"], "4x4": ["e"]}
    assert named("layer") == {name: [name] for name in "abcde"}
    assert list(named("shape").values()) == [["a", "b"], ["c"], ["d"], ["e"]]
    with pytest.raises(UserError, match="by 'kind', only by stage, shape, layer"):
        stages(FOUND, "kind")


def test_a_mixture_costs_what_its_layers_cost():
    layers = merged(FOUND)
    fast, low = (ZOO[name].bind(layers) for name in ("depthwise_separable", "low_rank"))
    parts = {"a": fast, "b": low, "c": None, "d": fast, "e": low}
    mixture = Mixture(FOUND, parts)
    low_on = {low[i].layer.c_out: low[i] for i in range(len(low))}  # layers with 16, 32 or 64 channels out
    fast_on = {fast[i].layer.c_in: fast[i] for i in range(len(fast)) if fast[i].layer.stride == 1}
    held = [fast_on[16], low_on[16], FOUND[2].layer, fast_on[32], low_on[64]]
    for cost in ("flops", "params"):
        assert getattr(mixture, cost) == sum(getattr(thing, cost) for thing in held)
    assert mixture.memory == max(thing.memory for thing in held)
    assert Mixture(FOUND, {}).flops == sum(t.layer.flops for t in FOUND)
    assert mixture.hash == mixture_hash({name: part and part.kernel.hash for name, part in parts.items()})
    assert mixture.hash != Mixture(FOUND, parts | {"c": fast}).hash
    with pytest.raises(UserError, match="there is no target 'z'"):
        Mixture(FOUND, {"z": fast})


def test_replace_takes_a_kernel_for_each_target():
    model, example = resnet8(), torch.randn(2, 1, 28, 28)
    found = targets(model, example)
    fast, shift = ZOO["depthwise_separable"], ZOO["shift_pointwise"]
    wanted = {found[0].name: fast, found[1].name: shift, found[2].name: None, found[3].name: fast}
    torch.manual_seed(0)
    mixed = replace(model, wanted, example=example)
    torch.manual_seed(0)
    step = model
    for target in found:  # one after the other gives the same
        if wanted.get(target.name) is not None:
            step = replace(step, wanted[target.name], [target])
    for name, value in step.state_dict().items():
        assert torch.equal(value, mixed.state_dict()[name])
    assert torch.equal(step.eval()(example), mixed.eval()(example))
    assert mixed.get_submodule(found[2].name).weight.shape == model.get_submodule(found[2].name).weight.shape
    binding = fast.bind(merged(found))
    applied = Mixture(found, {found[0].name: binding}).apply(model)
    assert sum(p.numel() for p in applied.parameters()) == sum(p.numel() for p in model.parameters()) - (
        found[0].layer.params - fast.bind([found[0].layer]).params
    )
    with pytest.raises(UserError, match=r"replace: no target is called 'stem'; there are stages.0.0.conv1, "):
        replace(model, {"stem": fast}, example=example)


def test_effects_that_add_up_are_learned():
    random = torch.Generator().manual_seed(1)
    effects = torch.rand(3, 4, generator=random).numpy()
    picks = list(itertools.product(range(4), repeat=3))
    values = [sum(effects[s, a] for s, a in enumerate(chosen)) for chosen in picks]
    model = Additive(3, 4, noise=0.01)
    model.learn(picks[::3], values[::3])
    for chosen, value in zip(picks, values, strict=True):
        assert sum(model.mean[s, a] for s, a in enumerate(chosen)) == pytest.approx(value, abs=0.05)
    few = Additive(3, 4, noise=0.4)
    few.learn(picks[:2], values[:2])
    spread = [few.drawn(np.random.default_rng(i)).std() for i in range(2)]
    assert spread[0] != spread[1], "draws differ where little is known"


def optimum(study, budget, by, original=True, kernels=None):
    """The least loss of all mixtures, by trying all of them."""
    space = Space(study, budget, by, kernels, original)
    best = math.inf
    for picks in itertools.product(range(len(space.kernels)), repeat=len(space.stages)):
        metrics = evaluations.additive(space.mixture(picks), 0, lambda *_: None)
        if space.within(picks, metrics):
            best = min(best, -metrics["accuracy"])
    return -best


@pytest.mark.parametrize("by", ["stage", "layer"])
def test_where_parts_add_up_the_best_mixture_is_found(study, tmp_path, by):
    mine = copied(study, tmp_path)
    found = combine(mine, evaluations.additive, BUDGET, by, trainings=48, workers=2)
    assert found.metrics["latency_ratio"] <= 0.55
    assert found.metrics["accuracy"] == pytest.approx(optimum(study, BUDGET, by), abs=1e-9)
    assert list(found.names) == list(stages(FOUND, by))
    assert found.uniform is None or found.metrics["accuracy"] >= found.uniform[1]["accuracy"]
    fit = [t.metrics["accuracy"] for t in study.trials if t.state == "complete" and t.metrics["latency_ratio"] <= 0.55]
    assert found.metrics["accuracy"] >= max(fit)


def test_the_limits_of_a_budget_hold_whatever_is_most_accurate(study, tmp_path):
    mine = copied(study, tmp_path)
    budget = canvas.Budget(flops=0.4, params=0.5, memory=2.0)
    found = combine(mine, evaluations.additive, budget, kernels=GIVEN, trainings=12, workers=1)
    whole = [sum(getattr(t.layer, cost) for t in FOUND) for cost in ("flops", "params")]
    assert found.mixture.flops <= 0.4 * whole[0] and found.mixture.params <= 0.5 * whole[1]
    assert found.mixture.memory <= 2 * max(t.layer.memory for t in FOUND)
    assert found.metrics["accuracy"] == pytest.approx(optimum(study, budget, "stage", kernels=GIVEN), abs=1e-9)
    space = Space(study, budget, "stage", GIVEN, False)
    single = {picks: space.mixture(picks) for picks in map(space.uniform, range(len(space.kernels))) if picks}
    told = {picks: evaluations.additive(mixture, 0, lambda *_: None) for picks, mixture in single.items()}
    fit = {next(iter(space.names(picks).values())): m for picks, m in told.items() if space.within(picks, m)}
    best = max(fit, key=lambda name: fit[name]["accuracy"])
    assert found.uniform == (best, pytest.approx(fit[best]))


def never(names, metrics):
    raise AssertionError(f"{names} is known")


class Stop(Exception):
    """Raised on the way, as Ctrl-C would."""


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not(study, tmp_path):
    runs = []
    for stops, workers in (((), 1), ((3, 5), 2)):
        folder = tmp_path / str(workers)
        folder.mkdir()
        mine = copied(study, folder)
        for after in stops:
            left = iter(range(after))

            def stop(names, metrics, left=left):
                if next(left, None) is None:
                    raise Stop

            with pytest.raises(Stop):
                combine(mine, evaluations.additive, BUDGET, trainings=16, workers=workers, progress=stop)
            mine = Study.open(mine.path)
        done = len(tried_of(mine.settings.get("mixtures", {})))
        assert done == sum(stops) + len(stops)
        found = combine(mine, evaluations.additive, BUDGET, trainings=16, workers=workers)
        tried = tried_of(Study.open(mine.path).settings["mixtures"])
        runs.append((found.names, found.metrics, sorted((one.hash, one.seed, one.state) for one in tried)))
        combine(mine, evaluations.additive, BUDGET, trainings=16, progress=never)
    assert runs[0] == runs[1]
    assert len({(one[0], one[1]) for one in runs[0][2]}) == len(runs[0][2])


def test_the_answer_is_stored_shown_and_reported(study, tmp_path):
    mine = copied(study, tmp_path)
    first = combine(mine, evaluations.additive, BUDGET, trainings=8, workers=2)
    combine(mine, evaluations.additive, canvas.Budget(latency=0.8), trainings=4, workers=2)
    combine(mine, evaluations.additive, BUDGET, trainings=8, workers=2)
    best = Study.open(mine.path).settings["mixtures"]["best"]
    assert [one["budget"]["latency"] for one in best] == [[0.0, 0.8], [0.0, 0.55]]
    assert best[1]["names"] == first.names and best[1]["hash"] == first.mixture.hash
    assert best[1]["metrics"] == first.metrics
    page = write_report(Study.open(mine.path), tmp_path / "report.html").read_text()
    assert "Mixture 2, by stage" in page and all(name in page for name in first.names.values())
    assert json.loads(json.dumps(best)) == best
    mine.run(evaluations.additive, candidates=26, workers=2, progress=False)  # the study goes on


def test_what_cannot_be_combined_is_said(study, tmp_path):
    mine, additive = copied(study, tmp_path), evaluations.additive
    with pytest.raises(UserError, match="combine: say what to stay within"):
        combine(mine, additive)
    with pytest.raises(UserError, match=r"flops are 0\.\d+ of the original's at least, the budget is 0.001; raise it"):
        combine(mine, additive, canvas.Budget(flops=0.001))
    with pytest.raises(UserError, match="fewer than two kernels"):
        combine(mine, additive, BUDGET, kernels=[ZOO["low_rank_linear"]])
    with pytest.raises(UserError, match="no mixture that was trained keeps the budget"):
        combine(mine, additive, canvas.Budget(latency=0.01), trainings=2)
    bare = Study(tmp_path / "bare.db", merged(FOUND), seed=3)
    with pytest.raises(UserError, match=r"made for bare layers; make it with what canvas\.targets gives"):
        combine(bare, additive, BUDGET, kernels=GIVEN)


def test_a_worker_binds_what_the_driver_costs(study):
    """The worker makes a mixture from texts alone; it has the sizes that the driver knows."""
    space = Space(study, BUDGET, "layer", GIVEN, True)
    picks = (1, 2, 3, 0, 4)
    seen = []

    def look(mixture, seed, report):
        seen.append(mixture)
        return {"accuracy": 0.5, "latency_ratio": 0.5}

    judge = MixtureJudge(look, study.settings, 0.55)
    judge.prepare()
    text = {kernel.hash: str(kernel) for kernel in space.kernels if kernel is not None}
    judge({name: key and text[key] for name, key in space.hashes(picks).items()}, 3, lambda *_: None)
    ours = space.mixture(picks)
    assert (seen[0].hash, seen[0].flops, seen[0].params, seen[0].memory) == (
        ours.hash, ours.flops, ours.params, ours.memory,
    )  # fmt: skip


def test_layers_that_a_kernel_does_not_serve_are_left_out():
    layers = [_core.Layer(8, 8), _core.Layer(8, 8, ())]
    assert [bind_served(ZOO["dense"], layers, None, {})[0].layer] == layers[:1]
    assert bind_served(ZOO["low_rank_linear"], layers[:1], None, {}) is None


def test_what_a_tight_limit_left_out_is_trained_for_a_wider_one(study):
    space = Space(study, canvas.Budget(latency=0.5), "stage", GIVEN, False)
    fates = {"slow": ("pruned", 0.6), "quick": ("pruned", 0.5), "bad": ("failed", 0.1), "done": ("complete", 0.4)}
    with Store(study.path) as store:
        trainer = Trainer(store, None, space, never)
    trainer.known = {
        (name, 0): Tried({}, 0, state, "", {"latency_ratio": latency}) for name, (state, latency) in fates.items()
    }
    assert [name for name in fates if trainer._meets_now((name, 0))] == ["quick"]
