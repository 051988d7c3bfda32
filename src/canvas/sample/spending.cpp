#include "canvas/sample/spending.h"

#include <algorithm>
#include <cmath>

#include "canvas/base/random.h"
#include "canvas/solve/structural.h"

namespace canvas {

namespace {

// Between two neighbours of 1, 2, 4, ... a sum a*r + b/r is smaller by 6 % at most.
constexpr double kRoom = 1.07;
constexpr double kRounding = 1 + 1e-9;

double powered(double value, int exponent) {
  double result = 1;
  for (int i = std::abs(exponent); i > 0; --i) result *= value;
  return exponent < 0 ? 1 / result : result;
}

}  // namespace

Spending::Spending(const std::vector<Layer>& layers, const Budget& budget, const Rules& rules,
                   const Signature& signature)
    : times_(signature.per_position() ? Size::variable(kT) : Size()), network_(layers) {
  simple_ = !budget.memory && !budget.each && rules.multiple_of == 1;
  for (const Layer& layer : layers) {
    layers_.push_back(layer.values());
    counts_.push_back(static_cast<double>(layer.count));
    for (int64_t extent : layer.spatial) simple_ = simple_ && extent % layer.stride == 0;
  }
  const Cost original = total_cost(layers);
  const auto amounts = [](const std::optional<Range>& range, double whole) {
    const double unit = range && range->absolute ? 1 : whole;
    return range ? std::optional(Range{range->low * unit, range->high * unit, true}) : std::nullopt;
  };
  flops_ = amounts(budget.flops, original.flops);
  params_ = amounts(budget.params, original.params);
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
      double value =
          counts_[i] * free * static_cast<double>(count.numerator()) / static_cast<double>(count.denominator());
      for (int v = 0; v < kFirstDynamic; ++v)
        value *=
            powered(static_cast<double>(std::max<int64_t>(1, layers_[i][static_cast<size_t>(v)])), count.exponent(v));
      entry.values.push_back(value);
    }
  }
  held_ += entry.values.size();
  entries_.push_back(std::move(entry));
  return at->second;
}

Spending::Step Spending::step(const Node& node, const std::vector<const Axes*>& operands) {
  Step step;
  if (node.primitive->flops) step.flops = place(times_ * node.primitive->flops(operands, node));
  if (node.primitive->weighted()) step.params = place(volume(node.primitive->parameter(*operands[0], node.attributes)));
  return step;
}

Spending::Step Spending::step(const Size& flops, const std::optional<Size>& params) {
  return {place(times_ * flops), params ? place(*params) : kFree};
}

size_t Spending::points_of(const std::vector<int>& places) const {
  size_t points = 1;
  for (int place : places) points = std::max(points, entries_[static_cast<size_t>(place)].points);
  return points;
}

std::vector<double> Spending::sums(const std::vector<int>& places, size_t points) const {
  const size_t layers = layers_.size();
  std::vector<double> sums(points * layers, 0);
  for (int place : places) {
    const Entry& entry = entries_[static_cast<size_t>(place)];
    for (size_t point = 0; point < points && entry.points > 0; ++point) {
      const double* values = entry.values.data() + (point % entry.points) * layers;
      double* sum = sums.data() + point * layers;
      for (size_t i = 0; i < layers; ++i) sum[i] += values[i];
    }
  }
  return sums;
}

double Spending::least(const std::vector<int>& places) const {
  const size_t points = points_of(places), layers = layers_.size();
  const std::vector<double> all = sums(places, points);
  double total = 0;
  for (size_t i = 0; i < layers; ++i) {
    double least = all[i];
    for (size_t point = 1; point < points; ++point) least = std::min(least, all[point * layers + i]);
    total += least;
  }
  return total;
}

bool Spending::affordable(const std::vector<Step>& steps, const std::vector<Step>& ahead) const {
  const auto fits = [&](int Step::* of, const std::optional<Range>& range) {
    if (!range) return true;
    std::vector<int> places;
    for (const auto* some : {&steps, &ahead}) {
      for (const Step& step : *some) {
        if (step.*of != kFree) places.push_back(step.*of);
      }
    }
    return least(places) <= range->high * (points_of(places) > 1 ? kRoom : kRounding);
  };
  return fits(&Step::params, params_) && fits(&Step::flops, flops_);
}

bool Spending::enough(const std::vector<Step>& steps) const {
  const auto reaches = [&](int Step::* of, const std::optional<Range>& range) {
    if (!range || range->low <= 0) return true;
    std::vector<int> places;
    for (const Step& step : steps) {
      if (step.*of != kFree) places.push_back(step.*of);
    }
    return points_of(places) > 1 || least(places) >= range->low;
  };
  return reaches(&Step::params, params_) && reaches(&Step::flops, flops_);
}

Values Spending::values_at(size_t layer, size_t point) const {
  Values values = layers_[layer];
  values[kFirstDynamic] = 1 << point % kChoices;
  values[kFirstDynamic + 1] = 1 << point / kChoices;
  return values;
}

uint64_t Spending::whole_at(const Size& size) {
  const auto [at, fresh] = whole_.try_emplace(size, 0);
  for (size_t point = 0; fresh && point < kPoints; ++point) {
    bool whole = true;
    for (size_t i = 0; i < layers_.size() && whole; ++i) whole = size.evaluate(values_at(i, point)).has_value();
    at->second |= uint64_t{whole} << point;
  }
  return at->second;
}

// What primitives ask of sizes beyond that they are whole, and that values fit 64 bits.
bool Spending::legal(const Kernel& kernel, size_t point) const {
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Values values = values_at(i, point);
    for (const Node& node : kernel.nodes()) {
      if (node.primitive && node.primitive->misfit && node.primitive->misfit(node, kernel.operands(node), values))
        return false;
    }
  }
  return !check_sizes(kernel, network_[0], values_at(0, point));
}

bool Spending::fits(const Kernel& kernel) {
  if (!simple_) return false;
  uint64_t whole = ~uint64_t{0};
  std::vector<int> flops, params;
  for (const Node& node : kernel.nodes()) {
    for (const Axis& axis : node.axes) whole &= whole_at(axis.size);
    for (const Axis& axis : node.attributes.to) whole &= whole_at(axis.size);
    if (!node.primitive) continue;
    const Step spent = step(node, kernel.operands(node));
    if (spent.flops != kFree) flops.push_back(spent.flops);
    if (spent.params != kFree) params.push_back(spent.params);
  }
  if (kernel.variables().count() > kFirstDynamic + 2) return false;
  const int variables = kernel.variables().count() - kFirstDynamic;
  const size_t points = variables == 0 ? 1 : variables == 1 ? kChoices : kPoints;
  const std::vector<double> all_flops = sums(flops, points), all_params = sums(params, points);
  const auto keeps = [&](const std::optional<Range>& range, const std::vector<double>& sums, size_t point) {
    if (!range) return true;
    double total = 0;
    for (size_t i = 0; i < layers_.size(); ++i) total += sums[point * layers_.size() + i];
    return total <= range->high / kRounding && total >= range->low * kRounding;
  };
  for (size_t point = 0; point < points; ++point) {
    if ((whole >> point & 1) && keeps(params_, all_params, point) && keeps(flops_, all_flops, point))
      return legal(kernel, point);
  }
  return false;
}

void Spending::tidy() {
  constexpr size_t kMostValues = 1 << 21, kMostSizes = 1 << 17;  // 16 MB, and some 10
  if (held_ < kMostValues && whole_.size() < kMostSizes) return;
  held_ = 0;
  entries_.clear();
  known_.clear();
  whole_.clear();
}

}  // namespace canvas
