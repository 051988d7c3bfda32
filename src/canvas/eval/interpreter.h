// The reference interpreter: what a kernel means, in float64 and plain loops. Every emitter and rewrite is tested against it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "canvas/base/tensor.h"
#include "canvas/ir/kernel.h"

namespace canvas {

// Tensors by the name of the value whose primitive uses them; axes as Primitive::parameter gives.
using Parameters = std::map<std::string, Tensor>;

struct Interpretation {
  Tensor result;      // axes in the signature's order
  int64_t flops = 0;  // operations counted as they ran
};

// Runs one image: `input` has the extents of the signature's input axes. Every axis must have an integral size under `values`.
// Throws ArgumentError on a wrong shape, a missing or a wrong parameter, or an axis without an integral size.
Interpretation interpret(const Kernel& kernel, const Values& values, const Tensor& input, const Parameters& parameters);

// The extents of each parameter by name, in node order.
std::vector<std::pair<std::string, std::vector<int64_t>>> parameter_shapes(const Kernel& kernel, const Values& values);

}  // namespace canvas
