// Writes the function of one tile: sums in registers, then the expression of each element. Called by the writer of nests.
#pragma once

#include <string>

#include "canvas/native/tiled.h"

namespace canvas::native {

// "for (long i = 0; i < 8; i++) "; by 4, "for (long i = 0; i < 8; i += 4) ".
std::string loop_text(const std::string& index, int64_t end, int64_t by = 1, int64_t first = 0);
// " + i * 8", or nothing.
std::string step_text(const std::string& index, int64_t step);

// What stands behind its name. Its arguments are pointers to the first element of each operand of the nest. Without factors it runs over all
// rows. One that `asks` fetches far factors before they are read.
std::string tile_function(const TiledNest& nest, const Panel& panel, const Part& part, bool asks);

}  // namespace canvas::native
