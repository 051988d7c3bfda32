// A whole system of sizes: equations, sizes that must be whole, and bounds, over static and dynamic variables. verdict() says of it what
// holds whatever layer the static variables come from: never, always, or under which conditions. choices.h lists its solutions on one layer.
// A kernel's own system (solve/structural.h), the binding's reasons and Python's canvas.Sizes are all of this kind.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "canvas/size/equations.h"
#include "canvas/size/size.h"

namespace canvas {

struct System {
  struct Bound {
    Size size;
    int64_t low = 1;
    int64_t high = 0;  // 0: no limit
  };
  // All variables are whole numbers from 1.
  std::vector<std::pair<Size, Size>> equations = {};
  std::vector<Size> whole = {};
  std::vector<Bound> bounds = {};

  // Which variables are in it.
  std::vector<int> variables() const;
};

struct Verdict {
  enum Kind { kNever, kAlways, kWhere, kTooLarge };
  Kind kind = kAlways;
  // kWhere: the system has a solution exactly where all of these hold. Those that name a dynamic variable ask for some value of it that
  // suits them all; it is named where no condition without it says the same.
  std::vector<Condition> conditions = {};
  std::vector<std::pair<int, Powers>> forced =
      {};                      // dynamic variables that the equations leave no choice, and what they must be
  std::vector<int> free = {};  // the other dynamic variables
};

// Exact as far as it says: kNever and kAlways are proven, and the conditions are what there is to ask. Kernels and systems of a few
// variables come out without dynamic variables in their conditions unless bounds or powers above one tie these together.
// H/s counts as whole, since it rounds up; but what follows from equations with the stride (g*s = H gives g = H/s) is for layers whose
// extents it divides, and solve() says how it is on others.
// Example: {g*m = K}, {C/g whole}: always, since g = 1 will do. {}, {C/g, g/4 whole}: where C/4 is whole. {r*r = C}: where C is a square.
Verdict verdict(const System& system);

}  // namespace canvas
