#include "canvas/solve/binding.h"

#include <algorithm>
#include <cmath>

#include "canvas/solve/conflict.h"
#include "canvas/solve/problem.h"

namespace canvas {

namespace {

constexpr int64_t kLargestMultiple = 1 << 20;
constexpr double kRounding = 1e-11;
constexpr size_t kMostListed = 1 << 14;

Binding bound(const Kernel& kernel, const Sizing& sizing, const Problem& problem, const Solution& solution) {
  Binding binding{std::make_shared<const Kernel>(kernel), {}, {}, 0, problem.complete()};
  if (!solution.proven)
    binding.gap = std::sqrt(solution.bound / capacity({solution.total.flops, solution.total.params})) - 1;
  std::vector<std::pair<const int64_t*, const Cost*>> chosen(problem.layers().size());
  problem.each_choice(solution, [&](size_t i, const int64_t* sizes, const Cost& cost) { chosen[i] = {sizes, &cost}; });
  binding.layers.reserve(chosen.size());
  for (size_t i = 0; i < chosen.size(); ++i) {
    const Layer& layer = problem.layers()[i];
    binding.layers.push_back({binding.kernel, layer, sizing.values(layer, chosen[i].first), *chosen[i].second});
  }
  for (const BoundLayer& layer : binding.layers) {
    binding.cost.flops += layer.cost.flops * static_cast<double>(layer.layer.count);
    binding.cost.params += layer.cost.params * static_cast<double>(layer.layer.count);
    binding.cost.memory = std::max(binding.cost.memory, layer.cost.memory);
    binding.cost.latency += layer.cost.latency * static_cast<double>(layer.layer.count);
  }
  return binding;
}

}  // namespace

void Rules::check() const {
  if (multiple_of >= 1 && multiple_of <= kLargestMultiple) return;
  throw ArgumentError("multiple_of must be from 1 to 2^20, got " + std::to_string(multiple_of));
}

std::vector<BoundLayer> options_of(const Kernel& kernel, const Layer& layer, size_t most, const Rules& rules) {
  rules.check();
  layer.check();
  if (misfit(kernel.signature(), layer)) return {};
  const Sizing sizing(kernel, rules.multiple_of);
  Options options{sizing.variables()};
  sizing.list(layer, kMostListed, options);
  const auto shared = std::make_shared<const Kernel>(kernel);
  const size_t count = std::min(options.size(), std::max<size_t>(most, 1));
  std::vector<BoundLayer> found;
  for (size_t i = 0; i < count; ++i) {
    const size_t k = count == 1 ? 0 : i * (options.size() - 1) / (count - 1);
    found.push_back({shared, layer, sizing.values(layer, options.at(k)), options.costs[k]});
  }
  return found;
}

namespace {

void check_prices(const Prices& prices, const std::vector<Layer>& layers, const Rules& rules) {
  if (rules.share == Share::kNetwork)
    throw ArgumentError("a limit on predicted latency needs share 'layer' or 'shape', got 'network'");
  if (prices.layers.size() != layers.size()) {
    throw ArgumentError("prices must be of each layer, " + std::to_string(layers.size()) + ", got " +
                        std::to_string(prices.layers.size()));
  }
  for (const auto& options : prices.layers) {
    for (const auto& [values, seconds] : options) {
      if (!(seconds > 0) || !std::isfinite(seconds))
        throw ArgumentError("a price must be a positive number of seconds, got " + std::to_string(seconds));
    }
  }
}

// What make(sizing, problem, solution) makes of the solution that solve(problem) finds, or why no sizes would do.
template <class Found, class Solve, class Make>
Result<Found> solved(const Kernel& kernel, const std::vector<Layer>& layers, const Budget& budget, const Rules& rules,
                     double* missed, const Prices* prices, Solve solve, Make make) {
  if (layers.empty()) throw ArgumentError("a kernel is bound to at least one layer, got none");
  budget.check();
  rules.check();
  const double dull = missed ? *missed : HUGE_VAL;
  if (missed) *missed = HUGE_VAL;
  for (const Layer& layer : layers) {
    layer.check();
    const bool like_the_last = &layer != &layers[0] && layer.spatial.size() == (&layer)[-1].spatial.size() &&
                               (layer.tokens == 0) == ((&layer)[-1].tokens == 0);
    if (like_the_last) continue;
    if (auto fault = misfit(kernel.signature(), layer)) return *fault;
  }
  const Sizing sizing(kernel, rules.multiple_of);
  if (prices) check_prices(*prices, layers, rules);
  Problem problem(sizing, layers, budget, prices);
  const auto fault =
      rules.share == Share::kNetwork ? problem.add_together() : problem.add_each(rules.share == Share::kShape);
  if (fault) return *fault;
  bool proven = problem.complete();
  if (problem.least_factor() <= 1 + kRounding) {
    const Solution solution = solve(problem);
    if (solution.found) return make(sizing, problem, solution);
    proven = proven && solution.proven;
  }
  const Conflict conflict = conflict_of(problem, proven, dull);
  if (conflict.choice.found) return make(sizing, problem, conflict.choice);
  if (missed) *missed = conflict.factor;
  return conflict.reason;
}

}  // namespace

Result<Binding> bind(const Kernel& kernel, const std::vector<Layer>& layers, const Budget& budget, const Rules& rules,
                     double* missed, const Prices* prices) {
  return solved<Binding>(
      kernel, layers, budget, rules, missed, prices,
      [](const Problem& problem) { return problem.solve(1, Aim::kBest); },
      [&](const Sizing& sizing, const Problem& problem, const Solution& solution) {
        return bound(kernel, sizing, problem, solution);
      });
}

std::optional<Fault> unbindable(const Kernel& kernel, const std::vector<Layer>& layers, const Budget& budget,
                                const Rules& rules, double* missed) {
  const auto any = [](const Problem& problem) {
    Solution solution = problem.solve(1, Aim::kAny);
    if (!solution.found && !solution.proven) solution = problem.solve(1, Aim::kBest);
    return solution;
  };
  const auto fits = solved<bool>(kernel, layers, budget, rules, missed, nullptr, any,
                                 [](const Sizing&, const Problem&, const Solution&) { return true; });
  return fits ? std::nullopt : std::optional(fits.fault());
}

}  // namespace canvas
