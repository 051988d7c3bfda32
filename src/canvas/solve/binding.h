// Level 2: chooses a kernel's free sizes for a network, so that every size is integral, the budget holds, and it is used to the full.
// This first solver chooses each variable once for the whole network. It is exact where that is at most 64 legal values a variable and
// 100,000 combinations, and looks at the smallest ones beyond.
#pragma once

#include <string>
#include <vector>

#include "canvas/analyze/cost.h"
#include "canvas/base/error.h"
#include "canvas/ir/kernel.h"
#include "canvas/solve/network.h"

namespace canvas {

struct BoundLayer {
  Kernel kernel;
  Layer layer;
  Values values;  // static and dynamic
  Cost cost;      // of one such layer, one image
};

struct Binding {
  Kernel kernel;
  std::vector<BoundLayer> layers;
  Cost cost;  // FLOPs and parameters of all layers with their counts; memory of the largest
};

// Either the binding of largest capacity (the geometric mean of FLOPs and parameter use; ties go to the smaller values) or the reason why
// there is none: the size and layer that no value makes integral, or the budget and by how much it is missed; `missed`, where given, takes
// that as a factor (HUGE_VAL when it is not a matter of the budget).
// Throws ArgumentError for bad layers or budgets.
Result<Binding> bind(const Kernel& kernel, const std::vector<Layer>& layers, const Budget& budget,
                     double* missed = nullptr);

// Why sizes are not legal on one layer, or nothing: a size that is no positive integer, or a split or merge that does not come out even
// (rounded strides).
std::optional<Fault> check_sizes(const Kernel& kernel, const Layer& layer, const Values& values);

}  // namespace canvas
