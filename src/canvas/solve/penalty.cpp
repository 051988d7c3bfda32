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
  by_params_ = free.best.params > 0.5;
  unit_ = by_params_ ? free.best.params : std::max(free.best.flops, 1.0);
  size_t count = 0;
  for (const Group& group : groups) {
    decisions_ += group.copies;
    count += group.points.size();
  }
  points_.reserve(count);
  sorted_.reserve(count);
  Bound best = bound_at(0);
  double step = 2;
  for (double price = kLeastPrice; price <= kMostPrice && best.capacity >= 0; price *= step) {
    Bound next = bound_at(price);
    if (next.capacity < best.capacity) {
      best = std::move(next);
      price_ = price;
    } else if (price_ > 0) {
      break;
    }
  }
  for (int i = 0; i < kRefinements && price_ > 0 && best.capacity >= 0; ++i) {
    step = std::sqrt(step);
    for (double price : {price_ * step, price_ / step}) {
      Bound next = bound_at(price);
      if (next.capacity >= best.capacity) continue;
      best = std::move(next);
      price_ = price;
      break;
    }
  }
  feasible_ = best.capacity >= 0;
  bound_ = best.capacity * (1 + kRounding);
  relaxed_ = std::move(best.relaxed);
  if (feasible_) pay(price_);
}

// What the points are at this price of time, in their own order and in that which the relaxation asks for.
void Penalty::pay(double price) {
  points_.clear();
  sorted_.clear();
  paid_.clear();
  ascending_.clear();
  const double weight = price * unit_ / box_.seconds.high;
  const double part = box_.seconds.high / decisions_;
  const auto before = [](const Point& a, const Point& b) {
    return a.flops != b.flops ? a.flops < b.flops : a.params < b.params;
  };
  for (const Group& group : groups_) {
    const size_t first = points_.size(), start = sorted_.size();
    for (size_t k = 0; k < group.points.size(); ++k) {
      const double gain = weight * (part - group.seconds[k]);
      points_.push_back(group.points[k] + (by_params_ ? Point{0, gain} : Point{gain, 0}));
    }
    sorted_.insert(sorted_.end(), points_.begin() + static_cast<std::ptrdiff_t>(first), points_.end());
    const auto from = sorted_.begin() + static_cast<std::ptrdiff_t>(start);
    std::sort(from, sorted_.end(), before);
    sorted_.erase(std::unique(from, sorted_.end()), sorted_.end());
    paid_.push_back({{points_.data() + first, group.points.size()}, group.seconds, group.copies});
    ascending_.push_back({{sorted_.data() + start, sorted_.size() - start}, {}, group.copies});
  }
}

Penalty::Bound Penalty::bound_at(double price) {
  pay(price);
  const Mixtures mixtures(ascending_);
  Box within = box_;
  Bound bound{-1, mixtures.best_in(within)};
  if (bound.relaxed.feasible) bound.capacity = capacity(bound.relaxed.best);
  // What is paid into may pass its limit, where it counts no more than that.
  Interval& own = by_params_ ? within.params : within.flops;
  if (own.high == HUGE_VAL) return bound;
  const double limit = own.high;
  own = {limit, HUGE_VAL};
  const Relaxation above = mixtures.best_in(within);
  if (!above.feasible) return bound;
  bound.capacity =
      std::max(bound.capacity, by_params_ ? capacity({above.most.flops, limit}) : capacity({limit, above.most.params}));
  if (!bound.relaxed.feasible) bound.relaxed = above;
  return bound;
}

double Penalty::least_seconds(double worth, double flops, double params) const {
  const double weight = price_ * unit_ / box_.seconds.high * std::max(by_params_ ? flops : params, 0.5);
  return weight > 0 ? box_.seconds.high - (bound_ - worth) / weight * (1 + kRounding) : 0;
}

}  // namespace canvas
