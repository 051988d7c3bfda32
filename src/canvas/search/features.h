// A kernel as numbers that a linear model learns from: which patterns its graph has, and what its binding costs.
//
// The patterns are Weisfeiler-Lehman subtrees (Shervashidze et al. 2011, "Weisfeiler-Lehman graph kernels"), which Ru et al. 2021
// (arXiv 2006.07556) found to suit architecture search: every step with what feeds it, up to two steps back, hashed into a fixed number
// of counts.
#pragma once

#include <vector>

#include "canvas/solve/binding.h"

namespace canvas {

using Features = std::vector<double>;

inline constexpr size_t kPatterns = 160;
inline constexpr size_t kFeatures = kPatterns + 7;

// kFeatures numbers, the first of them 1. `original`: what the binding's layers cost before.
Features features(const Kernel& kernel, const Cost& cost, const Cost& original);

}  // namespace canvas
