#include "canvas/solve/network.h"

#include <algorithm>
#include <cmath>

#include "canvas/base/error.h"

namespace canvas {

namespace {

constexpr int64_t kLargest = int64_t{1} << 31;

void check_size(const char* what, int64_t value) {
  if (value >= 1 && value <= kLargest) return;
  throw ArgumentError(std::string("a layer's ") + what + " must be from 1 to 2^31, got " + std::to_string(value));
}

}  // namespace

void Layer::check() const {
  check_size("c_in", c_in);
  check_size("c_out", c_out);
  for (int64_t extent : spatial) check_size("spatial extent", extent);
  check_size("stride", stride);
  check_size("window", window);
  check_size("groups", groups);
  check_size("count", count);
  if (spatial.empty() || spatial.size() > 3) {
    throw ArgumentError("a layer has 1 to 3 spatial extents, got " + std::to_string(spatial.size()));
  }
  if (window % 2 == 0) throw ArgumentError("a layer's window must be odd, got " + std::to_string(window));
  if (c_in % groups != 0 || c_out % groups != 0) {
    throw ArgumentError("a layer's groups must divide c_in and c_out, got " + std::to_string(groups) + " for " +
                        std::to_string(c_in) + " and " + std::to_string(c_out));
  }
}

Values Layer::values() const {
  Values values{};
  values[kC] = c_in;
  values[kK] = c_out;
  values[kStride] = stride;
  for (size_t i = 0; i < spatial.size(); ++i) values[static_cast<size_t>(kW) - spatial.size() + 1 + i] = spatial[i];
  return values;
}

std::vector<int64_t> Layer::output() const {
  std::vector<int64_t> extents;
  for (int64_t extent : spatial) extents.push_back((extent + stride - 1) / stride);
  return extents;
}

Cost Layer::cost() const {
  double in = static_cast<double>(c_in), out = static_cast<double>(c_out);
  double positions = 1;
  Cost cost;
  cost.params = in / static_cast<double>(groups) * out * std::pow(static_cast<double>(window), spatial.size());
  for (int64_t extent : spatial) in *= static_cast<double>(extent);
  for (int64_t extent : output()) positions *= static_cast<double>(extent);
  cost.flops = 2 * cost.params * positions;
  cost.memory = 4 * (in + out * positions);
  return cost;
}

std::string Layer::str() const {
  std::string text = std::to_string(c_in) + " -> " + std::to_string(c_out) + ", ";
  for (size_t i = 0; i < spatial.size(); ++i) text += (i ? "x" : "") + std::to_string(spatial[i]);
  return text + ", stride " + std::to_string(stride);
}

void Budget::check() const {
  const auto check_range = [](const char* name, const std::optional<Range>& range) {
    if (!range) return;
    const bool finite = std::isfinite(range->low) && std::isfinite(range->high);
    if (finite && range->low >= 0 && range->high > 0 && range->low <= range->high) return;
    throw ArgumentError(std::string("budget ") + name +
                        " must be a positive fraction of the original or (low, high) with low <= high, got (" +
                        std::to_string(range->low) + ", " + std::to_string(range->high) + ")");
  };
  check_range("flops", flops);
  check_range("params", params);
  check_range("memory", memory);
  check_range("latency", latency);
  if (latency && latency->absolute) throw ArgumentError("budget latency must be a fraction of the original, got an amount");
  if (!each) return;
  if (each->each || each->latency) throw ArgumentError("a budget's `each` limits flops, params and memory alone");
  each->check();
}

Cost total_cost(const std::vector<Layer>& layers) {
  Cost total;
  for (const Layer& layer : layers) {
    const Cost cost = layer.cost();
    total.flops += cost.flops * static_cast<double>(layer.count);
    total.params += cost.params * static_cast<double>(layer.count);
    total.memory = std::max(total.memory, cost.memory);
  }
  return total;
}

}  // namespace canvas
