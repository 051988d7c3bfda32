// Writes a plan as C++ source with all sizes fixed.
#pragma once

#include <string>

#include "canvas/native/plan.h"
#include "canvas/native/target.h"

namespace canvas::native {

struct Source {
  std::string text;
  int64_t constants = 0;  // elements that `prepare` fills
  double cycles = 0;      // that an image takes, about
  double cold = 0;        // that a run takes besides, to fetch the weights
  int64_t scratch = 0;    // elements of zeros for each thread, or, where fewer images than threads are given, for all
};

Source write(Plan plan, const Target& target);

}  // namespace canvas::native
