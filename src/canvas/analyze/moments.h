// Mean and variance of every value at initialisation, for a standard normal input: how parameters must start so that a network with
// the kernel in it trains (the reasoning of He et al. 2015, arXiv 1502.01852, for any kernel).
#pragma once

#include <array>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "canvas/ir/primitive.h"

namespace canvas {

// Moments of functions that were found before: most kernels apply the same few to values of the same few moments.
class KnownMoments {
 public:
  // Those of a pointwise step.
  Moments of(const Node& node, const std::vector<Moments>& operands, const OperandAxes& axes, const Values& values);

 private:
  using Key = std::array<uint64_t, 10>;  // primitive, whether both operands are one, and what counts of each
  struct Hash {
    size_t operator()(const Key& key) const {
      uint64_t code = 0;
      for (uint64_t part : key) code = mix64(code ^ part);
      return code;
    }
  };
  std::unordered_map<Key, Moments, Hash> known_;
};

// One entry per value.
std::vector<Moments> moments(const Kernel& kernel, const Values& values, KnownMoments& known);
std::vector<Moments> moments(const Kernel& kernel, const Values& values);

// One entry per node: the standard deviation of its kNormal parameter, 1 for the others. fc: 1 / sqrt(fan_in * mean square of operand).
std::vector<double> deviations(const Kernel& kernel, const Values& values);

}  // namespace canvas
