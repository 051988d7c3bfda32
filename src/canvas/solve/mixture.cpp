#include "canvas/solve/mixture.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace canvas {

namespace {

constexpr int kRounds = 12, kSteps = 60, kHalvings = 24;
constexpr double kStiffness = 8;  // a limit missed by 1 % raises its price by 0.08

using Costs = std::array<double, 3>;  // FLOPs, parameters, seconds

Costs costs(const Group& group, size_t k) { return {group.points[k].flops, group.points[k].params, group.seconds[k]}; }

// Maximises log FLOPs + log parameters by the method of multipliers (Hestenes 1969): between updates of the limits' prices, steps
// towards the best corner (Frank and Wolfe 1956), which is one point for each group.
class Descent {
 public:
  Descent(const std::vector<Group>& groups, const Box& box)
      : groups_(groups),
        highs_{box.flops.high, box.params.high, box.seconds.high},
        lows_{box.flops.low, box.params.low, box.seconds.low} {
    for (const Group& group : groups) {
      const auto quickest = std::min_element(group.seconds.begin(), group.seconds.end()) - group.seconds.begin();
      shares_.push_back(costs(group, static_cast<size_t>(quickest)));
      add(shares_.back(), group.copies, at_);
    }
  }

  Mixture run() {
    for (int round = 0; round < kRounds; ++round) {
      for (int step = 0; step < kSteps && advance(); ++step) {
      }
      for (size_t i = 0; i < 3; ++i) {
        above_[i] = price_above(i, at_[i]);
        below_[i] = price_below(i, at_[i]);
      }
    }
    const Costs prices = slopes(at_);
    Mixture mixture;
    for (size_t g = 0; g < groups_.size(); ++g) {
      mixture.shares.push_back({shares_[g][0], shares_[g][1]});
      mixture.seconds.push_back(shares_[g][2]);
      std::vector<double>& losses = mixture.losses.emplace_back();
      for (size_t k = 0; k < groups_[g].points.size(); ++k) losses.push_back(worth(prices, costs(groups_[g], k)) / 2);
      const double best = *std::min_element(losses.begin(), losses.end());
      for (double& loss : losses) loss -= best;
    }
    return mixture;
  }

 private:
  static void add(const Costs& cost, double times, Costs& sum) {
    for (size_t i = 0; i < 3; ++i) sum[i] += times * cost[i];
  }
  static double worth(const Costs& prices, const Costs& cost) {
    return prices[0] * cost[0] + prices[1] * cost[1] + prices[2] * cost[2];
  }
  double price_above(size_t i, double used) const {
    return highs_[i] < HUGE_VAL ? std::max(0.0, above_[i] + kStiffness * (used / highs_[i] - 1)) : 0;
  }
  double price_below(size_t i, double used) const {
    return lows_[i] > 0 ? std::max(0.0, below_[i] + kStiffness * (1 - used / lows_[i])) : 0;
  }

  // How what is minimised changes with each cost.
  Costs slopes(const Costs& at) const {
    Costs found{};
    for (size_t i = 0; i < 3; ++i) {
      if (i < 2) found[i] -= 1 / std::max(at[i], 0.5);
      if (highs_[i] < HUGE_VAL) found[i] += price_above(i, at[i]) / highs_[i];
      if (lows_[i] > 0) found[i] -= price_below(i, at[i]) / lows_[i];
    }
    return found;
  }

  // One step; false where there is none to take.
  bool advance() {
    const Costs prices = slopes(at_);
    Costs way{-at_[0], -at_[1], -at_[2]};
    corner_.clear();
    for (const Group& group : groups_) {
      double least = HUGE_VAL;
      for (size_t k = 0; k < group.points.size(); ++k) {
        const double now = worth(prices, costs(group, k));
        if (now < least) least = now, best_ = k;
      }
      corner_.push_back(costs(group, best_));
      add(corner_.back(), group.copies, way);
    }
    const auto slope = [&](double part) {
      Costs there = at_;
      add(way, part, there);
      return worth(slopes(there), way);
    };
    if (!(slope(0) < 0)) return false;
    double part = slope(1) <= 0 ? 1 : 0.5;
    for (double half = 0.25; part < 1 && half > std::ldexp(1.0, -kHalvings); half /= 2)
      part += slope(part) < 0 ? half : -half;
    at_ = {};
    for (size_t g = 0; g < groups_.size(); ++g) {
      for (size_t i = 0; i < 3; ++i) shares_[g][i] += part * (corner_[g][i] - shares_[g][i]);
      add(shares_[g], groups_[g].copies, at_);
    }
    return true;
  }

  const std::vector<Group>& groups_;
  const Costs highs_, lows_;
  Costs above_{}, below_{};  // prices of the limits
  std::vector<Costs> shares_, corner_;
  Costs at_{};
  size_t best_ = 0;
};

}  // namespace

Mixture mixture_in(const std::vector<Group>& groups, const Box& box) { return Descent(groups, box).run(); }

}  // namespace canvas
