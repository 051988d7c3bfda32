// Lists all choices that can still be better than the best so far, in two halves that are joined by their sums (Horowitz and Sahni 1974).
// fill.cpp calls it where that is not too much; it is what proves a choice the best.
#pragma once

#include <cstddef>

#include "canvas/solve/target.h"

namespace canvas {

// Looks at every choice in the box that is worth more than `worth`, with `most` states in a half at a time, equal ones not yet merged.
// `best` is set where there is one. With `any`, the first will do. False where there are too many to look at them all.
bool list_all(const Target& target, size_t most, bool any, double worth, Choice& best);

}  // namespace canvas
