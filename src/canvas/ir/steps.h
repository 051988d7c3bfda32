// What a step of a kernel works along, and how: what the rules of the canonical form and of plausibility ask before they take one past
// another.
#pragma once

#include <string>
#include <vector>

#include "canvas/ir/kernel.h"

namespace canvas {

// The axes that a step reads along, makes, or tells apart.
std::vector<std::string> touched(const Node& node);
// Whether this one, or one of these, is among them.
bool touches(const Node& node, const std::string& axis);
bool touches(const Node& node, const std::vector<std::string>& axes);

// Whether a step is linear in its only operand.
bool linear(const Node& node);

}  // namespace canvas
