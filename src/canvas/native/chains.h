// Where long chains of values begin. The planner goes from the last value to those that it is made of, and so on: each takes room on the stack.
#pragma once

#include <vector>

#include "canvas/ir/core.h"

namespace canvas::native {

// Values that are planned first, in order, so that never too many lie behind each other: such as are stored in any case. `uses`: how often a
// value is used by values that are needed. Throws ArgumentError where none can be found.
std::vector<int> beginnings_of_chains(const std::vector<CoreOp>& ops, const std::vector<int>& uses);

}  // namespace canvas::native
