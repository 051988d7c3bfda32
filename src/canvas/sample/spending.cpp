#include "canvas/sample/spending.h"

#include <algorithm>
#include <cmath>

#include "canvas/base/random.h"

namespace canvas {

namespace {

// Between two neighbours of 1, 2, 4, ... a sum a*r + b/r is smaller by 6 % at most.
constexpr double kRoom = 1.07;
constexpr double kRounding = 1.000001;  // of sums of floats

double powered(double value, int exponent) {
  double result = 1;
  for (int i = std::abs(exponent); i > 0; --i) result *= value;
  return exponent < 0 ? 1 / result : result;
}

}  // namespace

Spending::Spending(const std::vector<Layer>& layers, const Budget& budget, bool per_position)
    : times_(per_position ? Size::variable(kT) : Size()) {
  for (const Layer& layer : layers) {
    layers_.push_back(layer.values());
    counts_.push_back(static_cast<double>(layer.count));
  }
  const Cost original = total_cost(layers);
  const auto limit = [](const std::optional<Range>& range, double whole) {
    return range ? range->high * (range->absolute ? 1 : whole) : 0;
  };
  most_flops_ = limit(budget.flops, original.flops);
  most_params_ = limit(budget.params, original.params);
}

size_t Spending::Hash::operator()(const Size& size) const {
  uint64_t low = 0, high = 0;
  for (int v = 0; v < kMaxVariables; ++v) {
    uint64_t& word = v < kFirstDynamic ? low : high;
    word = word << 8 | static_cast<uint8_t>(size.exponent(v));
  }
  const auto constant = static_cast<uint64_t>(size.numerator() * 131 + size.denominator());
  return mix64(low * 0x9e3779b97f4a7c15ull ^ mix64(high ^ constant));
}

int Spending::place(const Size& count) {
  const auto [at, fresh] = known_.try_emplace(count, static_cast<int>(entries_.size()));
  if (!fresh) return at->second;
  Entry entry;
  const int first = count.exponent(kFirstDynamic), second = count.exponent(kFirstDynamic + 1);
  if (first != 0) entry.points = kChoices;
  if (second != 0) entry.points = kPoints;
  for (int v = kFirstDynamic + 2; v < kMaxVariables; ++v) entry.points = count.exponent(v) != 0 ? 0 : entry.points;
  for (size_t point = 0; point < entry.points; ++point) {
    const double free = powered(static_cast<double>(1 << point % kChoices), first) *
                        powered(static_cast<double>(1 << point / kChoices), second);
    for (size_t i = 0; i < layers_.size(); ++i) {
      double value = counts_[i] * free * static_cast<double>(count.numerator()) / static_cast<double>(count.denominator());
      for (int v = 0; v < kFirstDynamic; ++v)
        value *= powered(static_cast<double>(std::max<int64_t>(1, layers_[i][static_cast<size_t>(v)])), count.exponent(v));
      entry.values.push_back(static_cast<float>(value));
    }
  }
  entries_.push_back(std::move(entry));
  return at->second;
}

Spending::Step Spending::step(const Node& node, const std::vector<const Axes*>& operands) {
  Step step;
  if (most_flops_ > 0 && node.primitive->flops) step.flops = place(times_ * node.primitive->flops(operands, node));
  if (most_params_ > 0 && node.primitive->weighted())
    step.params = place(volume(node.primitive->parameter(*operands[0], node.attributes)));
  return step;
}

bool Spending::within(const std::vector<int>& places, double high) const {
  size_t points = 1;
  for (int place : places) points = std::max(points, entries_[static_cast<size_t>(place)].points);
  const size_t layers = layers_.size();
  std::vector<float> sums(points * layers, 0);
  for (int place : places) {
    const Entry& entry = entries_[static_cast<size_t>(place)];
    if (entry.points == 0) continue;
    for (size_t point = 0; point < points; ++point) {
      const float* values = entry.values.data() + (point % entry.points) * layers;
      float* sum = sums.data() + point * layers;
      for (size_t i = 0; i < layers; ++i) sum[i] += values[i];
    }
  }
  double total = 0;
  for (size_t i = 0; i < layers; ++i) {
    float least = sums[i];
    for (size_t point = 1; point < points; ++point) least = std::min(least, sums[point * layers + i]);
    total += static_cast<double>(least);
  }
  return total <= high * (points > 1 ? kRoom : kRounding);
}

bool Spending::affordable(const std::vector<Step>& steps, const Step& ahead) const {
  const auto fits = [&](int Step::*of, double high) {
    if (high <= 0) return true;
    std::vector<int> places;
    for (const Step& step : steps) {
      if (step.*of != kFree) places.push_back(step.*of);
    }
    if (ahead.*of != kFree) places.push_back(ahead.*of);
    return within(places, high);
  };
  return fits(&Step::params, most_params_) && fits(&Step::flops, most_flops_);
}

}  // namespace canvas
