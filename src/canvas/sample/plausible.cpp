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
constexpr int64_t kExtents[] = {7, 8};  // odd, unless the kernel halves extents
constexpr double kSmallest = 0.02, kLargest = 50;  // deviation of the result for a standard normal input

// The kernel on the probe layer: sizes, random parameters.
struct Probe {
  Layer layer;
  Values values;
  Parameters parameters;
  Tensor input;
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
  Probe probe;
  probe.layer.c_in = probe.layer.c_out = kChannels;
  probe.layer.spatial.assign(kernel.signature().from.size() - 1, extent);
  const auto values = probe_values(kernel, probe.layer);
  if (!values) return std::nullopt;
  probe.values = *values;
  Random random(20230407);
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
  std::vector<int64_t> shape = {kChannels};
  shape.insert(shape.end(), probe.layer.spatial.begin(), probe.layer.spatial.end());
  probe.input = Tensor(shape);
  for (double& value : probe.input.data) value = random.normal();
  return probe;
}

std::vector<double> run(const Kernel& kernel, const Probe& probe, const Tensor& input) {
  return interpret(kernel, probe.values, input, probe.parameters).result.data;
}

std::optional<std::string> check_scale(const std::vector<double>& result) {
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
  const int64_t positions = flat.size() / kChannels, extent = probe.layer.spatial[0];
  int64_t centre = 0;
  for (size_t axis = 0; axis < probe.layer.spatial.size(); ++axis) centre = centre * extent + extent / 2;
  for (int64_t i = 0; i < flat.size(); ++i)
    flat.data[static_cast<size_t>(i)] = probe.input.data[static_cast<size_t>(i / positions * positions)];
  Tensor marked = flat;
  for (int64_t c = 0; c < kChannels; ++c) {
    marked.data[static_cast<size_t>(c * positions + centre)] +=
        probe.input.data[static_cast<size_t>(c * positions + 1)];
  }
  const std::vector<double> before = run(kernel, probe, flat), after = run(kernel, probe, marked);
  std::vector<int64_t> least(probe.layer.spatial.size(), extent), most(probe.layer.spatial.size(), -1);
  std::vector<int64_t> shape = {kChannels};
  shape.insert(shape.end(), probe.layer.spatial.begin(), probe.layer.spatial.end());
  size_t next = 0;
  for_each_index(shape, [&](const std::vector<int64_t>& index) {
    const auto corner = static_cast<size_t>(index[0] * positions);
    const double answer = after[next] - before[next], far = after[corner] - before[corner];
    ++next;
    if (std::abs(answer - far) < 1e-9) return;
    for (size_t axis = 0; axis < least.size(); ++axis) {
      least[axis] = std::min(least[axis], index[axis + 1]);
      most[axis] = std::max(most[axis], index[axis + 1]);
    }
  });
  int64_t narrowest = extent;
  for (size_t axis = 0; axis < least.size(); ++axis) narrowest = std::min(narrowest, most[axis] - least[axis] + 1);
  return narrowest;
}

// Whether every input channel reaches every output channel, directly or through two such layers.
bool channels_mix(const Kernel& kernel, const Probe& probe) {
  const int64_t positions = probe.input.size() / kChannels;
  std::vector<unsigned> reached(static_cast<size_t>(kChannels), 0);  // bit k of entry c: input c reaches output k
  for (int64_t c = 0; c < kChannels; ++c) {
    Tensor marked = probe.input;
    std::fill_n(marked.data.begin() + c * positions, positions, std::numeric_limits<double>::quiet_NaN());
    const std::vector<double> result = run(kernel, probe, marked);
    for (int64_t k = 0; k < kChannels; ++k) {
      const auto begin = result.begin() + k * positions;
      if (std::any_of(begin, begin + positions, [](double value) { return std::isnan(value); })) {
        reached[static_cast<size_t>(c)] |= 1u << k;
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

// Whether a contraction directly after another makes it superfluous: the inner one neither narrows nor groups, so one contraction says
// the same with fewer parameters.
bool absorbed(const Kernel& kernel, const Node& outer) {
  const Node& inner = kernel.node(outer.inputs[0]);
  if (outer.primitive->initial != Initial::kNormal || !inner.primitive || inner.primitive->initial != Initial::kNormal)
    return false;
  if (!outer.attributes.per.empty() || !inner.attributes.per.empty() || inner.attributes.to.empty()) return false;
  const Size made = volume(inner.attributes.to);
  for (int v = kFirstDynamic; v < kMaxVariables; ++v) {
    if (made.exponent(v) < 0) return false;
  }
  return true;
}

// Whether a merge puts together what a split has just taken apart, in the same order.
bool undone(const Kernel& kernel, const Node& merge) {
  const Node& split = kernel.node(merge.inputs[0]);
  if (!split.primitive || !merge.primitive->is(kBijective) || !split.primitive->is(kBijective)) return false;
  if (split.attributes.to.size() != merge.attributes.from.size()) return false;
  for (size_t i = 0; i < split.attributes.to.size(); ++i) {
    if (split.attributes.to[i].name != merge.attributes.from[i]) return false;
  }
  return true;
}

}  // namespace

std::optional<std::string> implausible(const Kernel& kernel, const Limits& limits) {
  int weighted = 0;
  for (const Node& node : kernel.nodes()) weighted += node.primitive && node.primitive->weighted();
  if (weighted > limits.max_weighted) return "it has more weighted primitives than asked for";
  if (weighted == 0) return "it has no parameter";
  for (const Node& node : kernel.nodes()) {
    if (!node.primitive) continue;
    if (absorbed(kernel, node)) return "one contraction absorbs the one before it";
    if (undone(kernel, node)) return "a merge undoes a split";
  }
  if (!limits.trainable && !limits.full_flow && limits.min_reach <= 1) return std::nullopt;
  std::optional<Probe> probe;
  for (int64_t extent : kExtents) {
    if (!probe) probe = make_probe(kernel, extent);
  }
  if (!probe) return "its sizes do not fit a small layer";
  if (limits.trainable) {
    if (auto reason = check_scale(run(kernel, *probe, probe->input))) return reason;
  }
  if (reach(kernel, *probe) < limits.min_reach) return "it sees too little of its surroundings";
  if (limits.full_flow && !channels_mix(kernel, *probe)) return "some input channels never reach some output channels";
  return std::nullopt;
}

}  // namespace canvas
