// Steps of sums that meet nothing but zeros. Called by the planner, when all accesses are known.
#pragma once

#include "canvas/native/plan.h"

namespace canvas::native {

// Leaves out of each sum of products the first and the last steps in which some factor lies in its margins for all elements of the result (a
// window of 31 on an image of 4 keeps 7), and margins that nothing reaches then.
void leave_out_zeros(Plan& plan);

}  // namespace canvas::native
