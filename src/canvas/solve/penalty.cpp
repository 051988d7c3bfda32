#include "canvas/solve/penalty.h"

#include <algorithm>

namespace canvas {

namespace {

constexpr double kLeastPrice = 1.0 / 64, kMostPrice = 4096;
constexpr int kRefinements = 12;
constexpr double kRounding = 1e-10;

}  // namespace

Penalty::Penalty(const std::vector<Group>& groups, const Box& box, const Relaxation& free)
    : groups_(groups), box_(box) {
  size_t count = 0;
  for (const Group& group : groups) {
    decisions_ += group.copies;
    count += group.points.size();
  }
  points_.reserve(count);
  sorted_.reserve(count);
  const Tariff tariffs[] = {{true, free.best.params, 0}, {false, free.best.flops, 0}};
  Bound best = bound_at(tariff_);
  for (const Tariff& tariff : tariffs) {
    if (tariff.unit > 0.5 && best.capacity >= 0) lower(tariff, best);
  }
  feasible_ = best.capacity >= 0;
  bound_ = best.capacity * (1 + kRounding);
  relaxed_ = std::move(best.relaxed);
  if (feasible_) pay(tariff_);
}

// Looks for a price in this tariff whose bound is below `best`, first far, then near.
void Penalty::lower(Tariff tariff, Bound& best) {
  const auto take = [&](double price) {
    tariff.price = price;
    Bound next = bound_at(tariff);
    if (next.capacity >= best.capacity * (1 - kRounding)) return false;
    best = std::move(next);
    tariff_ = tariff;
    return true;
  };
  double step = 2, at = 0;
  for (double price = kLeastPrice; price <= kMostPrice && best.capacity >= 0; price *= step) {
    if (take(price))
      at = price;
    else if (at > 0)
      break;
  }
  for (int i = 0; i < kRefinements && at > 0 && best.capacity >= 0; ++i) {
    step = std::sqrt(step);
    if (take(at * step))
      at *= step;
    else if (take(at / step))
      at /= step;
  }
}

// What the points are at this price of time, in their own order and in that which the relaxation asks for.
void Penalty::pay(const Tariff& tariff) {
  points_.clear();
  sorted_.clear();
  paid_.clear();
  ascending_.clear();
  const double weight = tariff.price * tariff.unit / box_.seconds.high;
  const double part = box_.seconds.high / decisions_;
  const auto before = [](const Point& a, const Point& b) {
    return a.flops != b.flops ? a.flops < b.flops : a.params < b.params;
  };
  for (const Group& group : groups_) {
    const size_t first = points_.size(), start = sorted_.size();
    for (size_t k = 0; k < group.points.size(); ++k) {
      const double gain = weight * (part - group.seconds[k]);
      points_.push_back(group.points[k] + (tariff.by_params ? Point{0, gain} : Point{gain, 0}));
    }
    sorted_.insert(sorted_.end(), points_.begin() + static_cast<std::ptrdiff_t>(first), points_.end());
    const auto from = sorted_.begin() + static_cast<std::ptrdiff_t>(start);
    std::sort(from, sorted_.end(), before);
    sorted_.erase(std::unique(from, sorted_.end()), sorted_.end());
    paid_.push_back({{points_.data() + first, group.points.size()}, group.seconds, group.copies});
    ascending_.push_back({{sorted_.data() + start, sorted_.size() - start}, {}, group.copies});
  }
}

Penalty::Bound Penalty::bound_at(const Tariff& tariff) {
  pay(tariff);
  const Mixtures mixtures(ascending_);
  Box within = box_;
  Bound bound{-1, mixtures.best_in(within)};
  if (bound.relaxed.feasible) bound.capacity = capacity(bound.relaxed.best);
  // What is paid into may pass its limit, where it counts no more than that.
  Interval& own = tariff.by_params ? within.params : within.flops;
  if (own.high == HUGE_VAL) return bound;
  const double limit = own.high;
  own = {limit, HUGE_VAL};
  const Relaxation above = mixtures.best_in(within);
  if (!above.feasible) return bound;
  bound.capacity = std::max(
      bound.capacity, tariff.by_params ? capacity({above.most.flops, limit}) : capacity({limit, above.most.params}));
  if (!bound.relaxed.feasible) bound.relaxed = above;
  return bound;
}

double Penalty::least_seconds(double worth, double flops, double params) const {
  if (capped()) return 0;
  const double own = std::max(tariff_.by_params ? flops : params, 0.5);
  const double weight = tariff_.price * tariff_.unit / box_.seconds.high * own;
  return weight > 0 ? box_.seconds.high - (bound_ - worth) / weight * (1 + kRounding) : 0;
}

}  // namespace canvas
