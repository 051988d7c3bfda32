// Which alternative each group takes, so that all of them together keep some limits and lose least: a multiple-choice knapsack with any
// number of resources. A network whose stages may take different kernels is one; this knows neither networks nor kernels.
#pragma once

#include <cstddef>
#include <vector>

namespace canvas {

struct Alternative {
  double loss = 0;
  std::vector<double> costs;  // by resource; they and the loss add up over the groups, and may be negative
};

struct Assignment {
  std::vector<size_t> picks;  // by group
  double loss = 0;
};

struct Assignments {
  std::vector<Assignment> best;  // the least loss first, equal ones by their picks; none where none keeps the limits
  bool proven = true;            // false: there was too much to look at, and better ones may exist
};

// The `count` best that keep the limits (by resource; HUGE_VAL: none), fewer where there are no more. The same for the same arguments.
// Throws ArgumentError where numbers of resources differ or a number is not finite.
Assignments assign(const std::vector<std::vector<Alternative>>& groups, const std::vector<double>& limits,
                   size_t count = 1);

}  // namespace canvas
