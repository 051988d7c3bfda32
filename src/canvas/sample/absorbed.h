// Steps before, beside or after a contraction that its weights could do as well, found by linear algebra: a kernel with one computes what a
// shorter one computes with other weights. superfluous.h asks this last.
#pragma once

#include "canvas/sample/users.h"

namespace canvas {

// What a contraction absorbs, or null. Of a kernel that still grows, a step that uses one of its values may change that.
const char* absorbed(const Users& users);

}  // namespace canvas
