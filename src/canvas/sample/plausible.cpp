#include "canvas/sample/plausible.h"

#include <algorithm>
#include <cmath>

#include "canvas/analyze/flow.h"
#include "canvas/analyze/moments.h"
#include "canvas/lower/lower.h"
#include "canvas/sample/connected.h"
#include "canvas/sample/numeric.h"
#include "canvas/solve/binding.h"

namespace canvas {

namespace {

constexpr int64_t kChannels = 8;
constexpr int kUsualReach = 3, kMostReach = 256;
constexpr const char* kNoLayer = "its sizes do not fit a small layer";
constexpr double kLeastAnswering = 0.05;  // share of a function's arguments at which it has a slope

// Whether every input channel reaches every output channel, directly or through two such layers.
bool channels_mix(const std::vector<uint64_t>& from) {
  constexpr uint64_t kAll = (uint64_t{1} << kChannels) - 1;
  return std::all_of(from.begin(), from.end(), [&](uint64_t last) {
    uint64_t first = 0;
    for (size_t c = 0; c < from.size(); ++c) {
      if (last >> c & 1) first |= from[c];
    }
    return first == kAll;
  });
}

// What min_reach 0 stands for.
int least_reach(const Limits& limits, const Signature& signature) {
  if (limits.min_reach > 0) return limits.min_reach;
  const int usual = signature.has_extent(kW) ? kUsualReach : 1;
  return limits.max_reach > 0 ? std::min(usual, limits.max_reach) : usual;
}

// Values of a layer of 8 channels whose extents go past `reach` on both sides of the middle, free sizes to suit; nothing where no sizes
// come out whole.
std::optional<Values> small_layer(const Kernel& kernel, int reach) {
  const int64_t odd = 2 * std::max(kUsualReach, reach) + 1;
  for (int64_t extent : {odd, (odd + 7) / 8 * 8}) {  // the second for kernels that halve extents
    Layer layer;
    layer.c_in = layer.c_out = kChannels;
    const bool tokens = kernel.signature().has_extent(kT);
    layer.spatial.assign(tokens ? 0 : kernel.signature().from.size() - 1, extent);
    layer.tokens = tokens ? extent : 0;
    for (int64_t choice : {2, 4, 1, 8}) {
      Values values = layer.values();
      for (int v = kFirstDynamic; v < kernel.variables().count(); ++v) values[static_cast<size_t>(v)] = choice;
      if (!check_sizes(kernel, layer, values)) return values;
    }
  }
  return std::nullopt;
}

}  // namespace

void Limits::check_plausibility() const {
  if (min_weighted < 0 || min_weighted > max_weighted) {
    throw ArgumentError("min_weighted must be from 0 to max_weighted, got " + std::to_string(min_weighted) + " and " +
                        std::to_string(max_weighted));
  }
  const bool in_order = max_reach == 0 || min_reach <= max_reach;
  if (min_reach < 0 || max_reach < 0 || std::max(min_reach, max_reach) > kMostReach || !in_order) {
    throw ArgumentError("the reach must satisfy 1 <= min_reach <= max_reach <= " + std::to_string(kMostReach) +
                        ", or be 0 (the usual least, no most), got " + std::to_string(min_reach) + " and " +
                        std::to_string(max_reach));
  }
}

unsigned axes_to_look_along(const Limits& limits, const Signature& signature) {
  unsigned axes = 0;
  for (size_t i = 0; i < signature.from.size() && least_reach(limits, signature) > 1; ++i)
    axes |= unsigned{signature.from[i].role == Role::kSpatial} << i;
  return axes;
}

bool fit_small_layer(const Axes& axes) {
  return std::all_of(axes.begin(), axes.end(), [](const Axis& axis) {
    const Size& size = axis.size;
    if (axis.role == Role::kSpatial || size.has_dynamic()) return true;
    int64_t top = size.numerator(), bottom = size.denominator();
    for (int power = size.exponent(kC) + size.exponent(kK); power != 0; power += power > 0 ? -1 : 1)
      (power > 0 ? top : bottom) *= kChannels;
    return top % bottom == 0;
  });
}

std::string Reason::str() const {
  std::string text = what;
  const size_t place = text.find('%');
  return place == std::string::npos ? text : text.replace(place, 1, of);
}

std::optional<Reason> ill_connected(const Kernel& kernel, const Limits& limits) {
  int weighted = 0;
  for (const Node& node : kernel.nodes()) weighted += node.primitive && node.primitive->weighted();
  if (weighted > limits.max_weighted) return Reason{"it has more weighted primitives than asked for"};
  if (weighted < limits.min_weighted) return Reason{"it has fewer weighted primitives than asked for"};
  const int reach = least_reach(limits, kernel.signature());
  if (!limits.full_flow && !limits.live && reach <= 1 && limits.max_reach == 0) return std::nullopt;
  const auto values = small_layer(kernel, std::max(reach, limits.max_reach));
  if (!values) return Reason{kNoLayer};
  if (reach <= kUsualReach && limits.max_reach == 0 &&
      surely_connected(kernel, axes_to_look_along(limits, kernel.signature()))) {
    return std::nullopt;
  }
  const Flow found = flow(lower(kernel), kernel.signature(), *values);
  if (!found.reach.empty()) {
    const auto [narrowest, widest] = std::minmax_element(found.reach.begin(), found.reach.end());
    if (*narrowest < reach) return Reason{"it sees too little of its surroundings"};
    if (limits.max_reach > 0 && (found.summary || *widest > limits.max_reach))
      return Reason{"it sees too much of its surroundings"};
  }
  if (limits.full_flow && !channels_mix(found.channels))
    return Reason{"some input channels never reach some output channels"};
  if (limits.live && !found.dead.empty()) return Reason{"nothing depends on its parameter %", found.dead[0]};
  return std::nullopt;
}

std::optional<Reason> untrainable(const Kernel& kernel, const Limits& limits) {
  if (!limits.trainable) return std::nullopt;
  const auto values = small_layer(kernel, kUsualReach);
  if (!values) return Reason{kNoLayer};
  const std::vector<Moments> all = moments(kernel, *values);
  for (size_t i = 1; i < all.size(); ++i) {
    const std::string& name = kernel.nodes()[i].name;
    if (all[i].low >= all[i].high) return Reason{"its value % is constant at initialisation", name};
    if (all[i].answers < kLeastAnswering) return Reason{"its value % is saturated at initialisation", name};
  }
  const char* what = misscaled(all.back().mean, all.back().square);
  return what ? std::optional(Reason{what}) : std::nullopt;
}

std::optional<Reason> fails_forward(const Kernel& kernel, const Limits& limits) {
  if (!limits.numeric) return std::nullopt;
  const auto values = small_layer(kernel, kUsualReach);
  const char* what = values ? misscaled(kernel, *values) : kNoLayer;
  return what ? std::optional(Reason{what}) : std::nullopt;
}

std::optional<std::string> implausible(const Kernel& kernel, const Limits& limits) {
  for (const auto judge : {ill_connected, untrainable, fails_forward}) {
    if (const auto reason = judge(kernel, limits)) return reason->str();
  }
  return std::nullopt;
}

}  // namespace canvas
