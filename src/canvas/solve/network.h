// A network as the solvers see it: its replaceable layers, and the budget that their replacements must keep.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "canvas/analyze/cost.h"
#include "canvas/size/size.h"

namespace canvas {

// One replaceable layer, `count` times in the network. Output extents are ceil(extent / stride).
struct Layer {
  int64_t c_in = 1;
  int64_t c_out = 1;
  std::vector<int64_t> spatial = {32, 32};
  int64_t stride = 1;
  int64_t window = 3;
  int64_t groups = 1;
  int64_t count = 1;

  // Throws ArgumentError for sizes below 1 or above 2^31, an even window, or groups that do not divide the channels.
  void check() const;
  Values values() const;
  std::vector<int64_t> output() const;
  // What the original convolution costs, once, for one image; memory: input and output in fp32.
  Cost cost() const;
  std::string str() const;
  bool operator==(const Layer&) const = default;
};

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
  std::optional<Range> latency;        // kept for whoever measures: no solver here predicts it yet
  std::shared_ptr<const Budget> each;  // of every single layer, against its own original; latency and `each` are not in it

  // Throws ArgumentError for negative, non-finite or crossed limits, an amount of latency, or an `each` within `each`.
  void check() const;
};

// FLOPs and parameters of all layers with their counts; memory of the largest.
Cost total_cost(const std::vector<Layer>& layers);

}  // namespace canvas
