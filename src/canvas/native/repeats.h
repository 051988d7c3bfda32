// Values that are computed twice. Called by the planner, before it plans.
#pragma once

#include "canvas/ir/core.h"

namespace canvas::native {

// Operations that are the same, of the same operands, become one.
CoreProgram without_repeats(const CoreProgram& program);

}  // namespace canvas::native
