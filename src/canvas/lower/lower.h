// Lowers a kernel into core forms by asking each primitive in turn. Called by every emitter.
#pragma once

#include "canvas/ir/core.h"
#include "canvas/ir/kernel.h"

namespace canvas {

CoreProgram lower(const Kernel& kernel);

}  // namespace canvas
