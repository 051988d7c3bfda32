"""Workers on a Ray cluster of several nodes: what local ones give, also when a node is lost."""

import functools
import os
import re

import pytest

import evaluations
from canvas.errors import UserError
from canvas.study import Study
from test_faults import LAYERS, fates, undisturbed

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}  # or other tests would starve the workers
ray = pytest.importorskip("ray", reason="no Ray here: pip install 'canvas-kas[ray]'")
from canvas.ray_executor import RayExecutor  # noqa: E402

NODE = {"object_store_memory": 80 << 20}


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of two CPUs each, one of them the head."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False, **NODE})
    node = cluster.add_node(num_cpus=2, **NODE)
    cluster.wait_for_nodes()
    before = os.environ.get("RAY_ADDRESS")
    os.environ["RAY_ADDRESS"] = cluster.address
    yield cluster, node
    os.environ.pop("RAY_ADDRESS") if before is None else os.environ.update(RAY_ADDRESS=before)
    cluster.shutdown()


def test_limits_and_failures_are_those_of_local_workers(cluster):
    """Of all failures, those that end a process; the rest is the same code, see test_executor.py."""
    expected = {
        evaluations.crash: "crashed: signal 11 (SIGSEGV)",
        evaluations.killed_always: "worker was killed (signal 9), twice",
        evaluations.hog: "took more memory than the limit of 0.15 GB",
        evaluations.pruned: "too slow",
        evaluations.environment: "",
    }
    outcomes = {}
    with RayExecutor(evaluations.call, memory_limit=150_000_000, cpus=2) as executor:
        assert executor.workers == 2  # one a node
        for key, call in enumerate(expected):
            while not executor.free:
                outcomes |= {one.key: one for one in executor.wait(60)}
            executor.submit(key, (call,))
        while executor.running:
            outcomes |= {one.key: one for one in executor.wait(60)}
        assert [outcomes[key].state for key in range(5)] == ["failed"] * 3 + ["pruned", "complete"]
        for key, reason in enumerate(expected.values()):
            assert outcomes[key].reason.startswith(reason)
        assert outcomes[3].metrics == {"latency_ratio": 0.9} and outcomes[4].metrics["threads"] == 2
        executor.submit(5, (evaluations.fault,))
        with pytest.raises(UserError, match="the data folder is gone"):
            while executor.running:
                executor.wait(60)
    assert not ray.is_initialized()


def test_a_cluster_that_will_not_do(cluster):
    with pytest.raises(
        UserError, match=r"no node of the Ray cluster has 1 CPUs and 1 GPUs; its nodes have 2 CPUs and 0 GP"
    ):
        RayExecutor(evaluations.call, gpus=1)
    with pytest.raises(UserError, match="cannot be sent to worker processes"):
        RayExecutor((x for x in ()).send)


def test_a_node_killed_in_the_middle_changes_nothing(tmp_path, cluster):
    expected = undisturbed(tmp_path / "whole.db", 16, evaluations.slow)
    study, (machines, node) = Study(tmp_path / "study.db", LAYERS, seed=5, lookahead=4), cluster
    joined = []

    def disturb(status):
        if status.told >= 4:
            (tmp_path / "now").touch()
        if status.told >= 7 and not joined:
            machines.remove_node(node, allow_graceful=False)  # what is left of it
            joined.append(machines.add_node(num_cpus=2, **NODE))

    raylet = node.all_processes["raylet"][0].process.pid
    evaluate = functools.partial(evaluations.killing, raylet, tmp_path)
    study.run(evaluate, candidates=16, executor="ray", progress=disturb)
    assert joined and (tmp_path / "killed").exists()
    assert fates(study.path) == expected
    again = [trial.reason for trial in study.trials if trial.reason]
    assert again and all(re.match(r"evaluated again: (its node was lost \(\d\)|worker was killed)", it) for it in again)
