// A mixture of points, for each group, that is nearly the best within all limits, time among them. Good choices are near it, and its
// prices say which points are good; it proves nothing (penalty.h gives the bound). fill.cpp asks where time is limited.
#pragma once

#include <vector>

#include "canvas/solve/relaxation.h"

namespace canvas {

struct Mixture {
  std::vector<Point> shares;    // of one copy, by group
  std::vector<double> seconds;  // the same
  std::vector<std::vector<double>>
      losses;  // by group and point: what it loses against the group's best, as a part of the whole
};

// The same for the same arguments, whether or not a mixture keeps the limits.
Mixture mixture_in(const std::vector<Group>& groups, const Box& box);

}  // namespace canvas
