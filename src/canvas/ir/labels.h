// Name-free labels of a kernel's values, axes and dynamic variables, by colour refinement over the whole graph (the idea of
// Weisfeiler and Leman 1968). Used by the canonical form alone.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "canvas/ir/program.h"

namespace canvas {

struct Labels {
  std::vector<uint64_t> values;  // one a step
  std::vector<uint64_t> axes;    // one an axis
  std::array<uint64_t, kMaxVariables> variables;
};

Labels labels(const Program& program);

}  // namespace canvas
