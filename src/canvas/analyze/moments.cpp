#include "canvas/analyze/moments.h"

#include <algorithm>
#include <cmath>

namespace canvas {

std::vector<Moments> moments(const Kernel& kernel, const Values& values) {
  std::vector<Moments> result = {Moments{}};
  for (size_t i = 1; i < kernel.nodes().size(); ++i) {
    const Node& node = kernel.nodes()[i];
    std::vector<Moments> operands;
    for (int input : node.inputs) operands.push_back(result[static_cast<size_t>(input)]);
    result.push_back(node.primitive->moments(operands, kernel.operands(node), node, values));
  }
  return result;
}

std::vector<double> deviations(const Kernel& kernel, const Values& values) {
  const std::vector<Moments> all = moments(kernel, values);
  std::vector<double> result(kernel.nodes().size(), 1.0);
  for (size_t i = 1; i < kernel.nodes().size(); ++i) {
    const Node& node = kernel.nodes()[i];
    if (node.primitive->initial != Initial::kNormal) continue;
    const Axes& operand = *kernel.operands(node)[0];
    double fan_in = 1;
    for (const std::string& name : node.attributes.from) {
      const Axis& axis = operand[static_cast<size_t>(find_axis(operand, name))];
      fan_in *= static_cast<double>(axis.size.evaluate(values).value_or(1));
    }
    const double square = std::max(all[static_cast<size_t>(node.inputs[0])].square, 1e-6);
    result[i] = 1 / std::sqrt(fan_in * square);
  }
  return result;
}

}  // namespace canvas
