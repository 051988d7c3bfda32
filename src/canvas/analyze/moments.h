// Mean and variance of every value at initialisation, for a standard normal input: how parameters must start so that a network with
// the kernel in it trains (the reasoning of He et al. 2015, arXiv 1502.01852, for any kernel).
#pragma once

#include <vector>

#include "canvas/ir/primitive.h"

namespace canvas {

// One entry per value.
std::vector<Moments> moments(const Kernel& kernel, const Values& values);

// One entry per node: the standard deviation of its kNormal parameter, 1 for the others. fc: 1 / sqrt(fan_in * mean square of operand).
std::vector<double> deviations(const Kernel& kernel, const Values& values);

}  // namespace canvas
