// Emits a kernel's graph as Graphviz DOT source, for pictures.
#pragma once

#include <string>

#include "canvas/ir/kernel.h"

namespace canvas {

std::string emit_dot(const Kernel& kernel);

}  // namespace canvas
