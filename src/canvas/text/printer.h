// Prints a kernel in its language, one primitive a line; parse(print(kernel)) is the same kernel.
#pragma once

#include <string>

#include "canvas/ir/kernel.h"

namespace canvas {

std::string print(const Kernel& kernel);

// One node's call as it stands in a text: "fc(u, [h, w] -> [], per: [C])".
std::string print_call(const Kernel& kernel, const Node& node);

}  // namespace canvas
