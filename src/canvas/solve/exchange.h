// Improves a choice by changing up to four of its decisions at a time: sums of two changes are listed, sorted and matched with one another,
// so that a million combinations cost a few thousand steps. fill.cpp calls it; it proves nothing.
#pragma once

#include <cstddef>
#include <cstdint>

#include "canvas/solve/target.h"

namespace canvas {

// Looks for a choice in the box that is worth more than `worth` among those that differ from `base` (which may be outside of it) in at
// most four decisions. `moves` single changes and their pairs are tried, with 0 all single changes, then two at a time: some that make good what the base lacks, some that are finer; `round`, above 0,
// leaves out a random half first. Whether it found one, which is then the base.
bool exchange(const Target& target, size_t moves, uint64_t round, double worth, Choice& base);

}  // namespace canvas
