// Identities that leave a step out: f(f(x)) = f(x), f(f(x)) = x, f(x, x) = x, relu(x) = |x| = x where x cannot be negative, and one value for
// two steps without weights that are the same. Used by the canonical form alone.
#pragma once

#include "canvas/ir/program.h"

namespace canvas {

// Leaves out what the identities allow, as long as there is something, and refreshes; whether there was. Where axes have ids of their own
// (Program::separate), steps that differ in the ids that they make are the same, too.
bool simplify(Program& program, bool own_axes = true);

// Whether two steps differ in their operands at most.
bool same_but_operands(const Program& program, const Step& left, const Step& right);

}  // namespace canvas
