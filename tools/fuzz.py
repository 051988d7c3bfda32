"""Builds the fuzz targets of fuzz/ and runs each for a while, two at a time; `make fuzz` and `make check` call it.

It needs a clang++ with libFuzzer and says so where there is none, which is no fault. What the targets find stays in
build/fuzz: new inputs under found/, inputs that broke something under broken/, libFuzzer's own words under logs/.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "fuzz"
CORPUS = ROOT / "fuzz" / "corpus"
TARGETS = ["parser", "printer", "verifier", "interpreter", "emitter"]
BYTES_ALONE = {"verifier"}  # the others read kernel texts
LONGEST = 4096  # bytes of an input


@dataclass
class Outcome:
    """How one target's run ended."""

    target: str
    failed: bool
    line: str


def main(arguments: list[str]) -> int:
    """Builds and runs the targets.

    Args:
        arguments: the command line, without the program's name.

    Returns:
        0 when nothing was found or clang++ has no libFuzzer here, else 1.

    Example:
        >>> main(["--seconds", "240", "--target", "parser"])
        parser       812345 runs, 3377/sec, coverage 2101 edges, 9650 features
        1 target, 0 failed
        0
    """
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=int, default=30, help="how long each target runs")
    options.add_argument("--seed", type=int, default=1, help="of libFuzzer's random numbers; 0 for another each time")
    options.add_argument("--jobs", type=int, default=2, help="targets at a time")
    options.add_argument("--target", action="append", choices=TARGETS, help="run this one alone; may be repeated")
    options.add_argument("--keep", action="store_true", help="make fuzz/corpus anew from it and what was found so far")
    options.add_argument("--probe", action="store_true", help="only say by the exit status whether libFuzzer is here")
    asked = options.parse_args(arguments)
    if asked.probe:
        return 0 if has_libfuzzer() else 1
    if not has_libfuzzer():
        print("fuzz: no clang++ with libFuzzer here, skipped; on Debian: apt-get install clang libclang-rt-dev")
        return 0
    build()
    targets = asked.target or TARGETS
    with ThreadPoolExecutor(asked.jobs) as pool:
        if asked.keep:
            print(*pool.map(keep, targets), sep="\n")
            return 0
        outcomes = []
        for outcome in pool.map(lambda target: fuzz(target, asked.seconds, asked.seed), targets):
            print(outcome.line, flush=True)
            outcomes.append(outcome)
    failed = sum(outcome.failed for outcome in outcomes)
    print(f"{len(outcomes)} target{'s' * (len(outcomes) != 1)}, {failed} failed")
    return 1 if failed else 0


def has_libfuzzer() -> bool:
    """Whether clang++ is here with the libraries that a fuzz target links; they may be packages of their own."""
    if not shutil.which("clang++"):
        return False
    # With -### clang says what it would run.
    command = ["clang++", "-fsanitize=fuzzer,address,undefined", "-###", "-x", "c++", os.devnull]
    planned = subprocess.run(command, text=True, capture_output=True, check=False).stderr
    libraries = re.findall(r'"([^"]*libclang_rt\.(?:fuzzer|asan)[^"]*\.(?:a|dylib))"', planned)
    return bool(libraries) and all(Path(library).exists() for library in libraries)


def build() -> None:
    """Builds the targets into build/fuzz."""
    BUILD.mkdir(parents=True, exist_ok=True)
    command = ["cmake", "-S", str(ROOT), "-B", str(BUILD), "-G", "Ninja", "--log-level=WARNING"]
    command += ["-DCMAKE_CXX_COMPILER=clang++", "-DCANVAS_FUZZ=ON", "-DCANVAS_WERROR=ON"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", str(BUILD)], check=True)


def texts(folder: Path) -> list[Path]:
    """The folders of kernel texts that the repository has; those of docs/language.md are put into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    language = (ROOT / "docs" / "language.md").read_text(encoding="utf-8")
    for number, text in enumerate(re.findall(r"^```canvas\n(.*?)^```$", language, re.MULTILINE | re.DOTALL)):
        (folder / f"{number}.canvas").write_text(text, encoding="utf-8")
    return [folder, ROOT / "python" / "canvas" / "zoo", *sorted((ROOT / "tests" / "cases").iterdir())]


def seeds(target: str) -> list[Path]:
    """The folders of a target's inputs: the one that new ones go to, its corpus unpacked, those of kernel texts."""
    own, corpus = BUILD / "found" / target, BUILD / "corpus" / target
    shutil.rmtree(corpus, ignore_errors=True)
    for folder in (own, corpus):
        folder.mkdir(parents=True, exist_ok=True)
    if (CORPUS / f"{target}.zip").exists():
        with zipfile.ZipFile(CORPUS / f"{target}.zip") as packed:
            packed.extractall(corpus)
    shared = [] if target in BYTES_ALONE else texts(BUILD / "language" / target)
    return [own, corpus, *(path for path in shared if path.is_dir())]


def run(target: str, arguments: list[str], log: Path) -> int:
    """Runs a target with libFuzzer's `arguments`, what it says in `log`; returns its exit status."""
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [
        str(BUILD / "fuzz" / f"fuzz_{target}"),
        f"-max_len={LONGEST}",
        "-len_control=0",
        "-timeout=10",
        "-rss_limit_mb=2048",
    ]
    with log.open("w", encoding="utf-8") as words:
        return subprocess.run(command + arguments, stdout=words, stderr=subprocess.STDOUT, check=False).returncode


def fuzz(target: str, seconds: int, seed: int) -> Outcome:
    """Runs one target for a while."""
    broken = BUILD / "broken" / target
    broken.mkdir(parents=True, exist_ok=True)
    log = BUILD / "logs" / f"{target}.log"
    arguments = [f"-max_total_time={seconds}", f"-seed={seed}", "-print_final_stats=1", f"-artifact_prefix={broken}/"]
    status = run(target, [*arguments, *map(str, seeds(target))], log)
    words = log.read_text(encoding="utf-8", errors="replace")
    counts = dict(re.findall(r"^stat::(\w+):\s+(\d+)$", words, re.MULTILINE))
    covered = re.findall(r"cov: (\d+) ft: (\d+)", words)
    if status == 0 and counts and covered:
        edges, features = covered[-1]
        line = f"{target:12} {counts['number_of_executed_units']} runs, {counts['average_exec_per_sec']}/sec, "
        return Outcome(target, False, line + f"coverage {edges} edges, {features} features")
    tail = "\n".join(line[:400] for line in words.splitlines()[-60:])
    again = f"{BUILD.relative_to(ROOT)}/fuzz/fuzz_{target} FILE"
    return Outcome(target, True, f"{tail}\n{target:12} failed (status {status}); again: {again}, from the line above")


def keep(target: str) -> str:
    """Makes fuzz/corpus/TARGET.zip anew: few inputs that cover, with the shared texts, what all inputs so far cover."""
    own, corpus, *shared = seeds(target)
    with tempfile.TemporaryDirectory() as folder:
        best = Path(folder) / "best"
        best.mkdir()
        given = set()
        for path in (path for other in shared for path in other.iterdir()):
            given.add(shutil.copy(path, best / f"{path.parent.name}-{path.name}"))
        run(target, ["-merge=1", "-use_cmp=0", "-use_counters=0", *map(str, (best, corpus, own))], BUILD / "merge.log")
        kept = sorted(path for path in best.iterdir() if path not in given)
        CORPUS.mkdir(exist_ok=True)
        with zipfile.ZipFile(CORPUS / f"{target}.zip", "w", zipfile.ZIP_DEFLATED) as packed:
            for path in kept:  # all dated alike: the same inputs make the same file
                packed.writestr(zipfile.ZipInfo(path.name), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return f"{target:12} {len(kept)} inputs, {(CORPUS / f'{target}.zip').stat().st_size} bytes packed"


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main(sys.argv[1:]))
