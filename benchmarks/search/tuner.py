"""Whether Ray's own Tuner trains candidates as long as `stopping.py` says: `python benchmarks/search/tuner.py`.

The first candidates of `rungs.py`'s trace, replayed by real trials on a cluster of one core, under each of Ray's rules.
Prints one line for each rule; any difference is a fault. It takes a minute or two.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
os.environ |= {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "RAY_AIR_NEW_OUTPUT": "0"}

import ray
import rungs
import stopping
import table
from ray import tune


class Replayed(tune.Trainable):
    """A training of which all is known."""

    def setup(self, config: dict[str, Any]) -> None:
        self.curve, self.step_ = config["curve"], 0

    def reset_config(self, config: dict[str, Any]) -> bool:
        """A worker takes many trials."""
        self.setup(config)
        return True

    def step(self) -> dict[str, Any]:
        self.step_ += 1
        accuracy = self.curve[self.step_ - 1]
        return {"quarters": self.step_, "accuracy": accuracy, "done": self.step_ == stopping.WHOLE}

    def save_checkpoint(self, folder: str) -> None:
        (Path(folder) / "step").write_text(str(self.step_))

    def load_checkpoint(self, folder: Any) -> None:
        self.step_ = int((Path(folder) / "step").read_text())


def replayed(rule: stopping.Rule, rows: list[rungs.Row]) -> list[int]:
    """How long each candidate trains by the rule."""
    trials, add = [], rule.add
    rule.add = lambda trial: (trials.append(trial), add(trial))
    stopping.replay(rule, stopping.in_order(rows), lambda trial: None, len(rows), 0)
    return [trial.step for trial in trials]


def tuned(rule: stopping.RayRule, rows: list[rungs.Row], folder: str) -> list[int]:
    """How long each trains by the Tuner with the rule's scheduler."""
    curves = [row["curves"][0] for row in rows]
    one = 1 if rule.ahead == 1 else None  # waits, or is there to be paused for
    config = tune.TuneConfig(scheduler=rule.scheduler, max_concurrent_trials=one, reuse_actors=True)
    run = tune.RunConfig(storage_path=folder, verbose=0)
    results = tune.Tuner(Replayed, param_space={"curve": tune.grid_search(curves)}, tune_config=config, run_config=run)
    steps = {tuple(result.config["curve"]): result.metrics["quarters"] for result in results.fit()}
    return [steps[tuple(curve)] for curve in curves]


def main() -> None:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--candidates", type=int, default=12)
    rows = rungs.drawn(0, options.parse_args().candidates, table.FILE)
    ray.init(num_cpus=1, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    same = True
    for name, rule in stopping.rules().items():
        if isinstance(rule(), stopping.RayRule):
            with tempfile.TemporaryDirectory() as folder:
                expected, found = replayed(rule(), rows), tuned(rule(), rows, folder)
            same &= expected == found
            print(f"{', '.join(name)}: {'as replayed' if expected == found else f'{found}, replayed {expected}'}")
    sys.exit(not same)


if __name__ == "__main__":
    main()
