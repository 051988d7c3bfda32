// Predicted latencies of a kernel's options, made by whoever can predict (python/canvas/cost_model.py): what a budget's limit on latency
// is held against.
#pragma once

#include <utility>
#include <vector>

#include "canvas/size/size.h"

namespace canvas {

struct Prices {
  double original = 0;  // seconds of all original layers with their counts
  // By layer of the network's list: options, and the seconds of one such layer. Options without a price are not chosen;
  // layers of equal sizes have the prices of the first of them.
  std::vector<std::vector<std::pair<Values, double>>> layers;
};

}  // namespace canvas
