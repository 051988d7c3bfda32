#include "canvas/native/halves.h"

#include <algorithm>
#include <map>

namespace canvas::native {

namespace {

constexpr double kUses = 8;    // of each element: what makes up for storing it in another way
constexpr int64_t kWide = 16;  // results of one element, side by side

double product(const std::vector<std::pair<std::string, int64_t>>& loops) {
  double count = 1;
  for (const auto& [name, extent] : loops) count *= static_cast<double>(extent);
  return count;
}

// The factor that a contraction with weights reads in pairs, or none.
const Access* pairs_of(const Nest& nest, const Buffers& buffers) {
  if (nest.once || nest.maximum || nest.factors.size() != 2) return nullptr;
  const bool first = buffers[nest.factors[0].buffer].place == Place::kConstant;
  const Access &weights = nest.factors[first ? 0 : 1], &other = nest.factors[first ? 1 : 0];
  const Buffer& read = buffers[other.buffer];
  if (buffers[weights.buffer].place != Place::kConstant || read.place == Place::kConstant || read.lowest)
    return nullptr;
  const bool even = std::any_of(nest.reduced.begin(), nest.reduced.end(), [&](const auto& loop) {
    return loop.second % 2 == 0 && buffers.stride(other, loop.first) == 1 && buffers.stride(weights, loop.first) != 0;
  });
  const bool wide = std::any_of(nest.loops.begin(), nest.loops.end(), [&](const auto& loop) {
    return loop.second >= kWide && buffers.stride(other, loop.first) == 0 && buffers.stride(weights, loop.first) != 0;
  });
  const double uses =
      product(nest.loops) * product(nest.reduced) / static_cast<double>(buffers[other.buffer].elements());
  return even && wide && uses >= kUses ? &other : nullptr;
}

}  // namespace

void keep_halves(Plan& plan) {
  std::map<int, int> others;  // readings of a buffer that want floats
  for (const Nest& nest : plan.nests) {
    const Access* pairs = pairs_of(nest, plan.buffers);
    for_each_access(nest, [&](const Access& access) {
      if (&access != pairs && &access != &nest.to) ++others[access.buffer];
    });
  }
  std::map<int, int> halves;  // of buffers
  for (size_t i = 0; i < plan.nests.size(); ++i) {
    const Access* pairs = pairs_of(plan.nests[i], plan.buffers);
    if (!pairs) continue;
    const int whole = pairs->buffer;
    const auto [known, fresh] = halves.try_emplace(whole, whole);
    if (fresh && (others[whole] > 0 || plan.buffers[whole].place != Place::kScratch)) {
      Nest copy;
      Buffer buffer{Place::kScratch, plan.buffers[whole].axes};
      known->second = plan.buffers.add(std::move(buffer));
      for (const BufferAxis& axis : plan.buffers[whole].axes) copy.loops.emplace_back(axis.name, axis.extent);
      copy.to = plan.buffers.all(known->second);
      copy.expression = {Expression::kLoad, plan.buffers.all(whole)};
      plan.nests.insert(plan.nests.begin() + static_cast<std::ptrdiff_t>(i++), std::move(copy));
    }
    plan.buffers[known->second].half = true;
    for (Access& factor : plan.nests[i].factors)
      if (factor.buffer == whole) factor.buffer = known->second;
  }
}

}  // namespace canvas::native
