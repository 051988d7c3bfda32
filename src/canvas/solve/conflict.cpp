#include "canvas/solve/conflict.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace canvas {

namespace {

constexpr double kPrecision = 2e-4;  // of the factor
constexpr double kLargestFactor = 1e30;
constexpr int kSteps = 60;

std::string figures(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", value);
  return text;
}

// Three figures, never less than the value.
std::string rounded_up(double value) {
  const double unit = std::pow(10.0, std::floor(std::log10(value)) - 2);
  return figures(std::ceil(value / unit * (1 - 1e-12)) * unit);
}

std::string rounded_down(double value) {
  const double unit = std::pow(10.0, std::floor(std::log10(value)) - 2);
  return figures(std::floor(value / unit * (1 + 1e-12)) * unit);
}

// A limit that a choice misses, and where.
struct Miss {
  double factor = 1;
  Limit limit{Resource::kFlops, {}, 1};
  double used = 0;
  std::string place;

  bool below() const { return used < limit.low(); }
  std::string required(bool proven) const {
    const double edge = below() ? limit.range.low : limit.range.high;
    return std::string("budget ") + name_of(limit.resource) + " must be at " + (below() ? "least " : "most ") +
           figures(edge) + (limit.range.absolute ? "" : " of the original") +
           (proven ? ", the kernel " : ", the nearest choice found ") + (below() ? "reaches " : "needs ") +
           figures(used / limit.original) + place;
  }
  // "flops to 0.62"
  std::string relief() const {
    return std::string(name_of(limit.resource)) + " to " +
           (below() ? rounded_down(used / limit.original) : rounded_up(used / limit.original));
  }
};

class Account {
 public:
  Account(const Problem& problem, const Solution& solution) : problem_(problem), solution_(solution) {
    problem.each_choice(solution,
                        [&](size_t layer, const int64_t*, const Cost& cost) { costs_.emplace_back(layer, cost); });
    for (const Limit& limit : problem.limits()) look(limit);
    for (const auto& [layer, cost] : costs_) {
      for (const Limit& limit : problem.limits_on(problem.layers()[layer])) {
        put(limit, amount(cost, limit.resource), " on the layer " + problem.layers()[layer].str());
      }
    }
    std::stable_sort(misses_.begin(), misses_.end(), [](const Miss& a, const Miss& b) { return a.factor > b.factor; });
  }

  const std::vector<Miss>& misses() const { return misses_; }

 private:
  void put(const Limit& limit, double used, const std::string& place) {
    const double factor = limit.missed(used);
    if (factor > 1) misses_.push_back({factor, limit, used, place});
  }

  void look(const Limit& limit) {
    const double used = amount(solution_.total, limit.resource);
    double most = -1;
    size_t where = 0;
    for (const auto& [layer, cost] : costs_) {
      const double times =
          limit.resource == Resource::kMemory ? 1 : static_cast<double>(problem_.layers()[layer].count);
      const double part = times * amount(cost, limit.resource);
      if (part > most) most = part, where = layer;
    }
    put(limit, used, ", most on the layer " + problem_.layers()[where].str());
  }

  const Problem& problem_;
  const Solution& solution_;
  std::vector<std::pair<size_t, Cost>> costs_;  // of each layer, once
  std::vector<Miss> misses_;                    // the worst first
};

double worst(const Account& account) { return account.misses().empty() ? 1 : account.misses()[0].factor; }

}  // namespace

Conflict conflict_of(const Problem& problem, bool proven, double dull) {
  Conflict conflict;
  double low = problem.least_factor();
  if (low >= dull || !std::isfinite(low)) {
    conflict.factor = low;
    conflict.reason = {"bind", "sizes that reach the budget's floors", "none", "lower the floors"};
    return conflict;
  }
  // The least factor with a solution: often the bound itself; otherwise between a factor without and one with.
  Solution nearest = problem.solve(low * (1 + 1e-9), Aim::kAny);
  double high = low;
  if (!nearest.found) {
    for (double step = 1.01; !nearest.found && high < kLargestFactor; step *= step) {
      high *= step;
      nearest = problem.solve(high, Aim::kAny);
      if (!nearest.found) low = high;
    }
  }
  if (!nearest.found) {
    conflict.factor = HUGE_VAL;
    conflict.reason = {"bind", "sizes that reach the budget's floors and keep its limits",
                       proven ? "none" : "none that could be found", "lower the floors"};
    return conflict;
  }
  high = worst(Account(problem, nearest));
  for (int step = 0; step < kSteps && high > low * (1 + kPrecision); ++step) {
    Solution found = problem.solve(std::sqrt(low * high), Aim::kAny);
    if (found.found) {
      high = worst(Account(problem, found));
      nearest = std::move(found);
    } else {
      low = std::sqrt(low * high);
    }
  }
  const Account account(problem, nearest);
  conflict.factor = worst(account);
  if (account.misses().empty()) {
    conflict.choice = std::move(nearest);
    return conflict;
  }
  const Miss& tightest = account.misses()[0];
  std::string relief;
  for (const Miss& miss : account.misses()) {
    if (relief.size() < 100 && relief.find(miss.relief()) == std::string::npos)
      relief += (relief.empty() ? "" : ", ") + miss.relief();
  }
  conflict.reason = {"bind", tightest.required(proven), "",
                     std::string(tightest.below() ? "lower that floor by" : "raise the budget by") + " a factor of " +
                         rounded_up(tightest.factor) + " (" + relief + ")" +
                         (proven ? "" : "; that no choice keeps it is not proven")};
  return conflict;
}

}  // namespace canvas
