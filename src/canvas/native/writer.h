// Writes a plan as C++ source with all sizes fixed. See write_native.
#pragma once

#include <string>

#include "canvas/native/plan.h"

namespace canvas::native {

// What the processor has: floats in a vector, and vectors.
struct Target {
  int width = 16;
  int registers = 32;
};

struct Source {
  std::string text;
  int64_t constants = 0;  // elements that `prepare` fills
  int64_t scratch = 0;    // elements of zeros for each thread, or, where fewer images than threads are given, for all
};

Source write(Plan plan, const Target& target);

}  // namespace canvas::native
