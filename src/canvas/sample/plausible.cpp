#include "canvas/sample/plausible.h"

#include <algorithm>
#include <cmath>

#include "canvas/analyze/flow.h"
#include "canvas/lower/lower.h"
#include "canvas/sample/connected.h"
#include "canvas/sample/numeric.h"
#include "canvas/solve/structural.h"

namespace canvas {

namespace {

constexpr int64_t kChannels = 8;
constexpr int kUsualReach = 3, kMostReach = 256;
constexpr size_t kMostSizes = 1 << 16;  // that are remembered
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

SmallLayer::SmallLayer(const Signature& signature, int reach) {
  const int64_t odd = 2 * std::max(kUsualReach, reach) + 1;
  for (int64_t extent : {odd, (odd + 7) / 8 * 8}) {  // the second for kernels that halve extents
    Layer layer;
    layer.c_in = layer.c_out = kChannels;
    const bool tokens = signature.has_extent(kT);
    layer.spatial.assign(tokens ? 0 : signature.from.size() - 1, extent);
    layer.tokens = tokens ? extent : 0;
    for (int64_t choice : {2, 4, 1, 8}) {
      layers_.push_back(layer);
      points_.push_back(layer.values());
      std::fill(points_.back().begin() + kFirstDynamic, points_.back().end(), choice);
    }
  }
}

const SmallLayer::Known& SmallLayer::known(const Size& size) {
  const auto [place, fresh] = known_.place(size);
  for (size_t i = 0; fresh && i < points_.size(); ++i) {
    const auto value = size.evaluate(points_[i]);
    known_[place].whole |= unsigned{value.has_value()} << i;
    known_[place].most = std::max(known_[place].most, static_cast<float>(std::log2(value.value_or(1))));
  }
  return known_[place];
}

const Values* SmallLayer::values(const Kernel& kernel) {
  if (known_.size() > kMostSizes) known_.clear();
  unsigned whole = (1u << points_.size()) - 1;
  // With a stride of 1 nothing is rounded: what is left to ask is whether positions are there, and whether values fit 64 bits.
  bool plain = true;
  for (const Node& node : kernel.nodes()) {
    float volume = 0;
    for (const Axis& axis : node.axes) {
      const Known& size = known(axis.size);
      whole &= size.whole;
      volume += size.most;
    }
    plain = plain && volume < 62 && !(node.primitive && node.primitive->takes(kIndices));
  }
  for (size_t i = 0; i < points_.size(); ++i) {
    if ((whole >> i & 1) && (plain || !check_sizes(kernel, layers_[i], points_[i]))) return &points_[i];
  }
  return nullptr;
}

Plausibility::Plausibility(const Limits& limits, const Signature& signature)
    : limits_(limits),
      reach_(least_reach(limits, signature)),
      wanted_(axes_to_look_along(limits, signature)),
      seen_(signature, std::max(reach_, limits.max_reach)),
      trained_(signature, kUsualReach) {}

std::optional<Reason> Plausibility::ill_connected(const Kernel& kernel) {
  int weighted = 0;
  for (const Node& node : kernel.nodes()) weighted += node.primitive && node.primitive->weighted();
  if (weighted > limits_.max_weighted) return Reason{"it has more weighted primitives than asked for"};
  if (weighted < limits_.min_weighted) return Reason{"it has fewer weighted primitives than asked for"};
  if (!limits_.full_flow && !limits_.live && reach_ <= 1 && limits_.max_reach == 0) return std::nullopt;
  const Values* values = seen_.values(kernel);
  if (!values) return Reason{kNoLayer};
  if (reach_ <= kUsualReach && limits_.max_reach == 0 && surely_connected(kernel, wanted_)) return std::nullopt;
  const Flow found = flow(lower(kernel), kernel.signature(), *values);
  if (!found.reach.empty()) {
    const auto [narrowest, widest] = std::minmax_element(found.reach.begin(), found.reach.end());
    if (*narrowest < reach_) return Reason{"it sees too little of its surroundings"};
    if (limits_.max_reach > 0 && (found.summary || *widest > limits_.max_reach))
      return Reason{"it sees too much of its surroundings"};
  }
  if (limits_.full_flow && !channels_mix(found.channels))
    return Reason{"some input channels never reach some output channels"};
  if (limits_.live && !found.dead.empty()) return Reason{"nothing depends on its parameter %", found.dead[0]};
  return std::nullopt;
}

std::optional<Reason> Plausibility::untrainable(const Kernel& kernel) {
  if (!limits_.trainable) return std::nullopt;
  const Values* values = trained_.values(kernel);
  if (!values) return Reason{kNoLayer};
  const std::vector<Moments> all = moments(kernel, *values, moments_);
  for (size_t i = 1; i < all.size(); ++i) {
    const std::string& name = kernel.nodes()[i].name;
    if (all[i].low >= all[i].high) return Reason{"its value % is constant at initialisation", name};
    if (all[i].answers < kLeastAnswering) return Reason{"its value % is saturated at initialisation", name};
  }
  const char* what = misscaled(all.back().mean, all.back().square);
  return what ? std::optional(Reason{what}) : std::nullopt;
}

std::optional<Reason> Plausibility::fails_forward(const Kernel& kernel) {
  if (!limits_.numeric) return std::nullopt;
  const Values* values = trained_.values(kernel);
  const char* what = values ? misscaled(kernel, *values) : kNoLayer;
  return what ? std::optional(Reason{what}) : std::nullopt;
}

std::optional<std::string> implausible(const Kernel& kernel, const Limits& limits) {
  Plausibility plausibility(limits, kernel.signature());
  for (const auto judge : {&Plausibility::ill_connected, &Plausibility::untrainable, &Plausibility::fails_forward}) {
    if (const auto reason = (plausibility.*judge)(kernel)) return reason->str();
  }
  return std::nullopt;
}

}  // namespace canvas
