#include "canvas/solve/fill.h"

#include <algorithm>
#include <cmath>

#include "canvas/base/random.h"
#include "canvas/solve/exchange.h"
#include "canvas/solve/lattice.h"
#include "canvas/solve/listing.h"

namespace canvas {

namespace {

constexpr double kGoodEnough = 1e-4;       // of the geometric mean, where there is no listing all
constexpr size_t kMost = size_t{1} << 17;  // states of half of them
constexpr size_t kMostOfMany = 4096;       // of half of more decisions
constexpr double kHope = 0.99;             // of the bound: what the first exchange is to reach
constexpr double kMuchNearer = 0.1;
constexpr size_t kSameOrder = 2, kPlaces = 4;
constexpr int kRetreats = 8;  // from the limits, for a first choice within them

// Ever wider exchanges; a gap of at most `gap` after one of them ends the search.
struct Round {
  size_t moves;
  double gap;
};
constexpr Round kRounds[] = {{0, 1e-4},   {0, 1e-4},  {0, 1e-4},   {0, 1e-4},  {24, 1e-4}, {32, 1e-4}, {32, 1e-4},
                             {32, 1e-4},  {48, 1e-4}, {48, 1e-4},  {64, 1e-4}, {96, 1e-3}, {96, 1e-3}, {192, 1e-3},
                             {192, 1e-3}, {0, 1e-3},  {192, 1e-3}, {0, 1e-3},  {192, 1e-3}};

class Filler {
 public:
  Filler(const std::vector<Group>& groups, const Box& box, Aim aim, bool part)
      : groups_(groups), mixtures_(groups), lattice_(groups), box_(lattice_.shrink(box)), aim_(aim), part_(part) {}

  Filling run() {
    Relaxation relaxed;
    if (box_.flops.low <= box_.flops.high && box_.params.low <= box_.params.high) relaxed = mixtures_.best_in(box_);
    if (!relaxed.feasible) {
      result_.proven = true;
      return result_;
    }
    const Box within{{box_.flops.low, std::min(box_.flops.high, relaxed.most.flops)},
                     {box_.params.low, std::min(box_.params.high, relaxed.most.params)}};
    result_.bound = lattice_.bound(within, capacity(relaxed.best)) * (1 + kSumRounding);
    Target target(groups_, box_, relaxed);
    if (box_.seconds.high < HUGE_VAL) {
      const Penalty penalty(groups_, box_, relaxed);
      if (!penalty.feasible()) {
        result_ = {};
        result_.proven = true;
        return result_;
      }
      result_.bound = std::min(result_.bound, penalty.bound());
      const Target paid(penalty.groups(), box_, penalty.relaxed());
      target.hold_time(penalty, paid);
      const Mixture mixture = mixture_in(groups_, box_);
      target.guide_by(mixture);
      search(target, mixture.shares, mixture.seconds);
    } else {
      search(target, relaxed.shares, {});
    }
    if (result_.proven) result_.bound = result_.found ? capacity(result_.total) : 0;
    if (result_.found) gather();
    return result_;
  }

 private:
  // `shares`, `seconds`: near which mixture choices are looked for.
  void search(const Target& target, const std::vector<Point>& shares, const std::vector<double>& seconds) {
    measure(target);
    const Choice near = near_to(target, shares, seconds);
    take(target, near);
    double enough = kGoodEnough;
    for (size_t round = 0; round < std::size(kRounds) && !done(enough); ++round) {
      // What fits is not always near to what is best: each second round starts at what is nearest, though it does not fit, and later
      // ones at what comes nearest in another order.
      if (round > kSameOrder) disorder(round);
      const auto missing = [&](const Choice& choice) { return target.distance(target.best() - choice.total); };
      const bool from_best = result_.found && (round % 2 == 1 || missing(best_) < kMuchNearer * missing(near));
      Choice base = from_best ? best_ : round > kSameOrder ? near_to(target, shares, seconds) : near;
      const double least = round == 0 ? std::max(worth(), kHope * result_.bound) : worth();
      if (exchange(target, kRounds[round].moves, round, least, base)) take(target, base);
      if (round == 0) retreat(target, near);
      enough = kRounds[round].gap;
    }
    if (result_.proven || (result_.found && aim_ == Aim::kAny)) return;
    Choice best = result_.found ? best_ : near;
    const bool few = near.group.size() <= kFewDecisions;
    const bool all = list_all(target, few ? kMost : kMostOfMany, aim_ == Aim::kAny, worth(), best);
    take(target, best);
    result_.proven = result_.proven || (all && !part_);
  }

  double worth() const { return result_.found ? capacity(result_.total) : 0; }

  bool done(double gap) const {
    if (result_.proven) return true;
    if (!result_.found) return false;
    return aim_ == Aim::kAny || std::sqrt(result_.bound / worth()) - 1 <= gap;
  }

  void measure(const Target& target) {
    std::vector<double> spans;
    for (uint32_t g = 0; g < groups_.size(); ++g) {
      Point least{HUGE_VAL, HUGE_VAL}, most;
      for (const Point& point : groups_[g].points) {
        least = {std::min(least.flops, point.flops), std::min(least.params, point.params)};
        most = {std::max(most.flops, point.flops), std::max(most.params, point.params)};
      }
      spans.push_back(target.distance(most - least));
      decisions_.insert(decisions_.end(), static_cast<size_t>(groups_[g].copies), g);
    }
    order_.resize(decisions_.size());
    for (size_t d = 0; d < order_.size(); ++d) order_[d] = d;
    std::stable_sort(order_.begin(), order_.end(),
                     [&](size_t a, size_t b) { return spans[decisions_[a]] > spans[decisions_[b]]; });
  }

  // Moves each decision forward by a few places at most.
  void disorder(uint64_t seed) {
    Random random(seed);
    for (size_t i = order_.size(); i-- > 1;) std::swap(order_[i], order_[i - random.below(std::min(i + 1, kPlaces))]);
  }

  // A choice near the relaxation's mixture: large decisions first, each making good what the ones before it missed.
  Choice near_to(const Target& target, const std::vector<Point>& shares, const std::vector<double>& seconds) const {
    Choice choice{decisions_, std::vector<uint32_t>(decisions_.size(), 0), {}, 0};
    Point owed;
    double owed_time = 0;
    for (size_t d : order_) {
      const uint32_t g = choice.group[d];
      const std::span<const Point> points = target.groups()[g].points;
      const Point want = shares[g] + owed;
      const double want_time = target.timed() ? seconds[g] + owed_time : 0;
      double nearest = HUGE_VAL;
      for (uint32_t k = 0; k < points.size(); ++k) {
        double off = target.distance(points[k] - want) + 4 * target.guide(g, k);
        if (target.timed()) off += std::abs(groups_[g].seconds[k] - want_time) / target.limit_of_time();
        if (off < nearest) nearest = off, choice.pick[d] = k;
      }
      owed = want - points[choice.pick[d]];
      if (target.timed()) owed_time = want_time - groups_[g].seconds[choice.pick[d]];
    }
    sum_up(groups_, choice);
    return choice;
  }

  // The choice is the best so far, if it is in the box and better.
  void take(const Target& target, const Choice& choice) {
    if (!target.within(choice.total) || !target.in_time(choice.seconds) ||
        (result_.found && capacity(choice.total) <= worth()))
      return;
    result_.found = true;
    result_.total = choice.total;
    result_.proven = worth() * (1 + 2 * kSumRounding) >= result_.bound;
    best_ = choice;
  }

  // Where the first choice is outside the box: choices near to what smaller boxes hold.
  void retreat(const Target& target, const Choice& near) {
    double part = 0;
    const Point now = near.total;
    for (int i = 0; i < kRetreats && !result_.found; ++i) {
      const double over = std::max({now.flops / box_.flops.high, now.params / box_.params.high,
                                    target.timed() ? near.seconds / box_.seconds.high : 0, 1 + 1e-9});
      part = i > 0 ? 4 * part : over - 1;
      if (part >= 1) return;
      const auto lower = [&](const Interval& side) {
        return Interval{side.low, std::max(side.low, side.high * (1 - part))};
      };
      const Box smaller{lower(box_.flops), lower(box_.params), lower(box_.seconds)};
      if (target.timed()) {
        const Mixture inside = mixture_in(groups_, smaller);
        take(target, near_to(target, inside.shares, inside.seconds));
      } else {
        const Relaxation inside = mixtures_.best_in(smaller);
        if (!inside.feasible) return;
        take(target, near_to(target, inside.shares, {}));
      }
    }
  }

  void gather() {
    result_.picks = best_.pick;
    auto at = result_.picks.begin();
    for (const Group& group : groups_) {
      std::sort(at, at + group.copies);
      at += group.copies;
    }
  }

  const std::vector<Group>& groups_;
  const Mixtures mixtures_;
  const Lattice lattice_;
  const Box box_;
  const Aim aim_;
  const bool part_;
  std::vector<uint32_t> decisions_;  // the group of each
  std::vector<size_t> order_;        // of decisions, the largest first
  Filling result_;
  Choice best_;
};

}  // namespace

Filling fill(const std::vector<Group>& groups, const Box& box, Aim aim, bool part) {
  return Filler(groups, box, aim, part).run();
}

}  // namespace canvas
