// What depends on what, as far as a look at each step by itself tells: enough for growth to see what is missing, and to spare most kernels
// the exact analysis (analyze/flow.h).
#pragma once

#include <vector>

#include "canvas/ir/kernel.h"

namespace canvas {

// Along which of the input's axes, as bits, a step's result looks around, where `seen` says that of the values before. A neighbourhood spread
// over a part of a layer's channels counts where that is `enough`: it depends on how many they are.
unsigned looks_around(const Node& node, const std::vector<unsigned>& seen, const Signature& signature, bool enough);

// Whether, without doubt, every output depends on every input channel, on every parameter, and on at least three positions along each of
// the axes `wanted`.
bool surely_connected(const Kernel& kernel, unsigned wanted);

}  // namespace canvas
