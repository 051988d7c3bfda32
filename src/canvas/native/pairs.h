// In which order the axes of products of pairs lie, as attention's: of all queries with all keys. Called by the planner.
#pragma once

#include <vector>

#include "canvas/ir/core.h"

namespace canvas::native {

// For each value that is the products of two others for each pair of their positions, or is made of such a value element by element or by
// reducing it, its axes: what both have, then the first one's positions, then the second's, the last the fastest. Nothing for other values.
// Products [i, j, g] of q[i, g, d] and k[j, g, d] lie as [g, i, j]; where a head g has one channel, and there are many, as [i, j, g].
std::vector<std::vector<Name>> orders_of_pairs(const std::vector<CoreOp>& ops, const std::vector<bool>& constant,
                                               const Values& values);

}  // namespace canvas::native
