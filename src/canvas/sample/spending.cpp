#include "canvas/sample/spending.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

namespace canvas {

namespace {

// Between two neighbours of 1, 2, 4, ... a sum a*r + b/r is smaller by 6 % at most.
constexpr double kRoom = 1.07;
constexpr double kRounding = 1 + 1e-9;

}  // namespace

Spending::Spending(const std::vector<Layer>& layers, const Budget& budget, const Rules& rules,
                   const Signature& signature)
    : times_(signature.per_position() ? Size::variable(kT) : Size()) {
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

int Spending::place(const Count& count) {
  const auto [place, fresh] = counts_known_.place(count);
  if (!fresh) return static_cast<int>(place);
  Entry entry;
  const int first = count.plain().exponent(kFirstDynamic), second = count.plain().exponent(kFirstDynamic + 1);
  if (first != 0) entry.points = kChoices;
  if (second != 0) entry.points = kPoints;
  for (int v = kFirstDynamic + 2; v < kMaxVariables; ++v)
    entry.points = count.plain().exponent(v) != 0 ? 0 : entry.points;
  some_.clear();
  for (size_t i = 0; i < layers_.size(); ++i) some_.push_back(counts_[i] * count.amount(layers_[i]));
  entry.values.reserve(entry.points * layers_.size());
  for (size_t point = 0; point < entry.points; ++point) {
    const int doublings = first * static_cast<int>(point % kChoices) + second * static_cast<int>(point / kChoices);
    const double free = std::ldexp(1.0, doublings);
    double total = 0;
    for (double amount : some_) {
      entry.values.push_back(amount * free);
      total += amount * free;
    }
    entry.totals.push_back(total);
  }
  held_ += entry.values.size();
  counts_known_[place] = std::move(entry);
  return static_cast<int>(place);
}

Spending::Step Spending::step(const Node& node, const OperandAxes& operands) {
  Step step;
  if (node.primitive->flops) step.flops = place(times_ * node.primitive->flops(operands, node));
  if (node.primitive->weighted())
    step.params = place(elements(node.primitive->parameter(*operands[0], node.attributes)));
  return step;
}

std::vector<Spending::Step> Spending::steps(const Kernel& kernel) {
  std::vector<Step> steps;
  steps.reserve(kernel.nodes().size());
  for (const Node& node : kernel.nodes()) {
    if (node.primitive) steps.push_back(step(node, kernel.operands(node)));
  }
  return steps;
}

Spending::Step Spending::step(const Count& flops, const std::optional<Count>& params) {
  return {place(times_ * flops), params ? place(*params) : kFree};
}

size_t Spending::points_of(const std::vector<int>& places) const {
  size_t points = 1;
  for (int place : places) points = std::max(points, counts_known_[static_cast<size_t>(place)].points);
  return points;
}

const std::vector<double>& Spending::sums(const std::vector<int>& places, size_t points) {
  const size_t layers = layers_.size();
  sums_.assign(points * layers, 0);
  // Counts are added up over as many points as tell their values apart; a shorter list is repeated.
  for (const size_t apart : {size_t{1}, kChoices, kPoints}) {
    some_.clear();
    for (int place : places) {
      const Entry& entry = counts_known_[static_cast<size_t>(place)];
      if (entry.points != apart) continue;
      if (some_.empty()) some_.assign(apart * layers, 0);
      for (size_t i = 0; i < some_.size(); ++i) some_[i] += entry.values[i];
    }
    for (size_t first = 0; !some_.empty() && first < sums_.size(); first += some_.size()) {
      for (size_t i = 0; i < some_.size(); ++i) sums_[first + i] += some_[i];
    }
  }
  return sums_;
}

double Spending::at_point(const std::vector<int>& places, size_t point) const {
  double total = 0;
  for (int place : places) {
    const Entry& entry = counts_known_[static_cast<size_t>(place)];
    if (entry.points > 0) total += entry.totals[point & (entry.points - 1)];
  }
  return total;
}

double Spending::least(const std::vector<int>& places) {
  const size_t points = points_of(places), layers = layers_.size();
  const std::vector<double>& all = sums(places, points);
  double total = 0;
  for (size_t i = 0; i < layers; ++i) {
    double least = all[i];
    for (size_t point = 1; point < points; ++point) least = std::min(least, all[point * layers + i]);
    total += least;
  }
  return total;
}

bool Spending::affordable(const std::vector<Step>& steps, const std::vector<Step>& ahead) {
  const auto fits = [&](int Step::* of, const std::optional<Range>& range) {
    if (!range) return true;
    places_.clear();
    for (const auto* some : {&steps, &ahead}) {
      for (const Step& step : *some) {
        if (step.*of != kFree) places_.push_back(step.*of);
      }
    }
    const double most = range->high * (points_of(places_) > 1 ? kRoom : kRounding);
    return at_point(places_, kUsualPoint) <= most || least(places_) <= most;
  };
  return fits(&Step::params, params_) && fits(&Step::flops, flops_);
}

bool Spending::enough(const std::vector<Step>& steps) {
  const auto reaches = [&](int Step::* of, const std::optional<Range>& range) {
    if (!range || range->low <= 0) return true;
    places_.clear();
    for (const Step& step : steps) {
      if (step.*of != kFree) places_.push_back(step.*of);
    }
    return points_of(places_) > 1 || least(places_) >= range->low;
  };
  return reaches(&Step::params, params_) && reaches(&Step::flops, flops_);
}

Values Spending::values_at(size_t layer, size_t point) const {
  Values values = layers_[layer];
  values[kFirstDynamic] = 1 << point % kChoices;
  values[kFirstDynamic + 1] = 1 << point / kChoices;
  return values;
}

const Spending::Wholeness& Spending::whole_at(const Size& size) {
  const auto [place, fresh] = whole_.place(size);
  for (size_t point = 0; fresh && point < kPoints; ++point) {
    int64_t most = 1;
    bool whole = true;
    for (size_t i = 0; i < layers_.size() && whole; ++i) {
      const auto value = size.evaluate(values_at(i, point));
      whole = value.has_value();
      most = std::max(most, value.value_or(1));
    }
    whole_[place].points |= uint64_t{whole} << point;
    whole_[place].most = std::max(whole_[place].most, whole ? static_cast<float>(std::log2(most)) : 0);
  }
  return whole_[place];
}

uint64_t Spending::legal_points(const Kernel& kernel) {
  uint64_t points = ~uint64_t{0};
  for (const Node& node : kernel.nodes()) {
    float volume = 0;
    for (const Axis& axis : node.axes) {
      const Wholeness& whole = whole_at(axis.size);
      points &= whole.points;
      volume += whole.most;
    }
    for (const Axis& axis : node.attributes.to) points &= whole_at(axis.size).points;
    if (volume > 62) return 0;
  }
  return points;
}

// The strides divide all extents (see simple_), so what is whole comes out even, and no other primitive asks more of its sizes.
bool Spending::has_positions(const Kernel& kernel, size_t point) const {
  for (const Node& node : kernel.nodes()) {
    if (!node.primitive || !node.primitive->takes(kIndices) || !node.primitive->misfit) continue;
    for (size_t i = 0; i < layers_.size(); ++i) {
      if (node.primitive->misfit(node, kernel.operands(node), values_at(i, point))) return false;
    }
  }
  return true;
}

uint64_t Spending::within(const std::vector<Step>& steps) {
  uint64_t points = ~uint64_t{0};
  for (const auto& [of, range] : {std::pair(&Step::params, &params_), std::pair(&Step::flops, &flops_)}) {
    if (!*range) continue;
    places_.clear();
    for (const Step& step : steps) {
      if (step.*of != kFree) places_.push_back(step.*of);
    }
    const size_t apart = points_of(places_);
    std::array<double, kPoints> totals{};
    for (int place : places_) {
      const Entry& entry = counts_known_[static_cast<size_t>(place)];
      for (size_t point = 0; point < apart && entry.points > 0; ++point)
        totals[point] += entry.totals[point & (entry.points - 1)];
    }
    const double low = (*range)->low * kRounding, high = (*range)->high / kRounding;
    uint64_t kept = 0;
    for (size_t point = 0; point < apart; ++point)
      kept |= uint64_t{totals[point] <= high && totals[point] >= low} << point;
    if (apart == 1) kept *= ~uint64_t{0};
    if (apart == kChoices) kept *= 0x0101010101010101ull;  // alike for every choice of the second size
    points &= kept;
  }
  return points;
}

bool Spending::fits(const std::vector<Step>& steps) { return !simple_ || within(steps) != 0; }

bool Spending::fits(const Kernel& kernel) {
  if (!simple_ || kernel.variables().count() > kFirstDynamic + 2) return false;
  const uint64_t legal = legal_points(kernel);
  if (legal == 0) return false;
  const uint64_t points = legal & within(steps(kernel));
  return points != 0 && has_positions(kernel, static_cast<size_t>(std::countr_zero(points)));
}

void Spending::tidy() {
  constexpr size_t kMostValues = 1 << 21, kMostSizes = 1 << 17;  // 16 MB, and some 10
  if (held_ < kMostValues && whole_.size() < kMostSizes) return;
  held_ = 0;
  counts_known_.clear();
  whole_.clear();
}

}  // namespace canvas
