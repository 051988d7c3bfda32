// Softmax and norm in terms of forms that a nest can compute. Called by the planner, before it plans.
#pragma once

#include "canvas/ir/core.h"

namespace canvas::native {

// Softmax becomes powers of what each element is below the largest, divided by their sum. Where the quotients are only contracted, along all
// axes of the softmax, the result of the contraction is divided instead: it is smaller.
// The quotient of a norm is divided by roots that are computed once.
CoreProgram plain_forms(const CoreProgram& program);

}  // namespace canvas::native
