"""Every foreseeable fault of the user's is one clear error on stderr and exit status 2: no traceback, no new file.

The cases are tables: a command line, and a part of what it must say. `{tmp}` is a folder that `place` has filled.
"""

import contextlib
import re
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest

import evaluations
from canvas import _core
from canvas.cli import main
from canvas.cli.search import hold_found
from canvas.errors import StudyError, UserError, WrongOutput
from canvas.store import Store
from canvas.study import Study
from small_disk import tmpfs

LAYERS = [_core.Layer(16, 16, (14, 14), count=2), _core.Layer(16, 32, (14, 14), stride=2)]
KERNELS = sorted((Path(__file__).parent / "cases" / "errors").glob("*.canvas"))
GOOD = "kernel pointwise(x[C, H, W]) -> [K, H/s, W/s]:\n  p = subsample(x, H: s, W: s)\n  return fc(p, [C] -> [K])\n"
MODEL = """
import torch
def nothing(): return torch.nn.Linear(3, 3)
def pointwise(): return torch.nn.Conv2d(8, 8, 1)
def broken(): return 1 / 0
def leaves(): raise SystemExit(3)
def number(): return 7
"""

SAMPLE = "sample --model resnet8"
SEARCH = "search --model resnet8 --study {tmp}/new.db --candidates 1"
FASHION = f"{SEARCH} --data fashion-mnist"
CASES = {
    # the command line itself
    "sing": "No such command 'sing'",
    f"{SAMPLE} --count 0": "'--count'",
    f"{SAMPLE} --count many": "'--count'",
    f"{SAMPLE} --seed -1": "'--seed'",
    f"{SAMPLE} --frog 1": "No such option: --frog",
    "zoo frog": "zoo: no kernel 'frog'; there are ",
    "bench frog --model resnet8": "kernel 'frog': not in the zoo; give a FILE.canvas or one of ",
    "bench dense --model resnet8 --backend tpu": "backend 'tpu': unknown; use one of eager, ",
    "export {tmp}/none.pt -o {tmp}/x.pt2": "none.pt: cannot be read: No such file",
    "export {tmp}/net.py -o {tmp}/x.pt2": "not a built-in model",
    "export resnet8 -o {tmp}/x.txt": r"x.txt: name a file that ends in .pt2, .onnx, .py",
    "export resnet8 -o {tmp}/no/x.pt2": "does not exist; create it first",
    "export resnet8 -o {tmp}/x.py": "x.py: the network holds no kernel; export it as .pt2 or .onnx",
    "export resnet8 --input 1x2x3x4 --native {tmp}/x": r"the shape 1x1x2x3x4 .* \(--input CxHxW\)",
    "export resnet8 --precision bf16 -o {tmp}/x.onnx": "--precision and --processor are of --native; give that",
    "export resnet8 --processor neon -o {tmp}/x.onnx": "--precision and --processor are of --native; give that",
    "targets resnet8 --kernel low_rank --budget latency=0.7 --backend tpu": "backend 'tpu': unknown; use one of",
    "rediscover frog": "rediscover: no kernel 'frog'; there are ",
    "rediscover involution --limit max_primitives=3": "rediscover involution: has .* raise --limit max_primitives=3",
    "sample --layer 8,8,4x4 --plot {tmp}/no/plot.html": "choose another path",
    # layers
    "show {tmp}/good.canvas --layer 16": r"layer '16': needs C,K \(linear\), C,K,T=TOKENS, C,K,W, C,K,HxW",
    "show {tmp}/good.canvas --layer 16,32": r"the layer 16 -> 32, which needs \(x\[C\]\) -> \[K\]",
    "show {tmp}/good.canvas --layer 16,32,T=0": "layer '16,32,T=0': a layer's tokens must be from 1",
    "show {tmp}/good.canvas --layer 16,32,T=4,2": "layer '16,32,T=4,2': needs C,K",
    "show {tmp}/good.canvas --layer 16,32,T=x": "layer '16,32,T=x': needs C,K",
    "check {tmp}/good.canvas --layer 16,32,T=4": r"good.canvas: kernel 'pointwise': bind: layers that",
    "check {tmp}/good.canvas --layer 16": "layer '16': needs C,K",
    "sample": "either --model or --layer",
    "sample --model resnet8 --layer 8,8": "either --model or --layer",
    "sample --layer 8,8 --layer 8,8,4x4": "all layers must be of one kind, got linear and conv2d; sample for each kind",
    "sample --layer 8,8 --limit min_reach=3": "a linear layer's kernel sees one position: min_reach must be 1, got 3",
    "sample --layer 8,8,T=4 --limit mix_tokens=4": "limit mix_tokens must be True or False, got 4",
    "targets resnet8 --kind frog": "no layers are of the kind 'frog'; there are conv, linear, conv1d, conv2d, conv3d",
    "sample --model resnet8 --kind linear": "nothing to replace",
    "targets resnet8 --input ids:x": "input 'ids:x': needs CxHxW",
    "show {tmp}/good.canvas --layer 0,32,14x14": "layer '0,32,14x14': ",
    "show {tmp}/good.canvas --layer 16,-32,14x14": "layer '16,-32,14x14': ",
    "show {tmp}/good.canvas --layer 16,32,0x14": "layer '16,32,0x14': ",
    "show {tmp}/good.canvas --layer 16,32,14x14,0": "layer '16,32,14x14,0': ",
    "show {tmp}/good.canvas --layer 16,32,14x14,2,2": "needs C,K",
    "show {tmp}/good.canvas --layer 99999999999999999999,1,1x1": "layer '99999999999999999999,1,1x1': ",
    "targets resnet8 --input 1,28,28": "input '1,28,28': needs CxHxW",
    "targets resnet8 --input 3x0x28": "needs CxHxW",
    "targets resnet8 --input ³x32x32": "input '³x32x32': needs CxHxW",
    **{
        f"targets resnet8 --input {text}": f"input '{text}': is too large"
        for text in ("3x99999999999999999999x3", "3x200000x200000", f"{10**18}x{10**18}", "9" * 5000)
    },
    "targets resnet8 --input 1x28": "does not accept the example input",
    # budgets
    **{
        f"{SAMPLE} --flops={text}": f"budget --flops '{text}': needs a fraction"
        for text in ("half", "-1", "0", "0.5:0.2", "nan", "inf", "1:2:3")
    },
    f"{SAMPLE} --flops 1e-9": r"budget flops must be at most 1e-09 of the original, the kernel needs 0\.\S+"
    r" most on the layer .*; raise the budget by a factor of \d",
    f"{SAMPLE} --params 0.0001": "budget params must be at most 0.0001",
    f"{SAMPLE} --memory 0.01": "budget memory must be at most 0.01",
    f"{SAMPLE} --params 1e5:1e6": r"params must be at least 1e\+05 .*, the kernel reaches .*; lower that floor",
    f"{FASHION} --flops 1e-9": "budget flops must be at most 1e-09",
    # limits of the sampler
    f"{SAMPLE} --limit": "--limit",
    f"{SAMPLE} --limit 8": "--limit '8': needs NAME=VALUE",
    f"{SAMPLE} --limit no_such=8": "no limit is called 'no_such'; there are ",
    f"{SAMPLE} --limit max_primitives=-3": "1 <= min_primitives <= max_primitives",
    f"{SAMPLE} --limit max_primitives=many": "limit max_primitives must be a whole number, got 'many'",
    f"{SAMPLE} --limit fc=much": "a primitive's weight is a number",
    # models
    "targets frog": "model 'frog': not a built-in model",
    "targets {tmp}/none.py:build": "no such file",
    "targets {tmp}/net.py:none": "no function 'none'; it has ",
    "targets {tmp}/net.py:broken": r"net.py:5': calling broken\(\) raised ZeroDivisionError: division by zero",
    "targets {tmp}/net.py:leaves": "raised SystemExit",
    "targets {tmp}/net.py:number": "must return a torch.nn.Module, got int",
    "targets {tmp}/net.py:nothing --input 3x3": "nothing to replace",
    "targets {tmp}/net.py:pointwise --input 8x9x9": "nothing to replace",
    "targets {tmp}/raises.py:build": r"raises.py:2': running the file raised RuntimeError: not today",
    "targets {tmp}/syntax.py:build": "running the file raised SyntaxError",
    # data
    f"{SEARCH} --data {{tmp}}/none": "not a built-in data set",
    f"{SEARCH} --data {{tmp}}/net.py:none": "data file '.*net.py': no function 'none'; it has ",
    f"{SEARCH} --data {{tmp}}/net.py:number": r"needs a pair of DataLoaders \(training, validation\), got int",
    f"{SEARCH} --data {{tmp}}/empty": "needs train/CLASS/",
    f"{SEARCH} --data {{tmp}}/truncated": "expected 47,040,016 bytes, found 1,000",
    # search
    "search --model resnet8 --data fashion-mnist --study {tmp}/new.db": "--candidates N or --minutes M",
    f"{FASHION} --recipe images": "--recipe 'images': needs NAME=VALUE",
    f"{FASHION} --recipe image=3": "unexpected keyword argument 'image'; there are images, ",
    f"{FASHION} --recipe lr=fast": "recipe lr: must be of type float, got 'fast'",
    f"{FASHION} --recipe images=1.5": "recipe images: must be of type int, got 1.5",
    f"{FASHION} --recipe batch=0": "recipe batch: ",
    f"{FASHION} --backend frog": "backend 'frog': unknown",
    f"{FASHION} --start frog": "kernel 'frog': not in the zoo",
    f"{FASHION} --prior frog": "frog: no such study file",
    f"{FASHION} --prior canvas --prior {{tmp}}/study.db": "too few to learn from",
    f"{FASHION} --strategy frog": "the strategy must be 'guided', 'evolution' or 'random', got 'frog'",
    f"{FASHION} --objective energy": "--objective energy: is not measured; there are latency, accuracy",
    f"{FASHION} --latency 12ms": "budget --latency '12ms': needs a fraction of .*, such as 0.5, or LOW:HIGH",
    f"{FASHION} --latency 300M": "budget --latency '300M': needs a fraction of .*, such as 0.5, or LOW:HIGH",
    f"{FASHION} --minutes nan": "'--minutes': ",
    f"{FASHION} --compare frog": "--compare frog: no such kernel",
    f"{FASHION} --executor frog": "executor 'frog': unknown; there are local and ray",
    f"{FASHION} --cpus 2": "cpus and gpus are for executor ray",
    # studies
    "show mysql://me:geheim@host/lab": r"mysql: a study is a file, or lies in PostgreSQL: postgresql://USER@HOST",
    "show postgresql://me@127.0.0.1:1/lab": r"postgresql://me@127.0.0.1:1/lab\?study=study: the server is away",
    "show {tmp}/none.db": "no such study file",
    "show low_rank": "low_rank: no such study file; show takes a study or a FILE.canvas",
    "show {tmp}": "is a folder; name a file",
    "show {tmp}/net.py": "not a Canvas study",
    "show {tmp}/study.db --layer 8,8,8x8": "--layer and --draw are for a kernel",
    "show {tmp}/version.db": "made by another version of Canvas",
    "show {tmp}/short.db": "damaged or truncated",
    "report {tmp}/short.db -o {tmp}/page.html": "damaged or truncated",
    "resume {tmp}/short.db": "damaged or truncated",
    "resume {tmp}/none.db": "no such study file",
    "resume {tmp}/study.db": "was run from Python",
    "combine {tmp}/study.db --latency 0.5": "was run from Python, .* use canvas.combine",
    "combine {tmp}/none.db --latency 0.5": "no such study file",
    f"{FASHION.replace('new.db', 'study.db')}": "holds a study already; go on with `canvas resume",
    f"{FASHION.replace('new.db', 'no/new.db')}": "does not exist; create it first",
    "report {tmp}/study.db -o {tmp}/no/page.html": "choose another path",
    "show {tmp}/good.canvas --draw {tmp}/no/picture.svg": "choose another path",
    # kernel files
    "check {tmp}/none.canvas": "cannot be read: No such file",
    "check {tmp}": "cannot be read: Is a directory",
    "check {tmp}/latin.canvas": "not a kernel: byte 7 is not UTF-8 text",
    "check {tmp}/empty.canvas": "empty.canvas:1:1: ",
    "check {tmp}/noise.canvas": "not a kernel: holds more than 2 MB",
    "show {tmp}/noise.canvas": "not a kernel: holds more than 2 MB",
    "check {tmp}/deep.canvas": "nest at most 64 deep",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder that holds every bad file, and a few good ones."""
    place = tmp_path_factory.mktemp("bad")
    texts = {
        "net.py": MODEL,
        "raises.py": "import torch\nraise RuntimeError('not today')\n",
        "syntax.py": "def build(:\n",
        "good.canvas": GOOD,
        "empty.canvas": "",
        "deep.canvas": GOOD.replace("fc(p", "fc(" + "relu(" * 100_000 + "p" + ")" * 100_000),
    }
    for name, text in texts.items():
        (place / name).write_text(text)
    (place / "latin.canvas").write_bytes(b"kernel \xff")
    noise = b"kernel fc ( ) [ ] , = x C H W -> : \n" * 1000
    with open(place / "noise.canvas", "wb") as file:
        for _ in range(100_000_000 // len(noise)):
            file.write(noise)
    (place / "empty").mkdir()
    (place / "truncated").mkdir()
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        (place / "truncated" / name).write_bytes(bytes(1000))
    Study(place / "study.db", LAYERS).run(evaluations.quick, candidates=2, workers=1, progress=False)
    shutil.copy(place / "study.db", place / "version.db")
    with contextlib.closing(sqlite3.connect(place / "version.db")) as db:
        db.execute("PRAGMA user_version = 99")
    (place / "short.db").write_bytes((place / "study.db").read_bytes()[:5000])
    yield place
    (place / "noise.canvas").unlink()


def fault(capsys, *arguments):
    """The one error of a command that fails."""
    capsys.readouterr()
    assert main(arguments) == 2
    out, error = capsys.readouterr()
    assert error.startswith("canvas: error: ") and error.count("canvas: error: ") == 1 and error.endswith("\n")
    assert "Traceback" not in error and not out
    return error.removeprefix("canvas: error: ").rstrip()


@pytest.mark.parametrize("line", CASES)
def test_one_error_and_status_2(line, place, capsys):
    message = fault(capsys, *(word.replace("{tmp}", str(place)) for word in line.split()))
    assert "\n" not in message or ".canvas:" in message  # a kernel's error shows the text below it
    assert re.search(CASES[line], message), message
    assert not (place / "new.db").exists()


def test_a_file_that_computes_something_else(place, capsys, monkeypatch):
    def written(*_):
        raise WrongOutput("x.pt2: off by 0.1")

    monkeypatch.setattr("canvas.export.export", written)
    assert fault(capsys, "export", "resnet8", "-o", str(place / "x.pt2")) == "x.pt2: off by 0.1"


def test_kernels_of_every_fault(capsys):
    for path in KERNELS:
        (expected,) = (line[9:] for line in path.read_text().split("\n") if line.startswith("# error: "))
        assert fault(capsys, "check", str(path)).split("\n")[0] == f"{path}:{expected}"


def test_locked_study(place, capsys, monkeypatch):
    monkeypatch.setattr("canvas.sqlite_file.BUSY_SECONDS", 0.1)
    with contextlib.closing(sqlite3.connect(place / "study.db", isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        assert "locked by another program; close it" in fault(capsys, "show", str(place / "study.db"))
    study = Study.open(place / "study.db")
    with Store(study.path, "drive"), pytest.raises(StudyError, match="another process is running this study"):
        study.note("remark", 1)


def test_search_of_which_nothing_came_says_why(tmp_path):
    study = Study(tmp_path / "slow.db", LAYERS, budget=_core.Budget(latency=0.01))
    study.run(evaluations.quick, candidates=3, workers=1, progress=False)
    nearest = min(trial.metrics["latency_ratio"] for trial in study.trials)
    with pytest.raises(UserError) as caught:
        hold_found(study)
    assert str(caught.value) == (
        f"no candidate met the budget --latency 0.01: the nearest needs {nearest:.3f} of the original's;"
        f" raise the budget by a factor of {nearest / 0.01:.3g}, or search longer"
    )
    study = Study(tmp_path / "predicted.db", LAYERS, budget=_core.Budget(latency=0.001))
    study.run(evaluations.predicting, candidates=3, workers=1, progress=False)
    assert not any("latency_ratio" in trial.metrics for trial in study.trials)
    with pytest.raises(UserError, match=r"no candidate met the budget --latency 0\.001: the nearest needs"):
        hold_found(study)
    study = Study(tmp_path / "bad.db", LAYERS)
    study.run(evaluations.diverges, candidates=3, workers=1, progress=False)
    with pytest.raises(UserError, match="all 3 candidates failed, 3 of them so: the loss is nan"):
        hold_found(study)


def test_read_only_folder(place, tmp_path, capsys):
    with tmpfs(tmp_path / "mount", "size=1m") as folder:
        shutil.copy(place / "study.db", folder)
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        new = str(folder / "new.db")
        search = ["search", "--model", "resnet8", "--data", "fashion-mnist", "--candidates", "1", "--study", new]
        assert "cannot be written" in fault(capsys, *search)
        assert "cannot be written" in fault(capsys, "report", str(folder / "study.db"), "-o", str(folder / "r.html"))
        assert main(["show", str(folder / "study.db")]) == 0


def test_full_disk_stops_a_study_that_goes_on_once_there_is_room(tmp_path):
    whole = Study(tmp_path / "whole.db", LAYERS, seed=3)
    whole.run(evaluations.quick, candidates=40, workers=1, progress=False)
    with tmpfs(tmp_path / "mount", "size=48k") as folder:
        study = Study(folder / "study.db", LAYERS, seed=3)
        with pytest.raises(StudyError, match="no space left on its disk; free some, then resume the study"):
            study.run(evaluations.quick, candidates=40, workers=1, progress=False)
        assert len(study.trials) < 40
        subprocess.run(["mount", "-o", "remount,size=2m", folder], check=True)
        study.run(evaluations.quick, candidates=40, workers=1, progress=False)
        assert [(t.hash, t.metrics) for t in study.trials] == [(t.hash, t.metrics) for t in whole.trials]
