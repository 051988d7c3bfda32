// Why no choice of sizes keeps a budget: the tightest limit, what the kernel needs of it, the layer that takes most, and the nearest
// budget that would do. Called by bind() once there is no solution.
#pragma once

#include "canvas/base/error.h"
#include "canvas/solve/problem.h"

namespace canvas {

struct Conflict {
  double factor = 1;  // that many times as wide, the limits (floors: that much lower) can be kept
  Fault reason;
  Solution choice;  // found after all: a choice within the limits, where the search for the best one missed it
};

// The conflict of a problem without a solution. `proven`: there surely is none; otherwise the reason says that this is not proven.
// `dull`: factors from here on are of no interest and may be left inexact.
Conflict conflict_of(const Problem& problem, bool proven, double dull);

}  // namespace canvas
