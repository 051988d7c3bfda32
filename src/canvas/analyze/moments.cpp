#include "canvas/analyze/moments.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace canvas {

namespace {

constexpr size_t kMostKnown = 1 << 14;

}  // namespace

Moments KnownMoments::of(const Node& node, const std::vector<Moments>& operands, const OperandAxes& axes,
                         const Values& values) {
  Key key{reinterpret_cast<uintptr_t>(node.primitive), node.inputs.front() == node.inputs.back()};
  size_t next = 2;
  for (const Moments& operand : operands) {
    for (double of : {operand.mean, operand.square, operand.low, operand.high})
      key[next++] = std::bit_cast<uint64_t>(of);
  }
  if (known_.size() > kMostKnown) known_.clear();
  const auto [at, fresh] = known_.try_emplace(key);
  if (fresh) at->second = node.primitive->moments(operands, axes, node, values);
  return at->second;
}

std::vector<Moments> moments(const Kernel& kernel, const Values& values, KnownMoments& known) {
  std::vector<Moments> result, operands;
  result.reserve(kernel.nodes().size());
  result.emplace_back();
  OperandAxes axes;
  for (size_t i = 1; i < kernel.nodes().size(); ++i) {
    const Node& node = kernel.nodes()[i];
    operands.clear();
    axes.clear();
    for (int input : node.inputs) {
      operands.push_back(result[static_cast<size_t>(input)]);
      axes.push_back(&kernel.node(input).axes);
    }
    result.push_back(node.primitive->is(kPointwise) ? known.of(node, operands, axes, values)
                                                    : node.primitive->moments(operands, axes, node, values));
  }
  return result;
}

std::vector<Moments> moments(const Kernel& kernel, const Values& values) {
  KnownMoments known;
  return moments(kernel, values, known);
}

std::vector<double> deviations(const Kernel& kernel, const Values& values) {
  const std::vector<Moments> all = moments(kernel, values);
  std::vector<double> result(kernel.nodes().size(), 1.0);
  for (size_t i = 1; i < kernel.nodes().size(); ++i) {
    const Node& node = kernel.nodes()[i];
    if (node.primitive->initial != Initial::kNormal) continue;
    const Axes& operand = *kernel.operands(node)[0];
    double fan_in = 1;
    for (const Name& name : node.attributes.from) {
      const Axis& axis = operand[static_cast<size_t>(find_axis(operand, name))];
      fan_in *= static_cast<double>(axis.size.evaluate(values).value_or(1));
    }
    const double square = std::max(all[static_cast<size_t>(node.inputs[0])].square, 1e-6);
    result[i] = 1 / std::sqrt(fan_in * square);
  }
  return result;
}

}  // namespace canvas
