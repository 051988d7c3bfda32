// A system of sizes as Python sees it: canvas.Sizes, and Kernel.sizes.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "canvas/ir/kernel.h"
#include "canvas/size/system.h"

namespace canvas::python {

struct Sizes {
  System system;
  Variables variables;
  std::vector<std::pair<std::string, std::string>>
      settled;  // variables that are no longer in the system, and what they are
};

Sizes sizes_of(const Kernel& kernel);

}  // namespace canvas::python
