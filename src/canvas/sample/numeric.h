// The forward pass that judges a kernel by its numbers: the reference interpreter on a small layer, with parameters drawn as a network's
// are. Exact where moments guess, and some hundred times as slow; plausible.cpp calls it where a limit asks for it.
#pragma once

#include "canvas/base/random.h"
#include "canvas/eval/interpreter.h"
#include "canvas/ir/kernel.h"

namespace canvas {

// Drawn as a network's are; those that are all alike at initialisation are moved by so many standard normal deviations.
Parameters initial_parameters(const Kernel& kernel, const Values& values, Random& random, double spread = 0);

// Why elements of this mean and mean square are no result to start training from, or null.
const char* misscaled(double mean, double square);

// The same of the kernel's result for a standard normal input.
const char* misscaled(const Kernel& kernel, const Values& values);

}  // namespace canvas
