// The continuous relaxation of a budget's knapsack: each group may take any mixture of its points. What is reachable then is a convex
// polygon (the Minkowski sum of the groups' hulls), so that the best of it is found exactly by geometry. fill.cpp takes its bounds from here.
#pragma once

#include <cmath>
#include <vector>

namespace canvas {

// What a choice costs in all: FLOPs and parameters.
struct Point {
  double flops = 0;
  double params = 0;
  bool operator==(const Point&) const = default;
};

// Layers that choose one point each, all from the same points.
struct Group {
  std::vector<Point> points;
  int copies = 1;
};

struct Interval {
  double low = 0;
  double high = HUGE_VAL;
};

struct Box {
  Interval flops, params;
  bool contains(const Point& total) const {
    return total.flops >= flops.low && total.flops <= flops.high && total.params >= params.low &&
           total.params <= params.high;
  }
};

// What is maximised: FLOPs x parameters, the square of their geometric mean. A kernel without one of the two is judged by the other.
inline double capacity(const Point& total) { return std::max(total.flops, 0.5) * std::max(total.params, 0.5); }

struct Relaxation {
  bool feasible = false;  // false: no mixture is in the box, so no choice is
  Point best;             // of largest capacity in the box; no choice has more
  Point most;             // the largest FLOPs and the largest parameters of the mixtures in the box, each by itself
  Point normal;  // no mixture has more of normal.flops * FLOPs + normal.params * parameters than `best`; (0, 0) where
                 // `best` is inside and the budget alone bounds it. Scaled to 1 a relative change.
  std::vector<Point> shares;  // one copy's part of a mixture that is worth `best`, by group
};

Relaxation relax(const std::vector<Group>& groups, const Box& box);

}  // namespace canvas
