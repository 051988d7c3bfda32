"""A study gives the same candidates whatever interrupts it, and records what becomes of each."""

import functools
import itertools
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import canvas
import evaluations
from canvas import _core
from canvas.errors import StudyError, UserError
from canvas.funnel import stages
from canvas.models import resnet8
from canvas.objectives import bar, beats, costs, pareto
from canvas.store import Store
from canvas.study import Study

LAYERS = [_core.Layer(16, 16, (14, 14), count=2), _core.Layer(16, 32, (14, 14), stride=2)]
DRIVER = Path(__file__).with_name("drive_study.py")


def fates(path):
    """What must not depend on interruptions: kernels, their states and their metrics."""
    return [
        (trial.index, trial.hash, trial.text, trial.origin, trial.state, trial.metrics)
        for trial in Study.open(path).trials
    ]


def drive(path, candidates, workers=2):
    entries = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    return subprocess.Popen(
        [sys.executable, DRIVER, path, str(candidates), str(workers)],
        env=os.environ | {"PYTHONPATH": entries},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_same_candidates_for_any_number_of_workers(tmp_path):
    for workers in (1, 3):
        study = Study(tmp_path / f"{workers}.db", LAYERS, seed=5, lookahead=4)
        study.run(evaluations.slow, candidates=10, workers=workers, progress=False)
    assert fates(tmp_path / "1.db") == fates(tmp_path / "3.db")
    assert len({trial.hash for trial in study.trials}) == 10
    assert {trial.state for trial in study.trials} == {"complete"}


def test_a_study_knows_whether_its_layers_have_negative_inputs(tmp_path):
    targets = canvas.targets(resnet8(), torch.zeros(1, 1, 28, 28))
    assert Study(tmp_path / "relu.db", targets).settings["distinct"] == "nonnegative"
    assert Study(tmp_path / "any.db", LAYERS).settings["distinct"] == "result"


def test_given_kernels_come_first(tmp_path):
    zoo = canvas.zoo()
    given = [zoo["low_rank"], zoo["depthwise_separable"], zoo["low_rank"], zoo["low_rank_linear"]]
    study = Study(tmp_path / "study.db", LAYERS, seed=5, lookahead=2, start=given)
    study.run(evaluations.slow, candidates=6, workers=1, progress=False)
    expected = [(kernel.hash, "given") for kernel in given[:2]]  # one alone of equal ones; a linear one does not serve
    assert [(trial.hash, trial.origin) for trial in study.trials][:2] == expected
    assert study.trials[2].origin == "random"
    with pytest.raises(StudyError, match="made with start"):
        Study(tmp_path / "study.db", LAYERS, seed=5, lookahead=2)


def test_on_a_rung_only_the_best_third_of_those_before_goes_on(tmp_path):
    for workers in (1, 3):
        study = Study(tmp_path / f"{workers}.db", LAYERS, seed=5, lookahead=3, rungs=["early"])
        study.run(evaluations.climbing, candidates=24, workers=workers, progress=False)
    assert fates(tmp_path / "1.db") == fates(tmp_path / "3.db")
    points = [(-trial.metrics["early"], trial.metrics["latency_ratio"]) for trial in study.trials]
    for trial, point in zip(study.trials, points, strict=True):
        before = points[: max(0, trial.index - 2)]
        ranks = ranked([*before, point])
        passes = len(before) < 3 or sum(rank < ranks[-1] for rank in ranks) < math.ceil(len(ranks) / 3)
        assert trial.state == ("complete" if passes else "pruned")
        assert passes or trial.reason.startswith(f"early is {trial.metrics['early']:g}, not among the best (")
    assert 0 < study.counts["pruned"] < 24


def test_whoever_is_too_far_below_the_best_on_a_rung_ends_there(tmp_path):
    study = Study(tmp_path / "study.db", LAYERS, seed=5, lookahead=3, rungs=["early"], margin=0.25)
    study.run(evaluations.climbing, candidates=24, workers=2, progress=False)
    early = [trial.metrics["early"] for trial in study.trials]
    poor = 0
    for trial in study.trials:
        best = max(early[: max(0, trial.index - 2)], default=0.0)
        if trial.metrics["early"] < best - 0.25:
            assert trial.state == "pruned"
            poor += "not among the best" in trial.reason
    assert poor > 3
    with pytest.raises(StudyError, match="made with margin"):
        Study(tmp_path / "study.db", LAYERS, seed=5, lookahead=3, rungs=["early"])


def test_the_bar_is_the_last_rank_of_which_all_go_on():
    """Of points with ties, some of whose costs are not known."""
    dice = random.Random(4)
    for _ in range(60):
        points = [[float(dice.randrange(-9, 0)), dice.choice([*map(float, range(6)), math.nan])] for _ in range(30)]
        left, ranks = points, []
        while left:
            ranks.append([point for point in left if not any(beats(other, point) for other in left)])
            left = [point for point in left if not any(point is other for other in ranks[-1])]
        for part in (2, 3, 10):
            passed = itertools.accumulate(map(len, ranks))
            last = next(at for at, count in enumerate(passed) if count >= math.ceil(31 / part))
            assert bar(points, part) == ranks[last]
    assert bar(points[:2], 3) == []


def ranked(points):
    """The length of the longest chain of points each of which beats the next, up to each one: its rank."""

    @functools.cache
    def rank(point):
        better = [
            other for other in points if other != point and all(a <= b for a, b in zip(other, point, strict=True))
        ]
        return max((1 + rank(other) for other in better), default=0)

    return [rank(point) for point in points]


def test_result_is_stored_before_the_next_candidate_depends_on_it(tmp_path):
    study = Study(tmp_path / "study.db", LAYERS, lookahead=3)
    study.run(evaluations.quick, candidates=5, workers=1, progress=False)
    with Store(study.path) as store:
        records = store.records()
    for later in records[3:]:
        assert all(earlier.told <= later.asked for earlier in records[: later.index - 2])


def test_bad_candidates_cost_nothing_else(tmp_path):
    study = Study(tmp_path / "study.db", LAYERS, lookahead=4)
    study.run(evaluations.EveryThird(), candidates=12, workers=2, progress=False)
    reasons = {trial.reason.split(":")[0] for trial in study.trials}
    assert reasons == {"", "crashed", "accuracy is nan"}
    assert [trial.state == "complete" for trial in study.trials] == [not trial.reason for trial in study.trials]
    assert study.counts["failed"] + study.counts["trained"] == 12
    study.run(evaluations.quick, candidates=14, workers=1, progress=False)  # the stored failures replay too
    assert [trial.state for trial in study.trials[12:]] == ["complete"] * 2


def test_over_the_latency_budget_is_pruned(tmp_path):
    study = Study(tmp_path / "study.db", LAYERS, budget=_core.Budget(latency=0.6))
    study.run(evaluations.quick, candidates=12, workers=2, progress=False)
    for trial in study.trials:
        assert trial.state == ("pruned" if trial.metrics["latency_ratio"] > 0.6 else "complete")
        assert "accuracy" in trial.metrics or "the budget is 0.6" in trial.reason
    assert {trial.state for trial in study.trials} == {"pruned", "complete"}


def test_a_prediction_over_the_latency_budget_ends_a_candidate_before_it_is_measured(tmp_path):
    study = Study(tmp_path / "study.db", LAYERS, budget=_core.Budget(latency=0.6))
    study.run(evaluations.predicting, candidates=16, workers=2, progress=False)
    ends = {"", "latency is predicted to be", "latency is"}
    assert {trial.reason.split(" 0.")[0].split(" 1.")[0] for trial in study.trials} == ends
    for trial in study.trials:
        assert ("latency_ratio" in trial.metrics) == ("predicted" not in trial.reason)


def test_front_is_what_nobody_beats(tmp_path):
    study = Study(tmp_path / "study.db", LAYERS, objectives=("accuracy", "latency", "flops"))
    assert study.front() == [] and study.best is None
    study.run(evaluations.quick, candidates=12, workers=2, progress=False)
    trials = study.trials
    points = {trial.index: costs(trial.metrics, study.objectives) for trial in trials}

    def beats(a, b):
        return a != b and all(x <= y for x, y in zip(a, b, strict=True))

    best = [i for i, point in points.items() if not any(beats(other, point) for other in points.values())]
    front = study.front()
    assert sorted(trial.index for trial in front) == best
    accuracies = [trial.metrics["accuracy"] for trial in front]
    assert accuracies == sorted(accuracies, reverse=True)
    assert study.best == front[0]
    assert str(study.best.kernel.hash) == study.best.hash
    assert study.best.binding.flops > 0
    assert pareto([], ["accuracy"]) == []


def test_minutes_end_a_run_and_a_goal_is_needed(tmp_path):
    study = Study(tmp_path / "study.db", LAYERS)
    study.run(evaluations.slow, minutes=0.03, workers=1, progress=False)
    assert study.trials and all(trial.state == "complete" for trial in study.trials)
    with pytest.raises(UserError, match="candidates or minutes"):
        study.run(evaluations.slow)


def test_progress_is_told(tmp_path):
    seen = []
    study = Study(tmp_path / "study.db", LAYERS)
    study.run(evaluations.quick, candidates=3, workers=1, progress=seen.append)
    assert seen[0].told == 0 and seen[-1].told == 3 and seen[-1].fraction == 1
    assert seen[-1].line().startswith("3/3 candidates · ") and "best accuracy" in seen[-1].line()
    study.run(evaluations.quick, candidates=3, workers=1, progress=seen.append)
    assert seen[-1].rate == 0


def test_progress_lines_where_there_is_no_terminal(tmp_path, capsys):
    Study(tmp_path / "study.db", LAYERS).run(evaluations.quick, candidates=3, workers=1)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" · ")[0] for line in lines] == [f"{i}/3 candidates" for i in range(4)]


def test_viewing_while_it_runs_and_one_driver_at_a_time(tmp_path):
    path = tmp_path / "study.db"
    driver = drive(path, 10)
    end = time.monotonic() + 120
    while not (path.exists() and path.stat().st_size and any(fate[4] == "complete" for fate in fates(path))):
        assert time.monotonic() < end
        time.sleep(0.05)
    with pytest.raises(StudyError, match="another process is running this study"):
        Study.open(path).run(evaluations.quick, candidates=10, progress=False)
    while driver.poll() is None:
        Study.open(path).front()
        time.sleep(0.02)
    assert driver.returncode == 0, driver.stderr.read()


def test_ctrl_c_stops_and_leaves_a_study_to_resume(tmp_path):
    path = tmp_path / "study.db"
    driver = drive(path, 1000)
    end = time.monotonic() + 120
    while not (path.exists() and path.stat().st_size and len(fates(path)) > 3):
        assert time.monotonic() < end
        time.sleep(0.05)
    driver.send_signal(signal.SIGINT)
    assert driver.wait(120) != 0
    assert "KeyboardInterrupt" in driver.stderr.read()
    done = len(fates(path))
    Study.open(path).run(evaluations.slow, candidates=done, workers=2, progress=False)
    assert [fate[4] for fate in fates(path)] == ["complete"] * done


def test_other_arguments_for_an_existing_study(tmp_path):
    path = tmp_path / "study.db"
    Study(path, LAYERS, seed=1, budget=_core.Budget(flops=(0.1, 0.5)))
    Study(path, LAYERS, seed=1, budget=_core.Budget(flops=(0.1, 0.5)))
    with pytest.raises(StudyError, match="holds a study made with seed 1, not 2"):
        Study(path, LAYERS, seed=2, budget=_core.Budget(flops=(0.1, 0.5)))
    assert Study.open(path).budget.flops == (0.1, 0.5)
    assert Study.open(path).layers == LAYERS


def test_candidates_of_another_version_are_noticed(tmp_path):
    study = Study(tmp_path / "study.db", LAYERS)
    study.run(evaluations.quick, candidates=3, workers=1, progress=False)
    with Store(study.path, "drive") as store:
        store.database.write(("UPDATE candidates SET hash = :hash WHERE number = 1", [{"hash": "f00d"}]))
    with pytest.raises(StudyError, match=r"another version of Canvas \(candidate 1 comes out differently\)"):
        study.run(evaluations.quick, candidates=4, progress=False)


def test_faults_of_the_evaluation_end_the_run_but_not_the_study(tmp_path):
    study = Study(tmp_path / "study.db", LAYERS, objectives=("accuracy", "energy"))
    with pytest.raises(UserError, match="no value for the objective 'energy'; it gives accuracy, flops, latency_ratio"):
        study.run(evaluations.quick, candidates=4, progress=False)
    assert {trial.state for trial in study.trials} == {"running"}
    study = Study(tmp_path / "rungs.db", LAYERS, rungs=["early"])
    with pytest.raises(UserError, match="no value for the rung 'early'; it gives accuracy, flops, latency_ratio"):
        study.run(evaluations.quick, candidates=4, progress=False)
    assert {trial.state for trial in study.trials} == {"running"}


def test_compared_kernels_are_sized_by_the_budget_but_not_turned_down(tmp_path):
    study = Study(tmp_path / "study.db", LAYERS, budget=_core.Budget(flops=0.5, latency=0.6))
    zoo = canvas.zoo()
    done = []
    kernels = {"low_rank": zoo["low_rank"], "dense": zoo["dense"]}
    found = study.compare(evaluations.share_of_flops, kernels, workers=1, progress=lambda name, _: done.append(name))
    assert found["low_rank"]["flops"] <= 0.5 < found["dense"]["flops"]
    assert done == ["low_rank", "dense"]


def test_the_stages_tell_who_passed_and_how_well_they_rank(tmp_path):
    study = Study(tmp_path / "study.db", LAYERS, budget=canvas.Budget(latency=0.9), seed=5, rungs=["early"])
    study.run(evaluations.climbing, candidates=30, workers=2, progress=False)
    found = {stage.name: stage for stage in stages(study)}
    assert list(found) == ["sampling", "latency_ratio", "early", "training", "flops alone"]
    states = [trial.state for trial in study.trials]
    assert found["sampling"].left == found["latency_ratio"].entered == 30
    assert found["early"].entered == sum("early" in trial.metrics for trial in study.trials)
    assert found["latency_ratio"].left == found["early"].entered < 30
    assert found["training"].entered == found["early"].left == found["training"].left == states.count("complete")
    assert found["early"].correlation > 0.7, "it is the accuracy, rounded"
    assert abs(found["flops alone"].correlation) < 0.7, "the metrics are random numbers"


def test_numbers_that_are_not_finite_set_no_bar_interrupted_or_not(tmp_path):
    for path, goals in ((tmp_path / "once.db", (14,)), (tmp_path / "twice.db", (7, 14))):
        for goal in goals:
            study = Study(path, LAYERS, seed=5, lookahead=1, rungs=["early"])
            study.run(evaluations.infinite, candidates=goal, workers=1, progress=False)
    assert [fate[:5] for fate in fates(tmp_path / "once.db")] == [fate[:5] for fate in fates(tmp_path / "twice.db")]


def test_the_time_that_a_study_lay_idle_is_not_spent(tmp_path, monkeypatch):
    clock = itertools.count(1000.0, 60.0)
    monkeypatch.setattr("canvas.store.time.time", lambda: next(clock))
    study = Study(tmp_path / "study.db", LAYERS, seed=5, lookahead=1)
    study.run(evaluations.quick, candidates=1, workers=1, progress=False)
    with Store(study.path, "drive") as store:
        record = study.trials[0]
        store.ask(type(record)(1, "k", "text", "random"))
        clock = itertools.count(90_000.0, 60.0)
        store.again(1)
        store.tell(1, "failed", "\udce9")
    assert study.minutes_spent == 2
    assert Study.open(study.path).trials[1].reason == "?"


def test_arguments_of_another_kind_are_refused_or_taken(tmp_path):
    with pytest.raises(UserError, match=r"objectives: needs a list of names, such as \['accuracy', 'latency'\]"):
        Study(tmp_path / "study.db", LAYERS, objectives="accuracy")
    study = Study(tmp_path / "study.db", LAYERS, prior=None)
    assert study.settings["learned_from"] == []
    assert study.compare(evaluations.quick, {}) == {}
