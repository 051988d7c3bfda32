// Steps before, beside or after a contraction that its weights could do as well, found by linear algebra: a kernel with one computes what a
// shorter one computes with other weights. superfluous.h asks this last.
#pragma once

#include <optional>
#include <string>

#include "canvas/ir/kernel.h"

namespace canvas {

// What a contraction absorbs, or nothing.
std::optional<std::string> absorbed(const Kernel& kernel);

}  // namespace canvas
