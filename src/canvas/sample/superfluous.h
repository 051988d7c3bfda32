// Steps that a neighbour could do as well or undoes: a parameter that another one absorbs or that a normalisation takes away, a view that
// a contraction does by itself, weights for what is dropped. A kernel with such a step computes what a shorter one computes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "canvas/ir/kernel.h"

namespace canvas {

// What is superfluous, or nothing.
std::optional<std::string> superfluous(const Kernel& kernel);

// What the last step of a kernel that still grows makes superfluous: itself, or a step that nothing else has used so far; or null.
// `next`: one more step.
const char* superfluous_at_end(const std::vector<Node>& nodes, const Node* next = nullptr);

}  // namespace canvas
