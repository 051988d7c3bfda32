// Small changes to a kernel: a primitive inserted, removed or exchanged, the rest rebuilt on top where that is legal; or the end cut off
// and grown again. And kernels made of two, or of the beginning of one.
#pragma once

#include <optional>

#include "canvas/base/random.h"
#include "canvas/ir/kernel.h"
#include "canvas/sample/growth.h"

namespace canvas {

// Whether a kernel has few enough weights, no superfluous step where that is asked for, and simple free sizes that keep the budget; if not, it
// may still do.
bool promising(const Kernel& kernel, const Growing& under);

// A changed kernel, or nothing where a few draws led to none that is legal. One that is not promising is drawn anew as often.
std::optional<Kernel> mutated(const Kernel& parent, const Growing& under, Random& random);

// The first `kept` primitives of a kernel and others grown on them, about `length` in all; nothing where the limits leave no room.
std::optional<Kernel> completed(const Kernel& parent, int kept, int length, const Growing& under, Random& random);

// One parent's result computed from a value of the other: what stands before a value of `one`, and in `other` after a value of the same
// sizes, wherever the two have such. Dynamic variables of one name become one.
std::optional<Kernel> crossed(const Kernel& one, const Kernel& other, const Growing& under, Random& random);

}  // namespace canvas
