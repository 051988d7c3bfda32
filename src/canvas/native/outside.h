// Steps of sums that meet nothing but zeros: for all elements of a result, left out by the planner when all accesses are known; for some
// positions, left out by tiles.
#pragma once

#include "canvas/native/plan.h"

namespace canvas::native {

// Leaves out of each sum of products the first and the last steps in which some factor lies in its margins for all elements of the result (a
// window of 31 on an image of 4 keeps 7), and margins that nothing reaches then.
void leave_out_zeros(Plan& plan);

// Neighbouring steps of a loop, the last one among them.
struct Range {
  int64_t first, last;
  int64_t count() const { return last - first + 1; }
};

// The steps of a summed loop that count where another loop stands at `step`: in all others some factor lies in its margins, wherever the
// rest of the loops stand. One step at least.
Range counting(const Nest& nest, const Buffers& buffers, const std::string& summed, const std::string& loop,
               int64_t step);

}  // namespace canvas::native
