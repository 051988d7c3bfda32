// Every kernel that sampling can give, up to a few primitives: the oracle that the sampler and the canonical form are tested against. It
// tries all primitives on all values with all that they propose, and asks the sampler nothing.
#pragma once

#include <vector>

#include "canvas/sample/limits.h"
#include "canvas/sample/sampler.h"

namespace canvas {

// The longest kernels that are enumerated: their number grows about a hundredfold with each primitive.
inline constexpr int kLongestEnumerated = 6;

// All kernels in canonical form that keep the limits and that the layers and the budget have a binding for, shorter ones first, then by
// hash. Of the weights it matters which are 0. Throws ArgumentError as Sampler does, and for max_primitives above kLongestEnumerated.
std::vector<Sample> enumerate(const std::vector<Layer>& layers, const Budget& budget, const Limits& limits);

}  // namespace canvas
