// Blocks: loops that neighbouring nests have in common are put around all of them, so that what one nest makes for the next stays in the
// cache. Between plan and loops.
#pragma once

#include "canvas/native/plan.h"
#include "canvas/native/target.h"

namespace canvas::native {

// Where scratch would not fit a cache. Buffers that are used within a block alone lose the axes of its loops.
void make_blocks(Plan& plan, const Target& target);

}  // namespace canvas::native
