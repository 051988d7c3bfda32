#include "canvas/sample/offspring.h"

#include "canvas/sample/mutation.h"

namespace canvas {

namespace {

constexpr int kFruitlessTries = 2000;

// make(growing, random) gives a kernel or nothing.
template <class Make>
std::vector<Sample> offspring(const std::vector<const Kernel*>& parents, const Request& request, Make make) {
  if (request.count < 0)
    throw ArgumentError("the number of kernels must not be negative, got " + std::to_string(request.count));
  Sampler sampler(request.layers, request.budget, request.limits);
  for (const Kernel* parent : parents) {
    for (const Layer& layer : request.layers) {
      if (const auto fault = misfit(parent->signature(), layer))
        throw ArgumentError("kernel '" + parent->name() + "' does not serve the layers: " + fault->str());
    }
  }
  std::vector<Sample> found;
  int fruitless = 0;
  for (uint64_t attempt = 0; static_cast<int64_t>(found.size()) < request.count; ++attempt) {
    Random random = Random(request.seed).split(attempt);
    if (auto kept = sampler.accept(sampler.attempt([&](const Growing& under) { return make(under, random); }))) {
      found.push_back(std::move(*kept));
      fruitless = 0;
    } else if (++fruitless == kFruitlessTries) {
      if (found.empty()) sampler.give_up(kFruitlessTries);
      break;
    }
  }
  return found;
}

}  // namespace

std::vector<Sample> complete(const Kernel& kernel, int kept, const Request& request) {
  if (kept < 0 || kept > kernel.length())
    throw ArgumentError("a beginning of the kernel has from 0 to " + std::to_string(kernel.length()) +
                        " primitives, got " + std::to_string(kept));
  const int least = std::max(kept, request.limits.min_primitives);
  return offspring({&kernel}, request, [&](const Growing& under, Random& random) {
    const int length =
        least +
        static_cast<int>(random.below(static_cast<size_t>(std::max(1, request.limits.max_primitives - least + 1))));
    return completed(kernel, kept, length, under, random);
  });
}

std::vector<Sample> mutate(const Kernel& parent, const Request& request) {
  return offspring({&parent}, request,
                   [&](const Growing& under, Random& random) { return mutated(parent, under, random); });
}

std::vector<Sample> crossover(const Kernel& one, const Kernel& other, const Request& request) {
  return offspring({&one, &other}, request, [&](const Growing& under, Random& random) {
    return random.chance(0.5) ? crossed(one, other, under, random) : crossed(other, one, under, random);
  });
}

}  // namespace canvas
