// The normal order of steps that commute: the part of the canonical form that follows from algebra rather than from names.
//
// Two steps in a row commute when no axis is touched by both and each lets the other pass: both are linear; or one only moves
// elements; or one moves elements and fills up with zeros, and the other keeps zero. A chain of steps, each used by the next alone,
// is then a trace (Cartier and Foata 1969), and its lexicographically smallest order is the same for all equal traces. What drops
// elements goes to the front, and through two-operand steps into their operands, so that nothing is computed only to be dropped;
// what copies elements goes to the back.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "canvas/ir/renames.h"

namespace canvas {

// The same program nearer to its normal order, or nothing where it is in it.
std::optional<Program> normal_order(const Program& program, const Signature& signature, const Variables& variables);

// The axes that a step reads along, makes, or tells apart.
std::vector<std::string> touched(const Node& node);
// Whether this one, or one of these, is among them.
bool touches(const Node& node, const std::string& axis);
bool touches(const Node& node, const std::vector<std::string>& axes);

// Whether a step is linear in its only operand.
bool linear(const Node& node);

}  // namespace canvas
