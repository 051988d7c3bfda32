// The solver of a budget's knapsack: every layer takes one of its points so that the totals lie in a box and are worth most.
// It is a multiple-choice knapsack in two resources that are limits and profit at once, so close to a subset sum: bounds come from the
// relaxation (relaxation.h), a good choice from exchanges (exchange.h), and the proof from listing what could still be better (listing.h).
// Knows neither kernels nor layers; problem.cpp calls it.
#pragma once

#include <cstdint>
#include <vector>

#include "canvas/solve/relaxation.h"

namespace canvas {

struct Filling {
  bool found = false;
  bool proven = false;          // there is none better; or, where none was found, there is none
  std::vector<uint32_t> picks;  // the points that the copies of each group take, ascending; in the order of the groups
  Point total;
  double bound = 0;  // no choice in the box has a larger capacity
};

// How hard to try.
enum class Aim {
  kBest,  // until proven; where listing all is too much, until within 1e-4 of the bound (1e-3 after many exchanges), or a fixed effort
  kAny,   // any choice in the box will do
};

inline constexpr size_t kFewDecisions = 16;  // these are listed at any cost

// The choice of largest capacity, the same for the same arguments. `part`: the points stand for others between them, so that listing all
// proves nothing.
Filling fill(const std::vector<Group>& groups, const Box& box, Aim aim = Aim::kBest, bool part = false);

}  // namespace canvas
