// The normal order of steps that commute: the part of the canonical form that follows from algebra rather than from names.
//
// Two steps in a row commute when no axis is touched by both and each lets the other pass: both are linear; or one only moves
// elements; or one moves elements and fills up with zeros, and the other keeps zero. A chain of steps, each used by the next alone,
// is then a trace (Cartier and Foata 1969), and its lexicographically smallest order is the same for all equal traces. What drops
// elements goes to the front, and through two-operand steps into their operands, so that nothing is computed only to be dropped;
// what copies elements goes to the back, and a view that both operands have goes behind the step that takes them. Views of views become
// one, and views of a contraction's axes go into its weights.
#pragma once

#include "canvas/ir/program.h"

namespace canvas {

// Brings a program into its normal order; false where a value on the way would have too many axes: then it is of no use.
bool normal_order(Program& program);

}  // namespace canvas
