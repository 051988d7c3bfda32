"""Whatever a candidate does, the executor says what it was, and the next candidate is none the worse."""

import os
import signal
import subprocess
import sys
import time

import pytest

import evaluations
from canvas.errors import UserError
from canvas.executor import Executor, available_memory, resident_memory


def run(calls, **limits):
    """The outcomes of one call after another on one worker, in order."""
    with Executor(evaluations.call, **limits) as executor:
        outcomes = []
        for key, call in enumerate(calls):
            executor.submit(key, call)
            outcomes += executor.wait(60)
        return outcomes


def test_each_failure_has_its_reason_and_the_next_candidate_is_evaluated():
    bad = {
        evaluations.crash: "crashed: signal 11 (SIGSEGV)",
        evaluations.leave: "worker exited with status 7: no licence for this",
        evaluations.greedy: "out of memory",
        evaluations.raises: "KeyError: 'no such\\nthing' (evaluations.py:",
        evaluations.nan: "accuracy is nan",
        evaluations.killed_always: "worker was killed (signal 9), twice",
    }
    calls = [call for function in bad for call in ((function,), (evaluations.good,))]
    outcomes = run(calls)
    assert [outcome.key for outcome in outcomes] == list(range(len(calls)))
    assert [outcome.state for outcome in outcomes] == ["failed", "complete"] * len(bad)
    for outcome, reason in zip(outcomes[::2], bad.values(), strict=True):
        assert outcome.reason.startswith(reason)
    assert all(outcome.metrics == {"accuracy": 0.5} and not outcome.reason for outcome in outcomes[1::2])


def test_hang_is_ended_at_the_time_limit_and_keeps_what_was_reported():
    (hung, fine) = run([(evaluations.hang,), (evaluations.good,)], time_limit=0.5)
    assert (hung.state, hung.reason) == ("failed", "took longer than the time limit of 0.5 s")
    assert hung.metrics == {"latency_ratio": 0.5}
    assert fine.state == "complete"


def test_who_is_heard_from_all_the_time_is_ended_at_the_time_limit_too():
    (heard,) = run([(evaluations.chatters,)], time_limit=0.5)
    assert (heard.state, heard.reason) == ("failed", "took longer than the time limit of 0.5 s")


def test_memory_hog_is_ended_at_the_memory_limit():
    limit = 400 << 20
    (hog, fine) = run([(evaluations.hog,), (evaluations.good,)], memory_limit=limit)
    assert (hog.state, hog.reason) == ("failed", "took more memory than the limit of 0.42 GB")
    assert fine.state == "complete"


def test_pruned_keeps_its_reason_and_metrics():
    (outcome,) = run([(evaluations.pruned,)])
    assert (outcome.state, outcome.reason, outcome.metrics) == ("pruned", "too slow", {"latency_ratio": 0.9})


def test_killed_from_outside_once_is_evaluated_again(tmp_path):
    (outcome,) = run([(evaluations.killed_once, str(tmp_path / "marker"))])
    assert (outcome.state, outcome.metrics) == ("complete", {"accuracy": 0.25})
    assert outcome.reason == "evaluated again: worker was killed (signal 9)"


def test_killed_at_work_is_evaluated_again():
    with Executor(evaluations.call) as executor:
        executor.submit(0, (evaluations.environment,))
        (first,) = executor.wait(60)
        executor.submit(1, (evaluations.nap,))
        os.kill(int(first.metrics["pid"]), signal.SIGTERM)
        (outcome,) = executor.wait(60)
    assert (outcome.state, outcome.reason) == ("complete", "evaluated again: worker was killed (signal 15)")


def test_killed_while_idle_is_replaced():
    with Executor(evaluations.call) as executor:
        executor.submit(0, (evaluations.environment,))
        (first,) = executor.wait(60)
        os.kill(int(first.metrics["pid"]), signal.SIGKILL)
        executor.submit(1, (evaluations.environment,))
        (second,) = executor.wait(60)
    assert second.state == "complete"
    assert second.metrics["pid"] != first.metrics["pid"]


def test_workers_persist_have_one_thread_and_work_side_by_side():
    with Executor(evaluations.call, workers=2) as executor:
        outcomes = []
        for key in range(6):
            while not executor.free:
                outcomes += executor.wait(60)
            executor.submit(key, (evaluations.environment,))
        while executor.running:
            outcomes += executor.wait(60)
    assert {outcome.metrics["threads"] for outcome in outcomes} == {1.0}
    pids = {outcome.metrics["pid"] for outcome in outcomes}
    assert 1 <= len(pids) <= 2
    assert max(outcome.metrics["calls"] for outcome in outcomes) >= 3


def test_what_a_worker_holds_after_its_first_candidate_is_not_looked_through_again():
    outcomes = run([(evaluations.frozen,)] * 3)
    first, second, third = (outcome.metrics["objects"] for outcome in outcomes)
    assert first == 0 and second == third > 1000


def test_functions_that_no_module_holds_can_be_evaluated():
    factor = 3
    with Executor(lambda x, report: {"accuracy": factor * x}) as executor:
        executor.submit(0, (2,))
        assert executor.wait(60)[0].metrics == {"accuracy": 6.0}


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (evaluations.fault, "the data folder is gone"),
        (evaluations.text, "must return a dict of numbers, got 'accuracy': str"),
        (evaluations.Unloadable(), "a worker cannot load the evaluation: RuntimeError: this cannot be loaded here"),
    ],
)
def test_faults_of_the_evaluation_end_the_run(function, message):
    with Executor(function) as executor, pytest.raises(UserError, match=message):
        executor.submit(0, ())
        executor.wait(60)


def test_what_cannot_be_pickled_is_refused():
    with pytest.raises(UserError, match="cannot be sent to worker processes"):
        Executor((x for x in ()).send)


def test_workers_die_with_their_driver():
    script = (
        "import evaluations, os, time; from canvas.executor import Executor\n"
        "e = Executor(evaluations.call, workers=2)\n"
        "e.submit(0, (evaluations.hang,)); e.submit(1, (evaluations.hang,)); e.wait(1)\n"
        "print(*[w.process.pid for w in e._workers], flush=True); time.sleep(60)"
    )
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    driver = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path}
    )
    assert driver.stdout
    pids = [int(pid) for pid in driver.stdout.readline().split()]
    assert len(pids) == 2 and all(resident_memory(pid) > 0 for pid in pids)
    driver.kill()
    driver.wait()
    end = time.monotonic() + 60
    while any(resident_memory(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(resident_memory(pid) for pid in pids)


def test_available_memory_is_plausible():
    assert 1e7 < available_memory() < 1e14
