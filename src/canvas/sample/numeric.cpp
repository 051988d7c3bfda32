#include "canvas/sample/numeric.h"

#include <algorithm>
#include <cmath>

#include "canvas/analyze/moments.h"
#include "canvas/ir/primitive.h"

namespace canvas {

namespace {

constexpr int kImages = 7;  // of a kernel that takes every position by itself; one of any other
constexpr uint64_t kSeed = 20230407;
constexpr double kSmallest = 0.02, kLargest = 50;  // deviation of the result for a standard normal input

}  // namespace

Parameters initial_parameters(const Kernel& kernel, const Values& values, Random& random, double spread) {
  Parameters parameters;
  const std::vector<double> scale = deviations(kernel, values);
  const auto shapes = parameter_shapes(kernel, values);
  size_t next = 0;
  for (size_t i = 1; i < kernel.nodes().size(); ++i) {
    if (!kernel.nodes()[i].primitive->weighted()) continue;
    const auto& [name, shape] = shapes[next++];
    Tensor parameter(shape);
    const Initial initial = kernel.nodes()[i].primitive->initial;
    const bool alike = initial == Initial::kOne || initial == Initial::kZero;
    for (double& value : parameter.data) {
      value = initial == Initial::kOne ? 1.0 : 0.0;
      if (!alike) value = scale[i] * random.normal();
      if (alike && spread > 0) value += spread * random.normal();
    }
    parameters[name] = std::move(parameter);
  }
  return parameters;
}

const char* misscaled(double mean, double square) {
  if (!std::isfinite(square)) return "its values overflow at initialisation";
  const double deviation = std::sqrt(std::max(0.0, square - mean * mean));
  if (deviation < kSmallest) return "its result is all but constant at initialisation";
  if (deviation > kLargest) return "its result explodes at initialisation";
  return nullptr;
}

const char* misscaled(const Kernel& kernel, const Values& values) {
  Random random(kSeed);
  const Parameters parameters = initial_parameters(kernel, values, random);
  std::vector<int64_t> shape;
  for (const Axis& axis : kernel.signature().from) shape.push_back(axis.size.evaluate(values).value_or(1));
  Tensor input(shape);
  double mean = 0, square = 0, count = 0;
  for (int image = kernel.signature().per_position() ? kImages : 1; image > 0; --image) {
    for (double& value : input.data) value = random.normal();
    for (double value : interpret(kernel, values, input, parameters).result.data) {
      mean += value;
      square += value * value;
      ++count;
    }
  }
  return misscaled(mean / count, square / count);
}

}  // namespace canvas
