#include "canvas/solve/network.h"

#include <algorithm>
#include <cmath>

namespace canvas {

namespace {

constexpr int64_t kLargest = int64_t{1} << 31;

void check_size(const char* what, int64_t value) {
  if (value >= 1 && value <= kLargest) return;
  throw ArgumentError(std::string("a layer's ") + what + " must be from 1 to 2^31, got " + std::to_string(value));
}

// "(x[C, H, W]) -> [K, H/s, W/s]".
std::string text(const Signature& signature) {
  return "(" + signature.input + to_string(signature.from, {}) + ") -> " + to_string(signature.to, {});
}

// The same sizes in the same order, whatever the axes are called.
bool same_sizes(const Axes& a, const Axes& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const Axis& left, const Axis& right) { return left.size == right.size; });
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
  if (tokens != 0) check_size("tokens", tokens);
  if (spatial.size() > 3) {
    throw ArgumentError("a layer has at most 3 spatial extents, got " + std::to_string(spatial.size()));
  }
  if (tokens != 0 && !spatial.empty()) {
    throw ArgumentError("a layer with tokens has no spatial extents, got " + std::to_string(spatial.size()) +
                        " of them");
  }
  if (spatial.empty() && (window != 1 || stride != 1)) {
    throw ArgumentError("a layer without spatial extents has window and stride 1, got " + std::to_string(window) +
                        " and " + std::to_string(stride));
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
  if (spatial.empty()) values[kT] = std::max<int64_t>(tokens, 1);
  for (size_t i = 0; i < spatial.size(); ++i) values[static_cast<size_t>(kW) - spatial.size() + 1 + i] = spatial[i];
  return values;
}

Cost Layer::cost() const {
  double in = static_cast<double>(c_in), out = static_cast<double>(c_out);
  double positions = 1;
  Cost cost;
  cost.params = in / static_cast<double>(groups) * out;
  for (size_t i = 0; i < spatial.size(); ++i) cost.params *= static_cast<double>(window);
  if (tokens != 0) {
    positions = static_cast<double>(tokens);
    in *= positions;
  }
  for (int64_t extent : spatial) {
    in *= static_cast<double>(extent);
    positions *= static_cast<double>((extent + stride - 1) / stride);
  }
  cost.flops = 2 * cost.params * positions;
  cost.memory = 4 * (in + out * positions);
  return cost;
}

std::string Layer::str() const {
  std::string text = std::to_string(c_in) + " -> " + std::to_string(c_out);
  if (spatial.empty()) return text + (tokens ? ", " + std::to_string(tokens) + " tokens" : "");
  text += ", ";
  for (size_t i = 0; i < spatial.size(); ++i) text += (i ? "x" : "") + std::to_string(spatial[i]);
  return text + ", stride " + std::to_string(stride);
}

std::string Layer::kind() const { return spatial.empty() ? "linear" : "conv" + std::to_string(spatial.size()) + "d"; }

Signature Layer::signature() const {
  return tokens ? Signature::tokens() : Signature::convolution(static_cast<int>(spatial.size()));
}

std::optional<Fault> misfit(const Signature& signature, const Layer& layer) {
  const Signature own = layer.signature(), linear = Signature::convolution(0);
  const auto fits = [&](const Signature& wanted) {
    // With stride 1, [K, H, W] is as good as [K, H/s, W/s].
    const Size stride = layer.stride == 1 ? Size::variable(kStride) : Size();
    return same_sizes(signature.from, wanted.from) &&
           std::equal(signature.to.begin(), signature.to.end(), wanted.to.begin(), wanted.to.end(),
                      [&](const Axis& axis, const Axis& other) {
                        return axis.size == other.size || axis.size == other.size * stride;
                      });
  };
  if (fits(own) || (layer.spatial.empty() && fits(linear))) return std::nullopt;
  return Fault{"bind", "layers that a kernel " + text(signature) + " serves",
               "the layer " + layer.str() + ", which needs " + text(own),
               "leave out the layers for which kernel.serves(layer) is false"};
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
