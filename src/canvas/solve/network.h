// A network as the solvers see it: its replaceable layers, and the budget that their replacements must keep.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "canvas/analyze/cost.h"
#include "canvas/base/error.h"
#include "canvas/size/size.h"

namespace canvas {

// One replaceable layer, `count` times in the network: a convolution, whose output extents are ceil(extent / stride), or, without
// spatial extents, a linear layer, which is applied to each of `tokens` positions where it has one axis of them.
struct Layer {
  int64_t c_in = 1;
  int64_t c_out = 1;
  std::vector<int64_t> spatial = {32, 32};
  int64_t stride = 1;
  int64_t window = 3;
  int64_t groups = 1;
  int64_t count = 1;
  int64_t tokens = 0;  // 0: none are told of

  // Throws ArgumentError for sizes below 1 or above 2^31, an even window, groups that do not divide the channels, or a linear layer
  // with a window or a stride.
  void check() const;
  Values values() const;
  // What the original layer costs, once, for one image or sequence; memory: input and output in fp32.
  Cost cost() const;
  // "conv1d", "conv2d", "conv3d" or "linear".
  std::string kind() const;
  // What a kernel for this layer looks like: (x[T, C]) -> [T, K] with tokens.
  Signature signature() const;
  std::string str() const;
  bool operator==(const Layer&) const = default;
};

// Why a kernel of this signature cannot stand in for the layer, or nothing. With tokens, (x[C]) -> [K] may as well.
std::optional<Fault> misfit(const Signature& signature, const Layer& layer);

// A floor and a limit: fractions of what the original costs (memory: of its largest layer), or amounts.
struct Range {
  double low = 0;
  double high = 0;
  bool absolute = false;  // amounts: operations, parameters, bytes
};

// Limits on all layers together, and on each by itself.
struct Budget {
  std::optional<Range> flops;
  std::optional<Range> params;
  std::optional<Range> memory;
  std::optional<Range> latency;  // in seconds; of what Prices predict, and kept for whoever measures
  std::shared_ptr<const Budget>
      each;  // of every single layer, against its own original; latency and `each` are not in it

  // Throws ArgumentError for negative, non-finite or crossed limits, an amount of latency, or an `each` within `each`.
  void check() const;
};

// FLOPs and parameters of all layers with their counts; memory of the largest.
Cost total_cost(const std::vector<Layer>& layers);

}  // namespace canvas
