// The continuous relaxation of a budget's knapsack: each group may take any mixture of its points. What is reachable then is a convex
// polygon (the Minkowski sum of the groups' hulls), so that the best of it is found exactly by geometry. fill.cpp takes its bounds from here.
#pragma once

#include <cmath>
#include <span>
#include <vector>

namespace canvas {

// What a choice costs in all: FLOPs and parameters.
struct Point {
  double flops = 0;
  double params = 0;
  bool operator==(const Point&) const = default;
};
inline Point operator+(const Point& a, const Point& b) { return {a.flops + b.flops, a.params + b.params}; }
inline Point operator-(const Point& a, const Point& b) { return {a.flops - b.flops, a.params - b.params}; }
inline Point operator*(const Point& a, double factor) { return {a.flops * factor, a.params * factor}; }

// Layers that choose one point each, all from the same points, which ascend (by FLOPs, then parameters) and differ.
struct Group {
  std::span<const Point> points;
  std::span<const double> seconds = {};  // of each point, where time is limited
  int copies = 1;
};

struct Interval {
  double low = 0;
  double high = HUGE_VAL;
};

struct Box {
  Interval flops, params;
  Interval seconds = {};  // the relaxation knows nothing of it: penalty.h does
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

// All mixtures of some groups' points, which must stay as they are.
class Mixtures {
 public:
  explicit Mixtures(const std::vector<Group>& groups);
  Relaxation best_in(const Box& box) const;

 private:
  struct Edge {    // of a group's hull, all copies together
    double half;   // 0: towards more FLOPs, 1: back
    double slope;  // within a half the edges follow each other in this order
    Point vector;
    size_t group;
  };
  struct Corner {  // of the polygon, or of what a box leaves of it
    Point at;
    int edge;  // of the whole polygon, on which the way to the next corner lies; -1: on the box
  };
  static std::vector<Corner> clipped(std::vector<Corner> polygon, const Box& box);
  void share(int edge, const Point& at, double weight, const Point& scale, std::vector<Point>& shares) const;
  void share_inside(const Point& at, const Point& scale, std::vector<Point>& shares) const;

  const std::vector<Group>& groups_;
  std::vector<Point> starts_;  // by group: the least point
  std::vector<Edge> edges_;
  std::vector<Corner> corners_;
};

}  // namespace canvas
