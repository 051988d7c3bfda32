// Leaves out renamings of axes on which nothing depends. Used by the canonical form alone.
#pragma once

#include "canvas/ir/program.h"

namespace canvas {

// Takes out a rename whose two names may be one: no value would have an axis twice, and no axes would be joined that were apart. Of several
// the one of the smallest label, so that the order of the text decides nothing. False where there is none.
bool drop_rename(Program& program);

}  // namespace canvas
