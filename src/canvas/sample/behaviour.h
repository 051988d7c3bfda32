// Which kernels do the same, whatever they are written as: 2x before a contraction is x, and so is max(x, x / 2) where no input is negative.
// Told by numbers: the interpreter's results on small layers, for one input and parameters that depend on their order and shapes alone.
// Kernels of which one gives a multiple of what the other gives do the same; weights, or the batch norm behind, take the factor in.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "canvas/ir/kernel.h"
#include "canvas/solve/network.h"

namespace canvas {

class Behaviours {
 public:
  // `layers`: those of the network, for its signatures and strides. `nonnegative`: no layer has negative inputs.
  Behaviours(const std::vector<Layer>& layers, bool nonnegative);

  // A hash of what a canonical kernel does; nothing where its sizes do not fit the small layers, or its results have no finite norm.
  std::optional<uint64_t> of(const Kernel& kernel) const;

 private:
  std::optional<uint64_t> on(const Layer& layer, const Kernel& kernel) const;

  std::vector<Layer> layers_;  // one of each stride
  bool nonnegative_;
};

}  // namespace canvas
