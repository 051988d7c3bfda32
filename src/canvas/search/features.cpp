#include "canvas/search/features.h"

#include <algorithm>
#include <cmath>

#include "canvas/base/random.h"
#include "canvas/ir/primitive.h"
#include "canvas/ir/program.h"

namespace canvas {

namespace {

// How many of these axes of the operands are of which role.
uint64_t roles(const AxisNames& names, const OperandAxes& operands) {
  uint64_t counts = 0;
  for (const Name& name : names) {
    for (const Axes* axes : operands) {
      const int found = find_axis(*axes, name);
      if (found < 0) continue;
      counts += 1ull << (8 * static_cast<int>((*axes)[static_cast<size_t>(found)].role));
      break;
    }
  }
  return counts;
}

// A step with what it is told, but for the names and sizes of channels.
uint64_t described(const Kernel& kernel, const Node& node) {
  const auto operands = kernel.operands(node);
  const Attributes& told = node.attributes;
  uint64_t result = combine(hash_text(node.primitive->name), roles(told.from, operands));
  result = combine(combine(result, roles(told.per, operands)), told.to.size());
  result = combine(combine(result, static_cast<uint64_t>(told.mode)), static_cast<uint64_t>(told.dilation));
  for (const AxisItem& item : told.items) {
    result = combine(combine(result, hash_text(item.axis.view())), item.amount.hash());
    result = combine(result, static_cast<uint64_t>(item.offset + 1000));
  }
  return result;
}

// Of all patterns' counts together: what a pattern tells is expected to be so much less than what the costs tell.
constexpr double kNorm = 0.5;

// Counts of the patterns, of norm kNorm.
void count_patterns(const Kernel& kernel, double* counts) {
  const auto& nodes = kernel.nodes();
  std::vector<uint64_t> plain(nodes.size(), 1), told(nodes.size(), 1), two(nodes.size(), 1);
  const auto count = [&](uint64_t label) {
    const uint64_t mixed = mix64(label);
    counts[mixed % kPatterns] += mixed >> 63 ? 1 : -1;  // signs let collisions cancel out on average
  };
  for (size_t i = 1; i < nodes.size(); ++i) {
    plain[i] = hash_text(nodes[i].primitive->name);
    told[i] = described(kernel, nodes[i]);
    two[i] = plain[i];
    uint64_t three = told[i];
    for (const int input : nodes[i].inputs) {
      const auto at = static_cast<size_t>(input);
      two[i] = combine(two[i], plain[at]);
      three = combine(three, two[at]);
    }
    for (const uint64_t label : {plain[i], told[i], combine(two[i], 2), combine(three, 3)}) count(label);
  }
  double norm = 0;
  for (size_t i = 0; i < kPatterns; ++i) norm += counts[i] * counts[i];
  if (norm > 0) {
    for (size_t i = 0; i < kPatterns; ++i) counts[i] *= kNorm / std::sqrt(norm);
  }
}

// The number of steps on the longest path.
int depth_of(const Kernel& kernel) {
  std::vector<int> depth(kernel.nodes().size(), 0);
  for (size_t i = 1; i < depth.size(); ++i) {
    for (const int input : kernel.nodes()[i].inputs) {
      depth[i] = std::max(depth[i], 1 + depth[static_cast<size_t>(input)]);
    }
  }
  return depth.back();
}

// log2 of a share, 0 for the whole; shares below 1/1024 are alike.
double logarithm(double part, double whole) {
  return whole > 0 ? std::log2(std::clamp(part / whole, 1.0 / 1024, 1024.0)) : 0;
}

}  // namespace

Features features(const Kernel& kernel, const Cost& cost, const Cost& original) {
  Features found(kFeatures, 0.0);
  const auto weighted = std::count_if(kernel.nodes().begin(), kernel.nodes().end(),
                                      [](const Node& node) { return node.primitive && node.primitive->parameter; });
  const double numbers[] = {1,
                            logarithm(cost.flops, original.flops) / 2,
                            logarithm(cost.params, original.params) / 2,
                            logarithm(cost.memory, original.memory) / 2,
                            kernel.length() / 4.0,
                            depth_of(kernel) / 4.0,
                            static_cast<double>(weighted) / 2};
  std::copy(std::begin(numbers), std::end(numbers), found.begin());
  count_patterns(kernel, found.data() + std::size(numbers));
  return found;
}

}  // namespace canvas
