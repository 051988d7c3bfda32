// The normal order of steps that commute: the part of the canonical form that follows from algebra rather than from names.
//
// Two steps in a row commute when no axis is touched by both and each lets the other pass: both are linear; or one only moves
// elements; or one moves elements and fills up with zeros, and the other keeps zero. A chain of steps, each used by the next alone,
// is then a trace (Cartier and Foata 1969), and its lexicographically smallest order is the same for all equal traces. What drops
// elements goes to the front, and through two-operand steps into their operands, so that nothing is computed only to be dropped;
// what copies elements goes to the back, and a view that both operands have goes behind the step that takes them. Views of views become
// one, and views of a contraction's axes go into its weights.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "canvas/ir/renames.h"
#include "canvas/ir/steps.h"

namespace canvas {

// The same program nearer to its normal order, or nothing where it is in it.
std::optional<Program> normal_order(const Program& program, const Signature& signature, const Variables& variables);

}  // namespace canvas
