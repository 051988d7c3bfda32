#include "canvas/sample/behaviour.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "canvas/analyze/cost.h"
#include "canvas/base/random.h"
#include "canvas/eval/interpreter.h"
#include "canvas/ir/primitive.h"
#include "canvas/sample/numeric.h"
#include "canvas/solve/structural.h"

namespace canvas {

namespace {

// Sizes that kernels have are whole for them, and few alike. Extents are even, for strides.
constexpr int64_t kChannels = 16, kExtent = 8, kExtentOfThree = 4;
constexpr uint64_t kSeed = 1729;
constexpr double kSpread = 0.5;  // of parameters that are all alike at initialisation
constexpr double kUnits = 1e7;   // to which elements are rounded, in deviations of the result
constexpr double kLeastNorm = 1e-9;
// Elements of a value, and operations: windows of windows of windows are not computed.
constexpr double kMostElements = 1 << 22, kMostOperations = 1 << 23;

std::vector<size_t> by_name(const Axes& axes) {
  std::vector<size_t> order(axes.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return axes[a].name < axes[b].name; });
  return order;
}

double elements(const Axes& axes, const Values& values) {
  double count = 1;
  for (const Axis& axis : axes) count *= static_cast<double>(axis.size.evaluate(values).value_or(1));
  return count;
}

// The same numbers, along the axes in this order: in which order a kernel names them says nothing.
Tensor arranged(const Tensor& tensor, const std::vector<size_t>& order) {
  std::vector<int64_t> shape, index(order.size());
  for (const size_t axis : order) shape.push_back(tensor.shape[axis]);
  Tensor result(tensor.shape);
  size_t next = 0;
  for_each_index(shape, [&](const std::vector<int64_t>& place) {
    for (size_t i = 0; i < order.size(); ++i) index[order[i]] = place[i];
    result.at(index) = tensor.data[next++];
  });
  return result;
}

}  // namespace

Behaviours::Behaviours(const std::vector<Layer>& layers, bool nonnegative) : nonnegative_(nonnegative) {
  const size_t axes = layers.front().spatial.size();
  const int64_t extent = axes > 2 ? kExtentOfThree : kExtent;
  std::set<int64_t> strides;
  for (const Layer& layer : layers) strides.insert(layer.stride);
  for (const int64_t stride : strides) {
    Layer& small = layers_.emplace_back();
    small.c_in = small.c_out = kChannels;
    small.spatial.assign(axes, extent);
    small.stride = stride;
    small.tokens = layers.front().tokens ? extent : 0;
  }
}

std::optional<uint64_t> Behaviours::of(const Kernel& kernel) const {
  uint64_t all = 0;
  for (const Layer& layer : layers_) {
    const auto hash = on(layer, kernel);
    if (!hash) return std::nullopt;
    all = combine(all, *hash);
  }
  return all;
}

std::optional<uint64_t> Behaviours::on(const Layer& layer, const Kernel& kernel) const {
  Values values = layer.values();
  const auto fits = [&](int64_t choice) {
    std::fill(values.begin() + kFirstDynamic, values.end(), choice);
    return !check_sizes(kernel, layer, values);
  };
  const std::vector<int64_t> choices = {2, 4, 3, 1, 8};
  if (std::none_of(choices.begin(), choices.end(), fits)) return std::nullopt;
  for (const Node& node : kernel.nodes())
    if (elements(node.axes, values) > kMostElements) return std::nullopt;
  if (CostModel(kernel).evaluate(values).flops > kMostOperations) return std::nullopt;
  Random random(kSeed);
  std::vector<int64_t> shape;
  for (const Axis& axis : kernel.signature().from) shape.push_back(axis.size.evaluate(values).value_or(1));
  Tensor input(shape);
  for (double& value : input.data) value = nonnegative_ ? std::abs(random.normal()) : random.normal();
  Parameters parameters = initial_parameters(kernel, values, random, kSpread);
  // Kernels may do the same on a small layer alone: their parameters' sizes tell them apart.
  uint64_t hash = 0;
  for (const Node& node : kernel.nodes()) {
    if (!node.primitive || !node.primitive->weighted()) continue;
    const Axes axes = node.primitive->parameter(*kernel.operands(node)[0], node.attributes);
    const std::vector<size_t> order = by_name(axes);
    for (const size_t axis : order) hash = combine(hash, axes[axis].size.hash());
    Tensor& parameter = parameters.at(node.name);
    parameter = arranged(parameter, order);
  }
  const Tensor result = interpret(kernel, values, input, parameters).result;
  double square = 0;
  for (const double value : result.data) square += value * value;
  const double norm = std::sqrt(square / static_cast<double>(result.data.size()));
  if (!std::isfinite(norm) || norm < kLeastNorm) return std::nullopt;
  // The first that is not small says which of both signs is meant.
  const auto first =
      std::find_if(result.data.begin(), result.data.end(), [&](double value) { return std::abs(value) > norm / 2; });
  const double unit = std::copysign(norm, *first) / kUnits;
  for (const double value : result.data) hash = combine(hash, static_cast<uint64_t>(std::llround(value / unit)));
  return hash;
}

}  // namespace canvas
