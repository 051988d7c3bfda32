#include "canvas/native/transposes.h"

#include <algorithm>

namespace canvas::native {

namespace {

constexpr double kUses = 32;  // of each element, at least

double product(const std::vector<std::pair<std::string, int64_t>>& loops) {
  double count = 1;
  for (const auto& [name, extent] : loops) count *= static_cast<double>(extent);
  return count;
}

// The loop of a nest along which a factor should lie, or nothing: the longest that the factor has and no other factor, if no loop suits all.
std::string wanted(const Nest& nest, size_t factor, const Buffers& buffers) {
  std::string best;
  int64_t longest = 15;
  for (const auto& [name, extent] : nest.loops) {
    bool alone = true, near = true;
    for (size_t i = 0; i < nest.factors.size(); ++i) {
      const int64_t step = buffers.stride(nest.factors[i], name);
      if (i != factor && step != 0) alone = false;
      const bool packed = buffers[nest.factors[i].buffer].place == Place::kConstant;  // it lies as it is read
      if (step != 0 && step != 1 && !packed) near = false;
    }
    if (near && extent > 15) return "";
    if (!alone || extent <= longest || buffers.stride(nest.factors[factor], name) == 0) continue;
    longest = extent;
    best = name;
  }
  return best;
}

}  // namespace

void add_transposes(Plan& plan) {
  for (size_t i = 0; i < plan.nests.size(); ++i) {
    Nest& nest = plan.nests[i];
    if (nest.factors.size() < 2 || nest.once) continue;
    Access* factor = nullptr;
    std::string lanes;
    for (size_t f = 0; f < nest.factors.size(); ++f) {
      Access& own = nest.factors[f];
      const std::string name = wanted(nest, f, plan.buffers);
      double elements = 1;
      for (const auto& [axis, how] : own.axes) elements *= static_cast<double>(how.extent);
      const bool pays = product(nest.loops) * product(nest.reduced) >= kUses * elements;
      if (name.empty() || !pays || plan.buffers[own.buffer].place == Place::kConstant) continue;
      if (factor && own.axes.at(name).extent <= factor->axes.at(lanes).extent) continue;
      factor = &own;
      lanes = name;
    }
    if (!factor) continue;
    Nest copy;
    Buffer buffer{Place::kScratch, {}};
    for (const auto& [name, how] : factor->axes) {
      copy.loops.emplace_back(name, how.extent);
      if (name != lanes) buffer.axes.push_back({name, how.extent});
    }
    buffer.axes.push_back({lanes, factor->axes.at(lanes).extent});
    copy.to = plan.buffers.all(plan.buffers.add(std::move(buffer)));
    copy.expression = {Expression::kLoad, *factor};
    *factor = copy.to;
    plan.nests.insert(plan.nests.begin() + static_cast<std::ptrdiff_t>(i++), std::move(copy));
  }
}

}  // namespace canvas::native
