// Steps that a neighbour could do as well: a parameter that another one absorbs, a view that a contraction does by itself. A kernel with
// such a step computes what a shorter one computes, so the sampler passes it over.
#pragma once

#include <optional>
#include <string>

#include "canvas/ir/kernel.h"

namespace canvas {

// What is superfluous, or nothing.
std::optional<std::string> superfluous(const Kernel& kernel);

}  // namespace canvas
