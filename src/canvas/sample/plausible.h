// Whether a legal kernel could be of any use: judged on a small layer by what depends on what (analyze/flow.h) and by the moments at
// initialisation (analyze/moments.h), so that no primitive needs to know of it. Nothing is computed but, where asked for, one forward
// pass (numeric.h).
#pragma once

#include <optional>
#include <string>

#include "canvas/ir/kernel.h"
#include "canvas/sample/limits.h"

namespace canvas {

// Values of a small layer that kernels are judged on, with free sizes to suit: 8 channels in and out, extents past `reach` on both sides
// of the middle, or nothing where no sizes come out whole.
std::optional<Values> small_layer(const Kernel& kernel, int reach);

// Why the kernel is implausible under `limits`, or nothing.
std::optional<std::string> implausible(const Kernel& kernel, const Limits& limits);

}  // namespace canvas
