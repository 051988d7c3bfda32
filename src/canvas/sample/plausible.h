// Whether a legal kernel could be of any use: judged on a tiny probe layer by the reference interpreter itself, so that no primitive
// needs to know of it. NaN marks what depends on what: whatever an element reaches turns to NaN.
#pragma once

#include <optional>
#include <string>

#include "canvas/ir/kernel.h"
#include "canvas/sample/limits.h"

namespace canvas {

// Why the kernel is implausible under `limits`, or nothing.
std::optional<std::string> implausible(const Kernel& kernel, const Limits& limits);

}  // namespace canvas
