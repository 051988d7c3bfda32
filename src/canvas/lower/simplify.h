// Rewrites core forms so that backends find the shapes that they have fast code for: a window next to the contraction, reduction or
// pooling that consumes it, and every stride as early as it can be. Each rule keeps the value. Called by emitters after lower().
#pragma once

#include "canvas/ir/core.h"
#include "canvas/lower/rules.h"

namespace canvas {

CoreProgram simplify(const CoreProgram& program);
// Only the rules that `lowering` enables; it counts them. Rules that weigh costs need the sizes.
CoreProgram simplify(const CoreProgram& program, Lowering& lowering, const Values* values = nullptr);

// Whether an index map only strides: no windows, no offsets.
bool is_stride_only(const CoreOp& index);

}  // namespace canvas
