"""Runs a study to be killed: `drive_study.py FILE CANDIDATES WORKERS`."""

import sys

import evaluations
from canvas import _core
from canvas.study import Study

if __name__ == "__main__":
    layers = [_core.Layer(16, 16, (14, 14), count=2), _core.Layer(16, 32, (14, 14), stride=2)]
    study = Study(sys.argv[1], layers, seed=5, lookahead=4)
    study.run(evaluations.slow, candidates=int(sys.argv[2]), workers=int(sys.argv[3]), progress=False)
