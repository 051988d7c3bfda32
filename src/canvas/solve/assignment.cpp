#include "canvas/solve/assignment.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "canvas/base/error.h"

namespace canvas {

namespace {

using Costs = std::vector<double>;
using Groups = std::vector<std::vector<Alternative>>;

constexpr size_t kFew = 64;         // partial choices that are kept to find good ones first ...
constexpr size_t kMost = 2048;      // ... and then to prove that there are no better
constexpr int kSteps = 300;         // towards the best prices
constexpr double kRounding = 1e-9;  // relative; sums are not finer

struct Partial {  // a choice for the first groups
  std::vector<size_t> picks;
  double loss = 0;
  Costs costs;
  double hope = 0;  // what it comes to in all is no less
};

bool before(const Partial& a, const Partial& b) { return a.loss != b.loss ? a.loss < b.loss : a.picks < b.picks; }

bool no_dearer(const Costs& a, const Costs& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] > b[i]) return false;
  }
  return true;
}

class Solver {
 public:
  Solver(const Groups& groups, const Costs& limits, size_t count)
      : groups_(groups), limits_(limits), count_(count), least_(groups.size() + 1, Costs(limits.size(), 0.0)) {
    for (size_t g = groups.size(); g-- > 0;) {
      for (size_t i = 0; i < limits.size(); ++i) {
        double least = HUGE_VAL;
        for (const Alternative& one : groups[g]) least = std::min(least, one.costs[i]);
        least_[g][i] = least_[g + 1][i] + least;
      }
    }
    set_prices();
  }

  Assignments run() {
    const std::vector<Partial> good = list(kFew, HUGE_VAL);
    const double enough = good.size() == count_ ? good.back().loss : HUGE_VAL;
    proven_ = true;
    Assignments found;
    for (Partial& one : list(std::max(kMost, 4 * count_), enough)) {
      found.best.push_back({std::move(one.picks), one.loss});
    }
    found.proven = proven_;
    return found;
  }

 private:
  // The best choices, keeping at most so many partial ones, and none that comes to more than `enough`.
  std::vector<Partial> list(size_t most, double enough) {
    std::vector<Partial> partials = {{{}, 0, Costs(limits_.size(), 0.0), 0}};
    for (size_t g = 0; g < groups_.size(); ++g) {
      std::vector<Partial> longer;
      for (const Partial& partial : partials) {
        for (size_t pick = 0; pick < groups_[g].size(); ++pick) extend(partial, g, pick, enough, longer);
      }
      std::sort(longer.begin(), longer.end(), before);
      if (g + 1 == groups_.size()) {
        longer.resize(std::min(longer.size(), count_));
      } else {
        thin(longer, 4 * most);
        drop_beaten(longer);
        thin(longer, most);
      }
      partials = std::move(longer);
    }
    return partials;
  }

  void extend(const Partial& partial, size_t g, size_t pick, double enough, std::vector<Partial>& into) const {
    const Alternative& one = groups_[g][pick];
    Partial longer{partial.picks, partial.loss + one.loss, partial.costs, 0};
    longer.picks.push_back(pick);
    longer.hope = longer.loss + rest_[g + 1];
    for (size_t i = 0; i < limits_.size(); ++i) {
      longer.costs[i] += one.costs[i];
      const double slack = kRounding * std::max(1.0, std::abs(limits_[i]));
      if (longer.costs[i] + least_[g + 1][i] > limits_[i] + slack) return;
      if (prices_[i] > 0) longer.hope += prices_[i] * (longer.costs[i] - limits_[i]);
    }
    if (longer.hope <= enough + kRounding * std::max(1.0, std::abs(enough))) into.push_back(std::move(longer));
  }

  // Leaves out those that as many as are wanted beat: whatever completes one of these completes the others as well.
  void drop_beaten(std::vector<Partial>& sorted) const {
    std::vector<Partial> kept;
    for (Partial& partial : sorted) {
      size_t better = 0;
      for (size_t i = 0; i < kept.size() && better < count_; ++i) better += no_dearer(kept[i].costs, partial.costs);
      if (better < count_) kept.push_back(std::move(partial));
    }
    sorted = std::move(kept);
  }

  void thin(std::vector<Partial>& partials, size_t most) {
    if (partials.size() <= most) return;
    std::stable_sort(partials.begin(), partials.end(),
                     [](const Partial& a, const Partial& b) { return a.hope < b.hope; });
    partials.resize(most);
    std::sort(partials.begin(), partials.end(), before);
    proven_ = false;
  }

  // Prices of the resources at which the least of losses and of what is paid beyond the limits is as much as can be: it bounds every
  // choice from below (Lagrange's relaxation, by subgradient steps: Held, Wolfe and Crowder 1974).
  void set_prices() {
    prices_.assign(limits_.size(), 0.0);
    Costs at = prices_, unit = prices_;
    double losses = 0;
    for (const auto& group : groups_) losses += spread(group, [](const Alternative& one) { return one.loss; });
    for (size_t i = 0; i < limits_.size(); ++i) {
      double range = 0;
      for (const auto& group : groups_) range += spread(group, [&](const Alternative& one) { return one.costs[i]; });
      unit[i] = limits_[i] < HUGE_VAL && range > 0 ? losses / range : 0;
    }
    double best = -HUGE_VAL;
    for (int step = 0; step < kSteps; ++step) {
      Costs beyond(limits_.size(), 0.0);
      const double bound = relaxed(at, beyond);
      if (bound > best) best = bound, prices_ = at;
      for (size_t i = 0; i < limits_.size(); ++i) {
        if (unit[i] > 0) at[i] = std::max(0.0, at[i] + unit[i] * unit[i] * beyond[i] / losses * 4 / (1 + step));
      }
    }
    rest_.assign(groups_.size() + 1, 0.0);
    for (size_t g = groups_.size(); g-- > 0;) {
      double least = HUGE_VAL;
      for (const Alternative& one : groups_[g]) least = std::min(least, paid(one, prices_));
      rest_[g] = rest_[g + 1] + least;
    }
  }

  template <class Value>
  static double spread(const std::vector<Alternative>& group, const Value& value) {
    double low = HUGE_VAL, high = -HUGE_VAL;
    for (const Alternative& one : group) low = std::min(low, value(one)), high = std::max(high, value(one));
    return high - low;
  }

  static double paid(const Alternative& one, const Costs& prices) {
    double sum = one.loss;
    for (size_t i = 0; i < prices.size(); ++i) sum += prices[i] * one.costs[i];
    return sum;
  }

  // The bound at these prices; `beyond` takes by how much its choice misses the limits.
  double relaxed(const Costs& prices, Costs& beyond) const {
    double bound = 0;
    for (size_t i = 0; i < prices.size(); ++i) {
      if (limits_[i] == HUGE_VAL) continue;
      bound -= prices[i] * limits_[i];
      beyond[i] -= limits_[i];
    }
    for (const auto& group : groups_) {
      const Alternative* best = &group.front();
      for (const Alternative& one : group) {
        if (paid(one, prices) < paid(*best, prices)) best = &one;
      }
      bound += paid(*best, prices);
      for (size_t i = 0; i < prices.size(); ++i) beyond[i] += best->costs[i];
    }
    return bound;
  }

  const Groups& groups_;
  const Costs& limits_;
  const size_t count_;
  std::vector<Costs> least_;  // by group: what it and those behind it cost at least
  std::vector<double> rest_;  // by group: what it and those behind it lose and pay at least
  Costs prices_;
  bool proven_ = true;
};

void check(const Groups& groups, const Costs& limits) {
  for (const auto& group : groups) {
    for (const Alternative& one : group) {
      if (one.costs.size() != limits.size()) {
        throw ArgumentError("every alternative needs " + std::to_string(limits.size()) + " costs, one a limit, got " +
                            std::to_string(one.costs.size()));
      }
      const auto finite = [](double value) { return std::isfinite(value); };
      if (!finite(one.loss) || !std::all_of(one.costs.begin(), one.costs.end(), finite)) {
        throw ArgumentError("losses and costs must be finite");
      }
    }
  }
  for (const double limit : limits) {
    if (!(limit > -HUGE_VAL)) throw ArgumentError("a limit is not a number");
  }
}

}  // namespace

Assignments assign(const Groups& groups, const Costs& limits, size_t count) {
  check(groups, limits);
  const auto empty = [](const std::vector<Alternative>& group) { return group.empty(); };
  if (count == 0 || std::any_of(groups.begin(), groups.end(), empty)) return {};
  return Solver(groups, limits, count).run();
}

}  // namespace canvas
