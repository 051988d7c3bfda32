// Small changes to a kernel: a primitive inserted, removed or exchanged, the rest rebuilt on top where that is legal; or the end cut off
// and grown again.
#pragma once

#include <optional>

#include "canvas/base/random.h"
#include "canvas/ir/kernel.h"
#include "canvas/sample/limits.h"

namespace canvas {

// A changed kernel, or nothing where this draw led to none that is legal.
std::optional<Kernel> mutated(const Kernel& parent, const Limits& limits, Random& random);

}  // namespace canvas
