"""What earlier searches teach: what comes with Canvas is what the table says, studies teach of any objective, and what
a search was told decides its first candidates."""

import json
import statistics
from pathlib import Path

import pytest

import canvas
from canvas import Budget, Layer, _core
from canvas.errors import StudyError, UserError
from canvas.objectives import rank_correlation
from canvas.prior import FEWEST, FILE, fitted, learned
from canvas.study import Study

LAYERS = [Layer(16, 16, (14, 14), count=2), Layer(16, 32, (14, 14), stride=2)]
OTHERS = [Layer(24, 48, (10, 10))]
BENCHMARKS = Path(__file__).parents[1] / "benchmarks" / "search"


def features(kernel, layers=LAYERS):
    return _core.features(kernel, layers, Budget())


def shifts(binding, seed, report) -> dict[str, float]:
    """A made-up accuracy: the more shifts, the better."""
    return {"accuracy": sum("shift" in line for line in str(binding.kernel).splitlines()) / 8, "flops": binding.flops}


def mean_of_first(count: int, seed: int, prior) -> float:
    search = _core.Search(LAYERS, seed=seed, prior=prior)
    kernels = [search.ask().kernel for _ in range(count)]
    return statistics.fmean(shifts(kernel.bind(LAYERS), 0, None)["accuracy"] for kernel in kernels)


def test_features_are_those_of_the_canonical_form():
    kernel = canvas.zoo()["depthwise_separable"]
    renamed = canvas.parse(str(kernel).replace("v1", "other").replace("kernel ", "kernel other_", 1))
    assert features(kernel) == features(renamed)
    assert features(kernel) != features(canvas.zoo()["shift_pointwise"])
    with pytest.raises(canvas.Infeasible):
        _core.features(kernel, LAYERS, Budget(flops=1e-6))


def test_what_comes_with_canvas_is_what_the_table_says(monkeypatch):
    """Fails where features change: then `benchmarks/search/table.py learn` makes it anew."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import table

    rows = json.loads(table.FILE.read_text(encoding="utf-8"))["kernels"]
    assert table.learned(rows) == pytest.approx(json.loads(FILE.read_text(encoding="utf-8")), rel=2e-3, abs=1e-4)
    half = [row for number, row in enumerate(rows) if number % 2]
    coefficients = table.learned(half)
    unseen, layers = [row for number, row in enumerate(rows) if number % 8 == 0], table.layers()
    predicted = [
        sum(a * b for a, b in zip(coefficients, features(canvas.parse(row["kernel"]), layers), strict=True))
        for row in unseen
    ]
    accuracies = [-statistics.fmean(seed["accuracy"] for seed in row["seeds"]) for row in unseen]
    assert rank_correlation(predicted, accuracies) > 0.6


def test_examples_come_on_top_of_what_is_expected():
    few = [features(kernel) for kernel in canvas.sample(LAYERS, 12, seed=1)]
    outputs = [row[1] for row in few]  # what the FLOPs are
    plain, known = fitted(few, outputs, []), [0.0] * len(few[0])
    assert plain[1] > 0
    known[1] = -3.0
    assert fitted([], [], known) == known
    assert -3.0 < fitted(few, outputs, known)[1] < plain[1]


def test_a_search_begins_with_what_it_is_told():
    kernels = canvas.sample(LAYERS, 200, seed=3)
    rows = [features(kernel) for kernel in kernels]
    outputs = [-shifts(kernel.bind(LAYERS), 0, None)["accuracy"] for kernel in kernels]
    told = [fitted(rows, outputs, []), []]
    assert mean_of_first(8, 0, told) > 2 * mean_of_first(8, 0, [])
    contrary = [[-number for number in told[0]], []]
    assert mean_of_first(8, 0, contrary) < mean_of_first(8, 0, [])


def test_a_study_teaches_another_on_other_layers(tmp_path):
    first = Study(tmp_path / "first.db", LAYERS, objectives=("accuracy",), lookahead=2, prior=())
    first.run(shifts, candidates=40, workers=1, progress=False)
    assert first.settings["prior"] == first.settings["learned_from"] == []
    taught = Study(tmp_path / "taught.db", OTHERS, objectives=("accuracy",), lookahead=2, prior=[first, first.path])
    untaught = Study(tmp_path / "untaught.db", OTHERS, objectives=("accuracy",), lookahead=2, prior=())
    assert taught.settings["learned_from"] == 2 * [str(first.path)]
    means = []
    for study in (taught, untaught):
        study.run(shifts, candidates=16, workers=1, progress=False)
        means.append(statistics.fmean(trial.metrics["accuracy"] for trial in study.trials))
    assert means[0] > means[1]
    first.path.unlink()  # what was learned lies in the study that learned it
    again = Study(tmp_path / "taught.db", OTHERS, objectives=("accuracy",), lookahead=2)
    again.run(shifts, candidates=20, workers=1, progress=False)
    assert len(again.trials) == 20


def test_what_nothing_is_known_of_has_no_prior(tmp_path):
    assert learned(["energy", "latency"], ["canvas"]) == []
    assert [len(known) for known in learned(["latency", "loss"], ["canvas"])] == [0, len(features(canvas.zoo()["cp"]))]
    assert Study(tmp_path / "random.db", LAYERS, strategy="random").settings["prior"] == []
    alone, listed = (Study(tmp_path / f"{len(prior)}.db", LAYERS, prior=prior) for prior in ("canvas", ["canvas"]))
    assert alone.settings["prior"] == listed.settings["prior"] != []


def test_too_little_to_learn_from(tmp_path):
    study = Study(tmp_path / "study.db", LAYERS, objectives=("accuracy", "flops"), lookahead=2)
    study.run(shifts, candidates=FEWEST - 1, workers=1, progress=False)
    with pytest.raises(UserError, match="fewer than 8 candidates have accuracy, latency: too few to learn from"):
        learned(["accuracy", "latency"], [study.path])
    with pytest.raises(StudyError, match=r"missing\.db"):
        Study(tmp_path / "other.db", LAYERS, prior=["canvas", tmp_path / "missing.db"])
    assert not (tmp_path / "other.db").exists()


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        ([[1.0, 2.0]], "must be 167 finite numbers, got 2; it may be of another version"),
        ([[float("nan")] * 167], "must be 167 finite numbers"),
    ],
)
def test_coefficients_that_are_none(prior, message):
    with pytest.raises(ValueError, match=message):
        _core.Search(LAYERS, prior=prior)
    with pytest.raises(ValueError, match=message):
        _core.taught([], [], prior[0])
