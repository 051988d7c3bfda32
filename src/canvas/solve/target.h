// What filling a budget aims at: which totals are allowed, and where a choice that is better than the best so far could still be.
// Every way of looking for one (exchange.h, listing.h) asks here.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "canvas/solve/mixture.h"
#include "canvas/solve/penalty.h"
#include "canvas/solve/relaxation.h"

namespace canvas {

inline constexpr double kSumRounding = 1e-11;  // relative; sums of doubles are not finer

// A point for each decision, that is for each copy of each group, in the order of the groups.
struct Choice {
  std::vector<uint32_t> group;  // by decision
  std::vector<uint32_t> pick;   // by decision
  Point total;
  double seconds = 0;  // 0 where time is not limited
};

// Sets what the decisions sum up to.
void sum_up(const std::vector<Group>& groups, Choice& choice);

class Target {
 public:
  // `relaxed`: what the relaxation makes of the groups in the box, where it is feasible.
  Target(const std::vector<Group>& groups, const Box& box, const Relaxation& relaxed);

  const std::vector<Group>& groups() const { return groups_; }
  // Near which totals the best choice is; where time is limited, with all of it.
  const Point& best() const { return paid_ ? paid_->best() : relaxed_.best; }
  bool within(const Point& total) const;
  // Time, where it is limited: better() asks `penalty` for it.
  bool timed() const { return penalty_ != nullptr; }
  // `paid`: the target that the penalty's groups make.
  void hold_time(const Penalty& penalty, const Target& paid) { penalty_ = &penalty, paid_ = &paid; }
  void guide_by(const Mixture& mixture) { mixture_ = &mixture; }  // towards good choices
  double limit_of_time() const { return box_.seconds.high; }
  bool in_time(double seconds) const {
    return seconds <= box_.seconds.high * (1 + kSumRounding) && seconds * (1 + kSumRounding) >= box_.seconds.low;
  }
  // Both limits bind, and the points of a mixture that is worth most are as good as any: no point loses anything.
  bool at_corner() const { return relaxed_.normal == Point{}; }
  // What one copy of the group loses by this point against the best one along the relaxation's normal, at least 0. Where time is limited,
  // it has paid, if what was paid into counts in full.
  double loss(size_t group, size_t point) const {
    return paid_ && !penalty_->capped() ? paid_->loss(group, point) : lost(group, groups_[group].points[point]);
  }
  // The same, or where what has paid is capped, what the mixture says: it proves nothing.
  double guide(size_t group, size_t point) const {
    return mixture_ && penalty_->capped() ? mixture_->losses[group][point] : loss(group, point);
  }
  // Choices worth more than `worth` lose at most this in all; negative: there is none.
  double allowed_loss(double worth) const;
  // ... and lie in here.
  Box better(double worth) const;
  // Relative size of a difference in costs.
  double distance(const Point& difference) const {
    return std::abs(difference.flops) * unit_.flops + std::abs(difference.params) * unit_.params;
  }

 private:
  double lost(size_t group, const Point& point) const {
    return std::max(0.0, top_[group] - relaxed_.normal.flops * point.flops - relaxed_.normal.params * point.params);
  }

  const std::vector<Group>& groups_;
  const Box box_;
  Relaxation relaxed_;
  const Penalty* penalty_ = nullptr;
  const Target* paid_ = nullptr;
  const Mixture* mixture_ = nullptr;
  Point unit_;               // 1 over the best's costs
  std::vector<double> top_;  // by group: the most of normal . point
  double top_total_ = 0;
};

}  // namespace canvas
