// Kernels made of given ones, judged as sampled ones are: legal on the layers, plausible, within the budget, distinct.
#pragma once

#include <vector>

#include "canvas/sample/sampler.h"

namespace canvas {

// What kernels are made for, and how many of them.
struct Request {
  std::vector<Layer> layers;
  int64_t count = 1;
  uint64_t seed = 0;
  Budget budget = {};
  Limits limits = {};
};

// Each gives up to request.count kernels: fewer where 2000 tries in a row give none that is new, and throws Infeasible where they give none
// at all. Throws ArgumentError as Sampler does, and for a parent that does not serve the layers.
// The beginning of a kernel, its first `kept` primitives, completed; throws ArgumentError where it has not so many.
std::vector<Sample> complete(const Kernel& kernel, int kept, const Request& request);
// A part cut out and completed again, or one primitive more, less or changed.
std::vector<Sample> mutate(const Kernel& parent, const Request& request);
// The beginning of one parent before the end of the other, either way round.
std::vector<Sample> crossover(const Kernel& one, const Kernel& other, const Request& request);

}  // namespace canvas
