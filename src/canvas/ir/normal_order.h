// The normal order of steps that commute: the part of the canonical form that follows from algebra rather than from names.
//
// Two steps in a row commute when no axis that one of them mixes is touched by the other and each lets the other pass: both are linear; or
// one only moves elements; or one moves elements and fills up with zeros, and the other keeps zero. A chain of steps, each used by the next
// alone, is then a trace (Cartier and Foata 1969), and its lexicographically smallest order is the same for all equal traces
// (chain_order.h). What drops elements goes to the front, and through joints into their operands, so that nothing is computed only to be
// dropped; then what contracts axes; what copies elements goes to the back, and a view that several operands have goes behind the step that
// takes them. Where strides came no further than to the operands of a joint, they go behind it again: that is one step less.
// Views of views become one, reductions of reductions and sums of sums, too; views of a contraction's axes go into its weights; and a factor
// that has none of the axes of a linear step is multiplied after it.
#pragma once

#include "canvas/ir/program.h"

namespace canvas {

// Brings a program into its normal order; false where a value on the way would have too many axes: then the program is of no use.
bool normal_order(Program& program);

}  // namespace canvas
