// Emits a kernel, with its sizes fixed to one layer, as readable stand-alone PyTorch source that needs torch alone.
#pragma once

#include <string>
#include <vector>

#include "canvas/ir/primitive.h"
#include "canvas/lower/rules.h"

namespace canvas {

// One trained tensor: how the interpreter sees it and how the module stores it (at most 4 dimensions; the same elements in the same
// order).
struct ParameterShape {
  std::string name;
  std::vector<int64_t> logical;
  std::vector<int64_t> stored;
  Initial initial;
  double deviation;  // of the normal distribution that it starts from, where `initial` is kNormal
};

struct TorchSource {
  std::string text;  // ends in one nn.Module class and `Module = TheClass`
  std::vector<ParameterShape> parameters;
};

// Throws ArgumentError when a size of the kernel is no positive integer for `values`.
TorchSource emit_torch(const Kernel& kernel, const Values& values);
// With those lowering rules alone that `lowering` enables; it counts them.
TorchSource emit_torch(const Kernel& kernel, const Values& values, Lowering& lowering);

}  // namespace canvas
