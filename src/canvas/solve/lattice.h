// Where totals of a knapsack can be at all: they differ from one another by whole combinations of the points' differences, a lattice in
// the plane. fill.cpp tightens limits and bounds by it, which often proves a choice the best that the relaxation alone could not.
#pragma once

#include <cstdint>
#include <vector>

#include "canvas/solve/relaxation.h"

namespace canvas {

// Totals are ground + i (step_flops, skew) + k (0, step_params), i and k whole.
class Lattice {
 public:
  explicit Lattice(const std::vector<Group>& groups);

  // The limits moved to the nearest FLOPs and parameters within them that a total can have.
  Box shrink(const Box& box) const;
  // No total of the lattice in the box has a larger capacity, nor one than `bound`.
  double bound(const Box& box, double bound) const;

 private:
  void add(int64_t flops, int64_t params);

  bool known_ = true;                                    // false: numbers too large for doubles to count
  int64_t step_flops_ = 0, skew_ = 0, step_params_ = 0;  // 0: all totals are equal in that
  Point ground_;
};

}  // namespace canvas
