// What a step of a kernel works along, and how: what the rules of plausibility ask before they take one past another. The canonical form
// asks the same of its own steps (program.h).
#pragma once

#include <string>
#include <vector>

#include "canvas/ir/kernel.h"

namespace canvas {

// Whether a step reads along an axis, makes it, or tells its positions apart; the same of one of several.
bool touches(const Node& node, const Name& axis);
bool touches(const Node& node, const AxisNames& axes);

// Whether a step is linear in its only operand.
bool linear(const Node& node);

}  // namespace canvas
