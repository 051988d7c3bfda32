// Level 1 for finished kernels: their sizes as a system, and why sizes are not legal on a layer. Builder sees to the equations while a
// kernel grows; what is left here is that sizes are whole, long enough for the positions that are taken of them, and come out even where
// strides round.
#pragma once

#include <optional>

#include "canvas/base/error.h"
#include "canvas/ir/kernel.h"
#include "canvas/size/system.h"
#include "canvas/solve/network.h"

namespace canvas {

// What must hold of the kernel's sizes, layer by layer: every axis whole, and as long as the positions that select and update name.
System system_of(const Kernel& kernel);

// The first of the verdict's conditions that the layer does not meet, where that says more than a size of an axis would; or nothing.
// Example: sizes g/2 and C/g on a layer with C = 7: "layers where C/2 is whole".
std::optional<Fault> unmet(const System& system, const Kernel& kernel, const Layer& layer);

// Why sizes are not legal on one layer, or nothing: a size that is no positive integer, or a split or merge that does not come out even
// (rounded strides).
std::optional<Fault> check_sizes(const Kernel& kernel, const Layer& layer, const Values& values);

}  // namespace canvas
