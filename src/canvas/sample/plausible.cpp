#include "canvas/sample/plausible.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "canvas/analyze/moments.h"
#include "canvas/base/random.h"
#include "canvas/eval/interpreter.h"
#include "canvas/solve/binding.h"

namespace canvas {

namespace {

constexpr int64_t kChannels = 8;
constexpr int64_t kExtents[] = {7,
                                8};  // of every spatial axis, and of the tokens: odd, unless the kernel halves extents
constexpr int64_t kImages = 7;       // of a kernel that takes every position by itself
constexpr uint64_t kSeed = 20230407;
constexpr double kSmallest = 0.02, kLargest = 50;  // deviation of the result for a standard normal input

// The kernel on the probe layer: sizes, random parameters.
struct Probe {
  Values values;
  Parameters parameters;
  Tensor input;
  std::vector<int64_t> extents;  // of the positions; none for a kernel that is applied to each by itself
  int64_t positions = 1;
  int64_t centre = 0;                   // one of the positions
  int64_t channel_step, position_step;  // from one channel or position to the next, in input and result both

  size_t at(int64_t channel, int64_t position) const {
    return static_cast<size_t>(channel * channel_step + position * position_step);
  }
};

std::optional<Values> probe_values(const Kernel& kernel, const Layer& layer) {
  for (int64_t choice : {2, 4, 1, 8}) {
    Values values = layer.values();
    for (int v = kFirstDynamic; v < kernel.variables().count(); ++v) values[static_cast<size_t>(v)] = choice;
    if (!check_sizes(kernel, layer, values)) return values;
  }
  return std::nullopt;
}

std::optional<Probe> make_probe(const Kernel& kernel, int64_t extent) {
  Layer layer;
  layer.c_in = layer.c_out = kChannels;
  const bool tokens = kernel.signature().has_extent(kT);
  layer.spatial.assign(tokens ? 0 : kernel.signature().from.size() - 1, extent);
  layer.tokens = tokens ? extent : 0;
  const auto values = probe_values(kernel, layer);
  if (!values) return std::nullopt;
  Probe probe;
  probe.values = *values;
  probe.extents.assign(kernel.signature().from.size() - 1, extent);
  for (int64_t along : probe.extents) {
    probe.centre = probe.centre * along + along / 2;
    probe.positions *= along;
  }
  probe.channel_step = tokens ? 1 : probe.positions;
  probe.position_step = tokens ? kChannels : 1;
  Random random(kSeed);
  const std::vector<double> scale = deviations(kernel, probe.values);
  const auto shapes = parameter_shapes(kernel, probe.values);
  size_t next = 0;
  for (size_t i = 1; i < kernel.nodes().size(); ++i) {
    if (!kernel.nodes()[i].primitive->weighted()) continue;
    const auto& [name, shape] = shapes[next++];
    Tensor parameter(shape);
    const Initial initial = kernel.nodes()[i].primitive->initial;
    for (double& value : parameter.data) {
      value = initial == Initial::kOne ? 1.0 : initial == Initial::kZero ? 0.0 : scale[i] * random.normal();
    }
    probe.parameters[name] = std::move(parameter);
  }
  std::vector<int64_t> shape = probe.extents;
  shape.insert(tokens ? shape.end() : shape.begin(), kChannels);
  probe.input = Tensor(shape);
  for (double& value : probe.input.data) value = random.normal();
  return probe;
}

std::vector<double> run(const Kernel& kernel, const Probe& probe, const Tensor& input) {
  return interpret(kernel, probe.values, input, probe.parameters).result.data;
}

// The result has as many numbers for a kernel that takes each position by itself as for one that takes a line of them.
std::optional<std::string> check_scale(const Kernel& kernel, const Probe& probe) {
  std::vector<double> result = run(kernel, probe, probe.input);
  Random random(kSeed + 1);
  for (int64_t more = 1; probe.extents.empty() && more < kImages; ++more) {
    Tensor input = probe.input;
    for (double& value : input.data) value = random.normal();
    const std::vector<double> next = run(kernel, probe, input);
    result.insert(result.end(), next.begin(), next.end());
  }
  double mean = 0, square = 0;
  for (double value : result) {
    if (!std::isfinite(value)) return "its values overflow at initialisation";
    mean += value;
    square += value * value;
  }
  mean /= static_cast<double>(result.size());
  const double deviation = std::sqrt(std::max(0.0, square / static_cast<double>(result.size()) - mean * mean));
  if (deviation < kSmallest) return "its result is all but constant at initialisation";
  if (deviation > kLargest) return "its result explodes at initialisation";
  return std::nullopt;
}

// How many positions along each spatial axis see the centre of the input locally: the smallest number over the axes. The input is
// constant over positions, so that a global summary answers alike everywhere; only answers unlike the corner's count.
int64_t reach(const Kernel& kernel, const Probe& probe) {
  Tensor flat = probe.input;
  for (int64_t c = 0; c < kChannels; ++c) {
    for (int64_t p = 0; p < probe.positions; ++p) flat.data[probe.at(c, p)] = probe.input.data[probe.at(c, 0)];
  }
  Tensor marked = flat;
  for (int64_t c = 0; c < kChannels; ++c) marked.data[probe.at(c, probe.centre)] += probe.input.data[probe.at(c, 1)];
  const std::vector<double> before = run(kernel, probe, flat), after = run(kernel, probe, marked);
  std::vector<int64_t> least = probe.extents, most(probe.extents.size(), -1);
  int64_t position = 0;
  for_each_index(probe.extents, [&](const std::vector<int64_t>& index) {
    bool answers = false;
    for (int64_t c = 0; c < kChannels; ++c) {
      const size_t here = probe.at(c, position), corner = probe.at(c, 0);
      const double answer = after[here] - before[here], far = after[corner] - before[corner];
      answers = answers || std::abs(answer - far) >= 1e-9;
    }
    ++position;
    if (!answers) return;
    for (size_t axis = 0; axis < least.size(); ++axis) {
      least[axis] = std::min(least[axis], index[axis]);
      most[axis] = std::max(most[axis], index[axis]);
    }
  });
  int64_t narrowest = probe.extents[0];
  for (size_t axis = 0; axis < least.size(); ++axis) narrowest = std::min(narrowest, most[axis] - least[axis] + 1);
  return narrowest;
}

// Whether every input channel reaches every output channel, directly or through two such layers.
bool channels_mix(const Kernel& kernel, const Probe& probe) {
  std::vector<unsigned> reached(static_cast<size_t>(kChannels), 0);  // bit k of entry c: input c reaches output k
  for (int64_t c = 0; c < kChannels; ++c) {
    Tensor marked = probe.input;
    for (int64_t p = 0; p < probe.positions; ++p)
      marked.data[probe.at(c, p)] = std::numeric_limits<double>::quiet_NaN();
    const std::vector<double> result = run(kernel, probe, marked);
    for (int64_t k = 0; k < kChannels; ++k) {
      for (int64_t p = 0; p < probe.positions; ++p) {
        if (std::isnan(result[probe.at(k, p)])) reached[static_cast<size_t>(c)] |= 1u << k;
      }
    }
  }
  constexpr unsigned kAll = (1u << kChannels) - 1;
  for (unsigned first : reached) {
    unsigned second = 0;
    for (int64_t k = 0; k < kChannels; ++k) {
      if (first >> k & 1) second |= reached[static_cast<size_t>(k)];
    }
    if (second != kAll) return false;
  }
  return true;
}

}  // namespace

std::optional<std::string> implausible(const Kernel& kernel, const Limits& limits) {
  int weighted = 0;
  for (const Node& node : kernel.nodes()) weighted += node.primitive && node.primitive->weighted();
  if (weighted > limits.max_weighted) return "it has more weighted primitives than asked for";
  if (weighted == 0) return "it has no parameter";
  if (!limits.trainable && !limits.full_flow && limits.min_reach <= 1) return std::nullopt;
  std::optional<Probe> probe;
  for (int64_t extent : kExtents) {
    if (!probe) probe = make_probe(kernel, extent);
  }
  if (!probe) return "its sizes do not fit a small layer";
  if (limits.trainable) {
    if (auto reason = check_scale(kernel, *probe)) return reason;
  }
  if (!probe->extents.empty() && reach(kernel, *probe) < limits.min_reach)
    return "it sees too little of its surroundings";
  if (limits.full_flow && !channels_mix(kernel, *probe)) return "some input channels never reach some output channels";
  return std::nullopt;
}

}  // namespace canvas
