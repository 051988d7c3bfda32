"""The command line: what it prints. Its errors are in test_bad_input.py."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import typer

from canvas import _core
from canvas.cli import COMMANDS, main, options
from canvas.errors import UserError
from canvas.study import Study

GOOD = "kernel pointwise(x[C, H, W]) -> [K, H/s, W/s]:\n  p = subsample(x, H: s, W: s)\n  return fc(p, [C] -> [K])\n"
BAD = "kernel pointwise(x[C, H, W]) -> [K, H/s, W/s]:\n  p = nothing(x)\n  return fc(p, [C] -> [K])\n"
LAYERS = [_core.Layer(16, 16, (14, 14), count=2), _core.Layer(16, 32, (14, 14), stride=2)]

MODEL = """
import torch
def build():
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3, 2, 1), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3, 1, 1))
    return torch.nn.Sequential(net, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 10))
"""


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "pointwise.canvas"
    path.write_text(GOOD)
    return str(path)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(MODEL)
    return str(path)


@pytest.fixture
def images(tmp_path):
    """The training files of Fashion-MNIST with noise for images."""
    folder = tmp_path / "images"
    folder.mkdir()
    dice = np.random.default_rng(1)
    sizes = {"train-images-idx3-ubyte": (2051, (60000, 28, 28), 256), "train-labels-idx1-ubyte": (2049, (60000,), 10)}
    for name, (magic, shape, values) in sizes.items():
        header = np.array([magic, *shape], ">u4").tobytes()
        (folder / name).write_bytes(header + dice.integers(values, size=shape, dtype=np.uint8).tobytes())
    return folder


@pytest.fixture
def study(tmp_path):
    """A study with one candidate of each fate."""
    study = Study(tmp_path / "study.db", LAYERS, seed=1)
    import evaluations

    study.run(evaluations.EveryThird(), candidates=6, workers=2, progress=False)
    return study


def printed(capsys, *arguments):
    """What a command prints as JSON."""
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_help_of_bench_names_every_backend(capsys, monkeypatch):
    from canvas.backends import BACKENDS, NAMED

    monkeypatch.setenv("COLUMNS", "400")
    assert main(["bench", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in BACKENDS | NAMED)


@pytest.mark.parametrize("command", [command.__name__ for command in COMMANDS])
def test_help_has_examples(command, capsys):
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Examples:" in text and f"canvas {command}" in text and "--json" in text


def test_without_arguments_it_helps(capsys):
    assert main([]) == 0
    assert "search" in capsys.readouterr().out


def test_sample_draws_the_landscape_with_the_zoo_in_it(capsys, tmp_path):
    path = tmp_path / "landscape.html"
    assert printed(capsys, "sample", "--layer", "16,32,8x8", "--count", "20", "--plot", str(path)) == {
        "plot": str(path)
    }
    page = path.read_text(encoding="utf-8")
    assert "sampled (20)" in page and "hand-designed" in page and "depthwise_separable" in page
    assert "mlp_mixer" not in page, "tokens are not mixed by a convolution's layer"
    assert not re.search(r"<script[^>]*src=", page), "it opens offline"


def test_doctor_says_what_is_here_and_how_to_get_the_rest(capsys, monkeypatch, tmp_path):
    from canvas import backends

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CANVAS_DATA", str(tmp_path))
    monkeypatch.setattr(backends.OpenVino, "packages", ("no_such_package",))
    (tmp_path / "canvas" / "cost").mkdir(parents=True)
    (tmp_path / "canvas" / "cost" / "eager-2.json").touch()
    (tmp_path / "data_batch_1.bin").touch()
    monkeypatch.setenv("CXX", "no-such-compiler")
    rows = {row["what"]: row for row in printed(capsys, "doctor")}
    assert rows["backend native"]["found"] is None and "apt install g++" in rows["backend native"]["hint"]
    assert rows["backend openvino"]["found"] is None
    assert rows["backend openvino"]["hint"] == "pip install 'canvas-kas[openvino]'"
    assert rows["cost model eager"]["found"] == "threads: 2"
    assert rows["cost model inductor"]["hint"] == "canvas calibrate --backend inductor"
    assert rows["data cifar10"]["found"] == str(tmp_path) and "CANVAS_DATA" in rows["data cifar100"]["hint"]
    assert main(["doctor"]) == 0 and "pip install 'canvas-kas[openvino]'" in capsys.readouterr().out


def test_doctor_takes_a_package_of_a_distribution_with_another_name(capsys, monkeypatch):
    from canvas import backends

    monkeypatch.setattr(backends.OpenVino, "packages", ("json", "typer"))
    rows = {row["what"]: row for row in printed(capsys, "doctor")}
    assert re.fullmatch(r"json installed, typer [\d.]+", rows["backend openvino"]["found"])


def test_rediscover_counts_tries(capsys):
    limits = [f"--limit={name}" for name in ("max_primitives=4", "shift=0", "split=0", "add=0", "mul=0")]
    found = printed(capsys, "rediscover", "dense", "--samples", "40", "--seeds", "2", "--workers", "1", *limits)
    (kernel,) = found["kernels"]
    assert kernel["name"] == "dense" and len(kernel["tries"]) == 2 and 0 <= kernel["hits"] <= 2
    assert (kernel["tries_per_hit"] is None) == (kernel["hits"] == 0)


def test_check(good, capsys, monkeypatch, tmp_path):
    kernel = _core.parse(GOOD)
    assert main(["check", good]) == 0
    assert capsys.readouterr().out == f"{good}: OK (pointwise, {kernel.hash[:12]})\n"
    assert printed(capsys, "check", good) == {
        "files": [
            {"file": good, "ok": True, "name": "pointwise", "hash": kernel.hash}
            | {"forced": {}, "free": [], "conditions": []}
        ]
    }
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(GOOD.encode())))
    assert main(["check", "-"]) == 0
    bad = tmp_path / "bad.canvas"
    bad.write_text(BAD)
    capsys.readouterr()
    assert main(["check", str(bad), good]) == 2
    out, error = capsys.readouterr()
    assert out.startswith(f"{good}: OK") and error.startswith(f"canvas: error: {bad}:2:")


def test_show_kernel(good, capsys, tmp_path):
    assert main(["show", good]) == 0
    assert capsys.readouterr().out.strip() == str(_core.parse(GOOD)).strip()
    shown = printed(capsys, "show", good, "--layer", "16,32,14x14,2")
    layer = _core.Layer(16, 32, (14, 14), 2)
    assert shown["hash"] == _core.parse(GOOD).hash
    assert (
        shown["flops"] == _core.parse(GOOD).bind([layer]).flops and shown["layers"][0]["layer"]["flops"] == layer.flops
    )
    assert main(["show", good, "--layer", "16,32,14x14,2"]) == 0
    assert "original" in capsys.readouterr().out
    picture = tmp_path / "picture.svg"
    assert main(["show", good, "--draw", str(picture)]) == 0
    assert "<svg" in picture.read_text()


def test_show_study(study, capsys):
    shown = printed(capsys, "show", str(study.path))
    trials = study.trials
    assert [(row["hash"], row["text"], row["state"], row["reason"]) for row in shown["candidates"]] == [
        (trial.hash, trial.text, trial.state, trial.reason) for trial in trials
    ]
    assert any(None in row["metrics"].values() for row in shown["candidates"]) == any(
        trial.reason == "accuracy is nan" for trial in trials
    )
    assert shown["front"] == [trial.index for trial in study.front()]
    assert main(["show", str(study.path)]) == 0
    assert trials[0].hash[:12] in capsys.readouterr().out


def test_watch_goes_on_until_the_goal(study, capsys):
    import evaluations

    study.note("run", {"candidates": 8})
    later = threading.Timer(0.3, study.run, [evaluations.quick, 8], {"workers": 1, "progress": False})
    later.start()
    assert main(["watch", str(study.path), "--seconds", "0.1", "--json"]) == 0
    later.join()
    told = [json.loads(line)["told"] for line in capsys.readouterr().out.splitlines()]
    assert told[0] == 6 and told[-1] == 8
    assert main(["watch", str(study.path)]) == 0
    assert capsys.readouterr().err.startswith("8/8 candidates · ")


def test_report(study, capsys, tmp_path):
    page = tmp_path / "page.html"
    assert printed(capsys, "report", str(study.path), "-o", str(page)) == {"report": str(page)}
    assert page.read_text().startswith("<!doctype html>")


def test_zoo(capsys):
    from canvas import zoo

    shown = printed(capsys, "zoo")
    assert {row["name"]: row["hash"] for row in shown["kernels"]} == {
        name: kernel.hash for name, kernel in zoo().items()
    }
    mobilenet = next(row for row in shown["kernels"] if row["name"] == "mobilenet")
    assert (mobilenet["year"], mobilenet["source"]) == (2017, "arXiv 1704.04861")
    assert main(["zoo"]) == 0
    assert re.search(r"^mobilenet +2017  MobileNets: .*  arXiv 1704.04861 +5$", capsys.readouterr().out, re.MULTILINE)
    assert main(["zoo", "depthwise_separable"]) == 0
    assert _core.parse(capsys.readouterr().out) == zoo()["depthwise_separable"]


def test_targets_and_sample(model, capsys):
    shown = printed(capsys, "targets", f"{model}:build", "--input", "1x28x28")
    assert [(row["c_in"], row["spatial"]) for row in shown["targets"]] == [(8, [14, 14])]
    assert main(["targets", "resnet8"]) == 0
    assert "stages.0.0.conv1" in capsys.readouterr().out
    arguments = ["sample", "--model", f"{model}:build", "--input", "1x28x28", "--count", "3", "--flops", "0.9"]
    kernels = printed(capsys, *arguments, "--seed", "4")["kernels"]
    assert len({kernel["hash"] for kernel in kernels}) == 3
    assert kernels == printed(capsys, *arguments, "--seed", "4")["kernels"]
    assert kernels != printed(capsys, *arguments, "--seed", "5")["kernels"]
    assert all(kernel["flops"] <= 0.9 * shown["targets"][0]["flops"] for kernel in kernels)
    assert main([*arguments, "--seed", "4"]) == 0
    assert kernels[0]["text"] in capsys.readouterr().out


def test_a_bound_kernel_is_shown_layer_by_layer(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    arguments = ["targets", "resnet8", "--kernel", "low_rank", "--budget", "flops=0.4", "--share", "layer"]
    binding = printed(capsys, *arguments)["binding"]
    allowed = 0.4 * sum(bound["layer"]["flops"] * bound["layer"]["count"] for bound in binding["layers"])
    assert main(arguments) == 0
    head, *rows, total = capsys.readouterr().out.splitlines()
    assert re.search(r"sizes +MFLOPs +of the budget +parameters +of the original +memory$", head)
    for row, bound in zip(rows, binding["layers"], strict=True):
        share = f"{100 * bound['flops'] * bound['layer']['count'] / allowed:.1f} %"
        assert f" r = {bound['sizes']['r']} " in row and share in row and f"{bound['params']:,}" in row
    assert total.startswith("all ") and f"{100 * binding['flops'] / allowed:.1f} %" in total


def test_a_limit_on_latency_is_held_against_what_calibration_predicts(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "190")
    arguments = ["targets", "resnet8", "--kernel", "low_rank", "--backend", "eager", "--budget"]
    assert main([*arguments, "latency=0.5"]) == 2
    file = tmp_path / "canvas" / "cost" / "eager-1.json"
    expected = f"canvas: error: no cost model at {file}; make one with: canvas calibrate --backend eager --threads 1\n"
    assert capsys.readouterr().err == expected
    from canvas import cost_model
    from canvas.workload import OPERATIONS

    costs = np.array([1e-10 * name.endswith("flops") for name in OPERATIONS.figures])
    cost_model.CostModel("eager", 1, costs, 1.5, 0.9, 20).save(file)
    original_ms = (
        1e3 * 32e-10 * sum(row["flops"] * row["count"] for row in printed(capsys, "targets", "resnet8")["targets"])
    )
    half = printed(capsys, *arguments, "latency=0.5")["binding"]
    assert 0.4 * original_ms < half["latency_ms"] <= 0.5 * original_ms
    same = printed(capsys, *arguments, f"latency={0.5 * original_ms}ms")["binding"]
    assert same["latency_ms"] == half["latency_ms"]
    assert main([*arguments, "latency=0.5"]) == 0
    head, *_, total = capsys.readouterr().out.splitlines()[:8]
    assert re.search(r"memory +predicted ms +of the budget$", head)
    assert re.search(rf"{half['latency_ms']:.3f} +{200 * half['latency_ms'] / original_ms:.1f} %$", total)
    assert main([*arguments, "latency=1M"]) == 2
    assert "such as 12ms, or LOW:HIGH" in capsys.readouterr().err
    assert main([*arguments, "latency=0.5", "--share", "network"]) == 2
    assert "needs share 'layer' or 'shape', got 'network'" in capsys.readouterr().err


def test_reading_of_options():
    assert options.pairs("--x", ["a=1", "b=0.5", "c=true", "d=text"]) == {"a": 1, "b": 0.5, "c": True, "d": "text"}
    assert options.budget(flops="0.2:0.5").flops == (0.2, 0.5) and options.budget(flops=None) is None
    with pytest.raises(UserError, match="needs NAME=VALUE"):
        options.pairs("--x", ["=1"])
    with pytest.raises(typer.BadParameter, match="needs a number, got nan"):
        options.a_number(float("nan"))


def test_import_of_torch_is_left_to_those_who_need_it():
    code = (
        "import sys; from canvas.cli import main; assert main(['check', '-']) == 0; assert 'torch' not in sys.modules"
    )
    entries = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    subprocess.run(
        [sys.executable, "-c", code], input=GOOD, text=True, check=True, env=os.environ | {"PYTHONPATH": entries}
    )


def test_search_killed_and_resumed(tmp_path, model, images, capsys):
    """The whole loop on a small network and a small data set, killed once."""
    path = tmp_path / "study.db"
    arguments = ["--model", f"{model}:build", "--data", str(images), "--candidates", "3", "--workers", "2"]
    command = [sys.executable, "-m", "canvas.cli", "search", *arguments, "--study", str(path)]
    command += ["--recipe", "images=320", "--flops", "0.9", "--compare", "original"]
    entries = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    driver = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": entries}, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while driver.poll() is None and not (
        Path(path).exists() and path.stat().st_size and len(Study.open(path).trials) >= 2
    ):
        assert time.monotonic() < end
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    error = driver.communicate()[1]
    assert path.exists(), error
    before = [trial for trial in Study.open(path).trials if trial.state != "running"]
    shown = printed(capsys, "resume", str(path))
    assert [row["state"] for row in shown["candidates"]].count("running") == 0
    assert len(shown["candidates"]) == 3 and len(shown["twins"]) == len(shown["front"])
    for trial in before:
        assert shown["candidates"][trial.index]["metrics"] == trial.metrics
    assert "original" in shown["settings"]["references"]
    assert "complete" in {row["state"] for row in shown["candidates"]}
    front = {trial.hash for trial in Study.open(path).front()}
    assert {file.stem for file in path.with_suffix(".networks").glob("*")} == front | {"original"}
    code = (
        "import sys, torch, canvas; print(canvas.Study.open(sys.argv[1]).best.model()(torch.zeros(2, 1, 28, 28)).shape)"
    )
    run = [sys.executable, "-c", code, str(path)]
    output = subprocess.run(run, env=os.environ | {"PYTHONPATH": entries}, capture_output=True, text=True, check=True)
    assert "torch.Size([2, " in output.stdout
    printed(capsys, "resume", str(path))  # nothing is left to do
    assert main(["export", str(path), "-o", str(tmp_path / "best.py")]) == 0
    assert "class " in (tmp_path / "best.py").read_text()
    capsys.readouterr()
    mixed = tmp_path / "mixed.pt"
    choice = ["--params", "1.0", "--kernel", "front", "--kernel", "depthwise_separable", "--by", "layer"]
    choice += ["--trainings", "2", "--finalists", "1"]
    found = printed(capsys, "combine", str(path), *choice, "-o", str(mixed))
    assert list(found["stages"]) == ["0.2"] and found["metrics"]["accuracy"] > 0
    assert found["network"] == str(mixed) and mixed.exists()
    (answer,) = Study.open(path).settings["mixtures"]["best"]
    kept = {file.stem for file in path.with_suffix(".networks").glob("*")}
    assert kept == front | {"original", answer["hash"]}
    assert answer["metrics"] == found["metrics"]
    assert printed(capsys, "combine", str(path), *choice)["metrics"] == found["metrics"]
    capsys.readouterr()
    assert main(["show", str(path)]) == 0
    assert f"mixture 1, by layer: 0.2: {found['stages']['0.2']}" in capsys.readouterr().out
