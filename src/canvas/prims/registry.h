// The table of primitives: prims.def lists them, one line each; each one's own file defines it.
#pragma once

#include <string>
#include <vector>

#include "canvas/ir/primitive.h"

namespace canvas {

#define CANVAS_PRIMITIVE(name) const Primitive& name##_primitive();
#include "canvas/prims/prims.def"
#undef CANVAS_PRIMITIVE

// All primitives, in the order of prims.def.
const std::vector<const Primitive*>& primitives();

// The primitive of that name, or null.
const Primitive* find_primitive(const std::string& name);

}  // namespace canvas
