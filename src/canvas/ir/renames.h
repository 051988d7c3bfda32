// Leaves out renamings of axes on which nothing depends. Used by the canonical form alone.
#pragma once

#include <vector>

#include "canvas/ir/kernel.h"

namespace canvas {

// Nodes in topological order, the result last, and for each the value of the original kernel that it stands for.
struct Program {
  std::vector<Node> nodes;
  std::vector<int> origin;
};

// Takes out every rename whose two names may be one: no value would have an axis twice, and no axes would be joined that were apart.
// False where there is none; otherwise all axes but the signature's have new names, which no text can hold.
bool drop_renames(Program& program, const Signature& signature);

// The program with a name of its own for every axis that the signature does not name: a text may use one name for several.
Program own_names(const Program& program, const Signature& signature);

}  // namespace canvas
